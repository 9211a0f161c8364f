"""What of a tree is brought over: by rsync's transfer rules, held against rsync itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Way
from tests.e2e.forking import Forked
from tests.trees import Directory, Fifo, File, Link, Node, assert_same, differences, make, read

CASES = 400 if os.environ.get("SYNCRON_DEEP") else 40
DAY = 86_400_000_000_000
SECOND = 1_000_000_000


def _leaf(choice: random.Random) -> Node:
    seconds = choice.choice((0, 0, 1, 2, 3)) * SECOND
    kind = choice.randrange(10)
    if kind < 2:
        target = choice.choice((b"a", b"b", b"../a", b"../../x", b"a/../b", b"/a", b"..", b"./.."))
        return Link(target, 400 * DAY + seconds)
    if kind == 2:
        return Fifo(choice.choice((0o600, 0o644)), 400 * DAY + seconds)
    # A file's time says its content, as rsync's quick check believes.
    content = choice.choice((b"", b"x", b"yy", b"zz", b"a few more"))
    seconds += {b"yy": 10, b"zz": 20}.get(content, 0) * SECOND
    return File(content, choice.choice((0o600, 0o644)), 400 * DAY + seconds)


def _tree(choice: random.Random, depth: int, kinds: bool) -> Directory:
    """``kinds``: a name may be a directory here and something else there."""
    entries: dict[bytes, Node] = {}
    for name in (b"a", b"b", b"c", b"d", b"e", b"f"):
        if choice.random() < 0.3:
            continue
        below = depth > 0 and (choice.random() < 0.4 if kinds else name in (b"a", b"b"))
        entries[name] = _tree(choice, depth - 1, kinds) if below else _leaf(choice)
    return Directory(entries, choice.choice((0o755, 0o700)), 400 * DAY)


def _options(choice: random.Random) -> list[str]:
    each = (
        ("--existing", "--ignore-non-existing"),
        ("--ignore-existing",),
        ("-u", "--update"),
        ("--size-only",),
        ("-I",),
        ("--max-size=1", "--max-size=3b", "--max-size=0", "--max-size=2-1"),
        ("--min-size=1", "--min-size=3"),
        ("--no-links", "--safe-links"),
        ("--no-specials", "--no-devices"),
        ("--modify-window=1", "-@2", "--modify-window=0"),
    )
    chosen = [choice.choice(some) for some in each if choice.random() < 0.3]
    return [*(chosen or ["-u"]), *(["--delete"] if choice.random() < 0.5 else [])]


@pytest.mark.parametrize("seed", range(CASES))
def test_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    options = _options(choice)
    # rsync fails where a directory's name is left to something else.
    kinds = "--ignore-existing" not in options
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    make(source, _tree(choice, 2, kinds))
    before = _tree(choice, 2, kinds)
    make(ours, before)
    make(theirs, before)
    done = subprocess.run(
        ["rsync", "-a", *options, f"{source}/", f"{theirs}/"], capture_output=True, check=False
    )
    dry = forked("-n", "--json", *options, source, ours)
    assert not differences(before, read(ours)), options
    ended = forked("--json", *options, source, ours)
    assert ended.code == done.returncode, (options, ended.err, done.stderr)
    found = differences(read(theirs), read(ours))
    assert not found, (options, found)
    items = [each for each in ended.messages if each["message_type"] == "item"]
    assert items == [each for each in dry.messages if each["message_type"] == "item"]
    again = forked("--json", *options, source, ours)
    if ended.code == 0:
        assert ended.summary["match"] is True
        assert again.summary["match"] is True
        if "-I" not in options or "--size-only" in options:
            names = ("created", "changed", "metadata", "deleted")
            assert not any(again.summary[name] for name in names), options


def test_what_is_left_is_told_and_left_out_of_the_roots(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"new": {"large": b"x" * 100, "small": b"1", "in": {"large": b"y" * 100}}})
    make(source / "sub", {"b": b"22", "large": b"z" * 100})
    make(destination, {"sub": {"b": b"1", "large": b"old", "own": b"2"}})
    words = ("--max-size=50", "--delete", *way.words(source, destination))
    first = syncron("--json", *words)
    assert (first.code, first.summary["match"]) == (0, True), first.err
    assert first.summary["left_out"] == 3
    # new, new/small, new/in
    assert (first.summary["created"], first.summary["deleted"]) == (3, 1)
    paths = {each["path"] for each in first.messages if each["message_type"] == "item"}
    assert paths >= {"new", "new/small", "new/in", "sub/b", "sub/own"}
    assert not any("large" in path for path in paths)
    assert_same(
        {"new": {"small": b"1", "in": {}}, "sub": {"b": b"22", "large": b"old"}}, destination
    )
    again = syncron.ok(*words)
    assert (again["created"], again["changed"], again["left_out"]) == (0, 0, 3)
    assert again["source_root"] == first.summary["source_root"]
    assert again["bytes_hashed"] == 0
    # Without the bound the rest follows, and all is equal.
    whole = syncron.ok(*words[1:])
    assert (whole["created"], whole["changed"], whole["left_out"]) == (2, 1, 0)
    assert syncron("--verify", *words).code == 0
    assert_same(source, destination)


@pytest.mark.parametrize("option", ["--existing", "--ignore-existing", "-u"])
def test_both_sides_agree_about_what_is_left(
    syncron: Command, way: Way, tmp_path: Path, option: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"both": b"1", "mine": {"a": b"2", "b": b"3"}, "same": b"4"})
    make(destination, {"both": File(b"one", mtime_ns=2_000_000_000 * SECOND), "same": b"4"})
    words = (option, *way.words(source, destination))
    first = syncron.ok(*words)
    both = (destination / "both").read_bytes()
    assert both == (b"1" if option == "--existing" else b"one")
    assert (destination / "mine").exists() is (option != "--existing")
    # What is left is not read, so that "same" may be another with --ignore-existing.
    assert first["left_out"] == {"--existing": 3, "--ignore-existing": 2, "-u": 1}[option]
    again = syncron.ok(*words)
    assert again["left_out"] == first["left_out"]
    assert again["source_root"] == first["source_root"]
    assert syncron("-v", *words).out.startswith("Nothing to do for 5 entries")
    # --verify leaves out the same.
    assert syncron("--verify", *words).code == 0
    assert syncron("--verify", *words[1:]).code == 9


def test_sizes_and_times_can_do_for_equal(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"11", "d": {"b": b"22", "c": b"333"}})
    make(destination, {"a": b"xx", "d": {"b": b"yy", "c": b"3"}})
    words = way.words(source, destination)
    first = syncron.ok("--size-only", *words)
    assert (first["changed"], first["bytes_hashed"]) == (1, 3)
    assert (destination / "a").read_bytes() == b"xx"
    assert syncron("--verify", "--size-only", *words).code == 9
    assert syncron.ok("--size-only", "--checksum", *words)["changed"] == 2
    for path in (destination / "a", destination / "d"):
        os.utime(path, (1_600_000_001, 1_600_000_001))
    near = syncron.ok("--modify-window=1", *words)
    assert near["metadata"] == 0
    assert syncron.ok("--modify-window=0", *words)["metadata"] == 2
    anew = syncron.ok("--ignore-times", *words)
    assert (anew["changed"], anew["bytes_transferred"] + anew["bytes_matched"]) == (3, 7)


def test_a_directory_that_goes_over_in_part_is_not_moved_whole(
    syncron: Command, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    large = bytes(5000)
    make(source, {"old": {"large": large, "small": b"1" * 300, "in": {"more": b"2" * 300}}})
    syncron.ok(source, destination)
    shutil.move(source / "old", source / "new")
    summary = syncron("--json", "--delete", "--max-size=4k", source, destination).summary
    assert (summary["match"], summary["left_out"]) == (True, 1)
    # As with rsync, which deletes it where it was.
    assert sorted(path.name for path in destination.rglob("*")) == ["in", "more", "new", "small"]
    assert summary["moved"] >= 1
