"""How far a run in both directions is: what both sides do counts as one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from syncron_lib.core.report import Phase
from syncron_lib.protocol import messages
from syncron_lib.session.observer import Observer


def watching(observer: Observer) -> list[Callable[[messages.Progress], None]]:
    """For each side, what shows how far both are with scanning and hashing."""
    far: dict[tuple[Phase, int], messages.Progress] = {}

    def watch(side: int, progress: messages.Progress) -> None:
        phase = Phase.SCAN if progress.scanning else Phase.HASH
        far[phase, side] = progress
        both = [far[phase, each] for each in (0, 1) if (phase, each) in far]
        size = sum(each.size for each in both)
        done = sum(each.done for each in both) if phase is Phase.SCAN else size
        observer.progress(phase, done, None, size)

    return [partial(watch, side) for side in (0, 1)]


class Amount:
    """How much of what a run is to transfer is done: in both directions together."""

    def __init__(self, total: int, observer: Observer) -> None:
        self._total = total
        self._observer = observer
        self._before = 0
        """Bytes of the plans that are done."""
        self._said = 0

    def more(self, done: int) -> None:
        """So much is done of the plan that is being carried out."""
        # What changes meanwhile can be more than was planned, and a plan can lose steps.
        self._said = max(self._said, min(self._before + done, self._total))
        self._observer.progress(Phase.TRANSFER, self._said, self._total, self._said)

    def ended(self, size: int) -> None:
        """All of a plan of this size is done."""
        self._before += size
        self.more(0)
