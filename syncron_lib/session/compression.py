"""When content is compressed on its way, and how: by what was asked for, or by what pays."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncron_lib.core.options import RunOptions
from syncron_lib.protocol.compression import BY_NAME, MAX_LEVEL, Method
from syncron_lib.protocol.messages import Next
from syncron_lib.protocol.pack import Head
from syncron_lib.record import NamedTuple

_AUTO_LEVEL = 1
"""Where it must pay by itself: more takes far longer than it saves."""
_LEVEL = 3
"""Where it was asked for; what zstd calls its default."""


class Chosen(NamedTuple):
    """``warning``: what could not be done as it was asked for, as a sentence."""

    method: Method
    level: int
    adaptive: bool
    warning: str = ""


def choose_way(
    options: RunOptions, source: Sequence[str], destination: Sequence[str], both_here: bool
) -> Chosen:
    """The way of one run. ``source``, ``destination``: what each has said it can do.
    ``both_here``: there is no link that could be slow."""
    wish = options.compress
    adaptive = wish == "auto"
    common = [name for name in BY_NAME if name in source and name in destination]
    if wish == "none" or (adaptive and both_here):
        return Chosen(Method.NONE, 0, False)
    warning = ""
    if wish in BY_NAME and wish not in common:
        lacks = "source" if wish not in source else "destination"
        instead = f"{common[0]} is used instead" if common else "nothing is compressed"
        warning = f"The {lacks} cannot compress with {wish}: {instead}."
    if not common:
        return Chosen(Method.NONE, 0, False, warning)
    method = BY_NAME[wish if wish in common else common[0]]
    level = options.compress_level or (_AUTO_LEVEL if adaptive else _LEVEL)
    return Chosen(method, min(level, MAX_LEVEL[method]), adaptive, warning)


@dataclass
class _Window:
    """What packs that came as they were asked for by now showed since the first of them."""

    began: float | None = None
    content: int = 0
    shrunk: int = 0
    source_busy: float = 0.0
    destination_busy: float = 0.0


class Compression:
    """Decides about each pack before it is asked for.

    Whether a pack shrinks is seen by the source, which tries a sample of each. What is decided here
    is whether compressing pays at all: where the link is what is slow. It begins compressing: on a
    slow link the first megabytes count, and on a fast one a tenth of a second is lost. Where one
    of the two ends is busy most of its time, so that the link is not what is waited for, going
    without is tried for a moment; where neither is, and nothing is compressed, compressing is. The
    faster of the two stays; what was tried in vain is not tried again soon.
    """

    _BUSY = 0.6
    """Share of its time that an end spends on its packs when the link is not what is slow."""
    _WINDOW = 0.1
    """Seconds over which a rate is measured."""
    _GAIN = 1.05
    """How much faster the other way must be to be stayed with."""
    _HOLD = 1.0
    """Seconds until the other way is tried again; doubled each time in vain."""
    _LONGEST_HOLD = 60.0

    def __init__(self, chosen: Chosen, clock: Callable[[], float] = time.monotonic) -> None:
        self._plain = Next()
        self._packed = Next(chosen.method, chosen.level)
        self._adaptive = chosen.adaptive
        self._clock = clock
        self._now = self._packed
        self._turn = 0
        """Counts the changes of mind: packs that were asked for before say nothing about now."""
        self._asked: deque[int] = deque()
        self._under_way: deque[tuple[int, Head]] = deque()
        self._window = _Window()
        self._tried_against = 0.0
        """The rate of the other way, while this one is being tried."""
        self._hold = self._HOLD
        self._held_until = 0.0

    def next(self) -> Next:
        """The request for the next pack."""
        self._asked.append(self._turn)
        return self._now

    def ended(self) -> None:
        """The source has no more; what was asked for beyond that is no pack."""
        self._asked.clear()

    def saw(self, head: Head) -> None:
        """A pack came from the source; it goes on to the destination."""
        self._under_way.append((self._asked.popleft(), head))

    def stored(self, busy: int) -> None:
        """The destination has stored the oldest pack, which took it ``busy`` microseconds."""
        turn, head = self._under_way.popleft()
        if not self._adaptive or turn != self._turn:
            return
        now, window = self._clock(), self._window
        if window.began is None:
            window.began = now
            return
        window.content += head.content
        window.shrunk += head.compression != Method.NONE
        window.source_busy += head.busy / 1e6
        window.destination_busy += busy / 1e6
        elapsed = now - window.began
        if elapsed >= self._WINDOW:
            self._decide(elapsed, now)

    def _decide(self, elapsed: float, now: float) -> None:
        window = self._window
        rate = window.content / elapsed
        busy = max(window.source_busy, window.destination_busy) / elapsed > self._BUSY
        compressing = self._now is self._packed
        if self._tried_against:
            against, self._tried_against = self._tried_against, 0.0
            if rate < against * self._GAIN:
                self._hold = min(2 * self._hold, self._LONGEST_HOLD)
                self._change()
            else:
                self._hold = self._HOLD
            self._held_until = now + self._hold
        # What does not shrink goes plain in either way: there is nothing to try.
        elif busy is compressing and now >= self._held_until and (window.shrunk or not compressing):
            self._tried_against = rate
            self._change()
        self._window = _Window()

    def _change(self) -> None:
        self._now = self._plain if self._now is self._packed else self._packed
        self._turn += 1
