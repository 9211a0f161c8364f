"""Running one command: how long it takes, what it says, and how much memory its processes hold."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LIMIT_SECONDS = 1200
"""A run that takes longer has hung; the longest row is far below."""

_LOOK_EVERY = 0.01
_SETTLE_SECONDS = 10.0
_SERVER_NAMES = {"sshd", "sshd-session", "sshd-auth"}


class ToolFailed(Exception):
    """A measured command ended with an error, or did not do its work."""


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run to the end; wall-clock seconds."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = _start(command, environment, errors.fileno())
        # Not wait(timeout): it sleeps between looks, up to 50 ms, which would be measured.
        watchdog = threading.Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        process.wait()
        taken = time.perf_counter() - start
        watchdog.cancel()
        _insist_on_success(command, process.returncode, errors.fileno())
    return taken


@dataclass(frozen=True)
class Memory:
    """Peak resident sizes in bytes, of the largest process of each kind; 0 where there is none."""

    client: int
    local_helper: int
    remote_helper: int


@dataclass(frozen=True)
class Watched:
    """What was seen of one run that was not timed."""

    memory: Memory
    output: str


def watch(command: Sequence[str], environment: Mapping[str, str], server: int) -> Watched:
    """Run to the end, looking at the processes below the command and below ``server``.

    The kernel keeps each process' peak, so all that is missed is what one grew by in its last
    hundredth of a second.
    """
    client = local = remote = 0
    deadline = time.monotonic() + LIMIT_SECONDS
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        process = _start(command, environment, errors.fileno(), output.fileno())
        while process.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
            client = max(client, _peak(process.pid))
            local = max([local, *map(_peak, _descendants(process.pid, {"ssh"}))])
            remote = max([remote, *map(_peak, _descendants(server, _SERVER_NAMES))])
            time.sleep(_LOOK_EVERY)
        _insist_on_success(command, process.returncode, errors.fileno())
        output.seek(0)
        said = output.read().decode(errors="replace")
    return Watched(Memory(client, local, remote), said)


def settle(server: int) -> None:
    """Return when nothing that an earlier command left runs below ``server`` any more."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while _descendants(server, set()) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)


def _start(
    command: Sequence[str],
    environment: Mapping[str, str],
    errors: int,
    output: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )


def _insist_on_success(command: Sequence[str], code: int, errors: int) -> None:
    if code != 0:
        said = os.pread(errors, 4000, 0).decode(errors="replace").strip()
        raise ToolFailed(f"{' '.join(command)}\nended with {code}: {said or 'it said nothing'}")


def _peak(process_id: int) -> int:
    for line in _lines(f"/proc/{process_id}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _descendants(process_id: int, but_not: set[str]) -> list[int]:
    """All processes below ``process_id``, those of the given names left out."""
    found = []
    todo = [process_id]
    while todo:
        parent = todo.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            for line in _lines(f"/proc/{parent}/task/{thread}/children"):
                todo.extend(map(int, line.split()))
        if parent != process_id and not but_not.intersection(_lines(f"/proc/{parent}/comm")):
            found.append(parent)
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path) as source:
            return source.read().splitlines()
    except OSError:  # The process is gone.
        return []
