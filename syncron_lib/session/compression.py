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

_AUTO_LEVELS = {Method.ZSTD: (1, 3, 9, 12), Method.ZLIB: (1, 4, 6, 9)}
"""Where it must pay by itself: the first unless the link is so slow that the ends have time for
more. Each takes at most five times as long as the one before it."""
_LEVEL = 3
"""Where it was asked for; what zstd calls its default."""


class Chosen(NamedTuple):
    """``levels``: the first one to begin with, and those that may be gone up to. ``warning``: what
    could not be done as it was asked for, as a sentence."""

    method: Method
    levels: Sequence[int]
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
        return Chosen(Method.NONE, (0,), False)
    warning = ""
    if wish in BY_NAME and wish not in common:
        lacks = "source" if wish not in source else "destination"
        instead = f"{common[0]} is used instead" if common else "nothing is compressed"
        warning = f"The {lacks} cannot compress with {wish}: {instead}."
    if not common:
        return Chosen(Method.NONE, (0,), False, warning)
    method = BY_NAME[wish if wish in common else common[0]]
    if adaptive and not options.compress_level:
        return Chosen(method, _AUTO_LEVELS[method], True, warning)
    level = min(options.compress_level or _LEVEL, MAX_LEVEL[method])
    return Chosen(method, (level,), adaptive, warning)


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
    faster of the two stays; what was tried in vain is not tried again soon. Where both ends wait
    for the link nearly all of their time, they compress harder, step by step, and back again.
    """

    _BUSY = 0.6
    """Share of its time that an end spends on its packs when the link is not what is slow."""
    _IDLE = 0.12
    """Share below which a level that takes five times as long leaves the link what is slow."""
    _WINDOW = 0.1
    """Seconds over which a rate is measured."""
    _GAIN = 1.05
    """How much faster the other way must be to be stayed with."""
    _HOLD = 1.0
    """Seconds until the other way is tried again; doubled each time in vain."""
    _LONGEST_HOLD = 60.0

    def __init__(self, chosen: Chosen, clock: Callable[[], float] = time.monotonic) -> None:
        self._plain = Next()
        self._method = chosen.method
        self._levels = chosen.levels
        self._step = 0
        self._adaptive = chosen.adaptive
        self._clock = clock
        self._compressing = True
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
        if not self._compressing:
            return self._plain
        return Next(self._method, self._levels[self._step])

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
        load = max(window.source_busy, window.destination_busy) / elapsed
        busy, idle = load > self._BUSY, load < self._IDLE
        if self._tried_against:
            against, self._tried_against = self._tried_against, 0.0
            if rate < against * self._GAIN:
                self._hold = min(2 * self._hold, self._LONGEST_HOLD)
                self._change(not self._compressing, 0)
            else:
                self._hold = self._HOLD
            self._held_until = now + self._hold
        elif self._compressing and not window.shrunk:
            pass  # it goes plain in either way: there is nothing to try
        elif self._compressing and idle and self._step + 1 < len(self._levels):
            self._change(True, self._step + 1)
        elif self._compressing and busy and self._step:
            self._change(True, self._step - 1)
        elif busy is self._compressing and now >= self._held_until:
            self._tried_against = rate
            self._change(not self._compressing, 0)
        self._window = _Window()

    def _change(self, compressing: bool, step: int) -> None:
        self._compressing, self._step = compressing, step
        self._turn += 1
