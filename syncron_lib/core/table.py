"""A directory as columns: what a scan finds, what the state keeps, what crosses the wire.

A directory of a million-file tree has a dozen entries; an object for each entry would cost more
than the entry's system calls. So a directory is a `Table`: one column an attribute, rows sorted
by name. Columns are packed and unpacked by `struct` at C speed, and two packed tables are equal
exactly when the directories are.

Rows are told apart by the file type in ``modes`` (``st_mode``). A row whose mode is 0 is a
*problem*: an entry that could not be read, with its ``errno`` in ``sizes``.
"""

from __future__ import annotations

import bisect
import itertools
import stat
import struct
from collections.abc import Sequence
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.names import NAME_MAX, PRIVATE
from syncron_lib.record import NamedTuple

TYPE_MASK = 0o170000
PROBLEM = 0
"""Mode of a row that stands for an entry that could not be read."""

_TYPES = frozenset(
    (
        PROBLEM,
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
        stat.S_IFCHR,
        stat.S_IFBLK,
    )
)
_UNUSABLE_NAMES = frozenset((b"", b".", b"..", PRIVATE))
_LENGTH = struct.Struct("<I")
MAX_ROWS = 16_000_000
"""Entries of one directory that a decoder accepts."""
MAX_ERRNO = 4095
"""Linux's own limit; a number from the other side is looked up in this one's list."""


class Malformed(ValueError):
    """Packed bytes that do not follow the format. Never caused by our own packing."""


class Table(NamedTuple):
    """One directory's entries. All columns have one item a row, except ``targets``.

    ``modes``: ``st_mode`` with the type bits. ``sizes``: bytes of a file, device number of a
    device, errno of a problem, else 0. ``mtimes``: nanoseconds since the epoch. ``digests``:
    `digest.SIZE` bytes a row: content of a file, Merkle digest of a subdirectory, else
    `digest.UNKNOWN`. ``targets``: one item a symlink, in row order.
    """

    names: Sequence[bytes]
    modes: Sequence[int]
    sizes: Sequence[int]
    mtimes: Sequence[int]
    uids: Sequence[int]
    gids: Sequence[int]
    digests: bytes
    targets: Sequence[bytes]


EMPTY = Table((), (), (), (), (), (), b"", ())


class Reader:
    """Takes fields off the front of a buffer, checking lengths before anything is allocated."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes | bytearray | memoryview, position: int = 0) -> None:
        self.data = memoryview(data)
        self.position = position
        self.end = len(self.data)

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes."""
        start = self.position
        if count > self.end - start:
            raise Malformed("a field is longer than its frame")
        self.position = start + count
        return self.data[start : self.position]

    def length(self) -> int:
        """A 32-bit length that the rest of the buffer can hold."""
        (value,) = _LENGTH.unpack(self.take(4))
        if value > self.end - self.position:
            raise Malformed("a length is larger than its frame")
        return int(value)

    def blob(self) -> bytes:
        """A length-prefixed byte string."""
        return bytes(self.take(self.length()))

    def finish(self) -> None:
        """Refuse trailing bytes."""
        if self.position != self.end:
            raise Malformed("bytes after the end of a message")


def pack_blob(data: bytes) -> bytes:
    """``data`` with its length in front."""
    return _LENGTH.pack(len(data)) + data


def pack_column(code: str, column: Sequence[int]) -> bytes:
    """Integers as little-endian ``code`` (a `struct` letter), without a count."""
    return struct.pack(f"<{len(column)}{code}", *column)


def unpack_column(code: str, count: int, reader: Reader) -> tuple[int, ...]:
    """``count`` integers of `struct` letter ``code``."""
    form = f"<{count}{code}"
    return struct.unpack(form, reader.take(struct.calcsize(form)))


def pack_names(names: Sequence[bytes]) -> bytes:
    """Names (or symlink targets) joined by NUL, which none of them holds, with the length."""
    return pack_blob(b"\0".join(names))


def _unpack_strings(reader: Reader, count: int) -> list[bytes]:
    joined = reader.blob()
    if count == 0:
        if joined:
            raise Malformed("strings in an empty list")
        return []
    if joined.count(b"\0") != count - 1:
        raise Malformed("the number of strings is not what was announced")
    return joined.split(b"\0")


def unpack_names(reader: Reader, count: int) -> list[bytes]:
    """``count`` names, each valid, in strictly ascending order."""
    names = _unpack_strings(reader, count)
    if not names:
        return names
    if not _UNUSABLE_NAMES.isdisjoint(names) or max(map(len, names)) > NAME_MAX:
        raise Malformed("a name that no directory can hold")
    if b"/" in b"".join(names):
        raise Malformed("a name with a slash in it")
    # In order and none twice; both at C speed, for every name that crosses the wire comes here.
    if sorted(names) != names or len(set(names)) != len(names):
        raise Malformed("names out of order, or twice")
    return names


