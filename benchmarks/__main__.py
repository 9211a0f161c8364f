"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.install import installed
from benchmarks.measure import ToolFailed
from benchmarks.rows import ROWS, Row
from benchmarks.runner import Trees, Workshop, carry_out, tell
from tests.sshd import running_sshd

_ROOM = 6 << 30
"""Bytes that the largest row may take at scale 1: the source and a destination a tool."""
_PROGRAMS = {
    "benchmarks.two_way": "both ways against Unison: first, nothing to do, 100 changes each",
    "benchmarks.hot": "how soon a change in a hot directory of a large tree is on the other side",
}
"""What is measured by other programs than this one: `python -m NAME`."""
_COPIES = 3
"""Of a tree: the source, and a destination for each of two tools."""


def main() -> int:
    arguments = _parser().parse_args()
    by_name = {row.name: row for row in ROWS}
    if arguments.list:
        for row in ROWS:
            print(f"{row.name:18} {row.says}")
        print("\nby programs of their own:")
        for name, says in _PROGRAMS.items():
            print(f"python -m {name:18} {says}")
        return 0
    if arguments.earlier:
        _show([json.loads(Path(name).read_text()) for name in arguments.earlier], arguments.into)
        return 0
    unknown = [name for name in arguments.rows if name not in by_name]
    if unknown:
        print(f"no such row: {', '.join(unknown)}; --list names them", file=sys.stderr)
        return 1
    rows = [by_name[name] for name in arguments.rows] or list(ROWS)
    parent = arguments.directory or _roomy_place(rows, arguments.scale)
    with tempfile.TemporaryDirectory(prefix="syncron-bench-", dir=parent) as directory:
        return _run(rows, Path(directory), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which rows (default: all)")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--runs", type=int, default=5, help="runs of each tool (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the trees (default 1)")
    parser.add_argument(
        "--syncron",
        metavar="COMMAND",
        help="the command to measure (default: a compiled copy of the code beside this program)",
    )
    parser.add_argument(
        "--remote-syncron",
        metavar="PATH",
        help="the one installed at the remote end (default: the same copy)",
    )
    parser.add_argument(
        "--shipped",
        action="store_true",
        help="none is installed at the remote end: the helper is shipped",
    )
    parser.add_argument(
        "--bare-shell",
        action="store_true",
        help="without the start-up files of the account's shell at the remote end",
    )
    parser.add_argument(
        "--tools", default="", metavar="NAMES", help="only these, such as syncron,rsync"
    )
    parser.add_argument(
        "--directory", metavar="DIR", help="where the trees go (default: memory, if there is room)"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures here, too")
    parser.add_argument(
        "--from",
        dest="earlier",
        action="append",
        default=[],
        metavar="FILE",
        help="measure nothing: one table of what earlier runs wrote with --json (repeat)",
    )
    parser.add_argument(
        "--into", metavar="DOCUMENT", help="put the table into this Markdown file, too"
    )
    return parser


def _run(rows: list[Row], directory: Path, arguments: argparse.Namespace) -> int:
    memories = [directory / "remembered-here", directory / "remembered-there"]
    # One line: sshd takes the first SetEnv and no other.
    there = f"SetEnv XDG_STATE_HOME={memories[1]} XDG_CACHE_HOME={directory}/cache-there"
    if arguments.bare_shell:
        there += f" HOME={directory}"
    copy = installed(directory / "installed")
    syncron = shlex.split(arguments.syncron) if arguments.syncron else [str(copy)]
    remote = None if arguments.shipped else arguments.remote_syncron or str(copy)
    around = table.surroundings(syncron)
    figures: list[dict[str, Any]] = []
    failed = False
    with running_sshd(directory / "sshd", [there]) as server:
        workshop = Workshop(
            directory,
            server,
            _environment(directory, memories[0]),
            memories,
            syncron,
            remote,
            frozenset(filter(None, arguments.tools.split(","))),
            arguments.scale,
            _is_in_memory(directory),
        )
        workshop.reach(server.port)
        trees = Trees(workshop)
        result = {
            **around,
            "runs": arguments.runs,
            "scale": arguments.scale,
            "place": "memory" if workshop.in_memory else "files on disk",
            "rows": figures,
        }
        for row in rows:
            try:
                results = carry_out(row, workshop, trees, arguments.runs)
            except ToolFailed as problem:
                tell(f"{row.name} FAILED: {problem}")
                failed = True
                continue
            figures.append(table.values(row, results))
            tell("\n".join(table.lines(figures[-1])))
            if arguments.json:  # After every row: what was measured outlives an interruption.
                Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    _show([result], arguments.into)
    return 1 if failed else 0


def _show(runs: list[dict[str, Any]], document: str | None) -> None:
    text = table.whole(runs)
    print(text, end="")
    if document:
        table.put_into(Path(document), text)


def _environment(directory: Path, state: Path) -> dict[str, str]:
    """What every tool sees: a home of its own, where ssh's configuration is. Nothing that keeps
    Python from using bytecode."""
    home = directory / "home"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "XDG_STATE_HOME": str(state),
        "XDG_CACHE_HOME": str(directory / "cache-here"),
        "XDG_CONFIG_HOME": str(directory / "config"),
    }


def _roomy_place(rows: list[Row], scale: float) -> str | None:
    """A directory in memory, where there is room for all copies of the largest tree."""
    memory = "/dev/shm"
    if not os.path.isdir(memory):
        return None
    free = os.statvfs(memory)
    inodes = max(row.inodes for row in rows) * _COPIES * scale
    if free.f_bavail * free.f_frsize > _ROOM * scale and free.f_favail > inodes:
        return memory
    return None


def _is_in_memory(directory: Path) -> bool:
    command = ["stat", "--file-system", "--format=%T", str(directory)]
    return (
        subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        == "tmpfs"
    )


if __name__ == "__main__":
    sys.exit(main())
