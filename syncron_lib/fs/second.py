"""A second process for a part of one's own work, where the machine has a second processor.

One takes what is to be done from the front and the other from the back, until they meet.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import signal
import struct
from collections.abc import Callable, Iterator
from typing import Any, Optional

_MEETING = struct.Struct("<II")
_TALLY = struct.Struct("<QQ")


class Halves:
    """Pieces of work that are shared, by number, and how far each of the two has come."""

    def __init__(self, count: int) -> None:
        """To be made before the second process is."""
        self._count = count
        self._shared = mmap.mmap(-1, _MEETING.size + _TALLY.size)
        _MEETING.pack_into(self._shared, 0, 0, count)
        self._parent = os.getpid()

    def from_front(self) -> Iterator[int]:
        """What is this process's to do. With no second one, that is all."""
        for index in range(self._count):
            _, back = _MEETING.unpack_from(self._shared, 0)
            if index >= back:
                return
            struct.pack_into("<I", self._shared, 0, index + 1)
            yield index

    def from_back(self) -> Iterator[int]:
        """What is the second process's. Both may take the same piece at the same moment; then
        both do it, no more."""
        for index in reversed(range(self._count)):
            front, _ = _MEETING.unpack_from(self._shared, 0)
            if index < front:
                return
            struct.pack_into("<I", self._shared, 4, index)
            yield index

    def tell(self, count: int, size: int) -> None:
        """In the second process: how much it has done. Does not return where nobody waits for it
        any more."""
        _TALLY.pack_into(self._shared, _MEETING.size, count, size)
        if os.getppid() != self._parent:
            os._exit(1)

    def told(self) -> tuple[int, int]:
        """How much that is."""
        count, size = _TALLY.unpack_from(self._shared, _MEETING.size)
        return count, size


class SecondProcess:
    """A forked process that computes one value."""

    def __init__(self, work: Callable[[], Any]) -> None:
        """``work``: done there, with what this process knows now; its value is plain."""
        self._pid: Optional[int] = None
        self._fd = -1
        read_fd, write_fd = os.pipe()
        try:
            pid = os.fork()
        except OSError:  # too many processes: this one does it all
            os.close(read_fd)
            os.close(write_fd)
            return
        if pid == 0:
            _work(work, write_fd)
        os.close(write_fd)
        self._pid, self._fd = pid, read_fd

    def result(self) -> Any:
        """Wait for the value; None if it did not come to one."""
        if self._pid is None:
            return None
        with os.fdopen(self._fd, "rb") as file:
            self._fd = -1
            data = file.read()
        try:
            return marshal.loads(data)  # noqa: S302  our own fork wrote it
        except (EOFError, ValueError, TypeError):
            return None

    def end(self) -> None:
        """See that the process is gone."""
        if self._pid is not None:
            if self._fd >= 0:
                os.close(self._fd)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None


def _work(work: Callable[[], Any], write_fd: int) -> None:
    """The life of the forked process. Does not return."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        data = memoryview(marshal.dumps(work()))
        while data:
            data = data[os.write(write_fd, data) :]
    finally:
        # Not sys.exit, and no traceback: whatever failed here is done again, and said, there.
        os._exit(0)


def processors() -> int:
    """Processors that this process may use."""
    with contextlib.suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
