"""One run at a time on a root, and the lock goes with its holder."""

import os
import signal
import time
from pathlib import Path

import pytest

from syncron_lib.errors import Exit, Locked
from syncron_lib.fs import lock


def _lock(root: Path, holder: str, *, alone: bool = True, wait: float = 0.0) -> int:
    fd = os.open(root, os.O_RDONLY)
    try:
        note = os.fsencode(root.parent / "note")
        lock.acquire(fd, os.fsencode(root), note, holder, alone, wait, lambda: None)
    except BaseException:
        os.close(fd)
        raise
    return fd


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_a_second_run_is_refused_and_told_who_holds_it(root):
    held = _lock(root, "started by me\x1b[31m")
    with pytest.raises(Locked, match=r"root: process \d+, started by me\\#033\[31m;") as caught:
        _lock(root, "other")
    assert caught.value.exit_code == Exit.LOCKED
    os.close(held)
    os.close(_lock(root, "other"))


def test_without_a_note_the_process_is_named(root):
    held = _lock(root, "me")
    (root.parent / "note").unlink()
    with pytest.raises(Locked, match=f"process {os.getpid()};"):
        _lock(root, "other")
    os.close(held)


def test_readers_share_and_a_writer_is_alone(root):
    readers = [_lock(root, "reader", alone=False) for _ in range(2)]
    with pytest.raises(Locked):
        _lock(root, "writer")
    for held in readers:
        os.close(held)
    held = _lock(root, "writer")
    with pytest.raises(Locked):
        _lock(root, "reader", alone=False)
    os.close(held)


def test_waiting_ends_when_the_holder_does(root):
    child = os.fork()
    if child == 0:
        _lock(root, "child")
        (root.parent / "ready").touch()
        time.sleep(60)
        os._exit(0)
    try:
        while not (root.parent / "ready").exists():
            time.sleep(0.01)
        began = time.monotonic()
        with pytest.raises(Locked, match=f"process {child}, child"):
            _lock(root, "me", wait=0.3)
        assert 0.3 <= time.monotonic() - began < 5
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(_lock(root, "me", wait=5))
