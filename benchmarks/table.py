"""The result: Markdown, with what it was measured on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Sequence

from benchmarks.rows import Row
from benchmarks.runner import Result
from benchmarks.tools import CIPHER


def heading(syncron: Sequence[str], runs: int, scale: float, place: str) -> str:
    """What the figures depend on."""
    versions = [_first_line([*syncron, "--version"]), _first_line(["rsync", "--version"])]
    return (
        f"{'; '.join(versions)}; Python {platform.python_version()}; {os.cpu_count()} cores. "
        f"Seconds, {runs} runs of each in turn, over one sshd on loopback ({CIPHER}), "
        f"trees in {place}" + (f", scale {scale:g}" if scale != 1 else "") + ".\n"
    )


def head() -> str:
    """The table's first lines."""
    return "| row | tool | median | min | max | against rsync |\n|---|---|--:|--:|--:|--:|"


def lines(row: Row, results: Sequence[Result]) -> Iterator[str]:
    """A line a tool; medians are what is compared."""
    rsync = next((r for r in results if r.tool.startswith("rsync")), None)
    for result in results:
        median = statistics.median(result.seconds)
        ratio = f"{median / statistics.median(rsync.seconds):.2f}" if rsync else ""
        low, high = min(result.seconds), max(result.seconds)
        yield (f"| {row.name} | {result.tool} | {median:.2f} | {low:.2f} | {high:.2f} | {ratio} |")


def memory_lines(row: Row, results: Sequence[Result]) -> Iterator[str]:
    """Peak resident memory, a line a tool, where it was measured."""
    measured = [(result.tool, result.memory) for result in results if result.memory]
    if measured:
        yield f"\nPeak memory, {row.name}, MB:\n"
        yield "| tool | client | local helper | remote |"
        yield "|---|--:|--:|--:|"
    for tool, memory in measured:
        peaks = (memory.client, memory.local_helper, memory.remote_helper)
        yield f"| {tool} | " + " | ".join(f"{peak / 1e6:.0f}" for peak in peaks) + " |"


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as problem:
        return f"{command[0]}: {problem.strerror}"
    return " ".join(done.stdout.partition("\n")[0].split()[:3])
