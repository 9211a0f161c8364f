"""Chunk lists of large files, kept between runs by the digest of what they are lists of."""

from __future__ import annotations

import sqlite3
import stat
from array import array
from collections.abc import Mapping
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.chunks import MARK, ChunkList, is_average
from syncron_lib.fs.hashing import Finder
from syncron_lib.fs.state import ChunkRow, State
from syncron_lib.fs.tree import Tree

_MOST = 64 << 20
"""Bytes of lists that one run holds to be kept: those of some 100 GiB of files."""


class ChunkLists:
    """The lists that one run has come to know of one root's files, and those of earlier runs.

    A list is believed as long as the file's digest is, and is the one that the list was made
    with: it has no rule of its own about when a file counts as unchanged.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Optional[tuple[bytes, ChunkList]]] = {}
        self._weight = 0

    def note(self, path: bytes, content: bytes, chunks: ChunkList) -> None:
        """Keep the list of the file at ``path``, whose digest is ``content``."""
        if self._weight + chunks.weight <= _MOST:
            self._weight += chunks.weight
            self._known[path] = content, chunks

    def forget(self, path: bytes) -> None:
        """What was kept for ``path`` has proved to be wrong."""
        self._known[path] = None

    def find(
        self, state: Optional[State], path: bytes, content: bytes, chunker: str
    ) -> Optional[ChunkList]:
        """The list of the file at ``path`` with the digest ``content``, if one is kept."""
        if content == digest.UNKNOWN or state is None or path in self._known:
            return None
        try:
            row = state.chunk_row(path)
        except sqlite3.DatabaseError:
            return None
        if row is None or (row.content, row.chunker) != (content, chunker):
            return None
        if len(row.marks) * 4 != len(row.sizes) * MARK or not is_average(row.average):
            return None
        chunks = ChunkList(row.chunker, row.average)
        sizes = array("I", row.sizes)
        if min(sizes, default=0) == 0:
            return None
        chunks.add(sizes, row.marks)
        return chunks

    def rows(self, state: State, tree: Tree) -> Mapping[bytes, Optional[ChunkRow]]:
        """What is to be kept by path; None for what is to be kept no longer."""
        finder = Finder(tree)
        rows: dict[bytes, Optional[ChunkRow]] = {}
        for path, known in self._known.items():
            rows[path] = None
            found = finder.find(path)
            if known is None or found is None or not stat.S_ISREG(found.stats[1]):
                continue
            content, chunks = known
            start = found.row * digest.SIZE
            if found.node.lasting_digests()[start : start + digest.SIZE] == content:
                rows[path] = ChunkRow(
                    content,
                    chunks.chunker,
                    chunks.average,
                    chunks.sizes.tobytes(),
                    bytes(chunks.marks),
                )
        if rows:
            for path in state.chunk_paths():
                if path not in rows and finder.find(path) is None:
                    rows[path] = None
        return rows
