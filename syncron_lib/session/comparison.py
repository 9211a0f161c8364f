"""From two sealed trees to a plan: walks what differs, breadth first, many directories a frame."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from errno import ENOENT
from types import MappingProxyType
from typing import NamedTuple

from syncron_lib.core import digest
from syncron_lib.core.compare import (
    Pair,
    Relation,
    attributes_of,
    change_flags,
    digest_of,
    pairs,
)
from syncron_lib.core.merkle import Attributes, Profile
from syncron_lib.core.names import join, split
from syncron_lib.core.options import RunOptions
from syncron_lib.core.plan import Adjust, Change, Create, Plan, Remove
from syncron_lib.core.report import Cause, Failure
from syncron_lib.core.table import PROBLEM, Table, link_targets
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Below, Directory
from syncron_lib.session.asking import FRAME, IN_FLIGHT, failure_of, reply_of
from syncron_lib.session.listings import Known, listings

_FILES_A_REQUEST = 500
_HOLDING = 1000
"""Directories below each other that hold what the rules leave out, which a peer could make up
without an end; what lies deeper is not deleted."""


class _Unsure(NamedTuple):
    """Two files of one size that only their digests can tell apart."""

    path: bytes
    source: Attributes
    destination: Attributes
    size: int
    source_known: bytes
    destination_known: bytes


class Comparison:
    """Compares two endpoints that have been sealed under one profile."""

    def __init__(
        self,
        source: Endpoint,
        destination: Endpoint,
        profile: Profile,
        options: RunOptions,
        whole: bool,
        missing: bool,
        unreadable: int,
        on_failure: Callable[[Failure], None],
        on_hashed: Callable[[int, int], None],
        known: tuple[Known, Known] = (MappingProxyType({}), MappingProxyType({})),
        staging: bool = False,
    ) -> None:
        """``profile``: with the source's ids mapped. ``whole``: the roots' own attributes count.
        ``missing``: the destination is to be made. ``unreadable``: directories that the source's
        scan could not read.
        ``on_hashed``: called with the bytes hashed so far and in all. ``known``: directories of
        source and destination that need not be asked for. ``staging``: the destination has some
        to be removed."""
        self._known = known
        self._staging = staging
        self._source = source
        self._destination = destination
        self._profile = profile
        self._options = options
        self._whole = whole
        self._unreadable = unreadable
        self._on_failure = on_failure
        self._on_hashed = on_hashed
        self._plan = Plan(makes_root=missing)
        self._unsure: list[_Unsure] = []
        self._targets: dict[int, bytes] = {}
        """Targets of the symlinks, by row, in the source's directory that is being compared."""
        self._own: dict[bytes, Attributes] = {}
        """Attributes of the source's directories that both sides have and that were visited."""
        self.source_problems = unreadable
        self.bytes_hashed = 0
        self._candidates: list[Remove] = []

    def run(self) -> Plan:
        """The plan."""
        frontier = [b""]
        while frontier:
            following: list[bytes] = []
            sources = listings(self._source, frontier, self._known[0])
            theirs = listings(self._destination, frontier, self._known[1])
            for path, mine in zip(frontier, sources):
                other = next(theirs, None)
                if other is None:
                    raise PeerViolation("The other side listed fewer directories than asked for.")
                if not path:
                    self._own[path] = _own(mine)
                    if self._whole and not self._plan.makes_root:
                        self._root_attributes(mine, other)
                self._directory(path, mine, other, following)
            frontier = following
        self._decide_unsure()
        self._removals()
        plan = self._plan
        for parts in (plan.creates, plan.changes, plan.adjusts, plan.removes):
            parts.sort(key=lambda step: step.path.replace(b"/", b"\0"))
            for step in parts:
                self._touch(split(step.path)[0] if step.path else b"")
        if self._staging or not plan.is_empty:
            self._touch(b"")  # staging comes and goes in it
        return plan

    def _touch(self, path: bytes) -> None:
        own = self._own.get(path)
        if own is not None and (path or self._whole):
            self._plan.touched[path] = own

    def _root_attributes(self, mine: Directory, other: Directory) -> None:
        source, destination = _own(mine), _own(other)
        self._adjust_if_needed(b"", source, destination, 0)

    def _adjust_if_needed(
        self,
        path: bytes,
        source: Attributes,
        destination: Attributes,
        size: int,
        target: bytes | None = None,
    ) -> None:
        flags = change_flags(
            source, destination, self._profile, size_differs=False, content_differs=False
        )
        if any(flag != "." for flag in flags[1:]):
            self._plan.adjusts.append(Adjust(path, flags, source, size, target))

    def _fail(self, path: bytes, side: str, errno: int) -> None:
        if side == "source":
            self.source_problems += 1
        vanished = side == "source" and errno == ENOENT
        what = "vanished" if vanished else f"cannot be read: {os.strerror(errno)}"
        cause = Cause.VANISHED if vanished else Cause.ERROR
        self._on_failure(Failure(path, side, what, cause))

    def _directory(
        self, path: bytes, mine: Directory, other: Directory, following: list[bytes]
    ) -> None:
        """Compare one directory that both sides have."""
        if mine.problem or other.problem:
            # Nothing below is known on one side, so nothing below is decided.
            if mine.problem:
                self._fail(path, "source", mine.problem)
            if other.problem:
                self._fail(path, "destination", other.problem)
            return
        self._targets = link_targets(mine.table)
        below_mine = below_by_row(mine)
        below_theirs = below_by_row(other)
        for pair in pairs(mine.table, other.table, self._profile):
            self._pair(path, pair, mine.table, other.table, below_mine, below_theirs, following)

    def _pair(
        self,
        parent: bytes,
        pair: Pair,
        mine: Table,
        theirs: Table,
        below_mine: dict[int, Below],
        below_theirs: dict[int, Below],
        following: list[bytes],
    ) -> None:
        path = join(parent, pair.name)
        row, other = pair.source, pair.destination
        relation = pair.relation
        if relation is Relation.ONLY_DESTINATION:
            assert other is not None
            self._candidates.append(removal(path, theirs, other, below_theirs))
        elif relation is Relation.UNREADABLE_SOURCE:
            assert row is not None
            self._fail(path, "source", mine.sizes[row])
        elif relation is Relation.UNREADABLE_DESTINATION:
            assert other is not None
            self._fail(path, "destination", theirs.sizes[other])
        elif relation is Relation.ONLY_SOURCE:
            assert row is not None
            self._plan.creates.append(
                _creation(path, mine, row, below_mine, 0, self._targets.get(row))
            )
        else:
            assert row is not None
            assert other is not None
            if relation is Relation.OTHER_KIND:
                self._replace(path, mine, row, theirs, other, below_mine, below_theirs)
                return
            source, destination = attributes_of(mine, row), attributes_of(theirs, other)
            if relation is Relation.DIFFERENT:
                self._change(path, mine, row, theirs, other)
            elif relation is Relation.UNKNOWN:
                self._unsure.append(
                    _Unsure(
                        path,
                        source,
                        destination,
                        mine.sizes[row],
                        mine.digests[row * 16 : row * 16 + 16],
                        theirs.digests[other * 16 : other * 16 + 16],
                    )
                )
            else:
                if pair.descend:
                    following.append(path)
                    self._own[path] = source
                if pair.attributes_differ:
                    size = mine.sizes[row] if stat.S_ISREG(source.mode) else 0
                    target = self._targets.get(row)
                    self._adjust_if_needed(path, source, destination, size, target)

    def _replace(
        self,
        path: bytes,
        mine: Table,
        row: int,
        theirs: Table,
        other: int,
        below_mine: dict[int, Below],
        below_theirs: dict[int, Below],
    ) -> None:
        old = removal(path, theirs, other, below_theirs)
        if old.entries > 1 and not (self._options.delete or self._options.force):
            what = (
                "a directory that is not empty is in its place;"
                " allow its removal with --delete or --force"
            )
            self._on_failure(Failure(path, "destination", what, Cause.ERROR))
            return
        if self._unreadable and stat.S_ISDIR(mine.modes[row]):
            what = "is kept, because a part of the source, perhaps what replaces it, is unreadable"
            self._on_failure(Failure(path, "destination", what, Cause.ERROR))
            return
        self._plan.creates.append(
            _creation(path, mine, row, below_mine, old.entries, self._targets.get(row))
        )

    def _change(self, path: bytes, mine: Table, row: int, theirs: Table, other: int) -> None:
        size, old_size = mine.sizes[row], theirs.sizes[other]
        is_file = stat.S_ISREG(mine.modes[row])
        flags = change_flags(
            attributes_of(mine, row),
            attributes_of(theirs, other),
            self._profile,
            size_differs=is_file and size != old_size,
            content_differs=True,
        )
        target = self._targets.get(row)
        self._plan.changes.append(
            Change(
                path,
                flags,
                size if is_file else 0,
                old_size if is_file else 0,
                target,
                attributes_of(mine, row),
            )
        )

    # --- files that only their digests tell apart -----------------------------------------------

    def _decide_unsure(self) -> None:
        """Hash what is unknown, on both sides at once, and decide."""
        unsure = self._unsure
        sides = (
            (self._source, "source", [u for u in unsure if u.source_known == digest.UNKNOWN]),
            (
                self._destination,
                "destination",
                [u for u in unsure if u.destination_known == digest.UNKNOWN],
            ),
        )
        total = sum(u.size for _, _, files in sides for u in files)
        digests: dict[tuple[str, bytes], bytes] = {}
        failed: set[bytes] = set()
        runs = [self._hashes(endpoint, side, files) for endpoint, side, files in sides]
        # Each generator keeps its own requests in flight; drawing from both in turn keeps both
        # machines busy.
        while runs:
            for run in list(runs):
                batch = next(run, None)
                if batch is None:
                    runs.remove(run)
                    continue
                side, paths, reply = batch
                self.bytes_hashed += reply.size
                self._on_hashed(self.bytes_hashed, total)
                if len(reply.digests) != len(paths) * digest.SIZE:
                    raise PeerViolation("The other side sent another number of digests.")
                for index, path in enumerate(paths):
                    value = reply.digests[index * digest.SIZE : (index + 1) * digest.SIZE]
                    digests[side, path] = value
                for problem in reply.problems:
                    failed.add(problem.path)
                    self.source_problems += side == "source" and not problem.vanished
                    self._on_failure(failure_of(problem, side))
        for item in unsure:
            if item.path in failed:
                continue
            mine = digests.get(("source", item.path), item.source_known)
            theirs = digests.get(("destination", item.path), item.destination_known)
            if mine == theirs:
                self._adjust_if_needed(item.path, item.source, item.destination, item.size)
            else:
                flags = change_flags(
                    item.source,
                    item.destination,
                    self._profile,
                    size_differs=False,
                    content_differs=True,
                )
                self._plan.changes.append(
                    Change(item.path, flags, item.size, item.size, None, item.source)
                )

    def _hashes(
        self, endpoint: Endpoint, side: str, files: Sequence[_Unsure]
    ) -> Iterator[tuple[str, Sequence[bytes], messages.Hashed]]:
        batches = deque(_hash_batches(files))
        waiting: deque[tuple[Sequence[bytes], Future[object]]] = deque()
        while batches or waiting:
            while batches and len(waiting) < IN_FLIGHT:
                batch = batches.popleft()
                waiting.append((batch, endpoint.submit(messages.Hash(batch))))
            paths, future = waiting.popleft()
            yield side, paths, reply_of(future, messages.Hashed)

    # --- deletes --------------------------------------------------------------------------------

    def _removals(self) -> None:
        """What only the destination has: deleted if that was asked for and the whole source
        could be read; else it stays, outside of what the run is about."""
        if self._deletes:
            self._plan.removes.extend(self._without_holding(self._candidates))
        else:
            self._plan.extras.extend(remove.path for remove in self._candidates)

    @property
    def _deletes(self) -> bool:
        options = self._options
        return options.delete and (options.ignore_errors or not self.source_problems)

    def _without_holding(self, removes: Sequence[Remove]) -> Iterator[Remove]:
        """The same, but where a directory holds what the rules leave out: it stays, and what else
        is in it goes."""
        self._plan.extras.extend(remove.path for remove in removes if remove.holds)
        for _ in range(_HOLDING):
            if not removes:
                return
            yield from (remove for remove in removes if not remove.holds)
            holding = [remove.path for remove in removes if remove.holds]
            inside: list[Remove] = []
            for path, directory in zip(holding, listings(self._destination, holding)):
                table, below = directory.table, below_by_row(directory)
                inside.extend(
                    removal(join(path, name), table, row, below)
                    for row, name in enumerate(table.names)
                    if table.modes[row] != PROBLEM
                )
            removes = inside

    @property
    def withheld_removals(self) -> int:
        """Entries that would have been deleted, had the source been readable."""
        if self._options.delete and not self._deletes:
            return sum(remove.entries for remove in self._candidates)
        return 0


