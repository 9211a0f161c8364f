"""From two sealed trees to a plan: walks what differs, breadth first, many directories a frame."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future
from errno import ENOENT
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from syncron_lib.core import digest
from syncron_lib.core.choosing import is_left, is_never_brought, within_window
from syncron_lib.core.compare import (
    Pair,
    Relation,
    attributes_of,
    change_flags,
    pairs,
)
from syncron_lib.core.merkle import Attributes, Profile
from syncron_lib.core.names import join, split
from syncron_lib.core.options import RunOptions, TransferRules
from syncron_lib.core.plan import Adjust, Change, Left, Plan, Remove
from syncron_lib.core.report import Cause, Failure
from syncron_lib.core.table import PROBLEM, Table, link_targets
from syncron_lib.core.view import REASONS
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Below, Directory
from syncron_lib.session.asking import FRAME, IN_FLIGHT, failure_of, reply_of
from syncron_lib.session.listings import Known, below_by_row, listings
from syncron_lib.session.steps import creation, removal

if TYPE_CHECKING:
    from syncron_lib.session.protection import Protection

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
        protection: Protection | None = None,
    ) -> None:
        """``profile``: with the source's ids mapped. ``whole``: the roots' own attributes count.
        ``missing``: the destination is to be made. ``unreadable``: directories that the source's
        scan could not read.
        ``on_hashed``: called with the bytes hashed so far and in all. ``known``: directories of
        source and destination that need not be asked for. ``staging``: the destination has some
        to be removed. ``protection``: what the rules keep at the destination, where they have
        sides."""
        self._protection = protection
        self._kept: Set[bytes] = frozenset()
        """What is protected, and the directories that are above any of it."""
        self._above_kept: Set[bytes] = frozenset()
        self._replaced: list[Remove] = []
        """Directories that make way."""
        self._known = known
        self._staging = staging
        self._source = source
        self._destination = destination
        self._profile = profile
        self._options = options
        self._chosen = options.transfer
        self._chooses = options.transfer != TransferRules()
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
        if self._chosen.divides_new:
            from syncron_lib.session.leaving import leave_below

            leave_below(self._plan, self._source, self._chosen)
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
        if self._chooses:
            source = within_window(self._chosen, source, destination)
        flags = change_flags(
            source, destination, self._profile, size_differs=False, content_differs=False
        )
        if any(flag != "." for flag in flags[1:]):
            self._plan.adjusts.append(Adjust(path, flags, source, size, target))

    def _fail(self, path: bytes, side: str, errno: int) -> None:
        if side == "source":
            self.source_problems += 1
        vanished = side == "source" and errno == ENOENT
        why = REASONS.get(errno) or os.strerror(errno)
        what = "vanished" if vanished else f"cannot be read: {why}"
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
            whole = creation(path, mine, row, below_mine, 0, self._targets.get(row))
            if self._chooses and self._is_not_created(path, mine, row):
                self._plan.left[path] = Left(whole.entries, whole.size)
            else:
                self._plan.creates.append(whole)
        else:
            assert row is not None
            assert other is not None
            source, destination = attributes_of(mine, row), attributes_of(theirs, other)
            if self._chooses and self._is_left(path, mine, row, source, destination):
                whole = creation(path, mine, row, below_mine, 0, None)
                self._plan.left[path] = Left(whole.entries, whole.size)
                return
            if relation is Relation.OTHER_KIND:
                self._replace(path, mine, row, theirs, other, below_mine, below_theirs)
                return
            if self._chooses and self._decided(path, mine, row, theirs, other, source, destination):
                return
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

    def _is_not_created(self, path: bytes, mine: Table, row: int) -> bool:
        mode, size, target = mine.modes[row], mine.sizes[row], self._targets.get(row)
        return self._chosen.existing or is_never_brought(self._chosen, path, mode, size, target)

    def _is_left(
        self, path: bytes, mine: Table, row: int, source: Attributes, destination: Attributes
    ) -> bool:
        size, target = mine.sizes[row], self._targets.get(row)
        return is_left(self._chosen, source, destination) or is_never_brought(
            self._chosen, path, source.mode, size, target
        )

    def _decided(
        self,
        path: bytes,
        mine: Table,
        row: int,
        theirs: Table,
        other: int,
        source: Attributes,
        destination: Attributes,
    ) -> bool:
        """Whether two entries are files of one size that need not be compared by content."""
        size = mine.sizes[row]
        if size != theirs.sizes[other] or not stat.S_ISREG(source.mode):
            return False
        if self._chosen.size_only:
            self._adjust_if_needed(path, source, destination, size)
        elif self._chosen.ignore_times:
            flags = change_flags(
                source, destination, self._profile, size_differs=False, content_differs=False
            )
            self._plan.changes.append(Change(path, flags, size, size, None, source))
        else:
            return False
        return True

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
        if old.is_directory:
            self._replaced.append(old)
        self._plan.creates.append(
            creation(path, mine, row, below_mine, old.entries, self._targets.get(row))
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
        deletes = self._deletes
        if self._protection is not None:
            candidates = self._candidates if deletes else ()
            self._kept, self._above_kept = self._protection.kept(candidates, self._replaced)
            self._keep_replaced()
        if deletes:
            self._plan.removes.extend(self._without_holding(self._candidates))
        else:
            self._plan.extras.extend(remove.path for remove in self._candidates)

    def _keep_replaced(self) -> None:
        """Create nothing in the place of a directory that holds what is protected."""
        holding = {remove.path for remove in self._replaced} & self._above_kept
        what = "a directory that holds what the rules protect is in its place"
        for path in sorted(holding):
            self._on_failure(Failure(path, "destination", what, Cause.ERROR))
        if holding:
            creates = self._plan.creates
            creates[:] = [create for create in creates if create.path not in holding]

    def _holds(self, remove: Remove) -> bool:
        return remove.holds or remove.path in self._above_kept

    @property
    def _deletes(self) -> bool:
        options = self._options
        return options.delete and (options.ignore_errors or not self.source_problems)

    def _without_holding(self, removes: Sequence[Remove]) -> Iterator[Remove]:
        """The same, but where a directory holds what the rules leave out or protect: it stays, and
        what else is in it goes."""
        protected = self._kept
        self._plan.extras.extend(
            remove.path for remove in removes if remove.path in protected or self._holds(remove)
        )
        for _ in range(_HOLDING):
            removes = [remove for remove in removes if remove.path not in protected]
            if not removes:
                return
            yield from (remove for remove in removes if not self._holds(remove))
            holding = [remove.path for remove in removes if self._holds(remove)]
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
