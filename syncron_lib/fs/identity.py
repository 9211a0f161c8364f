"""Which directory a root is, and on which file system it lies."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest

if TYPE_CHECKING:
    from syncron_lib.fs.state import State


def identities(path: bytes, root_fd: Optional[int]) -> tuple[bytes, list[bytes]]:
    """What is the same for the same directory, whichever process asks, as long as this system is
    up: of the root at ``path``, zeros where there is none (``root_fd`` is None); and of the
    directories that it lies in."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            system = file.read(100).strip()
    except OSError:  # not Linux, or not all of it
        return digest.UNKNOWN, []

    def identity(st: os.stat_result) -> bytes:
        named = b"%s %d %d" % (system, st.st_dev, st.st_ino)
        return hashlib.sha256(named).digest()[: digest.SIZE]

    above = []
    while path != b"/":
        path = os.path.dirname(path)
        with contextlib.suppress(OSError):
            above.append(identity(os.stat(path)))
    return digest.UNKNOWN if root_fd is None else identity(os.fstat(root_fd)), above


def file_system(root_fd: int) -> bytes:
    """Identifies the file system of a root across mounts and boots, as far as it can."""
    found = os.fstatvfs(root_fd)
    return b"%x" % getattr(found, "f_fsid", 0)


def is_unmounted(path: bytes, root_fd: Optional[int], state: State) -> bool:
    """Whether the root at ``path`` held a tree at the last run, and now another file system is
    here, with nothing on it: a disk that is not mounted. ``root_fd``: None where it is missing."""
    before = state.get("file_system")
    if not before or state.get("entries") in (b"", b"0"):
        return False
    if root_fd is None:
        # What is nearest above: a directory that was removed with the one above it is no disk.
        above = os.path.dirname(path)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        with contextlib.suppress(OSError):
            return b"%x" % os.statvfs(above).f_fsid != before
        return True
    if file_system(root_fd) == before:
        return False
    with os.scandir(root_fd) as listing:
        return next(listing, None) is None
