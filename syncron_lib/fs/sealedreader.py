"""A file's ciphertext as it is read, in flat memory."""

from __future__ import annotations

import hashlib
import os

from syncron_lib.core.sealing import CHUNK
from syncron_lib.fs.hashing import BLOCK
from syncron_lib.secure.sealed import Sealer


class SealedReader:
    """What `fs.view.Reader` promises, of one file open at ``fd``. ``pd``: its SHA-256, as
    ``sealer`` took it."""

    def __init__(self, fd: int, sealer: Sealer, pd: bytes) -> None:
        self._fd = fd
        self._sealer = sealer
        self._pd = pd
        self.size = sealer.size
        self._plain = bytearray(CHUNK)
        self.rewind()

    def rewind(self) -> None:
        """Begin again."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._again = hashlib.sha256()
        self._next = 0
        self._ready = memoryview(self._sealer.prefix)

    def read(self, space: memoryview) -> int:
        """Fill the beginning of ``space``."""
        filled = 0
        while filled < len(space):
            if not self._ready:
                if self._next == self._sealer.chunks:
                    break
                self._ready = memoryview(self._chunk())
            part = self._ready[: len(space) - filled]
            space[filled : filled + len(part)] = part
            filled += len(part)
            self._ready = self._ready[len(part) :]
        return filled

    def _chunk(self) -> bytes:
        index = self._next
        self._next += 1
        last = self._next == self._sealer.chunks
        space = memoryview(self._plain)[: self._sealer.last if last else CHUNK]
        filled = 0
        while filled < len(space):
            count = os.readv(self._fd, (space[filled:],))
            if not count:
                break  # it is shorter than it was; its hash tells
            filled += count
        self._again.update(space[:filled])
        return self._sealer.chunk(index, space)

    def is_true(self) -> bool:
        """Whether what was read is what was hashed."""
        return self._again.digest() == self._pd and not os.read(self._fd, 1)


def hashed(fd: int) -> tuple[bytes, int]:
    """SHA-256 and size of a file, which is left at its beginning."""
    of = hashlib.sha256()
    size = 0
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    while count := os.readv(fd, (buffer,)):
        of.update(view[:count])
        size += count
    os.lseek(fd, 0, os.SEEK_SET)
    return of.digest(), size
