"""What a run in both directions tells of what it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from syncron_lib.core.options import RunOptions
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Action, Clash, Item, Report
from syncron_lib.core.twoway.reconcile import Conflict, Outcome
from syncron_lib.core.twoway.records import Record
from syncron_lib.core.twoway.signed import Side
from syncron_lib.session import items

if TYPE_CHECKING:
    from syncron_lib.session.twoway.ends import End


def clash_of(conflict: Conflict) -> Clash:
    """What is told of a conflict."""

    def value(record: Record | None) -> bytes | None:
        return None if record is None or record.is_directory else record.fp

    digests = value(conflict.first), value(conflict.second)
    winner = None if conflict.winner is None else conflict.winner.value
    return Clash(conflict.path, conflict.what.value, digests, winner, conflict.kept)


def items_of(
    ends: tuple[End, End],
    outcome: Outcome,
    plans: Sequence[Plan],
    options: RunOptions,
    is_sealed: Callable[[bytes], bool] | None,
) -> Iterator[Item]:
    """What is done at both sides."""
    for side, plan in zip(Side, plans):
        for item in _items_at(side, ends, outcome, plan, options):
            sealed = is_sealed is not None and not item.is_directory and is_sealed(item.path)
            yield item._replace(at=side.value, sealed=sealed)


def _items_at(
    side: Side, ends: tuple[End, End], outcome: Outcome, plan: Plan, options: RunOptions
) -> Iterator[Item]:
    for path, copy in outcome.copies.items():
        record = outcome.final.get(path)
        if copy.side is side and record is not None:
            own = record.attributes
            flags = "cf+++++++++" if record.is_file else "cL+++++++++"
            item = Item(Action.CREATE, flags, path, False, record.size, record.target)
            yield item._replace(attributes=own)
    both = ends[side.other.value].endpoint, ends[side.value].endpoint
    yield from items.of_plan(plan, *both, "<>"[side.value], options, whole=True)


def counted(report: Report, plans: Sequence[Plan], failed: Collection[bytes]) -> None:
    """Add to a report what was done, but for what ``failed``."""
    for plan in plans:
        report.created += plan.created
        report.changed += sum(1 for change in plan.changes if change.path not in failed)
        changed = {change.path for change in plan.changes}
        adjusted = {adjust.path for adjust in plan.adjusts}.difference(failed, changed)
        report.metadata += len(adjusted)
        report.deleted += plan.deleted
    touched = report.created + report.changed + report.metadata
    report.unchanged = max(0, report.source_entries - touched)
