"""Which directories of a scanned tree are no longer as the state remembers them.

A tree whose remembered top directory has the same Merkle digest as the other side's remembered one
was equal to it then. So whoever knows what has changed on both sides since needs no walk: what
changed on neither is equal, and what changed here only is there as it was here before.
"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.names import join
from syncron_lib.core.table import TYPE_MASK, Malformed, Table
from syncron_lib.fs import stats
from syncron_lib.fs.state import Row, State
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.record import NamedTuple

_MOST = 4096
"""Directories; where more changed, the walk level by level takes few exchanges for its size."""


class Change(NamedTuple):
    """A directory that is not as remembered. ``row``: how it is remembered, if it is. ``own``: more
    changed than what lies below."""

    node: Node
    row: Optional[Row]
    own: bool


def changes(tree: Tree, state: State) -> Optional[list[Change]]:
    """Every directory of a sealed ``tree`` that is not as remembered, or has no digest; None where
    that is too much to say, or the state cannot be read."""
    found: list[Change] = []
    for node in tree.present():
        if node.stored and node.merkle != digest.UNKNOWN:
            continue
        if len(found) == _MOST:
            return None
        try:
            row = state.row(node.path)
        except sqlite3.DatabaseError:
            return None
        if row is not None and row.merkle == node.merkle != digest.UNKNOWN:
            continue  # by other rules, or with other times than those that count
        found.append(Change(node, row, row is None or _is_other(node, row)))
    return found


def _is_other(node: Node, row: Row) -> bool:
    """Whether more than digests of subdirectories differs."""
    if node.problem or node.stats != row.stats or node.targets != row.targets:
        return True
    mine, before = bytes(node.digests), row.digests
    if mine == before:
        return False
    if len(mine) != len(before):
        return True
    for index, mode in enumerate(node.columns().modes):
        start = index * digest.SIZE
        if mode & TYPE_MASK != stat.S_IFDIR and (
            mine[start : start + digest.SIZE] != before[start : start + digest.SIZE]
        ):
            return True
    return False


def remembered_table(row: Row) -> Optional[Table]:
    """A directory as it is remembered; None where that is damaged."""
    try:
        columns = stats.unpack(row.stats)
    except Malformed:
        return None
    if len(row.digests) != len(columns.names) * digest.SIZE:
        return None
    return stats.as_table(columns, bytes(row.digests), row.targets)


def remembered_below(state: State, path: bytes) -> tuple[int, int]:
    """(entries, bytes of files) that were below a directory. Raises sqlite3.DatabaseError and
    Malformed."""
    entries = size = 0
    for row in state.rows(path):
        columns = stats.unpack(row.stats)
        entries += len(columns.names)
        size += sum(
            bytes_
            for mode, bytes_ in zip(columns.modes, columns.sizes)
            if mode & TYPE_MASK == stat.S_IFREG
        )
    return entries, size


def edited(change: Change) -> Iterator[tuple[bytes, int]]:
    """Paths and sizes of files without a digest that are of the size that they had: only their
    content tells whether they were edited."""
    node, row = change.node, change.row
    if row is None or node.problem:
        return
    before = remembered_table(row)
    if before is None:
        return
    sizes = {
        name: size
        for name, mode, size in zip(before.names, before.modes, before.sizes)
        if mode & TYPE_MASK == stat.S_IFREG
    }
    columns = node.columns()
    digests = bytes(node.digests)
    for index, (name, mode) in enumerate(zip(columns.names, columns.modes)):
        start = index * digest.SIZE
        if (
            mode & TYPE_MASK == stat.S_IFREG
            and digests[start : start + digest.SIZE] == digest.UNKNOWN
            and sizes.get(name) == columns.sizes[index]
        ):
            yield join(node.path, name), columns.sizes[index]
