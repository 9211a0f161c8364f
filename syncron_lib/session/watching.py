"""Showing what both helpers say about their hashing."""

from __future__ import annotations

from collections.abc import Callable

from syncron_lib.core.report import Phase
from syncron_lib.protocol import messages
from syncron_lib.session.observer import Observer
from syncron_lib.session.opening import Ends


def watch_hashing(
    ends: Ends, observer: Observer, total: Callable[[], int | None]
) -> Callable[[int], None]:
    """Show what both helpers say about hashing as one progress. Returns what shows a number that
    is known from replies."""
    hashed = [0, 0]

    def show(done: int) -> None:
        done = max(done, sum(hashed))
        observer.progress(Phase.HASH, done, total(), done)

    def watch(side: int) -> Callable[[messages.Progress], None]:
        def on_progress(progress: messages.Progress) -> None:
            # A hot run may have to read what it had left unread: that is no hashing.
            if not progress.scanning:
                hashed[side] = progress.size
                show(0)

        return on_progress

    ends.source.on_progress, ends.destination.on_progress = watch(0), watch(1)
    return show
