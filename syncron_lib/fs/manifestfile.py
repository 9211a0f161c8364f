"""``.syncron/secure-manifest``: what is known to be sealed in a tree, as bytes that only who has
the key understands; and beside it its lineage: digests of those that were there before, by which
others without the key tell the newer of two."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Optional

from syncron_lib.core.names import PRIVATE
from syncron_lib.core.sealing import MAGIC, RULES
from syncron_lib.errors import FileFatal
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.fs.staging import (
    CREATE_FILE,
    MANIFEST,
    SEALED,
    STATE_FILE,
    of_another_user,
)

MAX_SIZE = 1 << 28
"""Bytes: some two million files."""
_LINEAGE = MANIFEST + b".before"
_DIGEST = 16
_MOST_BEFORE = 4096 * _DIGEST
"""Bytes of a lineage; what is older is forgotten."""


def read(root_fd: int) -> bytes:
    """The manifest; empty where there is none. Raises OSError."""
    content = _read(root_fd, MANIFEST, MAX_SIZE)
    if content is None:
        raise FileFatal(
            "What is called .syncron/secure-manifest there is no manifest; remove it, and say"
            " --accept-rollback."
        )
    return content


def lineage(root_fd: int) -> bytes:
    """Digests of the manifests that were there before, the newest last; nothing where what is kept
    cannot be that. Raises OSError."""
    content = _read(root_fd, _LINEAGE, _MOST_BEFORE) or b""
    return content if is_lineage(content) else b""


def is_lineage(digests: bytes) -> bool:
    """Whether this can be one."""
    return not len(digests) % _DIGEST and len(digests) <= _MOST_BEFORE


def digest_of(content: bytes) -> bytes:
    """What stands for a manifest in a lineage."""
    return hashlib.sha256(content).digest()[:_DIGEST]


def is_in(lineage: bytes, content: bytes) -> bool:
    """Whether a manifest is one of those."""
    return digest_of(content) in _split(lineage)


def _split(lineage: bytes) -> list[bytes]:
    return [lineage[at : at + _DIGEST] for at in range(0, len(lineage), _DIGEST)]


def _read(root_fd: int, name: bytes, limit: int) -> Optional[bytes]:
    """One of the files; empty where there is none, None where it cannot be what it should be."""
    try:
        directory = os.open(PRIVATE, OPEN_DIRECTORY, dir_fd=root_fd)
    except FileNotFoundError:
        return b""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        return b""
    finally:
        os.close(directory)
    with os.fdopen(fd, "rb") as file:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode) or st.st_size > limit:
            return None
        return file.read(limit + 1)


def write(root_fd: int, content: bytes, durable: bool, before: bytes = b"") -> None:
    """Keep a manifest: at every moment there is the old one or the whole new one. The root's own
    time stays as it is. ``before``: others that it was made after. Raises OSError."""
    with _private(root_fd) as directory:
        # First: that a manifest came before itself says nothing, that it came after nothing does.
        after = _lengthened(root_fd, content, before)
        if after:
            _put(directory, _LINEAGE, after, durable)
        _put(directory, MANIFEST, content, durable)
        if durable:
            os.fsync(directory)


def mark_sealed(root_fd: int) -> None:
    """Note that the sealed files of a replica are on its disk as they are, wherever it goes.
    Raises OSError."""
    with _private(root_fd) as directory, contextlib.suppress(FileExistsError):
        fd = os.open(SEALED, CREATE_FILE, 0o600, dir_fd=directory)
        os.fsync(fd)
        os.close(fd)
        os.fsync(directory)


def is_sealed_here(path: bytes) -> Optional[bool]:
    """Whether the sealed files of a directory are there as they are, by that note or by its rules;
    None where nothing says so, or otherwise: it never was a replica, and has no rules."""
    with contextlib.suppress(OSError):  # said where it is opened
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _begins(root, os.path.join(PRIVATE, SEALED)) is not None:
                return True
            rules = _begins(root, RULES)
            if rules is not None:
                return rules == MAGIC
            return None if _begins(root, os.path.join(PRIVATE, STATE_FILE)) is None else False
        finally:
            os.close(root)
    return None


def _begins(root_fd: int, name: bytes) -> Optional[bytes]:
    """The first bytes of a file, if there is one."""
    try:
        with open(os.open(name, OPEN_FILE, dir_fd=root_fd), "rb") as file:
            return file.read(len(MAGIC))
    except OSError:
        return None


@contextlib.contextmanager
def _private(root_fd: int) -> Iterator[int]:
    """The directory for what is our own; the root's own time stays as it is."""
    times = os.fstat(root_fd)
    with contextlib.suppress(FileExistsError):
        os.mkdir(PRIVATE, 0o700, dir_fd=root_fd)
    directory = os.open(PRIVATE, OPEN_DIRECTORY, dir_fd=root_fd)
    try:
        st = os.fstat(directory)
        if st.st_uid != os.geteuid() and os.geteuid() != 0:
            raise of_another_user()
        yield directory
    finally:
        os.close(directory)
    with contextlib.suppress(OSError):
        os.utime(root_fd, ns=(times.st_atime_ns, times.st_mtime_ns))


def _lengthened(root_fd: int, content: bytes, before: bytes) -> bytes:
    """The lineage of what comes after those ``before``, and after what is there."""
    digests: list[bytes] = []
    with contextlib.suppress(OSError):
        digests += _split(lineage(root_fd))
    digests += _split(before)
    with contextlib.suppress(OSError):
        now = _read(root_fd, MANIFEST, MAX_SIZE)
        if now and now != content:
            digests.append(digest_of(now))
    newest_last = list(dict.fromkeys(reversed(digests)))[: _MOST_BEFORE // _DIGEST][::-1]
    return b"".join(newest_last)


def _put(directory: int, name: bytes, content: bytes, durable: bool) -> None:
    new = name + b".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=directory)
    fd = os.open(new, CREATE_FILE, 0o600, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(fd)
    os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
