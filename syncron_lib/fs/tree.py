"""A scanned tree in memory: one node a directory, its entries packed."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Container, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, split
from syncron_lib.core.sealing import RULES, sealed_size
from syncron_lib.core.table import EMPTY, TYPE_MASK, Table
from syncron_lib.fs import stats as stats_module
from syncron_lib.fs.stats import Stats

if TYPE_CHECKING:
    from syncron_lib.fs.view import Naming

_TOTALS = struct.Struct("<QQ?")
"""Entries, bytes of files, and whether rules leave something out."""
_NOTHING = (0, 0, False)


class Node:
    """One scanned directory.

    ``row``: its row in the parent's columns. ``stats``: packed `Stats`. ``digests``: as in
    `core.table.Table.digests`. ``targets``, ``excluded``: strings joined by NUL. ``scope``:
    digest of the rules in force. ``merkle``: digest under the profile last sealed for, or
    `digest.UNKNOWN`. ``entries``, ``size``: totals of all that lies below; ``holds``: whether
    something there is excluded; ``ruled``: rules of its own hold there, or may; ``own_rules``: in
    the directory itself. ``unread``: totals of what lies below and is not in the tree, as
    `Unread` has it. ``kept``:
    `plain`, as the state has it. ``identity``: (device, inode). ``problem``: errno that kept it
    from being read, 0 for none. ``stored``: it is in the state exactly so. ``unsettled``: rows
    whose digests must not be kept. ``sealed``: names of files that the other side sees sealed, with
    the digests of that.
    """

    __slots__ = (
        "attributes",
        "digests",
        "entries",
        "excluded",
        "holds",
        "identity",
        "kept",
        "merkle",
        "own_entries",
        "own_rules",
        "own_size",
        "parent",
        "path",
        "problem",
        "row",
        "ruled",
        "scope",
        "sealed",
        "size",
        "stats",
        "stored",
        "targets",
        "unread",
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
        self.ruled = False
        self.own_rules = False
        self.unread = _NOTHING
        self.kept = b""
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

    @property
    def plain(self) -> bytes:
        """The totals; empty where a scan must come by something below that has rules."""
        return b"" if self.ruled else _TOTALS.pack(self.entries, self.size, self.holds)

    def leave_unread(self, kept: bytes) -> bool:
        """Take the totals of all below from what was ``kept`` of them; False where that is nothing
        to go by. To be called when the node itself is complete."""
        if len(kept) != _TOTALS.size:
            return False
        entries, size, holds = _TOTALS.unpack(kept)
        self.unread = entries - self.own_entries, size - self.own_size, holds
        return min(self.unread[:2]) >= 0

    def table(self) -> Table:
        """What the other side may know of this directory."""
        if not self.stats:
            return EMPTY
        return stats_module.as_table(self.seen(), bytes(self.digests), self.targets)

    def digest_of(self, row: int) -> bytes:
        """The digest of what is in ``row``, as far as it is known."""
        start = row * digest.SIZE
        return bytes(self.digests[start : start + digest.SIZE])

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


Read = Callable[[Node, Optional[bytes], Container[bytes]], list[Node]]
"""Gives what lies below a node: the one of a name, or else all of it, each before what is below it,
but for what is among the third argument already."""


class Unread(dict[bytes, Node]):
    """Nodes by path, of which those below some are not there before somebody asks for them.

    Whoever asks for one path has only the way to it read; whoever asks for all of them has all.
    `Tree.present` gives those that are there.
    """

    def __init__(self, tops: Container[bytes], read: Read) -> None:
        """``tops``: the paths of nodes below which something is not there; ``read`` sees to it that
        they stay so."""
        super().__init__()
        self._tops = tops
        self._read = read
        self._given: set[bytes] = set()
        """What was added: it may have been removed, and moved away, since."""
        self.grown = False
        """Nodes were added behind the others."""

    def _add(self, top: Node, name: Optional[bytes]) -> list[Node]:
        nodes = self._read(top, name, self._given)
        self.grown = self.grown or bool(nodes)
        _total(nodes, top)
        for node in nodes:
            self[node.path] = node
        return nodes

    def __setitem__(self, path: bytes, node: Node) -> None:
        self._given.add(path)
        super().__setitem__(path, node)

    def _add_all(self) -> None:
        tops = [node for node in dict.values(self) if node.path in self._tops]
        for top in tops:
            self._add(top, None)
            top.unread = _NOTHING

    def __missing__(self, path: bytes) -> Node:
        # Each step adds what is next on the way to it, from the last directory that is there.
        while True:
            above = path
            while above and not super().__contains__(above):
                above = split(above)[0]
            if above not in self._tops:
                raise KeyError(path)
            top = super().__getitem__(above)
            added = self._add(top, path[len(above) + bool(above) :].partition(b"/")[0])
            if not added:
                raise KeyError(path)
            entries, size, holds = top.unread
            top.unread = entries - added[0].entries, size - added[0].size, holds
            if super().__contains__(path):
                return super().__getitem__(path)

    def get(self, path: bytes, default: Any = None) -> Any:
        try:
            return self[path]
        except KeyError:
            return default

    def __contains__(self, path: object) -> bool:
        return self.get(path) is not None  # type: ignore[arg-type]

    def __len__(self) -> int:
        self._add_all()
        return super().__len__()

    def __iter__(self) -> Iterator[bytes]:
        self._add_all()
        return super().__iter__()

    def keys(self) -> Any:
        self._add_all()
        return super().keys()

    def values(self) -> Any:
        self._add_all()
        return super().values()

    def items(self) -> Any:
        self._add_all()
        return super().items()


class Tree:
    """All nodes of one scan by path, in depth-first order with sorted names."""

    def __init__(self, nodes: Optional[Unread] = None) -> None:
        """``nodes``: where some are not read yet; empty, to be added to."""
        self.nodes: dict[bytes, Node] = {} if nodes is None else nodes
        self.ordered = True
        self.hot = False
        """Of a hot run, which reads what it needs and no more."""
        self.naming: Optional[Naming] = None
        """Has other names for some of it, which digests of directories are of."""

    @property
    def root(self) -> Node:
        """The top directory."""
        return self.nodes[b""]

    def add(self, node: Node) -> None:
        """Add a node behind the ones there are."""
        self.nodes[node.path] = node

    def present(self) -> list[Node]:
        """The nodes that are there: all, but for those below directories that are as they were, or
        that a hot run believes to be, whose own digest and totals are known."""
        return list(dict.values(self.nodes))

    def complete(self) -> None:
        """See that all nodes are there."""
        self.nodes.values()

    def upwards(self) -> Iterator[Node]:
        """Every node that is there after all below it."""
        return reversed(self._downwards())

    def _downwards(self) -> list[Node]:
        nodes = self.nodes
        if not self.ordered or (isinstance(nodes, Unread) and nodes.grown):
            # "/" sorts behind bytes that names may begin with; NUL is what no name holds.
            order = sorted(dict.items(nodes), key=lambda item: item[0].replace(b"/", b"\0"))
            dict.clear(nodes)
            dict.update(nodes, order)
            self.ordered = True
            if isinstance(nodes, Unread):
                nodes.grown = False
        return self.present()

    def total(self) -> None:
        """Recompute the totals of every node."""
        _total(self._downwards(), None)

    def prune(self, some: Optional[Set[bytes]] = None) -> None:
        """Drop the directories, of all or of ``some``, that hold nothing but such directories, the
        root excepted; one that could not be read may hold something."""
        self.complete()
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
        for node in self.present():
            if node.path in tops or (node.parent is not None and node.parent.path in gone):
                gone.add(node.path)
        for path in gone:
            del self.nodes[path]
        return list(gone)


def _total(nodes: Sequence[Node], top: Optional[Node]) -> None:
    """Recompute the totals of ``nodes``, each of which comes before those below it. ``top``: what
    they all lie below, which keeps its own."""
    for node in nodes:
        entries, size, holds = node.unread
        node.entries = node.own_entries + entries
        node.size = node.own_size + size
        node.holds = holds or bool(node.excluded)
        node.ruled = node.own_rules or RULES in node.stats or RULES in node.excluded
    for node in reversed(nodes):
        parent = node.parent
        if parent is not None and parent is not top:
            parent.entries += node.entries
            parent.size += node.size
            parent.holds = parent.holds or node.holds
            parent.ruled = parent.ruled or node.ruled


def empty() -> Tree:
    """The tree of what is not there."""
    tree = Tree()
    tree.add(Node(b"", None, 0))
    return tree


def is_directory(mode: int) -> bool:
    """Whether ``mode`` is a directory's."""
    return mode & TYPE_MASK == stat.S_IFDIR
