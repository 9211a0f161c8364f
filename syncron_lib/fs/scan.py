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
import sys
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import PRIVATE, join
from syncron_lib.core.rules import GIT, GIT_EXCLUDE, RuleSet, Scope
from syncron_lib.core.table import TYPE_MASK, Malformed
from syncron_lib.fs import stats as stats_module
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.ignorefiles import MOUNTS, IgnoreFiles
from syncron_lib.fs.state import Row, State
from syncron_lib.fs.stats import StatRow, problem_row
from syncron_lib.fs.tree import Node, Tree

_ENCODING = sys.getfilesystemencoding()
_ENCODING_ERRORS = sys.getfilesystemencodeerrors()
_PRIVATE_ONLY = frozenset((PRIVATE,))
_UID, _GID = itemgetter(6), itemgetter(7)
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
        devices: dict[bytes, int] = {}
        try:
            fd = self._subject.directories.open(node.path)
            rows = self._entries_of(fd, node, devices)
            if self._needs_choice(node.path, scope, rows, devices):
                if scope is None:
                    scope = self._scope_of(node.path)
                rows, scope = self._choose(fd, node, rows, scope, devices, stored)
        except OSError as error:
            if not node.path:
                raise
            node.problem = error.errno or errno.EIO
            return []
        if (
            stored is not None
            and stored.excluded == node.excluded
            and len(stored.digests) == len(rows) * digest.SIZE
            and stored.stats == (packed := stats_module.pack(rows))
        ):
            node.stats = packed
            node.digests = stored.digests
            node.targets = stored.targets
            node.merkle = stored.merkle
            node.stored = stored.scope == node.scope
        else:
            rows = _carry_over(fd, node, rows, stored)
            node.stats = stats_module.pack(rows)
        below = []
        size = 0
        for index, row in enumerate(rows):
            kind = row[1] & TYPE_MASK
            if kind == stat.S_IFREG:
                size += row[2]
            elif kind == stat.S_IFDIR:
                child = Node(join(node.path, row[0]), node, index)
                child.attributes = Attributes(row[1], row[3], row[6], row[7])
                child.identity = (devices.get(row[0], node.identity[0]), row[5])
                below.append((child, scope and scope.child(row[0])))
        node.own_entries = len(rows)
        node.own_size = size
        self._entries += len(rows)
        self._size += size
        self.users.update(map(_UID, rows))
        self.groups.update(map(_GID, rows))
        return below

    def _scope_of(self, path: bytes) -> Scope:
        """The rules in a directory above which no ignore file was met."""
        scope = self._subject.rules.root()
        if path:
            for name in path.split(b"/"):
                scope = scope.child(name)
        return scope

    def _needs_choice(
        self, path: bytes, scope: Optional[Scope], rows: list[StatRow], devices: dict[bytes, int]
    ) -> bool:
        """Whether anything here may be left out; False for nearly every directory there is."""
        given = self._subject.given
        if (scope is not None and not scope.trivial) or (devices and self._subject.one_file_system):
            return True
        if given is not None and path in given:
            return True
        return not (self._special if given is None else _PRIVATE_ONLY).isdisjoint(
            [row[0] for row in rows]
        )

    def _entries_of(self, fd: int, node: Node, devices: dict[bytes, int]) -> list[StatRow]:
        """Rows of the directory open at ``fd``, sorted by name. ``devices`` receives the device
        of each subdirectory on another file system."""
        subject = self._subject
        if subject.only is not None and not node.path:
            try:
                st = os.stat(subject.only, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                return []
            return [stats_module.row(subject.alias or subject.only, st)]
        return read_entries(fd, node.identity[0], devices)

    def _choose(
        self,
        fd: int,
        node: Node,
        rows: list[StatRow],
        scope: Scope,
        devices: dict[bytes, int],
        stored: Optional[Row],
    ) -> tuple[list[StatRow], Scope]:
        """Leave out of ``rows`` what does not belong to the tree; the rules with the
        directory's own ignore files."""
        names = {row[0] for row in rows}
        given = self._subject.given
        mounts: set[bytes] = set()
        if given is None:
            files = self._own_ignore_files(fd, node.path, scope, names)
            if self._subject.one_file_system and devices:
                mounts = {name for name, device in devices.items() if device != self._device}
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
        for row in rows:
            name = row[0]
            if name == PRIVATE:
                continue
            directory = stat.S_ISDIR(row[1])
            marked = name + b"/" if directory else name
            answer = answers.get(marked)
            if answer is None:
                answer = name in mounts or (not scope.trivial and scope.excluded(name, directory))
            if answer:
                excluded.append(marked)
            else:
                kept.append(row)
        node.excluded = b"\0".join(excluded)
        return kept, scope

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


def read_entries(fd: int, device: int, devices: dict[bytes, int]) -> list[StatRow]:
    """Rows of all entries of the directory open at ``fd``, sorted by name.

    ``devices`` receives the device of each subdirectory that is not on ``device``.
    """
    rows: list[StatRow] = []
    append = rows.append
    with os.scandir(fd) as listing:
        for entry in listing:
            name = entry.name.encode(_ENCODING, _ENCODING_ERRORS)
            try:
                st = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                append(problem_row(name, error.errno or errno.EIO))
                continue
            mode = st.st_mode
            if mode & TYPE_MASK == stat.S_IFREG:  # stats.row, without the call
                append(
                    (
                        name,
                        mode,
                        st.st_size,
                        st.st_mtime_ns,
                        st.st_ctime_ns,
                        st.st_ino,
                        st.st_uid,
                        st.st_gid,
                    )
                )
                continue
            if st.st_dev != device and stat.S_ISDIR(mode):
                devices[name] = st.st_dev
            append(stats_module.row(name, st))
    rows.sort()
    return rows


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


def _carry_over(fd: int, node: Node, rows: list[StatRow], stored: Optional[Row]) -> list[StatRow]:
    """Give ``node`` the digests and targets of entries that are as they were, and read the
    targets of new symlinks. Returns the rows without symlinks that vanished meanwhile."""
    known = _known_entries(stored)
    digests = []
    targets = []
    kept = []
    for row in rows:
        before = known.get(row[0])
        same = before is not None and before[0] == row
        value = digest.UNKNOWN
        kind = row[1] & TYPE_MASK
        if kind == stat.S_IFLNK:
            if before is not None and same:
                targets.append(before[1])
            else:
                try:
                    targets.append(os.readlink(row[0], dir_fd=fd))
                except OSError:
                    continue
        elif before is not None and same and kind == stat.S_IFREG:
            value = before[1]
        kept.append(row)
        digests.append(value)
    node.digests = b"".join(digests)
    node.targets = b"\0".join(targets)
    return kept


def _known_entries(stored: Optional[Row]) -> dict[bytes, tuple[StatRow, bytes]]:
    """Name to (stat row, digest or target) as stored."""
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
        known[row[0]] = (row, value)
    return known


def _is_loop(node: Node) -> bool:
    """Whether the directory is one of its own ancestors, by a bind mount."""
    ancestor = node.parent
    while ancestor is not None:
        if ancestor.identity == node.identity:
            return True
        ancestor = ancestor.parent
    return False
