"""What the state remembers of a directory, held against what is there now."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.table import TYPE_MASK, Malformed
from syncron_lib.fs import stats as stats_module
from syncron_lib.fs.listing import Listing
from syncron_lib.fs.state import Row
from syncron_lib.fs.stats import FIELDS
from syncron_lib.fs.tree import Node

if TYPE_CHECKING:
    from syncron_lib.fs.lens import Lens


def answers(stored: Optional[Row], scope: bytes) -> dict[bytes, bool]:
    """What the same rules said of the same names last time: name (with a slash behind it for a
    directory) to whether it is excluded."""
    if stored is None or stored.scope != scope:
        return {}
    try:
        columns = stats_module.unpack(stored.stats)
    except Malformed:
        return {}
    said = {
        (name + b"/" if stat.S_ISDIR(mode) else name): False
        for name, mode in zip(columns.names, columns.modes)
    }
    said.update((name, True) for name in stored.excluded.split(b"\0") if name)
    return said


def carry_over(
    fd: int,
    node: Node,
    listing: Listing,
    stored: Optional[Row],
    lens: Optional[Lens],
    only: Optional[bytes],
) -> None:
    """Give ``node`` the digests and targets of entries that are as they were, and read the
    targets of new symlinks. Those that vanish meanwhile are dropped from the listing. ``only``: the
    name on disk of the one entry, where that is another."""
    known = _known_entries(stored)
    digests = []
    targets = []
    dropped = []
    for index, packed in enumerate(listing.rows):
        name, fields = packed
        before = known.get(name)
        same = before is not None and before[0] == fields
        value = digest.UNKNOWN
        kind = FIELDS.unpack(fields)[0] & TYPE_MASK
        if kind == stat.S_IFLNK:
            if before is not None and same:
                targets.append(before[1])
            else:
                try:
                    read = os.readlink if lens is None else lens.disk.readlink
                    target = read(only or name, dir_fd=fd)
                except OSError:
                    dropped.append(index)
                    continue
                targets.append(target if lens is None else lens.target(target))
        elif before is not None and same and kind == stat.S_IFREG:
            value = before[1]
        digests.append(value)
    for index in reversed(dropped):
        del listing.rows[index]
    if dropped:
        node.stats = stats_module.join(listing.rows)
    node.digests = b"".join(digests)
    node.targets = b"\0".join(targets)


def _known_entries(stored: Optional[Row]) -> dict[bytes, tuple[bytes, bytes]]:
    """Name to (packed fields, digest or target) as stored."""
    if stored is None:
        return {}
    try:
        columns = stats_module.unpack(stored.stats)
    except Malformed:
        return {}
    if len(stored.digests) != len(columns.names) * digest.SIZE:
        return {}
    targets = iter(stored.targets.split(b"\0"))
    known = {}
    for index, row in enumerate(zip(*columns)):
        if stat.S_ISLNK(row[1]):
            value = next(targets, b"")
        else:
            value = stored.digests[index * digest.SIZE : (index + 1) * digest.SIZE]
        known[row[0]] = (stats_module.pack_fields(row), value)
    return known


class Stored:
    """Stored rows of one subtree, drawn beside a walk over it in the same order."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def row(self, path: bytes) -> Optional[Row]:
        """The row of ``path``, which the walk has come to."""
        key = path.replace(b"/", b"\0")
        row = self._next
        while row is not None and row.path.replace(b"/", b"\0") < key:
            row = next(self._rows, None)
        if row is not None and row.path == path:
            self._next = next(self._rows, None)
            return row
        self._next = row
        return None
