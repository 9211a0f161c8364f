"""A scratch directory (``--temp-dir``): where what comes is put together, instead of beside its
place.

What lies there gets its name by a rename where one leads from there to its place, and is copied
beside that where none does. Runs into different roots have a staging each in it, and one that is
interrupted finds its own again. A directory inside of the destination stands for the file system
that it is on, which has a staging already.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from typing import Optional

from syncron_lib.core.names import PRIVATE, shown
from syncron_lib.errors import Locked, RootError
from syncron_lib.fs.reach import Reach
from syncron_lib.fs.staging import Staging, drop_acls, is_staging

_LOCKED = (errno.EWOULDBLOCK, errno.EACCES)
_DEFAULT_ACL = "system.posix_acl_default"


class Scratch:
    """The scratch directory of a run into one root, held open."""

    def __init__(self, fd: int, path: bytes, name: bytes, inside: Optional[bytes]) -> None:
        """``path``: real. ``name``: of the staging in it. ``inside``: its path in the tree, where
        it lies in that."""
        self._fd = fd
        self._name = name
        self.path = path
        self.inside = inside

    @property
    def is_used(self) -> bool:
        """Whether an interrupted run may have left something in it."""
        return self.inside is None and is_staging(self._fd, self._name)

    def staging(self, like: int, own_acls: bool) -> Staging:
        """The staging in it, made and locked. ``like``: the root, whose default ACL what is made
        here gets as if it were made there. Raises RootError and Locked."""
        staging = _Apart(self._fd, own_acls, self._name, shown(self.path), like)
        try:
            _ = staging.fd
        except OSError as error:
            raise RootError(
                f"Nothing can be made in the scratch directory {shown(self.path)}"
                f" ({error.strerror}). Nothing was changed; name another with --temp-dir."
            ) from None
        return staging

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def scratch(directory: bytes, root: bytes, reach: Reach) -> Scratch:
    """Look at the scratch directory of the root at ``root``, which it is relative to, if it is.
    Raises RootError where there is none."""
    place = reach.look(os.path.join(root, directory))
    if place.kind != stat.S_IFDIR or PRIVATE in place.path.split(b"/"):
        what = "is not a directory" if place.kind else "is not there"
        if place.kind == stat.S_IFDIR:
            what = "lies in syncron's own"
        raise RootError(
            f"The scratch directory {shown(place.path)} {what}."
            " Nothing was changed; make it, or name another with --temp-dir."
        )
    inside = None
    if place.path == root:
        inside = b""
    elif place.path.startswith(root.rstrip(b"/") + b"/"):
        inside = place.path[len(root.rstrip(b"/")) + 1 :]
    # Machines may share it, and have roots of one path.
    whose = b"%s\0%s" % (os.fsencode(os.uname().nodename), root)
    name = PRIVATE + b"-" + hashlib.sha256(whose).hexdigest()[:16].encode()
    try:
        return Scratch(reach.open(place.path), place.path, name, inside)
    except OSError as error:
        raise RootError(
            f"The scratch directory {shown(place.path)} cannot be opened ({error.strerror})."
            " Nothing was changed; check its permissions."
        ) from None


class _Apart(Staging):
    """A staging that lies elsewhere. Its lock is its own: the root's need not be known to whoever
    else uses it, on another machine or on a file system without locks."""

    def __init__(self, fd: int, own_acls: bool, name: bytes, where: str, like: int) -> None:
        super().__init__(fd, False, name, where)
        self._bare = own_acls
        self._like = like

    def _open(self) -> None:
        super()._open()
        assert self._fd is not None
        while not self._held(self._fd):
            # Whoever had it has just removed it.
            os.close(self._fd)
            super()._open()
        # What is renamed from here must not show where it was made.
        if os.fstat(self._fd).st_gid != os.getegid():
            os.fchown(self._fd, -1, os.getegid())
        drop_acls(self._fd)
        if not self._bare:
            with contextlib.suppress(OSError):  # there is none, or cannot be
                os.setxattr(self._fd, _DEFAULT_ACL, os.getxattr(self._like, _DEFAULT_ACL))

    def _held(self, fd: int) -> bool:
        """Lock it; whether it still has its name. Raises Locked."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _LOCKED:
                os.close(fd)
                self._fd = None
                raise Locked(
                    f"Another run holds {self._shown}; wait for it to end, or name another"
                    " directory with --temp-dir."
                ) from None
        try:
            now = os.stat(self._name, dir_fd=self._root_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(now, os.fstat(fd))


def mount_of(fd: int) -> tuple[int, bytes]:
    """What a rename cannot lead out of: the file system, and how it is mounted, as far as the
    system tells."""
    mount = b""
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        lines = [line for line in file.read(500).split(b"\n") if line.startswith(b"mnt_id:")]
        mount = lines[0] if lines else b""
    return os.fstat(fd).st_dev, mount
