"""A hot run's latency: how soon a change in a hot directory of a large tree is on the other side.

    python -m benchmarks.hot [--files 1000000] [--runs 5] [--directory DIR]

Makes the tree of the row ``nothing-1m``, copies it through an SSH server of its own, changes one
directory over some runs so that it is hot, and then measures hot runs: in all, and from the moment
that the SSH session is up. Full runs stand beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import data
from tests.sshd import running_sshd

_TOP = Path(__file__).parent.parent
_WARM = 3
"""Runs with a change in the directory that is to be hot."""


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", help="where there is room (default: /dev/shm)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory or "/dev/shm") as name:
        _measure(Path(name), given.files, given.runs)
    return 0


def _measure(top: Path, files: int, runs: int) -> None:
    data.crowd(top / "src", files / 1_000_000)
    places = sorted(place for place, _, names in os.walk(top / "src") if names)
    hot = Path(places[len(places) // 2])
    (top / "sshd").mkdir()
    environment = {"XDG_STATE_HOME": str(top / "far"), "XDG_CACHE_HOME": str(top / "cache")}
    with running_sshd(top / "sshd", environment=environment) as server:
        (top / "home/.ssh").mkdir(parents=True)
        shutil.copy(server.config, top / "home/.ssh/config")
        _run(top, "--quiet")
        for number in range(_WARM):
            _change(hot, f"warm {number}")
            _run(top)
        print(f"{files:,} files in {len(places):,} directories; medians of {runs} runs, seconds")
        print("| run | whole | from the session on |")
        print("|---|--:|--:|")
        for words in ((), ("--hot",)):
            found = []
            for number in range(runs):
                _change(hot, f"{words} {number}")
                found.append(_run(top, *words))
                assert (top / "dst" / hot.relative_to(top / "src") / "changed").read_text() == (
                    f"{words} {number}"
                )
            whole, since = (statistics.median(column) for column in zip(*found))
            print(f"| {' '.join(words) or 'full'} | {whole:.2f} | {since:.2f} |")


def _change(hot: Path, text: str) -> None:
    # What is younger than the clock's grain is not believed, by any run.
    time.sleep(0.1)
    (hot / "changed").write_text(text)


def _run(top: Path, *words: str) -> tuple[float, float]:
    """Seconds of one run: in all, and without connecting."""
    history = top / "state/syncron/history"
    started = time.monotonic()
    subprocess.run(
        [sys.executable, _TOP / "syncron.py", *words, top / "src", f"target:{top}/dst"],
        env={**os.environ, "HOME": str(top / "home"), "XDG_STATE_HOME": str(top / "state")},
        stdin=subprocess.DEVNULL,
        check=True,
    )
    whole = time.monotonic() - started
    (file,) = history.iterdir()
    last = json.loads(file.read_bytes().splitlines()[-1])
    return whole, sum(took for name, took in last["phases"].items() if name != "connecting")


if __name__ == "__main__":
    sys.exit(main())
