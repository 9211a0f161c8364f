"""The result: values for programs, and from them a table in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rows import ROWS, Row
from benchmarks.runner import Result
from benchmarks.tools import CIPHER

_BEGIN = "<!-- benchmarks: begin -->\n"
_END = "<!-- benchmarks: end -->\n"


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


def values(row: Row, results: Sequence[Result]) -> dict[str, Any]:
    """One row: seconds, and sizes in bytes."""
    tools = []
    for result in results:
        seen = asdict(result.seen) if result.seen else {}
        seconds = [round(each, 4) for each in result.seconds]
        tools.append({"tool": result.tool, "seconds": seconds, **seen})
    aims = {"at_most": row.at_most, "literal_at_most": row.literal_at_most}
    return {"row": row.name, **aims, "tools": tools}


def merged(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of several runs of this program, each once: the last that was measured."""
    by_name = {row["row"]: row for run in runs for row in run["rows"]}
    return [by_name[row.name] for row in ROWS if row.name in by_name]


def heading(runs: Sequence[dict[str, Any]]) -> str:
    """What the figures depend on, and what they are."""
    sentences = list(dict.fromkeys(_measured_on(run) for run in runs))
    return (
        "\n".join(sentences)
        + "\nSeconds: median (least to most). On the wire: to the remote + from it, SSH included."
        "\nLiteral: content sent as such. Memory: peak of the client / the largest local helper /"
        "\nthe largest remote process. CPU: seconds of the client / local helpers / remote"
        "\nprocesses / OpenSSH at both ends.\n"
    )


def _measured_on(run: dict[str, Any]) -> str:
    scale = f", scale {run['scale']:g}" if run["scale"] != 1 else ""
    return (
        f"{run['syncron']}; {run['rsync']}; Python {run['python']}; {run['cores']} cores.\n"
        f"{run['runs']} runs of each tool in turn over one sshd on loopback ({run['cipher']}),\n"
        f"trees in {run['place']}{scale}."
    )


def head() -> str:
    """The table's first lines."""
    return (
        "| row | tool | seconds | against rsync | aim | on the wire | literal | memory | CPU |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    )


def lines(row: dict[str, Any]) -> Iterator[str]:
    """A line a tool; medians are what is compared."""
    rsync = next((tool for tool in row["tools"] if tool["tool"].startswith("rsync")), None)
    for tool in row["tools"]:
        seconds = tool["seconds"]
        median = statistics.median(seconds)
        ratio = f"{median / statistics.median(rsync['seconds']):.2f}" if rsync else ""
        is_ours = tool["tool"].startswith("syncron")
        cells = [
            row["row"],
            tool["tool"],
            f"{median:.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
            ratio,
            f"≤ {row['at_most']}" if row["at_most"] and is_ours else "",
            f"{_size(tool['bytes_up'])} + {_size(tool['bytes_down'])}" if tool["bytes_up"] else "",
            _literal(tool, rsync, row["literal_at_most"] if is_ours else None),
            *_loads(tool),
        ]
        yield f"| {' | '.join(cells)} |"


def whole(runs: Sequence[dict[str, Any]]) -> str:
    """Heading, table, and what its rows are."""
    rows = merged(runs)
    body = [line for row in rows for line in lines(row)]
    names = {row["row"] for row in rows}
    legend = [f"- {row.name}: {row.says}" for row in ROWS if row.name in names]
    return "\n".join([heading(runs), head(), *body, "", *legend]) + "\n"


def put_into(document: Path, text: str) -> None:
    """Replace what stands between the two markers."""
    before, begin, rest = document.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{document} has no place for the table: {_BEGIN}{_END}")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _literal(tool: dict[str, Any], rsync: dict[str, Any] | None, at_most: float | None) -> str:
    ours = tool["literal"]
    if ours is None:
        return ""
    theirs = rsync and rsync["literal"]
    compared = f" ({ours / theirs:.2f}, aim ≤ {at_most})" if at_most and theirs else ""
    return _size(ours) + compared


def _loads(tool: dict[str, Any]) -> tuple[str, str]:
    """Peaks and CPU time. Peaks leave OpenSSH out."""
    if tool["literal"] is None:  # A reference: what it takes says nothing.
        return ("", "")
    loads = list(tool["loads"].values())
    return (
        " / ".join(f"{load['peak'] / 1e6:.0f}" for load in loads[:3]) + " MB",
        " / ".join(f"{load['cpu']:.2f}" for load in loads),
    )


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
