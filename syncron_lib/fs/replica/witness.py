"""What the machine remembers of a replica that lives in one of its directories.

The replica's own memory goes where its root goes: into backups, and with copies of the root. A
replica that comes back from a backup, or that is there twice, must not count its ticks as the same
one. So the machine keeps where it was and how far it had counted; what does not fit is another
replica, with the same records and the same knowledge.
"""

from __future__ import annotations

import contextlib
import os
from typing import Optional

from syncron_lib.core.names import shown
from syncron_lib.errors import StateUnusable
from syncron_lib.record import NamedTuple


class Witness(NamedTuple):
    """``counter`` and ``nonce``: of the last tick. ``place``: device and inode of the replica's
    file."""

    replica: bytes
    counter: int
    nonce: bytes
    place: tuple[int, int]

    def pack(self) -> bytes:
        """One line."""
        fields = (self.replica.hex(), self.counter, self.nonce.hex() or "-", *self.place)
        return " ".join(map(str, fields)).encode() + b"\n"


def read(path: bytes) -> Optional[Witness]:
    """What is kept at ``path``; None where that is nothing, or nothing that was written there."""
    try:
        with open(path, "rb") as file:
            replica, counter, nonce, device, inode = file.read(500).split()
    except (OSError, ValueError):
        return None
    try:
        ticks = bytes.fromhex(nonce.decode()) if nonce != b"-" else b""
        place = int(device), int(inode)
        return Witness(bytes.fromhex(replica.decode()), int(counter), ticks, place)
    except ValueError:
        return None


def there(path: bytes) -> bool:
    """Whether this machine has known a replica here, whatever it remembers of it."""
    return os.path.lexists(path)


def write(path: bytes, witness: Witness) -> None:
    """Keep it, whole and on the disk. Raises StateUnusable."""
    temporary = path + b".new"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(temporary, flags, 0o600)
        try:
            os.write(fd, witness.pack())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise StateUnusable(
            f"The state directory {shown(os.path.dirname(path))} cannot be written to"
            f" ({error.strerror}); make room, or make it writable."
        ) from None
