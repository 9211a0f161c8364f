"""``--watch``: a process that stays, over a real file system's events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def watching(out: Path, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """What it says goes into ``out``: nobody reads it meanwhile, and a pipe would be full."""
    process = subprocess.Popen(
        [sys.executable, "-m", "syncron", "--json", "--watch", *words],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        stdout=out.open("wb"),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def soon(there: Callable[[], bool], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not there():
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.02)


def ended(process: subprocess.Popen[str], out: Path) -> list[dict[str, object]]:
    """End it in order; the summaries of its runs."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM, (process.returncode, err)
    assert "Traceback" not in err
    found = [json.loads(line) for line in out.read_text().splitlines()]
    return [each for each in found if each["message_type"] == "summary"]


def content(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def test_what_changes_is_brought_over_until_a_signal_ends_it(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "dst"
    (source / "d/deep").mkdir(parents=True)
    (source / "d/deep/file").write_text("first")
    with watching(tmp_path / "out", "--delete", source, target) as process:
        soon(lambda: content(target / "d/deep/file") == "first")
        time.sleep(0.5)
        (source / "d/deep/file").write_text("second, longer")
        soon(lambda: content(target / "d/deep/file") == "second, longer")
        (source / "new/below").mkdir(parents=True)
        (source / "new/below/file").write_text("new")
        soon(lambda: content(target / "new/below/file") == "new")
        (source / "d/deep/file").rename(source / "moved")
        soon(lambda: (target / "moved").exists() and not (target / "d/deep/file").exists())
        for number in range(2500):
            (source / f"new/{number}").touch()
        soon(lambda: len(list((target / "new").iterdir())) == 2501)
        runs = ended(process, tmp_path / "out")
    assert len(runs) >= 5
    assert all(run["exit_code"] in (0, 24, 143) for run in runs)


def test_what_the_kernels_queue_dropped_is_looked_for(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "dst"
    (source / "many").mkdir(parents=True)
    (source / "dropped").mkdir()
    (source / "file").touch()
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    before = limit.read_text()
    root = os.geteuid() == 0  # who alone may make the queue short, which is quick
    files = 200 if root else int(before)
    try:
        if root:
            limit.write_text("64")
        with watching(tmp_path / "out", source, target) as process:
            soon((target / "file").exists)
            if root:
                limit.write_text(before)
            time.sleep(0.5)
            process.send_signal(signal.SIGSTOP)  # so that nobody empties the queue
            for number in range(files):
                (source / f"many/{number}").touch()
            (source / "dropped/file").touch()
            process.send_signal(signal.SIGCONT)
            soon((target / "dropped/file").exists)
            runs = ended(process, tmp_path / "out")
    finally:
        if root:
            limit.write_text(before)
    assert len(runs) >= 2
    assert len(list((target / "many").iterdir())) == files


def test_a_full_run_comes_now_and_then_and_nothing_makes_no_run(tmp_path: Path) -> None:
    source, state = tmp_path / "src", tmp_path / "src/state"
    source.mkdir()
    (source / "file").write_text("content")
    os.environ["XDG_STATE_HOME"] = str(state)  # within what is watched
    try:
        with watching(tmp_path / "out", "--rescan=2", source, tmp_path / "dst") as process:
            time.sleep(5.5)
            runs = ended(process, tmp_path / "out")
    finally:
        del os.environ["XDG_STATE_HOME"]
    assert 3 <= len(runs) <= 7


def test_what_cannot_be_watched_is_refused(syncron: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for words, said in (
        (["host:x", tmp_path / "dst"], "SRC on this machine"),
        ([tmp_path / "file", tmp_path / "dst"], "for a directory"),
        ([tmp_path, tmp_path / "file", tmp_path / "dst"], "of one tree"),
        (["--verify", tmp_path, tmp_path / "dst"], "--hot believes"),
        (["--rescan=soon", tmp_path, tmp_path / "dst"], "--rescan 'soon'"),
    ):
        done = syncron("--watch", *words)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    done = syncron("--rescan=1h", tmp_path, tmp_path / "dst")
    assert done.returncode == 1 and "--rescan is about --watch" in done.stderr
