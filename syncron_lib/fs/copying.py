"""A file's content, copied on one machine: shared where the file system can, else in the kernel."""

from __future__ import annotations

import contextlib
import errno
import os

from syncron_lib.core import digest

NO_LINK = frozenset(
    (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES)
)
"""What is said where there can be no hard link, though there could be a copy."""
_FICLONE = 0x40049409
_BLOCK = 1 << 20


def copy_content(source: int, target: int, size: int) -> None:
    """Copy the ``size`` bytes of one open file to another, empty one. Raises OSError."""
    if not _cloned(source, target):
        _copy_range(source, target, size)


def copied(source: int, target: int, size: int, algorithm: digest.Algorithm) -> bytes:
    """The same from the source's beginning; the digest of what came of it, which is read for that.
    Raises OSError."""
    os.lseek(source, 0, os.SEEK_SET)
    copy_content(source, target, size)
    os.lseek(target, 0, os.SEEK_SET)
    hasher = algorithm.new()
    read_into(hasher, target)
    return hasher.digest()[: digest.SIZE]


def read_into(hasher: digest.Hasher, fd: int) -> int:
    """Read ``fd`` to its end; the number of bytes."""
    length = 0
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    while count := os.readv(fd, (buffer,)):
        hasher.update(view[:count])
        length += count
    return length


def _cloned(source: int, target: int) -> bool:
    """Let the file system share the blocks, if it can."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False


def _copy_range(source: int, target: int, size: int) -> None:
    """Copy ``size`` bytes within the kernel, or through this process where it cannot."""
    left = size
    with contextlib.suppress(OSError, AttributeError):  # not on this system, not between these
        while left:
            count = os.copy_file_range(source, target, min(left, 1 << 30))
            if not count:
                return  # shorter than a moment ago; its digest will say so
            left -= count
    while left:
        data = memoryview(os.read(source, min(left, _BLOCK)))
        if not data:
            return
        left -= len(data)
        while data:
            data = data[os.write(target, data) :]
