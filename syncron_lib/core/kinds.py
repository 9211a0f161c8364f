"""Kinds of entries, as rsync counts them."""

from __future__ import annotations

import stat

KINDS = ("reg", "dir", "link", "dev", "special")


def kind_of(mode: int) -> int:
    """Which of `KINDS` it is."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        return 0
    if kind == stat.S_IFDIR:
        return 1
    return 2 if kind == stat.S_IFLNK else 3 if kind in (stat.S_IFCHR, stat.S_IFBLK) else 4
