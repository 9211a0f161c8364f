"""Which replicas there are, and one of them gone for good: told, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command
from tests.e2e.forking import Forked
from tests.session.twoway import files
from tests.sshd import Sshd
from tests.trees import make


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    """Three replicas that have not met."""
    make(tmp_path, {"a": {"f": b"f", "g": b"g"}, "b": {}, "c": {}})
    return [tmp_path / name for name in "abc"]


def place(root: Path) -> str:
    return f"{os.uname().nodename}:{root}"


def listed(run: Command | Forked, root: Path | str) -> Mapping[str, Mapping[str, Any]]:
    """By identity, what a root has heard of."""
    ended = run("--list-replicas", root, "--json")
    assert (ended.code, ended.err) == (0, "")
    return {each["replica"]: each for each in map(json.loads, ended.out.splitlines())}


def identity(run: Forked, root: Path) -> str:
    (mine,) = (replica for replica, each in listed(run, root).items() if each["here"])
    return mine


def synchronise(run: Command | Forked, *roots: Path | str, code: int = 0) -> str:
    ended = run("--two-way", *roots)
    assert ended.code == code, ended.err
    return ended.err


def test_replicas_are_listed_and_one_is_forgotten(forked: Forked, roots: list[Path]) -> None:
    synchronise(forked, *roots)
    known = listed(forked, roots[1])
    assert {each["place"]: each["here"] for each in known.values()} == {
        place(root): root is roots[1] for root in roots
    }
    (first,) = (each for each in known.values() if each["place"] == place(roots[0]))
    assert (first["events"], first["retired"]) == (1, False)
    gone = identity(forked, roots[2])
    table = forked("--list-replicas", roots[1]).out.splitlines()
    assert len(table) == 4
    assert sum(line.endswith("this one") for line in table) == 1
    ended = forked("--forget-replica", gone[:6].upper(), *roots[:2])
    assert (ended.code, ended.out) == (0, "")
    assert "gone for good" in ended.err
    for root in roots[:2]:
        assert [each for each, one in listed(forked, root).items() if one["retired"]] == [gone]
        assert files(root) == {"f": b"f", "g": b"g"}
    # The others go on as ever, and have nothing more to tell each other.
    assert synchronise(forked, *roots[:2]) == ""


def test_one_that_was_forgotten_comes_back_as_a_copy(forked: Forked, roots: list[Path]) -> None:
    one, other, drawer = roots
    synchronise(forked, *roots)
    before = identity(forked, drawer)
    (one / "new").write_bytes(b"new")
    (one / "f").write_bytes(b"by one")
    (drawer / "f").write_bytes(b"from the drawer")
    (drawer / "only").write_bytes(b"only there")
    forked("--forget-replica", place(drawer), one)
    synchronise(forked, one, other)  # which hears of it
    said = synchronise(forked, drawer, other, code=4)
    assert f"{drawer} was said to be gone for good" in said
    assert identity(forked, drawer) != before
    found = files(drawer)
    assert found == files(other)
    assert {b"by one", b"from the drawer"} <= set(found.values())
    assert found.keys() >= {"f", "g", "new", "only"}
    assert len(found) == 5
    for pair in ((one, drawer), (one, other), (drawer, other)):
        assert "gone for good" not in synchronise(forked, *pair)
        assert files(pair[0]) == files(pair[1]) == found
    # Its old place is the new one's too, so it must be told by identity.
    assert sum(each["place"] == place(drawer) for each in listed(forked, one).values()) == 2
    ended = forked("--forget-replica", place(drawer), one)
    assert ended.code == 1
    assert before in ended.err


def test_two_that_forgot_each_other_lose_nothing(forked: Forked, roots: list[Path]) -> None:
    one, other, _ = roots
    synchronise(forked, one, other)
    names = identity(forked, one), identity(forked, other)
    for root, gone in zip((one, other), reversed(names)):
        assert forked("--forget-replica", gone, root).code == 0
    (one / "f").write_bytes(b"by one")
    (other / "g").unlink()
    said = synchronise(forked, one, other)
    assert said.count("was said to be gone for good") == 2
    assert files(one) == files(other) == {"f": b"by one"}
    assert not {identity(forked, one), identity(forked, other)} & set(names)
    assert synchronise(forked, one, other) == ""


def test_what_cannot_be_forgotten_is_refused(forked: Forked, roots: list[Path]) -> None:
    one, other, alone = roots
    synchronise(forked, one, other)
    state = (other / ".syncron/state.db").read_bytes()
    for words, code, why in (
        ([identity(forked, one), other, one], 1, f"is the replica in {one} itself"),
        (["nobody:/here", one], 1, "None of these roots has heard"),
        (["abc", one], 1, "None of these roots has heard"),
        ([identity(forked, one), alone, other], 3, "is not yet one of several replicas"),
        ([identity(forked, one)], 1, "the roots that are to know"),
        ([identity(forked, one), other, "-n"], 1, "--dry-run"),
    ):
        ended = forked("--forget-replica", *words)
        assert ended.code == code, ended.err
        assert why in ended.err
    assert (other / ".syncron/state.db").read_bytes() == state
    assert not (alone / ".syncron").exists()
    assert forked("--list-replicas", alone).code == 3


def test_a_far_root_is_told_and_tells(syncron: Command, hosts: Sshd, roots: list[Path]) -> None:
    one, other, gone = roots
    synchronise(syncron, *roots)
    assert syncron("--forget-replica", place(gone), f"target:{other}").code == 0
    retired = {
        each["place"] for each in listed(syncron, f"target:{other}").values() if each["retired"]
    }
    assert retired == {place(gone)}
    assert "gone for good" in synchronise(syncron, f"target:{other}", gone)
    assert files(one) == files(other) == files(gone)
