"""What a run wrote to its tree, and how the tree in memory follows what is on disk.

At the end every directory that was touched is listed once more. An entry keeps its digest where
its stat is as scanned, gets the digest that was written where size and time are as written, and
is unknown otherwise: whoever edits the destination during a run costs a hash, never a wrong
answer.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, split
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.fs import listing, stats
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.stats import PackedRow, StatRow, is_settled_as_written
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.record import NamedTuple


class Written(NamedTuple):
    """One entry as it was published. ``size`` is 0 for what is no file. ``lasting``: nobody else
    could reach it before, so that its digest may be kept."""

    size: int
    mtime_ns: int
    digest: bytes
    lasting: bool = True


NewEntry = tuple[StatRow, bytes, bytes]
"""An entry of a new directory: its stat row on disk, digest, and target (of a symlink)."""

_RECENT = 10_000_000_000
"""Nanoseconds; more than any file system's grain, to spare most files a closer look."""


class Ledger:
    """Changes to one tree, to be brought into its nodes."""

    def __init__(self, tree: Tree, directories: Directories) -> None:
        self.tree = tree
        self._directories = directories
        self._written: dict[bytes, dict[bytes, Written]] = {}
        self._new: set[bytes] = set()
        self._children: dict[bytes, list[bytes]] = {}
        """Names of new directories by their parent's path."""
        self._removed: set[bytes] = set()
        self.directory_attributes: dict[bytes, Attributes] = {}
        """Attributes that directories are given at the very end."""
        self.own_numbers: set[bytes] = set()
        """Those of them whose owner and group are in this machine's numbers."""
        self.moved_from: list[bytes] = []
        """Paths that directories had before they were moved."""
        self._disturbed: set[int] = set()
        """Inodes of files with several names, of which this run took one away: that alone gives
        them a new ctime."""
        self._relinked: set[bytes] = set()
        """Directories with names of such files, where those of all names count."""
        self._adjusted: set[int] = set()
        """Inodes of files with several names, of which this run adjusted one."""

    def disturb(self, st: os.stat_result) -> None:
        """One name of the file ``st`` is about to go."""
        if st.st_nlink > 1:
            self._disturbed.add(st.st_ino)

    def linked(self, st: os.stat_result) -> None:
        """The file ``st`` got another name, and by that a new ctime."""
        self._disturbed.add(st.st_ino)

    def adjust(self, st: os.stat_result) -> None:
        """The attributes of the entry ``st`` are about to be set."""
        if st.st_nlink > 1:
            self._adjusted.add(st.st_ino)

    def is_as_scanned(self, scanned: StatRow, now: StatRow) -> bool:
        """Whether nobody but this run changed what was ``scanned``."""
        if now == scanned:
            return True
        inode = now[5]
        if inode in self._adjusted:
            return (inode, now[2], now[1] & TYPE_MASK) == (
                scanned[5],
                scanned[2],
                scanned[1] & TYPE_MASK,
            )
        # Without the ctime.
        return inode in self._disturbed and now[:4] + now[5:] == scanned[:4] + scanned[5:]

    def wrote(self, parent: bytes, name: bytes, written: Written) -> None:
        """``name`` was published in the directory ``parent``."""
        self._written.setdefault(parent, {})[name] = written

    def written(self, parent: bytes, name: bytes) -> Optional[Written]:
        """What this run published as ``name`` in the directory ``parent``, if anything."""
        return self._written.get(parent, {}).get(name)

    def touched(self, path: bytes) -> None:
        """Something in the directory ``path`` is no longer as scanned."""
        self._written.setdefault(path, {})

    def places(self) -> Iterator[bytes]:
        """The directories, the root first, that something was done in or to."""
        yield b""
        yield from self._written
        yield from self.directory_attributes

    def is_touched(self, path: bytes) -> bool:
        """Whether this run did something in the directory ``path``."""
        return path in self._written

    def is_new(self, path: bytes) -> bool:
        """Whether this run made the directory ``path``."""
        return path in self._new

    def has_directory(self, path: bytes) -> bool:
        """Whether a directory is at ``path``, after what was done so far."""
        return path in self.tree.nodes and path not in self._removed

    def removed(self, path: bytes, is_directory: bool) -> None:
        """The entry at ``path`` is gone."""
        self.touched(split(path)[0])
        if is_directory:
            self._removed.add(path)

    def add_directory(self, path: bytes, attributes: Attributes, entries: list[NewEntry]) -> None:
        """A new directory was published with ``entries`` in it."""
        parent, name = split(path)
        entries.sort()
        rows = [entry[0] for entry in entries]
        node = Node(path, None, 0)
        node.stats = stats.pack(rows)
        node.digests = b"".join([entry[1] for entry in entries])
        node.targets = b"\0".join([entry[2] for entry in entries if entry[2]])
        node.unsettled = {
            index
            for index, row in enumerate(rows)
            if -_RECENT < row[4] - row[3] < _RECENT and not is_settled_as_written(row[3], row[4])
        } or None
        node.own_entries = len(rows)
        node.own_size = sum([row[2] for row in rows if row[1] & TYPE_MASK == stat.S_IFREG])
        self.tree.nodes[path] = node
        self.tree.ordered = False
        self._new.add(path)
        self._children.setdefault(parent, []).append(name)
        self._removed.discard(path)
        self.touched(parent)
        self.directory_attributes[path] = attributes

    def update(self, hard_links: bool = False) -> list[bytes]:
        """Bring the nodes up to date; the paths of directories that are gone. ``hard_links``: also
        where another name of a file got a new ctime by what was done to one."""
        tree = self.tree
        if hard_links and self._disturbed:
            for path, each in tree.nodes.items():
                if each.stats and not self._disturbed.isdisjoint(each.columns().inodes):
                    self.touched(path)
                    self._relinked.add(path)
        gone = tree.remove(self._removed) if self._removed else []
        relist = set(self._written)
        renewed: dict[bytes, list[Node]] = {}
        # A directory that was touched has new times, which stand in its parent's row.
        # The root has no parent: its own attributes are looked at when it is listed.
        for path in (*self._written, *self.directory_attributes):
            parent, node = split(path)[0], tree.nodes.get(path)
            if not path or parent in relist or node is None:
                relist.add(parent)
            else:
                renewed.setdefault(parent, []).append(node)
        for parent, children in renewed.items():
            if parent not in relist and not self._renew(tree.nodes[parent], children):
                relist.add(parent)
        # In order, so that the way to the next directory is mostly held open.
        for path in sorted(relist):
            node = tree.nodes.get(path)
            if node is not None:
                self._relist(node)
        tree.total()
        return [path for path in (*gone, *self.moved_from) if path not in tree.nodes]

    def _renew(self, node: Node, children: list[Node]) -> bool:
        """Look at these subdirectories of a directory in which nothing else was touched; whether
        they are still there."""
        rows = {}
        try:
            fd = self._directories.open(node.path)
            for child in children:
                name = split(child.path)[1]
                rows[child.row] = row = stats.row(
                    name, self._directories.disk.stat(name, dir_fd=fd, follow_symlinks=False)
                )
                if not stat.S_ISDIR(row[1]):
                    return False
                child.attributes = Attributes(row[1], row[3], row[6], row[7])
        except OSError:
            return False
        node.stats = stats.with_rows(node.stats, rows)
        node.merkle = digest.UNKNOWN
        node.stored = False
        return True

    def _relist(self, node: Node) -> None:
        path, disk = node.path, self._directories.disk
        columns = node.columns()
        scanned = dict(zip(columns.names, zip(*columns)))
        written = self._written.get(path, {})
        try:
            fd = self._directories.open(path)
            if path in self._new and path not in self._relinked:
                # Its small files were listed when it was published; the rest came since, perhaps in
                # the place of one of them.
                since = {*self._children.get(path, ()), *written}
                old = [row for name, row in scanned.items() if name not in written]
                new = [*old, *_rows_of(disk, fd, since.difference(row[0] for row in old))]
                rows = [(row[0], stats.pack_fields(row)) for row in sorted(new)]
            else:
                listed = listing.read(fd)
                if self._directories.entered:
                    from syncron_lib.fs.dirlinks import shown

                    listed = shown(self._directories, path, listed)
                if disk is not os:
                    listed = disk.shown(fd, listed, None)
                rows = [
                    row
                    for row in listed.rows
                    if row[0] in scanned or row[0] in written or join(path, row[0]) in self._new
                ]
        except OSError as error:
            node.problem = error.errno or 1
            node.merkle = digest.UNKNOWN
            node.stored = False
            return
        for index, row in _fill(node, rows, scanned, written, (disk, fd), self.is_as_scanned):
            child = self.tree.nodes.get(join(path, row[0]))
            if child is not None:
                child.parent = node
                child.row = index
                child.attributes = Attributes(row[1], row[3], row[6], row[7])
        if not path:
            st = disk.fstat(fd)
            mtime = stats.in_range(st.st_mtime_ns)
            node.attributes = Attributes(st.st_mode, mtime, st.st_uid, st.st_gid)


