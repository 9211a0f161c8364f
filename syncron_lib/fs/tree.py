"""A scanned tree in memory: one node a directory, its entries packed."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Set
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join
from syncron_lib.core.sealing import sealed_size
from syncron_lib.core.table import EMPTY, TYPE_MASK, Table
from syncron_lib.fs import stats as stats_module
from syncron_lib.fs.stats import Stats


class Node:
    """One scanned directory.

    ``row``: its row in the parent's columns. ``stats``: packed `Stats`. ``digests``: as in
    `core.table.Table.digests`. ``targets``, ``excluded``: strings joined by NUL. ``scope``:
    digest of the rules in force. ``merkle``: digest under the profile last sealed for, or
    `digest.UNKNOWN`. ``entries``, ``size``: totals of all that lies below; ``holds``: whether
    something there is excluded. ``identity``:
    (device, inode). ``problem``: errno that kept it from being read, 0 for none. ``stored``:
    it is in the state exactly so. ``unsettled``: rows whose digests must not be kept.
    ``sealed``: names of files that the other side sees sealed, with the digests of that.
    """

    __slots__ = (
        "attributes",
        "digests",
        "entries",
        "excluded",
        "holds",
        "identity",
        "merkle",
        "own_entries",
        "own_size",
        "parent",
        "path",
        "problem",
        "row",
        "scope",
        "sealed",
        "size",
        "stats",
        "stored",
        "targets",
        "unsettled",
    )

    def __init__(self, path: bytes, parent: Optional[Node], row: int) -> None:
        self.path = path
        self.parent = parent
        self.row = row
        self.stats = b""
        self.digests: bytes | bytearray = b""
        self.targets = b""
        self.excluded = b""
        self.holds = False
        self.scope = b""
        self.merkle = digest.UNKNOWN
        self.attributes = Attributes(stat.S_IFDIR, 0, 0, 0)
        self.own_entries = 0
        self.own_size = 0
        self.entries = 0
        self.size = 0
        self.identity = (0, 0)
        self.problem = 0
        self.stored = False
        self.unsettled: Optional[set[int]] = None
        self.sealed: Optional[frozenset[bytes]] = None

    def columns(self) -> Stats:
        """The unpacked columns."""
        return stats_module.unpack(self.stats)

    def seen(self) -> Stats:
        """The same with the sizes that the other side sees."""
        columns = self.columns()
        sealed = self.sealed
        if sealed is None:
            return columns
        sizes = [
            sealed_size(size) if name in sealed else size
            for name, size in zip(columns.names, columns.sizes)
        ]
        return columns._replace(sizes=sizes)

    def target_list(self) -> list[bytes]:
        """Symlink targets in row order."""
        return self.targets.split(b"\0") if self.targets else []

    def table(self) -> Table:
        """What the other side may know of this directory."""
        if not self.stats:
            return EMPTY
        return stats_module.as_table(self.seen(), bytes(self.digests), self.targets)

    def set_digest(self, row: int, value: bytes, settled: bool) -> None:
        """Note the digest of the file in ``row``."""
        if not isinstance(self.digests, bytearray):
            self.digests = bytearray(self.digests)
        start = row * digest.SIZE
        self.digests[start : start + digest.SIZE] = value
        self.merkle = digest.UNKNOWN
        self.stored = False
        if not settled:
            if self.unsettled is None:
                self.unsettled = set()
            self.unsettled.add(row)
        elif self.unsettled is not None:
            self.unsettled.discard(row)

    def lasting_digests(self) -> bytes:
        """The digests that may be kept in the state."""
        if not self.unsettled:
            return bytes(self.digests)
        kept = bytearray(self.digests)
        for row in self.unsettled:
            kept[row * digest.SIZE : (row + 1) * digest.SIZE] = digest.UNKNOWN
        return bytes(kept)


class Tree:
    """All nodes of one scan by path, in depth-first order with sorted names."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.ordered = True

    @property
    def root(self) -> Node:
        """The top directory."""
        return self.nodes[b""]

    def add(self, node: Node) -> None:
        """Add a node behind the ones there are."""
        self.nodes[node.path] = node

    def upwards(self) -> Iterator[Node]:
        """Every node after all below it."""
        if not self.ordered:
            # "/" sorts behind bytes that names may begin with; NUL is what no name holds.
            order = sorted(self.nodes.items(), key=lambda item: item[0].replace(b"/", b"\0"))
            self.nodes = dict(order)
            self.ordered = True
        return reversed(list(self.nodes.values()))

    def total(self) -> None:
        """Recompute the totals of every node."""
        for node in self.nodes.values():
            node.entries = node.own_entries
            node.size = node.own_size
            node.holds = bool(node.excluded)
        for node in self.upwards():
            parent = node.parent
            if parent is not None:
                parent.entries += node.entries
                parent.size += node.size
                parent.holds = parent.holds or node.holds

    def prune(self, some: Optional[Set[bytes]] = None) -> None:
        """Drop the directories, of all or of ``some``, that hold nothing but such directories, the
        root excepted; one that could not be read may hold something."""
        gone: set[bytes] = set()
        lose: set[Node] = set()
        for node in self.upwards():
            if node in lose:
                names = node.columns().names
                kept = [row for row, name in enumerate(names) if join(node.path, name) not in gone]
                self._keep_rows(node, kept)
            wanted = node.parent is None or (some is not None and node.path not in some)
            if not (node.stats or node.problem or wanted) and node.parent is not None:
                gone.add(node.path)
                lose.add(node.parent)
        for path in gone:
            del self.nodes[path]
        self.total()

    def _keep_rows(self, node: Node, kept: list[int]) -> None:
        """Drop all other rows of a node; those that are dropped are directories."""
        columns, digests = node.columns(), bytes(node.digests)
        new_row = {row: index for index, row in enumerate(kept)}
        for row, name in enumerate(columns.names):
            child = self.nodes.get(join(node.path, name))
            if child is not None and row in new_row:
                child.row = new_row[row]
        rows = list(zip(*columns))
        node.stats = stats_module.pack([rows[row] for row in kept]) if kept else b""
        node.digests = b"".join(
            digests[row * digest.SIZE : (row + 1) * digest.SIZE] for row in kept
        )
        node.own_entries = len(kept)
        node.merkle = digest.UNKNOWN
        node.stored = False

    def remove(self, tops: set[bytes]) -> list[bytes]:
        """Drop the nodes at ``tops`` and all below; the paths of all that went."""
        gone: set[bytes] = set()
        for path, node in self.nodes.items():
            if path in tops or (node.parent is not None and node.parent.path in gone):
                gone.add(path)
        for path in gone:
            del self.nodes[path]
        return list(gone)


def is_directory(mode: int) -> bool:
    """Whether ``mode`` is a directory's."""
    return mode & TYPE_MASK == stat.S_IFDIR
