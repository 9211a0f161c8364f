"""What two replicas' versions of one path are to each other: pure, by what each side knows.

``first`` and ``second`` are the versions, None where there is none; ``known_first`` is what the
first side knows of the path. See the decision table in docs/two-way.md.
"""

from __future__ import annotations

from enum import Enum
from typing import Optional

from syncron_lib.core.twoway.dots import Dots, Vector, all_known, any_known, merged
from syncron_lib.core.twoway.records import MOST_ALONE, NOTHING, Record
from syncron_lib.record import NamedTuple


class Verdict(Enum):
    """What is to become of a path."""

    NONE = "absent on both sides"
    SAME = "the same version"
    ALIAS = "the same content, written on both sides"
    FIRST = "the first side's is newer"
    SECOND = "the second side's is newer"
    FORWARD_FIRST = "the first side's was made of exactly the second's content"
    FORWARD_SECOND = "the second side's was made of exactly the first's content"
    CONFLICT = "changed on both sides"
    NEW_FIRST = "the second side never had it"
    NEW_SECOND = "the first side never had it"
    DELETE_FIRST = "deleted on the second side"
    DELETE_SECOND = "deleted on the first side"
    REVIVE_FIRST = "deleted on the second side, changed on the first"
    REVIVE_SECOND = "deleted on the first side, changed on the second"


def decide(
    first: Optional[Record],
    second: Optional[Record],
    known_first: Vector,
    known_second: Vector,
) -> Verdict:
    """The verdict on one path."""
    if first is None:
        if second is None:
            return Verdict.NONE
        verdicts = Verdict.DELETE_SECOND, Verdict.NEW_SECOND, Verdict.REVIVE_SECOND
        return verdicts[_absent(second, known_first)]
    if second is None:
        verdicts = Verdict.DELETE_FIRST, Verdict.NEW_FIRST, Verdict.REVIVE_FIRST
        return verdicts[_absent(first, known_second)]
    second_knows = any_known(first.made, known_second)
    first_knows = any_known(second.made, known_first)
    if first.same_content(second):
        if first.made == second.made:
            return Verdict.SAME
        if first.base != second.base:
            return Verdict.SECOND if first.base else Verdict.FIRST
        if first_knows != second_knows:
            return Verdict.FIRST if first_knows else Verdict.SECOND
        return Verdict.ALIAS
    if first_knows != second_knows:
        return Verdict.FIRST if first_knows else Verdict.SECOND
    if (
        not first_knows
        and first.is_file
        and second.is_file
        and max(first.alone, second.alone) < MOST_ALONE
    ):
        of_second, of_first = first.prev == second.fp, second.prev == first.fp
        if of_first and not of_second:
            return Verdict.FORWARD_SECOND
        if of_second and not of_first:
            return Verdict.FORWARD_FIRST
    return Verdict.CONFLICT


def _absent(record: Record, known: Vector) -> int:
    """0: the side that lacks it has deleted just this; 1: it never had it, in this life; 2: it has
    deleted an earlier version."""
    if all_known(record.made, known):
        return 0
    return 2 if any_known(record.made | record.born, known) else 1


class Kept(NamedTuple):
    """Permissions and time of an entry that both sides have, and the events of the former.
    ``settled``: by the total order, since both sides changed them: a new event."""

    permissions: int
    mtime: int
    dots: Dots
    settled: bool


def keep(
    first: Record, second: Record, known_first: Vector, known_second: Vector, content: Verdict
) -> Kept:
    """Which permissions and time an entry gets. They are a unit of their own, beside the content;
    a time follows the content, and where that is the same on both sides, the permissions."""
    dots = merged(first.kept, known_first, second.kept, known_second)
    permissions = max(first.permissions, second.permissions)
    newest = max(first.mtime, second.mtime)
    settled = False
    winner: Optional[Record] = None
    if first.kept != second.kept:
        second_knows = any_known(first.kept, known_second)
        first_knows = any_known(second.kept, known_first)
        if first_knows != second_knows:
            winner = first if first_knows else second
            permissions, dots = winner.permissions, winner.kept
        else:
            settled = first.permissions != second.permissions
    newer = {
        Verdict.FIRST: first,
        Verdict.FORWARD_FIRST: first,
        Verdict.SECOND: second,
        Verdict.FORWARD_SECOND: second,
    }.get(content)
    if newer is not None and not first.same_content(second):
        mtime = newer.mtime
    elif winner is not None:
        mtime = winner.mtime
    else:
        mtime = newest if newer is None or first.kept != second.kept else newer.mtime
    return Kept(permissions, mtime, dots, settled)


def one_of_both(first: Record, second: Record, known_first: Vector, known_second: Vector) -> Record:
    """The record of a content that both sides have written."""
    previous = [each for each in (first.prev, second.prev) if each != NOTHING]
    return first._replace(
        made=merged(first.made, known_first, second.made, known_second),
        born=merged(first.born, known_first, second.born, known_second),
        prev=min(previous, default=NOTHING),
        base=first.base and second.base,
        alone=max(first.alone, second.alone),
    )


def order(record: Record) -> tuple[bool, bool, bytes, int]:
    """The total order of versions: by what they are, never by when or where they were made. A
    directory is before a file, a file before anything else."""
    return record.is_directory, record.is_file, record.fp, record.kind
