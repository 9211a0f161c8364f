"""Entries that wait for their names: until they are on the disk (``--fsync``), many at a time; or
until all else has come (``--delay-updates``).

One call writes a whole file system through. Waiting for each file instead costs as much a file as
this costs a pack: the disk's time to make sure of one write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Optional

from syncron_lib.fs.staging import Staging
from syncron_lib.record import NamedTuple

_MOST = 200
"""Entries that wait at most: a new directory holds a descriptor."""


class _Entry(NamedTuple):
    """One that is whole in ``staging``. ``publish`` gives it its name; ``discard`` removes it.
    Both may raise OSError."""

    path: bytes
    staging: Staging
    publish: Callable[[], None]
    discard: Callable[[], None]


class Waiting:
    """Entries that get their names later, in the order in which they came."""

    def __init__(self, durable: bool = True) -> None:
        """``durable``: they must be on the disk before."""
        self._durable = durable
        self._entries: list[_Entry] = []

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def is_full(self) -> bool:
        """Whether it is time to `release` them."""
        return len(self._entries) >= _MOST

    def add(
        self,
        path: bytes,
        staging: Staging,
        publish: Callable[[], None],
        discard: Callable[[], None],
    ) -> None:
        """One more."""
        self._entries.append(_Entry(path, staging, publish, discard))

    def release(self, failed: Callable[[bytes, OSError], None]) -> None:
        """Write them through and publish them; ``failed`` is told of each that could not be, and
        may raise. What the disk refused is not tried again: a second call would only hear that
        nothing is left to be written."""
        entries, self._entries = self._entries, []
        refused: dict[Staging, Optional[OSError]] = {}
        for position, (path, staging, publish, discard) in enumerate(entries):
            try:
                if self._durable and staging not in refused:
                    refused[staging] = _refusal(staging.fd)
                error = refused.get(staging)
                if error is not None:
                    discard()
                    raise error
                publish()
            except OSError as error:
                try:
                    failed(path, error)
                except BaseException:
                    self._entries = entries[position + 1 :]
                    raise

    def clear(self) -> None:
        """Let go of them."""
        entries, self._entries = self._entries, []
        for entry in entries:
            entry.discard()


def _refusal(fd: int) -> Optional[OSError]:
    try:
        write_through((fd,))
    except OSError as error:
        return error
    return None


def write_through(fds: Iterable[int]) -> None:
    """Write all of the file systems through that these descriptors are on. Raises OSError."""
    # Late: only these runs need it.
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # not Linux
        os.sync()
        return
    for fd in fds:
        if syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
