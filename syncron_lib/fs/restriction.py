"""Roots below given directories only, for an account whose key may do no more.

A root is resolved like any other, symlinks on the way followed, and must then be one of the
directories or lie below one. It is opened from that directory's descriptor, which is held from the
beginning, by one name after the other and through no symlink: what becomes another between the
check and the opening leads to a refusal, and never outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from syncron_lib.core.names import PRIVATE, SCRATCH, is_valid_name, shown
from syncron_lib.core.permission import Effect
from syncron_lib.core.view import OUT_OF_REACH, REASONS
from syncron_lib.errors import RootError, UsageError
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.reach import Place, resolved, unseen
from syncron_lib.record import NamedTuple

_PASS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Top(NamedTuple):
    """A directory below which roots may lie: as it was given, its real path, its descriptor."""

    given: bytes
    path: bytes
    fd: int

    def names(self, path: bytes) -> list[bytes] | None:
        """The names that lead from here to the real path ``path``; None where none do."""
        if path == self.path:
            return []
        above = self.path.rstrip(b"/") + b"/"
        names = path[len(above) :].split(b"/") if path.startswith(above) else [b""]
        # What lies in staging is another run's until that has given it its name.
        staging = PRIVATE in names or any(map(SCRATCH.fullmatch, names))
        return names if all(map(is_valid_name, names)) and not staging else None


class Within:
    """Only what lies in certain directories."""

    def __init__(self, directories: Sequence[bytes], may: Effect) -> None:
        """``directories``: absolute. Raises `UsageError` or `RootError` where one is no directory
        that could be held to."""
        self.may = may
        self._tops = [_held(path) for path in directories]

    def look(self, path: bytes) -> Place:
        real = resolved(path)
        top, names = self._way(real, path)
        try:
            fd, left = _walk(top.fd, names)
        except OSError as error:
            raise unseen(path, error) from None
        try:
            if not left:
                return Place(real, stat.S_IFDIR, False)
            try:
                mode = os.stat(left[0], dir_fd=fd, follow_symlinks=False).st_mode
            except FileNotFoundError:
                return Place(real, 0, len(left) > 1)
            if len(left) > 1 or stat.S_ISLNK(mode) or stat.S_ISDIR(mode):
                # In the way; or not what it was when it was resolved, a moment ago.
                raise unseen(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
            return Place(real, stat.S_IFMT(mode), False)
        except OSError as error:
            raise unseen(path, error) from None
        finally:
            os.close(fd)

    def open(self, path: bytes) -> int:
        top, names = self._way(path, path)
        fd, left = _walk(top.fd, names)
        try:
            if left:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            return os.open(b".", OPEN_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)

    def create(self, path: bytes, parents: bool, mode: int = 0o700) -> None:
        top, names = self._way(path, path)
        fd, left = _walk(top.fd, names)
        try:
            if len(left) > 1 and not parents:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if not left:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            for name in left[:-1]:
                os.mkdir(name, dir_fd=fd)
                below = os.open(name, _PASS, dir_fd=fd)
                os.close(fd)
                fd = below
            os.mkdir(left[-1], mode, dir_fd=fd)
        finally:
            os.close(fd)

    def stat(self, fd: int, name: bytes) -> os.stat_result:
        held = self.follow(fd, name, os.O_PATH | os.O_CLOEXEC)
        try:
            return os.fstat(held)
        finally:
            os.close(held)

    def follow(self, fd: int, name: bytes, flags: int) -> int:
        flags |= os.O_NOFOLLOW
        if not stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            return os.open(name, flags, dir_fd=fd)
        # Resolved first, and then gone to from above by names that are no symlinks any more.
        real = os.path.realpath(b"/proc/self/fd/%d/%s" % (fd, name))
        try:
            top, names = self._way(real, real)
        except RootError:
            raise OSError(OUT_OF_REACH, REASONS[OUT_OF_REACH]) from None
        above, left = _walk(top.fd, names[:-1])
        try:
            if left:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            return os.open(names[-1] if names else b".", flags, dir_fd=above)
        finally:
            os.close(above)

    def _way(self, real: bytes, path: bytes) -> tuple[_Top, list[bytes]]:
        for top in self._tops:
            names = top.names(real)
            if names is not None:
                return top, names
        allowed = " and ".join(shown(top.given) for top in self._tops)
        raise RootError(
            f"{shown(path)} is out of reach: this account is restricted to {allowed}."
            " Nothing was changed; name a directory there."
        )


def _held(path: bytes) -> _Top:
    if not os.path.isabs(path):
        raise UsageError(
            f"The account is restricted to {shown(path) or 'an empty path'}, which is no absolute"
            " path; correct --restrict in its authorized_keys."
        )
    real = os.path.realpath(path)
    try:
        return _Top(path, real, os.open(real, _PASS))
    except OSError as error:
        raise RootError(
            f"The account is restricted to {shown(path)}, which cannot be opened as a directory"
            f" ({error.strerror}); make it, or correct --restrict in its authorized_keys."
        ) from None


def _walk(fd: int, names: Sequence[bytes]) -> tuple[int, list[bytes]]:
    """Go from the directory ``fd`` as far along ``names`` as there are directories: a descriptor
    to be closed, and the names that are left. Raises OSError."""
    fd = os.dup(fd)
    for index, name in enumerate(names):
        try:
            below = os.open(name, _PASS, dir_fd=fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return fd, list(names[index:])
            os.close(fd)
            raise
        os.close(fd)
        fd = below
    return fd, []
