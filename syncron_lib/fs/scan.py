"""Scanning: a walk over one tree that reads every entry's stat and no file.

The walk is depth first with sorted names and an explicit stack, and runs beside a stream of the
state's rows in the same order. A directory whose packed columns equal its stored row takes over
that row's digests as they are; elsewhere digests are taken over entry by entry, where size,
mtime, ctime and inode are what they were.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import PRIVATE, join
from syncron_lib.core.rules import GIT, GIT_EXCLUDE, RuleSet, Scope
from syncron_lib.core.table import TYPE_MASK, Malformed
from syncron_lib.fs import listing as listing_module
from syncron_lib.fs import stats as stats_module
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.ignorefiles import MOUNTS, IgnoreFiles
from syncron_lib.fs.listing import Listing
from syncron_lib.fs.state import Row, State
from syncron_lib.fs.stats import FIELDS
from syncron_lib.fs.tree import Node, Tree

_PRIVATE_ONLY = frozenset((PRIVATE,))
_REPORT_EVERY = 2000
"""Entries between two reports of progress: some 10 ms of work."""

OnProgress = Callable[[int, int], None]
"""Called with the entries and the bytes (of files) scanned so far."""


_Step = tuple[Node, Optional[Scope]]
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


class Scanner:
    """One scan of a root."""

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
        self._stored = self._rows()
        self._next_stored: Optional[Row] = next(self._stored, None)
        self._entries = 0
        self._size = 0
        self._reported = 0
        self._device = 0
        self._special = _PRIVATE_ONLY | subject.rules.root().ignore_names
        self.users: set[int] = set()
        self.groups: set[int] = set()
        self.vanished_rows: list[bytes] = []
        """Paths of directories that the state has and the tree has not."""

    def _rows(self) -> Iterator[Row]:
        if self._state is None:
            return
        try:
            yield from self._state.rows()
        except sqlite3.DatabaseError:
            self._state.reset()

    def _stored_row(self, path: bytes) -> Optional[Row]:
        """The stored row of ``path``; rows before it are of directories that are gone."""
        key = path.replace(b"/", b"\0")
        row = self._next_stored
        while row is not None and row.path.replace(b"/", b"\0") < key:
            self.vanished_rows.append(row.path)
            row = next(self._stored, None)
        if row is not None and row.path == path:
            self._next_stored = next(self._stored, None)
            return row
        self._next_stored = row
        return None

    def scan(self) -> Tree:
        """Walk the root. Raises OSError where the root itself cannot be opened."""
        tree = Tree()
        subject = self._subject
        root = Node(b"", None, 0)
        st = os.fstat(subject.directories.root_fd)
        self._device = st.st_dev
        mtime = stats_module.in_range(st.st_mtime_ns)
        root.attributes = Attributes(st.st_mode, mtime, st.st_uid, st.st_gid)
        root.identity = (st.st_dev, st.st_ino)
        stack: list[_Step] = [(root, None if subject.rules.trivial else subject.rules.root())]
        while stack:
            node, scope = stack.pop()
            tree.add(node)
            below = self._directory(node, scope)
            stack.extend(reversed(below))
            if self._entries - self._reported >= _REPORT_EVERY:
                self._reported = self._entries
                self._on_progress(self._entries, self._size)
        while self._next_stored is not None:
            self.vanished_rows.append(self._next_stored.path)
            self._next_stored = next(self._stored, None)
        tree.total()
        return tree

    def _directory(self, node: Node, scope: Optional[Scope]) -> list[_Step]:
        """Fill ``node`` from the disk and the state; its subdirectories."""
        stored = self._stored_row(node.path)
        if _is_loop(node):
            node.problem = errno.ELOOP
            return []
        try:
            fd = self._subject.directories.open(node.path)
            listing = self._listing(fd, node.path)
            if self._needs_choice(node, scope, listing):
                if scope is None:
                    scope = self._scope_of(node.path)
                listing, scope = self._choose(fd, node, listing, scope, stored)
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
            node.merkle = stored.merkle
            node.stored = stored.scope == node.scope
        else:
            _carry_over(fd, node, listing, stored)
        node.own_entries = len(listing.rows)
        node.own_size = listing.size
        self._entries += len(listing.rows)
        self._size += listing.size
        for uid, gid in listing.owners:
            self.users.add(uid)
            self.groups.add(gid)
        return self._below(node, listing, scope) if listing.directories else []

    def _below(self, node: Node, listing: Listing, scope: Optional[Scope]) -> list[_Step]:
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

    def _scope_of(self, path: bytes) -> Scope:
        """The rules in a directory above which no ignore file was met."""
        scope = self._subject.rules.root()
        if path:
            for name in path.split(b"/"):
                scope = scope.child(name)
        return scope

    def _needs_choice(self, node: Node, scope: Optional[Scope], listing: Listing) -> bool:
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

    def _listing(self, fd: int, path: bytes) -> Listing:
        """The directory open at ``fd``; of the root only what the run is over."""
        subject = self._subject
        if subject.only is None or path:
            return listing_module.read(fd)
        try:
            st = os.stat(subject.only, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return Listing([], {}, 0, set())
        row = stats_module.row(subject.alias or subject.only, st)
        packed = (row[0], stats_module.pack_fields(row))
        return Listing([packed], {}, row[2], {(st.st_uid, st.st_gid)})

    def _choose(
        self, fd: int, node: Node, listing: Listing, scope: Scope, stored: Optional[Row]
    ) -> tuple[Listing, Scope]:
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
        answers = _answers(stored, node.scope)
        size = 0
        for packed in listing.rows:
            name = packed[0]
            if name == PRIVATE:
                continue
            row = stats_module.unpack_row(packed)
            directory = name in listing.directories
            marked = name + b"/" if directory else name
            answer: Optional[bool] = True if name in mounts else answers.get(marked)
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
        self, fd: int, path: bytes, scope: Scope, names: set[bytes]
    ) -> dict[bytes, bytes]:
        files = {}
        for name in scope.ignore_names & names:
            if name == GIT:
                continue
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


def _answers(stored: Optional[Row], scope: bytes) -> dict[bytes, bool]:
    """What the same rules said of the same names last time: name (with a slash behind it for a
    directory) to whether it is excluded."""
    if stored is None or stored.scope != scope:
        return {}
    try:
        columns = stats_module.unpack(stored.stats)
    except Malformed:
        return {}
    answers = {
        (name + b"/" if stat.S_ISDIR(mode) else name): False
        for name, mode in zip(columns.names, columns.modes)
    }
    answers.update((name, True) for name in stored.excluded.split(b"\0") if name)
    return answers


def _carry_over(fd: int, node: Node, listing: Listing, stored: Optional[Row]) -> None:
    """Give ``node`` the digests and targets of entries that are as they were, and read the
    targets of new symlinks. Those that vanish meanwhile are dropped from the listing."""
    known = _known_entries(stored)
    digests = []
    targets = []
    dropped = []
    for index, packed in enumerate(listing.rows):
        name, fields = packed
        before = known.get(name)
        same = before is not None and before[0] == fields
        value = digest.UNKNOWN
        kind = FIELDS.unpack(fields)[0] & TYPE_MASK
        if kind == stat.S_IFLNK:
            if before is not None and same:
                targets.append(before[1])
            else:
                try:
                    targets.append(os.readlink(name, dir_fd=fd))
                except OSError:
                    dropped.append(index)
                    continue
        elif before is not None and same and kind == stat.S_IFREG:
            value = before[1]
        digests.append(value)
    for index in reversed(dropped):
        del listing.rows[index]
    if dropped:
        node.stats = stats_module.join(listing.rows)
    node.digests = b"".join(digests)
    node.targets = b"\0".join(targets)


def _known_entries(stored: Optional[Row]) -> dict[bytes, tuple[bytes, bytes]]:
    """Name to (packed fields, digest or target) as stored."""
    if stored is None:
        return {}
    try:
        columns = stats_module.unpack(stored.stats)
    except Malformed:
        return {}
    if len(stored.digests) != len(columns.names) * digest.SIZE:
        return {}
    targets = iter(stored.targets.split(b"\0"))
    known = {}
    for index, row in enumerate(zip(*columns)):
        if stat.S_ISLNK(row[1]):
            value = next(targets, b"")
        else:
            value = stored.digests[index * digest.SIZE : (index + 1) * digest.SIZE]
        known[row[0]] = (stats_module.pack_fields(row), value)
    return known


def _is_loop(node: Node) -> bool:
    """Whether the directory is one of its own ancestors, by a bind mount."""
    ancestor = node.parent
    while ancestor is not None:
        if ancestor.identity == node.identity:
            return True
        ancestor = ancestor.parent
    return False
