"""From what both sides are to have to what is done at one of them: the plan of a run from the other
side to this one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from syncron_lib.core import digest
from syncron_lib.core.compare import change_flags
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import split
from syncron_lib.core.options import DeleteCap
from syncron_lib.core.plan import Adjust, Change, Create, Make, Plan, Remove
from syncron_lib.core.twoway.reconcile import Outcome, tree_order
from syncron_lib.core.twoway.records import Record
from syncron_lib.core.twoway.signed import Side
from syncron_lib.errors import DeleteCapRefused

PROFILE = Profile(
    permissions=True,
    times=True,
    owner=False,
    group=False,
    users={},
    groups={},
    omit_dir_times=True,
    omit_link_times=True,
)
"""What replicas agree about. Owners are each one's own."""
ALGORITHM = "sha256-128"
"""Every machine has it, so digests that are remembered hold for all replicas for ever."""


def plan_for(
    side: Side, outcome: Outcome, has: Mapping[bytes, Record], sends: Mapping[bytes, Record]
) -> Plan:
    """What is to be done at ``side``, which ``has`` these records, while the other one has those
    that it ``sends``. Copies of what loses its name are made before."""
    plan = Plan()
    final = outcome.final
    # What goes from the sender only has its place here too: no new directory comes with it.
    wanted = sorted(
        (path for path, record in final.items() if record is None or has.get(path) != record),
        key=tree_order,
    )
    whole = _whole_trees(side, outcome, has, wanted)
    covered: set[bytes] = set()
    removed = _Removals(has, outcome)
    for path in wanted:
        record, now = final[path], has.get(path)
        parent = split(path)[0]
        if record is None:
            if now is not None:
                removed.add(path)
            continue
        copy = outcome.copies.get(path)
        if copy is not None and copy.side is side:
            continue
        if parent in covered:
            covered.add(path)
        elif now is None or now.kind != record.kind:
            replaces = 0 if now is None else 1 + removed.below(path)
            if record.is_directory and path not in whole:
                plan.makes.append(Make(path, record.attributes, None, replaces))
            else:
                plan.creates.append(_create(path, record, replaces, whole.get(path)))
                covered.add(path)
        elif now.fp != record.fp:
            plan.changes.append(_change(path, now, record))
            sent = sends.get(path)
            if sent is not None and sent.mode != record.mode:
                # It comes with the sender's permissions, and others hold.
                plan.adjusts.append(_adjust(path, now, record))
        elif (now.mode, now.mtime) != (record.mode, record.mtime):
            plan.adjusts.append(_adjust(path, now, record))
        else:
            continue
        if parent in has and parent not in covered:
            directory = final.get(parent) or has[parent]
            plan.touched[parent] = directory.attributes
    plan.removes = removed.steps()
    for step in plan.removes:
        parent = split(step.path)[0]
        if parent in has:
            directory = final.get(parent) or has[parent]
            if directory.is_directory:
                plan.touched[parent] = directory.attributes
    return plan


def divided(plan: Plan, paths: Collection[bytes]) -> tuple[Plan, Plan]:
    """What brings the content of these paths, and the rest."""
    here = Plan(
        creates=[each for each in plan.creates if each.path in paths],
        changes=[each for each in plan.changes if each.path in paths],
    )
    rest = replace(
        plan,
        creates=[each for each in plan.creates if each.path not in paths],
        changes=[each for each in plan.changes if each.path not in paths],
    )
    return here, rest


def restrict(
    outcome: Outcome, only: frozenset[bytes], has: tuple[Mapping[bytes, Record], ...]
) -> None:
    """Leave of an outcome what is about these paths, and can be done without anything else."""

    def parent_is_on_both(path: bytes) -> bool:
        parent = path.rpartition(b"/")[0]
        return not parent or all(
            records[parent].is_directory if parent in records else False for records in has
        )

    kept = {path for path in only if path in outcome.final and parent_is_on_both(path)}
    kept |= {path for path, copy in outcome.copies.items() if copy.path in kept}
    outcome.final = {path: record for path, record in outcome.final.items() if path in kept}
    outcome.copies = {path: copy for path, copy in outcome.copies.items() if path in kept}
    outcome.minted &= kept
    outcome.merged &= kept
    outcome.conflicts = [each for each in outcome.conflicts if each.path in kept]


