"""Which files are merged, by what, from what; and what a result is."""

from __future__ import annotations

import stat
from typing import Union

import pytest

from syncron_lib.core.options import MergeRule
from syncron_lib.core.twoway.knowledge import fresh
from syncron_lib.core.twoway.merging import Base, Merged, filled, named, rule_for
from syncron_lib.core.twoway.reconcile import Choice, Outcome, Replica, What, reconcile
from syncron_lib.core.twoway.records import MOST_ALONE, Record, seen

A, B, C = (name * 16 for name in (b"a", b"b", b"c"))
RESULT = Merged(b"m" * 16, 7, 1234)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        (b"*.txt", b"a.txt", True),
        (b"*.txt", b"d/a.txt", True),
        (b"*.txt", b"a.txt.gz", False),
        (b"d/*.txt", b"d/a.txt", True),
        (b"/d/*.txt", b"d/a.txt", True),
        (b"d/*.txt", b"e/d/a.txt", False),
        (b"d/*.txt", b"d/e/a.txt", False),
        (b"d/**.txt", b"d/e/a.txt", True),
        (b"[", b"[", False),
    ],
)
def test_a_pattern_is_for_names_or_with_a_slash_for_paths(
    pattern: bytes, path: bytes, matches: bool
) -> None:
    rule = MergeRule(pattern, ("merge",))
    assert rule_for([rule], path) == (rule if matches else None)


def test_the_first_rule_counts() -> None:
    rules = [MergeRule(pattern, (pattern.decode(),)) for pattern in (b"a*", b"*b", b"*")]
    assert [rule_for(rules, path) for path in (b"ab", b"cb", b"c")] == rules


def test_places_are_filled_once_and_within_words() -> None:
    places = {"a": "/{b}", "b": "/b", "base": "/base", "out": "/out"}
    words = ("x", "--to={out}", "{a}{b}", "{base}", "{other}")
    assert filled(words, places) == ["x", "--to=/out", "/{b}/b", "/base", "{other}"]
    assert named(words, "out")
    assert not named(("{a}", "{b}"), "out")


def a_file(content: bytes, replica: bytes, tick: int, alone: int = 0) -> Record:
    made, born = frozenset(((replica, tick),)), frozenset(((A, 1),))
    record = seen(stat.S_IFREG | 0o644, 1, 0, content * 16, None, made)
    return record._replace(born=born, kept=born, alone=alone)


def test_a_base_is_one_if_the_side_knows_it_and_the_file_still_lives() -> None:
    base = Base(b"0" * 16, frozenset(((A, 2),)), frozenset(((A, 1),)))
    version = a_file(b"1", B, 1)
    assert base.is_before(version, {A: 2, B: 1})
    assert not base.is_before(version, {A: 1, B: 1})  # from a backup that was made before
    assert not base.is_before(version._replace(born=version.made), {A: 2, B: 1})  # made anew


def reconciled(alone: int) -> Outcome:
    """Two sides that have changed one file; the policy merges."""
    asked = []

    def policy(path: bytes, _first: Record, _second: Record) -> Union[Choice, Merged]:
        asked.append(path)
        return RESULT

    first, second = a_file(b"1", A, 2, alone), a_file(b"2", B, 1)
    one, other = (fresh().ticked(A, tick).ticked(B, other) for tick, other in ((2, 0), (1, 1)))
    outcome = reconcile(Replica({b"f": first}, one), Replica({b"f": second}, other), (A, 3), policy)
    assert asked == ([b"f"] if alone < MOST_ALONE else [])
    return outcome


def test_a_result_is_a_new_event_in_the_same_life() -> None:
    outcome = reconciled(alone=1)
    record = outcome.final[b"f"]
    assert record is not None
    assert (record.fp, record.size, record.mtime) == RESULT
    assert record.made == frozenset(((A, 3),))
    assert record.born == frozenset(((A, 1),))
    assert record.alone == 2
    assert outcome.minted == outcome.merged == {b"f"}
    assert not outcome.copies
    assert [each.what for each in outcome.conflicts] == [What.MERGED]
    outcome.leave([b"f"])
    assert not outcome.merged


def test_commands_that_agree_about_nothing_come_to_an_end() -> None:
    outcome = reconciled(alone=MOST_ALONE)
    assert not outcome.merged
    assert [each.what for each in outcome.conflicts] == [What.CONTENT]
    assert len(outcome.final) == 2
