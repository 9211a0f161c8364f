"""What a replica remembers of each entry: which version it is, and of which life.

The records of one directory are packed to the same bytes on every replica that has the same ones:
global dots, no local numbers. So their digest, which covers those of the directories below, says
whether two replicas have anything to tell each other.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from collections.abc import Mapping
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.table import PROBLEM, TYPE_MASK, Malformed, Reader, Table, link_targets, pack
from syncron_lib.core.table import unpack as unpack_table
from syncron_lib.core.twoway.dots import NO_DOTS, Dots, pack_dots, unpack_dots
from syncron_lib.record import NamedTuple

NOTHING = bytes(digest.SIZE)
"""In the place of a digest that there is none of."""
MOST_ALONE = 3
"""Automatic resolutions of one entry in a row, after which only the total order decides: whatever
mix of preferences the replicas have, it comes to an end."""


class Record(NamedTuple):
    """One entry's version. ``fp``: digest of what is in it: a file's content, a symlink's target,
    a device's number; empty for a directory. ``mtime``: a file's, else 0. ``made``: the events of
    this version; ``born``: those that began this life of the name; ``kept``: those of its
    permissions. ``prev``: ``fp`` of the version that this one replaced, or `NOTHING`. ``base``: it
    was there when the replica first looked, and nobody knows where from. ``alone``: automatic
    resolutions since a person last changed it."""

    mode: int
    size: int
    mtime: int
    fp: bytes
    target: Optional[bytes]
    made: Dots
    born: Dots
    kept: Dots
    prev: bytes = NOTHING
    base: bool = False
    alone: int = 0

    @property
    def kind(self) -> int:
        """The type bits."""
        return self.mode & TYPE_MASK

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.mode & TYPE_MASK == stat.S_IFDIR

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.mode & TYPE_MASK == stat.S_IFREG

    @property
    def permissions(self) -> int:
        """The mode as far as it counts: of a symlink not at all."""
        return 0 if self.mode & TYPE_MASK == stat.S_IFLNK else self.mode & 0o7777

    @property
    def attributes(self) -> Attributes:
        """What it carries beside its content; owners are each replica's own."""
        return Attributes(self.mode, self.mtime, 0, 0)

    def same_content(self, other: Record) -> bool:
        """Whether both are one content of one kind."""
        return self.fp == other.fp and self.kind == other.kind


Records = Mapping[bytes, Record]
"""Those of one directory, by name; or of many, by path."""


def fingerprint(mode: int, size: int, value: bytes, target: Optional[bytes]) -> bytes:
    """`Record.fp` of an entry. ``value``: a file's digest."""
    kind = mode & TYPE_MASK
    if kind == stat.S_IFREG:
        return value
    if kind == stat.S_IFDIR:
        return b""
    what = target if target is not None else b"%d" % size
    return hashlib.sha256(what).digest()[: digest.SIZE]


def seen(
    mode: int, size: int, mtime: int, value: bytes, target: Optional[bytes], made: Dots = NO_DOTS
) -> Record:
    """An entry as a scan shows it, in the canonical form, with ``made`` for all of its events."""
    kind = mode & TYPE_MASK
    if kind != stat.S_IFREG:
        mtime = 0
    if kind in (stat.S_IFDIR, stat.S_IFLNK):
        size = 0
    if kind == stat.S_IFLNK:
        mode = stat.S_IFLNK | 0o777
    fp = fingerprint(mode, size, value, target)
    return Record(mode, size, mtime, fp, target, made, made, made)


_LENGTH = struct.Struct("<I")
_BASE, _HAS_PREV, _ALONE = 1, 2, 4


def pack_records(records: Records, below: Mapping[bytes, bytes]) -> bytes:
    """The records of one directory. ``below``: by name, the digests of the records in its
    subdirectories, where they are known."""
    names = sorted(records)
    rows = [records[name] for name in names]
    sets: dict[Dots, int] = {}
    numbers: list[int] = []
    flags = bytearray()
    prevs = []
    last: Optional[Dots] = None
    number = 0
    for row in rows:
        for dots in (row.made, row.born, row.kept):
            if dots is not last:  # nearly always it is
                last, number = dots, sets.setdefault(dots, len(sets))
            numbers.append(number)
        has_prev = row.prev != NOTHING
        flags.append(row.base * _BASE | has_prev * _HAS_PREV | min(row.alone, 63) * _ALONE)
        if has_prev:
            prevs.append(row.prev)
    zeros = [0] * len(rows)
    table = Table(
        names,
        [row.mode for row in rows],
        [row.size for row in rows],
        [row.mtime for row in rows],
        zeros,
        zeros,
        b"".join(
            row.fp
            if row.is_file
            else (below.get(name, digest.UNKNOWN) if row.is_directory else digest.UNKNOWN)
            for name, row in zip(names, rows)
        ),
        [row.target or b"" for row in rows if row.target is not None],
    )
    parts = [pack(table), _LENGTH.pack(len(sets)), *map(pack_dots, sets)]
    parts.append(struct.pack(f"<{len(numbers)}I", *numbers))
    parts.append(bytes(flags))
    return b"".join((*parts, *prevs))


def unpack_records(data: bytes) -> tuple[dict[bytes, Record], dict[bytes, bytes]]:
    """The inverse: records by name, and the digests of subdirectories. Raises `Malformed` for
    anything that cannot have been packed."""
    reader = Reader(data)
    records, below = read_records(reader)
    reader.finish()
    return records, below


def read_records(reader: Reader) -> tuple[dict[bytes, Record], dict[bytes, bytes]]:
    """The same from the front of more."""
    table = unpack_table(reader)
    (count,) = _LENGTH.unpack(reader.take(4))
    if count > 3 * len(table.names):
        raise Malformed("more sets of events than entries")
    sets = [frozenset(unpack_dots(reader)) for _ in range(count)]
    rows = len(table.names)
    numbers = struct.unpack(f"<{3 * rows}I", reader.take(12 * rows))
    if (numbers and max(numbers) >= count) or not all(sets):
        raise Malformed("a set of events that is not there")
    flags = bytes(reader.take(rows))
    targets = link_targets(table)
    records: dict[bytes, Record] = {}
    below: dict[bytes, bytes] = {}
    for row, name in enumerate(table.names):
        mode, size, target = table.modes[row], table.sizes[row], targets.get(row)
        if mode == PROBLEM:
            raise Malformed("a record of what could not be looked at")
        value = table.digests[row * digest.SIZE : (row + 1) * digest.SIZE]
        flag = flags[row]
        made, born, kept = (sets[each] for each in numbers[3 * row : 3 * row + 3])
        records[name] = Record(
            mode,
            size,
            table.mtimes[row],
            fingerprint(mode, size, value, target),
            target,
            made,
            born,
            kept,
            bytes(reader.take(digest.SIZE)) if flag & _HAS_PREV else NOTHING,
            bool(flag & _BASE),
            flag // _ALONE,
        )
        if mode & TYPE_MASK == stat.S_IFDIR:
            below[name] = value
    return records, below


def records_digest(packed: bytes) -> bytes:
    """The digest of a directory's packed records. Of the records alone: that of its content, which
    is the same for equal trees whatever their past, is `core.merkle`'s."""
    return hashlib.sha256(packed).digest()[: digest.SIZE]
