"""A state directory that is full or read-only, for real: the files are right whatever happens, and
the exit code is one, wherever the room ends. Collected only where the tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deep import DEEP, part
from tests.e2e.conftest import Command, Ended, Script, assert_copied, listing, mounted
from tests.sshd import Sshd
from tests.trees import make

PAGE = 4096
ROOM = part(range(0, 90 * PAGE, 2 * PAGE if DEEP else 30 * PAGE))
"""Bytes that are left: from none to more than two states of the tree take."""


def leave(state: Path, room: int) -> None:
    """Fill a file system but for some bytes."""
    (state / "ballast").unlink(missing_ok=True)
    found = os.statvfs(state)
    (state / "ballast").write_bytes(bytes(max(0, found.f_bavail * found.f_frsize - room)))


def use_up_inodes(state: Path) -> None:
    """Leave room for bytes, and for no file."""
    for number in range(os.statvfs(state).f_ffree):
        (state / f"ballast{number}").touch()


def no_more_room(ended: Ended, sides: int) -> None:
    """The files are right, and it is told of so many sides that nothing could be kept of them."""
    assert ended.code == 11, (ended.code, ended.err)
    summary = ended.summary
    assert summary["match"] is True
    said = [error["message"] for error in summary["errors"]]
    assert 1 <= len(said) <= sides, said
    for text in said:
        assert "could not be saved" in text
        assert "The files are right" in text
        assert "has room" in text


@pytest.mark.parametrize("before", ["none", "known", "damaged"])
def test_a_full_state_directory(syncron: Command, tmp_path: Path, before: str) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"d{n:02}": {f"file{m:02}": b"x" for m in range(20)} for n in range(30)})
    with mounted(tmp_path / "state", "size=1m") as state:
        environ = {"XDG_STATE_HOME": str(state)}
        codes = []
        for number, room in enumerate(ROOM):
            leave(state, 400 * 1024)
            if before == "none":
                shutil.rmtree(state / "syncron", ignore_errors=True)
                shutil.rmtree(destination, ignore_errors=True)
            else:
                syncron.ok(source, destination, environ=environ)
            if before == "damaged":
                for path in state.rglob("*.db"):
                    path.write_bytes(b"damaged" * 100)
            for directory in source.iterdir():
                (directory / "new").write_bytes(b"%d" % number)
            leave(state, room)
            ended = syncron("--json", source, destination, environ=environ)
            codes.append(ended.code)
            if room == 0 or ended.code:
                no_more_room(ended, 2)
            assert ended.summary["match"] is True
            assert_copied(source, destination)
        print(f"{before}: {codes.count(11)} of {len(codes)} runs without room")
        assert codes == sorted(codes, reverse=True), "more room, less success"
        # With room again, the next run reads what this one could not remember, and no more.
        leave(state, 400 * 1024)
        syncron.ok(source, destination, environ=environ)
        assert syncron.ok(source, destination, environ=environ)["bytes_hashed"] == 0


def test_no_inodes_for_state(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1"})
    with mounted(tmp_path / "state", "size=1m,nr_inodes=9") as state:
        environ = {"XDG_STATE_HOME": str(state)}
        use_up_inodes(state)
        no_more_room(syncron("--json", source, destination, environ=environ), 2)
        for path in state.glob("ballast*"):
            path.unlink()
        syncron.ok(source, destination, environ=environ)
        (source / "b").write_bytes(b"2")
        use_up_inodes(state)
        no_more_room(syncron("--json", source, destination, environ=environ), 2)
    assert_copied(source, destination)


def test_what_a_person_reads_of_it(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1"})
    with mounted(tmp_path / "state", "size=64k") as state:
        leave(state, 0)
        environ = {"XDG_STATE_HOME": str(state)}
        ended = syncron("-q", source, destination, environ=environ)
        assert ended.code == 11
        lines = ended.err.splitlines()
        assert len(lines) == 2
        assert all("could not be saved" in line and str(state) in line for line in lines)
        ended = syncron("--root", source, environ=environ)
        assert (ended.code, len(ended.out.strip())) == (11, 32)
        assert "could not be saved" in ended.err
        # A file is brought over without state.
        assert syncron(source / "a", tmp_path / "b", environ=environ).code == 0


@pytest.mark.parametrize("side", ["near", "far"])
def test_the_state_directory_of_one_side(
    syncron: Command, hosts: Sshd, script: Script, tmp_path: Path, side: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"d{n}": {f"{m}": b"x" for m in range(5)} for n in range(9)})
    with mounted(tmp_path / "state", "size=64k") as state:
        leave(state, 0)
        environ = {"XDG_STATE_HOME": str(state)} if side == "near" else {}
        place = f"XDG_STATE_HOME={state} " if side == "far" else ""
        program = script(f"export {place or 'A=b'}\nexec {{helper}}")
        words = (f"--remote-syncron={program}", source, f"target:{destination}")
        no_more_room(syncron("--json", *words, environ=environ), 1)
        assert_copied(source, destination)
        (source / "d0/0").write_bytes(b"changed")
        no_more_room(syncron("--json", "--delete", *words, environ=environ), 1)
        assert_copied(source, destination)


@pytest.mark.parametrize("known", [False, True])
def test_a_read_only_state_directory(syncron: Command, tmp_path: Path, known: bool) -> None:
    """Nothing is changed."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1"})
    make(destination, {"a": b"0"})
    with mounted(tmp_path / "state") as state:
        environ = {"XDG_STATE_HOME": str(state)}
        if known:
            syncron.ok(source, destination, environ=environ)
            (source / "a").write_bytes(b"22")
        before = listing(destination), listing(state)
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        ended = syncron("--json", source, destination, environ=environ)
        assert ended.code == 5, ended.err
        assert "writable" in ended.err
        assert (listing(destination), listing(state)) == before
