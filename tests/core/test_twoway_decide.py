"""Single rules of `decide` that random histories hardly ever depend on."""

from __future__ import annotations

import stat

import pytest

from syncron_lib.core.twoway.decide import Verdict, decide, one_of_both
from syncron_lib.core.twoway.dots import Dots, merged
from syncron_lib.core.twoway.records import MOST_ALONE, Record, seen

A, B, C = (name * 16 for name in (b"a", b"b", b"c"))


def a_file(content: bytes, *dots: tuple[bytes, int]) -> Record:
    return seen(stat.S_IFREG | 0o644, 1, 0, content * 16, None, frozenset(dots))


@pytest.mark.parametrize("older_is_tired", [False, True])
@pytest.mark.parametrize(
    ("alone", "expected"),
    [(MOST_ALONE - 1, Verdict.FORWARD_SECOND), (MOST_ALONE, Verdict.CONFLICT)],
)
def test_nothing_goes_forward_by_content_for_ever(
    alone: int, expected: Verdict, older_is_tired: bool
) -> None:
    older, newer = a_file(b"1", (A, 1)), a_file(b"2", (B, 1))
    newer = newer._replace(prev=older.fp)
    if older_is_tired:
        older = older._replace(alone=alone)
    else:
        newer = newer._replace(alone=alone)
    assert decide(older, newer, {A: 1}, {B: 1}) is expected
    mirrored = Verdict.FORWARD_FIRST if expected is Verdict.FORWARD_SECOND else expected
    assert decide(newer, older, {B: 1}, {A: 1}) is mirrored


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ({(A, 1)}, {(B, 1)}, {(A, 1), (B, 1)}),
        # C's first is known here, and is not what is here: it has been replaced.
        ({(A, 1)}, {(B, 1), (C, 1)}, {(A, 1), (B, 1)}),
        ({(A, 1)}, {(B, 1), (C, 2)}, {(A, 1), (B, 1), (C, 2)}),
        ({(A, 1), (C, 1)}, {(B, 1), (C, 1)}, {(A, 1), (B, 1), (C, 1)}),
        # Each is in the other's past: none may be lost.
        ({(C, 1)}, {(A, 1)}, {(A, 1), (C, 1)}),
    ],
)
def test_events_of_one_content_leave_out_what_one_side_has_replaced(
    mine: Dots, theirs: Dots, expected: Dots
) -> None:
    knows, known_there = {A: 1, C: 1}, {B: 1, C: 1}
    mine, theirs = frozenset(mine), frozenset(theirs)
    assert merged(mine, knows, theirs, known_there) == expected
    assert merged(theirs, known_there, mine, knows) == expected
    one = one_of_both(a_file(b"1", *mine), a_file(b"1", *theirs), knows, known_there)
    assert one.made == one.born == expected
