"""Scanning: every entry's stat is read, and no file.

A walk over a subtree is depth first with sorted names and an explicit stack, and runs beside a
stream of the state's rows in the same order (`fs.walk` divides a tree into such). A directory
whose packed columns equal its stored row takes over that row's digests as they are; elsewhere
digests are taken over entry by entry, where size, mtime, ctime and inode are what they were.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import PRIVATE, join, split
from syncron_lib.core.rules import GIT, GIT_EXCLUDE, IGNORE_FILES, AnyScope, RuleSet
from syncron_lib.core.table import TYPE_MASK, Malformed
from syncron_lib.fs import listing as listing_module
from syncron_lib.fs import stats as stats_module
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.ignorefiles import MOUNTS, IgnoreFiles
from syncron_lib.fs.listing import Listing
from syncron_lib.fs.remembered import Stored, answers, carry_over
from syncron_lib.fs.renamed import Displaced
from syncron_lib.fs.state import Row, State
from syncron_lib.fs.stats import FIELDS, Stats
from syncron_lib.fs.tree import Node
from syncron_lib.record import NamedTuple

_PRIVATE_ONLY = frozenset((PRIVATE,))
_FILES_ONLY = frozenset((stat.S_IFREG,))
_REPORT_EVERY = 2000
"""Entries between two reports of progress: some 10 ms of work."""

OnProgress = Callable[[int, int], None]
"""Called with the entries and the bytes (of files) scanned so far."""


Step = tuple[Node, Optional[AnyScope]]
"""A directory still to be scanned. Its rules are None while nothing above it has any, which
spares nearly all trees a scope for every directory."""


class Subject(NamedTuple):
    """What is scanned, and by which rules.

    ``only`` and ``alias``: the tree holds this one entry of the root, under that name.
    ``given``: ignore files to apply instead of the tree's own (a destination obeys the source's).
    """

    directories: Directories
    rules: RuleSet
    one_file_system: bool = False
    only: Optional[bytes] = None
    alias: Optional[bytes] = None
    given: Optional[Mapping[bytes, Mapping[bytes, bytes]]] = None
    looked_at: Optional[frozenset[bytes]] = None
    """The directories that are looked at; of all others the state is believed. None: all are."""
    may_leave_unread: bool = False
    """What is believed need not even be read before somebody asks for it."""

    @property
    def on_the_way(self) -> frozenset[bytes]:
        """The directories that are looked at, or have rules of their own, and all above them."""
        found: set[bytes] = {b""}
        for path in (*(self.looked_at or ()), *(self.given or ())):
            while path not in found:
                found.add(path)
                path = split(path)[0]
        return frozenset(found)

    def listing(self, fd: int, path: bytes) -> Listing:
        """The directory open at ``fd``, as it is shown; of the root only what the run is over."""
        if self.only is None or path:
            listing = listing_module.read(fd)
        else:
            try:
                st = os.stat(self.only, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                return Listing([], {}, 0, set())
            row = stats_module.row(self.alias or self.only, st)
            packed = (row[0], stats_module.pack_fields(row))
            listing = Listing([packed], {}, row[2], {(st.st_uid, st.st_gid)})
        if self.directories.entered:
            from syncron_lib.fs.dirlinks import shown

            listing = shown(self.directories, path, listing)
        lens = self.directories.lens
        return listing if lens is None else lens.shown(fd, path, listing, self.only)


class Scanner:
    """Scans directories of one root and keeps the tally."""

    def __init__(
        self,
        subject: Subject,
        state: Optional[State],
        ignore_files: IgnoreFiles,
        on_progress: OnProgress,
    ) -> None:
        self._subject = subject
        self._state = state
        self._ignore_files = ignore_files
        self._on_progress = on_progress
        self._device = os.fstat(subject.directories.root_fd).st_dev
        self._special = _PRIVATE_ONLY | subject.rules.root().ignore_names
        self._leaves_unread = subject.may_leave_unread
        self._on_the_way = subject.on_the_way if subject.may_leave_unread else frozenset()
        self.unread: dict[bytes, Optional[AnyScope]] = {}
        """Directories below which nothing was read, and the rules that hold in them."""
        self.entries = 0
        self.size = 0
        """Entries, and bytes of files, scanned so far."""
        self._reported = 0
        self.users: set[int] = set()
        self.groups: set[int] = set()
        self.vanished: list[bytes] = []
        """Directories that the state has and the tree has not; with all below."""
        self.displaced: list[Displaced] = []
        """These, and those in whose place is another one now."""

    def root(self) -> Step:
        """Where the scan begins."""
        subject = self._subject
        node = Node(b"", None, 0)
        st = subject.directories.disk.fstat(subject.directories.root_fd)
        mtime = stats_module.in_range(st.st_mtime_ns)
        lens = subject.directories.lens
        mode = st.st_mode if lens is None else lens.mode(st.st_mode)
        node.attributes = Attributes(mode, mtime, st.st_uid, st.st_gid)
        node.identity = (st.st_dev, st.st_ino)
        return node, None if subject.rules.trivial else subject.rules.root()

    def one(self, step: Step) -> list[Step]:
        """Scan one directory; its subdirectories."""
        stored = None
        if self._state is not None:
            with self._damage_set_aside():
                stored = self._state.row(step[0].path)
        below = self._directory(step[0], step[1], stored)
        self._report()
        return below

    def below(self, step: Step) -> list[Node]:
        """Scan a directory and all below; their nodes, depth first."""
        nodes = []
        stored = Stored(self._rows(step[0].path))
        stack = [step]
        while stack:
            node, scope = stack.pop()
            nodes.append(node)
            following = self._directory(node, scope, stored.row(node.path))
            following.reverse()
            stack.extend(following)
            self._report()
        return nodes

    def read(self, top: Node, name: Optional[bytes], given: Container[bytes]) -> list[Node]:
        """What was left unread below a directory, as `fs.tree.Read` gives it."""
        scope = self.unread.get(top.path) if name is not None else self.unread.pop(top.path)
        self._leaves_unread = name is not None
        columns = top.columns()
        rows: Iterable[int] = range(len(columns.names))
        if name is not None:
            row = bisect.bisect_left(columns.names, name)
            rows = [row] if columns.names[row : row + 1] == [name] else []
        rows = [row for row in rows if stat.S_ISDIR(columns.modes[row])]
        nodes = []
        stack = [
            each for each in self._children(top, columns, rows, scope) if each[0].path not in given
        ]
        stack.reverse()
        while stack:
            step = stack.pop()
            if name is None:
                nodes.extend(self.below(step))
            else:
                nodes.append(step[0])
                stack.extend(reversed(self.one(step)))
        return nodes

    def _report(self) -> None:
        if self.entries - self._reported >= _REPORT_EVERY:
            self._reported = self.entries
            self._on_progress(self.entries, self.size)

    def _rows(self, top: bytes) -> Iterator[Row]:
        if self._state is not None:
            with self._damage_set_aside():
                yield from self._state.rows(top)

    @contextlib.contextmanager
    def _damage_set_aside(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError:
            if self._state is not None:
                self._state.reset()

    def _directory(
        self, node: Node, scope: Optional[AnyScope], stored: Optional[Row]
    ) -> list[Step]:
        """Fill ``node`` from the disk and the state; its subdirectories."""
        if _is_loop(node):
            node.problem = errno.ELOOP
            return []
        looked_at = self._subject.looked_at
        if looked_at is not None and stored is not None and node.path not in looked_at:
            believed = self._believed(node, scope, stored)
            if believed is not None:
                return believed
        try:
            fd = self._subject.directories.open(node.path)
            listing = self._subject.listing(fd, node.path)
            if self._needs_choice(node, scope, listing):
                if scope is None:
                    scope = self._scope_of(node.path)
                inherited = _inherited(scope)
                listing, scope = self._choose(fd, node, listing, scope, stored)
                node.own_rules = node.scope != inherited
        except OSError as error:
            if not node.path:
                raise
            node.problem = error.errno or errno.EIO
            return []
        node.stats = stats_module.join(listing.rows)
        if (
            stored is not None
            and stored.stats == node.stats
            and stored.excluded == node.excluded
            and len(stored.digests) == len(listing.rows) * digest.SIZE
        ):
            node.digests = stored.digests
            node.targets = stored.targets
            node.merkle, node.kept = stored.merkle, stored.below
            node.stored = stored.scope == node.scope
        else:
            lens = self._subject.directories.lens
            only = self._subject.only if self._subject.alias and not node.path else None
            carry_over(fd, node, listing, stored, lens, only)
            if stored is not None:
                self._note_displaced(node.path, listing, stored)
        node.own_entries = len(listing.rows)
        node.own_size = listing.size
        self.entries += len(listing.rows)
        self.size += listing.size
        for uid, gid in listing.owners:
            self.users.add(uid)
            self.groups.add(gid)
        return self._below(node, listing, scope) if listing.directories else []

    def _believed(self, node: Node, scope: Optional[AnyScope], stored: Row) -> Optional[list[Step]]:
        """Fill ``node`` from the state alone; its subdirectories. None where it has to be looked
        at: other rules held when it was, or it has some of its own."""
        given = self._subject.given
        if stored.scope != _inherited(scope) or (given is not None and node.path in given):
            return None
        try:
            columns = stats_module.unpack(stored.stats)
        except Malformed:
            return None
        if len(stored.digests) != len(columns.names) * digest.SIZE:
            return None
        node.stats, node.digests, node.targets = stored.stats, stored.digests, stored.targets
        node.excluded, node.scope, node.merkle = stored.excluded, stored.scope, stored.merkle
        node.stored, node.kept = True, stored.below
        node.own_entries = len(columns.names)
        directories: list[int] = []
        rows: Iterable[tuple[int, int]] = enumerate(columns.modes)
        if {mode & TYPE_MASK for mode in set(columns.modes)} <= _FILES_ONLY:
            # Most directories; in C, since a hot run does little else.
            node.own_size, rows = sum(columns.sizes), ()
        for row, mode in rows:
            kind = mode & TYPE_MASK
            if kind == stat.S_IFREG:
                node.own_size += columns.sizes[row]
            elif kind == stat.S_IFDIR:
                directories.append(row)
        self.entries += node.own_entries
        self.size += node.own_size
        self.users.update(columns.uids)
        self.groups.update(columns.gids)
        if directories and self._may_stay_unread(node) and node.leave_unread(stored.below):
            self.unread[node.path] = scope
            self.entries += node.unread[0]
            self.size += node.unread[1]
            return []
        return self._children(node, columns, directories, scope)

    def _may_stay_unread(self, node: Node) -> bool:
        """Whether nobody looks at anything below a believed directory, and its digest is known."""
        return (
            self._leaves_unread
            and node.path not in self._on_the_way
            and node.merkle != digest.UNKNOWN
        )

    def _children(
        self, node: Node, columns: Stats, rows: Iterable[int], scope: Optional[AnyScope]
    ) -> list[Step]:
        """The subdirectories in ``rows`` of a believed directory."""
        below: list[Step] = []
        for row in rows:
            name = columns.names[row]
            child = Node(join(node.path, name), node, row)
            own = columns.modes[row], columns.mtimes[row], columns.uids[row], columns.gids[row]
            child.attributes = Attributes(*own)
            child.identity = (self._device, columns.inodes[row])
            below.append((child, scope and scope.child(name)))
        return below

    def _note_displaced(self, path: bytes, listing: Listing, stored: Row) -> None:
        """Find subdirectories that were there, or belonged to the tree, when the state was
        saved."""
        now = {
            name: FIELDS.unpack(fields)[4]
            for name, fields in listing.rows
            if name in listing.directories
        }
        with contextlib.suppress(Malformed):
            columns = stats_module.unpack(stored.stats)
            for name, mode, inode in zip(columns.names, columns.modes, columns.inodes):
                if stat.S_ISDIR(mode) and now.get(name) != inode:
                    self.displaced.append(Displaced(join(path, name), inode))
                    if name not in now:
                        self.vanished.append(join(path, name))

    def _below(self, node: Node, listing: Listing, scope: Optional[AnyScope]) -> list[Step]:
        """The subdirectories, in order."""
        below = []
        for index, packed in enumerate(listing.rows):
            name = packed[0]
            device = listing.directories.get(name)
            if device is not None:
                row = stats_module.unpack_row(packed)
                child = Node(join(node.path, name), node, index)
                child.attributes = Attributes(row[1], row[3], row[6], row[7])
                child.identity = (device, row[5])
                below.append((child, scope and scope.child(name)))
        return below

    def _scope_of(self, path: bytes) -> AnyScope:
        """The rules in a directory above which no ignore file was met."""
        scope = self._subject.rules.root()
        if path:
            for name in path.split(b"/"):
                scope = scope.child(name)
        return scope

    def _needs_choice(self, node: Node, scope: Optional[AnyScope], listing: Listing) -> bool:
        """Whether anything here may be left out; False for nearly every directory there is."""
        given = self._subject.given
        if scope is not None and not scope.trivial:
            return True
        if self._subject.one_file_system and self._mounts(listing):
            return True
        if given is not None and node.path in given:
            return True
        special = self._special if given is None else _PRIVATE_ONLY
        return not special.isdisjoint([row[0] for row in listing.rows])

    def _mounts(self, listing: Listing) -> set[bytes]:
        """Subdirectories on another file system than the root's."""
        return {name for name, device in listing.directories.items() if device != self._device}

    def _choose(
        self, fd: int, node: Node, listing: Listing, scope: AnyScope, stored: Optional[Row]
    ) -> tuple[Listing, AnyScope]:
        """Leave out of ``listing`` what does not belong to the tree; the rules with the
        directory's own ignore files."""
        names = {row[0] for row in listing.rows}
        given = self._subject.given
        mounts: set[bytes] = set()
        if given is None:
            files = self._own_ignore_files(fd, node.path, scope, names)
            if self._subject.one_file_system:
                mounts = self._mounts(listing)
                if mounts:
                    self._ignore_files.note_mounts(node.path, sorted(mounts))
        else:
            files = dict(given.get(node.path, {}))
            mounts = set(files.pop(MOUNTS, b"").split(b"\0"))
        if files:
            scope = scope.with_files(files)
        excluded: list[bytes] = []
        kept = []
        # Mount points are no matter of rules: they are part of what the answers stand for.
        node.scope = scope.digest + b"\0".join(sorted(mounts))
        said = answers(stored, node.scope)
        size = 0
        for packed in listing.rows:
            name = packed[0]
            if name == PRIVATE:
                continue
            row = stats_module.unpack_row(packed)
            directory = name in listing.directories
            marked = name + b"/" if directory else name
            answer: Optional[bool] = True if name in mounts else said.get(marked)
            if answer is None:
                answer = not scope.trivial and scope.excluded(name, directory)
            if answer:
                excluded.append(marked)
            else:
                kept.append(packed)
                size += row[2] if stat.S_ISREG(row[1]) else 0
        node.excluded = b"\0".join(excluded)
        directories = {
            name: device
            for name, device in listing.directories.items()
            if name != PRIVATE and name + b"/" not in excluded
        }
        return listing._replace(rows=kept, directories=directories, size=size), scope

    def _own_ignore_files(
        self, fd: int, path: bytes, scope: AnyScope, names: set[bytes]
    ) -> dict[bytes, bytes]:
        files = {}
        for merge in self._subject.rules.merges:
            if merge.name in names:
                content = self._ignore_files.read(fd, merge.name, path, merge.key)
                if content is not None:
                    files[merge.key] = content
        for name in scope.ignore_names & names & IGNORE_FILES:
            content = self._ignore_files.read(fd, name, path, name)
            if content is not None:
                files[name] = content
        if GIT in scope.ignore_names & names:
            self._ignore_files.note(path, GIT)
            files[GIT] = b""
            try:
                info = self._subject.directories.open(join(path, b".git/info"))
                content = self._ignore_files.read(info, b"exclude", path, GIT_EXCLUDE)
            except (FileNotFoundError, NotADirectoryError):
                content = None  # a worktree or submodule, whose .git is a file
            if content is not None:
                files[GIT_EXCLUDE] = content
        return files


def _inherited(scope: Optional[AnyScope]) -> bytes:
    """How a row names the rules of a directory that has none of its own."""
    return b"" if scope is None or scope.trivial else scope.digest


def _is_loop(node: Node) -> bool:
    """Whether the directory is one of its own ancestors, by a bind mount."""
    ancestor = node.parent
    while ancestor is not None:
        if ancestor.identity == node.identity:
            return True
        ancestor = ancestor.parent
    return False
