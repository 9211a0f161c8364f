"""Guards: what they refuse is refused before the first write, with the override named."""

from __future__ import annotations

from typing import Optional

from syncron_lib.core.options import DeleteCap
from syncron_lib.core.permission import EVERYTHING, Effect
from syncron_lib.core.plan import Plan
from syncron_lib.errors import DeleteCapRefused, GuardRefused
from syncron_lib.record import NamedTuple


class Facts(NamedTuple):
    """What the guards know beside the plan. Counts are of entries; names are for messages."""

    source: str
    destination: str
    source_entries: int
    destination_entries: int
    destination_unmounted: bool
    destination_may: Effect = EVERYTHING


def check(
    plan: Plan,
    facts: Facts,
    *,
    cap: Optional[DeleteCap],
    allow_empty_source: bool,
    allow_unmounted: bool,
) -> None:
    """Raise `GuardRefused` where carrying out the plan could lose what nobody meant to lose."""
    if facts.destination_unmounted and not allow_unmounted:
        raise GuardRefused(
            f"The destination {facts.destination} held a tree on another file system at the last"
            " run and is empty now: its disk is probably not mounted. Nothing was changed;"
            " mount it, or say --allow-unmounted."
        )
    deleted = plan.deleted
    removed = plan.moved + sum(remove.entries for remove in plan.removes)
    if removed and Effect.REMOVE not in facts.destination_may:
        raise GuardRefused(
            f"With --delete, {removed} entries of {facts.destination} would go, and the account"
            " there may not delete. Nothing was changed; leave out --delete."
        )
    if deleted and facts.source_entries == 0 and not allow_empty_source:
        raise GuardRefused(
            f"The source {facts.source} is empty, and with --delete all {deleted} entries of"
            f" {facts.destination} would go. Nothing was changed; check the source, or say"
            " --allow-empty-source."
        )
    allowed = _allowed(cap, facts.destination_entries)
    if exceeds(plan, facts, cap):
        raise DeleteCapRefused(
            f"The plan deletes {deleted} of {facts.destination_entries} entries in"
            f" {facts.destination}, and --max-delete allows {allowed}. Nothing was changed;"
            " look with --dry-run, or allow more."
        )


def exceeds(plan: Plan, facts: Facts, cap: Optional[DeleteCap]) -> bool:
    """Whether the plan deletes more than ``cap`` allows."""
    allowed = _allowed(cap, facts.destination_entries)
    return allowed is not None and plan.deleted > allowed


def _allowed(cap: Optional[DeleteCap], entries: int) -> Optional[int]:
    if cap is None:
        return None
    if cap.entries is not None:
        return cap.entries
    return int(entries * (cap.percent or 0.0) / 100)
