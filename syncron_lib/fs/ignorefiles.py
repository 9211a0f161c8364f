"""The ignore files of a source: found by its scan, remembered, and handed to the destination.

Their contents are kept in the state with the stat they had, so that a run over an unchanged tree
opens none of them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterable, Sequence

from syncron_lib.core import digest
from syncron_lib.core.names import is_below
from syncron_lib.core.rules import MERGED, Merge
from syncron_lib.core.table import Malformed, Reader, pack_blob
from syncron_lib.errors import GuardRefused, RootError
from syncron_lib.fs.reach import Reach
from syncron_lib.record import NamedTuple

MOUNTS = b"mounts"
"""Stands beside the names of ignore files: its content is the names of mount points, joined by
NUL, that ``--one-file-system`` leaves out at the source, and so at the destination."""

MAX_SIZE = 1 << 20
"""Bytes of one ignore file that are read."""

_MAX_TOTAL = 64 << 20
"""Bytes of all ignore files that one side takes from the other."""
_ONE = 300
"""Bytes that one of them takes beside what it holds."""

_STAMP = struct.Struct("<QqqQ")
Stamp = tuple[int, int, int, int]
"""(size, mtime_ns, ctime_ns, inode) of a file when it was read."""


class IgnoreFile(NamedTuple):
    """One ignore file. ``directory``: where it rules; ``name``: as `core.rules` calls it."""

    directory: bytes
    name: bytes
    content: bytes
    stamp: Stamp


class IgnoreFiles:
    """All ignore files met in one scan, reading only those that changed since the last."""

    def __init__(self, remembered: Iterable[IgnoreFile] = ()) -> None:
        self._known = {(file.directory, file.name): file for file in remembered}
        self.found: list[IgnoreFile] = []

    def read(self, fd: int, relative: bytes, directory: bytes, name: bytes) -> bytes | None:
        """Content of the file at ``relative`` to the directory descriptor ``fd``; None where
        there is no such regular file. Raises OSError where it cannot be read: to go on without
        its rules could copy what the user wanted left out."""
        try:
            st = os.stat(relative, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(st.st_mode):
            return None
        stamp = (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
        known = self._known.get((directory, name))
        if known is None or known.stamp != stamp:
            known = IgnoreFile(directory, name, _content(fd, relative), stamp)
        self.found.append(known)
        return known.content

    def note(self, directory: bytes, name: bytes) -> None:
        """Record that an entry of this name, whatever it holds, has a part in the rules."""
        self.found.append(IgnoreFile(directory, name, b"", (0, 0, 0, 0)))

    def note_mounts(self, directory: bytes, names: list[bytes]) -> None:
        """Record mount points that the scan left out."""
        self.found.append(IgnoreFile(directory, MOUNTS, b"\0".join(names), (0, 0, 0, 0)))


def read_above(
    files: IgnoreFiles, reach: Reach, root: bytes, merges: Iterable[Merge]
) -> dict[bytes, bytes]:
    """The files of ``dir-merge`` rules in the directories that ``root`` lies in, from where on each
    rule says, as far as they can be reached; as `core.rules.Scope.with_above` takes them."""
    found = {}
    for merge in merges:
        if merge.above is None:
            continue
        top = os.path.normpath(os.path.join(root, merge.above))
        directory = os.path.dirname(root)
        while root != b"/" and is_below(directory.lstrip(b"/"), top.lstrip(b"/")):
            way = root[len(directory.rstrip(b"/")) + 1 :] + b"/"
            with contextlib.suppress(OSError, RootError):
                fd = reach.open(directory)
                try:
                    content = files.read(fd, merge.name, b"", MERGED + way + merge.name)
                finally:
                    os.close(fd)
                if content is not None:
                    found[MERGED + way + merge.name] = content
            if directory == b"/":
                break
            directory = os.path.dirname(directory)
    return found


def _content(fd: int, relative: bytes) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        # With --atimes a run must not change what it compares.
        file = os.open(relative, flags | os.O_NOATIME, dir_fd=fd)
    except PermissionError:  # it is another's
        file = os.open(relative, flags, dir_fd=fd)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        parts = []
        left = MAX_SIZE + 1
        while left > 0:
            part = os.read(file, left)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        if left <= 0:
            raise OSError(errno.EFBIG, "ignore file over 1 MiB")
        return b"".join(parts)
    finally:
        os.close(file)


def pack(files: Iterable[IgnoreFile]) -> bytes:
    """For the state."""
    return b"".join(
        pack_blob(file.directory)
        + pack_blob(file.name)
        + pack_blob(file.content)
        + _STAMP.pack(*file.stamp)
        for file in files
    )


def unpack(data: bytes) -> list[IgnoreFile]:
    """The inverse of `pack`; nothing where the data is damaged."""
    reader = Reader(data)
    files = []
    try:
        while reader.position < reader.end:
            directory, name, content = reader.blob(), reader.blob(), reader.blob()
            size, mtime, ctime, inode = _STAMP.unpack(reader.take(_STAMP.size))
            files.append(IgnoreFile(directory, name, content, (size, mtime, ctime, inode)))
    except Malformed:
        return []
    return files


def identity(files: Iterable[IgnoreFile]) -> bytes:
    """Digest of the set: equal on both sides exactly when the same rules are in force."""
    joined = b"".join(
        pack_blob(file.directory) + pack_blob(file.name) + pack_blob(file.content)
        for file in sorted(files)
    )
    return hashlib.sha256(joined).digest()[: digest.SIZE] if joined else digest.UNKNOWN


def weight(files: Iterable[IgnoreFile]) -> int:
    """Bytes of memory that these take."""
    return sum(_ONE + len(file.directory) + len(file.name) + len(file.content) for file in files)


def require_bounded(total: int) -> None:
    """Refuse ignore files that weigh ``total`` bytes, if that is more than anybody needs."""
    if total > _MAX_TOTAL:
        raise GuardRefused(
            f"The ignore files of the source are more than {_MAX_TOTAL >> 20} MiB in all. Nothing"
            " was changed; rename those that are none."
        )


def by_directory(files: Sequence[IgnoreFile]) -> dict[bytes, dict[bytes, bytes]]:
    """Names to contents, by the directory that they are in."""
    found: dict[bytes, dict[bytes, bytes]] = {}
    for file in files:
        found.setdefault(file.directory, {})[file.name] = file.content
    return found
