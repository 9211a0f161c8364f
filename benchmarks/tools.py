"""The tools that are measured: for each, the command that does a row's work."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from tests.sshd import Sshd

HOST = "target"
"""The alias by which the configuration of the throw-away server knows it."""

CIPHER = "aes128-gcm@openssh.com"
"""What every tool's SSH uses: syncron's own first choice, and quicker than ssh's."""


class Direction(Enum):
    """Which of the two trees is behind SSH."""

    PUSH = "push"
    PULL = "pull"


class Tool(Protocol):
    """One line of a row."""

    @property
    def name(self) -> str:
        """As the table shows it."""

    @property
    def keeps_equal(self) -> bool:
        """Whether it makes a destination like the source from any start, so that it can take
        part in rows that begin with a full one, and be checked."""

    @property
    def telling(self) -> Sequence[str]:
        """Options by which it says on standard output what it did, for `literal`."""

    def command(self, direction: Direction, source: Path, destination: Path) -> list[str]:
        """Make ``destination`` like ``source``."""

    def literal(self, output: str) -> int | None:
        """Bytes of content that were sent as such, by the tool's own account; None where it
        gives none."""


def ssh(server: Sshd) -> list[str]:
    """The external ``ssh``, up to the host. syncron has its own, and finds the same
    configuration in its home directory."""
    command = ["ssh", "-F", str(server.config), "-c", CIPHER]
    return [*command, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]


@dataclass(frozen=True)
class Rsync:
    """rsync with what syncron does by default: links, permissions, times, owner and group."""

    server: Sshd
    options: Sequence[str] = ()
    keeps_equal = True
    telling = ("--stats", "--no-human-readable")

    @property
    def name(self) -> str:
        return " ".join(("rsync", *self.options))

    def command(self, direction: Direction, source: Path, destination: Path) -> list[str]:
        trees = [f"{source}/", f"{destination}/"]
        remote = 1 if direction is Direction.PUSH else 0
        trees[remote] = f"{HOST}:{trees[remote]}"
        return ["rsync", "-rlptgoD", *self.options, "-e", shlex.join(ssh(self.server)), *trees]

    def literal(self, output: str) -> int | None:
        found = re.search(r"^Literal data: (\d+) bytes", output, re.MULTILINE)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class Syncron:
    """syncron as installed; ``remote`` is the installed one at the other end, None to ship it."""

    executable: Sequence[str]
    remote: str | None
    options: Sequence[str] = ()
    keeps_equal = True
    telling = ("--json",)

    @property
    def name(self) -> str:
        """Without its options, which are those of rsync beside it."""
        return "syncron" if self.remote else "syncron, shipped"

    def command(self, direction: Direction, source: Path, destination: Path) -> list[str]:
        trees = [str(source), str(destination)]
        remote = 1 if direction is Direction.PUSH else 0
        trees[remote] = f"{HOST}:{trees[remote]}"
        remote_options = [f"--remote-syncron={self.remote}"] if self.remote else []
        return [*self.executable, *self.options, *remote_options, *trees]

    def literal(self, output: str) -> int | None:
        last = output.splitlines()[-1:]
        return int(json.loads(last[0])["bytes_transferred"]) if last else None


class Sealing(Syncron):
    """syncron with every file sealed on its way."""

    def command(self, direction: Direction, source: Path, destination: Path) -> list[str]:
        first, *rest = super().command(direction, source, destination)
        return [first, "--secure=*", *rest]

    def check(self, source: Path, destination: Path) -> list[str]:
        """What fails where the destination is not the source, sealed."""
        words = ["--verify", "--seal", "--secure=*", str(source), str(destination)]
        return [*self.executable, *words]


class InClear(Syncron):
    """syncron beside that, with nothing sealed."""

    @property
    def name(self) -> str:
        return f"{super().name}, in clear"


class _Reference:
    """What is no rival: it does a part of the work, or less than all of it."""

    keeps_equal = False
    telling: Sequence[str] = ()

    def literal(self, output: str) -> int | None:
        del output
        return None


@dataclass(frozen=True)
class Tar(_Reference):
    """Everything through one pipe, nothing compared."""

    server: Sshd
    name = "tar, ssh tar"

    def command(self, direction: Direction, source: Path, destination: Path) -> list[str]:
        pack = f"tar -C {shlex.quote(os.fspath(source))} -cf - ."
        place = shlex.quote(os.fspath(destination))
        unpack = f"mkdir -p {place} && tar -C {place} -xf -"
        there = shlex.join([*ssh(self.server), HOST])
        if direction is Direction.PUSH:
            return ["sh", "-c", f"{pack} | {there} {shlex.quote(unpack)}"]
        return ["sh", "-c", f"{there} {shlex.quote(pack)} | {{ {unpack}; }}"]


@dataclass(frozen=True)
class Find(_Reference):
    """One local look at every entry of the source, no SSH."""

    name = "find -printf"

    def command(self, direction: Direction, source: Path, destination: Path) -> list[str]:
        del direction, destination
        return ["find", str(source), "-printf", "%p %s %T@ %C@ %i\\n"]


@dataclass(frozen=True)
class Session(_Reference):
    """A bare SSH session that does nothing: connecting, logging in, and the account's shell."""

    server: Sshd
    name = "ssh true"

    def command(self, direction: Direction, source: Path, destination: Path) -> list[str]:
        del direction, source, destination
        return [*ssh(self.server), HOST, "true"]
