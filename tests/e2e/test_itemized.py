"""Items are told as rsync tells them: all of them, in its order."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.conftest import Command
from tests.trees import Fifo, Link, Literal, make


def _many(content: bytes) -> dict[str, Literal]:
    some: dict[str, Literal] = {"y": content, "below": {}}
    return {"x": content, "sub": some, "sub-b": {"z": content}, "sub.c": content}


def test_in_rsyncs_order(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(
        source,
        {"new": _many(b"1"), "new-b": {}, "a": b"5", "l": Link(b"a"), "p": Fifo(), **_many(b"2")},
    )
    make(
        destination,
        {"sub": {"old": _many(b"3"), "y": b"other"}, "gone": _many(b"4"), "gone-b": {}, "o": b""},
    )
    words = ["-ni", "--delete", f"{source}/", f"{destination}/"]
    theirs = subprocess.run(
        ["rsync", "-a", *words], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    ours = syncron(*words).out.splitlines()
    deleted = [line for line in theirs if line.startswith("*")]
    assert len(deleted) == 2 * 8 + 2
    # rsync tells what goes when it happens to come to it.
    assert ours == [line for line in theirs if line not in deleted] + ours[-len(deleted) :]
    assert sorted(ours[-len(deleted) :]) == sorted(deleted)
