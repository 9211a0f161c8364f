"""Filter rules, held against rsync's by whole runs of both: what is copied, what is deleted."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Way
from tests.e2e.forking import Forked
from tests.trees import Directory, File, Link, Node, differences, make, read

CASES = 1500 if os.environ.get("SYNCRON_DEEP") else 120
NAMES = (b"a", b"b", b"ab", b"a.o", b"b.c", b"core", b"keep", b"x.bak")
FOLDERS = (b"d", b"e.o", b"CVS", b"sub", b"dd")
PIECES = (
    *("a", "b", "ab", "*.o", "*.c", "core", "keep", "d", "sub", "CVS", "*", "?", "[ab]", "a*"),
    *("d/", "sub/", "/d", "/sub/a", "sub/d/", "/d/*", "d/**", "**/a", "sub/***", "a/b", "/a", "*/"),
    *("**/d/a", "/sub/**/a", "/*/a", "d**a", "*b", "/d/***", "x.bak", "*.bak"),
)
SHORT = ("-", "-", "-", "+", "H", "S", "P", "R")
LONG = ("exclude", "include", "hide", "show", "protect", "risk")


def _tree(choice: random.Random, depth: int, merged: list[str], odds: float) -> Directory:
    """``merged``: names of files with rules that there may be."""
    entries: dict[bytes, Node] = {}
    for name in NAMES:
        if choice.random() < odds:
            entries[name] = Link(b"a", 10**18) if name == b"keep" else File(name, 0o644, 10**18)
    for name in FOLDERS:
        if depth and choice.random() < 0.6:
            entries[name] = _tree(choice, depth - 1, merged, odds)
    for file in merged:
        if choice.random() < 0.4:
            lines = _merged(choice, file)
            entries[file.encode()] = File(lines.encode(), 0o644, 10**18)
    return Directory(entries, 0o755, 10**18)


def _rule(choice: random.Random, sides: bool = True) -> str:
    pattern = choice.choice(PIECES)
    modifiers = "".join(each for each in "!p" if choice.random() < (0.05 if each == "!" else 0.15))
    if choice.random() < 0.3:
        words = LONG if sides else LONG[:2]
        word = choice.choice(words)
        return f"{word}{',' if modifiers else ''}{modifiers}{choice.choice(' _')}{pattern}"
    kind = choice.choice(SHORT if sides else SHORT[:4])
    if sides and kind in "-+" and choice.random() < 0.2:
        modifiers += choice.choice(("s", "r", "sr"))
    return f"{kind}{choice.choice(('', ',')) if modifiers else ''}{modifiers} {pattern}"


def _merged(choice: random.Random, file: str) -> str:
    if file in (".cvsignore", ".words"):
        words = [choice.choice(PIECES) for _ in range(choice.randrange(3))]
        if file == ".cvsignore" and choice.random() < 0.3:
            words.insert(choice.randrange(len(words) + 1), "!")
        return " ".join(words) + "\n"
    if file == ".only":
        return "".join(choice.choice(PIECES) + "\n" for _ in range(choice.randrange(3)))
    lines = [_rule(choice, file != ".sided") for _ in range(choice.randrange(4))]
    lines += ["!"] * (choice.random() < 0.2) + ["# a comment", ""] * (choice.random() < 0.3)
    choice.shuffle(lines)
    return "".join(f"{line}\n" for line in lines)


MERGES = {
    ".rf": (": .rf", "dir-merge .rf", ":n .rf", ":p .rf"),
    ".rsync-filter": ("-F",),
    ".only": (":- .only", "dir-merge,+ .only", ":n- .only"),
    ".sided": (":s .sided", ":r .sided"),
    ".words": (":w- .words",),
    ".cvsignore": (":C", "-C"),
}


def _options(choice: random.Random, directory: Path) -> tuple[list[str], list[str]]:
    """Options, and the names of the files with rules in the tree."""
    options: list[str] = []
    files = [name for name in MERGES if choice.random() < 0.15]
    for name in files:
        way = choice.choice(MERGES[name])
        options.append(way if way in ("-F", "-C") else f"--filter={way}")
    for number in range(choice.randrange(5)):
        kind = choice.randrange(12)
        if kind == 0:
            path = directory / f"merged{number}"
            path.write_text("".join(_rule(choice) + "\n" for _ in range(3)))
            options.append(f"--filter=merge {path}")
        elif kind == 1:
            options.append("--filter=-C")
        elif kind == 2:
            options.append(f"--exclude={choice.choice(PIECES)}")
        elif kind == 3:
            options.append(f"--include={choice.choice(PIECES)}")
        elif kind == 4 and choice.random() < 0.3:
            options.append(choice.choice(("--filter=!", "--filter=clear")))
        elif kind == 5:
            inside = f"{directory.name}/src/{choice.choice(('d/a', 'sub/', 'a', 'd/*.o'))}"
            options.append(f"--filter={choice.choice('-HP')}/ {inside}")
        else:
            options.append(f"--filter={_rule(choice)}")
    choice.shuffle(options)
    return options, files


@pytest.mark.parametrize("group", range(12))
def test_as_rsync(forked: Forked, tmp_path: Path, group: int) -> None:
    for seed in range(group, CASES, 12):
        place = tmp_path / str(seed)
        place.mkdir()
        _compare(forked, place, random.Random(seed), seed)


def _compare(forked: Forked, tmp_path: Path, choice: random.Random, seed: int) -> None:
    options, files = _options(choice, tmp_path)
    # rsync's receiver reads the files that it has itself, so they must come before it deletes.
    deleting = choice.choice(([], ["--delete-after"], ["--delete-after", "--delete-excluded"]))
    if choice.random() < 0.15:
        options.append("--prune-empty-dirs")
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    make(source, _tree(choice, 2, files, choice.choice((0.5, 0.5, 0.1))))
    before = _tree(choice, 2, [], 0.4)
    make(ours, before)
    make(theirs, before)
    done = subprocess.run(
        ["rsync", "-a", *options, *deleting, f"{source}/", f"{theirs}/"],
        capture_output=True,
        check=False,
    )
    if deleting and not _files(source, files) <= _files(theirs, files):
        return  # the receiver of rsync did not get all rules, and deleted what they protect
    own = [option.replace("-after", "") for option in deleting]
    ended = forked("--json", "--allow-empty-source", *options, *own, source, ours)
    found = [line for line in differences(read(theirs), read(ours)) if "mtime" not in line]
    said = (seed, options, deleting, done.stderr)
    assert ended.code == done.returncode, (*said, ended.err)
    assert not found, (*said, found)
    if ended.code == 0:
        assert ended.summary["match"] is True, said


def _files(top: Path, names: list[str]) -> set[Path]:
    return {path.relative_to(top) for name in names for path in top.rglob(name)}


def test_sides_on_every_way(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a.o": b"1", "b": b"2", "sub": {".rules": b"P *.mine\n- /out\n", "c": b"3"}})
    make(source / "sub/out", {"x": b"4"})
    make(destination, {"a.o": b"old", "gone": {"deep": {"k.mine": b"5", "k.x": b"6"}}})
    make(destination / "sub", {"k.mine": b"7", "old": b"8", "out": {"y": b"9"}})
    make(destination / "sub/deep", {"k.mine": b"10", "k.x": b"11"})
    rules = ("--delete", "--filter=H *.o", "--filter=P gone/**.mine", "--filter=: .rules")
    words = (*rules, *way.words(source, destination))
    dry = syncron("-n", "--json", *words)
    assert dry.summary["deleted"] == 4
    summary = syncron.ok(*words)
    # a.o, gone/deep/k.x, sub/old, sub/deep/k.x
    assert summary["deleted"] == 4
    found = {str(path.relative_to(destination)) for path in destination.rglob("*.*")}
    assert found == {"gone/deep/k.mine", "sub/.rules", "sub/k.mine", "sub/deep/k.mine"}
    assert (destination / "sub/out/y").exists()
    assert not (destination / "sub/out/x").exists()
    again = syncron.ok(*words)
    assert (again["deleted"], again["created"], again["bytes_hashed"]) == (0, 0, 0)
    assert again["source_root"] == summary["source_root"]
    # Another rule file: what it says holds on both sides in the same run.
    (source / "sub/.rules").write_text("- /out\n")
    assert syncron.ok(*words)["deleted"] == 3
    assert syncron.ok("--delete-excluded", *words)["deleted"] == 2
    assert sorted(path.name for path in (destination / "sub").iterdir()) == [".rules", "c"]


def test_rules_from_above_the_root_are_anchored_there(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    top = tmp_path / "top"
    source, destination = top / "in/src", tmp_path / "dst"
    make(source, {"a": b"1", "b": b"2", "c": b"3", "d": {"a": b"4", "b": b"5", "x": b"6"}})
    make(top, {".rsync-filter": b"- /in/src/a\n- src/b\n- d/b\n- /in/**/x\n+ c\n"})
    (top / "in/.rsync-filter").write_text("- c\n+ /a\n")
    make(destination, {"a": b"kept", "old": b"gone"})
    summary = syncron.ok("-F", "--delete", *way.words(source, destination))
    assert summary["deleted"] == 1
    found = {str(path.relative_to(destination)) for path in destination.rglob("*")}
    assert found == {"a", "b", "d", "d/a"}
    assert (destination / "a").read_bytes() == b"kept"
    theirs = tmp_path / "theirs"
    subprocess.run(["rsync", "-aF", f"{source}/", f"{theirs}/"], check=True)
    assert {str(path.relative_to(theirs)) for path in theirs.rglob("*")} == found - {"a"}


@pytest.mark.parametrize("content", [b". other\n", b": other\n", b"nonsense\n", b"-e x\n"])
def test_a_file_of_rules_that_is_none_ends_the_run(
    syncron: Command, tmp_path: Path, content: bytes
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"sub": {".rules": content, "a": b"1"}})
    ended = syncron("--filter=: .rules", source, destination)
    assert ended.code == 3
    assert ".rules" in ended.err
    assert not destination.exists()


def test_nothing_takes_the_place_of_what_is_protected(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "b": b"2"})
    make(destination, {"a": {"x.mine": b"3", "y": b"4"}, "b": {"y": b"5"}})
    ended = syncron("--delete", "--filter=P *.mine", source, destination)
    assert (ended.code, ended.err.count("protect")) == (23, 1)
    assert sorted(path.name for path in (destination / "a").iterdir()) == ["x.mine", "y"]
    assert (destination / "b").read_bytes() == b"2"


def test_empty_directories_are_left_out(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": {"b": {}, "c": {"d": {}}}, "f": {"g": {}, "h": {"x": b"1"}}, "z": b"2"})
    make(source / "o", {"only.o": b"3"})
    make(destination, {"a": {"b": {}}, "o": {"kept.o": b"4"}})
    words = ("-m", "--exclude=*.o", *way.words(source, destination))
    first = syncron.ok(*words)
    found = {str(path.relative_to(destination)) for path in destination.rglob("*")}
    assert found == {"a", "a/b", "f", "f/h", "f/h/x", "z", "o", "o/kept.o"}
    again = syncron.ok(*words)
    assert again["source_root"] == first["source_root"]
    assert (again["created"], again["bytes_hashed"]) == (0, 0)
    gone = syncron.ok("--delete", *words)
    assert gone["deleted"] == 2
    found = {str(path.relative_to(destination)) for path in destination.rglob("*")}
    assert found == {"f", "f/h", "f/h/x", "z", "o", "o/kept.o"}
    assert syncron.ok(*words[1:])["created"] == 5
