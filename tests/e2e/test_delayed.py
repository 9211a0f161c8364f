"""``--delay-updates``: nothing has its name before everything has come, and then all has."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import (
    IS_ROOT,
    Command,
    MakeWay,
    assert_copied,
    eventually,
    is_locked,
    listing,
)
from tests.e2e.forking import Forked
from tests.trees import File, Link, Literal, make, noise

MEGABYTE = 1 << 20


def trees(tmp_path: Path) -> tuple[Path, Path]:
    source, destination = tmp_path / "src", tmp_path / "dst"
    content = noise(3 * MEGABYTE)
    tree: dict[str, Literal] = {
        "changed": b"new",
        "edited": content + b"end",
        "kind": {"f": b"1"},
        "link": Link(b"changed"),
        "new": {"deep": {"large": noise(4 * MEGABYTE, 1), "small": b"s", "empty": {}}},
        "same": b"same",
        "twice": noise(100_000, 2),
        "z": {"twice": noise(100_000, 2), "read only": File(b"ro", mode=0o400)},
    }
    make(source, tree)
    there: dict[str, Literal] = {"changed": b"old", "edited": content, "kind": b"file"}
    make(destination, {**there, "same": b"same", "gone": b"gone", "z": {"more": b"m"}})
    return source, destination


@pytest.mark.parametrize("more", ["", "--fsync", "--no-whole-file", "-b", "-S --preallocate"])
def test_what_comes_is_the_same(forked: Forked, tmp_path: Path, more: str) -> None:
    source, destination = trees(tmp_path)
    words = "--delay-updates", "--delete", "--json", *more.split()
    ended = forked(*words, source, destination)
    assert (ended.code, ended.err) == (0, "")
    if more != "-b":
        assert_copied(source, destination)
    assert ended.summary["match"] is True
    assert forked("--verify", "--exclude=*~", source, destination).code == 0


def test_nothing_has_its_name_before_all_has_come(
    syncron: Command, make_way: MakeWay, tmp_path: Path
) -> None:
    source, destination = trees(tmp_path)
    before = _below(destination)
    words = make_way("push-installed").words(source, destination)
    words = ("--delay-updates", "--delete", *words)
    slow = syncron.start("--bwlimit=1m", *words)
    staging = destination / ".syncron"

    def has_come() -> bool:
        return sum(path.stat().st_size for path in staging.rglob("n*")) > 2 * MEGABYTE

    assert eventually(has_come, 30)
    assert _below(destination) == before
    slow.send_signal(signal.SIGKILL)
    slow.communicate()
    assert eventually(lambda: not is_locked(destination))
    assert _below(destination) == before
    whole: dict[str, Any] = syncron.ok(*words)
    assert whole["bytes_transferred"] < 3 * MEGABYTE
    assert_copied(source, destination)


def _below(destination: Path) -> dict[str, tuple[object, ...]]:
    """All that is in it, but for staging."""
    found = listing(destination)
    del found[str(destination)]
    return {path: what for path, what in found.items() if ".syncron" not in path}


@pytest.mark.parametrize("perms", ["--perms", "--no-perms"])
def test_groups_are_inherited_as_ever(forked: Forked, tmp_path: Path, perms: str) -> None:
    if not IS_ROOT:
        return
    make(tmp_path / "src", {"new": {"deep": {"f": b"1", "large": noise(2 * MEGABYTE)}}})
    found = []
    for name, options in (("at once", ()), ("delayed", ("--delay-updates",))):
        place = tmp_path / name
        place.mkdir()
        os.chown(place, 0, 1000)
        place.chmod(0o2775)
        words = (perms, "--no-group", "--no-owner", *options)
        assert forked(*words, tmp_path / "src", place).code == 0
        below = sorted(place.rglob("*"))
        found.append([(each.stat().st_gid, each.stat().st_mode) for each in below])
    assert found[0] == found[1]


@pytest.mark.parametrize("option", ["--inplace", "--append"])
def test_what_is_written_in_place_cannot_wait(forked: Forked, option: str) -> None:
    ended = forked("--delay-updates", option, "a", "b")
    assert (ended.code, "--delay-updates puts whole files" in ended.err) == (1, True)
