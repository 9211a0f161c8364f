"""``.syncron/secure-manifest``: what is known to be sealed in a tree, as bytes that only who has
the key understands."""

from __future__ import annotations

import contextlib
import os
import stat

from syncron_lib.core.names import PRIVATE
from syncron_lib.errors import FileFatal
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.staging import CREATE_FILE, MANIFEST, of_another_user

MAX_SIZE = 1 << 28
"""Bytes: some two million files."""
_NEW = MANIFEST + b".new"


def read(root_fd: int) -> bytes:
    """The manifest; empty where there is none. Raises OSError."""
    try:
        directory = os.open(PRIVATE, OPEN_DIRECTORY, dir_fd=root_fd)
    except FileNotFoundError:
        return b""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(MANIFEST, flags, dir_fd=directory)
    except FileNotFoundError:
        return b""
    finally:
        os.close(directory)
    with os.fdopen(fd, "rb") as file:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode) or st.st_size > MAX_SIZE:
            raise FileFatal(
                "What is called .syncron/secure-manifest there is no manifest; remove it, and say"
                " --accept-rollback."
            )
        return file.read(MAX_SIZE + 1)


def write(root_fd: int, content: bytes, durable: bool) -> None:
    """Keep a manifest: at every moment there is the old one or the whole new one. The root's own
    time stays as it is. Raises OSError."""
    before = os.fstat(root_fd)
    with contextlib.suppress(FileExistsError):
        os.mkdir(PRIVATE, 0o700, dir_fd=root_fd)
    directory = os.open(PRIVATE, OPEN_DIRECTORY, dir_fd=root_fd)
    try:
        st = os.fstat(directory)
        if st.st_uid != os.geteuid() and os.geteuid() != 0:
            raise of_another_user()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=directory)
        fd = os.open(_NEW, CREATE_FILE, 0o600, dir_fd=directory)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(fd)
        os.rename(_NEW, MANIFEST, src_dir_fd=directory, dst_dir_fd=directory)
        if durable:
            os.fsync(directory)
    finally:
        os.close(directory)
    with contextlib.suppress(OSError):
        os.utime(root_fd, ns=(before.st_atime_ns, before.st_mtime_ns))
