"""How one run went: what hooks, pings, metrics and the history are made of."""

from __future__ import annotations

import time
from collections.abc import Callable

from syncron_lib.cli.face import Face, PassingFace
from syncron_lib.cli.wording import failure_line
from syncron_lib.core.report import Failure, Phase, Report
from syncron_lib.record import NamedTuple


class Outcome(NamedTuple):
    """One run that has ended. ``status`` is its exit status, ``message`` what ended it early, or
    what put it off. ``phases``: name and seconds, in order."""

    job: str
    source: str
    destination: str
    began: float
    duration: float
    status: int
    report: Report
    message: str = ""
    put_off: bool = False
    phases: tuple[tuple[str, float], ...] = ()
    lines: tuple[str, ...] = ()
    """The last sentences that told what was amiss."""

    @property
    def result(self) -> str:
        """One word: ``success``, ``failure`` or ``put-off``."""
        return "put-off" if self.put_off else "failure" if self.status else "success"


_LINES = 20
"""Sentences kept; a ping has room for little more."""


class Witness(PassingFace):
    """Another face; remembers how long phases took, and the last that was amiss."""

    def __init__(self, face: Face, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(face)
        self._clock = clock
        self._phases: list[tuple[str, float]] = []
        self._lines: list[str] = []

    def phase(self, phase: Phase) -> None:
        """Noted."""
        self._phases.append((phase.value, self._clock()))
        super().phase(phase)

    def failure(self, failure: Failure) -> None:
        """Noted."""
        self._note(failure_line(failure))
        super().failure(failure)

    def warning(self, text: str) -> None:
        """Noted."""
        self._note(f"warning: {text}")
        super().warning(text)

    def took(self) -> tuple[tuple[str, float], ...]:
        """The phases so far, and their seconds."""
        ends = [*(start for _, start in self._phases[1:]), self._clock()]
        took: dict[str, float] = {}
        for (name, start), end in zip(self._phases, ends):
            took[name] = took.get(name, 0.0) + end - start
        return tuple(took.items())

    def lines(self, *more: str) -> tuple[str, ...]:
        """What was amiss, and ``more`` of it."""
        for line in filter(None, more):
            self._note(line)
        return tuple(self._lines)

    def _note(self, line: str) -> None:
        if len(self._lines) == _LINES:
            del self._lines[0]
        self._lines.append(line)