def _own(directory: Directory) -> Attributes:
    return Attributes(directory.mode, directory.mtime_ns, directory.uid, directory.gid)


def below_by_row(directory: Directory) -> dict[int, Below]:
    rows = [row for row, mode in enumerate(directory.table.modes) if stat.S_ISDIR(mode)]
    if len(rows) != len(directory.below):
        raise PeerViolation("The other side counted the subdirectories of a directory wrongly.")
    return dict(zip(rows, directory.below))


def _creation(
    path: bytes,
    table: Table,
    row: int,
    below: dict[int, Below],
    replaces: int,
    target: bytes | None,
) -> Create:
    mode = table.modes[row]
    entries, size = 1, table.sizes[row] if stat.S_ISREG(mode) else 0
    if stat.S_ISDIR(mode):
        entries, size = below[row].entries + 1, below[row].size
    own = attributes_of(table, row)
    return Create(path, mode, entries, size, target, replaces, own, digest_of(table, row))


def removal(path: bytes, table: Table, row: int, below: dict[int, Below]) -> Remove:
    mode = table.modes[row]
    entries, size, holds = 1, table.sizes[row] if stat.S_ISREG(mode) else 0, False
    if stat.S_ISDIR(mode):
        entries, size, holds = below[row].entries + 1, below[row].size, below[row].holds
    own = attributes_of(table, row)
    return Remove(path, stat.S_ISDIR(mode), entries, size, own, digest_of(table, row), holds)


def _hash_batches(files: Iterable[_Unsure]) -> Iterator[list[bytes]]:
    """Paths in requests of bounded number and size, so that progress shows."""
    batch: list[bytes] = []
    size = names = 0
    for file in files:
        batch.append(file.path)
        size += file.size
        names += len(file.path)
        if len(batch) >= _FILES_A_REQUEST or size >= 64 << 20 or names >= FRAME:
            yield batch
            batch, size, names = [], 0, 0
    if batch:
        yield batch
