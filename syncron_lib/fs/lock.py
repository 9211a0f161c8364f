"""One run at a time on a root: flock, which the kernel frees when its holder dies.

The lock is on the root directory itself, so that it holds for every user and needs no write
permission. A destination is held alone; sources may be shared, since reading disturbs nobody.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable

from syncron_lib.core.names import shown
from syncron_lib.errors import Locked

_POLL = 0.1
"""Seconds between two tries: flock cannot wait for a limited time."""


def acquire(
    root_fd: int,
    path: bytes,
    note: bytes,
    holder: str,
    alone: bool,
    wait: float,
    on_wait: Callable[[], None],
) -> None:
    """Lock the root open at ``root_fd``; released when that descriptor is closed.

    ``note``: file in the state directory that says who holds it. ``wait``: seconds; ``on_wait``
    is called again and again meanwhile. Raises `Locked`, naming the holder as far as it can be
    known.
    """
    operation = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(root_fd, operation)
            break
        except OSError as error:
            if error.errno in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
                break  # a network file system without locks on directories
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        if time.monotonic() >= deadline:
            raise Locked(
                f"Another run holds {shown(path)}: {_holder(root_fd, note)};"
                " wait for it to end, or use --lock-wait=SECONDS."
            )
        on_wait()
        time.sleep(_POLL)
    with contextlib.suppress(OSError):
        fd = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(f"process {os.getpid()}, {holder}".encode("utf-8", "replace"))


def _holder(root_fd: int, note: bytes) -> str:
    with contextlib.suppress(OSError), open(note, "rb") as file:
        text = shown(file.read(500))
        if text:
            return text
    pid = _holding_process(root_fd)
    return f"process {pid}" if pid else "a process of another user"


def _holding_process(root_fd: int) -> int | None:
    """Its number by /proc/locks, for a holder whose note we cannot read."""
    st = os.fstat(root_fd)
    place = f"{os.major(st.st_dev):02x}:{os.minor(st.st_dev):02x}:{st.st_ino}"
    with contextlib.suppress(OSError, ValueError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == place:
                return int(fields[4])
    return None
