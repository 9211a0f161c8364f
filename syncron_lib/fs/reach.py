"""Which roots a helper reaches: by default every one that its account does."""

from __future__ import annotations

import os
import stat
from typing import Protocol

from syncron_lib.core.names import shown
from syncron_lib.core.permission import EVERYTHING, Effect
from syncron_lib.errors import RootError
from syncron_lib.record import NamedTuple


class Place(NamedTuple):
    """What stands at a path. ``kind``: ``st_mode`` type bits, 0 where there is nothing."""

    path: bytes
    kind: int
    parent_missing: bool


class Reach(Protocol):
    """The way to roots. Paths but for `look`'s are real ones, as `look` has told them."""

    may: Effect
    """What may be done to their trees."""

    def look(self, path: bytes) -> Place:
        """What stands at ``path``, as a user wrote it. Raises RootError where it may not be
        reached, or cannot be looked at."""

    def open(self, path: bytes) -> int:
        """Descriptor of the directory at ``path``. Raises OSError."""

    def stat(self, fd: int, name: bytes) -> os.stat_result:
        """What the entry ``name`` of a directory leads to, be it a symlink. Raises OSError, with
        `core.view.OUT_OF_REACH` where that may not be reached."""

    def follow(self, fd: int, name: bytes, flags: int) -> int:
        """Open what the entry ``name`` of a directory leads to. Raises OSError likewise."""

    def create(self, path: bytes, parents: bool, mode: int = 0o700) -> None:
        """Make the directory ``path``, with its missing ``parents`` or without. Raises OSError."""


def resolved(path: bytes) -> bytes:
    """The real path of a root as the user wrote it: relative to the home directory, ``~``
    expanded, symlinks followed."""
    if not path.startswith(b"/"):
        home = os.path.expanduser(b"~")
        if not os.path.isabs(home):
            home = b"/"
        if path.startswith(b"~"):
            # Not as bytes: of these a user's name has to be ASCII.
            path = os.fsencode(os.path.expanduser(os.fsdecode(path)))
        path = os.path.join(home, path)
    return os.path.realpath(path)


def unseen(path: bytes, error: OSError) -> RootError:
    """The refusal of a root that cannot be looked at."""
    return RootError(f"{shown(path)} cannot be looked at ({error.strerror}); check the path.")


class Anywhere:
    """All that the account reaches."""

    may = EVERYTHING

    def look(self, path: bytes) -> Place:
        real = resolved(path)
        try:
            kind = stat.S_IFMT(os.stat(real).st_mode)
        except FileNotFoundError:
            return Place(real, 0, not os.path.isdir(os.path.dirname(real)))
        except OSError as error:
            raise unseen(path, error) from None
        return Place(real, kind, False)

    def open(self, path: bytes) -> int:
        # The way *to* a root may hold symlinks: the user named it.
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def stat(self, fd: int, name: bytes) -> os.stat_result:
        return os.stat(name, dir_fd=fd)

    def follow(self, fd: int, name: bytes, flags: int) -> int:
        return os.open(name, flags & ~os.O_NOFOLLOW, dir_fd=fd)

    def create(self, path: bytes, parents: bool, mode: int = 0o700) -> None:
        if parents:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, mode)


ANYWHERE = Anywhere()