def _create(path: bytes, record: Record, replaces: int, tree: tuple[int, int] | None) -> Create:
    entries, size = tree or (1, record.size if record.is_file else 0)
    value = record.fp if record.is_file else digest.UNKNOWN
    own = record.attributes
    return Create(path, record.mode, entries, size, record.target, replaces, own, value)


def _change(path: bytes, now: Record, record: Record) -> Change:
    differs = record.is_file and now.size != record.size
    own = record.attributes
    flags = change_flags(own, now.attributes, PROFILE, size_differs=differs, content_differs=True)
    sizes = (record.size, now.size) if record.is_file else (0, 0)
    return Change(path, flags, *sizes, record.target, own)


def _adjust(path: bytes, now: Record, record: Record) -> Adjust:
    own = record.attributes
    flags = change_flags(own, now.attributes, PROFILE, size_differs=False, content_differs=False)
    return Adjust(path, flags, own, record.size if record.is_file else 0, record.target)


def _whole_trees(
    side: Side, outcome: Outcome, has: Mapping[bytes, Record], wanted: Sequence[bytes]
) -> dict[bytes, tuple[int, int]]:
    """New directories of which all that is below comes with them: entries and bytes of each, itself
    included. All others are made, and what is in them is created by itself. ``wanted``: what is
    not as it is to be, as a walk comes to it."""
    final = outcome.final
    broken: set[bytes] = set()
    totals: dict[bytes, tuple[int, int]] = {}

    def breaks(path: bytes) -> None:
        while path and path not in broken:
            broken.add(path)
            path = split(path)[0]

    for path in (*outcome.untouched.paths, *outcome.untouched.trees):
        breaks(path)
    for path in reversed(wanted):
        record = final[path]
        parent = split(path)[0]
        copy = outcome.copies.get(path)
        now = has.get(path)
        if record is None or (copy is not None and copy.side is side):
            if record is not None or now is None:
                breaks(parent)
            continue
        if now is not None and now.kind == record.kind:
            breaks(parent)
        entries, size = totals.get(path, (0, 0))
        own = entries + 1, size + (record.size if record.is_file else 0)
        totals[path] = own
        above = totals.get(parent, (0, 0))
        totals[parent] = above[0] + own[0], above[1] + own[1]
    return {
        path: total
        for path, total in totals.items()
        if path and path not in broken and _is_new_directory(final.get(path), has.get(path))
    }


def _is_new_directory(record: Record | None, now: Record | None) -> bool:
    return record is not None and record.is_directory and not (now and now.is_directory)


class _Removals:
    """What goes at one side, by its topmost paths."""

    def __init__(self, has: Mapping[bytes, Record], outcome: Outcome) -> None:
        self._has = has
        self._outcome = outcome
        self._gone: dict[bytes, list[int]] = {}
        self._tops: list[bytes] = []

    def add(self, path: bytes) -> None:
        """An entry that is to go; what it lies in came before."""
        size = self._has[path].size if self._has[path].is_file else 0
        parent = split(path)[0]
        while parent:
            if parent in self._gone:
                self._gone[parent][0] += 1
                self._gone[parent][1] += size
                return
            record = self._outcome.final.get(parent)
            if record is not None and not record.is_directory:
                return  # it goes with what makes way there
            parent = split(parent)[0]
        self._gone[path] = [1, size]
        self._tops.append(path)

    def below(self, path: bytes) -> int:
        """Entries below a directory that makes way."""
        prefix = path + b"/"
        return sum(1 for each in self._has if each.startswith(prefix))

    def steps(self) -> list[Remove]:
        """The removals."""
        steps = []
        for path in self._tops:
            record, (entries, size) = self._has[path], self._gone[path]
            value = record.fp or digest.UNKNOWN
            own = record.attributes
            steps.append(Remove(path, record.is_directory, entries, size, own, value))
        return steps


def require_few_deletes(plan: Plan, where: str, entries: int, cap: DeleteCap | None) -> None:
    """Refuse to delete more of the ``entries`` in a replica than ``cap`` allows."""
    if cap is None:
        return
    allowed = cap.entries
    if allowed is None:
        allowed = int(entries * (cap.percent or 0.0) / 100)
    if plan.deleted > allowed:
        raise DeleteCapRefused(
            f"The plan deletes {plan.deleted} of {entries} entries in {where}, and"
            f" --max-delete allows {allowed}. Nothing was changed; look with --dry-run, or"
            " allow more."
        )
