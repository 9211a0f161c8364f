"""Sending large files as what is missing of them at the destination."""

from __future__ import annotations

import os
import stat
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.chunks import MARK, ChunkList, Step, StepKind, is_average, recipe
from syncron_lib.core.merkle import Attributes
from syncron_lib.errors import PeerViolation
from syncron_lib.fs import chunking, stats
from syncron_lib.fs.chunking import Cutter, Cutting
from syncron_lib.fs.chunklists import ChunkLists
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import Changed, Finder, open_scanned
from syncron_lib.fs.stats import is_settled
from syncron_lib.fs.tree import Tree
from syncron_lib.protocol.messages import Arrived, Basis
from syncron_lib.protocol.pack import Delta

_LITERAL = 1 << 20
"""Bytes of content in one pack."""
_MADE = 32 << 20
"""Bytes of the file that one pack makes: the destination writes while the next are looked for."""
_STEPS = 1 << 14
"""Steps in one pack."""
_AHEAD = 16
"""Large files whose cutting is begun while their lists are still coming: each is held open."""
_MOST_HELD = 64 << 20
"""Bytes of lists that a client may have told and not selected yet."""


class _Told:
    """What is known of one file's old content."""

    def __init__(self, chunks: ChunkList, in_place: bool) -> None:
        self.chunks = chunks
        self.in_place = in_place
        self.size = 0
        self.cutting: Optional[Cutting] = None


class Bases:
    """What the destination has of files that will be selected.

    While the list of a file comes in parts, the file here is cut as far as the list goes: both
    sides read theirs at the same time.
    """

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        algorithm: digest.Algorithm,
        real_name: Callable[[bytes], bytes],
        lists: ChunkLists,
    ) -> None:
        self._finder = Finder(tree)
        self._directories = directories
        self._algorithm = algorithm
        self._real_name = real_name
        self._lists = lists
        self._told: dict[bytes, _Told] = {}
        self._held = 0

    def __contains__(self, path: bytes) -> bool:
        return path in self._told

    def __bool__(self) -> bool:
        return bool(self._told)

    def add(self, basis: Basis) -> None:
        """Take a part of a list; the files that it is about are selected afterwards."""
        path = basis.path
        if not basis.average:
            self._drop(path)
            return
        sizes = _checked(basis)
        self._held += len(sizes) * (4 + MARK)
        if self._held > _MOST_HELD:
            raise PeerViolation("The client told of more chunks than it may at once.")
        told = self._told.get(path)
        if told is None:
            chunks = ChunkList(basis.chunker, basis.average)
            told = self._told[path] = _Told(chunks, basis.in_place)
        told.chunks.add(sizes, basis.marks)
        if told.cutting is not None:
            told.cutting.cutter.expect(sizes, basis.marks)
        told.size += sum(sizes)
        if basis.more or told.cutting is not None:
            self._cut_ahead(path, told)

    def _cut_ahead(self, path: bytes, told: _Told) -> None:
        try:
            begun = sum(1 for each in self._told.values() if each.cutting is not None)
            if told.cutting is None and begun < _AHEAD:
                told.cutting = self._open(path, told)
            if told.cutting is not None:
                told.cutting.cutter.advance(told.size)
        except (Changed, OSError):  # said where it is selected
            self._drop(path)

    def _open(self, path: bytes, told: _Told) -> Cutting:
        found = self._finder.find(path)
        if found is None or not stat.S_ISREG(found.stats[1]):
            raise Changed("was not scanned as a file")
        began = time.time_ns()
        directory = self._directories.open(found.node.path)
        opener = self._directories.opener
        fd = open_scanned(directory, self._real_name(path), found.stats, opener)
        chunks, algorithm = told.chunks, self._algorithm
        cutter = Cutter(fd, found.stats[2], chunks.chunker, chunks.average, algorithm)
        cutter.expect(chunks.sizes, bytes(chunks.marks))
        cutting = Cutting(found, fd, cutter)
        cutting.began = began
        return cutting

    def _drop(self, path: bytes) -> None:
        told = self._told.pop(path, None)
        if told is not None:
            self._held -= told.chunks.weight
            if told.cutting is not None:
                os.close(told.cutting.fd)

    def deltas(self, path: bytes, arrived: Optional[Arrived]) -> Iterator[Delta]:
        """The file at ``path``, of which something has been told, as deltas; a body is valid until
        the next one is asked for. The last one has *failed* where the file is not, or did not
        stay, as scanned. Raises Changed or OSError where it cannot be begun."""
        told = self._told[path]
        try:
            if told.cutting is None:
                told.cutting = self._open(path, told)
            cutting, told.cutting = told.cutting, None
        finally:
            self._drop(path)
        try:
            yield from _Making(path, cutting, told, self._algorithm, self._lists).deltas(arrived)
        finally:
            os.close(cutting.fd)

    def close(self) -> None:
        """Let go of what was told and not selected."""
        for path in list(self._told):
            self._drop(path)


