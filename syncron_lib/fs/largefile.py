"""Large files on their way in: bytes that are sent, and steps that copy what is here already."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from array import array
from bisect import bisect_left
from typing import Optional, Union

from syncron_lib.core import digest
from syncron_lib.core.chunks import MARK, ChunkList, StepKind
from syncron_lib.core.names import shown
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.allocation import PLAIN, Manner, reserve
from syncron_lib.fs.staging import Staging
from syncron_lib.fs.writebehind import BLOCK, WriteBehind, close_beside, write_at
from syncron_lib.protocol.pack import Delta, Piece
from syncron_lib.record import NamedTuple

_BESIDE = 8 << 20
"""Bytes from which on a copy, or freeing a file, is worth a thread."""
_CLONE = 0x4020940D
"""``FICLONERANGE`` of ioctl_ficlonerange(2); where it has another number, nothing is cloned."""
_CLONE_ARGUMENT = struct.Struct("=qQQQ")
_CLONE_GRAIN = 4096
"""File systems clone whole blocks of theirs; all that clone have blocks of this size by default."""
_PAGE = 4096
"""What is compared, and written only if it differs, in place."""


class Place(NamedTuple):
    """Where a file is put together: ``name`` in ``staging``, or the old file itself (None)."""

    staging: Optional[Staging]
    name: bytes
    fd: int


class Old(NamedTuple):
    """The file that is replaced, open. ``chunks``: its list, where it was told to the source."""

    fd: int
    size: int
    chunks: Optional[ChunkList]


class LargeFile:
    """One large file that is arriving, in order."""

    def __init__(
        self,
        path: bytes,
        size: int,
        place: Place,
        algorithm: digest.Algorithm,
        old: Optional[Old] = None,
        manner: Manner = PLAIN,
    ) -> None:
        """``old``: what steps may copy from; in place it is the file itself. ``manner``: how a new
        file is written."""
        self._write_at = manner.write_at
        self._sparse = manner.sparse
        self.path = path
        self.size = size
        self.place = place
        self.hasher = algorithm.new()
        self.position = 0
        self.put_together = False
        """Whether any of it was not sent."""
        self._of = algorithm.of
        self._old = old
        self._clones = place.staging is not None
        self._track = _Track(old.chunks) if old is not None and old.chunks is not None else None
        self._buffer = bytearray()
        self._there = bytearray()
        self._behind: Optional[WriteBehind] = None

    @property
    def in_place(self) -> bool:
        """Whether the old file itself is written to."""
        return self.place.staging is None

    def reserve(self) -> None:
        """Take room for all of it. Raises OSError where there is none."""
        if not self.in_place or self.size > os.fstat(self.place.fd).st_size:
            reserve(self.place.fd, self.size)

    def go_on(self, hasher: digest.Hasher, length: int) -> None:
        """``length`` bytes are here already, and in ``hasher``."""
        self.hasher = hasher
        self.position = length
        self._track = None

    def write(self, pack: Union[Piece, Delta]) -> None:
        """Take the next part. Raises OSError."""
        if self.path != pack.path or self.size != pack.size:
            raise PeerViolation("The other side mixed pieces of two files.")
        if self.position != pack.offset:
            raise PeerViolation(f"The other side sent a piece of {shown(self.path)} out of place.")
        body = memoryview(pack.body)
        if isinstance(pack, Piece):
            self._track = None
            self._literal(body)
            return
        used = 0
        for kind, offset, length in pack.steps:
            if kind == StepKind.LITERAL:
                data = body[used : used + length]
                used += length
                if self._track is not None:
                    self._track.literal(length, self._of(data)[:MARK])
                self._literal(data)
            elif kind == StepKind.COPY:
                self._copy(offset, length)
            else:
                if self._track is not None:
                    self._track.repeat(offset, length)
                self._drain()
                self._move(self.place.fd, offset, length)

    def chunks(self) -> Optional[ChunkList]:
        """The list of the file as it is now, where it is known."""
        return None if self._track is None else self._track.new

    # --- bytes ------------------------------------------------------------------------------------

    def _literal(self, data: memoryview) -> None:
        self.hasher.update(data)
        if self.in_place:
            self._write_what_differs(data)
        else:
            self._drain()
            self._write_at(self.place.fd, data, self.position)
        self.position += len(data)

    def _drain(self) -> None:
        if self._behind is not None:
            self._behind.drain()

    def _copy(self, offset: int, length: int) -> None:
        old = self._old
        if old is None or offset + length > old.size:
            raise PeerViolation(
                f"The other side counts on content of {shown(self.path)} that is not here."
            )
        self.put_together = True
        if self._track is not None:
            self._track.copy(offset, length)
        if not self.in_place:
            self._clone(old.fd, offset, length)
        elif offset < self.position:
            raise PeerViolation(
                f"The other side counts on content of {shown(self.path)} that is overwritten."
            )
        elif offset == self.position:
            self._move(old.fd, offset, length, write=False)
        else:
            self._move(old.fd, offset, length)

    def _clone(self, fd: int, offset: int, length: int) -> None:
        """Share the blocks of the old file where the file system can, else copy them."""
        begin = min(-self.position % _CLONE_GRAIN, length)
        whole = (length - begin) // _CLONE_GRAIN * _CLONE_GRAIN
        if not self._clones or (self.position - offset) % _CLONE_GRAIN or not whole:
            if length >= _BESIDE and not self._sparse:
                self._stream(fd, offset, length)
            else:
                self._drain()
                self._move(fd, offset, length)
            return
        self._drain()
        self._move(fd, offset, begin)
        offset += begin
        argument = _CLONE_ARGUMENT.pack(fd, offset, whole, self.position)
        try:
            fcntl.ioctl(self.place.fd, _CLONE, argument)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._clones = False
        # What is shared is read all the same: the digest is of what is there now.
        self._move(fd, offset, whole, write=not self._clones)
        self._move(fd, offset + whole, length - begin - whole)

    def _stream(self, fd: int, offset: int, length: int) -> None:
        """The same for much of another file."""
        if self._behind is None:
            self._behind = WriteBehind(self.place.fd)
        behind = self._behind
        end = offset + length
        while offset < end:
            buffer = behind.buffer()
            view = memoryview(buffer)[: min(BLOCK, end - offset)]
            count = os.preadv(fd, (view,), offset)
            if not count:
                behind.unused(buffer)
                raise OSError(errno.ESTALE, "its old content became shorter")
            self.hasher.update(view[:count])
            behind.write(buffer, count, self.position)
            self.position += count
            offset += count

    def _move(self, fd: int, offset: int, length: int, *, write: bool = True) -> None:
        """Take ``length`` bytes of ``fd`` from ``offset`` on, as the next ones; ``write`` them
        where they are not in their place already. Forwards, so that what is ahead may overlap."""
        if not self._buffer:
            # copy_file_range would copy in the kernel, and what it copied would be read after that
            # to be hashed: measured at one and a half times the cost of this.
            self._buffer = bytearray(BLOCK)
        view = memoryview(self._buffer)
        end = offset + length
        while offset < end:
            count = os.preadv(fd, (view[: min(BLOCK, end - offset)],), offset)
            if not count:
                raise OSError(errno.ESTALE, "its old content became shorter")
            self.hasher.update(view[:count])
            if write and self.in_place:
                self._write_what_differs(view[:count])
            elif write:
                self._write_at(self.place.fd, view[:count], self.position)
            self.position += count
            offset += count

    def _write_what_differs(self, data: memoryview) -> None:
        """Write what is not there already, page by page: whoever keeps snapshots of the file
        system pays for each block that is written."""
        place, fd = self.position, self.place.fd
        if len(self._there) < len(data):
            self._there = bytearray(len(data))
        view = memoryview(self._there)[: len(data)]
        count = os.preadv(fd, (view,), place)
        begin = end = 0
        while end < len(data):
            # Pages of the file, not of the piece.
            next_ = min(len(data), end + _PAGE - (place + end) % _PAGE)
            if next_ <= count and view[end:next_] == data[end:next_]:
                write_at(fd, data[begin:end], place + begin)
                begin = next_
            end = next_
        write_at(fd, data[begin:], place + begin)

    # --- the end ----------------------------------------------------------------------------------

    def is_whole(self, value: bytes) -> bool:
        """Whether all is here, and has the digest ``value``. Raises OSError."""
        self._drain()
        return self.position == self.size and self.hasher.digest()[: digest.SIZE] == value

    def close(self) -> None:
        """Let go; what is staged stays."""
        if self._behind is not None:
            self._behind.close()
        os.close(self.place.fd)
        old = self._old
        if old is not None and old.fd != self.place.fd:
            if old.size >= _BESIDE:
                close_beside(old.fd)
            else:
                os.close(old.fd)

    def move(self, place: Place) -> None:
        """All of it has been copied to another place."""
        self.remove()
        os.close(self.place.fd)
        self.place = place

    def remove(self) -> None:
        """Remove what is staged."""
        if self.place.staging is not None:
            self.place.staging.remove(self.place.name)


class _Track:
    """Follows the steps chunk by chunk, so that the new file's list needs no other reading of it.
    Gives up where the source steps over the borders of chunks."""

    def __init__(self, old: ChunkList) -> None:
        self._old = old
        self._old_offsets = old.offsets()
        self._offsets = array("Q", (0,))
        self.new: Optional[ChunkList] = ChunkList(old.chunker, old.average)

    def literal(self, length: int, mark: bytes) -> None:
        """One chunk that was sent."""
        self._add(array("I", (length,)), mark)

    def copy(self, offset: int, length: int) -> None:
        """Some chunks of the old file."""
        self._take(self._old, self._old_offsets, offset, length)

    def repeat(self, offset: int, length: int) -> None:
        """Some chunks of the new file."""
        if self.new is not None:
            self._take(self.new, self._offsets, offset, length)

    def _take(self, chunks: ChunkList, offsets: array[int], offset: int, length: int) -> None:
        first = bisect_left(offsets, offset)
        last = bisect_left(offsets, offset + length, first)
        if last == len(offsets) or (offsets[first], offsets[last]) != (offset, offset + length):
            self.new = None
            return
        self._add(chunks.sizes[first:last], bytes(chunks.marks[first * MARK : last * MARK]))

    def _add(self, sizes: array[int], marks: bytes) -> None:
        if self.new is None:
            return
        self.new.add(sizes, marks)
        place = self._offsets[-1]
        for size in sizes:
            place += size
            self._offsets.append(place)


def write_all(fd: int, data: memoryview) -> None:
    """Write all of ``data`` at the descriptor's place."""
    count = os.write(fd, data)
    while count < len(data):
        count += os.write(fd, data[count:])
