"""Directories that were renamed since the state was saved take their stored rows along.

Rows are kept by path, so below a renamed directory a scan finds none. But the directory is the
same inode still, and the files in it keep inode and ctime: what was known of them holds.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable

from syncron_lib.core import digest
from syncron_lib.core.names import join
from syncron_lib.core.table import TYPE_MASK, Malformed
from syncron_lib.fs import stats
from syncron_lib.fs.state import Row, State
from syncron_lib.fs.tree import Node, Tree, is_directory
from syncron_lib.record import NamedTuple


class Displaced(NamedTuple):
    """A directory that the state has at ``path`` and the disk has not, or has another there."""

    path: bytes
    inode: int


def take_over(tree: Tree, state: State, displaced: Iterable[Displaced]) -> None:
    """Give nodes without a row of their own the rows that their inodes had elsewhere.

    Reads the rows of what is displaced, and nothing where no node could use them. A row is
    believed as any other is: entry by entry, if its stat is the same. Raises
    sqlite3.DatabaseError where the state is damaged.
    """
    wanted = {node.identity[1]: node for node in tree.present() if node.path and not node.stored}
    if not wanted:
        return
    for top in displaced:
        inodes = {top.path: top.inode}  # of the rows to come: a parent's row is before its own
        for row in state.rows(top.path):
            try:
                columns = stats.unpack(row.stats)
            except Malformed:
                continue
            for name, mode, inode in zip(columns.names, columns.modes, columns.inodes):
                if is_directory(mode):
                    inodes[join(row.path, name)] = inode
            node = wanted.get(inodes.pop(row.path, 0))
            if node is not None and node.path != row.path:
                _adopt(node, row, columns)


def _adopt(node: Node, row: Row, columns: stats.Stats) -> None:
    if len(row.digests) != len(columns.names) * digest.SIZE:
        return
    if row.stats == node.stats and row.excluded == node.excluded:
        node.digests, node.targets, node.merkle = row.digests, row.targets, row.merkle
        return
    known = {
        entry: row.digests[index * digest.SIZE : (index + 1) * digest.SIZE]
        for index, entry in enumerate(zip(*columns))
        if entry[1] & TYPE_MASK == stat.S_IFREG
    }
    digests = bytearray(node.digests)
    for index, entry in enumerate(zip(*node.columns())):
        value = known.get(entry)
        if value is not None:
            digests[index * digest.SIZE : (index + 1) * digest.SIZE] = value
    node.digests = bytes(digests)
