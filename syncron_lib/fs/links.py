"""Which entries of a scanned tree are names of one file."""

from __future__ import annotations

import stat
from array import array
from collections.abc import Collection, Iterable
from itertools import islice

from syncron_lib.core import digest
from syncron_lib.core.links import Group, groups_digest, walk_order, without
from syncron_lib.core.names import join, split
from syncron_lib.core.table import PROBLEM, TYPE_MASK
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import Finder
from syncron_lib.fs.tree import Tree

_NEITHER = (stat.S_IFDIR, PROBLEM)


class Links:
    """The hard-link groups of one tree, as it is when they are looked for."""

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self._group_of: dict[bytes, Group] = {}

    @classmethod
    def of(cls, tree: Tree, directories: Directories) -> Links:
        """Find them. An entry that is not as in the tree any more is in none."""
        repeated = _repeated(tree)
        files: dict[tuple[int, int], list[tuple[bytes, int, int]]] = {}
        for node in tree.nodes.values() if repeated else ():
            if not node.stats:
                continue
            columns = node.columns()
            if repeated.isdisjoint(columns.inodes):
                continue
            for name, mode, size, inode in zip(
                columns.names, columns.modes, columns.sizes, columns.inodes
            ):
                if inode not in repeated or mode & TYPE_MASK in _NEITHER:
                    continue
                # A directory can show entries of several devices (bind mounts, overlays), on which
                # one inode number stands for several files.
                try:
                    st = directories.stat(node.path, name, mode)
                except OSError:
                    continue
                if st.st_nlink > 1 and st.st_ino == inode:
                    names = files.setdefault((st.st_dev, inode), [])
                    names.append((join(node.path, name), mode, size))
        groups = [_group(names) for names in files.values() if len(names) > 1]
        groups.sort(key=lambda group: walk_order(group.paths[0]))
        return cls(groups)

    def digest(self, algorithm: digest.Algorithm, extras: Iterable[bytes] = ()) -> bytes:
        """What the root covers of them, but for ``extras`` and what is below these."""
        groups = without(self.groups, extras) if extras else self.groups
        return groups_digest(algorithm, groups)

    def others(self, left: Collection[bytes] = ()) -> dict[bytes, set[bytes]]:
        """The names that are not their groups' first, by directory, but for what is ``left``."""
        found: dict[bytes, set[bytes]] = {}
        for group in without(self.groups, left) if left else self.groups:
            for path in group.paths[1:]:
                parent, name = split(path)
                found.setdefault(parent, set()).add(name)
        return found

    def spread(self, tree: Tree) -> None:
        """Give each name of a file the digest that another one has."""
        unknown = {
            path for path, node in tree.nodes.items() if digest.UNKNOWN in bytes(node.digests)
        }
        finder = Finder(tree)
        for group in self.groups:
            if not unknown.isdisjoint([split(path)[0] for path in group.paths]):
                _spread(finder, group)

    def share(self, path: bytes, finder: Finder) -> None:
        """Give the other names of the file at ``path`` its digest."""
        if not self._group_of:
            self._group_of = {path: group for group in self.groups for path in group.paths}
        group = self._group_of.get(path)
        if group is not None:
            _spread(finder, group)


def _spread(finder: Finder, group: Group) -> None:
    if not stat.S_ISREG(group.mode):
        return
    found = [each for each in map(finder.find, group.paths) if each is not None]
    known = next((each for each in found if each.digest != digest.UNKNOWN), None)
    if known is None:
        return
    value = known.digest
    settled = known.row not in (known.node.unsettled or ())
    for each in found:
        # Looked at in the same moment of the file's life.
        if each.digest == digest.UNKNOWN and each.stats[1:] == known.stats[1:]:
            each.node.set_digest(each.row, value, settled)


def _group(names: list[tuple[bytes, int, int]]) -> Group:
    names.sort(key=lambda name: walk_order(name[0]))
    _, mode, size = names[0]
    return Group(mode, size if stat.S_ISREG(mode) else 0, [path for path, _, _ in names])


def _repeated(tree: Tree) -> set[int]:
    """Inode numbers that more than one entry has."""
    inodes = array("Q")
    for node in tree.nodes.values():
        if node.stats:
            columns = node.columns()
            inodes.extend(
                inode
                for mode, inode in zip(columns.modes, columns.inodes)
                if mode & TYPE_MASK not in _NEITHER
            )
    ordered = sorted(inodes)
    return {inode for inode, after in zip(ordered, islice(ordered, 1, None)) if inode == after}
