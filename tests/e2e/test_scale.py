"""Large trees, large directories and large files: memory that has a bound.

By default a fiftieth of what ``SYNCRON_DEEP=1`` does, which takes some minutes and GBs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import data
from tests.deep import DEEP
from tests.e2e.conftest import Command, MakeWay, Script, children

CROWD = 1.0 if DEEP else 0.02
FLAT = 300_000 if DEEP else 6_000
SPARSE = (20 if DEEP else 1) << 30
FLAT_MEMORY = 100
"""MB that a process may take however large a file is: its own 30, and packs under way."""
TREE_MEMORY = 300 if DEEP else 70
pytestmark = pytest.mark.timeout(3600 if DEEP else 120)


class Peaks(dict[str, int]):
    """The most memory, in MB, that each process of a run has had: by its role."""

    def look(self, client: int, helper: Path) -> None:
        """Add what is seen now. ``helper``: where the remote one leaves its process number."""
        pids = {"client": client}
        pids.update((f"local {pid}", pid) for pid in children(client))
        if helper.exists() and (text := helper.read_text().strip()):
            pids["remote"] = int(text)
        for role, pid in pids.items():
            self[role] = max(self.get(role, 0), _peak(pid))


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) >> 10 if lines else 0


@contextmanager
def watched(process: subprocess.Popen[str], helper: Path) -> Iterator[Peaks]:
    """Follow a run until the block ends."""
    peaks, over = Peaks(), threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peaks.look(process.pid, helper)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


class Scale:
    """Runs through a real server, with their peaks."""

    def __init__(self, syncron: Command, script: Script, directory: Path) -> None:
        self._syncron = syncron
        self._helper = directory / "helper.pid"
        self._command = script(f"echo $$ > {self._helper}; exec {{helper}}")

    def __call__(self, most: int, *words: str | Path) -> dict[str, object]:
        """The summary of a run in which no process takes more than ``most`` MB."""
        self._helper.unlink(missing_ok=True)
        process = self._syncron.start("--json", f"--remote-syncron={self._command}", *words)
        with watched(process, self._helper) as peaks:
            ended = self._syncron.end(process, within=1200)
        assert ended.code == 0, ended.err
        assert {"client", "remote"} < set(peaks)
        assert max(peaks.values()) < most, peaks
        return ended.summary


@pytest.fixture
def scale(syncron: Command, script: Script, make_way: MakeWay, tmp_path: Path) -> Iterator[Scale]:
    """Runs to ``target``. What they made is removed: it is too much to be kept for a look."""
    yield Scale(syncron, script, tmp_path)
    for name in ("src", "dst", "back"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)


def test_many_files(scale: Scale, tmp_path: Path) -> None:
    source, destination, back = tmp_path / "src", tmp_path / "dst", tmp_path / "back"
    data.crowd(source, CROWD)
    entries = round(1_083_000 * CROWD) - 1
    assert scale(TREE_MEMORY, source, f"target:{destination}")["created"] == entries
    again = scale(TREE_MEMORY, source, f"target:{destination}")
    assert (again["unchanged"], again["bytes_hashed"], again["match"]) == (entries, 0, True)
    assert scale(TREE_MEMORY, f"target:{destination}", back)["created"] == entries


def test_many_files_in_one_directory(scale: Scale, tmp_path: Path) -> None:
    source, destination, back = tmp_path / "src", tmp_path / "dst", tmp_path / "back"
    source.mkdir()
    for number in range(FLAT):
        (source / f"{number:06}-{'name' * (number % 8)}").write_bytes(b"x" * (number % 3))
    assert scale(TREE_MEMORY, source, f"target:{destination}")["match"] is True
    again = scale(TREE_MEMORY, source, f"target:{destination}")
    assert (again["unchanged"], again["bytes_hashed"]) == (FLAT, 0)
    back.mkdir()
    (back / "one").touch()
    gone = scale(TREE_MEMORY, "--delete", back, f"target:{destination}")
    assert (gone["deleted"], gone["match"]) == (FLAT, True)


def test_a_huge_file_of_little(scale: Scale, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    source.mkdir()
    with (source / "image").open("wb") as file:
        file.truncate(SPARSE)
        for at in range(0, SPARSE - 100_000, SPARSE // 10):
            file.seek(at)
            file.write(os.urandom(100_000))
    began = time.monotonic()
    summary = scale(FLAT_MEMORY, "--zc=zstd", source, f"target:{destination}")
    assert summary["match"] is True
    assert summary["bytes_transferred"] == SPARSE
    # Zeros cross the wire as next to nothing.
    assert int(str(summary["bytes_sent"])) < 1_100_000 + SPARSE // 1000
    assert time.monotonic() - began < SPARSE / 20e6
