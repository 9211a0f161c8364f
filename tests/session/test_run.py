"""Runs in this process: what is checked before anything is written, and what is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.location import Local
from syncron_lib.core.options import RunOptions
from syncron_lib.core.parts import Part
from syncron_lib.core.report import Clash, Failure, Item, Phase, Report
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import Exit, Interrupted, RootError
from syncron_lib.session.pool import Pool
from syncron_lib.session.run import run_many, verify
from syncron_lib.transport.settings import ConnectOptions
from tests.trees import assert_same, make, noise

_Progress = tuple[Phase, int, "int | None"]


class Watcher:
    """Keeps what a session tells."""

    def __init__(self, on_progress: Callable[[Phase, int], None] = lambda *_: None) -> None:
        self.seen: list[_Progress] = []
        self.warnings: list[str] = []
        self._on_progress = on_progress

    def phase(self, phase: Phase) -> None:
        pass

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        self.seen.append((phase, done, total))
        self._on_progress(phase, done)

    def item(self, item: Item) -> None:
        pass

    def clash(self, clash: Clash) -> None:
        pass

    def failure(self, failure: Failure) -> None:
        pass

    def remark(self, text: str) -> None:
        """Nothing."""

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def connect() -> ConnectOptions:
    return ConnectOptions(environment=dict(os.environ))


def local(path: Path) -> Local:
    return Local(os.fsencode(path))


def bring(
    sources: list[Path], destination: Path, watcher: Watcher | None = None, **options: bool
) -> Report:
    return run_many(
        [Part(local(each), into=len(sources) > 1) for each in sources],
        local(destination),
        RunOptions(**options),  # type: ignore[arg-type]
        connect(),
        watcher or Watcher(),
    )


# --- several sources ------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["a", "missing"], ["a", "fifo"], ["a", "c", "missing"]])
def test_all_sources_are_looked_at_before_the_first_is_copied(
    tmp_path: Path, names: list[str]
) -> None:
    make(tmp_path, {"a": {"f": b"1"}, "c": b"2", "dst": {}})
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RootError, match="Nothing was changed"):
        bring([tmp_path / name for name in names], tmp_path / "dst")
    assert os.listdir(tmp_path / "dst") == []


@pytest.mark.parametrize(
    "destination", [b"a file", {"a": {}, "b": b"in the way"}], ids=["file", "file inside"]
)
def test_the_places_are_looked_at_too(tmp_path: Path, destination: Any) -> None:
    make(tmp_path, {"a": {"f": b"1"}, "b": {"g": b"2"}, "dst": destination})
    with pytest.raises(RootError, match="Nothing was changed"):
        bring([tmp_path / "a", tmp_path / "b"], tmp_path / "dst")
    assert not (tmp_path / "dst/a/f").exists()


@pytest.mark.parametrize("order", [["a", "c"], ["c", "a"]])
def test_several_sources_make_a_missing_destination(tmp_path: Path, order: list[str]) -> None:
    make(tmp_path, {"a": {"f": b"1"}, "c": b"2"})
    for _ in range(2):  # again, after it was removed: that is no disk that is not mounted
        report = bring([tmp_path / name for name in order], tmp_path / "dst")
        assert report.exit_code is Exit.OK
        assert_same(tmp_path / "dst/a", tmp_path / "a")
        assert (tmp_path / "dst/c").read_bytes() == b"2"
        shutil.rmtree(tmp_path / "dst")
    with pytest.raises(RootError, match="--mkpath"):
        bring([tmp_path / name for name in order], tmp_path / "none/dst")


# --- what is told ---------------------------------------------------------------------------------


def test_damaged_state_is_a_warning(home: Path, tmp_path: Path) -> None:
    make(tmp_path / "a", {"f": b"1"})
    bring([tmp_path / "a"], tmp_path / "b")
    for state in home.rglob("*.db"):
        state.write_bytes(b"damaged" * 1000)
    watcher = Watcher()
    report = bring([tmp_path / "a"], tmp_path / "b", watcher)
    assert report.exit_code is Exit.OK
    assert len(watcher.warnings) == 2
    assert all("was damaged" in warning for warning in watcher.warnings)
    assert report.warnings == watcher.warnings


def test_verifying_tells_how_much_there_is_to_hash(tmp_path: Path) -> None:
    make(tmp_path, {"a": {f"{n}": noise(3 << 20, n) for n in range(60)}})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    watcher = Watcher()
    verify(Part(local(tmp_path / "a")), local(tmp_path / "b"), RunOptions(), connect(), watcher)
    hashing = [(done, total) for phase, done, total in watcher.seen if phase is Phase.HASH]
    assert hashing
    assert {total for _, total in hashing} == {2 * 60 * (3 << 20)}
    assert all(done <= 2 * 60 * (3 << 20) for done, _ in hashing)
    assert max(done for done, _ in hashing) > 60 * (3 << 20)


def test_a_run_that_is_ended_says_what_it_did(tmp_path: Path) -> None:
    make(tmp_path, {"a": {f"d{n:02}": {"f": noise(400_000, n)} for n in range(60)}, "first": {}})
    (tmp_path / "first/x").write_bytes(b"1")

    def interrupt(phase: Phase, done: int) -> None:
        if phase is Phase.TRANSFER and done > 20_000_000:
            raise Interrupted(15, "Ended by SIGTERM.")

    with pytest.raises(Interrupted) as caught:
        bring([tmp_path / "first", tmp_path / "a"], tmp_path / "dst", Watcher(interrupt))
    report = caught.value.report  # type: ignore[attr-defined]
    there = sum(len(names) + len(files) for _, names, files in os.walk(tmp_path / "dst/a"))
    # With the source that was done before; what is not yet acknowledged is not counted.
    assert 2 <= report.created <= 1 + there
    assert report.created > 20
    assert report.bytes_transferred > 20_000_000


# --- helpers --------------------------------------------------------------------------------------


def test_both_local_helpers_are_forked_before_there_is_a_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make(tmp_path, {"a": {"f": b"1"}})
    threads: list[int] = []
    fork = os.fork

    def counting_fork() -> int:
        threads.append(threading.active_count())
        return fork()

    monkeypatch.setattr(os, "fork", counting_fork)
    before = threading.active_count()
    bring([tmp_path / "a"], tmp_path / "b")
    assert len(threads) == 2
    assert max(threads) <= before  # one of an earlier test may have ended meanwhile


def test_helpers_that_were_not_spoken_with_end_with_the_pool(tmp_path: Path) -> None:
    before = _children()
    pool = Pool(connect(), 0)
    pool.start((local(tmp_path), local(tmp_path)))
    endpoint = pool.endpoint(local(tmp_path), 0)
    assert isinstance(endpoint, RemoteEndpoint)
    assert len(_children() - before) == 2
    pool.close()
    assert _children() - before == set()


def _children() -> set[int]:
    """Processes that this one has to wait for, ended ones too."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(status.parent.name))
    return found
