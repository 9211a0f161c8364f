"""A link that knows frames: a program for ``--rsh`` between a client and an installed helper.

    frame_relay.py LOG WHAT DIRECTION FRAME OFFSET SECONDS ... COMMAND

It runs the last argument by ``sh`` and passes bytes on. OFFSET bytes (-1, 0 or 1) from the end of
the FRAME-th frame (from 0; -1: before all) that goes to the ``helper`` or to the ``client``, this
WHAT happens:

- ``pass``: nothing;
- ``cut``: both directions end, as where a connection is closed;
- ``hold``: nothing passes any more, either way, and nothing is closed: the link is down;
- ``slow``: this direction passes one byte every SECONDS.

LOG tells of each whole frame where it went and its kind, and when what happened. Nothing of
syncron's is used here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

HEADER = struct.Struct(">IBI")
OFFSETS = (-1, 0, 1)
"""From the end of a frame."""
_LONGEST = 40.0
"""Seconds after which the link goes, whatever went wrong."""


class Fault(NamedTuple):
    """What happens to the link, and where."""

    what: str = "pass"
    direction: str = "client"
    frame: int = 0
    offset: int = 0
    seconds: float = 0.0


NO_FAULT = Fault()


def option(log: Path, fault: Fault = NO_FAULT) -> str:
    """The option of the command that puts this link between the two."""
    words = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(log), *map(str, fault)]
    return "--rsh=" + " ".join(words)


class Seen(NamedTuple):
    """What a link saw. Times are by the machine's monotonic clock; None: it did not come to it."""

    frames: list[tuple[str, int]]
    """The whole frames that passed: where each went, and its kind."""
    happened: float | None
    helper: int
    """The helper's process."""
    ended: float | None
    """When that ended."""

    @property
    def is_greeted(self) -> bool:
        """Whether the client's first frame came through."""
        return any(direction == "helper" for direction, _ in self.frames)


def seen(log: Path) -> Seen:
    """Read ``log``."""
    frames: list[tuple[str, int]] = []
    told: dict[str, float] = {}
    for line in log.read_text().splitlines():
        word, value = line.split()
        if word in ("client", "helper"):
            frames.append((word, int(value)))
        else:
            told[word] = float(value)
    return Seen(frames, told.get("happened"), int(told["started"]), told.get("ended"))


class _Link:
    """Both directions. What goes to the client begins with a shell's lines."""

    def __init__(self, log: str, fault: Fault) -> None:
        self.fault = fault
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._parent = os.getppid()
        self._flowing = threading.Event()
        self._flowing.set()

    def note(self, word: str, value: float) -> None:
        os.write(self._log, f"{word} {value}\n".encode())

    def is_held(self) -> bool:
        """Whether the link is down and the client does not know."""
        return not self._flowing.is_set() and os.getppid() == self._parent

    def carry(self, direction: str, read_fd: int, write_fd: int) -> None:
        """Pass on all that comes, until it ends or cannot be passed on."""
        try:
            if direction == "client":
                self._pass_lines(read_fd, write_fd)
            self._carry_frames(direction, read_fd, write_fd)
        except OSError:
            pass
        self._flowing.wait()
        os.close(write_fd)

    def _pass_lines(self, read_fd: int, write_fd: int) -> None:
        line = b""
        while not line.endswith(b" started installed\n"):
            line = b"" if line.endswith(b"\n") else line
            byte = os.read(read_fd, 1)
            if not byte:
                return
            line += byte
            os.write(write_fd, byte)

    def _carry_frames(self, direction: str, read_fd: int, write_fd: int) -> None:
        number = start = passed = kind = 0
        end: int | None = None
        limit = 0 if (direction, -1) == (self.fault.direction, self.fault.frame) else None
        fault = self.fault
        place = None if fault.what == "pass" else (fault.direction, fault.frame)
        waiting = b""
        while data := os.read(read_fd, 1 << 18):
            waiting += data
            while True:
                arrived = passed + len(waiting)
                if end is None and start + HEADER.size <= arrived:
                    # A header is passed on whole, so that a frame's end is known before it.
                    size, kind, _ = HEADER.unpack_from(waiting, start - passed)
                    end = start + HEADER.size + size
                    if (direction, number) == place:
                        limit = end + fault.offset
                until = start if end is None else end
                if limit is not None and (limit < until or limit == start + 1):
                    until = limit
                step = min(until, arrived) - passed
                self._write(write_fd, waiting[:step])
                waiting = waiting[step:]
                passed += step
                if passed == limit:
                    self._happen(read_fd, write_fd, waiting)
                if passed != end:
                    break
                self.note(direction, kind)
                number, start, end = number + 1, end, None

    def _write(self, write_fd: int, data: bytes) -> None:
        while data:
            self._flowing.wait()
            data = data[os.write(write_fd, data) :]

    def _happen(self, read_fd: int, write_fd: int, rest: bytes) -> None:
        self.note("happened", time.monotonic())
        if self.fault.what == "cut":
            os._exit(255)
        if self.fault.what == "hold":
            self._flowing.clear()
            self._flowing.wait()
        while rest:
            for byte in rest:
                time.sleep(self.fault.seconds)
                if os.getppid() != self._parent:  # the client ended its connection
                    os._exit(255)
                self._write(write_fd, bytes((byte,)))
            rest = os.read(read_fd, 1)


def main(words: list[str]) -> None:
    log, what, direction, frame, offset, seconds = words[:6]
    # Ending the program that the client knows does not end a link that is down: the helper must
    # find out by itself.
    if os.fork():
        signal.signal(signal.SIGTERM, lambda *_: os._exit(255))
        status = os.waitstatus_to_exitcode(os.wait()[1])
        os._exit(status if status >= 0 else 255)
    link = _Link(log, Fault(what, direction, int(frame), int(offset), float(seconds)))
    os.setsid()
    helper = subprocess.Popen(
        ["sh", "-c", words[-1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    link.note("started", helper.pid)
    assert helper.stdin is not None and helper.stdout is not None
    both = (("helper", 0, helper.stdin.fileno()), ("client", helper.stdout.fileno(), 1))
    threads = [threading.Thread(target=link.carry, args=one, daemon=True) for one in both]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _LONGEST
    with contextlib.suppress(subprocess.TimeoutExpired):
        helper.wait(_LONGEST)
        link.note("ended", time.monotonic())
        threads[1].join(max(0.0, min(1.0, deadline - time.monotonic())))
    while link.is_held() and time.monotonic() < deadline:
        time.sleep(0.01)
    os._exit(helper.returncode or 0)


if __name__ == "__main__":
    main(sys.argv[1:])
