"""``--watch``: stay, and bring over what changes; where there is no systemd to start runs.

The source is watched by watchfiles. A burst is one hot run over the directories in it; what may
have been too much for the kernel to tell, or failed, makes the next run a full one, and so does the
time since the last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from syncron_lib.cli.signals import Signals
from syncron_lib.core.location import Local, Location
from syncron_lib.errors import Exit, SyncronError, UsageError
from syncron_lib.fs.stateplace import state_place

DEFAULT_RESCAN = 3600.0
"""Seconds between two full runs."""

_DEBOUNCE, _STEP = 1600, 50
"""Milliseconds: how long a burst may be at the most, and what silence ends it."""
_TICK = 500
"""Milliseconds after which the clock is looked at."""
_OVERFLOW = 2000
"""Changes in one burst; more may have been too many for the kernel's queue, which drops some."""
_QUEUE, _EVENTS = "/proc/sys/fs/inotify/max_queued_events", 8
"""How long that queue is, and how many events in it one change may be at the most. watchfiles does
not tell that some were dropped."""
_AGAIN, _SOON = 60.0, 1.0
"""Seconds after which a run that failed is tried again, as a full one; the second where files
changed while they were read."""

Run = Callable[[tuple[bytes, ...]], int]
"""Runs over the directories given; over everything if there are none. The exit status."""


class Watch:
    """Watches one source, and runs."""

    def __init__(self, source: Location, rescan: float, environ: Mapping[str, str]) -> None:
        """Raises `UsageError` where it cannot be watched."""
        if not isinstance(source, Local):
            raise UsageError("--watch is for a SRC on this machine; have it run there.")
        self._top = os.path.realpath(source.path)
        if not os.path.isdir(self._top):
            raise UsageError(f"--watch is for a directory, and {source.shown()} is none.")
        self._rescan = rescan
        self._most = _most()
        own = state_place(environ)
        # Each run writes there: it would be the reason for the next.
        self._own = None if own is None else os.fsencode(os.path.realpath(own))

    def run(self, run: Run, signals: Signals) -> int:
        """Until a signal ends it; the exit status of the last run."""
        with _changes(self._top, signals) as bursts:
            status = run(())
            due = self._due(status)
            for burst in bursts:
                if _is_signal(status):
                    break
                directories = self._directories(burst)
                if directories is None or time.monotonic() >= due:
                    status = run(())
                    due = self._due(status)
                elif directories and status == Exit.OK:
                    # After one that failed the next is a full one, and knows of this too.
                    status = run(tuple(directories))
                    due = min(due, self._due(status))
        if signals.raised is not None and not _is_signal(status):
            raise signals.raised  # it came between two runs
        return status

    def _due(self, status: int) -> float:
        """When everything is to be looked at again."""
        wait = _AGAIN
        if status == Exit.OK:
            wait = self._rescan
        elif status in (Exit.PARTIAL, Exit.VANISHED):
            wait = _SOON
        return time.monotonic() + min(wait, self._rescan)

    def _directories(self, burst: Iterable[str]) -> list[bytes] | None:
        """The directories to look at; None for all."""
        changed = list(burst)
        if len(changed) > self._most:
            return None
        found: set[bytes] = set()
        for text in changed:
            if "\N{REPLACEMENT CHARACTER}" in text:  # a name that is no UTF-8 is told as another
                return None
            path = os.fsencode(text)
            if self._own is not None and (path + b"/").startswith(self._own + b"/"):
                continue
            below = os.path.relpath(path, self._top)
            if below.startswith(b"../"):
                continue
            # It may be a directory whose attributes changed; and what is above it may be new.
            while below not in (b"", b"."):
                found.add(below)
                below = os.path.dirname(below)
            found.add(b"")
        return sorted(found)


@contextmanager
def _changes(top: bytes, signals: Signals) -> Iterator[Iterator[set[str]]]:
    """Bursts of changed paths below ``top``, from now on; an empty one now and then."""
    try:
        from watchfiles._rust_notify import RustNotify
    except ImportError as error:
        raise UsageError(
            "--watch needs watchfiles, which is not installed: pip install 'syncron[watch]'."
        ) from error
    try:
        notify = RustNotify([os.fsdecode(top)], False, False, 300, True, True)
    except OSError as error:
        raise SyncronError(
            f"The source cannot be watched: {error}. Where the limit of watches is reached, raise"
            " fs.inotify.max_user_watches, or run --hot from a timer."
        ) from error

    def bursts() -> Iterator[set[str]]:
        while signals.raised is None:
            found = notify.watch(_DEBOUNCE, _STEP, _TICK, None)
            if found == "signal" or signals.raised is not None:
                return
            yield set() if isinstance(found, str) else {path for _, path in found}

    try:
        yield bursts()
    finally:
        notify.close()


def _most() -> int:
    """Changes in one burst that the kernel's queue has surely held."""
    try:
        with open(_QUEUE, encoding="ascii") as file:
            return min(_OVERFLOW, int(file.read()) // _EVENTS)
    except (OSError, ValueError):  # no Linux, or no /proc
        return _OVERFLOW


def _is_signal(status: int) -> bool:
    return status > 128 and status != Exit.SSH