def without(table: Table, names: set[bytes]) -> Table:
    """The table less the rows with these names."""
    if names.isdisjoint(table.names):
        return table
    return chosen(table, [row for row, name in enumerate(table.names) if name not in names])


def chosen(table: Table, rows: Sequence[int]) -> Table:
    """The table of some rows, in the order that they are given in."""
    links = (row for row, mode in enumerate(table.modes) if mode & TYPE_MASK == stat.S_IFLNK)
    # Few directories hold links, and large ones are cut into many tables.
    targets = dict(zip(links, table.targets)) if table.targets else {}
    digests = table.digests
    return Table(
        [table.names[row] for row in rows],
        [table.modes[row] for row in rows],
        [table.sizes[row] for row in rows],
        [table.mtimes[row] for row in rows],
        [table.uids[row] for row in rows],
        [table.gids[row] for row in rows],
        b"".join([digests[row * digest.SIZE : (row + 1) * digest.SIZE] for row in rows]),
        [targets[row] for row in rows if row in targets],
    )


def renamed(table: Table, names: Sequence[Optional[bytes]]) -> tuple[Table, list[int]]:
    """The table with other names, in their order, less the rows whose name is None; and which rows
    these were."""
    kept = [(name, row) for row, name in enumerate(names) if name is not None]
    kept.sort()
    rows = [row for _, row in kept]
    return chosen(table, rows)._replace(names=[name for name, _ in kept]), rows


def sliced(table: Table, start: int, end: int) -> Table:
    """The rows from ``start`` up to ``end``."""
    links = [row for row, mode in enumerate(table.modes) if mode & TYPE_MASK == stat.S_IFLNK]
    first, last = bisect.bisect_left(links, start), bisect.bisect_left(links, end)
    return Table(
        table.names[start:end],
        table.modes[start:end],
        table.sizes[start:end],
        table.mtimes[start:end],
        table.uids[start:end],
        table.gids[start:end],
        table.digests[start * digest.SIZE : end * digest.SIZE],
        table.targets[first:last],
    )


def joined(parts: Sequence[Table]) -> Table:
    """The table whose rows are those of all ``parts``, one after the other."""
    chain = itertools.chain.from_iterable
    return Table(
        list(chain(part.names for part in parts)),
        list(chain(part.modes for part in parts)),
        list(chain(part.sizes for part in parts)),
        list(chain(part.mtimes for part in parts)),
        list(chain(part.uids for part in parts)),
        list(chain(part.gids for part in parts)),
        b"".join(part.digests for part in parts),
        list(chain(part.targets for part in parts)),
    )


def pack(table: Table) -> bytes:
    """The wire form; see ``docs/protocol.md``, "Tables"."""
    return b"".join(
        (
            _LENGTH.pack(len(table.names)),
            pack_names(table.names),
            pack_column("I", table.modes),
            pack_column("Q", table.sizes),
            pack_column("q", table.mtimes),
            pack_column("I", table.uids),
            pack_column("I", table.gids),
            table.digests,
            pack_names(table.targets),
        )
    )


def unpack(reader: Reader) -> Table:
    """The inverse of `pack`; raises `Malformed` for anything that `pack` cannot have made."""
    (count,) = _LENGTH.unpack(reader.take(4))
    # A row takes 44 bytes beside its name, so a count that the frame cannot hold is refused here.
    if count > MAX_ROWS or count * 44 > reader.end - reader.position:
        raise Malformed("more rows than the frame can hold")
    names = unpack_names(reader, count)
    modes = unpack_column("I", count, reader)
    sizes = unpack_column("Q", count, reader)
    mtimes = unpack_column("q", count, reader)
    uids = unpack_column("I", count, reader)
    gids = unpack_column("I", count, reader)
    digests = bytes(reader.take(count * digest.SIZE))
    types = [mode & TYPE_MASK for mode in modes]
    if not _TYPES.issuperset(types) or (modes and max(modes) > 0o177777):
        raise Malformed("a mode that names no kind of file")
    if sizes and max(sizes) >= 1 << 63:
        raise Malformed("a size that no file can have")
    if PROBLEM in types and any(
        mode != PROBLEM or not 0 < size <= MAX_ERRNO
        for kind, mode, size in zip(types, modes, sizes)
        if kind == PROBLEM
    ):
        raise Malformed("a problem without an error number")
    targets = _unpack_strings(reader, types.count(stat.S_IFLNK))
    if targets and (not all(targets) or max(map(len, targets)) > 65536):
        raise Malformed("a symlink target that no file system can hold")
    return Table(names, modes, sizes, mtimes, uids, gids, digests, targets)


def link_targets(table: Table) -> dict[int, bytes]:
    """The targets of the symlinks by row. For whoever looks at many rows: asking for each would
    count the links before it each time."""
    if not table.targets:
        return {}
    links = (row for row, mode in enumerate(table.modes) if mode & TYPE_MASK == stat.S_IFLNK)
    return dict(zip(links, table.targets))
