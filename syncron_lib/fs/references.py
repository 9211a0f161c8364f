"""What a source need not send: content that the destination has, or will have by then.

That is what an interrupted run brought over, what lies in the destination's own files, and what
this run has sent before. A file with such content is sent as a row without it.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.names import join
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import BLOCK, Changed, FileHasher
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.protocol.contents import Content
from syncron_lib.protocol.messages import Arrived

if TYPE_CHECKING:
    from syncron_lib.fs.view import Reader, View

LARGE = 128 << 10
"""Files of this size and more are worth reading to know their digest before they are sent."""
SMALLEST = 128
"""Bytes of a file below which nobody asks whether its content is there: the answer would cost as
much."""
REPEATED = 4096
"""Bytes from which on a content that was sent in this run is remembered, to be sent only once."""
_BEGINNINGS = 8
"""Of files of one size and time: each is compared by reading as much of the file here."""
REMEMBERED = 100_000
"""How many of these are remembered: some 20 MB on either side."""

Rows = Iterable[tuple[Node, Optional[list[int]]]]
"""Directories, and which of their rows are meant; None for all."""


def _files(parts: Rows) -> Iterator[tuple[Node, int, int]]:
    """(directory, row, size) of the regular files."""
    for node, rows in parts:
        columns = node.seen()
        sizes, modes = columns.sizes, columns.modes
        for row in range(len(sizes)) if rows is None else rows:
            if modes[row] & TYPE_MASK == stat.S_IFREG:
                yield node, row, sizes[row]


def sizes_of(parts: Rows) -> set[int]:
    """The sizes of files that are worth asking for."""
    return {size for _, _, size in _files(parts) if size >= SMALLEST}


class References:
    """The contents that a source may refer to."""

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        algorithm: digest.Algorithm,
        real_name: Callable[[bytes], bytes],
    ) -> None:
        self._algorithm = algorithm
        self._reads = tree, directories, real_name
        self.view: Optional[View] = None
        self._hasher: Optional[FileHasher] = None
        self.here: set[bytes] = set()
        """Digests."""
        self.most = REMEMBERED
        """How many may be in ``here`` before no more is remembered."""
        self._large: set[int] = set()
        """Sizes of the large files among them."""
        self._begun: dict[tuple[int, int], list[Arrived]] = {}
        """Beginnings of large files, by the whole file's size and time."""

    def forget(self) -> None:
        """Refer to nothing any more."""
        self.here.clear()
        self.most = 0
        self._large.clear()
        self._begun.clear()

    def arrived(self, arrived: Iterable[Arrived]) -> None:
        """The destination has this of an interrupted run."""
        for item in arrived:
            self._note(item.length, item.digest)
            if item.length < item.size:
                begun = self._begun.setdefault((item.size, item.mtime_ns), [])
                if len(begun) < _BEGINNINGS:
                    begun.append(item)

    def offer(self, contents: Iterable[Content]) -> set[int]:
        """The destination has these in its own files; the sizes of the large ones."""
        large = set()
        for size, value in contents:
            self._note(size, value)
            if size >= LARGE:
                large.add(size)
        return large

    def _note(self, size: int, value: bytes) -> None:
        if value not in self.here:
            self.here.add(value)
            self.most += 1
        if size >= LARGE:
            self._large.add(size)

    def sent(self, size: int, value: bytes) -> None:
        """A large file was sent."""
        if len(self.here) < self.most:
            self.here.add(value)
            self._large.add(size)

    def wanted(self, parts: Rows, sizes: set[int]) -> Iterator[tuple[bytes, bytes]]:
        """Paths and digests of the large files among ``parts`` that will be referred to."""
        for node, row, size in _files(parts):
            if size in sizes and self.has(node, row, size):
                yield join(node.path, node.columns().names[row]), self._known(node, row)

    def has(self, node: Node, row: int, size: int) -> bool:
        """Whether the destination has the content of a large file, which is read to know."""
        if size not in self._large:
            return False
        value = self._known(node, row)
        if value == digest.UNKNOWN:
            if self._hasher is None:
                tree, directories, real_name = self._reads
                self._hasher = FileHasher(
                    tree, directories, self._algorithm, lambda _: None, real_name
                )
                self._hasher.view = self.view
            # What cannot be read is said where it is sent.
            with contextlib.suppress(Changed, OSError):
                value = self._hasher.hash(join(node.path, node.columns().names[row]))
        return value in self.here

    def _known(self, node: Node, row: int) -> bytes:
        return bytes(node.digests[row * digest.SIZE : (row + 1) * digest.SIZE])

    def begun(self, reader: Reader, path: bytes, mtime_ns: int) -> tuple[digest.Hasher, int]:
        """How much of a large file the destination has, whatever it was called then: a hasher
        that has taken that in, and its length. ``reader`` is left at that place."""
        candidates = self._candidates(path, reader.size, mtime_ns)
        for item in candidates:
            hasher = self._algorithm.new()
            if self._read(reader, item.length, hasher) and (
                hasher.digest()[: digest.SIZE] == item.digest
            ):
                candidates.remove(item)  # it can be gone on with once
                return hasher, item.length
            reader.rewind()
        return self._algorithm.new(), 0

    def begun_of(self, path: bytes, size: int, mtime_ns: int) -> Optional[Arrived]:
        """The likeliest beginning of such a file; whoever uses it compares its digest."""
        return next(iter(self._candidates(path, size, mtime_ns)), None)

    def _candidates(self, path: bytes, size: int, mtime_ns: int) -> list[Arrived]:
        candidates = self._begun.get((size, mtime_ns), [])
        candidates.sort(key=lambda item: (item.path != path, -item.length))
        return candidates

    def _read(self, reader: Reader, length: int, hasher: digest.Hasher) -> bool:
        space = memoryview(bytearray(min(BLOCK, length)))
        while length:
            count = reader.read(space[:length])
            if not count:
                return False
            hasher.update(space[:count])
            length -= count
        return True
