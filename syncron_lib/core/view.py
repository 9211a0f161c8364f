"""What a root's entries are taken to be, where that is not what is on the disk."""

from __future__ import annotations

import errno
from enum import IntFlag

from syncron_lib.record import NamedTuple

MUNGED = b"/rsyncd-munged/"
"""What rsync puts before the target of a symlink that is to lead nowhere."""


NOWHERE = errno.ENOLINK
"""What is said of a symlink that was to be followed and leads to nothing."""
OUT_OF_REACH = errno.EXDEV
"""What is said of one that leads to where a restricted account may not go."""
DAMAGED = errno.EBADE
"""What is said of an entry of which something is noted that cannot be."""
REASONS = {
    NOWHERE: "the symlink leads to nothing",
    OUT_OF_REACH: "it leads to where this account may not go",
    DAMAGED: "what its attribute user.rsync.%stat says is damaged",
}


class Follow(IntFlag):
    """Which symlinks stand for what they lead to."""

    NONE = 0
    ALL = 1
    DIRECTORIES = 2
    """Those that lead to a directory."""
    UNSAFE = 4
    """Those that may lead out of the tree, see `core.choosing.is_unsafe`."""
    NAMED = 8
    """The tree goes over under its own name: what lies beside its root is not out of it."""


class Munge(IntFlag):
    """What is done to the targets of symlinks, in this order."""

    NOTHING = 0
    STRIP = 1
    """What makes them lead nowhere is taken away."""
    ADD = 2
    """They are made to lead nowhere."""


class View(NamedTuple):
    """``chmod``: as `core.chmod.parse` takes it. ``follow``: a `Follow`. ``munge``: a `Munge`.
    ``no_atime``: files are read without getting another time of access. ``fake_super``: owners and
    the like are those that rsync's extended attribute notes."""

    chmod: str = ""
    follow: int = 0
    munge: int = 0
    no_atime: bool = False
    fake_super: bool = False

    def key(self) -> bytes:
        """Identifies what the entries are taken to be; empty where that is what they are."""
        shown = self._replace(no_atime=False)
        return b"" if shown == View() else repr(tuple(shown)).encode()


def munged(target: bytes, how: int) -> bytes:
    """The target of a symlink, munged or as it was before."""
    if how & Munge.STRIP and target.startswith(MUNGED) and len(target) > len(MUNGED):
        target = target[len(MUNGED) :]
    return MUNGED + target if how & Munge.ADD else target
