"""Alternates together with options that choose what is brought over: as rsync, by random trees."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.deep import DEEP
from tests.e2e.conftest import Command, Way
from tests.e2e.everything import Changing, groups, kept, rsync
from tests.e2e.forking import Forked
from tests.e2e.test_alternates import kinds, random_alternates, random_tree, shared, unshared
from tests.fs.roots import settle
from tests.trees import File, make

_OPTIONS = (
    ("--max-size=1", "--max-size=2", "--min-size=1", "--min-size=3"),
    ("--existing", "--ignore-existing", "-u"),
    ("--size-only", "-I"),
    ("--no-links", "--no-specials"),
)


@pytest.mark.parametrize("option", ["--link-dest", "--copy-dest", "--compare-dest"])
@pytest.mark.parametrize("seed", range(300 if DEEP else 6))
def test_as_rsync(forked: Forked, tmp_path: Path, option: str, seed: int) -> None:
    choice = random.Random(seed)
    source, alternates = random_alternates(choice, tmp_path, 2)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    chosen = [choice.choice(some) for some in _OPTIONS if choice.random() < 0.4] or ["--max-size=1"]
    filled = option != "--compare-dest" and choice.random() < 0.7
    if filled:
        random_tree(choice, ours, source)
        subprocess.run(["cp", "-a", ours, theirs], check=True)
    unchanged = unshared(source) & unshared(ours) if filled else set()
    options = [*chosen, *(f"{option}=../{each.name}" for each in alternates)]
    words = ["--delete", "--modify-window=-1", "-i", "-rlptgoD"]
    words += [] if {"--size-only", "-I"} & {*chosen} else ["-c"]
    done = subprocess.run(
        ["rsync", *words, *options, f"{source}/", theirs],
        capture_output=True,
        text=True,
        check=False,
    )
    before = kinds(theirs, alternates)
    dry = forked("-n", "-i", "--delete", *options, source, ours)
    ended = forked("-i", "--delete", *options, source, ours)
    assert ended.code == done.returncode, (options, ended.err, done.stderr)
    assert dry.out == ended.out
    after = kinds(ours, alternates)
    for name in {name for name, *_ in unchanged}:
        after[name] = before[name]
    differing = {
        name: (before.get(name), after.get(name))
        for name in {*before, *after}
        if before.get(name) != after.get(name)
    }
    assert not differing, (options, differing, done.stdout, ended.out)


@pytest.mark.parametrize("seed", range(60 if DEEP else 4))
def test_all_that_is_kept_decides(forked: Forked, tmp_path: Path, seed: int) -> None:
    """... also where names of one file are left, or what has attributes."""
    choice = random.Random(seed)
    source = tmp_path / "src"
    tree = Changing(source, seed)
    use = choice.choice(("--link-dest", "--link-dest", "--copy-dest"))
    days: list[Path] = []
    for number in range(4):
        if number:
            tree.change(choice.choice((0, 1, 4)))
        tree.adjust(choice.choice((0, 1, 6)))
        chosen = choice.choice(("--max-size=100", "--min-size=10", "--no-links", "--safe-links"))
        day, like = tmp_path / f"day{number}", tmp_path / f"like{number}"
        assert forked("-HAX", chosen, source, like).code == 0  # rsync hangs with some of these
        named = [f"{use}=../{each.name}" for each in reversed(days)][: choice.choice((1, 2))]
        before = [kept(each) for each in days]
        ended = forked("--json", "-HAX", chosen, *named, source, day)
        said = (seed, number, chosen, named, ended.out)
        assert (ended.code, ended.summary["match"]) == (0, True), said
        assert kept(day) == kept(like), said
        assert groups(day) == groups(like), said
        assert [kept(each) for each in days] == before, said
        again = forked("--json", "-HAX", chosen, *named, source, day).summary
        steps = ("created", "changed", "metadata", "linked", "copied")
        assert not any(again[each] for each in steps), (*said, again)
        days.append(day)


@pytest.mark.parametrize("seed", range(100 if DEEP else 3))
def test_what_is_the_same_elsewhere_is_left_out(forked: Forked, tmp_path: Path, seed: int) -> None:
    """... as rsync does, also by its attributes."""
    choice = random.Random(seed)
    source, old = tmp_path / "src", tmp_path / "old"
    tree = Changing(source, seed)
    tree.adjust(12)
    rsync(source, old, "-aAX")
    tree.change(4)
    tree.adjust(4)
    compared = (choice.choice(("-AX", "-X")), f"--compare-dest={old}")
    rsync(source, tmp_path / "theirs", "-a", *compared)
    ours = tmp_path / "ours"
    ended = forked("--json", *compared, source, ours)
    said = (seed, compared, ended.out)
    assert (ended.code, ended.summary["match"]) == (0, True), said
    assert kept(ours) == kept(tmp_path / "theirs"), said
    again = forked("--json", *compared, source, ours).summary
    assert not any(again[each] for each in ("created", "changed", "metadata")), said


def test_what_is_left_is_not_taken_with_its_directory(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, day0, day1 = tmp_path / "src", tmp_path / "day0", tmp_path / "day1"
    make(source, {"d": {"e": {"large": b"x" * 100, "small": b"1"}, "f": {"g": b"2"}}})
    syncron.ok(*way.words(source, day0))
    settle()
    words = ("--max-size=50", "--link-dest=../day0", *way.words(source, day1))
    first = syncron.ok(*words)
    assert shared(day1, day0) == {"d/e/small", "d/f/g"}
    assert not (day1 / "d/e/large").exists()
    assert (first["match"], first["left_out"], first["bytes_transferred"]) == (True, 1, 0)
    again = syncron.ok(*words)
    assert (again["match"], again["created"], again["linked"]) == (True, 0, 0)


def test_sizes_and_times_can_do_for_equal(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"11", "b": b"22", "d": {"c": b"33"}})
    make(tmp_path / "old", {"a": b"00", "b": File(b"00", mtime_ns=9), "d": {"c": b"00"}})
    words = ("--size-only", "--link-dest=../old", "src", "dst")
    first = syncron.ok(*words, cwd=tmp_path)
    assert (first["match"], first["bytes_hashed"]) == (True, 0)
    assert shared(tmp_path / "dst", tmp_path / "old") == {"a", "d/c"}
    # Another time: a copy that gets the right one.
    assert (tmp_path / "dst/b").read_bytes() == b"00"
    assert (tmp_path / "dst/b").stat().st_mtime == (tmp_path / "src/b").stat().st_mtime
    os.utime(tmp_path / "old/b", ns=(0, (tmp_path / "src/b").stat().st_mtime_ns + 10**9))
    make(tmp_path / "old/e", {})
    (tmp_path / "src/b").write_bytes(b"00")
    os.utime(tmp_path / "src/b", ns=(0, (tmp_path / "old/b").stat().st_mtime_ns - 10**9))
    within = syncron.ok(
        *("--modify-window=1", "-c", "--link-dest=../old", "src", "other"), cwd=tmp_path
    )
    assert within["match"] is True
    assert shared(tmp_path / "other", tmp_path / "old") == {"b"}
