"""Reading files to know their content: never through a symlink, never a special file."""

from __future__ import annotations

import errno
import os
import stat
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib.core import digest
from syncron_lib.core.names import split
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.stats import StatRow, Stats, is_same_file, is_settled
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.links import Links
    from syncron_lib.fs.view import Reader, View

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""``O_NONBLOCK`` so that a fifo that took the file's place cannot hold us."""

BLOCK = 1 << 20
"""Bytes read at once: a second megabyte gains nothing, and both fit the caches."""


class Changed(Exception):
    """A file is not, or did not stay, as it was scanned."""


class Found(NamedTuple):
    """Where a path of the tree is in its node."""

    node: Node
    row: int
    stats: StatRow

    @property
    def digest(self) -> bytes:
        """Its digest, as far as it is known."""
        return self.node.digest_of(self.row)


class Finder:
    """Finds entries of a tree by path; quick for runs of paths in one directory."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._packed = b""
        self._columns: Optional[Stats] = None

    def find(self, path: bytes) -> Optional[Found]:
        """The entry at ``path`` (not the root), None if the scan did not see it."""
        parent, name = split(path)
        node = self._tree.nodes.get(parent)
        if node is None or not node.stats:
            return None
        # By identity: whoever changes a node packs it anew.
        if node.stats is not self._packed or self._columns is None:
            self._packed, self._columns = node.stats, node.columns()
        columns = self._columns
        index = bisect_left(columns.names, name)
        if index == len(columns.names) or columns.names[index] != name:
            return None
        return Found(node, index, tuple(column[index] for column in columns))  # type: ignore[arg-type]


def open_scanned(
    directory_fd: int, name: bytes, scanned: StatRow, opener: Callable[..., Any] = os.open
) -> int:
    """Open a regular file that must still be as scanned; its descriptor.

    ``name`` is the name on disk. Raises Changed, or OSError.
    """
    try:
        fd: int = opener(name, OPEN_FILE, dir_fd=directory_fd)
    except FileNotFoundError:
        raise Changed("vanished") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Changed("changed its kind") from None
        raise
    try:
        if not is_same_file(scanned, os.fstat(fd)):
            raise Changed("changed since it was scanned")
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_small(fd: int, scanned: StatRow) -> bytes:
    """The content of an open file, which must be as scanned. Raises Changed and OSError."""
    data = os.read(fd, scanned[2] + 1)
    if len(data) != scanned[2] or not is_same_file(scanned, os.fstat(fd)):
        raise Changed("changed while it was read")
    return data


class FileHasher:
    """Computes digests of scanned files and notes them in their nodes."""

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        algorithm: digest.Algorithm,
        on_bytes: Callable[[int], None],
        real_name: Callable[[bytes], bytes],
    ) -> None:
        self._finder = Finder(tree)
        self._directories = directories
        self._algorithm = algorithm
        self.on_bytes = on_bytes
        self._real_name = real_name
        self._buffer = bytearray(BLOCK)
        self._read_so_far = 0
        self.elsewhere = 0
        """Bytes that a second process has read for it."""
        self.links: Optional[Links] = None
        """Which files have several names, so that they need be read once only."""
        self.view: Optional[View] = None
        """What sees some files sealed: the digests of these are of what it sees."""

    @property
    def is_entangled(self) -> bool:
        """Whether what it learns of one file is to be known when another is read."""
        return self.links is not None or (self.view is not None and self.view.active)

    @property
    def size(self) -> int:
        """Bytes read so far."""
        return self._read_so_far + self.elsewhere

    def hash(self, path: bytes) -> bytes:
        """Digest of the file at ``path``. Raises Changed or OSError."""
        found = self._finder.find(path)
        if found is None or not stat.S_ISREG(found.stats[1]):
            raise Changed("was not scanned as a file")
        if self.links is not None:
            known = found.digest
            if known != digest.UNKNOWN:  # by another of its names
                return known
        began = time.time_ns()
        directory = self._directories.open(found.node.path)
        opener = self._directories.opener
        fd = open_scanned(directory, self._real_name(path), found.stats, opener)
        try:
            sealed = found.node.sealed
            if sealed is not None and self.view is not None and found.stats[0] in sealed:
                value = self._of_sealed(self.view, path, fd, found.stats)
            else:
                value = self._read(fd, found.stats[2])
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if not is_same_file(found.stats, after):
            raise Changed("changed while it was read")
        settled = is_settled(found.stats[3], found.stats[4], began)
        found.node.set_digest(found.row, value, settled)
        if self.links is not None:
            self.links.share(path, self._finder)
        return value

    def _of_sealed(self, view: View, path: bytes, fd: int, scanned: StatRow) -> bytes:
        """The digest of what the other side sees of a file."""
        if scanned[2] < BLOCK:
            data = read_small(fd, scanned)
            self._read_so_far += len(data)
            self.on_bytes(len(data))
            return self._algorithm.of(view.seal(path, data, scanned, False))
        return self._read_all(view.reader(path, fd, scanned, False))

    def _read_all(self, reader: Reader) -> bytes:
        hasher = self._algorithm.new()
        view = memoryview(self._buffer)
        while count := reader.read(view):
            hasher.update(view[:count])
            self._read_so_far += count
            self.on_bytes(count)
        if not reader.is_true():
            raise Changed("changed while it was read")
        return hasher.digest()[: digest.SIZE]

    def _read(self, fd: int, size: int) -> bytes:
        buffer = self._buffer
        view = memoryview(buffer)
        count = os.readv(fd, (buffer,))
        if count < len(buffer):
            # Nearly every file ends here, as its size says; else a second read tells the end from a
            # short read.
            more = 0 if count == size else os.readv(fd, (view[count:],))
            if more == 0:
                self._read_so_far += count
                self.on_bytes(count)
                return self._algorithm.of(view[:count])
            count += more
        hasher = self._algorithm.new()
        while count:
            hasher.update(view[:count])
            self._read_so_far += count
            self.on_bytes(count)
            size -= count
            if size < 0:  # or one that grows as fast as it is read would keep us for ever
                raise Changed("changed while it was read")
            count = os.readv(fd, (buffer,))
        return hasher.digest()[: digest.SIZE]
