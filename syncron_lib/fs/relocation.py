"""Moving: entries of the destination that get another path, each by one rename.

What is moved must be as it was scanned, and nothing may be where it goes. The tree in memory
follows at once: to all that comes after, an entry was scanned where it is now.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import PRIVATE, join, split
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.fs import stats
from syncron_lib.fs.attributes import Applied, make_special
from syncron_lib.fs.copying import copy_content
from syncron_lib.fs.directories import OPEN_DIRECTORY, Directories
from syncron_lib.fs.hashing import OPEN_FILE, Finder
from syncron_lib.fs.ledger import Ledger
from syncron_lib.fs.publish import link_new
from syncron_lib.fs.staging import CREATE_FILE, Staging
from syncron_lib.fs.stats import StatRow, is_settled_as_written
from syncron_lib.fs.tree import Node, is_directory
from syncron_lib.record import NamedTuple

_FILE, _DIRECTORY = stat.S_IFREG, stat.S_IFDIR


class _Added(NamedTuple):
    """A new row, its digest, and the target of a symlink."""

    row: StatRow
    value: bytes
    target: bytes = b""


class Relocation:
    """Makes directories and moves entries in one tree; `apply` brings the nodes up to date."""

    def __init__(self, directories: Directories, ledger: Ledger, keep: Applied) -> None:
        self._directories = directories
        self._ledger = ledger
        self._keep = keep
        self._disk = directories.disk
        self._finder = Finder(ledger.tree)
        self._taken: dict[Node, set[bytes]] = {}
        self._added: dict[Node, list[_Added]] = {}
        """By directory (which may itself move): names that are there no more, and new rows."""

    def make(self, path: bytes, attributes: Attributes) -> None:
        """Make a directory, which gets its attributes at the end. Raises OSError."""
        self._require_free(path)
        parent, name = split(path)
        fd = self._directories.open_writable(parent)
        os.mkdir(name, self._keep.mode_of(attributes) | 0o700, dir_fd=fd)
        st = self._disk.stat(name, dir_fd=fd, follow_symlinks=False)
        node = Node(path, self._ledger.tree.nodes.get(parent), 0)
        self._ledger.tree.nodes[path] = node
        self._ledger.tree.ordered = False
        self._ledger.directory_attributes[path] = attributes
        self._add(path, stats.row(name, st), digest.UNKNOWN)

    def move(self, old: bytes, new: bytes) -> None:
        """Give the file or directory at ``old`` the path ``new``. Raises OSError where either
        is not as it was scanned, and where the file system cannot rename it."""
        found = self._finder.find(old)
        parent, name = split(old)
        new_parent, new_name = split(new)
        if found is None or name in self._taken.get(found.node, ()):
            raise _changed()
        self._require_free(new)
        # Borrowed descriptors do not outlast the opening of many others.
        with _held(self._directories.open_writable(parent)) as source:
            with _held(self._directories.open_writable(new_parent)) as target:
                if is_directory(found.stats[1]):
                    self._rename_directory(old, found.stats, (source, name), (target, new_name))
                    self._rekey(old, new)
                else:
                    self._rename_file(found.stats, (source, name), (target, new_name))
                st = self._disk.stat(new_name, dir_fd=target, follow_symlinks=False)
        self._taken.setdefault(found.node, set()).add(name)
        self._ledger.touched(parent)
        start = found.row * digest.SIZE
        value = bytes(found.node.digests[start : start + digest.SIZE])
        row = stats.row(new_name, st)
        # Whoever edited it in this moment has another size or time now.
        if not is_directory(row[1]) and row[1:4] != found.stats[1:4]:
            value = digest.UNKNOWN
        self._add(new, row, value)

    def gave_way(self, path: bytes) -> None:
        """What was scanned at ``path`` is there no more."""
        found = self._finder.find(path)
        if found is not None:
            self._taken.setdefault(found.node, set()).add(split(path)[1])

    def copy(self, old: bytes, new: bytes, staging: Staging) -> None:
        """Make a copy of the file, or what else is no directory, at ``old``, with the path
        ``new``, whole before it has that name. Raises OSError where either is not as it was
        scanned."""
        found = self._finder.find(old)
        if found is None or is_directory(found.stats[1]):
            raise _changed()
        self._require_free(new)
        new_parent, new_name = split(new)
        with _held(self._directories.open_writable(split(old)[0])) as source:
            with _held(self._directories.open_writable(new_parent)) as target:
                _require_nothing(target, new_name)
                where = staging.fd, staging.name_for_small()
                try:
                    if stat.S_ISREG(found.stats[1]):
                        self._copy_file(found.stats, source, where)
                    else:
                        self._copy_special(found.stats, source, where)
                    link_new(*where, target, new_name)
                finally:
                    staging.remove(where[1])
                st = self._disk.stat(new_name, dir_fd=target, follow_symlinks=False)
                link = (
                    self._disk.readlink(new_name, dir_fd=target)
                    if stat.S_ISLNK(st.st_mode)
                    else b""
                )
        self._add(new, stats.row(new_name, st), found.digest, link)

    def _copy_file(self, scanned: StatRow, source: int, where: tuple[int, bytes]) -> None:
        old = os.open(scanned[0], OPEN_FILE, dir_fd=source)
        try:
            new = os.open(where[1], CREATE_FILE, 0o600, dir_fd=where[0])
            try:
                copy_content(old, new, scanned[2])
                self._require_as_scanned(scanned, source)
                self._disk.fchmod(new, stat.S_IMODE(scanned[1]))
                os.utime(new, ns=(scanned[3], scanned[3]))
                if os.fstat(new).st_size != scanned[2]:
                    raise _changed()
            finally:
                os.close(new)
        finally:
            os.close(old)

    def _copy_special(self, scanned: StatRow, source: int, where: tuple[int, bytes]) -> None:
        name, mode, size, mtime = scanned[:4]
        is_link = mode & TYPE_MASK == stat.S_IFLNK
        target = self._disk.readlink(name, dir_fd=source) if is_link else b""
        own = Attributes(mode, mtime, scanned[6], scanned[7])
        make_special(*where, own, size, target, self._keep, time.time_ns())
        self._require_as_scanned(scanned, source)

    def _require_as_scanned(self, scanned: StatRow, directory: int) -> None:
        st = self._disk.stat(scanned[0], dir_fd=directory, follow_symlinks=False)
        if not self._ledger.is_as_scanned(scanned, stats.row(scanned[0], st)):
            raise _changed()

    def _require_free(self, path: bytes) -> None:
        """See that the tree has no entry at ``path``, and the directory that it is to be in."""
        parent, name = split(path)
        found = self._finder.find(path)
        if name in (b"", PRIVATE) or (
            found is not None and name not in self._taken.get(found.node, ())
        ):
            raise FileExistsError(errno.EEXIST, "it is there already")
        if parent not in self._ledger.tree.nodes:
            raise FileNotFoundError(errno.ENOENT, "its directory is not there")

    def _add(self, path: bytes, row: StatRow, value: bytes, target: bytes = b"") -> None:
        parent = split(path)[0]
        added = self._added.setdefault(self._ledger.tree.nodes[parent], [])
        added.append(_Added(row, value, target))
        self._ledger.touched(parent)

    def _rename_file(
        self, scanned: StatRow, old: tuple[int, bytes], new: tuple[int, bytes]
    ) -> None:
        st = self._disk.stat(old[1], dir_fd=old[0], follow_symlinks=False)
        if not stat.S_ISREG(scanned[1]) or not self._ledger.is_as_scanned(
            scanned, stats.row(scanned[0], st)
        ):
            raise _changed()
        _require_nothing(*new)
        self._ledger.disturb(st)
        link_new(*old, *new)

    def _rename_directory(
        self, path: bytes, scanned: StatRow, old: tuple[int, bytes], new: tuple[int, bytes]
    ) -> None:
        st = self._disk.stat(old[1], dir_fd=old[0], follow_symlinks=False)
        now = stats.row(scanned[0], st)
        same = now == scanned or (self._ledger.is_touched(path) and now[5] == scanned[5])
        if not same or st.st_mode & TYPE_MASK != _DIRECTORY or self._holds(path):
            raise _changed()
        _require_nothing(*new)
        self._directories.forget(path)
        # Its own entry ".." is rewritten, for which it must be writable.
        closed = os.geteuid() != 0 and st.st_mode & 0o300 != 0o300
        fd = os.open(old[1], OPEN_DIRECTORY, dir_fd=old[0])
        try:
            if closed:
                os.fchmod(fd, st.st_mode & 0o7777 | 0o700)
            # rename(2) replaces nothing but an empty directory here.
            os.rename(old[1], new[1], src_dir_fd=old[0], dst_dir_fd=new[0])
        finally:
            if closed:
                os.fchmod(fd, st.st_mode & 0o7777)
            os.close(fd)

    def _holds(self, path: bytes) -> bool:
        """Whether there is something in it that is no part of the tree, or cannot be known."""
        return any(node.excluded or node.problem for node in self._below(path))

    def _below(self, path: bytes) -> list[Node]:
        """The nodes at ``path`` and below."""
        nodes = self._ledger.tree.nodes
        found = []
        waiting = [path]
        while waiting:
            node = nodes.get(waiting.pop())
            if node is not None:
                found.append(node)
                columns = node.columns()
                waiting.extend(
                    join(node.path, name)
                    for name, mode in zip(columns.names, columns.modes)
                    if is_directory(mode)
                )
        return found

    def _rekey(self, old: bytes, new: bytes) -> None:
        """Give the nodes of a moved directory their new paths."""
        tree = self._ledger.tree
        for node in self._below(old):
            del tree.nodes[node.path]
            self._ledger.moved_from.append(node.path)
            node.path = new + node.path[len(old) :]
            node.stored = False
            tree.nodes[node.path] = node
        tree.ordered = False

    def apply(self) -> None:
        """Bring the rows of directories up to date after any number of moves."""
        for node in {*self._taken, *self._added}:
            self._rewrite(node, self._taken.get(node, set()), self._added.get(node, ()))
        self._taken.clear()
        self._added.clear()

    def _rewrite(self, node: Node, taken: set[bytes], added: Sequence[_Added]) -> None:
        digests = bytes(node.digests)
        unsettled = node.unsettled or ()
        links = iter(node.target_list())
        rows: list[tuple[StatRow, bytes, bool, bytes]] = []
        for index, row in enumerate(zip(*node.columns())):
            target = next(links) if row[1] & TYPE_MASK == stat.S_IFLNK else b""
            if row[0] not in taken:
                value = digests[index * digest.SIZE : (index + 1) * digest.SIZE]
                rows.append((row, value, index in unsettled, target))
        for new, value, target in added:
            settled = is_directory(new[1]) or is_settled_as_written(new[3], new[4])
            rows.append((new, value, not settled, target))
        rows.sort()
        node.stats = stats.pack([row for row, _, _, _ in rows])
        node.digests = b"".join([value for _, value, _, _ in rows])
        node.targets = b"\0".join([target for _, _, _, target in rows if target])
        node.unsettled = {index for index, row in enumerate(rows) if row[2]} or None
        node.own_entries = len(rows)
        node.own_size = sum(row[2] for row, _, _, _ in rows if row[1] & TYPE_MASK == _FILE)
        node.merkle = digest.UNKNOWN
        node.stored = False
        self._number_children(node, (row for row, _, _, _ in rows))

    def _number_children(self, node: Node, rows: Iterable[StatRow]) -> None:
        for index, row in enumerate(rows):
            if is_directory(row[1]):
                child = self._ledger.tree.nodes.get(join(node.path, row[0]))
                if child is not None:
                    child.parent, child.row = node, index


@contextlib.contextmanager
def _held(borrowed: int) -> Iterator[int]:
    fd = os.dup(borrowed)
    try:
        yield fd
    finally:
        os.close(fd)


def _require_nothing(directory: int, name: bytes) -> None:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    raise FileExistsError(errno.EEXIST, "there is something at its new path")


def _changed() -> OSError:
    return FileNotFoundError(errno.ENOENT, "it was changed at the destination during the run")
