"""An external command (``-e ssh``) as a byte stream."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from syncron_lib.core.location import Remote, shown_text
from syncron_lib.errors import SshFailed, UsageError
from syncron_lib.transport.pipes import SocketStream
from syncron_lib.transport.stderrtail import StderrTail
from syncron_lib.transport.stream import Buffer

_CLOSE_GRACE = 5.0
"""Seconds the command has to end by itself after its input has ended."""

_ABORTED_GRACE = 0.2
"""The same where its output is of no interest any more."""

_STEP = 0.1
"""Seconds between two looks at whether that has become so."""


def rsh_arguments(
    rsh: str,
    remote: Remote,
    command: str,
    *,
    port: int | None,
    identity: Sequence[str],
    family: str | None = None,
    address: str | None = None,
) -> list[str]:
    """The argument vector, in the order in which rsync gives it to a remote shell."""
    try:
        arguments = shlex.split(rsh)
    except ValueError as error:
        raise UsageError(f"-e {shown_text(rsh)}: {error}.") from error
    if not arguments:
        raise UsageError("-e needs a command, such as -e ssh.")
    for option, letter, value in (
        ("--address", "b", address),
        ("-4 and -6", {"inet": "4", "inet6": "6"}.get(family or "", ""), family),
    ):
        if value and os.path.basename(arguments[0]) != "ssh":
            raise UsageError(
                f"{option}: what -e {shown_text(arguments[0])} makes of it is not known; say it in"
                " that command."
            )
        if value:
            arguments += [f"-{letter}"] + [value] * (letter == "b")
    for file in identity:
        arguments += ["-i", file]
    if remote.user is not None:
        arguments += ["-l", remote.user]
    if port is not None:
        arguments += ["-p", str(port)]
    return [*arguments, remote.host, command]


class ProcessStream:
    """The standard input and output of a child process."""

    def __init__(self, arguments: Sequence[str], notice: Callable[[str], None]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    list(arguments),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                ours.close()
                name = shown_text(arguments[0])
                raise SshFailed(f"-e {name} cannot be run: {error.strerror}.") from error
        self._stream = SocketStream(ours)
        self._aborted = False
        self._stderr = StderrTail(notice)
        self._drain = threading.Thread(
            target=self._read_stderr, daemon=True, name=f"stderr of {arguments[0]}"
        )
        self._drain.start()

    def receive_into(self, view: memoryview) -> int:
        return self._stream.receive_into(view)

    def send(self, data: Buffer) -> None:
        self._stream.send(data)

    def abort(self) -> None:
        self._aborted = True
        self._stream.abort()

    def close(self, at_rest: bool = False) -> None:
        self._stream.close_sending()
        began = time.monotonic()
        # In steps: it may be aborted while it is waited for.
        while self.exit_status(_STEP) is None:
            grace = _ABORTED_GRACE if self._aborted else _CLOSE_GRACE
            if time.monotonic() - began > grace:
                break
        for end in (self._process.terminate, self._process.kill):
            if self._process.poll() is None:
                end()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(1.0)
        self._stream.close()
        self._drain.join(_ABORTED_GRACE if self._aborted else 1.0)

    def exit_status(self, timeout: float) -> int | None:
        """The command's exit status (negative: the signal that ended it), or None if it is
        still running after ``timeout`` seconds."""
        try:
            status: int = self._process.wait(timeout)
            return status
        except subprocess.TimeoutExpired:
            return None

    def stderr_tail(self) -> str:
        """The last lines of its standard error, for a person."""
        if self._process.poll() is not None:
            self._drain.join(1.0)
        return self._stderr.text()

    def _read_stderr(self) -> None:
        pipe = self._process.stderr
        if pipe is None:
            return
        with pipe:
            while data := os.read(pipe.fileno(), 4096):
                self._stderr.feed(data)
        self._stderr.finish()
