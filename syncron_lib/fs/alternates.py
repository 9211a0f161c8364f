"""Alternates: directories like a destination, in which what did not change is found.

The last of dated snapshots is one. What is there is known as of any root, by its own state. A hard
link gives a file another ctime, by which its digest would not be believed any more; so the state
follows what was linked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes, Profile
from syncron_lib.core.names import join, split
from syncron_lib.core.permission import Effect
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.errors import Locked
from syncron_lib.fs import attributes, ignorefiles, stats
from syncron_lib.fs.attributes import Applied
from syncron_lib.fs.basis import OldFiles
from syncron_lib.fs.copying import NO_LINK, copied
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import OPEN_FILE, Changed, FileHasher, Finder, open_scanned
from syncron_lib.fs.ignorefiles import IgnoreFile
from syncron_lib.fs.largefile import Old
from syncron_lib.fs.ledger import Ledger, NewEntry, Written
from syncron_lib.fs.mounts import Stagings
from syncron_lib.fs.publish import Publisher, link_new
from syncron_lib.fs.root import Root
from syncron_lib.fs.staging import CREATE_READABLE, Staging, drop_acls
from syncron_lib.fs.stats import FIELDS, StatRow
from syncron_lib.fs.tree import Node, is_directory
from syncron_lib.protocol.messages import TakenEntry
from syncron_lib.record import NamedTuple

_CTIME = 20
"""Where the ctime is in a packed row, behind its name: see `stats.FIELDS`."""


class Alternate:
    """One of them."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.finder = Finder(root.tree)
        self.hasher: Optional[FileHasher] = None
        self._old_files: Optional[OldFiles] = None
        self._may_save = True

    @property
    def root(self) -> Root:
        """What is open."""
        return self._root

    @property
    def directories(self) -> Directories:
        """Its descriptors."""
        assert self._root.directories is not None
        return self._root.directories

    def scan(self, holder: str) -> None:
        """Scan it by the ignore files that the run into it had. A run that holds it is not waited
        for: what it does is seen file by file, and it remembers what there is to remember."""
        root = self._root
        try:
            root.lock(holder, False, 0.0, _nothing)
        except Locked:
            self._may_save = False
        self._scan(root.remembered_source_files())

    def _scan(self, given: Sequence[IgnoreFile]) -> None:
        self._root.scan(given, lambda _entries, _size: None)
        self.finder = Finder(self._root.tree)

    def seal(
        self,
        algorithm: digest.Algorithm,
        profile: Profile,
        given: Sequence[IgnoreFile],
        on_bytes: Callable[[int], None],
    ) -> None:
        """Be ready to be compared under a profile, by the ignore files that are in force."""
        root = self._root
        if ignorefiles.identity(root.ignore_files) != ignorefiles.identity(given):
            self._scan(given)
        root.seal(algorithm, profile)
        self.hasher = FileHasher(root.tree, self.directories, algorithm, on_bytes, root.real_name)

    def old_files(self, algorithm: digest.Algorithm) -> OldFiles:
        """The chunks of its files."""
        if self._old_files is None:
            root = self._root
            self._old_files = OldFiles(
                root.tree, self.directories, algorithm, root.chunk_lists, root.state
            )
        return self._old_files

    def old(self, path: bytes) -> Optional[Old]:
        """The file at ``path``, open, to put another together from; None where it is not as it was
        scanned."""
        found = self.finder.find(path)
        if found is None or self._old_files is None or not stat.S_ISREG(found.stats[1]):
            return None
        directory = self.directories.open(found.node.path)
        try:
            fd = open_scanned(directory, self._root.real_name(path), found.stats)
        except (Changed, OSError):
            return None
        return Old(fd, found.stats[2], self._old_files.take(path))

    def follow(self, linked: Mapping[int, int]) -> None:
        """Give the entries with these inodes the ctime that they have got by being linked."""
        inodes = linked.keys()
        for node in self._root.tree.nodes.values():
            if not node.stats or inodes.isdisjoint(columns := node.columns().inodes):
                continue
            packed = bytearray(node.stats)
            first = len(packed) - len(columns) * FIELDS.size + _CTIME
            for row, inode in enumerate(columns):
                ctime = linked.get(inode)
                if ctime is not None:
                    at = first + row * FIELDS.size
                    packed[at : at + 8] = ctime.to_bytes(8, "little", signed=True)
            node.stats = bytes(packed)
            node.stored = False

    def save(self) -> None:
        """Keep what is known. Where that fails, the next run reads more than it need."""
        if self._may_save:
            self._root.save()

    def close(self) -> None:
        """Let go of it."""
        if self._old_files is not None:
            self._old_files.close()
        self._root.close()


def _nothing() -> None:
    return None


class _Source(NamedTuple):
    """An entry of an alternate: where it is, as it was scanned, its digest, and whether that may
    be kept."""

    fd: int
    name: bytes
    row: StatRow
    digest: bytes
    settled: bool
    target: bytes


