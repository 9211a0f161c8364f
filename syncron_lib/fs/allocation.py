"""How the content of files that are made anew is written: whether zeros are holes, and whether
room for all of it is taken first."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Optional

from syncron_lib.fs import sparse
from syncron_lib.fs.writebehind import write_at
from syncron_lib.record import NamedTuple

_KEEP_SIZE = 1
"""``FALLOC_FL_KEEP_SIZE`` of fallocate(2): a file that is not whole is not as long as one."""
_UNABLE = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))
"""The file system has no such thing, and neither has it for a file without content."""

Fill = Callable[[int, Optional[memoryview]], None]
WriteAt = Callable[[int, memoryview, int], None]


class Manner(NamedTuple):
    """``fill``: writes a small new file, None for what has its content already; None where that is
    no more than writing. ``write_at``: writes a part of a large one, after what comes before
    it."""

    fill: Optional[Fill] = None
    write_at: WriteAt = write_at
    sparse: bool = False
    reserves: bool = False
    """Room is taken first."""


PLAIN = Manner()


def manner(holes: bool, reserves: bool) -> Manner:
    """``holes``: zeros of new files are holes. ``reserves``: room for a file is taken before it is
    written."""
    if reserves:
        write = sparse.write_and_dig if holes else write_at

        def fill(fd: int, data: Optional[memoryview]) -> None:
            if data is not None:
                reserve(fd, len(data))
                write(fd, data, 0)
            elif holes:
                sparse.dig(fd)

        return Manner(fill, write, holes, True)
    return Manner(sparse.fill, sparse.write, True) if holes else PLAIN


def reserve(fd: int, size: int) -> None:
    """Take room for ``size`` bytes of a file that is open for writing, where the file system can:
    where it cannot, the library's own way would write all of it twice. Raises OSError where there
    is no room."""
    if not size:
        return
    import ctypes  # few runs are told to

    try:
        call = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return
    while call(fd, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
        number = ctypes.get_errno()
        if number in _UNABLE:
            return
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
