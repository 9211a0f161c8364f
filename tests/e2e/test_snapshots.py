"""Dated snapshots, whole runs: made, linked, pruned, listed and copied back."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command, MakeWay, Way
from tests.trees import assert_same, make

TREE: dict[str, Any] = {
    "same": b"stays as it is",
    "edited": b"before",
    "d": {"deep": {"file": b"f" * 5000}},
    "gone": b"soon",
}


@pytest.fixture(params=["local", "push-installed", "pull-shipped"])
def way(request: pytest.FixtureRequest, make_way: MakeWay) -> Way:
    return make_way(request.param)


def names(top: Path) -> list[str]:
    return sorted(name for name in os.listdir(top) if name[0] == "2")


def test_each_snapshot_is_whole_and_shares_what_did_not_change(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, top = tmp_path / "src", tmp_path / "top"
    make(source, TREE)
    words = ("--snapshot", *way.words(source, top))
    first = syncron.ok(*words)
    assert first["linked"] == 0
    make(tmp_path / "before", TREE)
    (source / "edited").write_bytes(b"after that")
    (source / "gone").unlink()
    make(source / "new", {"file": b"new"})
    second = syncron.ok(*words)
    # Nothing that was linked has been read: what is known of a tree went with its name.
    assert second["linked"] == 4
    assert second["bytes_hashed"] == second["bytes_transferred"] == len(b"after that" + b"new")
    one, two = names(top)
    assert os.readlink(top / "latest") == two
    assert second["destination"].endswith(two)
    assert_same(top / one, tmp_path / "before")
    assert_same(top / two, source)
    for path in ("same", "d/deep/file"):
        assert (top / one / path).stat().st_ino == (top / two / path).stat().st_ino
    assert (top / one / "edited").read_bytes() == b"before"
    # A third of an unchanged tree is links and nothing else.
    third = syncron.ok(*words)
    assert (third["created"], third["linked"], third["bytes_transferred"]) == (0, 7, 0)
    # Restoring is a plain copy back.
    syncron.ok(*way.options, way.destination(top / "latest"), tmp_path / "restored")
    assert_same(tmp_path / "restored", source)
    listed = syncron("--list-snapshots", way.destination(top), *way.options)
    assert listed.code == 0, listed.err
    lines = [line.split() for line in listed.out.splitlines()]
    assert [line[0] for line in lines] == ["SNAPSHOT", *names(top)]
    assert lines[2][1] == second["destination_root"][:12]
    assert lines[2][-1] == "ok"
    found = syncron("--json", "--list-snapshots", way.destination(top), *way.options)
    assert [json.loads(line)["new"] for line in found.out.splitlines()] == [6, 3, 0]


def test_what_no_rule_keeps_is_dropped_after_success_only(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, top = tmp_path / "src", tmp_path / "top"
    make(source, TREE)
    old = ["2020-01-01T000000Z", "2020-01-01T100000Z", "2021-05-05T000000Z"]
    for name in old:
        make(top / name, TREE)
    make(top / "not one", TREE)
    words = ("--snapshot", "--keep=yearly=2,last=1", *way.words(source, top))
    # A run that fails drops nothing; here the lock is held.
    (top / "incomplete").mkdir()
    held = os.open(top / "incomplete", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert syncron(*words).code == 6
    assert names(top) == old
    os.close(held)
    syncron.ok(*words)
    kept = names(top)
    assert kept[0] == "2021-05-05T000000Z" and len(kept) == 2
    assert (top / "not one/same").exists()
    assert_same(os.path.realpath(top / "latest"), source)


def test_an_interrupted_snapshot_has_no_name_and_is_gone_on_with(
    syncron: Command, tmp_path: Path
) -> None:
    source, top = tmp_path / "src", tmp_path / "top"
    make(source, {f"{number:03}": os.urandom(200_000) for number in range(40)})
    syncron.ok("--snapshot", source, top)
    make(source / "more", {f"{number:03}": os.urandom(200_000) for number in range(40)})
    process = syncron.start("--snapshot", "--bwlimit=0", source, top)
    while process.poll() is None and not (top / "incomplete").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    interrupted = names(top)
    (source / "later").write_bytes(b"since")
    (source / "000").unlink()
    syncron.ok("--snapshot", source, top)
    assert len(names(top)) == len(interrupted) + 1
    assert_same(os.path.realpath(top / "latest"), source)
    assert not (top / "incomplete").exists()


def test_an_emptied_source_and_an_unmounted_destination_are_refused(
    syncron: Command, tmp_path: Path
) -> None:
    source, top = tmp_path / "src", tmp_path / "top"
    make(source, TREE)
    syncron.ok("--snapshot", source, top)
    make(tmp_path / "empty", {})
    done = syncron("--snapshot", tmp_path / "empty", top)
    assert done.code == 3 and "--allow-empty-source" in done.err
    assert len(names(top)) == 1
    assert syncron("--snapshot", "--allow-empty-source", tmp_path / "empty", top).code == 0
    refused: list[tuple[list[str | Path], str]] = [
        (["--keep=daily=1", source, top], "--keep is about snapshots"),
        (["--snapshot", "--link-dest=x", source, top], "together with --link-dest"),
        (["--snapshot", "--backup", source, top], "together with --backup"),
        (["--snapshot", "-u", source, top], "together with --update"),
        (["--snapshot", "-U", source, top], "--snapshot does not go together with --atimes"),
        (["--snapshot", source, tmp_path / "empty", top], "of one whole tree"),
    ]
    for words, said in refused:
        done = syncron(*words)
        assert done.code == 1 and said in done.err, done.err
    done = syncron("--snapshot", source, tmp_path / "no/such/place")
    assert done.code == 3 and "--mkpath" in done.err
    assert syncron("--snapshot", "--mkpath", source, tmp_path / "no/such/place").code == 0
    done = syncron("--snapshot", source, source / "same")
    assert done.code == 3 and "cannot hold snapshots" in done.err


def test_a_dry_run_makes_none(syncron: Command, tmp_path: Path) -> None:
    source, top = tmp_path / "src", tmp_path / "top"
    make(source, TREE)
    syncron.ok("--snapshot", source, top)
    (source / "edited").write_bytes(b"after that")
    done = syncron("-n", "--snapshot", source, top)
    assert done.code == 0
    assert len(names(top)) == 1 and not (top / "incomplete").exists()
    assert any(line.endswith(" edited") for line in done.out.splitlines())
