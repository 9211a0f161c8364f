"""A scanned directory's packed stat columns: what the next scan compares its own with."""

from __future__ import annotations

import itertools
import os
import stat
import struct
from array import array
from collections.abc import Mapping, Sequence, Set

from syncron_lib.core.table import TYPE_MASK, Malformed, Table, pack_names
from syncron_lib.record import NamedTuple

StatRow = tuple[bytes, int, int, int, int, int, int, int]
"""(name, mode, size, mtime_ns, ctime_ns, inode, uid, gid); a plain tuple, because a scan makes
one for every entry there is. ``size`` as in `core.table.Table.sizes`."""

PackedRow = tuple[bytes, bytes]
"""(name, the other seven packed by `FIELDS`): rows as a scan makes and compares them."""

FIELDS = struct.Struct("<IQqqQII")
_SIZES = struct.Struct(f"<4xQ{FIELDS.size - 12}x")
"""The size in `FIELDS`."""
_COUNT = struct.Struct("<I")
_HEAD = struct.Struct("<II")
"""Number of rows, and bytes of their names joined by NUL."""
_BLOCK = 4096
"""Rows that are unpacked at once. Numbers of larger directories are kept in arrays: as objects they
take 40 bytes each, and a tuple a row while they are unpacked as much again."""
_TIME_LIMIT = 1 << 63


class Stats(NamedTuple):
    """`StatRow`s as columns."""

    names: Sequence[bytes]
    modes: Sequence[int]
    sizes: Sequence[int]
    mtimes: Sequence[int]
    ctimes: Sequence[int]
    inodes: Sequence[int]
    uids: Sequence[int]
    gids: Sequence[int]


NO_STATS = Stats((), (), (), (), (), (), (), ())


def pack_fields(row: StatRow) -> bytes:
    """All of a row but its name."""
    return FIELDS.pack(*row[1:])


def unpack_row(packed: PackedRow) -> StatRow:
    """The row that was packed."""
    mode, size, mtime, ctime, inode, uid, gid = FIELDS.unpack(packed[1])
    return (packed[0], mode, size, mtime, ctime, inode, uid, gid)


def join(rows: list[PackedRow]) -> bytes:
    """One directory's rows, sorted by name, in the form that is kept and compared."""
    if not rows:
        return b""
    names, fields = zip(*rows)
    return b"".join((_COUNT.pack(len(rows)), pack_names(names), *fields))


def pack(rows: list[StatRow]) -> bytes:
    """The same from plain rows."""
    return join([(row[0], pack_fields(row)) for row in rows])


def with_rows(data: bytes, rows: Mapping[int, StatRow]) -> bytes:
    """A packed directory with ``rows``, by number, in place of those of the same names."""
    start = _HEAD.size + _HEAD.unpack_from(data)[1]
    changed = bytearray(data)
    for number, row in rows.items():
        FIELDS.pack_into(changed, start + number * FIELDS.size, *row[1:])
    return bytes(changed)


def unpack(data: bytes) -> Stats:
    """The columns of a packed directory; raises `core.table.Malformed` on damage.

    Names are not looked at: they were read from a directory, and rows of the state are believed
    by their checksum.
    """
    if not data:
        return NO_STATS
    try:
        count, length = _HEAD.unpack_from(data)
    except struct.error:
        raise Malformed("a packed directory that is too short") from None
    end = _HEAD.size + length
    names = data[_HEAD.size : end].split(b"\0")
    if len(names) != count or len(data) != end + count * FIELDS.size:
        raise Malformed("a packed directory of another length than it says")
    rows = memoryview(data)[end:]
    if count <= _BLOCK:
        return Stats(names, *zip(*FIELDS.iter_unpack(rows)))
    columns = [array(code) for code in FIELDS.format[1:]]
    for start in range(0, len(rows), _BLOCK * FIELDS.size):
        block = rows[start : start + _BLOCK * FIELDS.size]
        for column, values in zip(columns, zip(*FIELDS.iter_unpack(block))):
            column.extend(values)
    return Stats(names, *columns)


