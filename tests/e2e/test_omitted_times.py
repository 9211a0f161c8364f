"""``--omit-dir-times`` and ``--omit-link-times``: neither set nor compared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, MakeWay, Way
from tests.trees import Link, make

OLD = 1_000_000_000_000_000_000


@pytest.fixture(params=["local", "push-installed"])
def way(request: pytest.FixtureRequest, make_way: MakeWay) -> Way:
    return make_way(request.param)


@pytest.mark.parametrize("options", ["-O", "-J", "-OJ"])
def test_times_that_do_not_count(syncron: Command, way: Way, tmp_path: Path, options: str) -> None:
    source, ours, rsyncs = (tmp_path / name for name in ("src", "ours", "rsyncs"))
    make(source, {"d": {"f": b"f", "e": {}}, "link": Link(b"d/f"), "old": Link(b"x")})
    words = way.words(source, ours)
    syncron.ok(options, *words)
    subprocess.run(["rsync", "-a", options, f"{source}/", f"{rsyncs}/"], check=True)
    places = (".", "d", "d/e", "d/f", "link", "old")
    assert _as_the_source(source, ours, places) == _as_the_source(source, rsyncs, places)
    # What has another time is not touched for that; it is part of no root.
    for top in (ours, rsyncs):
        for place in ("d", "link"):
            os.utime(top / place, ns=(OLD, OLD), follow_symlinks=False)
    again = syncron.ok(options, *words)
    assert again["metadata"] == ("O" not in options) + ("J" not in options)
    subprocess.run(["rsync", "-a", options, f"{source}/", f"{rsyncs}/"], check=True)
    assert _as_the_source(source, ours, places) == _as_the_source(source, rsyncs, places)
    # And a new root for the same tree where they count.
    assert syncron("--verify", *words).code == 9


def _as_the_source(source: Path, top: Path, places: tuple[str, ...]) -> dict[str, bool]:
    return {
        place: (top / place).lstat().st_mtime_ns == (source / place).lstat().st_mtime_ns
        for place in places
    }
