"""Parts of trees under their paths, held against rsync's."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deep import DEEP
from tests.e2e.conftest import Command, Way
from tests.e2e.forking import Forked
from tests.trees import Directory, File, Link, Node, assert_same, differences, make, read

NAMES = (b"a", b"b", b"c d", b"e")
DAY = 86_400_000_000_000


def _tree(choice: random.Random, depth: int, below: bool = False) -> Directory:
    entries: dict[bytes, Node] = {}
    for name in NAMES:
        kind = choice.random()
        if depth and kind < 0.6:
            entries[name] = _tree(choice, depth - 1, True)
        elif kind < 0.9:
            when = choice.choice((400, 401)) * DAY
            node = File(choice.choice((name, b"2", b"33")), mtime_ns=when)
            entries[name] = Link(b"zz") if kind > 0.85 else node
    mode, when = choice.choice((0o700, 0o755)), choice.choice((500, 501)) * DAY
    return Directory(entries, mode if below else 0o755, when)


def _path(choice: random.Random, slash: bool = True) -> str:
    names = [choice.choice(NAMES).decode() for _ in range(choice.randrange(1, 4))]
    return "/".join(names) + choice.choice(("", "/") if slash else ("",))


def _linked(top: Path) -> set[frozenset[str]]:
    """The groups of names of one file."""
    found: dict[int, set[str]] = {}
    for path in top.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found.setdefault(path.stat().st_ino, set()).add(str(path.relative_to(top)))
    return {frozenset(names) for names in found.values() if len(names) > 1}


def _compare(
    forked: Forked, tmp_path: Path, choice: random.Random, options: list[str], words: list[str]
) -> None:
    """Run both with the same words, over destinations that were the same."""
    ours, theirs, before = tmp_path / "ours", tmp_path / "theirs", tmp_path / "before"
    if choice.random() < 0.8:
        make(ours, _tree(choice, 3))
        subprocess.run(["cp", "-a", ours, theirs], check=True)
        subprocess.run(["cp", "-a", ours, before], check=True)
    # rsync believes sizes and times.
    options = ["-c", *options]
    done = subprocess.run(
        ["rsync", "-lptgoD", *options, *words, f"{theirs}/"], capture_output=True, check=False
    )
    if before.exists():
        dry = forked("-n", "--json", *options, *words, ours)
        assert not differences(read(before), read(ours)), (options, words, dry.err)
    ended = forked("--json", *options, *words, ours)
    said = (options, words, done.stderr, ended.err)
    # rsync says 24 where the directory of what is missing is missing too.
    assert ended.code == (done.returncode if done.returncode != 24 else 0), said
    found = differences(read(theirs), read(ours))
    # What rsync has made or emptied and says no time of has that of its run.
    found = [line for line in found if "mtime_ns 17" not in line]
    assert not found, (*said, found)
    if "-H" in options:
        assert _linked(theirs) == _linked(ours), said
    if ended.code in (0, 24):
        assert ended.summary["match"] is True, said
        again = forked("--json", *options, *words, ours).summary
        names = ("created", "changed", "metadata", "deleted")
        assert not any(again[name] for name in names), (*said, again)


@pytest.mark.parametrize("group", range(4))
def test_relative_as_rsync(forked: Forked, tmp_path: Path, group: int) -> None:
    for seed in range(group, 1000 if DEEP else 40, 4):
        place, choice = tmp_path / str(seed), random.Random(seed)
        place.mkdir()
        make(place / "src", _tree(choice, 3))
        some = [path for path in place.joinpath("src").rglob("*") if not path.is_symlink()]
        for path in choice.sample(some, min(3, len(some))):
            if path.is_file():
                os.link(path, path.parent / choice.choice(("linked", "other")))
                break
        options = ["-R", "-r"] if choice.random() < 0.8 else ["-R", "-d"]
        for each in ("--delete", "--no-implied-dirs", "-H"):
            options += [each] * (choice.random() < 0.4)
        if choice.random() < 0.3:
            options.append("--exclude=" + choice.choice(("/a/b", "b/e", "/src/a", "c d")))
        if choice.random() < 0.3:
            options.append(choice.choice(("--ignore-missing-args", "--delete-missing-args")))
            options += ["--force"] * (choice.random() < 0.5)
        missing = "missing" in options[-1] or "--force" in options
        paths = []
        for _ in range(choice.randrange(1, 4)):
            named = _path(choice)
            there = (place / "src" / named).is_dir()
            # rsync has other words and codes for what lies in a directory that is missing.
            if there or (missing and (place / "src" / named).parent.is_dir()):
                paths.append(named)
        words = [f"{place}/src/./{path}" for path in paths or ["."]]
        _compare(forked, place, choice, options, words)


def _is_behind_a_file(top: Path, path: str) -> bool:
    return any(os.path.lexists(each) and not each.is_dir() for each in (top / path).parents)


@pytest.mark.parametrize("group", range(4))
def test_lists_as_rsync(forked: Forked, tmp_path: Path, group: int) -> None:
    for seed in range(group, 1000 if DEEP else 40, 4):
        place, choice = tmp_path / str(seed), random.Random(1000 + seed)
        place.mkdir()
        make(place / "src", _tree(choice, 3))
        paths = [_path(choice) for _ in range(choice.randrange(1, 5))]
        (place / "list").write_text("\n".join(paths))
        options = [f"--files-from={place}/list", *["-r"] * (choice.random() < 0.5)]
        for each in ("--delete", "--no-implied-dirs", "-H"):
            options += [each] * (choice.random() < 0.4)
        if choice.random() < 0.5:
            options.append(choice.choice(("--ignore-missing-args", "--delete-missing-args")))
            options += ["--force"] * (choice.random() < 0.5)
        if "--delete-missing-args" in options:
            # rsync gives attributes to what something missing lies in, and what lies behind a file
            # is no reason to it to delete nothing.
            options.append("--no-implied-dirs")
            behind = [path for path in paths if _is_behind_a_file(place / "src", path)]
            paths = [path for path in paths if path not in behind]
            (place / "list").write_text("\n".join(paths))
        _compare(forked, place, choice, options, [f"{place}/src/"])


def test_on_every_way(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": {"b": b"1", "c": {"d": b"2"}}, "e": {"f": b"3", "g": b"4"}, "h": b"5"})
    make(destination, {"own": b"6", "a": {"own": b"7", "c": {"old": b"8"}}})
    destination.chmod(0o711)
    *helper, first, there = way.words(f"{source}/./a/c", destination)
    second = way.source(f"{source}/./e/f")
    words = ("-R", "--delete", *helper, first, second, there)
    done = syncron.ok(*words)
    assert (done["created"], done["deleted"]) == (3, 1)
    assert_same({"own": b"6", "a": {"own": b"7", "c": {"d": b"2"}}, "e": {"f": b"3"}}, destination)
    # What is only on the way to what was named is the destination's own.
    assert destination.stat().st_mode & 0o777 == 0o711
    again = syncron.ok(*words)
    assert (again["created"], again["metadata"], again["bytes_hashed"]) == (0, 0, 0)
    assert syncron("--verify", *words[2:], "-R").code == 0
    (source / "a/c/d").unlink()
    assert syncron.ok(*words)["deleted"] == 1
    # A list may be cut too.
    (tmp_path / "list").write_text("a/./c\ne/./g\n")
    shutil.rmtree(destination)
    assert syncron(f"--files-from={tmp_path}/list", *way.words(source, destination)).code == 0
    assert_same({"c": {}, "g": b"4"}, destination)


@pytest.mark.parametrize("options", ["-H", "-X", "-HX", "-X --no-implied-dirs"])
def test_what_is_only_on_the_way_stays_as_it_is(
    syncron: Command, tmp_path: Path, options: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": {"b": {"c": b"1", "d": b"2"}}, "e": b"3"})
    os.link(source / "a/b/c", source / "a/b/linked")
    make(destination, {"a": {"own": b"4"}} if "no-implied" in options else {})
    on_the_way = [".", "a"] if "no-implied" in options else ["."]
    for path in on_the_way:
        (source / path).chmod(0o711)
        os.setxattr(source / path, "user.note", b"the source's")
        (destination / path).chmod(0o750)
        os.setxattr(destination / path, "user.note", b"its own")
    before = {path: (destination / path).stat().st_mtime_ns for path in on_the_way}
    words = ("-Rr", *options.split(), f"{source}/./a/b", str(destination))
    first = syncron.ok(*words)
    assert (first["created"], first["match"]) == (4 + len(on_the_way) % 2, True)
    for path in on_the_way:
        assert (destination / path).stat().st_mode & 0o777 == 0o750, path
        assert os.getxattr(destination / path, "user.note") == b"its own", path
        assert path == "." or (destination / path).stat().st_mtime_ns > before[path]
    again = syncron.ok(*words)
    assert [again[each] for each in ("created", "changed", "metadata")] == [0, 0, 0]
    assert again["match"] is True


def test_paths_as_written(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "a", {"b": {"c": b"1"}, "d": b"2"})
    for words, found in (
        (["-R", "a/b"], {"a/b/c"}),
        (["-R", "./a/b", "a/d"], {"a/b/c", "a/d"}),
        (["-R", "a/./b/c"], {"b/c"}),
        (["-R", f"{tmp_path}/./a/d"], {"a/d"}),
        (["-R", str(tmp_path / "a/d")], {str(tmp_path / "a/d")[1:]}),
        (["-Rd", "a/", "a/b"], {"a/d"}),
        (["-d", "a"], {"d"}),
        (["-da", "a"], {"d", "b/c"}),
        (["-d", "--no-relative", "a/d"], {""}),
    ):
        shutil.rmtree(tmp_path / "dst", ignore_errors=True)
        (tmp_path / "dst").unlink(missing_ok=True)
        ended = syncron(*words, "dst", cwd=tmp_path)
        assert ended.code == 0, (words, ended.err)
        dst = tmp_path / "dst"
        paths = [dst] if dst.is_file() else [each for each in dst.rglob("*") if each.is_file()]
        assert {str(path.relative_to(dst)).strip(".") for path in paths} == found, words
    for words, said in (
        (["-R", "a/../a"], "because of its '..'"),
        (["-R", "a/./b", "a2/./b/c"], "from two places"),
        (["--no-recursive", "a"], "--dirs"),
    ):
        ended = syncron(*words, "new", cwd=tmp_path)
        assert (ended.code, (tmp_path / "new").exists()) == (1, False), words
        assert said in ended.err


def test_a_part_of_a_tree_may_lie_beside_its_copy(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path, {"etc": {"a": b"1"}, "var": {"backup": {}}})
    syncron.ok("-R", f"{tmp_path}/./etc", tmp_path / "var/backup")
    assert_same({"etc": {"a": b"1"}}, tmp_path / "var/backup")
    for inside in ("var", "var/backup", "."):
        ended = syncron("-R", f"{tmp_path}/./{inside}", tmp_path / "var/backup")
        assert ended.code == 3, (inside, ended.err)
        assert "cannot be copied into itself" in ended.err


def test_sources_that_are_missing(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "dst", {"gone": b"1", "dir": {"x": b"2"}, "own": b"3", "here": b"4"})
    (tmp_path / "here").write_bytes(b"new")
    words = (tmp_path / "here", tmp_path / "gone", tmp_path / "dir", tmp_path / "dst")
    assert syncron(*words).code == 3
    assert syncron("--ignore-missing-args", *words).code == 0
    assert (tmp_path / "dst/gone").exists()
    assert (tmp_path / "dst/here").read_bytes() == b"new"
    kept = syncron("--delete-missing-args", "--json", *words)
    assert (kept.code, kept.summary["deleted"]) == (0, 1)
    assert "dir is kept at the destination, because it is not empty" in kept.summary["warnings"][0]
    assert syncron("--delete-missing-args", "--force", *words).code == 0
    assert sorted(path.name for path in (tmp_path / "dst").iterdir()) == ["here", "own"]
    assert syncron("--ignore-missing-args", words[1], words[3]).code == 0
    alone = syncron("--delete-missing-args", words[1], words[3])
    assert (alone.code, "all of DST" in alone.err) == (1, True)


def test_snapshots_of_parts(syncron: Command, tmp_path: Path) -> None:
    source = tmp_path / "src"
    make(source, {"etc": {"a": b"1", "b": b"2"}, "home": {"me": {"c": b"3"}, "you": {"d": b"4"}}})
    words = ("-aR", "--delete", f"{source}/./etc", f"{source}/./home/me")
    syncron.ok(*words, tmp_path / "day0")
    (source / "etc/b").write_bytes(b"two")
    second = syncron.ok(*words, "--link-dest=../day0", tmp_path / "day1")
    assert second["linked"] == 4  # etc/a, home, home/me, home/me/c
    assert os.path.samefile(tmp_path / "day0/home/me/c", tmp_path / "day1/home/me/c")
    assert_same({"etc": {"a": b"1", "b": b"two"}, "home": {"me": {"c": b"3"}}}, tmp_path / "day1")
