"""Both ways against Unison, over the same SSH server: `python -m benchmarks.two_way`.

Each tool has a pair of trees of its own, since what one does to a pair the other would find done.
The pairs are the same for both, and are changed alike; at the end both trees of a pair must be
equal.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data, measure
from benchmarks.data import MTIME, Text
from benchmarks.install import installed
from benchmarks.tools import HOST, ssh
from tests.sshd import Sshd, running_sshd

_CHANGED = 100
"""Files that are changed on each side."""


@dataclass(frozen=True)
class Tool:
    """``command`` synchronises two trees, the second behind SSH."""

    name: str
    command: Callable[[Path, Path], list[str]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_way", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each tool (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of 100,000 files (default 1)")
    parser.add_argument("--directory", metavar="DIR", help="where the trees go (default: /dev/shm)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(
        prefix="syncron-bench-", dir=arguments.directory or "/dev/shm"
    ) as directory:
        rows = _run(Path(directory), arguments.scale, arguments.runs)
    print("| row | syncron | unison | ratio |\n|---|---|---|---|")
    for name, times in rows.items():
        mine, theirs = (statistics.median(each) for each in times)
        print(f"| {name} | {mine:.2f} s | {theirs:.2f} s | {mine / theirs:.2f} |")
    return 0


def _run(directory: Path, scale: float, runs: int) -> dict[str, tuple[list[float], list[float]]]:
    there = f"SetEnv XDG_STATE_HOME={directory}/there XDG_CACHE_HOME={directory}/cache"
    there += f" UNISON={directory}/unison-there"
    command = installed(directory / "installed")
    pristine = directory / "pristine"
    data.documents(pristine, scale)
    with running_sshd(directory / "sshd", [there]) as server:
        environment = _environment(directory, server)
        tools = _tools(server, command)
        rows: dict[str, tuple[list[float], list[float]]] = {
            "first synchronisation": ([], []),
            "nothing to do": ([], []),
            f"{_CHANGED} changes on each side": ([], []),
        }
        for turn in range(runs):
            pairs = [_fresh_pair(directory, tool, pristine) for tool in tools]
            for number in sorted(range(len(tools)), reverse=bool(turn % 2)):
                tool, pair = tools[number], pairs[number]
                words = tool.command(*pair)
                first, nothing, changes = (times[number] for times in rows.values())
                first.append(measure.seconds(words, environment))
                measure.seconds(words, environment)
                nothing.append(measure.seconds(words, environment))
                _change(*pair, turn)
                changes.append(measure.seconds(words, environment))
                _require_equal(tool, *pair)
                print(f"{tool.name}: turn {turn + 1} of {runs}", file=sys.stderr, flush=True)
    return rows


def _environment(directory: Path, server: Sshd) -> Mapping[str, str]:
    home = directory / "home"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    shutil.copy(server.config, home / ".ssh/config")
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "XDG_STATE_HOME": str(directory / "here"),
        "UNISON": str(directory / "unison-here"),
    }


def _tools(server: Sshd, command: Path) -> Sequence[Tool]:
    def syncron(one: Path, other: Path) -> list[str]:
        return [
            str(command),
            "--two-way",
            f"--remote-syncron={command}",
            str(one),
            f"{HOST}:{other}",
        ]

    def unison(one: Path, other: Path) -> list[str]:
        options = ["-batch", "-auto", "-silent", "-confirmbigdel=false", "-times", "-perms", "-1"]
        arguments = shlex.join(ssh(server)[1:])
        return ["unison", str(one), f"ssh://{HOST}/{other}", *options, "-sshargs", arguments]

    return Tool("syncron", syncron), Tool("unison", unison)


def _fresh_pair(directory: Path, tool: Tool, pristine: Path) -> tuple[Path, Path]:
    """A full tree and an empty one, of which the tool remembers nothing."""
    place = directory / tool.name
    for old in (place, directory / "here", directory / "there"):
        shutil.rmtree(old, ignore_errors=True)
    for old in directory.glob("unison-*"):
        shutil.rmtree(old)
    one, other = place / "one", place / "other"
    other.mkdir(parents=True)
    subprocess.run(["cp", "-a", str(pristine), str(one)], check=True)
    return one, other


def _change(one: Path, other: Path, turn: int) -> None:
    """Other files on each side, so that nothing is a conflict."""
    names = sorted(
        os.path.relpath(os.path.join(place, name), one)
        for place, _, names in os.walk(one)
        for name in names
        if ".syncron" not in place
    )
    chooser, text = random.Random(turn), Text(3000 + turn)
    chosen = chooser.sample(names, min(2 * _CHANGED, len(names)))
    for number, name in enumerate(chosen):
        path = (one, other)[number % 2] / name
        with open(path, "ab") as out:
            out.write(text.take(700))
        os.utime(path, (MTIME + turn + 1, MTIME + turn + 1))


def _require_equal(tool: Tool, one: Path, other: Path) -> None:
    command = ["rsync", "-rlptn", "--omit-dir-times", "--checksum", "--delete", "-i"]
    command += ["--exclude=/.syncron", f"{one}/", f"{other}/"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    if done.stdout:
        first = done.stdout.decode(errors="replace").splitlines()[:5]
        raise measure.ToolFailed(f"{tool.name} left trees that differ: " + "; ".join(first))


if __name__ == "__main__":
    sys.exit(main())
