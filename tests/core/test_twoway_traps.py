"""Histories that other methods get wrong, or that this one got wrong while it was made.

`X:=v` writes, `X:del` deletes, `X-Y` synchronises with X as the first, `X!Y` does so and skips
conflicts; of the path `f`, or of another one named as in `X.g:=v`. All replicas begin synchronised
and empty.
"""

from __future__ import annotations

import re

import pytest

from syncron_lib.core.twoway.reconcile import Choice, What
from tests.core.replicas import Report, World

_STEP = re.compile(
    r"(?P<name>[A-E])(\.(?P<path>\w+))?(:=(?P<content>\w+)|(?P<deletes>:del))"
    r"|(?P<one>[A-E])(?P<how>[-!<])(?P<other>[A-E])"
    r"|(?P<saves>SNAP|RESTORE)\((?P<whose>[A-E])\)"
)


def played(history: str) -> tuple[World, list[Report]]:
    """The world after ``history``, and what each synchronisation said."""
    steps = history.split()
    world = World("".join(sorted(set("".join(steps)) & set("ABCDE"))))
    saved = {}
    reports = []
    for step in steps:
        found = _STEP.fullmatch(step)
        assert found is not None, step
        path = (found["path"] or "f").encode()
        if found["one"]:
            choice = {"-": Choice.BY_ORDER, "!": Choice.SKIP, "<": Choice.FIRST}[found["how"]]
            reports.append(world.sync(found["one"], found["other"], lambda *_, c=choice: c))
        elif found["saves"] == "SNAP":
            saved[found["whose"]] = world.peers[found["whose"]].snapshot()
        elif found["saves"]:
            world.restore(found["whose"], saved[found["whose"]])
        elif found["deletes"]:
            world.delete(found["name"], path)
        else:
            world.write(found["name"], path, found["content"].encode())
    return world, reports


def content(world: World, name: str, path: bytes = b"f") -> bytes | None:
    entry = world.peers[name].tree.get(path)
    return None if entry is None else entry.content


def first_wins(world: World, one: str, other: str) -> int:
    """What a synchronisation writes in which the first side keeps all names."""
    return world.sync(one, other, lambda *_: Choice.FIRST).written


def everywhere(history: str, expected: bytes | None) -> list[Report]:
    """Play the history; then all have ``expected``, after some more rounds at the latest."""
    world, reports = played(history)
    world.settle_all()
    assert [content(world, name) for name in world.peers] == [expected] * len(world.peers)
    return reports


def test_T1_equal_content_does_not_spare_aligning_records() -> None:
    everywhere("B:=c1 B-A C-B C:del B-C C:=c1 C-A A-B", b"c1")


def test_T2_a_new_life_of_a_name_is_no_conflict_with_the_old_one() -> None:
    reports = everywhere("A:=c0 A-C C:del C-B C:=v3 C-B", b"v3")
    assert not any(report.conflicts for report in reports)


def test_T3_what_was_kept_against_a_deletion_once_is_not_questioned_again() -> None:
    reports = everywhere("C:=c0 C-A C:del B-C A:=v2 C-A A-B", b"v2")
    assert [len(report.conflicts) for report in reports] == [0, 0, 1, 0]


def test_T4_a_resolution_that_nobody_here_has_seen_is_not_deleted() -> None:
    world, _ = played("A:=v2 B-A C:=c1 B-C A:del A-C")
    assert content(world, "A") == content(world, "C") is not None
    world.settle_all()
    assert content(world, "B") is not None


def test_T5_what_was_skipped_is_not_overwritten_by_the_next() -> None:
    world, reports = played("B:=v1 A:=c1 B-C A!B A-C")
    assert [each.what for each in reports[-1].conflicts] == [What.CONTENT]
    world.settle_all()
    kept = {entry.content for entry in world.peers["C"].tree.values()}
    assert kept == {b"v1", b"c1"}


def test_T6_preferences_that_contradict_each_other_come_to_an_end() -> None:
    world, _ = played("A:=a B:=b C:=c D:=d")
    written = 1
    for _ in range(12):
        written = sum(first_wins(world, *pair) for pair in ("AB", "CD", "DA", "BC"))
    assert not written
    world.settle_all()
    kept = {entry.content for entry in world.peers["A"].tree.values()}
    assert kept == {b"a", b"b", b"c", b"d"}


def test_T6_fast_forwards_come_to_an_end_too() -> None:
    world, _ = played("A:=a B:=b C:=c D:=d E:=e")
    written = 1
    for _ in range(12):
        written = sum(first_wins(world, *pair) for pair in ("EC", "ED", "AB", "CB", "DA"))
    assert not written
    world.settle_all()


