"""A walk that two processes share: what one hands over, and what happens when it does not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.fs.tree import Tree
from syncron_lib.fs.walk import _Other, processors
from tests.fs.roots import opened, remember, scanned

_DIRECTORIES, _FILES = 400, 25


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that is wide enough to be shared."""
    top = tmp_path_factory.mktemp("wide")
    for number in range(_DIRECTORIES):
        directory = top / f"{number:03}" / "below"
        directory.mkdir(parents=True)
        for name in range(_FILES):
            (directory / f"{name}").touch()
        (directory / ".syncronignore").write_text("3\n")
    return top


def _rows(tree: Tree) -> list[tuple[Any, ...]]:
    return [
        (node.path, node.stats, bytes(node.digests), node.excluded, node.entries, node.size)
        for node in tree.nodes.values()
    ]


def _alone(path: Path) -> list[tuple[Any, ...]]:
    with opened(path) as root:
        root.shares = False
        root.scan(None, lambda _entries, _size: None)
        return _rows(root.tree)


@pytest.mark.parametrize("known", [False, True])
def test_two_find_what_one_finds(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if known:
        remember(wide)
    alone = _alone(wide)
    assert len(alone) == 1 + 2 * _DIRECTORIES
    with opened(wide) as root:
        root.scan(None, lambda _entries, _size: None)
        assert _rows(root.tree) == alone
        assert len(root.ignore_files) == _DIRECTORIES


@pytest.mark.parametrize("what", [signal.SIGSTOP, signal.SIGKILL])
def test_one_that_does_nothing_more_is_not_waited_for(wide: Path, what: signal.Signals) -> None:
    assert processors() > 1
    alone = _alone(wide)
    met: set[str] = set()
    over = threading.Event()

    def hinder() -> None:
        children = Path(f"/proc/self/task/{main}/children")
        while not over.is_set():
            for pid in set(children.read_text().split()) - met:
                os.kill(int(pid), what)
                met.add(pid)

    main = threading.get_native_id()
    thread = threading.Thread(target=hinder)
    thread.start()
    try:
        begun = time.monotonic()
        while not met and time.monotonic() - begun < 60:
            with scanned(wide) as root:
                assert _rows(root.tree) == alone
    finally:
        over.set()
        thread.join()
    assert met


def _handed_over(work: Callable[[Callable[[Any], None]], None]) -> list[Any]:
    """What a process hands over until it has stopped or ended."""
    other = _Other(work)
    assert other._pid is not None
    os.waitid(os.P_PID, other._pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    other.end()
    return list(other.handed_over())


def test_what_was_handed_over_counts() -> None:
    def work(hand_over: Callable[[Any], None]) -> None:
        hand_over((1, b"x" * 100_000))
        hand_over(())
        os.kill(os.getpid(), signal.SIGSTOP)
        hand_over("never")

    assert _handed_over(work) == [(1, b"x" * 100_000), ()]


def test_one_that_fails_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def work(hand_over: Callable[[Any], None]) -> None:
        hand_over("before")
        raise OSError("no room")

    assert _handed_over(work) == ["before"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cut", [1, 5])
def test_what_is_half_written_does_not_count(cut: int) -> None:
    def work(hand_over: Callable[[Any], None]) -> None:
        hand_over("whole")
        hand_over("another")

    other = _Other(work)
    assert other._pid is not None
    assert other._file is not None
    os.waitid(os.P_PID, other._pid, os.WEXITED | os.WNOWAIT)
    other.end()
    size = os.fstat(other._file.fileno()).st_size
    os.ftruncate(other._file.fileno(), size - cut)
    assert list(other.handed_over()) == ["whole"]