def _checked(basis: Basis) -> array[int]:
    """The sizes of a list's part, as far as they can be those of chunks."""
    if basis.chunker not in chunking.available() or not is_average(basis.average):
        raise PeerViolation("The client told of chunks that cannot be cut here.")
    if len(basis.sizes) % 4 or len(basis.marks) * 4 != len(basis.sizes) * MARK:
        raise PeerViolation("The client told of chunks without their marks.")
    sizes = array("I", basis.sizes)
    if sizes and not 0 < min(sizes) <= max(sizes) <= basis.average * 4:
        raise PeerViolation("The client told of chunks of a size that none has.")
    return sizes


class _Making:
    """One file, from its cuts to deltas."""

    def __init__(
        self,
        path: bytes,
        cutting: Cutting,
        told: _Told,
        algorithm: digest.Algorithm,
        lists: ChunkLists,
    ) -> None:
        self._path = path
        self._cutting = cutting
        self._told = told
        self._algorithm = algorithm
        self._lists = lists
        _, mode, size, mtime, _, _, uid, gid = cutting.found.stats
        self._attributes = Attributes(mode, mtime, uid, gid)
        self._size = size
        self._place = 0
        self._body = bytearray()

    def deltas(self, arrived: Optional[Arrived]) -> Iterator[Delta]:
        cutting = self._cutting
        try:
            self._place = self._begin(arrived)
            if self._place and arrived is not None:
                # What it goes on behind is named by its digest.
                own, size = self._attributes, self._size
                yield Delta(
                    self._path, own, size, self._place, False, False, arrived.digest, 0, (), b""
                )
            chunks, told = cutting.cutter.named(), self._told
            pending: list[Step] = []
            made = 0
            for step in recipe(chunks, told.chunks, in_place=told.in_place, start=self._place):
                if pending and (
                    len(self._body) + step.length * (step.kind == StepKind.LITERAL) > _LITERAL
                    or made >= _MADE
                    or len(pending) >= _STEPS
                ):
                    yield self._delta(pending, made)
                    pending, made = [], 0
                if step.kind == StepKind.LITERAL:
                    self._read(self._place + made, step.length)
                pending.append(step)
                made += step.length
            value = self._ended()
        except (Changed, OSError) as error:
            del self._body[:]
            yield self._delta([], 0, failed=True)
            raise error
        yield self._delta(pending, made, value)

    def _delta(
        self, steps: list[Step], made: int, value: bytes = digest.UNKNOWN, failed: bool = False
    ) -> Delta:
        last = failed or value != digest.UNKNOWN
        place = self._place
        self._place += made
        body, self._body = self._body, bytearray()
        own = self._attributes
        return Delta(self._path, own, self._size, place, last, failed, value, made, steps, body)

    def _begin(self, arrived: Optional[Arrived]) -> int:
        """How much of the new file is at the destination already, as an interrupted run left it."""
        row = self._cutting.found.stats
        if arrived is None or (arrived.size, arrived.mtime_ns) != (row[2], row[3]):
            return 0
        if arrived.length > self._size or self._told.in_place:
            return 0
        hasher = self._algorithm.new()
        buffer = memoryview(bytearray(_LITERAL))
        place = 0
        while place < arrived.length:
            wanted = min(_LITERAL, arrived.length - place)
            count = os.preadv(self._cutting.fd, (buffer[:wanted],), place)
            if not count:
                raise Changed("changed while it was read")
            hasher.update(buffer[:count])
            place += count
        return place if hasher.digest()[: digest.SIZE] == arrived.digest else 0

    def _read(self, place: int, length: int) -> None:
        """Read a literal behind those in the body. Should it not be what was cut, the file has
        changed since, which is seen at the end."""
        data = os.pread(self._cutting.fd, length, place)
        if len(data) != length:
            raise Changed("changed while it was read")
        self._body += data

    def _ended(self) -> bytes:
        """All is read: its digest, if it stayed as it was."""
        found = self._cutting.found
        if not stats.is_same_file(found.stats, os.fstat(self._cutting.fd)):
            raise Changed("changed while it was read")
        value = self._cutting.cutter.digest()
        settled = is_settled(found.stats[3], found.stats[4], self._cutting.began)
        found.node.set_digest(found.row, value, settled)
        self._lists.note(self._path, value, self._cutting.cutter.chunks)
        return value
