"""Runs over what a list names, held against rsync's."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Way
from tests.e2e.forking import Forked
from tests.trees import Directory, File, Link, Node, differences, make, read

NAMES = (b"a", b"b", b"c d", b"e")


def _tree(choice: random.Random, depth: int) -> Directory:
    entries: dict[bytes, Node] = {}
    for name in NAMES:
        kind = choice.random()
        if depth and kind < 0.6:
            entries[name] = _tree(choice, depth - 1)
        elif kind < 0.9:
            entries[name] = Link(b"zz") if kind > 0.85 else File(name)
    return Directory(entries)


def _path(choice: random.Random) -> str:
    names = [choice.choice(NAMES).decode() for _ in range(choice.randrange(1, 5))]
    path = choice.choice(("/", "//", "/../", "/")).join(names)
    return choice.choice(("", "", "/", "./")) + path + choice.choice(("", "", "/", "/."))


@pytest.mark.parametrize("group", range(4))
def test_as_rsync(forked: Forked, tmp_path: Path, group: int) -> None:
    for seed in range(group, 48, 4):
        place = tmp_path / str(seed)
        place.mkdir()
        _compare(forked, place, random.Random(seed), seed)


def _compare(forked: Forked, tmp_path: Path, choice: random.Random, seed: int) -> None:
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    make(source, _tree(choice, 3))
    before = Directory({b"a": Directory({b"own": File(b"1")})} if choice.random() < 0.3 else {})
    make(ours, before)
    make(theirs, before)
    paths = [_path(choice) for _ in range(choice.randrange(6))] + ["."] * (choice.random() < 0.1)
    nul = choice.random() < 0.3
    listed = tmp_path / "list"
    ends = "\0" if nul else choice.choice(("\n", "\r\n", "\n\n# comment\n;\n"))
    listed.write_text("".join(path + ends for path in paths))
    options = [f"--files-from={listed}", *["-r"] * (choice.random() < 0.4), *["-0"] * nul]
    done = subprocess.run(
        ["rsync", "-a", *options, f"{source}/", f"{theirs}/"], capture_output=True, check=False
    )
    ended = forked("--json", *options, source, ours)
    said = (seed, options, paths, done.stderr, ended.err)
    assert ended.code == done.returncode, said
    found = [line for line in differences(read(theirs), read(ours)) if line[:2] != ".:"]
    assert not found, (*said, found)
    assert ended.summary["match"] is True, said


def test_on_every_way(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": {"b": b"1", "c": b"2", "d": {"e": b"3", "f": b"4"}}, "g": b"5"})
    make(destination, {"a": {"own": b"6", "b": b"old"}})
    words = way.words(source, destination)
    listed = tmp_path / "list"
    listed.write_text("a/b\na/d/e\n")
    colon = ":" if way.source_host else ""
    first = syncron.ok(f"--files-from={colon}{listed}", *words)
    found = {str(path.relative_to(destination)) for path in destination.rglob("*")}
    assert found == {"a", "a/b", "a/own", "a/d", "a/d/e"}
    assert (first["created"], first["changed"]) == (2, 1)
    again = syncron.ok(f"--files-from={listed}", *words)
    assert (again["created"], again["bytes_hashed"]) == (0, 0)
    assert again["source_root"] == first["source_root"]
    assert syncron("--verify", f"--files-from={listed}", *words).code == 0
    whole = syncron.ok(*words)
    assert whole["created"] == 3
    # What is known of the whole tree is not lost by a run over a part of it.
    syncron.ok(f"--files-from={listed}", *words)
    (destination / "a/own").unlink()
    assert syncron.ok(*words)["bytes_hashed"] == 0
    listed.write_text("nowhere\ng\n")
    missing = syncron("--json", f"--files-from={listed}", *words)
    assert (missing.code, missing.summary["match"]) == (23, True)
    assert missing.summary["errors"][0]["path"] == "nowhere"


def test_the_list_may_be_standard_input(syncron: Command, tmp_path: Path) -> None:
    source, destination, listed = tmp_path / "src", tmp_path / "dst", tmp_path / "list"
    make(source, {"a\nb": b"1", "#c": b"2", "d": b"3"})
    listed.write_bytes(b"a\nb\0#c\0")
    with listed.open() as lines:
        ended = syncron("--files-from=-", "-0", source, destination, stdin=lines)
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in destination.iterdir()) == ["#c", "a\nb"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--files-from=nowhere"], "cannot read nowhere"),
        (["--files-from=:list", "--delete"], "read on the machine of SRC"),
        (["-0"], "--files-from names: give that too"),
        (["-0", "--exclude-from=list", "--files-from=list"], "each rule is a line"),
        (["-f. rules", "--files-from=list", "-0"], "each rule is a line"),
        (["--files-from=same"], "from two places"),
        (["--files-from=:list"], "leave out the colon"),
        (["--files-from=list", "src/a"], "several were given"),
    ],
)
def test_what_does_not_go_together_is_refused(
    syncron: Command, tmp_path: Path, words: list[str], said: str
) -> None:
    make(tmp_path / "src", {"a": {"b": b"1"}})
    (tmp_path / "list").write_text("a\n")
    (tmp_path / "rules").write_text("- a\n")
    (tmp_path / "same").write_text("a/./b\nb\n")
    ended = syncron(*words, "src", "dst", cwd=tmp_path)
    assert ended.code == 1, ended.err
    assert said in ended.err
    assert not (tmp_path / "dst").exists()
