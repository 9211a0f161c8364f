"""INT, TERM and HUP: an orderly end the first time, an immediate one when asked again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import NoReturn

from syncron_lib.errors import Halted, Interrupted, OutOfTime

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_SAME_REQUEST = 1.0
"""Seconds in which a second signal is the same request again: a closed terminal sends HUP twice,
from the shell and from the kernel."""


class Signals:
    """While entered, the first of the signals raises `Interrupted` in the main thread.

    A signal that was ignored at the start (``nohup``, a background job) stays ignored.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self.raised: Halted | None = None
        """What was raised, if it was. Code of others may have taken it for an error of its own
        (paramiko does, in a send), so it decides over whatever ends the run after it."""
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        for each in _SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                self._before[each] = signal.signal(each, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def limit(self, seconds: float | None) -> Iterator[None]:
        """While entered, raise `OutOfTime` once in the main thread after so many seconds."""
        if seconds is None:
            yield
            return

        def expire(number: int, frame: FrameType | None) -> None:
            if self.raised is None:
                self.raised = OutOfTime(
                    f"Ended after {seconds:g} s, as --max-duration says; run it again to go on"
                    " where it was."
                )
                raise self.raised

        before = signal.signal(signal.SIGALRM, expire)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def over(self) -> None:
        """The run that was out of time has ended; another may begin."""
        if isinstance(self.raised, OutOfTime):
            self.raised = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            name = signal.Signals(number).name
            self.raised = Interrupted(
                number, f"Ended by {name}; run it again to go on where it was."
            )
            raise self.raised
        if now - self._first > _SAME_REQUEST:
            die_of(number)


def no_keyboard_interrupts() -> None:
    """Before and after the run, Ctrl-C ends the process as it ends any other: at once, and
    without Python's traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def die_of(number: int) -> NoReturn:
    """End as the signal would have ended us, so that a shell sees 128 plus its number."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # only where the signal could not be delivered
