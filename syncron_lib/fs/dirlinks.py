"""Symlinks of a destination that are taken for the directories which they lead to.

Nobody follows such a symlink by its name. It is read once, and where it leads is found out name by
name from the root's descriptor, with no step above the root: so what it stands for is a path
without symlinks. Whenever the directory is opened later, that path is walked like any other, and a
symlink that is in the way by then is refused like any other.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from syncron_lib.core.names import PRIVATE, join, split
from syncron_lib.fs import stats

if TYPE_CHECKING:
    from syncron_lib.fs.directories import Directories
    from syncron_lib.fs.listing import Listing

_LOOK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST = 40
"""Symlinks on one way, as many as the kernel follows."""
_NO_DIRECTORY = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
"""What is said of a symlink that leads nowhere, or to something else: it is none to be entered."""

_OUT = "is a symlink that leads out of the destination, and is not followed"
_ROUND = "is a symlink that leads to a directory that it lies in, and is not followed"
_STAGING = "is a symlink that leads into .syncron, and is not followed"


class NotFollowed(Exception):
    """Why a symlink is not taken for a directory, which it may lead to."""


def enter(directories: Directories, path: bytes) -> bool:
    """Have the symlink at ``path`` stand for its directory from now on; False where it leads to
    none. Raises NotFollowed."""
    try:
        real = _resolved(directories, path)
        lies_in = _resolved(directories, split(path)[0])
    except OSError as error:
        if error.errno in _NO_DIRECTORY:
            return False
        raise NotFollowed(f"is a symlink that cannot be followed: {error.strerror}") from None
    if not real or _lies_in(lies_in, real):
        raise NotFollowed(_ROUND)
    if PRIVATE in real.split(b"/"):
        raise NotFollowed(_STAGING)
    directories.forget(path)
    directories.entered[path] = real
    parent, name = split(path)
    directories.entered_in.setdefault(parent, set()).add(name)
    return True


def _lies_in(path: bytes, other: bytes) -> bool:
    return path == other or path.startswith(other + b"/")


def _resolved(directories: Directories, path: bytes) -> bytes:
    """The path without symlinks of the directory at ``path``. Raises OSError where there is none,
    NotFollowed where it is no part of the tree."""
    real: list[bytes] = []
    left = path.split(b"/")[::-1]
    links = 0
    while left:
        name = left.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            if not real:
                raise NotFollowed(_OUT)
            real.pop()
            continue
        fd = directories.open_real(b"/".join(real))
        try:
            if not stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                os.close(directories.opener(name, _LOOK, dir_fd=fd))
                real.append(name)
                continue
            target = os.readlink(name, dir_fd=fd)
        finally:
            os.close(fd)
        links += 1
        if links > _MOST:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/"):
            raise NotFollowed(_OUT)
        left.extend(target.split(b"/")[::-1])
    return b"/".join(real)


def shown(directories: Directories, path: bytes, listing: Listing) -> Listing:
    """The entries of the directory ``path``, with the directories that are entered there."""
    names = directories.entered_in.get(path)
    if names is None:
        return listing
    rows, found = list(listing.rows), dict(listing.directories)
    owners = set(listing.owners)
    for index, packed in enumerate(rows):
        name = packed[0]
        if name in names and stat.S_ISLNK(stats.unpack_row(packed)[1]):
            try:
                st = os.fstat(directories.open(join(path, name)))
            except OSError:  # it is another by now
                continue
            rows[index] = (name, stats.pack_fields(stats.row(name, st)))
            found[name] = st.st_dev
            owners.add((st.st_uid, st.st_gid))
    return listing._replace(rows=rows, directories=found, owners=owners)


def doubled(
    entered: Mapping[bytes, bytes], nodes: Iterable[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of paths by which a tree shows one directory, or one and another that lies in it.
    ``nodes``: the paths of its directories."""
    there = set(nodes)
    above: list[tuple[bytes, bytes]] = []
    for path, real in sorted(entered.items(), key=lambda item: (item[1] + b"/", item[0])):
        if real in there:
            yield path, real
        while above and not _lies_in(real, above[-1][1]):
            above.pop()
        if above:
            yield path, above[-1][0]
        above.append((path, real))
