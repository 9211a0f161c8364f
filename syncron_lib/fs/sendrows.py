"""What is sent of a directory's rows, and why some of it is not."""

from __future__ import annotations

import errno
from typing import Union

from syncron_lib.core.table import Table, chosen
from syncron_lib.fs import stats
from syncron_lib.fs.hashing import Changed
from syncron_lib.fs.stats import StatRow, Stats
from syncron_lib.fs.tree import Node

_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO))
"""What opening and reading say when another kind of entry, or none, has a file's name now."""


def is_gone(error: Union[Changed, OSError]) -> bool:
    """Whether what was scanned is there no more, rather than unreadable."""
    return isinstance(error, Changed) or error.errno in _GONE


def reason_of(error: Union[Changed, OSError]) -> str:
    if isinstance(error, Changed):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "vanished"
    if is_gone(error):
        return "changed its kind since it was scanned"
    return f"cannot be read: {error.strerror}"


def table_of(
    node: Node,
    columns: Stats,
    digests: bytearray,
    rows: list[int],
    replaced: dict[int, StatRow],
) -> Table:
    """The chosen rows as a table, with newer stats where files were read anew."""
    if replaced:
        rows_now = [replaced.get(row, values) for row, values in enumerate(zip(*columns))]
        columns = Stats(*zip(*rows_now))
    whole = stats.as_table(columns, bytes(digests), node.targets)
    return whole if len(rows) == len(columns.names) else chosen(whole, rows)


def replace_rows(node: Node, replaced: dict[int, StatRow]) -> None:
    """Files that were read anew: the tree holds them as they were read."""
    rows = [replaced.get(row, values) for row, values in enumerate(zip(*node.columns()))]
    node.stats = stats.pack(rows)