class Linker:
    """Makes entries of a destination from an alternate's."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        stagings: Stagings,
        publisher: Publisher,
        algorithm: digest.Algorithm,
        keep: Applied,
        may_replace: Callable[[bytes], bool],
        may: Effect,
        durable: bool,
        own_acls: bool,
    ) -> None:
        """``may_replace``: whether an entry of another kind may make way, as was announced.
        ``may``: what may be done to the tree. ``durable``: no copy gets its name before it is on
        the disk. ``own_acls``: see `Staging`."""
        self._own_acls = own_acls
        self._may = may
        self._durable = durable
        self._may_replace = may_replace
        self._directories = directories
        self._ledger = ledger
        self._stagings = stagings
        self._publisher = publisher
        self._algorithm = algorithm
        self._keep = keep
        self._as_there = keep._replace(users={}, groups={})
        """What is read from an alternate has the receiver's numbers already."""
        self.linked: dict[int, int] = {}
        """Inodes that got another name, and the ctime that this gave them."""
        self.entries = 0
        """Entries that were made."""

    def make(self, path: bytes, own: Attributes) -> None:
        """Make a directory, which gets its attributes at the end. Raises OSError."""
        self._make(path)
        self._ledger.add_directory(path, own, [])
        self.entries += 1

    def take(self, alternate: Alternate, item: TakenEntry) -> Iterable[tuple[bytes, OSError]]:
        """Make one item; what could not be. Raises OSError."""
        if item.tree:
            own = Attributes(item.mode, item.mtime_ns, item.uid, item.gid)
            yield from self._tree(alternate, item.path, own, item.copy)
            return
        found = alternate.finder.find(item.path)
        if found is None or is_directory(found.stats[1]):
            raise _changed()
        parent, _ = split(item.path)
        node, row = found.node, found.row
        target = b""
        if stat.S_ISLNK(found.stats[1]):
            links = [mode for mode in node.columns().modes[:row] if stat.S_ISLNK(mode)]
            target = node.target_list()[len(links)]
        source = _Source(
            alternate.directories.open(parent),
            alternate.root.real_name(item.path),
            found.stats,
            node.digest_of(row),
            row not in (node.unsettled or ()),
            target,
        )
        self._one(source, item)
        self.entries += 1

    def _make(self, path: bytes) -> None:
        replace = self._may_replace(path)
        self._publisher.require_allowed(path, replace)
        if replace:
            self._publisher.make_way(path, *self._parent(path), replace)
        fd, name = self._parent(path)
        os.mkdir(name, 0o700, dir_fd=fd)
        if self._own_acls:
            drop_acls(self._directories.open(path))

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        parent, name = split(path)
        return self._directories.open_writable(parent), name

    # --- one entry --------------------------------------------------------------------------------

    def _one(self, source: _Source, item: TakenEntry) -> None:
        path = item.path
        replace = self._may_replace(path)
        self._publisher.require_allowed(path, replace)
        staging = self._stagings.beside(split(path)[0])
        temporary = staging.name_for_small()
        try:
            st, written = self._made(source, staging, temporary, item)
            self._publisher.publish(path, staging, temporary, replace, written)
        finally:
            # A rename over another name of the same file does nothing.
            staging.remove(temporary)
        if st.st_ino == source.row[5]:
            fd, name = self._parent(path)
            self.linked[st.st_ino] = os.stat(name, dir_fd=fd, follow_symlinks=False).st_ctime_ns

    def _made(
        self, source: _Source, staging: Staging, temporary: bytes, item: TakenEntry
    ) -> tuple[os.stat_result, Written]:
        if not item.copy:
            st = self._linked(source, staging.fd, temporary)
            if st is not None:
                size = st.st_size if stat.S_ISREG(st.st_mode) else 0
                mtime = stats.in_range(st.st_mtime_ns)
                return st, Written(size, mtime, source.digest, lasting=source.settled)
        own = Attributes(item.mode, item.mtime_ns, item.uid, item.gid)
        st = self._copied(source, staging.fd, temporary, own, self._keep)
        size = st.st_size if stat.S_ISREG(st.st_mode) else 0
        return st, Written(size, stats.in_range(st.st_mtime_ns), source.digest)

    def _linked(self, source: _Source, fd: int, name: bytes) -> Optional[os.stat_result]:
        """Link an entry to ``name``; None where that cannot be."""
        row = source.row
        disk = self._keep.disk
        before = disk.stat(source.name, dir_fd=source.fd, follow_symlinks=False)
        now = stats.row(row[0], before)
        # A link of this run, or one of an interrupted run that was taken away, gave it another
        # ctime; and what is no file cannot become another without becoming another inode.
        lasting = disk is os and not stat.S_ISREG(row[1])
        relinked = before.st_ino in self.linked or lasting
        if not self._ledger.is_as_scanned(row, now) and not (
            relinked and _without_ctime(now) == _without_ctime(row)
        ):
            raise _changed()
        try:
            os.link(source.name, name, src_dir_fd=source.fd, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in NO_LINK:
                return None
            raise
        st: os.stat_result = disk.stat(name, dir_fd=fd, follow_symlinks=False)
        # RACE: what is edited between these looks without a trace in size and time is linked.
        if _without_ctime(stats.row(row[0], st)) != _without_ctime(row):
            os.unlink(name, dir_fd=fd)
            raise _changed()
        self.linked[st.st_ino] = st.st_ctime_ns
        return st

    def _copied_to(
        self, source: _Source, directory: bytes, fd: int, own: Attributes
    ) -> os.stat_result:
        """Copy an entry into a new directory, where it appears whole."""
        staging = self._stagings.beside(directory)
        temporary = staging.name_for_small()
        try:
            self._copied(source, staging.fd, temporary, own, self._as_there)
            link_new(staging.fd, temporary, fd, source.name, Effect.CHANGE not in self._may)
        except OSError:
            staging.remove(temporary)
            raise
        st: os.stat_result = self._keep.disk.stat(source.name, dir_fd=fd, follow_symlinks=False)
        return st

    def _copied(
        self, source: _Source, fd: int, name: bytes, own: Attributes, keep: Applied
    ) -> os.stat_result:
        """Copy an entry to ``name``, with its digest checked."""
        row, now = source.row, time.time_ns()
        if not stat.S_ISREG(row[1]):
            attributes.make_special(fd, name, own, row[2], source.target, keep, now)
            st: os.stat_result = keep.disk.stat(name, dir_fd=fd, follow_symlinks=False)
            return st
        old = os.open(source.name, OPEN_FILE, dir_fd=source.fd)
        try:
            new = os.open(name, CREATE_READABLE, 0o600, dir_fd=fd)
            try:
                value = copied(old, new, row[2], self._algorithm)
                same = value == source.digest
                if source.digest == digest.UNKNOWN:  # sizes alone are compared
                    now_there = stats.row(row[0], keep.disk.fstat(old))
                    same = _without_ctime(now_there) == _without_ctime(row)
                if not same:
                    raise _changed()
                attributes.set_on_new(new, own, keep, now)
                if self._durable:
                    os.fsync(new)
                made: os.stat_result = keep.disk.fstat(new)
                return made
            except OSError:
                os.unlink(name, dir_fd=fd)
                raise
            finally:
                os.close(new)
        finally:
            os.close(old)

    # --- whole directories ------------------------------------------------------------------------

    def _tree(
        self, alternate: Alternate, top: bytes, own: Attributes, copy: bool
    ) -> Iterable[tuple[bytes, OSError]]:
        nodes = alternate.root.tree.nodes
        if top not in nodes or not top:
            raise _changed()
        stack = [nodes[top]]
        while stack:
            node = stack.pop()
            path = node.path
            try:
                self._make(path)
                entries, unsettled, failed = self._filled(alternate, node, copy)
            except OSError as error:
                if path == top:
                    raise
                yield path, error
                continue
            self._ledger.add_directory(path, own if path == top else node.attributes, entries)
            if path != top:
                self._ledger.own_numbers.add(path)
            if unsettled:
                made = self._ledger.tree.nodes[path]
                made.unsettled = {*(made.unsettled or ()), *unsettled}
            self.entries += 1 + len(entries)
            yield from failed
            columns = node.columns()
            for entry, mode in zip(columns.names, columns.modes):
                if is_directory(mode):
                    stack.append(nodes[join(path, entry)])

    def _filled(
        self, alternate: Alternate, node: Node, copy: bool
    ) -> tuple[list[NewEntry], set[int], list[tuple[bytes, OSError]]]:
        """Make what a directory holds, but for the directories: its entries, those whose digests
        may not be kept, and what failed. Hot: most files of a snapshot."""
        path = node.path
        source_fd = alternate.directories.open(path)
        fd = self._directories.open(path)
        targets = iter(node.target_list())
        digests = bytes(node.digests)
        uncertain = node.unsettled or ()
        entries: list[NewEntry] = []
        unsettled: set[int] = set()
        failed: list[tuple[bytes, OSError]] = []
        for index, row in enumerate(zip(*node.columns())):
            name, mode = row[0], row[1]
            kind = mode & TYPE_MASK
            if kind == stat.S_IFDIR:
                continue
            target = next(targets) if kind == stat.S_IFLNK else b""
            value = digests[index * digest.SIZE : (index + 1) * digest.SIZE]
            source = _Source(source_fd, name, row, value, index not in uncertain, target)
            try:
                st = None if copy else self._linked(source, fd, name)
                if st is None:
                    own = Attributes(mode, row[3], row[6], row[7])
                    st = self._copied_to(source, path, fd, own)
            except OSError as error:
                failed.append((join(path, name), error))
                continue
            if not source.settled:
                unsettled.add(len(entries))
            entries.append((stats.row(name, st), value, target))
        return entries, unsettled, failed


def _without_ctime(row: StatRow) -> tuple[object, ...]:
    return (*row[:4], *row[5:])


def _changed() -> OSError:
    return OSError(errno.ESTALE, "it was changed in the alternate directory during the run")


def close_all(alternates: Iterable[Optional[Alternate]]) -> None:
    """Let go of all of them."""
    for alternate in alternates:
        if alternate is not None:
            with contextlib.suppress(OSError):
                alternate.close()