def test_T7_a_conflict_copy_is_known_to_whoever_made_it_even_if_the_run_was_killed() -> None:
    world, _ = played("A:=a B:=b C-A")
    world.sync("A", "B", killed=3)
    world.settle_all()
    kept = {entry.content for entry in world.peers["C"].tree.values()}
    assert kept == {b"a", b"b"}
    assert len(world.peers["C"].tree) == 2


def test_U1_an_update_that_comes_by_two_ways_is_no_conflict() -> None:
    reports = everywhere("C:=v1 C-B B:=v2 C-A B-A", b"v2")
    assert not any(report.conflicts for report in reports)


def test_U2_a_deletion_reaches_where_the_file_came_from_by_another_way() -> None:
    world, _ = played("B:=x B-C C-A A:del B-A")
    assert content(world, "B") is None
    everywhere("B:=x B-C C-A A:del B-A", None)


def test_what_neither_side_has_is_known_to_both_afterwards() -> None:
    """B never had it, and has heard of it from whoever deleted it."""
    world, _ = played("A:=v1 A-C A:del A-B B-C")
    assert [content(world, name) for name in "ABC"] == [None] * 3


def test_U3_going_back_to_older_content_is_an_update() -> None:
    everywhere("B:=c0 C-B B:=v4 B-A A:=c0 C-A B-C", b"c0")


def test_V1_deleting_one_file_does_not_delete_another_of_its_name() -> None:
    everywhere("B:=c0 C:=v2 A-B B:del C-B", b"v2")


def test_V2_an_edit_of_what_two_wrote_alike_is_no_conflict() -> None:
    reports = everywhere("C:=c0 B:=c0 C-A A-B C:=v3 B-C", b"v3")
    assert not any(report.conflicts for report in reports)


def test_G1_a_deletion_needs_no_tombstone_to_be_passed_on() -> None:
    world, _ = played("A:=v2 A-B B:del C-B C-B B-C A-C")
    assert content(world, "A") is None


def test_G2_a_new_file_under_a_deleted_name_is_not_deleted() -> None:
    everywhere("B:=v1 A-B B:del B-C B-A A-B B:=v2 B-C", b"v2")


def test_S1_a_skipped_conflict_is_still_one() -> None:
    _, reports = played("C:=v1 A:=c0 A!C C!A")
    assert [[each.what for each in report.conflicts] for report in reports] == [[What.SKIPPED]] * 2


def test_a_restored_replica_gets_back_what_it_had_given_and_loses_nothing_new() -> None:
    world, _ = played("SNAP(C) C.g:=c1 C-A RESTORE(C) C.f:=v3 C-B A-C")
    world.settle_all()
    for name in "ABC":
        assert (content(world, name), content(world, name, b"g")) == (b"v3", b"c1")


@pytest.mark.parametrize("history", ["A:=x B:=x A-B C:=y C-A C-B", "A:=x B:=x B-A A:=y A-B"])
def test_content_written_on_both_sides_has_the_events_of_both(history: str) -> None:
    world, _ = played(history)
    world.settle_all()


def test_an_edit_of_what_somebody_else_wrote_again_goes_on_from_there() -> None:
    """B's content is exactly what A's edit was made of, though B wrote it on its own."""
    world, _ = played("A:=v1 B:=v1")
    world.scan("A")
    world.write("A", b"f", b"v2")
    report = world.sync("A", "B")
    assert not report.conflicts
    assert content(world, "B") == b"v2"
    world.settle_all()


def test_a_fast_forward_is_a_new_event() -> None:
    """B goes on from the old content while A has gone forward by content: both are to be seen."""
    world, _ = played("A:=v1 B:=v1")
    world.scan("A")
    world.write("A", b"f", b"v2")
    world.sync("A", "B")
    record = world.peers["A"].records[b"f"]
    assert record == world.peers["B"].records[b"f"]
    assert record.made == {(world.peers["A"].identity, world.peers["A"].counter)}


def test_lost_state_deletes_nothing() -> None:
    world, _ = played("A:=v1 A-B A.g:=w1 A-B B.g:del")
    world.lose("B")
    before = dict(world.peers["A"].tree)
    world.sync("A", "B")
    assert before.items() <= world.peers["A"].tree.items()


def test_stale_content_of_a_replica_that_lost_its_state_goes_forward() -> None:
    world, _ = played("A:=v1 A-B A:=v2")
    world.scan("A")
    world.lose("B")
    report = world.sync("A", "B")
    assert not report.conflicts
    assert content(world, "B") == b"v2"
