"""The decision table of docs/two-way.md, row by row: what both have after what each side did."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Optional

import pytest

from syncron_lib.core.twoway.reconcile import Choice, What
from tests.core.replicas import World

Does = Callable[[World, str], None]


def nothing(world: World, name: str) -> None:
    """Leaves the file as it was."""


def absent(world: World, name: str) -> None:
    """Never had it: nobody had."""
    for peer in world.peers.values():
        peer.tree.pop(b"p", None)
    world.sync("A", "B")


def writes(content: bytes, path: bytes = b"p", mode: int = 0o644) -> Does:
    return lambda world, name: world.write(name, path, content, mode)


def chmods(mode: int) -> Does:
    return lambda world, name: world.write(name, b"p", b"old", mode)


def deletes(world: World, name: str) -> None:
    world.delete(name, b"p")


def in_turn(*steps: Does) -> Does:
    def does(world: World, name: str) -> None:
        for step in steps:
            step(world, name)

    return does


def is_scanned(world: World, name: str) -> None:
    world.scan(name)


def becomes_directory(content: bytes) -> Does:
    return in_turn(deletes, writes(content, b"p/in"))


def conflict_copy(content: bytes) -> str:
    return f"p.syncron-conflict-{hashlib.sha256(content).hexdigest()[:10]}"


def larger(one: bytes, other: bytes) -> tuple[bytes, bytes]:
    """Two contents, the one that keeps the name first."""
    pair = sorted((one, other), key=lambda c: hashlib.sha256(c).digest(), reverse=True)
    return pair[0], pair[1]


WINS, LOSES = larger(b"new at A", b"new at B")
BOTH = {"p": WINS, conflict_copy(LOSES): LOSES}

Expected = Mapping[str, object]

TABLE: list[tuple[str, Does, Does, Expected, list[What]]] = [
    ("unchanged, unchanged", nothing, nothing, {"p": b"old"}, []),
    ("unchanged, modified", nothing, writes(b"new"), {"p": b"new"}, []),
    ("unchanged, deleted", nothing, deletes, {}, []),
    ("unchanged, type changed", nothing, becomes_directory(b"x"), {"p/in": b"x"}, []),
    ("unchanged, attributes", nothing, chmods(0o755), {"p": (b"old", 0o755)}, []),
    ("absent, absent", absent, nothing, {}, []),
    ("absent, created", absent, writes(b"new"), {"p": b"new"}, []),
    (
        "created, created",
        in_turn(absent, writes(b"new at A")),
        writes(b"new at B"),
        BOTH,
        [What.CONTENT],
    ),
    (
        "created, the same created",
        in_turn(absent, writes(b"new")),
        writes(b"new"),
        {"p": b"new"},
        [],
    ),
    (
        "directory, directory",
        in_turn(absent, writes(b"a", b"p/a")),
        writes(b"b", b"p/b"),
        {"p/a": b"a", "p/b": b"b"},
        [],
    ),
    (
        "created file, created directory",
        in_turn(absent, writes(b"file")),
        writes(b"x", b"p/in"),
        {"p/in": b"x", conflict_copy(b"file"): b"file"},
        [What.KIND],
    ),
    (
        "created anew, deleted",
        in_turn(deletes, is_scanned, writes(b"another life")),
        deletes,
        {"p": b"another life"},
        [],
    ),
    ("modified, modified", writes(b"new at A"), writes(b"new at B"), BOTH, [What.CONTENT]),
    ("modified, the same modified", writes(b"new"), writes(b"new"), {"p": b"new"}, []),
    ("modified, deleted", writes(b"new"), deletes, {"p": b"new"}, [What.DELETED]),
    (
        "modified, type changed",
        writes(b"new"),
        becomes_directory(b"x"),
        {"p/in": b"x", conflict_copy(b"new"): b"new"},
        [What.KIND],
    ),
    ("modified, attributes", writes(b"new"), chmods(0o755), {"p": (b"new", 0o755)}, []),
    ("deleted, deleted", deletes, deletes, {}, []),
    ("deleted, type changed", deletes, becomes_directory(b"x"), {"p/in": b"x"}, []),
    ("deleted, attributes", deletes, chmods(0o755), {}, []),
    (
        "type changed, the same type changed",
        becomes_directory(b"x"),
        becomes_directory(b"x"),
        {"p/in": b"x"},
        [],
    ),
    (
        "type changed, attributes",
        becomes_directory(b"x"),
        chmods(0o755),
        {"p/in": b"x"},
        [],
    ),
    ("attributes, the same attributes", chmods(0o755), chmods(0o755), {"p": (b"old", 0o755)}, []),
    (
        "attributes, other attributes",
        chmods(0o755),
        chmods(0o600),
        {"p": (b"old", 0o755)},
        [What.PERMISSIONS],
    ),
]


def found(world: World, name: str) -> dict[str, object]:
    tree = world.peers[name].tree
    return {
        path.decode(): entry.content if entry.mode == 0o644 else (entry.content, entry.mode)
        for path, entry in tree.items()
        if entry.content is not None
    }


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize(
    ("first", "second", "expected", "reported"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_what_both_sides_have_afterwards(
    first: Does, second: Does, expected: Expected, reported: list[What], mirrored: bool
) -> None:
    world = World("AB")
    world.write("A", b"p", b"old")
    world.sync("A", "B")
    for peer, does in zip("AB", (first, second)):
        does(world, peer)
    report = world.sync(*("BA" if mirrored else "AB"))
    assert found(world, "A") == found(world, "B") == dict(expected)
    kinds = [conflict.what for conflict in report.conflicts if conflict.path == b"p"]
    assert kinds == reported
    again = world.sync("A", "B")
    assert not again.written
    assert not again.conflicts


@pytest.mark.parametrize("above", [b"d", b"d/e"])
def test_a_directory_that_is_deleted_stays_with_what_was_made_in_it_and_no_more(
    above: bytes,
) -> None:
    world = World("AB")
    world.write("A", b"d/e/old", b"old")
    world.sync("A", "B")
    world.delete("A", above)
    world.write("B", b"d/e/new", b"new")
    report = world.sync("A", "B")
    assert found(world, "A") == found(world, "B") == {"d/e/new": b"new"}
    revived = {b"d", b"d/e"} if above == b"d" else {b"d/e"}
    assert {each.path for each in report.conflicts if each.what is What.REVIVED} == revived


def test_a_file_in_the_place_of_a_directory_makes_way_for_what_was_made_in_that() -> None:
    world = World("AB")
    world.write("A", b"p/old", b"old")
    world.sync("A", "B")
    world.delete("A", b"p")
    world.write("A", b"p", b"file")
    world.write("B", b"p/new", b"new")
    report = world.sync("A", "B")
    expected = {"p/new": b"new", conflict_copy(b"file"): b"file"}
    assert found(world, "A") == found(world, "B") == expected
    assert [each.what for each in report.conflicts] == [What.KIND]


def test_a_rename_on_one_side_and_an_edit_on_the_other_keeps_both() -> None:
    world = World("AB")
    world.write("A", b"p", b"old")
    world.sync("A", "B")
    world.delete("A", b"p")
    world.write("A", b"q", b"old")
    world.write("B", b"p", b"new")
    report = world.sync("A", "B")
    assert found(world, "A") == found(world, "B") == {"p": b"new", "q": b"old"}
    assert [each.what for each in report.conflicts] == [What.DELETED]


@pytest.mark.parametrize(
    ("choice", "winner"), [(Choice.FIRST, b"new at A"), (Choice.SECOND, b"new at B")]
)
def test_a_preference_decides_who_keeps_the_name(choice: Choice, winner: bytes) -> None:
    world = World("AB")
    world.write("A", b"p", b"new at A")
    world.write("B", b"p", b"new at B")
    world.sync("A", "B", lambda *_: choice)
    loser = b"new at B" if winner == b"new at A" else b"new at A"
    expected = {"p": winner, conflict_copy(loser): loser}
    assert found(world, "A") == found(world, "B") == expected


def test_what_is_skipped_stays_and_is_told_again() -> None:
    world = World("AB")
    world.write("A", b"p", b"new at A")
    world.write("B", b"p", b"new at B")
    for _ in range(2):
        report = world.sync("A", "B", lambda *_: Choice.SKIP)
        assert [each.what for each in report.conflicts] == [What.SKIPPED]
        assert found(world, "A") == {"p": b"new at A"}
        assert found(world, "B") == {"p": b"new at B"}


@pytest.mark.parametrize("taken", [b"other bytes", None])
def test_a_name_that_other_content_has_is_not_taken(taken: Optional[bytes]) -> None:
    world = World("AB")
    world.write("A", b"p", b"new at A")
    world.write("B", b"p", b"new at B")
    name = conflict_copy(LOSES)
    if taken is not None:
        world.write("B", name.encode(), taken)
    world.sync("A", "B")
    longer = f"p.syncron-conflict-{hashlib.sha256(LOSES).hexdigest()[:16]}"
    expected = BOTH if taken is None else {"p": WINS, name: taken, longer: LOSES}
    assert found(world, "A") == found(world, "B") == expected
