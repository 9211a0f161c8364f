"""Holes in files: pages of zeros that take no room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Optional

from syncron_lib.fs.writebehind import BLOCK, write_at

_PAGE = 4096
"""What file systems keep holes by, or a multiple of that."""
_ZEROS = bytes(_PAGE)
_PUNCH = 3
"""``FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`` of fallocate(2)."""


def _runs(data: memoryview, place: int) -> Iterator[tuple[int, int, bool]]:
    """``data``, which belongs at ``place`` of a file, in parts of pages that are all zeros, or of
    others: (begin, end, zeros)."""
    begin = end = 0
    zeros = False
    while end < len(data):
        following = min(len(data), end + _PAGE - (place + end) % _PAGE)
        empty = following - end == _PAGE and data[end:following] == _ZEROS
        if empty != zeros:
            if begin < end:
                yield begin, end, zeros
            begin, zeros = end, empty
        end = following
    if begin < end:
        yield begin, end, zeros


def write(fd: int, data: memoryview, place: int) -> None:
    """Write what follows behind all that a new file has so far, without its pages of zeros."""
    zeros = False
    for begin, end, zeros in _runs(data, place):
        if not zeros:
            write_at(fd, data[begin:end], place + begin)
    if zeros:
        os.ftruncate(fd, place + len(data))


def fill(fd: int, data: Optional[memoryview]) -> None:
    """Write ``data`` to a new file; None where its content is there already."""
    if data is None:
        dig(fd)
    else:
        write(fd, data, 0)


def write_and_dig(fd: int, data: memoryview, place: int) -> None:
    """The same for a file that has room for all already: pages of zeros give theirs back."""
    write(fd, data, place)
    punch = _puncher()
    for begin, end, zeros in _runs(data, place):
        if zeros and (punch is None or not punch(fd, place + begin, end - begin)):
            return


def _puncher() -> Optional[Callable[[int, int, int], bool]]:
    """What makes a hole: descriptor, offset and length; whether that could be done."""
    try:
        import ctypes

        call = ctypes.CDLL(None).fallocate
    except (ImportError, OSError, AttributeError):
        return None

    def punch(fd: int, offset: int, length: int) -> bool:
        done: int = call(fd, _PUNCH, ctypes.c_int64(offset), ctypes.c_int64(length))
        return done == 0

    return punch


def dig(fd: int) -> None:
    """Make holes of the pages of zeros in a file that is open for reading and writing, where the
    file system can."""
    punch = _puncher()
    if punch is None:
        return
    offset = 0
    while True:
        try:
            offset = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return
        data = os.pread(fd, BLOCK, offset)
        if not data:
            return
        for begin, end, zeros in _runs(memoryview(data), offset):
            if zeros and not punch(fd, offset + begin, end - begin):
                return
        offset += len(data)