def has_one_of(sizes: Set[int], data: bytes) -> bool:
    """Whether an entry of a packed directory that was scanned here has one of these sizes: a
    quarter of the time that it takes to unpack it."""
    if not data:
        return False
    length = _HEAD.unpack_from(data)[1]
    rows = memoryview(data)[_HEAD.size + length :]
    return not sizes.isdisjoint(itertools.chain.from_iterable(_SIZES.iter_unpack(rows)))


def as_table(columns: Stats, digests: bytes, targets: bytes) -> Table:
    """What the other side may know of a directory. ``targets``: of its symlinks, joined by NUL."""
    return Table(
        columns.names,
        columns.modes,
        columns.sizes,
        columns.mtimes,
        columns.uids,
        columns.gids,
        digests,
        targets.split(b"\0") if targets else [],
    )


def in_range(time_ns: int) -> int:
    """A time as 64 bits of nanoseconds can hold it: those beyond the year 2262 are cut there."""
    return min(max(time_ns, -_TIME_LIMIT), _TIME_LIMIT - 1)


def row(name: bytes, st: os.stat_result) -> StatRow:
    """The row of one entry."""
    kind = st.st_mode & TYPE_MASK
    if kind == stat.S_IFREG:
        size = st.st_size
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        size = st.st_rdev
    else:
        size = 0
    return (
        name,
        st.st_mode,
        size,
        in_range(st.st_mtime_ns),
        in_range(st.st_ctime_ns),
        st.st_ino,
        st.st_uid,
        st.st_gid,
    )


def is_same_file(scanned: StatRow, st: os.stat_result) -> bool:
    """Whether a regular file is as it was scanned, whatever it was shown as: nobody can set a
    ctime."""
    return (
        st.st_mode & TYPE_MASK == stat.S_IFREG
        and st.st_size == scanned[2]
        and in_range(st.st_mtime_ns) == scanned[3]
        and in_range(st.st_ctime_ns) == scanned[4]
        and st.st_ino == scanned[5]
    )


def problem_row(name: bytes, errno: int) -> StatRow:
    """The row of an entry that could not be looked at."""
    return (name, 0, errno, 0, 0, 0, 0, 0)


def grain(ctime_ns: int) -> int:
    """Nanoseconds by which two changes must be apart for ``ctime`` to tell them apart.

    ``ctime`` cannot be set by anyone, so whole seconds in it mean a file system that stores no
    more (FAT: two seconds). Elsewhere the kernel's tick decides: 10 ms at the coarsest (HZ=100);
    the rest is margin for a clock that is stepped.
    """
    return 2_000_000_000 if ctime_ns % 1_000_000_000 == 0 else 50_000_000


def is_settled(mtime_ns: int, ctime_ns: int, read_at_ns: int) -> bool:
    """Whether a digest may be believed as long as the stat stays as it is.

    INVARIANT: a change after ``read_at_ns`` (the clock when reading began) would show in
    ``ctime``, because ``ctime`` was older than that by more than the clock's grain. A recent
    ``mtime`` counts too, for file systems that keep no true ``ctime``; one in the future does
    not, or such a file would be read again in every run.
    """
    margin = grain(ctime_ns)
    return ctime_ns + margin < read_at_ns and abs(read_at_ns - mtime_ns) > margin


def is_settled_as_written(mtime_ns: int, ctime_ns: int) -> bool:
    """The same for a file that we wrote ourselves and published with an older ``mtime``.

    Nobody could reach it before it was published, at ``ctime``. Whoever edits it within the same
    tick of the clock moves its ``mtime`` there too, away from the source's.
    """
    # RACE: an edit in the very tick of publishing that also puts ``mtime`` back is not seen.
    return abs(ctime_ns - mtime_ns) > grain(ctime_ns)
