"""Starting the helper on another machine: what comes back, and what it means."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from syncron_lib.core.location import shown_text
from syncron_lib.core.names import shown
from syncron_lib.errors import (
    ConnectionLost,
    Exit,
    HelperNotStarted,
    SshFailed,
    SyncronError,
    TimedOut,
    UncleanShell,
    Unreachable,
)
from syncron_lib.transport.startcommand import Recipe
from syncron_lib.transport.stream import Buffer, ByteStream

if TYPE_CHECKING:
    from syncron_lib.transport.archive import Archive

NOISE_LIMIT = 1 << 16
"""Bytes a shell may print before the marker."""

_LINE_LIMIT = 4096
"""Longest marker line with all its words."""

_NOISE_SHOWN = 120

_STATUS_GRACE = 2.0
"""Seconds to wait for the exit status after the output has ended."""

_WONT_CHANGE = re.compile("permission denied|host key|authentication|bad config", re.IGNORECASE)
"""What an external ssh says where trying again is of no use."""


class RemoteStream(ByteStream, Protocol):
    """A byte stream to a command, and what is known about its end."""

    def exit_status(self, timeout: float) -> int | None: ...

    def stderr_tail(self) -> str: ...


class InstalledFailed(HelperNotStarted):
    """An installed syncron was found and ended before it served: shipping may still work."""


class Pushback:
    """A stream of which some bytes have been read too early."""

    def __init__(self, stream: RemoteStream) -> None:
        self._stream = stream
        self._early = memoryview(b"")
        self.send = stream.send
        self.abort = stream.abort
        self.close = stream.close
        self.exit_status = stream.exit_status
        self.stderr_tail = stream.stderr_tail

    def push_back(self, data: Buffer) -> None:
        self._early = memoryview(bytes(data) + bytes(self._early))

    def receive_into(self, view: memoryview) -> int:
        if not self._early:
            return self._stream.receive_into(view)
        size = min(len(view), len(self._early))
        view[:size] = self._early[:size]
        self._early = self._early[size:]
        return size


class Start:
    """One attempt at starting the helper behind a stream."""

    def __init__(self, stream: Pushback, account: str, recipe: Recipe, marker: str) -> None:
        self._stream = stream
        self._account = account
        self._recipe = recipe
        self._marker = b"syncron-" + marker.encode("ascii") + b" "
        self._noise = b""
        self._has_answered = False
        self._trying_installed = False

    def run(self, build: Callable[[], Archive]) -> str:
        """Bring the command to the point where the helper speaks, and return how that was done:
        ``installed``, ``cached`` or ``shipped``. ``build`` gives what is shipped.

        Raises for every way in which it can fail, with what was seen.
        """
        while True:
            word, _, rest = self._await_marker().partition(b" ")
            self._has_answered = True
            if word == b"started":
                return rest.decode("ascii", "replace")
            if word == b"trying":
                self._trying_installed = True
            elif word == b"send":
                # If it ends meanwhile, what it said about that is still to be read.
                with contextlib.suppress(ConnectionLost):
                    self._stream.send(build().packed())
            elif word == b"no-python":
                raise self._no_python(rest)
            elif word == b"failed":
                raise HelperNotStarted(
                    f"Python on {self._account} cannot run the helper: {shown(rest)}."
                    f"{self._stderr()} --remote-python may name another Python there."
                )
            else:
                raise UncleanShell(
                    f"{self._account} answered with {shown(word[:_NOISE_SHOWN])}, which is not "
                    "a word of starting the helper; is another version of syncron there?"
                )

    def _await_marker(self) -> bytes:
        """The words of the next marker line; what comes before it is noise."""
        data = bytearray()
        buffer = memoryview(bytearray(1 << 16))
        while True:
            at = data.find(self._marker)
            if at >= 0:
                end = data.find(b"\n", at)
                if end >= 0:
                    self._noise += data[:at]
                    self._stream.push_back(data[end + 1 :])
                    return bytes(data[at + len(self._marker) : end]).strip()
            if len(data) - max(at, 0) > (NOISE_LIMIT if at < 0 else _LINE_LIMIT):
                raise UncleanShell(
                    f"The shell of {self._account} is not clean: it printed more than "
                    f"{NOISE_LIMIT >> 10} KiB before the helper could start, beginning with "
                    f"{_quoted(bytes(data))}. Make its start-up files silent where there is no "
                    "terminal."
                )
            try:
                size = self._stream.receive_into(buffer)
            except SyncronError:
                self._noise += data
                raise
            if not size:
                self._noise += data
                raise self._ended()
            data += buffer[:size]

    def overdue(self, seconds: float) -> TimedOut:
        """It has taken too long, and has been aborted for that."""
        late = f"The helper on {self._account} did not start within {seconds:g} s"
        if self._has_answered:
            return TimedOut(
                f"{late}, though the shell there tried to start it: give a slow line or a busy "
                "machine longer with --timeout."
            )
        heard = f"printed {_quoted(self._noise)}" if self._noise.strip() else "said nothing"
        return TimedOut(
            f"{late}; its shell {heard}. See whether a forced command or a start-up file waits "
            "there, or give a busy machine longer with --timeout."
        )

    def _ended(self) -> Exception:
        """Why the command ended without a helper."""
        status = self._stream.exit_status(_STATUS_GRACE)
        stderr = self._stderr()
        if status is None:
            return ConnectionLost(
                f"The connection to {self._account} was lost before the helper started; run the "
                f"same command again.{stderr}"
            )
        if self._trying_installed:
            return self._installed_ended(status, stderr)
        if status == Exit.SSH and not self._noise.strip():
            # What ssh itself ends with; our own client raises before it comes to this.
            kind = SshFailed if _WONT_CHANGE.search(stderr) else Unreachable
            return kind(
                f"The external ssh could not connect to {self._account}, or lost it (status 255)."
                + (stderr or " It did not say why; run it by itself with -v.")
            )
        if status < 0 or status > 128:
            return HelperNotStarted(
                f"The helper on {self._account} was killed{signal_text(status)} before it had "
                "started: see whether memory or time is limited there, and run the same command "
                f"again.{stderr}"
            )
        if self._noise.strip():
            return HelperNotStarted(
                f"{self._account} printed {_quoted(self._noise)} and ended with status {status} "
                "instead of starting the helper: the account may have no login shell, or a "
                f"forced command.{stderr}"
            )
        if status == Exit.NOT_EXECUTABLE:
            return HelperNotStarted(
                f"{self._account} has a shell that may not be executed (status 126): look at the "
                f"account's login shell, or at its key's forced command.{stderr}",
                exit_code=Exit.NOT_EXECUTABLE,
            )
        if status == Exit.NO_PYTHON:
            return HelperNotStarted(
                f"{self._account} found no /bin/sh to start the helper with (status 127): look at "
                f"the account's login shell, or at its key's forced command.{stderr}"
            )
        return HelperNotStarted(
            f"{self._account} ended with status {status} and without a word before the helper "
            f"had started; a forced command, or an account without a login shell?{stderr}"
        )

    def _installed_ended(self, status: int, stderr: str) -> Exception:
        what = self._recipe.remote_syncron or "the installed syncron"
        name = shown_text(what)
        if status == Exit.NOT_EXECUTABLE:
            reason = "may not be executed"
        elif status == Exit.NO_PYTHON:
            reason = "was not found"
        elif status < 0:
            reason = f"was killed{signal_text(status)}"
        else:
            reason = f"ended with status {status}"
        message = f"On {self._account}, {name} {reason} before it served"
        code = Exit.NOT_EXECUTABLE if status == Exit.NOT_EXECUTABLE else Exit.NO_PYTHON
        if self._recipe.remote_syncron is None:
            return InstalledFailed(f"{message}.{stderr}", exit_code=code)
        message += "; name another with --remote-syncron, or leave that out to have one sent."
        return HelperNotStarted(message + stderr, exit_code=code)

    def _no_python(self, rest: bytes) -> HelperNotStarted:
        status, _, seen = rest.partition(b" ")
        found = shown(seen.rstrip(b";")) if seen else ""
        named = self._recipe.remote_python
        if b": Python " in seen:
            return HelperNotStarted(
                f"Python on {self._account} is too old: {found}. The helper needs Python 3.9 or "
                "newer; install it, or name it with --remote-python."
            )
        if named is not None:
            code = Exit.NOT_EXECUTABLE if status == b"126" else Exit.NO_PYTHON
            reason = (
                "may not be executed" if status == b"126" else "is no Python that can be started"
            )
            name = shown_text(named)
            return HelperNotStarted(
                f"On {self._account}, --remote-python {name} {reason} ({found}); name another, or "
                "leave it out to have one looked for.",
                exit_code=code,
            )
        return HelperNotStarted(
            f"There is no Python on {self._account} ({found or 'no python3 in its PATH'}). The "
            "helper needs Python 3.9 or newer; install it, or name it with --remote-python."
        )

    def _stderr(self) -> str:
        tail = self._stream.stderr_tail()
        return f" It said: {tail}" if tail else ""


def signal_text(status: int) -> str:
    """`` by SIGKILL``: the signal that an exit status tells of; -1 is one that nobody named."""
    number = -status if status < 0 else status - 128
    if number > 1 or status > 0:
        try:
            return f" by {signal.Signals(number).name}"
        except ValueError:
            pass
    return " by a signal"


def _quoted(noise: bytes) -> str:
    text = shown(noise.strip()[:_NOISE_SHOWN])
    return f'"{text}"' + (" ..." if len(noise.strip()) > _NOISE_SHOWN else "")
