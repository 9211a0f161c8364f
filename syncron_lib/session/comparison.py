"""From two sealed trees to a plan: walks what differs, breadth first, many directories a frame."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence, Set
from errno import ENOENT
from types import MappingProxyType
from typing import TYPE_CHECKING

from syncron_lib.core.choosing import Why, left, never_brought, within_window
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
from syncron_lib.core.plan import Adjust, Change, Create, Left, Plan, Remove
from syncron_lib.core.report import Cause, Failure
from syncron_lib.core.table import PROBLEM, Table, link_targets
from syncron_lib.core.view import REASONS
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.messages import Below, Directory
from syncron_lib.session.listings import Known, below_by_row, listings, own_attributes
from syncron_lib.session.steps import creation, removal
from syncron_lib.session.unsure import Hashing, Unsure

if TYPE_CHECKING:
    from syncron_lib.core.rules.chosen import Listed
    from syncron_lib.session.dirlinks import Dirlinks
    from syncron_lib.session.protection import Protection

_HOLDING = 1000
"""Directories below each other that hold what the rules leave out, which a peer could make up
without an end; what lies deeper is not deleted."""


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
        listed: Listed | None = None,
        dirlinks: Dirlinks | None = None,
    ) -> None:
        """``profile``: with the source's ids mapped. ``whole``: the roots' own attributes count.
        ``missing``: the destination is to be made. ``unreadable``: directories that the source's
        scan could not read.
        ``on_hashed``: called with the bytes hashed so far and in all. ``known``: directories of
        source and destination that need not be asked for. ``staging``: the destination has some
        to be removed. ``protection``: what the rules keep at the destination, where they have
        sides. ``listed``: what the run is over, if that is a part of the trees; nothing else is
        deleted. ``dirlinks``: symlinks of the destination that may be taken for directories."""
        self._dirlinks = dirlinks
        self._protection = protection
        self._listed = listed
        self._may_delete = True
        """All that is in the directory that is being compared is the run's to delete."""
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
        self._hashing = Hashing(source, destination, on_failure, on_hashed)
        self._plan = Plan(makes_root=missing)
        self._targets: dict[int, bytes] = {}
        """Targets of the symlinks, by row, in the source's directory that is being compared."""
        self._own: dict[bytes, Attributes] = {}
        """Attributes of the source's directories that both sides have and that were visited."""
        self.source_problems = unreadable
        self.bytes_hashed = 0
        self._candidates: list[Remove] = []
        self.only_there: list[Remove] = []
        """What only the destination has, and stays."""

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
                if not path and self._is_bare(path):
                    self._plan.implied.append(path)
                elif not path:
                    self._own[path] = own_attributes(mine)
                    if self._whole and not self._plan.makes_root:
                        self._root_attributes(mine, other)
                self._directory(path, mine, other, following)
            frontier = following
        self._decide_unsure()
        if self._options.dry_run and (self._unreadable or self._options.view.follow):
            from syncron_lib.session.leaving import unreadable_below

            for path, errno in unreadable_below(self._plan, self._source):
                self._fail(path, "source", errno)
        self._removals()
        if self._chosen.divides_new:
            from syncron_lib.session.leaving import leave_below

            leave_below(self._plan, self._source, self._chosen)
        plan = self._plan
        for parts in (plan.creates, plan.changes, plan.adjusts, plan.removes):
            parts.sort(key=lambda step: step.path.replace(b"/", b"\0"))
            for step in parts:
                self.touch(split(step.path)[0] if step.path else b"")
        if self._staging or not plan.is_empty:
            self.touch(b"")  # staging comes and goes in it
        return plan

    def touch(self, path: bytes) -> None:
        """Give the directory at ``path`` its attributes back at the end."""
        own = self._own.get(path)
        if own is not None and (path or self._whole):
            self._plan.touched[path] = own

    def _root_attributes(self, mine: Directory, other: Directory) -> None:
        source, destination = own_attributes(mine), own_attributes(other)
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
        if self._listed is not None:
            self._may_delete = self._listed.holds(path)
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
            candidate = removal(path, theirs, other, below_theirs)
            if self._may_delete:
                self._candidates.append(candidate)
            else:
                self.only_there.append(candidate)
        elif relation is Relation.UNREADABLE_SOURCE:
            assert row is not None
            self._fail(path, "source", mine.sizes[row])
        elif relation is Relation.UNREADABLE_DESTINATION:
            assert other is not None
            self._fail(path, "destination", theirs.sizes[other])
        elif relation is Relation.ONLY_SOURCE:
            assert row is not None
            whole = creation(path, mine, row, below_mine, 0, self._targets.get(row))
            why = self._not_created(path, mine, row) if self._chooses else None
            if why is not None:
                self._plan.left[path] = _left_by(why, whole)
            else:
                self._plan.creates.append(whole)
        else:
            assert row is not None
            assert other is not None
            source, destination = attributes_of(mine, row), attributes_of(theirs, other)
            why = self._left(path, mine, row, source, destination) if self._chooses else None
            if why is not None:
                whole = creation(path, mine, row, below_mine, 0, self._targets.get(row))
                self._plan.left[path] = _left_by(why, whole)
                return
            if relation is Relation.OTHER_KIND:
                self._replace(path, mine, row, theirs, other, below_mine, below_theirs)
                return
            if self._chosen.append and self._is_no_shorter(relation, mine, row, theirs, other):
                self._plan.left[path] = Left(1, mine.sizes[row])
                return
            if self._chooses and self._decided(path, mine, row, theirs, other, source, destination):
                return
            if relation is Relation.DIFFERENT:
                self._change(path, mine, row, theirs, other)
            elif relation is Relation.UNKNOWN:
                self._hashing.add(
                    Unsure(
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
                if stat.S_ISDIR(source.mode) and self._is_bare(path):
                    self._plan.implied.append(path)
                    return
                if pair.descend:
                    self._own[path] = source
                if pair.attributes_differ:
                    size = mine.sizes[row] if stat.S_ISREG(source.mode) else 0
                    target = self._targets.get(row)
                    self._adjust_if_needed(path, source, destination, size, target)

    def _is_no_shorter(
        self, relation: Relation, mine: Table, row: int, theirs: Table, other: int
    ) -> bool:
        """Whether two files may differ, and nothing can be appended to the destination's."""
        files = stat.S_ISREG(mine.modes[row]) and stat.S_ISREG(theirs.modes[other])
        differ = relation in (Relation.DIFFERENT, Relation.UNKNOWN)
        return differ and files and theirs.sizes[other] >= mine.sizes[row]

    def _is_bare(self, path: bytes) -> bool:
        """Whether a directory's own attributes do not count."""
        if self._dirlinks is not None and self._dirlinks.is_second(path):
            return True
        return self._listed is not None and self._listed.is_bare(path)

    def _not_created(self, path: bytes, mine: Table, row: int) -> Why | None:
        mode, size, target = mine.modes[row], mine.sizes[row], self._targets.get(row)
        if self._chosen.existing:
            return Why.NEW
        return never_brought(self._chosen, path, mode, size, target)

    def _left(
        self, path: bytes, mine: Table, row: int, source: Attributes, destination: Attributes
    ) -> Why | None:
        why = left(self._chosen, source, destination)
        if why is Why.EXISTS:
            return why
        size, target = mine.sizes[row], self._targets.get(row)
        return never_brought(self._chosen, path, source.mode, size, target) or why

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
        if self._dirlinks is not None and path in self._dirlinks.refused:
            what = self._dirlinks.refused[path]
            self._on_failure(Failure(path, "destination", what, Cause.ERROR))
            return
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

    def _decide_unsure(self) -> None:
        """Decide by their digests what only these tell apart."""
        hashing = self._hashing
        for item, same in hashing.decided():
            if same:
                self._adjust_if_needed(item.path, item.source, item.destination, item.size)
            else:
                own = item.source
                flags = change_flags(
                    own, item.destination, self._profile, size_differs=False, content_differs=True
                )
                change = Change(item.path, flags, item.size, item.size, None, own)
                self._plan.changes.append(change)
        self.bytes_hashed += hashing.size
        self.source_problems += hashing.source_problems

    # --- deletes --------------------------------------------------------------------------------

    def _removals(self) -> None:
        """What only the destination has: deleted if that was asked for and the whole source
        could be read; else it stays, outside of what the run is about."""
        deletes = self._deletes
        if self._protection is not None:
            candidates = self._candidates if deletes else ()
            self._kept, self._above_kept = self._protection.kept(candidates, self._replaced)
            self._keep_replaced()
        if self._dirlinks is not None and self._dirlinks.doubled:
            paths, above = self._dirlinks.kept(self._candidates)
            self._kept, self._above_kept = self._kept | paths, self._above_kept | above
            self._keep_replaced("a directory that a symlink leads to is in its place")
        if deletes:
            self._plan.removes.extend(self._without_holding(self._candidates))
        else:
            self.only_there.extend(self._candidates)
        self._plan.extras.extend(remove.path for remove in self.only_there)

    def _keep_replaced(
        self, what: str = "a directory that holds what the rules protect is in its place"
    ) -> None:
        """Create nothing in the place of a directory that holds what is kept."""
        holding = {remove.path for remove in self._replaced} & self._above_kept
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


def _left_by(why: Why, whole: Create) -> Left:
    return Left(whole.entries, whole.size, why, whole.mode, whole.target)
