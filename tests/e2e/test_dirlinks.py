"""``--keep-dirlinks``: symlinks of the destination stand for directories, if these lie in it."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, MakeWay, Way, listing
from tests.e2e.forking import Forked
from tests.trees import Directory, File, Link, Literal, Node, assert_same, make

SOURCE: Literal = {"lib": {"a": b"a", "deep": {"b": b"b"}}, "other": b"o"}


@pytest.fixture(params=["local", "push-installed"])
def way(request: pytest.FixtureRequest, make_way: MakeWay) -> Way:
    return make_way(request.param)


def test_a_symlink_stays_and_what_it_leads_to_becomes_as_the_source(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, SOURCE)
    store: Literal = {"old": b"old", "deep": Link(b"../elsewhere/./deeper")}
    make(destination, {"lib": Link(b"store"), "store": store, "elsewhere": {"deeper": {}}})
    words = "-K", *way.words(source, destination)
    first = syncron.ok(*words)
    assert (first["created"], first["deleted"]) == (3, 0)
    assert os.readlink(destination / "lib") == "store"
    assert os.readlink(destination / "store/deep") == "../elsewhere/./deeper"
    assert (destination / "store/a").read_bytes() == b"a"
    assert (destination / "elsewhere/deeper/b").read_bytes() == b"b"
    assert (destination / "store/old").read_bytes() == b"old"
    again = syncron.ok(*words)
    assert (again["created"], again["changed"], again["metadata"]) == (0, 0, 0)
    assert syncron("--verify", *words).code == 0
    # What it leads to is not the source's, and goes for that no more than what is in it.
    (source / "lib/a").write_bytes(b"A")
    syncron.ok("--delete", *words, "--exclude=/store", "--exclude=/elsewhere")
    assert (destination / "store/a").read_bytes() == b"A"
    assert not (destination / "store/old").exists()
    # The control: without it the symlink goes.
    syncron.ok("--delete", *words[1:])
    assert not (destination / "lib").is_symlink()


@pytest.mark.parametrize(
    "target", ["../outside", "{}/outside", "{}/dst/store", "up", "store/../../outside", "."]
)
def test_a_symlink_out_of_the_tree_is_refused_by_name(
    forked: Forked, tmp_path: Path, target: str
) -> None:
    make(tmp_path / "src", SOURCE)
    make(tmp_path / "outside", {"a": b"precious", "deep": {"c": b"c"}})
    before: Literal = {"store": {}, "up": Link(b"../outside")}
    make(tmp_path / "dst", before)
    (tmp_path / "dst/lib").symlink_to(target.format(tmp_path))
    outside = listing(tmp_path / "outside")
    ended = forked("-K", "--delete", "--exclude=up", tmp_path / "src", tmp_path / "dst")
    assert (ended.code, "lib: is a symlink that leads" in ended.err) == (23, True)
    assert listing(tmp_path / "outside") == outside
    assert os.readlink(tmp_path / "dst/lib") == target.format(tmp_path)
    assert (tmp_path / "dst/other").read_bytes() == b"o"


def test_a_symlink_to_no_directory_gives_way(forked: Forked, tmp_path: Path) -> None:
    tree: dict[str, Literal] = {"a": {"f": b"1"}, "b": {"f": b"1"}, "c": {"f": b"1"}}
    make(tmp_path / "src", tree)
    there: Literal = {"a": Link(b"nowhere"), "b": Link(b"file"), "c": Link(b"c"), "file": b"2"}
    make(tmp_path / "dst", there)
    assert forked("-K", tmp_path / "src", tmp_path / "dst").code == 0
    assert_same(tmp_path / "dst", {**tree, "file": b"2"})


def test_nothing_is_deleted_where_a_directory_has_two_paths(forked: Forked, tmp_path: Path) -> None:
    make(tmp_path / "src", {"lib": {"a": b"a"}, "usr": {"lib": {"b": b"b"}}})
    make(tmp_path / "dst", {"lib": Link(b"usr/lib"), "usr": {"lib": {"c": b"c"}, "d": b"d"}})
    for _ in range(2):
        ended = forked("-K", "--delete", tmp_path / "src", tmp_path / "dst")
        assert (ended.code, ended.err) == (0, "")
        assert sorted(os.listdir(tmp_path / "dst/usr")) == ["lib"]
        assert sorted(os.listdir(tmp_path / "dst/usr/lib")) == ["a", "b", "c"]
        assert (tmp_path / "dst/lib").is_symlink()


def test_two_files_of_one_path_are_told(forked: Forked, tmp_path: Path) -> None:
    make(tmp_path / "src", {"lib": {"a": b"a"}, "store": {"a": b"other"}})
    make(tmp_path / "dst", {"lib": Link(b"store"), "store": {}})
    assert forked("-K", tmp_path / "src", tmp_path / "dst").code == 23
    assert (tmp_path / "dst/store/a").read_bytes() in (b"a", b"other")


def _tree(choice: random.Random, depth: int = 3) -> Directory:
    entries: dict[bytes, Node] = {}
    for name in (b"a", b"b", b"c", b"d"):
        kind = choice.random()
        if depth and kind < 0.6:
            entries[name] = _tree(choice, depth - 1)
        elif kind < 0.9:
            size = choice.randrange(3)
            entries[name] = File(b"x" * size, mtime_ns=(500 + size) * 86_400 * 10**9)
    return Directory(entries, mtime_ns=500 * 86_400 * 10**9)


def _age(tmp_path: Path) -> None:
    """Make directories and symlinks of one time."""
    for side in ("ours", "theirs"):
        for place in sorted([tmp_path / side, *(tmp_path / side).rglob("*")], reverse=True):
            if place.is_symlink() or place.is_dir():
                os.utime(place, (0, 0), follow_symlinks=False)


@pytest.mark.parametrize("seed", range(8))
def test_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    make(tmp_path / "src", _tree(choice))
    for side in ("ours", "theirs"):
        make(tmp_path / side, _tree(random.Random(f"there {seed}")))
    # Some of the directories that are there have moved into a place that the run leaves alone.
    found = sorted(
        (Path(top).relative_to(tmp_path / "ours") / name)
        for top, names, _ in os.walk(tmp_path / "ours")
        for name in names
    )
    for number, path in enumerate(choice.sample(found, len(found) // 3)):
        if all(not (tmp_path / "ours" / above).is_symlink() for above in (path, *path.parents)):
            for side in ("ours", "theirs"):
                (tmp_path / side / "store").mkdir(exist_ok=True)
                (tmp_path / side / path).rename(tmp_path / side / f"store/{number}")
                up = "../" * (len(path.parts) - 1)
                (tmp_path / side / path).symlink_to(f"{up}store/{number}")
    _age(tmp_path)
    words = ["-aiK", "--exclude=/store", *choice.choice(([], ["--delete"]))]
    theirs = subprocess.run(
        ["rsync", *words, "src/", "theirs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    ended = forked("--rsync", *words, f"{tmp_path}/src/", tmp_path / "ours")
    # 23 where a directory that is not empty is in the place of a file.
    assert ended.code == theirs.returncode, (ended.err, theirs.stderr)
    if not ended.code:
        assert sorted(ended.out.splitlines()) == sorted(theirs.stdout.splitlines())
    _age(tmp_path)  # rsync gives the symlink the time that the directory is to have
    assert_same(tmp_path / "ours", tmp_path / "theirs")
