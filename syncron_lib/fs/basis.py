"""What a destination tells of its old files, so that only what is missing is sent."""

from __future__ import annotations

import os
import stat
from array import array
from bisect import bisect_left
from itertools import accumulate
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.chunks import MARK, ChunkList, average_for
from syncron_lib.core.names import split
from syncron_lib.errors import PeerViolation
from syncron_lib.fs import chunking, stats
from syncron_lib.fs.chunking import Cutter, Cutting
from syncron_lib.fs.chunklists import ChunkLists
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import Changed, Finder, open_scanned
from syncron_lib.fs.state import State
from syncron_lib.fs.stats import is_settled
from syncron_lib.fs.tree import Tree
from syncron_lib.protocol.messages import Chunks

MOST_AT_ONCE = 256 << 20
"""Bytes of a file that one part of a list may be about: so that it fits into a frame."""
_MOST_CHUNKS = 1 << 19
"""Chunks of a list that fits into a frame whole."""
_NOTHING = Chunks(0, b"", b"")


class OldFiles:
    """Chunk lists of a destination's files as they were scanned: kept ones, or cut when asked."""

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        algorithm: digest.Algorithm,
        lists: ChunkLists,
        state: Optional[State],
    ) -> None:
        self._finder = Finder(tree)
        self._directories = directories
        self._algorithm = algorithm
        self._lists = lists
        self._state = state
        self._path = b""
        self._size = 0
        self._next = 0
        self._cutting: Optional[Cutting] = None
        self._kept: Optional[ChunkList] = None
        self._offsets = _none()
        self._done: dict[bytes, ChunkList] = {}

    def part(self, path: bytes, chunker: str, start: int, end: int) -> Chunks:
        """The chunks that begin from ``start`` to before ``end``, to be asked for in order; or all
        of them for the first part, and none for those behind it. `_NOTHING` for a file that cannot
        be used."""
        if not start <= end <= start + MOST_AT_ONCE:
            raise PeerViolation("The client asked for chunks of no or too large a part of a file.")
        if chunker not in chunking.available():
            raise PeerViolation(f"The client asked for the chunker {chunker!r}.")
        if start == 0:
            self.close()
            self._begin(path, chunker)
        elif path != self._path or start != self._next:
            return _NOTHING
        self._next = end
        try:
            return self._part(start, end)
        except (Changed, OSError):
            self.close()
            return _NOTHING

    def _begin(self, path: bytes, chunker: str) -> None:
        self._path = path
        found = self._finder.find(path)
        if found is None or not stat.S_ISREG(found.stats[1]):
            return
        self._size = found.stats[2]
        row = found.row * digest.SIZE
        content = bytes(found.node.digests[row : row + digest.SIZE])
        self._kept = self._lists.find(self._state, path, content, chunker)
        if self._kept is not None:
            self._offsets = self._kept.offsets()
            if self._offsets[-1] == self._size:
                return
            self._kept = None
            self._offsets = _none()
        try:
            parent, name = split(path)
            opener = self._directories.opener
            fd = open_scanned(self._directories.open(parent), name, found.stats, opener)
        except (Changed, OSError):
            return
        average = average_for(self._size)
        cutter = Cutter(fd, self._size, chunker, average, self._algorithm)
        self._cutting = Cutting(found, fd, cutter)

    def _part(self, start: int, end: int) -> Chunks:
        chunks, cutting = self._kept, self._cutting
        if cutting is not None:
            cutter = cutting.cutter
            cutter.advance(end)
            chunks = cutter.chunks
            more = accumulate(chunks.sizes[len(self._offsets) - 1 :], initial=self._offsets.pop())
            self._offsets.extend(more)
            if end >= self._size:
                self._end(cutting)
        if chunks is None:
            return _NOTHING
        if cutting is None and len(chunks.sizes) <= _MOST_CHUNKS:
            # All at once: the source need not wait for the rest to begin with what it sends.
            start, end = (0 if start == 0 else self._size), self._size
        first, last = (bisect_left(self._offsets, place) for place in (start, end))
        last = min(last, len(chunks.sizes))
        if end >= self._size:
            self._done[self._path] = chunks
        marks = bytes(chunks.marks[first * MARK : last * MARK])
        return Chunks(chunks.average, chunks.sizes[first:last].tobytes(), marks)

    def _end(self, cutting: Cutting) -> None:
        """All is read: now the digest of the file is known too."""
        found = cutting.found
        if stats.row(found.stats[0], self._directories.disk.fstat(cutting.fd)) != found.stats:
            raise Changed("changed while it was read")
        value = cutting.cutter.digest()
        settled = is_settled(found.stats[3], found.stats[4], cutting.began)
        found.node.set_digest(found.row, value, settled)
        self._lists.note(self._path, value, cutting.cutter.chunks)
        os.close(cutting.fd)
        self._cutting = None
        self._kept = cutting.cutter.chunks

    def take(self, path: bytes) -> Optional[ChunkList]:
        """The list that was told of ``path``, which is not kept here any longer."""
        return self._done.pop(path, None)

    def close(self) -> None:
        """Let go of a file that was not asked for to its end."""
        if self._cutting is not None:
            os.close(self._cutting.fd)
        self._cutting = self._kept = None
        self._offsets = _none()
        self._path = b""


def _none() -> array[int]:
    """Offsets of no chunks."""
    return array("Q", (0,))
