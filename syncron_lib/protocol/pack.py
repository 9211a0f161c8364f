"""Packs: content on its way from a source to a destination.

A pack is one of three things: *groups* (small files of some directories, many in one frame, with
one body), a *piece* of one large file, a *delta* (how to put such a piece together from what the
destination has), or the *end* of what was selected. Small files cost one
row in a table and their bytes in the body; nothing is sent back for each.

Layout: ``u8 kind | u8 compression | u32 files | u32 busy | u32 doubts | u64 content bytes | u32
header length | u32 raw length``, then header and body together (``raw length`` bytes, compressed
if so marked).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Optional, Protocol, TypeVar, Union, cast

from syncron_lib.core.chunks import Step, StepKind
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import is_valid_path
from syncron_lib.core.table import Malformed, Reader, Table, pack_blob, unpack
from syncron_lib.core.table import pack as pack_table
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.compression import Compressor, Method, decompress
from syncron_lib.protocol.messages import Next, Problem
from syncron_lib.record import NamedTuple

Buffer = Union[bytes, bytearray, memoryview]

HEAD = struct.Struct("<BBIIIQII")
_GROUP = struct.Struct("<BIqII")
_PIECE = struct.Struct("<IqIIQQB16s")
_COUNT = struct.Struct("<I")
_STEP = struct.Struct("<BQI")

MAX_RAW = 32 << 20
"""Bytes that header and body may have after decompression: checked before it is tried."""

MAX_STEPS = 1 << 16
"""Steps of one delta: each is an object while it is carried out."""
MAX_MADE = 128 << 20
"""Bytes of a file that one delta makes: a few bytes of steps must not keep a destination busy for
hours, in which it does not listen."""


class PackKind(IntEnum):
    """What a pack holds."""

    GROUPS = 0
    PIECE = 1
    END = 2
    DELTA = 3


class Head(NamedTuple):
    """What the client reads of a pack that it passes on. ``content``: bytes of files, as they
    are at the source; ``files``: files completed by this pack; ``busy``: microseconds that it took
    the source to make it, which tells a slow source from a slow link; ``doubts``: problems in it,
    and files whose content the destination is to find itself. Of a delta, ``content`` is what it
    makes, and the body what it brings."""

    kind: int
    compression: int
    files: int
    busy: int
    doubts: int
    content: int
    header_length: int
    raw_length: int

    @property
    def literal(self) -> int:
        """Bytes of content that the pack brings."""
        return self.raw_length - self.header_length


class Group(NamedTuple):
    """Entries of one directory.

    ``new``: the directory is made by this run and staged; ``last``: its last group. ``kept``:
    files whose content the destination said it has (`Arrived`); they have no bytes in the body.
    ``attributes``: the directory's own, used where it is new.
    """

    path: bytes
    new: bool
    last: bool
    kept: bool
    attributes: Attributes
    table: Table


class Groups(NamedTuple):
    """Small files. ``body``: contents of all regular files of all groups that are not kept, in
    order."""

    groups: Sequence[Group]
    problems: Sequence[Problem]
    body: Buffer


class Piece(NamedTuple):
    """Bytes of a large file from ``offset`` on. ``digest`` is of the whole file, known in the
    last piece. ``failed``, in a last piece: the file could not be read to its end; what came of it
    is kept for the next run, and not published."""

    path: bytes
    attributes: Attributes
    size: int
    offset: int
    last: bool
    failed: bool
    digest: bytes
    body: Buffer


class Delta(NamedTuple):
    """A piece of a large file as steps: its literals, one after the other, are the ``body``.
    The rest is as in `Piece`; ``length``: bytes that it makes."""

    path: bytes
    attributes: Attributes
    size: int
    offset: int
    last: bool
    failed: bool
    digest: bytes
    length: int
    steps: Sequence[Step]
    body: Buffer


class End(NamedTuple):
    """All that was selected has been sent."""


Pack = Union[Groups, Piece, Delta, End]
_Some = TypeVar("_Some")


PLAIN = Next()
"""Asks for a pack that is not compressed."""


class Renaming(Protocol):
    """A tree whose names are others on the other side."""

    def outgoing(self, pack: Pack) -> Pack:
        """A pack as it is there."""

    def incoming(self, pack: Pack) -> Optional[Pack]:
        """A pack from there as it is here; None for one of nothing that counts."""


class Packer:
    """Encodes packs, compressed as was asked for if that shrinks them."""

    def __init__(self) -> None:
        self._compressor = Compressor()
        self.naming: Optional[Renaming] = None

    def groups(self, pack: Groups, wanted: Next) -> list[Buffer]:
        """Encode; the parts are to be sent one after the other."""
        pack = self._named(pack)
        header = [_COUNT.pack(len(pack.groups))]
        files = 0
        for group in pack.groups:
            flags = group.new | group.last << 1 | group.kept << 2
            header.append(pack_blob(group.path))
            header.append(_GROUP.pack(flags, *group.attributes))
            header.append(pack_table(group.table))
            files += len(group.table.names)
        header.append(_COUNT.pack(len(pack.problems)))
        for problem in pack.problems:
            header.append(pack_blob(problem.path))
            header.append(pack_blob(problem.what.encode("utf-8", "replace")[:4096]))
            header.append(b"\1" if problem.vanished else b"\0")
        counts = files, _doubts(pack)
        return self._seal(PackKind.GROUPS, counts, b"".join(header), pack.body, wanted)

    def piece(self, pack: Piece, wanted: Next) -> list[Buffer]:
        """Encode one piece."""
        pack = self._named(pack)
        flags = pack.last | pack.failed << 1
        fixed = _PIECE.pack(*pack.attributes, pack.size, pack.offset, flags, pack.digest)
        counts = int(pack.last and not pack.failed), 0
        return self._seal(PackKind.PIECE, counts, pack_blob(pack.path) + fixed, pack.body, wanted)

    def delta(self, pack: Delta, wanted: Next) -> list[Buffer]:
        """Encode a piece as steps."""
        pack = self._named(pack)
        flags = pack.last | pack.failed << 1
        fixed = _PIECE.pack(*pack.attributes, pack.size, pack.offset, flags, pack.digest)
        steps = [_STEP.pack(*step) for step in pack.steps]
        header = b"".join((pack_blob(pack.path), fixed, _COUNT.pack(len(steps)), *steps))
        counts = int(pack.last and not pack.failed), 1
        return self._seal(PackKind.DELTA, counts, header, pack.body, wanted, pack.length)

    def _named(self, pack: _Some) -> _Some:
        naming = self.naming
        return pack if naming is None else cast("_Some", naming.outgoing(cast("Pack", pack)))

    def end(self) -> list[Buffer]:
        """Encode the end."""
        return [HEAD.pack(PackKind.END, 0, 0, 0, 0, 0, 0, 0)]

    def _seal(
        self,
        kind: PackKind,
        counts: tuple[int, int],
        header: bytes,
        body: Buffer,
        wanted: Next,
        content: Optional[int] = None,
    ) -> list[Buffer]:
        raw_length = len(header) + len(body)
        if content is None:
            content = len(body)
        method = Method(wanted.compression)
        packed = self._compressor.compress(method, wanted.level, header, body)
        sizes = content, len(header), raw_length
        files, doubts = counts
        if packed is not None:
            return [HEAD.pack(kind, method, files, 0, doubts, *sizes), packed]
        return [HEAD.pack(kind, 0, files, 0, doubts, *sizes), header, body]


def _doubts(pack: Groups) -> int:
    kept = sum(len(group.table.names) for group in pack.groups if group.kept)
    return len(pack.problems) + kept


def with_busy(parts: Sequence[Buffer], busy: int) -> list[Buffer]:
    """An encoded pack that says how many microseconds it took to make."""
    head = Head(*HEAD.unpack(parts[0]))
    return [HEAD.pack(*head._replace(busy=min(busy, 0xFFFFFFFF))), *parts[1:]]


def read_head(payload: Buffer) -> Head:
    """The head of an encoded pack; raises `PeerViolation` where it cannot be one."""
    if len(payload) < HEAD.size:
        raise PeerViolation("The other side sent a pack that is too short.")
    head = Head(*HEAD.unpack_from(payload))
    if (
        head.kind > PackKind.DELTA
        or head.compression > max(Method)
        or head.header_length > head.raw_length
    ):
        raise PeerViolation("The other side sent a pack of an unknown kind.")
    if head.raw_length > MAX_RAW:
        raise PeerViolation("The other side sent a pack over the size limit.")
    return head


def unpack_pack(payload: Buffer) -> Pack:
    """Decode a pack; anything that `Packer` cannot have made raises `PeerViolation`."""
    head = read_head(payload)
    try:
        return _unpack(head, memoryview(payload)[HEAD.size :])
    except Malformed as error:
        raise PeerViolation(f"The other side sent a malformed pack: {error}.") from None


def _unpack(head: Head, data: memoryview) -> Pack:
    if head.compression:
        data = memoryview(decompress(head.compression, data, head.raw_length))
    if len(data) != head.raw_length:
        raise Malformed("its length is not what was announced")
    reader = Reader(data[: head.header_length])
    body = data[head.header_length :]
    if head.kind == PackKind.GROUPS:
        groups = [_read_group(reader) for _ in range(reader.length())]
        problems = [_read_problem(reader) for _ in range(reader.length())]
        reader.finish()
        content = Groups(groups, problems, body)
        if _doubts(content) != head.doubts:
            # The client went by the head: whether anything is deleted depends on it.
            raise Malformed("it has other doubts than its head says")
        return content
    if head.kind == PackKind.PIECE:
        piece = _read_piece(reader, body)
        reader.finish()
        return piece
    if head.kind == PackKind.DELTA:
        return _read_delta(reader, body)
    reader.finish()
    return End()


def _read_path(reader: Reader) -> bytes:
    path = reader.blob()
    if not is_valid_path(path):
        raise Malformed("a path that leads out of the tree")
    return path


def _read_group(reader: Reader) -> Group:
    path = _read_path(reader)
    flags, mode, mtime_ns, uid, gid = _GROUP.unpack(reader.take(_GROUP.size))
    attributes = Attributes(mode, mtime_ns, uid, gid)
    return Group(
        path, bool(flags & 1), bool(flags & 2), bool(flags & 4), attributes, unpack(reader)
    )


def _read_problem(reader: Reader) -> Problem:
    path = _read_path(reader)
    what = reader.blob().decode("utf-8", "replace")
    return Problem(path, what, reader.take(1)[0] == 1)


def _read_piece(reader: Reader, body: memoryview) -> Piece:
    path = _read_path(reader)
    if not path:
        raise Malformed("a file that is the root")
    fields = _PIECE.unpack(reader.take(_PIECE.size))
    mode, mtime_ns, uid, gid, size, offset, flags, digest = fields
    if size >= 1 << 63 or offset > size or len(body) > size - offset:
        raise Malformed("a piece that lies outside of its file")
    attributes = Attributes(mode, mtime_ns, uid, gid)
    return Piece(path, attributes, size, offset, bool(flags & 1), bool(flags & 2), digest, body)


def _read_delta(reader: Reader, body: memoryview) -> Delta:
    """A delta whose steps are in their file, and use up its literals exactly."""
    piece = _read_piece(reader, memoryview(b""))
    count = reader.length()
    if count > MAX_STEPS:
        raise Malformed("more steps than a pack may have")
    packed = reader.take(count * _STEP.size)
    reader.finish()
    steps = list(map(Step._make, _STEP.iter_unpack(packed)))
    place, literal = piece.offset, 0
    for kind, offset, length in steps:
        if kind > StepKind.REPEAT or not length or offset >= 1 << 63:
            raise Malformed("a step of no known kind")
        if kind == StepKind.LITERAL:
            literal += length
        elif kind == StepKind.REPEAT and offset + length > place:
            raise Malformed("a step that repeats what is not there yet")
        place += length
    if place > piece.size or literal != len(body):
        raise Malformed("steps that lie outside of their file")
    if place - piece.offset > MAX_MADE:
        raise Malformed("steps that make more than a pack may")
    return Delta(*piece[:7], place - piece.offset, steps, body)
