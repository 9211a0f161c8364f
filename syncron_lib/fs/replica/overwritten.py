"""Files that a replica which has lost its memory is about to have replaced.

That their content is an old version of what the other side has is all that is known of them. So in
that run they are kept, in ``.syncron/overwritten``, which is never part of the tree.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from syncron_lib.core.names import PRIVATE, split
from syncron_lib.fs.copying import copy_content
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.staging import CREATE_FILE, OVERWRITTEN


def keep(root_fd: int, paths: Sequence[bytes]) -> bytes:
    """Keep copies of the files at these paths; in which directory of the root. Raises OSError."""
    tree = Directories(root_fd)
    place = b""
    try:
        place = _new_place(tree)
        for path in paths:
            parent, name = split(path)
            _make(tree, place, parent)
            try:
                _keep(tree.open(parent), tree.open(_below(place, parent)), name)
            except FileNotFoundError:
                continue  # it has gone since the scan, and there is nothing to be replaced
    finally:
        tree.close()
    return place


def _below(place: bytes, path: bytes) -> bytes:
    return place + b"/" + path if path else place


def _new_place(tree: Directories) -> bytes:
    """A new directory in that of all such runs."""
    private = tree.open(PRIVATE)
    with contextlib.suppress(FileExistsError):
        os.mkdir(OVERWRITTEN, 0o700, dir_fd=private)
    above = PRIVATE + b"/" + OVERWRITTEN
    fd = tree.open(above)
    number = 1 + max((int(name) for name in os.listdir(fd) if name.isdecimal()), default=0)
    os.mkdir(b"%d" % number, 0o700, dir_fd=fd)
    return above + b"/%d" % number


def _make(tree: Directories, place: bytes, path: bytes) -> None:
    """Make a directory in the place, with those above it."""
    made = place
    for name in path.split(b"/") if path else ():
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=tree.open(made))
        made += b"/" + name


def _keep(source: int, target: int, name: bytes) -> None:
    # No second name: that would show as a change of the file, which is not replaced then.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=source)
    try:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode):
            return
        copy = os.open(name, CREATE_FILE, 0o600, dir_fd=target)
        try:
            copy_content(fd, copy, st.st_size)
            os.utime(copy, ns=(st.st_mtime_ns, st.st_mtime_ns))
        finally:
            os.close(copy)
    finally:
        os.close(fd)
