"""`syncron --rsync` beside rsync itself: the same command line on two copies of the same trees."""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deep import DEEP, part
from tests.e2e import differential
from tests.e2e.forking import Forked

CASES = int(os.environ.get("SYNCRON_CASES") or (6000 if DEEP else 300))
GROUP = 10
_GROUPS = part(range(0, CASES, GROUP))


@pytest.mark.parametrize("first", _GROUPS)
def test_the_same_comes_of_it(forked: Forked, tmp_path: Path, first: int) -> None:
    wrong = []
    for seed in range(first, first + GROUP):
        found = list(_compared(forked, tmp_path / str(seed), seed))
        if found:
            wrong.append("\n  ".join(found[:12]))
    assert not wrong, f"{len(wrong)} of {GROUP} cases:\n" + "\n".join(wrong)


def _compared(forked: Forked, top: Path, seed: int) -> Iterator[str]:
    """What differs between what rsync and syncron make of one case."""
    source = top / "src"
    differential.make_source(source, seed)
    case = differential.case(seed)
    names = differential.add_places(case, source)
    places = [top / "theirs", top / "ours"]
    for place in places:
        place.mkdir()
        if seed % 4:
            parent = source.parent if names == ["src"] else source
            differential.make_destination(place / "dst", parent, case, names)
        if case.has("prev"):
            differential.make_destination(place / "prev", source, case, [])
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
    linked = differential.linked_names(source)
    said = [differential.lines(output, case, linked) for output in (theirs.stdout, ours.out)]
    if said[0] != said[1] and ours.code == 0:
        yield f"{where}\n  (said by rsync - and by syncron +)"
        one, other = ([*rest, *deleted] for rest, deleted in said)
        yield from [each for each in difflib.ndiff(one, other) if each[0] in "+-"]
        yield ours.err
    left, right = (differential.facts(place, case) for place in places)
    differential.forgive_times(left, right, case)
    if left != right:
        yield f"{where}\n  the trees differ, rsync's first:"
        for name in sorted({*left, *right}):
            mine, its = left.get(name), right.get(name)
            if mine != its:
                yield f"{name!r}: {str(mine)[:160]} against {str(its)[:160]}"
        yield ours.err
