"""What an interrupted run left in staging: hashed, offered to the source, and taken up again."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.names import shown
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.copying import read_into
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.mounts import Stagings
from syncron_lib.fs.staging import Leftover, Staging
from syncron_lib.protocol.messages import Arrived

_OFFERED = 4 << 20
"""Bytes of the message that offers: with as many of a request for content it fits into a frame."""
_ARRIVED = 48
"""Bytes of one offer beside its path."""


class Arrivals:
    """Staged files by what they hold, whatever they are called by now."""

    def __init__(self, stagings: Stagings, algorithm: digest.Algorithm) -> None:
        self._stagings = stagings
        self._algorithm = algorithm
        self._found: dict[tuple[int, bytes], list[tuple[Staging, Leftover]]] = {}
        """By length and digest."""

    def offer(self, limit: int = _OFFERED) -> list[Arrived]:
        """Find and hash what there is, the largest files first and no more than ``limit`` bytes
        can tell of; the rest will be sent again."""
        offered = []
        found = sorted(self._stagings.leftovers(), key=lambda item: item[1].size, reverse=True)
        for staging, left in found:
            limit -= len(left.path) + _ARRIVED
            if limit < 0:
                break
            with contextlib.suppress(OSError):
                fd = self._open(staging, left, os.O_RDONLY)
                try:
                    hasher = self._algorithm.new()
                    length = read_into(hasher, fd)
                finally:
                    os.close(fd)
                if length:
                    value = hasher.digest()[: digest.SIZE]
                    self._found.setdefault((length, value), []).append((staging, left))
                    offered.append(Arrived(left.path, left.size, left.mtime_ns, length, value))
        return offered

    def _open(self, staging: Staging, left: Leftover, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        if not left.directory:
            return os.open(left.name, flags, dir_fd=staging.fd)
        directory = os.open(left.directory, OPEN_DIRECTORY, dir_fd=staging.fd)
        try:
            return os.open(left.name, flags, dir_fd=directory)
        finally:
            os.close(directory)

    def open(self, size: int, value: bytes) -> Optional[int]:
        """Open a file with this content, to be copied; None where there is no such file."""
        places = self._found.get((size, value))
        return self._open(*places[-1], os.O_RDONLY) if places else None

    def take(self, size: int, value: bytes, directory: int, name: bytes) -> Optional[int]:
        """Move a file with this content to ``name`` in ``directory``; its descriptor, for
        reading, or None where there is no such file that a rename leads there from."""
        places = self._found.get((size, value))
        if not places:
            return None
        staging, left = places.pop()
        source = staging.fd
        fd = self._open(staging, left, os.O_RDONLY)
        try:
            if left.directory:
                source = os.open(left.directory, OPEN_DIRECTORY, dir_fd=staging.fd)
            try:
                if _is_there(name, directory):  # a file system may take another name for it
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                os.rename(left.name, name, src_dir_fd=source, dst_dir_fd=directory)
            finally:
                if left.directory:
                    os.close(source)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError) and error.errno == errno.EXDEV:
                places.append((staging, left))
                return None
            raise
        return fd

    def go_on(
        self, path: bytes, length: int, value: bytes, hasher: digest.Hasher
    ) -> tuple[Staging, bytes, int]:
        """Take up a large file of which ``length`` bytes with the digest ``value`` are here:
        (staging, name in it, descriptor at its end). They go into ``hasher``."""
        places = [each for each in self._found.get((length, value), ()) if not each[1].directory]
        if not places:
            raise PeerViolation(f"The other side goes on with {shown(path)}, which is not here.")
        staging, left = places[0]
        self._found[length, value].remove(places[0])
        fd = self._open(staging, left, os.O_RDWR)
        try:
            read_into(hasher, fd)
        except BaseException:
            os.close(fd)
            raise
        return staging, left.name, fd


def _is_there(name: bytes, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
