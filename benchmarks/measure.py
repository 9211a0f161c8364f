"""Running one command: how long it takes, what it says, what its processes take."""

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
_SERVER = {"sshd", "sshd-session", "sshd-auth"}
_TICKS = os.sysconf("SC_CLK_TCK")


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


@dataclass
class Load:
    """What the processes of one kind took: the largest one's peak resident size in bytes, and
    CPU seconds of all together. Zero where there are none."""

    peak: int = 0
    cpu: float = 0.0


@dataclass(frozen=True)
class Watched:
    """What was seen of one run that was not timed. ``ssh`` is all that OpenSSH runs at both ends;
    a client that brings its own SSH has it in ``client``."""

    output: str
    client: Load
    local_helper: Load
    remote: Load
    ssh: Load


def watch(command: Sequence[str], environment: Mapping[str, str], server: int) -> Watched:
    """Run to the end, looking at the processes below the command and below ``server``.

    The kernel keeps each process' peak and time, so all that is missed is what one took in its
    last hundredth of a second.
    """
    loads = [Load() for _ in range(4)]
    times: list[dict[int, float]] = [{} for _ in loads]
    deadline = time.monotonic() + LIMIT_SECONDS
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        process = _start(command, environment, errors.fileno(), output.fileno())
        while process.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
            found = [(0, process.pid)]
            found += [(3 if name == "ssh" else 1, each) for each, name in _below(process.pid)]
            found += [(3 if name in _SERVER else 2, each) for each, name in _below(server)]
            for kind, each in found:
                loads[kind].peak = max(loads[kind].peak, _peak(each))
                times[kind][each] = max(times[kind].get(each, 0.0), _cpu(each))
            time.sleep(_LOOK_EVERY)
        _insist_on_success(command, process.returncode, errors.fileno())
        output.seek(0)
        said = output.read().decode(errors="replace")
    for load, taken in zip(loads, times, strict=True):
        load.cpu = round(sum(taken.values()), 3)
    return Watched(said, *loads)


def settle(server: int) -> None:
    """Return when nothing that an earlier command left runs below ``server`` any more."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while _below(server) and time.monotonic() < deadline:
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


def _cpu(process_id: int) -> float:
    for line in _lines(f"/proc/{process_id}/stat"):
        # A name may hold blanks and parentheses; what follows the last one does not.
        fields = line.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _below(process_id: int) -> list[tuple[int, str]]:
    """All processes below ``process_id`` with their names."""
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
        if parent != process_id:
            found.append((parent, "".join(_lines(f"/proc/{parent}/comm"))))
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path) as source:
            return source.read().splitlines()
    except OSError:  # The process is gone.
        return []
