"""``--hard-links``: names of one file are names of one file on the other side, over runs."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Script, Way
from tests.e2e.everything import Changing, assert_equal, groups, itemized, rsync
from tests.e2e.forking import Forked
from tests.fs.roots import settle
from tests.trees import make, noise

SEEDS = range(1000 if os.environ.get("SYNCRON_DEEP") else 8)
ROUNDS = 4


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_follow_the_source(forked: Forked, tmp_path: Path, seed: int) -> None:
    source, ours, rsyncs = tmp_path / "src", tmp_path / "ours", tmp_path / "rsyncs"
    tree = Changing(source, seed)
    for number in range(ROUNDS):
        deletes = ["--delete"] if number % 2 or seed % 2 else []
        before = None if number else rsync(source, rsyncs, "-aHi")
        if number == 2:  # nothing is remembered any more
            shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
        ended = forked("-Hi", *deletes, source, ours)
        assert ended.code == 0, (seed, number, ended.err, ended.out)
        if before is not None:
            # rsync takes another name of a group for the one that has the content.
            firsts = {name for group in groups(source) for name in group}
            assert [line for line in itemized(ended.out) if line[12:] not in firsts] == [
                line for line in itemized(before) if line[12:] not in firsts
            ]
            assert_equal(rsyncs, ours)
        assert_equal(source, ours, extras=not deletes)
        again = forked("--json", "-H", *deletes, source, ours)
        assert again.code == 0
        assert again.summary["created"] == again.summary["changed"] == 0
        tree.change()


def test_content_crosses_once_and_what_is_equal_is_free(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"b": noise(100_000), "d": {"e": {"large": noise(1 << 20, 1)}}, "z": {}})
    os.link(source / "b", source / "d/e/b")
    os.link(source / "b", source / "a")
    os.link(source / "d/e/large", source / "large")
    (source / "to").symlink_to("b")
    os.link(source / "to", source / "d/to", follow_symlinks=False)
    settle()
    summary = syncron.ok("-H", *way.words(source, destination))
    assert_equal(source, destination)
    assert summary["bytes_transferred"] == 100_000 + (1 << 20)
    again = syncron.ok("-H", *way.words(source, destination))
    assert (again["bytes_hashed"], again["created"], again["changed"]) == (0, 0, 0)
    # A further name costs no content, and the directories have their times back.
    os.link(source / "large", source / "0")
    os.link(source / "b", source / "z/b")
    (source / "d/e/b").unlink()
    shutil.copy2(source / "b", source / "d/e/b")
    settle()
    summary = syncron.ok("-H", *way.words(source, destination))
    assert_equal(source, destination)
    assert summary["bytes_transferred"] <= 100_000
    again = syncron.ok("-H", *way.words(source, destination))
    assert (again["bytes_hashed"], again["created"], again["changed"]) == (0, 0, 0)


def test_equal_roots_mean_equal_groups(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"same", "b": b"same", "c": {"d": b"same"}})
    syncron.ok(str(source), str(destination))
    os.unlink(source / "c/d")
    os.link(source / "a", source / "c/d")
    os.utime(source / "c", ns=(1, 1))
    os.utime(destination / "c", ns=(1, 1))
    assert syncron("--verify", str(source), str(destination)).code == 0
    different = syncron("--verify", "-Hi", str(source), str(destination))
    assert (different.code, different.out) == (9, "hf          c/d => a\n")
    roots = [syncron("-H", "--root", str(top)).out for top in (source, destination)]
    assert roots[0] != roots[1]
    dry = syncron("-nHi", str(source), str(destination))
    assert dry.out.splitlines()[0] == "hf          c/d => a"
    assert groups(destination) == set()
    shown = syncron("--json", "-H", str(source), str(destination)).messages
    item = next(each for each in shown if each["message_type"] == "item")
    assert (item["action"], item["path"], item["target"]) == ("link", "c/d", "a")
    assert_equal(source, destination)
    roots = [syncron("-H", "--root", str(top)).out for top in (source, destination)]
    assert roots[0] == roots[1] != syncron("--root", str(source)).out


def test_groups_of_one_file_at_the_destination_are_parted(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {name: noise(2000) for name in "abcdef"})
    for one, other in ("ab", "cd"):
        os.unlink(source / other)
        os.link(source / one, source / other)
    syncron.ok(str(source), str(destination))
    for name in "bcdef":
        os.unlink(destination / name)
        os.link(destination / "a", destination / name)
    syncron.ok("-H", str(source), str(destination))
    assert_equal(source, destination)


def test_a_new_first_name_of_a_file_that_is_there(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": {}, "b": {"file": noise(2000)}})
    make(destination, {"b": {"file": noise(2000)}})
    os.link(source / "b/file", source / "a/first")
    assert syncron.ok("-H", str(source), str(destination))["match"] is True
    assert_equal(source, destination)


def test_names_of_one_size_are_linked_as_by_rsync(forked: Forked, tmp_path: Path) -> None:
    """... where nobody looks at what is in them: to what is there, unless the first name's content
    comes anyway."""
    source = tmp_path / "src"
    there = {"good": b"new1", "stale": b"old1", "longer": b"another", "missing": None}
    for states in itertools.product(there, repeat=3):
        name = "-".join(states)
        make(source / name, {"a": b"new1"})
        for other in "bc":
            os.link(source / name / "a", source / name / other)
        for side in ("ours", "theirs"):
            tree = {path: there[state] for path, state in zip("abc", states)}
            make(tmp_path / side / name, {path: data for path, data in tree.items() if data})
    rsync(source, tmp_path / "theirs", "-aH", "--size-only")
    ended = forked("-H", "--size-only", "--json", source, tmp_path / "ours")
    assert (ended.code, ended.err, ended.summary["match"]) == (0, "", True)
    assert_equal(tmp_path / "theirs", tmp_path / "ours")


def test_what_is_in_place_and_durable_is_linked_too(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"d": {"a": noise(300_000)}})
    os.link(source / "d/a", source / "b")
    syncron.ok("-H", "--fsync", str(source), str(destination))
    with (source / "b").open("r+b") as file:
        file.write(b"edited")
    syncron.ok("-H", "--inplace", "--no-whole-file", str(source), str(destination))
    assert_equal(source, destination)


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("mode", ["--append-only", "--no-delete"])
def test_a_restricted_helper_links_what_it_may(
    syncron: Command, script: Script, tmp_path: Path, mode: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"same", "b": b"same"})
    helper = script(f"exec {{helper}} --restrict {tmp_path} {mode}")
    words = (f"--remote-syncron={helper}", str(source), f"target:{destination}")
    syncron.ok("-H", *words)
    os.unlink(source / "b")
    os.link(source / "a", source / "b")
    os.link(source / "a", source / "c")
    ended = syncron("-H", *words)
    assert os.path.samefile(destination / "a", destination / "c")
    may_change = mode == "--no-delete"
    assert ended.code == (0 if may_change else 23)
    assert os.path.samefile(destination / "a", destination / "b") == may_change
