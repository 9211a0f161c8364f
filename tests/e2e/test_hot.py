"""Hot runs, whole: what they bring over, what they believe, and what they never lose."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command, MakeWay, Way
from tests.trees import assert_same, make

TREE: dict[str, Any] = {
    "hot": {"log": b"0", "d": {"old": b"old"}},
    "cold": {"deep": {"file": b"f" * 3000}},
}


@pytest.fixture(params=["local", "push-installed", "pull-shipped", "relay-installed"])
def way(request: pytest.FixtureRequest, make_way: MakeWay) -> Way:
    return make_way(request.param)


def test_a_hot_run_brings_over_what_is_hot_and_the_next_full_one_the_rest(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, target = tmp_path / "src", tmp_path / "dst"
    make(source, TREE)
    words = ("--delete", *way.words(source, target))
    syncron.ok(*words)
    for number in range(2):
        time.sleep(0.06)
        (source / "hot/log").write_text("x" * (number + 2))
        syncron.ok(*words)
    listed = syncron("--list-hot", way.source(source), "--json", *way.options)
    assert [json.loads(line)["path"] for line in listed.out.splitlines()] == ["hot"]
    assert syncron("--list-hot", way.source(source), *way.options).out.split()[2:] == ["2.0", "hot"]
    (source / "hot/log").write_text("longer and longer")
    make(source / "hot/new", {"file": b"new"})
    (source / "hot/d/old").unlink()
    (source / "hot/d").rmdir()
    (source / "cold/deep/later").write_text("later")
    hot = syncron.ok("--hot", *words)
    assert (hot["created"], hot["changed"], hot["deleted"]) == (2, 1, 2)
    assert_same(target / "hot", source / "hot")
    assert not (target / "cold/deep/later").exists()
    full = syncron.ok(*words)
    assert (full["created"], full["deleted"]) == (1, 0)
    assert_same(target, source)


def test_what_differs_in_the_cold_is_made_equal_as_far_as_it_is_known(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, target = tmp_path / "src", tmp_path / "dst"
    cold = {f"e{number}": {"f": {"file": b"f"}} for number in range(3)}
    make(source, {"hot": {"log": b"0"}, "cold": cold, "gone": cold})
    words = ("--delete", *way.words(source, target))
    syncron.ok(*words)
    for number in range(2):
        time.sleep(0.06)
        (source / "hot/log").write_text("x" * (number + 2))
        syncron.ok(*words)
    (target / "cold/e1/f/file").write_text("edited there")
    make(target / "cold/e2/f", {"more": {"than": {"there": b"was"}}})
    shutil.rmtree(source / "gone")
    shutil.copytree(target / "cold/e0", target / "cold/e3")
    # Either side has a run of its own, by which it knows.
    syncron.ok(way.destination(target), tmp_path / "other", *way.options)
    syncron.ok(way.source(source), tmp_path / "another", *way.options)
    (source / "hot/log").write_text("longer and longer")
    hot = syncron.ok("--hot", *words)
    assert hot["match"] is True and hot["changed"] == 2
    assert_same(target, source)
    full = syncron.ok(*words)
    assert full["created"] + full["changed"] + full["deleted"] == 0


def test_where_nothing_is_known_a_hot_run_is_a_full_one(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", TREE)
    done = syncron("-v", "--hot", tmp_path / "src", tmp_path / "dst")
    assert done.code == 0 and "no directory is known to be hot" in done.err
    assert_same(tmp_path / "dst", tmp_path / "src")


def test_a_destination_that_lost_its_state_is_looked_at(
    syncron: Command, tmp_path: Path, home: Path
) -> None:
    source, target = tmp_path / "src", tmp_path / "dst"
    make(source, TREE)
    syncron.ok(source, target)
    time.sleep(0.06)
    (source / "hot/log").write_text("longer")
    syncron.ok(source, target)
    (target / "cold/deep/file").write_text("edited there")
    for state in (home / "state/syncron").glob("*.db"):
        if b"/dst" in state.read_bytes():
            state.unlink()
    (source / "hot/log").write_text("longer again")
    assert syncron.ok("--hot", source, target)["changed"] == 2
    assert_same(target, source)


def test_what_looks_at_everything_is_no_hot_run(syncron: Command, tmp_path: Path) -> None:
    for option in ("--verify", "--snapshot", "-I"):
        done = syncron("--hot", option, tmp_path, tmp_path / "x")
        assert done.code == 1 and "--hot believes what is remembered" in done.err
