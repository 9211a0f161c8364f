"""`syncron --rsync` beside rsync itself: the same command line on two copies of the same trees."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.deep import DEEP, part
from tests.e2e.differential import cases, lines, trees
from tests.e2e.differential.forgiven import forgive
from tests.e2e.forking import Forked
from tests.trees import Fifo, Link, Socket, make

CASES = int(os.environ.get("SYNCRON_CASES") or (6000 if DEEP else 280))
GROUP = 10
_GROUPS = part(range(0, CASES, GROUP))
_ONCE_OTHER = (771, 813, 1243, 1446, 1588, 1621, 2499, 2710, 2901, 3482, 4310, 4642)
"""Cases of which something else came before it was found out why."""


@pytest.mark.parametrize("first", _GROUPS)
def test_the_same_comes_of_it(forked: Forked, tmp_path: Path, first: int) -> None:
    _assert_the_same(forked, tmp_path, range(first, first + GROUP))


def test_the_same_comes_of_what_was_other(forked: Forked, tmp_path: Path) -> None:
    _assert_the_same(forked, tmp_path, _ONCE_OTHER)


@pytest.mark.parametrize(
    "words",
    [
        "-a -i --copy-unsafe-links ../src dst/",
        "-a -i --safe-links ../src dst/",
        "-a -i -n --existing ../src/ new",
        "-a -i -J ../src/ dst",
        "-a -i --copy-dest=../other ../src/ dst",
        "-a -i --link-dest=../other ../src/ dst",
    ],
)
def test_lines_and_trees(forked: Forked, tmp_path: Path, words: str) -> None:
    out = Link(os.fsencode(tmp_path / "out"))
    tree: dict[str, Any] = {"a": b"1", "l": Link(b"a"), "beside": Link(b"../src"), "out": out}
    make(tmp_path / "src", tree)
    (tmp_path / "out").write_bytes(b"out")
    found = []
    for place in (tmp_path / "theirs", tmp_path / "ours"):
        make(place, {"dst": {**tree, "l": Link(b"b")}, "other": tree})
        for name in (".", "dst/l", "dst/beside"):
            os.utime(place / name, ns=(0, 10**18), follow_symlinks=False)
        (place / "dst/a").chmod(0o600)
        os.utime(place / "dst/a", ns=(0, 2 * 10**18))
        for top, mode in ((tmp_path / "src", 0o644), (place / "other", 0o600)):
            if not (top / "fifo").exists():
                os.mkfifo(top / "fifo", mode)
            for path in (top, *top.iterdir()):
                os.utime(path, ns=(0, 2 * 10**18), follow_symlinks=False)
        inode = (place / "dst/a").stat().st_ino
        if place.name == "ours":
            ended = forked("--rsync", *words.split(), cwd=place)
            assert (ended.code, ended.err) == (0, "")
            said = ended.out
        else:
            command = ["rsync", *words.split()]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
            said = done.stdout
        kept = (place / "dst/a").stat().st_ino == inode
        found.append((said, trees.facts(place, cases.Case(0)), kept))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "words",
    [
        "-a --delete --stats ../src/ dst",
        "-a --stats -h ../src ../src/d/ dst",
        "-r --stats -n ../src/ dst",
        "-a --max-size=1 --stats ../src/a ../src/d new",
        "-d --stats ../src/ new",
        "-aR --stats ../src/./d/ new",
    ],
)
def test_statistics_by_kind(forked: Forked, tmp_path: Path, words: str) -> None:
    kinds: dict[str, Any] = {"a": b"1", "d": {"b": b"22", "p": Fifo()}, "l": Link(b"a")}
    make(tmp_path / "src", {**kinds, "s": Socket()})
    said = []
    for place in (tmp_path / "theirs", tmp_path / "ours"):
        make(place, {"dst": {"a": b"1", "gone": kinds, "also": Link(b"to")}})
        if place.name == "ours":
            output = forked("--rsync", *words.split(), cwd=place).out
        else:
            command = ["rsync", *words.split()]
            output = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True).stdout
        said.append([line for line in output.split("\n") if re.match("Number of .*files: ", line)])
    assert said[0] == said[1]
    assert len(said[0]) == 3


def _assert_the_same(forked: Forked, top: Path, seeds: Sequence[int]) -> None:
    wrong = []
    for seed in seeds:
        found = list(_compared(forked, top / str(seed), seed))
        if found:
            wrong.append("\n  ".join(found[:12]))
    said = f"{len(wrong)} of {len(seeds)} cases:\n" + "\n".join(wrong)
    # A report travels as UTF-8, and names need be none.
    assert not wrong, said.encode(errors="backslashreplace").decode()


def _compared(forked: Forked, top: Path, seed: int) -> Iterator[str]:
    """What differs between what rsync and syncron make of one case."""
    source = top / "src"
    case = cases.case(seed)
    trees.make_source(source, case)
    names = cases.add_places(case, source)
    places = [top / "theirs", top / "ours"]
    for place in places:
        place.mkdir()
        if seed % 4:
            parent = source.parent if names == ["src"] else source
            trees.make_destination(place / "dst", parent, case, names)
        if case.has("prev"):
            trees.make_destination(place / "prev", source, case, [])
    linked = trees.linked_names(source)
    # What is done to one name shows under the others, when rsync comes to them.
    there = trees.linked_names(places[0] / "dst")
    linked |= {name.removeprefix("src/") for name in there}
    theirs = subprocess.run(
        ["rsync", *case.words],
        cwd=places[0],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        errors="surrogateescape",
        text=True,
        check=False,
    )
    ours = forked("--rsync", *case.words, cwd=places[1])
    where = f"seed {seed}: rsync {' '.join(case.words)}"
    if theirs.returncode != ours.code:
        yield f"{where}\n  exit {theirs.returncode} against {ours.code}"
        yield from (theirs.stderr, ours.err)
        return
    said = [lines.lines(output, case, linked) for output in (theirs.stdout, ours.out)]
    if case.has("vv"):  # where rsync is sometimes ahead
        said = [(sorted(rest), deleted) for rest, deleted in said]
    if said[0] != said[1] and ours.code == 0:
        yield f"{where}\n  (said by rsync - and by syncron +)"
        one, other = ([*rest, *deleted] for rest, deleted in said)
        yield from [each for each in difflib.ndiff(one, other) if each[0] in "+-"]
        yield ours.err
    left, right = (trees.facts(place, case) for place in places)
    forgive(left, right, case, source.parent if names == ["src"] else source, ours.err)
    if left != right:
        yield f"{where}\n  the trees differ, rsync's first:"
        for name in sorted({*left, *right}):
            mine, its = left.get(name), right.get(name)
            if mine != its:
                yield f"{name!r}: {str(mine)[:160]} against {str(its)[:160]}"
        yield ours.err
