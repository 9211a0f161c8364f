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
from benchmarks.rows import LOOPBACK, Reference, Row, Start
from benchmarks.tools import HOST, Find, InClear, Rsync, Sealing, Session, Syncron, Tar, Tool
from tests.relay import Relay, running_relay
from tests.sshd import Sshd


@dataclass
class Result:
    """One tool in one row."""

    tool: str
    seconds: list[float] = field(default_factory=list)
    seen: Seen | None = None


@dataclass(frozen=True)
class Seen:
    """What was counted in one run that was not timed. Bytes are those of the TCP connection:
    SSH and its handshake included."""

    bytes_up: int
    bytes_down: int
    literal: int | None
    loads: dict[str, measure.Load]


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
    scale: float
    in_memory: bool

    def tools_for(self, row: Row) -> list[Tool]:
        """Those of the row, syncron first. Of two rows over one tree, each rival has the same
        place in both."""
        tools: list[Tool] = [
            Syncron(self.executable, self.remote, row.options),
            Rsync(self.server, (*row.options, *row.rsync_options)),
        ]
        if row.sealed:
            tools[0] = Sealing(self.executable, self.remote, row.options)
            if row.start is Start.ABSENT:
                # Whoever remembers a source sealed has to read it to send it in clear.
                tools.append(InClear(self.executable, self.remote, row.options))
        for reference in row.references:
            match reference:
                case Reference.TAR:
                    tools.append(Tar(self.server))
                case Reference.FIND:
                    tools.append(Find())
                case Reference.SSH:
                    tools.append(Session(self.server))
        return [tool for tool in tools if not self.tools or _first_word(tool) in self.tools]

    def make_key(self) -> None:
        """Have syncron find a key, as after ``--keygen``."""
        if not (Path(self.environment["XDG_CONFIG_HOME"]) / "syncron/key").exists():
            measure.seconds([*self.executable, "--keygen"], self.environment)

    def reach(self, port: int) -> None:
        """Let every tool find the server at this port from now on, under the same name."""
        self.server.write_config(self.server.config.name, host=HOST, replace={"Port": str(port)})
        self.server.known_hosts.write_text(self.server.known_hosts_line(f"[127.0.0.1]:{port}"))
        shutil.copy(self.server.config, Path(self.environment["HOME"]) / ".ssh/config")

    def run(self, command: Sequence[str]) -> float:
        """Seconds of one run, nothing of an earlier one in its way."""
        measure.settle(self.server.pid)
        if not self.in_memory:
            os.sync()
        return measure.seconds(command, self.environment)

    def watch(self, tool: Tool, command: Sequence[str], relay: Relay) -> Seen:
        """One run that is not timed. It comes before those that are, and so it also brings
        programs, bytecode and the source into the page cache."""
        measure.settle(self.server.pid)
        up, down = relay.bytes_up, relay.bytes_down
        words = [command[0], *tool.telling, *command[1:]]
        watched = measure.watch(words, self.environment, self.server.pid)
        measure.settle(self.server.pid)
        return Seen(
            relay.bytes_up - up,
            relay.bytes_down - down,
            tool.literal(watched.output),
            {name: getattr(watched, name) for name in ("client", "local_helper", "remote", "ssh")},
        )


class Trees:
    """The tree to copy, and what tools made of it; kept from row to row while they are the ones
    wanted."""

    def __init__(self, workshop: Workshop) -> None:
        self.source = workshop.directory / "source"
        self._workshop = workshop
        self._destinations = workshop.directory / "destinations"
        self._made_by: object = None
        self._are_equal = False

    def destination(self, number: int) -> Path:
        """That of a tool, by its place in the row."""
        return self._destinations / str(number)

    def prepare(self, row: Row, tools: Sequence[Tool]) -> None:
        """Make everything what the row starts from."""
        if self._made_by is not row.generate:
            self._forget()
            _remove(self.source)
            tell(f"{row.name}: generating")
            row.generate(self.source, self._workshop.scale)
            self._made_by = row.generate
        if row.start is Start.ABSENT:
            self._forget()
        elif not self._are_equal:
            self._forget()
            tell(f"{row.name}: making the destinations equal")
            for number, tool in enumerate(tools):
                if tool.keeps_equal:
                    command = tool.command(row.direction, self.source, self.destination(number))
                    # Twice: what was written this very moment may have to be looked at again.
                    self._workshop.run(command)
                    self._workshop.run(command)
            self._are_equal = True
        if row.change is not None:
            # Every row starts from the tree as it was generated.
            self._made_by = None

    def clear(self, number: int) -> None:
        """As before a first copy: no destination, nothing remembered."""
        _remove(self.destination(number))
        for memory in self._workshop.memories:
            _remove(memory)

    def _forget(self) -> None:
        self._are_equal = False
        _remove(self._destinations)
        self._destinations.mkdir()
        for memory in self._workshop.memories:
            _remove(memory)

    def discard(self) -> None:
        """Start anew with the next row: this one failed."""
        self._made_by = None


def carry_out(row: Row, workshop: Workshop, trees: Trees, runs: int) -> list[Result]:
    """Measure all tools of the row, ``runs`` times each, turn by turn.

    Raises `ToolFailed` where one fails or leaves a destination that is not like the source.
    """
    tools = workshop.tools_for(row)
    results = [Result(tool.name) for tool in tools]
    try:
        if row.sealed:
            workshop.make_key()
        trees.prepare(row, tools)
        _measure(row, workshop, trees, list(zip(tools, results, strict=True)), runs)
        for number, tool in enumerate(tools):
            if isinstance(tool, Sealing):
                command = tool.check(trees.source, trees.destination(number))
                measure.seconds(command, workshop.environment)
            elif tool.keeps_equal:
                _check(tool, trees.source, trees.destination(number))
    except measure.ToolFailed:
        trees.discard()
        raise
    return results


def _measure(
    row: Row, workshop: Workshop, trees: Trees, tools: list[tuple[Tool, Result]], runs: int
) -> None:
    delay = row.link.delay * min(1.0, workshop.scale)
    server = workshop.server
    try:
        with running_relay(server.port, delay, row.link.rate) as relay:
            workshop.reach(relay.port)
            for turn in range(1 + runs):
                if turn == 1 and row.link is LOOPBACK:
                    workshop.reach(server.port)
                if row.change is not None:
                    row.change(trees.source, turn)
                # Another one goes first every turn, so that no place in the order is a tool's own.
                for each in range(len(tools)):
                    number = (each + turn) % len(tools)
                    tool, result = tools[number]
                    if row.start is Start.ABSENT:
                        trees.clear(number)
                    command = tool.command(row.direction, trees.source, trees.destination(number))
                    if turn == 0:
                        result.seen = workshop.watch(tool, command, relay)
                        continue
                    taken = workshop.run(command)
                    result.seconds.append(taken)
                    tell(f"{row.name}: {tool.name} {taken:.2f} s")
    finally:
        workshop.reach(server.port)


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