def _rows_of(disk: Any, fd: int, names: Iterable[bytes]) -> Iterator[StatRow]:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            yield stats.row(name, disk.stat(name, dir_fd=fd, follow_symlinks=False))


def _fill(
    node: Node,
    rows: list[PackedRow],
    scanned: dict[bytes, StatRow],
    written: dict[bytes, Written],
    where: tuple[Any, int],
    is_as_scanned: Callable[[StatRow, StatRow], bool],
) -> list[tuple[int, StatRow]]:
    """Give ``node`` new rows, with the digests that are still or newly known. The directories
    among them, with their row numbers. ``where``: what tells of entries, and the directory."""
    disk, fd = where
    old_digests = bytes(node.digests)
    old_row = {name: index for index, name in enumerate(scanned)}
    old_targets = iter(node.target_list())
    targets_before = {
        name: next(old_targets) for name, row in scanned.items() if stat.S_ISLNK(row[1])
    }
    old_unsettled = node.unsettled or ()
    unsettled: set[int] = set()
    digests = []
    targets = []
    kept: list[PackedRow] = []
    directories: list[tuple[int, StatRow]] = []
    size = 0
    # Packed until they are looked at: as objects, those of a large directory take some 100 MB.
    for packed in rows:
        row = stats.unpack_row(packed)
        name, mode = row[0], row[1]
        value = digest.UNKNOWN
        kind = mode & TYPE_MASK
        before = scanned.get(name)
        same = before is not None and is_as_scanned(before, row)
        if kind == stat.S_IFREG:
            size += row[2]
            new = written.get(name)
            if new is not None and (new.size, new.mtime_ns) == (row[2], row[3]):
                value = new.digest
                if not (new.lasting and is_settled_as_written(row[3], row[4])):
                    unsettled.add(len(kept))
            elif same:
                index = old_row[name]
                value = old_digests[index * digest.SIZE : (index + 1) * digest.SIZE]
                if index in old_unsettled:
                    unsettled.add(len(kept))
        elif kind == stat.S_IFDIR:
            directories.append((len(kept), row))
            if name in old_row:
                index = old_row[name]
                value = old_digests[index * digest.SIZE : (index + 1) * digest.SIZE]
        elif kind == stat.S_IFLNK:
            if same and name in targets_before:
                targets.append(targets_before[name])
            else:
                try:
                    targets.append(disk.readlink(name, dir_fd=fd))
                except OSError:
                    continue
        kept.append(packed)
        digests.append(value)
    node.stats = stats.join(kept)
    node.digests = b"".join(digests)
    node.targets = b"\0".join(targets)
    node.unsettled = unsettled or None
    node.own_entries = len(kept)
    node.own_size = size
    node.merkle = digest.UNKNOWN
    node.stored = False
    return directories
