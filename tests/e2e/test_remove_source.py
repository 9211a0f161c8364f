"""``--remove-source-files``: what goes, and what must not."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deep import DEEP
from tests.e2e.conftest import Command, Way
from tests.e2e.forking import Forked
from tests.fs.roots import settle
from tests.trees import File, Link, assert_same, differences, directory, make, read


def _files(top: Path) -> set[str]:
    below = (path for path in top.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(path.relative_to(top)) for path in below}


def test_on_every_way(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    tree: dict[str, Any] = {
        "a": {"b": b"1", "same": b"2"},
        "large": b"x" * 700_000,
        "l": Link(b"a"),
        "no.o": b"3",
    }
    make(source, tree)
    make(destination, {"a": {"same": b"2"}})
    os.link(source / "a/b", source / "a/other")
    settle()
    words = ("--remove-source-files", "--exclude=*.o", *way.words(source, destination))
    assert syncron("-n", *words).code == 0
    assert len(_files(source)) == 6
    done = syncron.ok(*words)
    assert done["removed"] == 5
    assert _files(source) == {"no.o"}
    assert (source / "a").is_dir()
    assert _files(destination) == {"a/b", "a/same", "a/other", "large", "l"}
    assert (destination / "large").stat().st_size == 700_000
    # A single file, into a directory and under another name.
    (source / "one").write_bytes(b"one")
    settle()
    one = way.source(source / "one")
    syncron.ok("--remove-source-files", *way.options, one, f"{way.destination(destination)}/two")
    assert (destination / "two").read_bytes() == b"one"
    assert _files(source) == {"no.o"}


OPTIONS = ("-u", "--existing", "--ignore-existing", "--max-size=2", "--delete", "-b", "--no-links")


@pytest.mark.parametrize("seed", range(200 if DEEP else 16))
def test_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    names = ("a", "b", "c", "d/e", "d/f", "g/h", "g/i/j")

    def tree(top: Path) -> None:
        make(top, {})
        for name in choice.sample(names, 5):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            path = top / name
            kind = choice.random()
            if kind < 0.2:
                path.symlink_to(choice.choice("xy"))
            else:
                path.write_bytes(choice.choice((b"1", b"22", b"333")))
                os.utime(path, ns=(0, choice.choice((10**18, 2 * 10**18))))

    tree(tmp_path / "source")
    tree(tmp_path / "before")
    for side in ("ours", "theirs"):
        subprocess.run(["cp", "-a", tmp_path / "source", tmp_path / f"{side}-src"], check=True)
        subprocess.run(["cp", "-a", tmp_path / "before", tmp_path / f"{side}-dst"], check=True)
    settle()
    chosen = [option for option in OPTIONS if choice.random() < 0.25]
    words = ["-ac", "--remove-source-files", *chosen]
    theirs = [f"{tmp_path}/theirs-src/", f"{tmp_path}/theirs-dst"]
    done = subprocess.run(["rsync", *words, *theirs], capture_output=True, check=False)
    ended = forked(*words, tmp_path / "ours-src", tmp_path / "ours-dst")
    said = (words, ended.err, done.stderr)
    assert ended.code == done.returncode, said
    for side in ("src", "dst"):
        found = differences(read(tmp_path / f"theirs-{side}"), read(tmp_path / f"ours-{side}"))
        # Directories have the times of being emptied and filled.
        found = [line for line in found if "mtime_ns" not in line]
        assert not found, (said, side, found)


def test_what_failed_or_changed_stays(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"good": b"1", "bad": b"2", "d": {"x": b"3"}})
    make(destination, {"bad": {"own": b"4"}})
    settle()
    ended = syncron("--json", "--remove-source-files", source, destination)
    assert (ended.code, ended.summary["removed"]) == (23, 2)
    assert _files(source) == {"bad"}
    assert (destination / "bad/own").read_bytes() == b"4"
    ended = syncron("--remove-source-files", "--size-only", source, destination)
    assert (ended.code, "--size-only does not look" in ended.err) == (1, True)


def test_files_of_other_permissions_there_and_what_is_left(
    syncron: Command, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": File(b"1", mode=0o600), "d": {"large": b"x" * 100, "b": b"2"}})
    settle()
    words = ("--remove-source-files", "--chmod=D750,F640", "--max-size=50", source, destination)
    assert syncron.ok(*words)["removed"] == 2
    assert _files(source) == {"d/large"}
    inside = directory({"b": File(b"2", mode=0o640)}, mode=0o750)
    assert_same(directory({"a": File(b"1", mode=0o640), "d": inside}), destination)


@pytest.mark.parametrize("option", ["-L", "-k", "--copy-unsafe-links", "--munge-links"])
def test_where_symlinks_are_taken_for_others(forked: Forked, tmp_path: Path, option: str) -> None:
    """Nothing goes that lies elsewhere, and what the source has goes as with rsync."""
    for side in ("ours", "theirs"):
        links = {
            "file": Link(b"../out/f"),
            "tree": Link(b"../out/d"),
            "here": Link(b"plain"),
            "inside": Link(b"real"),
        }
        make(tmp_path / side / "src", {**links, "plain": b"1", "real": {"r": b"2"}})
        make(tmp_path / side / "out", {"f": b"3", "d": {"g": b"4"}})
    settle()
    words = "-a", option, "--remove-source-files", "src/", "dst"
    done = subprocess.run(["rsync", *words], cwd=tmp_path / "theirs", check=False)
    ended = forked("--rsync", *words, cwd=tmp_path / "ours")
    assert ended.code == done.returncode == (0 if option == "--munge-links" else 23)
    theirs = _files(tmp_path / "theirs/src")
    if option == "--copy-unsafe-links":  # rsync takes it for one that was changed
        theirs.remove("file")
    assert _files(tmp_path / "ours/src") == theirs
    assert _files(tmp_path / "ours/out") == {"f", "d/g"}
    found = subprocess.run(["diff", "-r", "ours/dst", "theirs/dst"], cwd=tmp_path, check=False)
    assert found.returncode == 0
    said = ended.err.count("the files of which are kept")
    assert said == {"-L": 2, "-k": 2, "--copy-unsafe-links": 1, "--munge-links": 0}[option]


def test_a_file_that_was_just_written_stays(syncron: Command, tmp_path: Path) -> None:
    """It could have been written to once more in the tick in which it was read."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"old": b"1", "new": File(b"2", mtime_ns=4_000_000_000 * 10**9)})
    settle()
    script = tmp_path / "ssh"
    script.write_text(f'#!/bin/sh\nprintf 3 >{source}/new\nshift\nexec sh -c "$*"\n')
    script.chmod(0o755)
    ended = syncron("--json", "--remove-source-files", "-e", script, f"x:{source}", destination)
    assert ended.code in (0, 24), ended.err
    for path in _files(source):
        assert path == "new"
    assert (destination / "new").read_bytes() == b"3"


@pytest.mark.parametrize("mode", ["--read-only", "--append-only", "--no-delete"])
def test_who_may_not_delete_is_told_before(syncron: Command, tmp_path: Path, mode: str) -> None:
    source = tmp_path / "src"
    make(source, {"a": b"1"})
    settle()
    script = tmp_path / "ssh"
    words = " ".join(str(word) for word in syncron.words("--serve", "--restrict", source, mode))
    script.write_text(f"#!/bin/sh\nSSH_ORIGINAL_COMMAND=$2 exec {words}\n")
    script.chmod(0o755)
    ended = syncron("--remove-source-files", "-e", script, f"x:{source}", tmp_path / "dst")
    assert ended.code == 3, ended.err
    assert "Nothing was changed" in ended.err
    assert _files(source) == {"a"}
    assert not (tmp_path / "dst").exists()
