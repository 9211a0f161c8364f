"""How the C library's allocator treats buffers of a megabyte."""

from __future__ import annotations

import functools

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 32 << 20
"""Bytes: the most that glibc takes for a threshold of mappings."""


@functools.cache
def keep_freed_memory() -> None:
    """Have freed memory used again, and not given back to the kernel and asked for anew.

    glibc does the latter with large buffers: for a gigabyte in frames of a megabyte the kernel
    then clears a gigabyte of pages, a quarter of all that a process does with them. At the most
    `_LARGEST` is held back. Another C library is left as it is.
    """
    # Here, because a run that moves nothing large should not pay for it.
    try:
        import ctypes

        set_option = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):
        return
    set_option(_M_MMAP_THRESHOLD, _LARGEST)
    set_option(_M_TRIM_THRESHOLD, _LARGEST)
