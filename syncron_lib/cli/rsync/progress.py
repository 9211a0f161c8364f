"""How far a run is, in the line that rsync has for a whole run (``--info=progress2``)."""

from __future__ import annotations

import time

from syncron_lib.cli.output import Output
from syncron_lib.cli.progress import Clock
from syncron_lib.core.report import Phase

_REDRAW = 0.2
"""Seconds between two redraws."""


class RsyncProgress:
    """Draws it on standard output, where rsync does; what is written between takes its place."""

    def __init__(self, output: Output, *, clock: Clock = time.monotonic) -> None:
        self._output = output
        self._clock = clock
        self._start = self._drawn = clock()
        self._done = self._total = 0
        self._width = 0
        self._held = False

    def phase(self, phase: Phase) -> None:
        """Only bringing over is told of."""
        if phase is Phase.TRANSFER:
            self._start = self._drawn = self._clock()

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """Redraw, if the last time is long enough ago."""
        if phase is not Phase.TRANSFER:
            return
        self._done, self._total = done, total or 0
        now = self._clock()
        if now - self._drawn >= _REDRAW and not self._held:
            self._drawn = now
            self._draw(now)

    def hide(self) -> None:
        """Wipe the line."""
        if self._width:
            self._output.write(f"\r{' ' * self._width}\r")
            self._width = 0

    def hold(self, held: bool) -> None:
        """Draw nothing while ``held``."""
        self._held = held
        self.hide()

    def close(self) -> None:
        """The last state stays, if anything was brought over."""
        if self._done and not self._held:
            self._draw(self._clock())
            self._output.write("\n")
            self._width = self._done = 0
        self._held = True

    def _draw(self, now: float) -> None:
        done, total = self._done, max(self._done, self._total)
        seconds = max(now - self._start, 0.001)
        rate = done / seconds / 1000
        units: tuple[str, ...] = ("kB/s", "MB/s", "GB/s")
        while rate > 1000 and units[1:]:
            rate, units = rate / 1000, units[1:]
        left = int(seconds if done == total else (total - done) * seconds / max(done, 1))
        percent = 100 * done // total if total else 100
        clock = f"{left // 3600:4d}:{left // 60 % 60:02d}:{left % 60:02d}"
        line = f"{done:>15,} {percent:3d}% {rate:7.2f}{units[0]} {clock}"
        self._width = len(line)
        self._output.write(f"\r{line}")
        self._output.flush()
