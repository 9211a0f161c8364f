"""Writing beside reading: what was just read goes to the new file while the next is read."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import Optional

from syncron_lib.protocol.pack import Buffer

BLOCK = 1 << 20
"""Bytes copied at once."""
_BUFFERS = 3


class WriteBehind:
    """A thread that writes blocks to one file, in the order in which they are given.

    In order, so that a file whose writer is killed is a beginning of what it was to be.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        self._todo: SimpleQueue[Optional[tuple[bytearray, int, int]]] = SimpleQueue()
        self._error: Optional[OSError] = None
        for _ in range(_BUFFERS):
            self._free.put(bytearray(BLOCK))
        self._thread = threading.Thread(target=self._work, name="write", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            todo = self._todo.get()
            if todo is None:
                return
            buffer, count, place = todo
            if self._error is None:
                try:
                    write_at(self._fd, memoryview(buffer)[:count], place)
                except OSError as error:
                    self._error = error
            self._free.put(buffer)

    def buffer(self) -> bytearray:
        """A buffer to be filled and given to `write`. Raises what an earlier write raised."""
        buffer = self._free.get()
        if self._error is not None:
            self._free.put(buffer)
            raise self._error
        return buffer

    def write(self, buffer: bytearray, count: int, place: int) -> None:
        """Have the first ``count`` bytes of ``buffer`` written at ``place``."""
        self._todo.put((buffer, count, place))

    def unused(self, buffer: bytearray) -> None:
        """Give back what was not filled."""
        self._free.put(buffer)

    def drain(self) -> None:
        """Wait until all is written. Raises what a write raised."""
        for buffer in [self._free.get() for _ in range(_BUFFERS)]:
            self._free.put(buffer)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread; the descriptor may be closed after that."""
        self._todo.put(None)
        self._thread.join()


def write_at(fd: int, data: Buffer, place: int) -> None:
    """Write all of ``data`` at ``place``."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, place)
        view = view[count:]
        place += count


def close_beside(fd: int) -> None:
    """Close what may be the last hold of a large file whose name is gone: its file system then
    frees every block, which takes a third as long as writing them did."""
    threading.Thread(target=os.close, args=(fd,), name="close", daemon=True).start()
