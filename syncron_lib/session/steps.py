"""Rows of a directory as steps of a plan."""

from __future__ import annotations

import stat

from syncron_lib.core.compare import attributes_of, digest_of
from syncron_lib.core.plan import Create, Remove
from syncron_lib.core.table import Table
from syncron_lib.protocol.messages import Below


def creation(
    path: bytes,
    table: Table,
    row: int,
    below: dict[int, Below],
    replaces: int,
    target: bytes | None,
) -> Create:
    """The step that makes a row's entry. ``below``: by row, what lies below directories."""
    mode = table.modes[row]
    entries, size = 1, table.sizes[row] if stat.S_ISREG(mode) else 0
    if stat.S_ISDIR(mode):
        entries, size = below[row].entries + 1, below[row].size
    own = attributes_of(table, row)
    return Create(path, mode, entries, size, target, replaces, own, digest_of(table, row))


def removal(path: bytes, table: Table, row: int, below: dict[int, Below]) -> Remove:
    """The step that deletes a row's entry."""
    mode = table.modes[row]
    entries, size, holds = 1, table.sizes[row] if stat.S_ISREG(mode) else 0, False
    if stat.S_ISDIR(mode):
        entries, size, holds = below[row].entries + 1, below[row].size, below[row].holds
    own = attributes_of(table, row)
    return Remove(path, stat.S_ISDIR(mode), entries, size, own, digest_of(table, row), holds)
