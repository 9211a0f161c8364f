"""Carrying out rows: sources, destinations, turns, and the check that the work was done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import measure
from benchmarks.rows import Reference, Row, Start
from benchmarks.tools import Find, Rsync, Syncron, Tar, Tool
from tests.sshd import Sshd


@dataclass
class Result:
    """One tool in one row."""

    tool: str
    seconds: list[float] = field(default_factory=list)
    memory: measure.Memory | None = None


@dataclass(frozen=True)
class Workshop:
    """Where everything is measured, and by what."""

    directory: Path
    server: Sshd
    environment: Mapping[str, str]
    memories: Sequence[Path]
    """Where tools remember what they did, at both ends: emptied for a first copy."""
    executable: Sequence[str]
    remote: str | None
    tools: frozenset[str]
    """The first words of the tools to measure; empty for all."""
    in_memory: bool

    def tools_for(self, row: Row) -> list[Tool]:
        tools: list[Tool] = [
            Syncron(self.executable, self.remote),
            Rsync(self.server, row.rsync_options),
        ]
        if row.reference is Reference.TAR:
            tools.append(Tar(self.server))
        elif row.reference is Reference.FIND:
            tools.append(Find())
        return [tool for tool in tools if not self.tools or _first_word(tool) in self.tools]


class Source:
    """The tree to copy; kept from row to row while it is the one wanted and unchanged."""

    def __init__(self, path: Path, scale: float) -> None:
        self.path = path
        self._scale = scale
        self._made_by: object = None

    def prepare(self, row: Row) -> None:
        """Make it what ``row`` starts from."""
        if self._made_by is not row.generate:
            _remove(self.path)
            tell(f"{row.name}: generating")
            row.generate(self.path, self._scale)
        self._made_by = None if row.change else row.generate


def carry_out(row: Row, workshop: Workshop, source: Source, runs: int) -> list[Result]:
    """Measure all tools of the row, ``runs`` times each, turn by turn.

    Raises `ToolFailed` where one fails or leaves a destination that is not like the source.
    """
    for memory in workshop.memories:
        _remove(memory)
    source.prepare(row)
    place = workshop.directory / "destinations"
    try:
        return _measure(row, workshop, source.path, place, runs)
    finally:
        _remove(place)


def _measure(row: Row, workshop: Workshop, source: Path, place: Path, runs: int) -> list[Result]:
    place.mkdir()
    tools = workshop.tools_for(row)
    results = {tool.name: Result(tool.name) for tool in tools}
    commands = {}
    destinations = {}
    for number, tool in enumerate(tools):
        destinations[tool.name] = place / str(number)
        commands[tool.name] = tool.command(row.direction, source, destinations[tool.name])
    if row.start is Start.EQUAL:
        tell(f"{row.name}: making the destinations equal")
        for tool in tools:
            if tool.keeps_equal:
                # Twice: what was written this very moment may have to be looked at again.
                measure.seconds(commands[tool.name], workshop.environment)
                measure.seconds(commands[tool.name], workshop.environment)
    for turn in range(runs):
        if row.change is not None:
            row.change(source, turn)
        # Another one goes first every turn, so that no place in the order is a tool's own.
        first = turn % len(tools)
        for tool in (*tools[first:], *tools[:first]):
            if row.start is Start.ABSENT:
                _remove(destinations[tool.name])
                for memory in workshop.memories:
                    _remove(memory)
            if not workshop.in_memory:
                os.sync()
            taken = measure.seconds(commands[tool.name], workshop.environment)
            results[tool.name].seconds.append(taken)
            tell(f"{row.name}: {tool.name} {taken:.2f} s")
    for tool in tools:
        if tool.keeps_equal:
            _check(tool, source, destinations[tool.name])
    if row.memory:
        for tool in tools:
            if tool.keeps_equal:
                results[tool.name].memory = measure.memory(
                    commands[tool.name], workshop.environment, workshop.server.pid
                )
    return list(results.values())


def _check(tool: Tool, source: Path, destination: Path) -> None:
    """rsync, which reads every byte here, must find nothing left to do."""
    command = ["rsync", "-rlptgoDHn", "--checksum", "--delete", "-i", "--exclude=/.syncron"]
    done = subprocess.run(
        [*command, f"{source}/", f"{destination}/"], stdout=subprocess.PIPE, check=True
    )
    if done.stdout:
        first = done.stdout.decode(errors="replace").splitlines()[:5]
        raise measure.ToolFailed(
            f"{tool.name} left a destination that differs from the source: " + "; ".join(first)
        )


def _first_word(tool: Tool) -> str:
    return tool.name.replace(",", " ").split()[0]


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def tell(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)
