"""What a run is busy with: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Protocol

from syncron_lib.cli.output import Output
from syncron_lib.cli.wording import duration, entries, in_units
from syncron_lib.core.report import Phase

if TYPE_CHECKING:
    from tqdm import tqdm

_PATIENCE = 0.4
"""Seconds without a bar: shorter runs neither flicker nor pay for importing tqdm."""

_REDRAW = 0.1
"""Seconds between two redraws of a bar."""

_LINE_EVERY = 10.0
"""Seconds between two lines in a log."""

Clock = Callable[[], float]


class Progress(Protocol):
    """Shows how far a run is."""

    def phase(self, phase: Phase) -> None:
        """A phase begins."""

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """So much is done of a phase; see the session's observer."""

    def hide(self) -> None:
        """Leave the line free, because something else is about to be written."""

    def hold(self, held: bool) -> None:
        """Keep the line free until told otherwise, because a person is being asked something."""

    def close(self) -> None:
        """Nothing more will come; leave no trace."""


class NoProgress:
    """Shows nothing."""

    def phase(self, phase: Phase) -> None:
        """Nothing."""

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """Nothing."""

    def hide(self) -> None:
        """Nothing."""

    def hold(self, held: bool) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class BarProgress:
    """tqdm on a terminal."""

    def __init__(
        self, output: Output, *, announce_connecting: bool, clock: Clock = time.monotonic
    ) -> None:
        """``announce_connecting``: not with an external ssh, which may ask on the same line."""
        self._output = output
        self._announce_connecting = announce_connecting
        self._clock = clock
        self._start = clock()
        self._drawn = 0.0
        self._phase: Phase | None = None
        self._bar: tqdm[NoReturn] | None = None
        self._plain = ""
        """Text that stands on the line without a bar."""
        self._visible = False
        self._held = False

    def phase(self, phase: Phase) -> None:
        """Show the phase's name; its bar comes with its first number."""
        if phase is self._phase:
            return
        self._end_bar()
        self._phase = phase
        if phase is Phase.CONNECT and self._announce_connecting and not self._held:
            # At once, and without the price of a bar: this can be a long wait in silence.
            self._plain = f"{phase.value.capitalize()} ..."
            self._output.write(self._plain)
            self._output.flush()
        elif self._is_due():
            self._draw(phase, 0, None, 0)

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """Redraw, if the last time is long enough ago."""
        if phase is not self._phase:
            self._end_bar()
            self._phase = phase
        if self._is_due():
            self._draw(phase, done, total, size)

    def hide(self) -> None:
        """Wipe the line; the next redraw brings it back."""
        if self._plain:
            self._output.write(f"\r{' ' * len(self._plain)}\r")
            self._output.flush()
            self._plain = ""
        if self._bar is not None and self._visible:
            self._bar.clear()
            self._visible = False

    def hold(self, held: bool) -> None:
        """Wipe the line, and draw nothing while ``held``."""
        self._held = held
        self.hide()

    def close(self) -> None:
        """Wipe the line for good: a late word from another thread draws nothing."""
        self.hold(True)
        self._end_bar()

    def _end_bar(self) -> None:
        self.hide()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _is_due(self) -> bool:
        now = self._clock()
        patient = now - self._start >= _PATIENCE and now - self._drawn >= _REDRAW
        return patient and not self._held

    def _draw(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        if self._output.stream is None:
            return
        self._drawn = self._clock()
        try:
            self._update(phase, done, total, size)
        except OSError:  # the terminal has gone: nobody to show anything to
            self._bar = None

    def _update(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        counts_bytes = phase in (Phase.HASH, Phase.TRANSFER)
        if self._bar is None:
            self._bar = self._new_bar(phase, counts_bytes, done)
        if counts_bytes:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
        else:
            text = _described(phase, done, total, size)
            self._bar.set_description_str(text, refresh=False)
            self._bar.refresh()
        self._visible = True

    def _new_bar(self, phase: Phase, counts_bytes: bool, done: int) -> tqdm[NoReturn]:
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())  # its own default imports multiprocessing
        tqdm.monitor_interval = 0  # and a thread that watches for bars that hang
        return tqdm(
            desc=phase.value.capitalize(),
            file=self._output.stream,
            bar_format=None if counts_bytes else "{desc} [{elapsed}]",
            initial=done,
            unit="B",
            unit_scale=True,
            leave=False,
            dynamic_ncols=True,
            mininterval=0,
            miniters=0,
        )


class LineProgress:
    """Plain lines for a log, when ``--progress`` is asked for off a terminal."""

    def __init__(self, output: Output, *, clock: Clock = time.monotonic) -> None:
        self._output = output
        self._clock = clock
        self._start = clock()
        self._said = self._start

    def phase(self, phase: Phase) -> None:
        """One line: a phase begins."""
        self._say(phase.value.capitalize())

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """One line, if the last one is long enough ago."""
        if self._clock() - self._said >= _LINE_EVERY:
            self._say(_described(phase, done, total, size))

    def hide(self) -> None:
        """Nothing: lines stay."""

    def hold(self, held: bool) -> None:
        """Nothing: lines stay."""

    def close(self) -> None:
        """Nothing: lines stay."""

    def _say(self, text: str) -> None:
        self._said = self._clock()
        self._output.write(f"syncron: {duration(self._said - self._start)}: {text}\n")
        self._output.flush()


def _described(phase: Phase, done: int, total: int | None, size: int) -> str:
    name = phase.value.capitalize()
    if phase is Phase.SCAN:
        of = f", {in_units(size)}" if size else ""
        return f"{name}: {entries(done)}{of}" if done else name
    if phase in (Phase.HASH, Phase.TRANSFER):
        of = f" of {in_units(total)}" if total is not None else ""
        return f"{name}: {in_units(done)}{of}" if done or total else name
    of = f" of {total:,}" if total is not None else ""
    return f"{name}: {done:,}{of}" if done else name
