"""A large file on its way in: pieces in order into one temporary, checked as a whole."""

from __future__ import annotations

import os
from typing import NamedTuple

from syncron_lib.core import digest
from syncron_lib.core.names import shown, split
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.arrivals import Arrivals
from syncron_lib.fs.mounts import Stagings
from syncron_lib.fs.staging import CREATE_FILE, Staging
from syncron_lib.protocol.pack import Piece


class LargeFile(NamedTuple):
    """One that is arriving. ``name``: its temporary in ``staging``."""

    path: bytes
    staging: Staging
    name: bytes
    fd: int
    size: int
    hasher: digest.Hasher

    def write(self, piece: Piece) -> None:
        """Take the next piece. Raises OSError."""
        if self.path != piece.path or self.size != piece.size:
            raise PeerViolation("The other side mixed pieces of two files.")
        if os.lseek(self.fd, 0, os.SEEK_CUR) != piece.offset:
            raise PeerViolation(f"The other side sent a piece of {shown(self.path)} out of place.")
        write_all(self.fd, memoryview(piece.body))
        self.hasher.update(piece.body)

    def digest(self) -> bytes:
        """Digest of all that is here."""
        return self.hasher.digest()[: digest.SIZE]


def begin(
    piece: Piece, stagings: Stagings, arrivals: Arrivals, algorithm: digest.Algorithm
) -> LargeFile:
    """Begin a file with its first piece, or go on where an interrupted run was."""
    hasher = algorithm.new()
    if piece.offset:
        staging, name, fd = arrivals.go_on(piece.path, piece.offset, piece.digest, hasher)
    else:
        staging = stagings.beside(split(piece.path)[0])
        name = staging.name_for_large(piece.path, piece.size, piece.attributes.mtime_ns)
        fd = os.open(name, CREATE_FILE, 0o600, dir_fd=staging.fd)
    return LargeFile(piece.path, staging, name, fd, piece.size, hasher)


def write_all(fd: int, data: memoryview) -> None:
    """Write all of ``data`` at the descriptor's place."""
    count = os.write(fd, data)
    while count < len(data):
        count += os.write(fd, data[count:])
