"""The result: a table in Markdown or values for programs, with what it was measured on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.rows import Row
from benchmarks.runner import Result
from benchmarks.tools import CIPHER


def surroundings(syncron: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on, beside the options."""
    return {
        "syncron": _first_line([*syncron, "--version"]),
        "rsync": _first_line(["rsync", "--version"]),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "cipher": CIPHER,
    }


def heading(around: dict[str, Any], runs: int, scale: float, place: str) -> str:
    """A sentence of what the figures depend on."""
    return (
        f"{around['syncron']}; {around['rsync']}; Python {around['python']}; "
        f"{around['cores']} cores, load {around['load']} before. "
        f"Seconds: median (least to most) of {runs} runs of each in turn, over one sshd on "
        f"loopback ({around['cipher']}), trees in {place}"
        + (f", scale {scale:g}" if scale != 1 else "")
        + ". On the wire: to the remote + from it, SSH included. Literal: content sent as such. "
        "Memory: peak of client / local helper / largest remote process.\n"
    )


def head() -> str:
    """The table's first lines."""
    return (
        "| row | tool | seconds | against rsync | aim | on the wire | literal | memory |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|"
    )


def lines(row: Row, results: Sequence[Result]) -> Iterator[str]:
    """A line a tool; medians are what is compared."""
    rsync = _rsync(results)
    for result in results:
        median = statistics.median(result.seconds)
        ratio = f"{median / statistics.median(rsync.seconds):.2f}" if rsync else ""
        aim = f"≤ {row.at_most}" if row.at_most and result.tool.startswith("syncron") else ""
        cells = [
            row.name,
            result.tool,
            f"{median:.2f} ({min(result.seconds):.2f} to {max(result.seconds):.2f})",
            ratio,
            aim,
            *_seen(row, result, rsync),
        ]
        yield f"| {' | '.join(cells)} |"


def _seen(row: Row, result: Result, rsync: Result | None) -> tuple[str, str, str]:
    seen = result.seen
    if seen is None:
        return ("", "", "")
    wire = f"{_size(seen.bytes_up)} + {_size(seen.bytes_down)}" if seen.bytes_up else ""
    if seen.literal is None:  # A reference; what it holds in memory says nothing.
        return (wire, "", "")
    literal = _size(seen.literal)
    theirs = rsync.seen.literal if rsync and rsync.seen else None
    if row.literal_at_most and theirs and result is not rsync:
        literal += f" ({seen.literal / theirs:.2f}, aim ≤ {row.literal_at_most})"
    memory = seen.memory
    peaks = (memory.client, memory.local_helper, memory.remote_helper)
    return (wire, literal, " / ".join(f"{peak / 1e6:.0f}" for peak in peaks) + " MB")


def values(row: Row, results: Sequence[Result]) -> dict[str, Any]:
    """The same for programs: seconds, and sizes in bytes."""
    rsync = _rsync(results)
    return {
        "row": row.name,
        "says": row.says,
        "at_most": row.at_most,
        "literal_at_most": row.literal_at_most,
        "tools": [
            {
                "tool": result.tool,
                "seconds": [round(each, 4) for each in result.seconds],
                "median": round(statistics.median(result.seconds), 4),
                "against_rsync": rsync
                and round(statistics.median(result.seconds) / statistics.median(rsync.seconds), 4),
                **(asdict(result.seen) if result.seen else {}),
            }
            for result in results
        ],
    }


def _rsync(results: Sequence[Result]) -> Result | None:
    return next((result for result in results if result.tool.startswith("rsync")), None)


def _size(count: int) -> str:
    """Three digits that count, in steps of a thousand."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.{max(0, 3 - len(str(int(size))))}f} {unit}"
    return f"{size / 1000:.2f} GB"


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as problem:
        return f"{command[0]}: {problem.strerror}"
    return " ".join(done.stdout.partition("\n")[0].split()[:3])
