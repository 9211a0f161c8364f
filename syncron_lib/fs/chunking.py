"""Cutting files into chunks, as they are read."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from typing import Any, Optional

from syncron_lib.core import digest
from syncron_lib.core.chunks import FASTCDC, FIXED, MARK, ChunkList, Named
from syncron_lib.fs.hashing import Changed, Found

_BUFFER = 2 << 20
"""Bytes read at once: it should stay in the caches until it is cut and hashed."""


def available() -> list[str]:
    """Ways to cut of this interpreter, best first. Imports nothing: most runs never cut."""
    return [FASTCDC, FIXED] if _has_pyfastcdc() else [FIXED]


@cache  # what the greeting said holds to the end, whatever happens to the disk
def _has_pyfastcdc() -> bool:
    """Whether pyfastcdc is here with its compiled part; without it, it is too slow to be of use."""
    if "pyfastcdc" in sys.modules:
        found: Any = sys.modules["pyfastcdc"].__path__
    else:
        spec = PathFinder.find_spec("pyfastcdc")
        found = None if spec is None else spec.submodule_search_locations
    for place in found or ():
        try:
            names = os.listdir(os.path.join(place, "cy"))
        except OSError:
            continue
        if any(f"fastcdc{suffix}" in names for suffix in EXTENSION_SUFFIXES):
            return True
    return False


class Cutter:
    """Reads one file once, from its beginning: its chunks, and its digest.

    Where the cuts are depends on the content alone, not on how it was read.
    """

    def __init__(
        self, fd: int, size: int, chunker: str, average: int, algorithm: digest.Algorithm
    ) -> None:
        """``fd`` stays the caller's; it is read without moving its place."""
        self._fd = fd
        self._size = size
        self._of = algorithm.of
        self._hasher = algorithm.new()
        self._largest = average * 4 if chunker == FASTCDC else average
        self._fastcdc: Optional[Any] = None
        if chunker == FASTCDC:
            from pyfastcdc import FastCDC

            # A chunk of less than a quarter of the average would cost more to name than it saves.
            self._fastcdc = FastCDC(average, min_size=average // 4, max_size=self._largest)
        self._buffer = bytearray(_BUFFER + self._largest)
        self._held = 0
        """Bytes at the front of the buffer that are read and not cut yet."""
        self._read = 0
        self._expected: list[tuple[bytes, int]] = []
        self._places: dict[bytes, int] = {}
        self._following = 0
        """The expected chunk that should come next."""
        self.chunks = ChunkList(chunker, average)
        self.end = 0
        """Where the last chunk so far ends."""

    def advance(self, until: int) -> None:
        """Read and cut until all chunks that begin before ``until`` are known.

        Raises OSError, or Changed where the file has become shorter.
        """
        until = min(until, self._size)
        while self.end < until:
            self._advance()

    def named(self) -> Iterator[Named]:
        """All chunks in order, reading on where there are no more yet. Raises as `advance`."""
        first = 0
        while True:
            yield from self.chunks.named(first)
            first = len(self.chunks.sizes)
            if self.end >= self._size:
                return
            self._advance()

    def _advance(self) -> None:
        """Read another buffer, and cut what is certain of it."""
        view = memoryview(self._buffer)
        wanted = min(len(view) - self._held, self._size - self._read)
        count = os.preadv(self._fd, (view[self._held : self._held + wanted],), self._read)
        if not count and wanted:
            raise Changed("changed while it was read")
        self._hasher.update(view[self._held : self._held + count])
        self._read += count
        filled = self._held + count
        self._take(view[:filled], self._read == self._size)

    def expect(self, sizes: Sequence[int], marks: bytes) -> None:
        """Chunks that the file may be made of, behind those that were named before. Where the
        bytes are those of the chunk that should come next, they are it, and need not be cut: an
        edited file is read some five times as fast."""
        first = len(self._expected)
        names = [marks[start : start + MARK] for start in range(0, len(marks), MARK)]
        self._expected.extend(zip(names, sizes))
        self._places.update(zip(names, range(first, len(self._expected))))

    def _take(self, data: memoryview, final: bool) -> None:
        """Cut what is certain: the last chunks could be cut elsewhere if more bytes were known."""
        of = self._of
        expected, places, following = self._expected, self._places, self._following
        sizes: list[int] = []
        marks: list[bytes] = []
        length = len(data)
        certain = length - 1 if final else length - self._largest
        end = 0
        cuts = None
        while end <= certain:
            if following < len(expected):
                name, size = expected[following]
                if end + size <= length and of(data[end : end + size])[:MARK] == name:
                    sizes.append(size)
                    marks.append(name)
                    end += size
                    following += 1
                    cuts = None
                    continue
            if cuts is None:
                cuts = self._cuts(data, end)
            piece = next(cuts)
            name = of(piece)[:MARK]
            sizes.append(len(piece))
            marks.append(name)
            end += len(piece)
            # What was edited has mostly its old end; else the chunk is somewhere, or new.
            following = places.get(name, following) + 1
        self._following = following
        self.chunks.add(sizes, b"".join(marks))
        self.end += end
        self._held = length - end
        # They may overlap, which a memoryview's own assignment allows for.
        memoryview(self._buffer)[: self._held] = data[end:]

    def _cuts(self, data: memoryview, begin: int) -> Iterator[memoryview]:
        """The pieces of ``data`` from ``begin`` on."""
        if self._fastcdc is not None:
            for chunk in self._fastcdc.cut_buf(data[begin:]):
                yield chunk.data
        else:
            for start in range(begin, len(data), self._largest):
                yield data[start : start + self._largest]

    def digest(self) -> bytes:
        """The digest of the whole file, all of which must have been cut."""
        return self._hasher.digest()[: digest.SIZE]


class Cutting:
    """One scanned file that is being cut; ``fd`` is open until whoever cuts it is done."""

    def __init__(self, found: Found, fd: int, cutter: Cutter) -> None:
        self.found = found
        self.fd = fd
        self.cutter = cutter
        self.began = time.time_ns()
