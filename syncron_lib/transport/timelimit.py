"""An end for waits that have none of their own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def abort_after(seconds: float, abort: Callable[[], None]) -> Iterator[threading.Event]:
    """Call ``abort`` if the block takes longer; the event tells that it was called."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        abort()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
