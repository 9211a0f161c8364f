"""What an interrupted run left in staging: hashed, offered to the source, and taken up again."""

from __future__ import annotations

import contextlib
import os

from syncron_lib.core import digest
from syncron_lib.core.names import shown
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.hashing import BLOCK
from syncron_lib.fs.staging import Leftover, Staging
from syncron_lib.protocol.messages import Arrived


class Arrivals:
    """Staged files by the path they were meant for."""

    def __init__(self, staging: Staging, algorithm: digest.Algorithm) -> None:
        self._staging = staging
        self._algorithm = algorithm
        self._found: dict[bytes, tuple[Leftover, Arrived]] = {}

    def offer(self) -> list[Arrived]:
        """Find and hash all there is."""
        for left in self._staging.leftovers():
            with contextlib.suppress(OSError):
                fd = self._open(left, os.O_RDONLY)
                try:
                    hasher = self._algorithm.new()
                    length = read_into(hasher, fd)
                finally:
                    os.close(fd)
                if length:
                    value = hasher.digest()[: digest.SIZE]
                    arrived = Arrived(left.path, left.size, left.mtime_ns, length, value)
                    self._found[left.path] = (left, arrived)
        return [arrived for _, arrived in self._found.values()]

    def _open(self, left: Leftover, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        if not left.directory:
            return os.open(left.name, flags, dir_fd=self._staging.fd)
        directory = os.open(left.directory, OPEN_DIRECTORY, dir_fd=self._staging.fd)
        try:
            return os.open(left.name, flags, dir_fd=directory)
        finally:
            os.close(directory)

    def take(self, path: bytes, size: int, value: bytes, directory: int, name: bytes) -> int:
        """Move the whole file that was staged for ``path`` to ``name`` in ``directory``; its
        descriptor, for reading."""
        entry = self._found.pop(path, None)
        if entry is None or (entry[1].length, entry[1].digest) != (size, value):
            raise PeerViolation(
                f"The other side counts on content of {shown(path)} that is not here."
            )
        left = entry[0]
        source = self._staging.fd
        fd = self._open(left, os.O_RDONLY)
        try:
            if left.directory:
                source = os.open(left.directory, OPEN_DIRECTORY, dir_fd=self._staging.fd)
            try:
                os.rename(left.name, name, src_dir_fd=source, dst_dir_fd=directory)
            finally:
                if left.directory:
                    os.close(source)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def go_on(self, path: bytes, length: int, hasher: digest.Hasher) -> tuple[bytes, int]:
        """Take up a large file of which ``length`` bytes are here: (name in staging, descriptor
        at its end). They go into ``hasher``."""
        entry = self._found.pop(path, None)
        if entry is None or entry[1].length != length or entry[0].directory:
            raise PeerViolation(f"The other side goes on with {shown(path)}, which is not here.")
        fd = self._open(entry[0], os.O_RDWR)
        try:
            read_into(hasher, fd)
        except BaseException:
            os.close(fd)
            raise
        return entry[0].name, fd


def read_into(hasher: digest.Hasher, fd: int) -> int:
    """Read ``fd`` to its end; the number of bytes."""
    length = 0
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    while count := os.readv(fd, (buffer,)):
        hasher.update(view[:count])
        length += count
    return length
