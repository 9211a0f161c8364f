"""Merkle digests of a scanned tree, computed from below and only where something changed."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile, directory_digest, root_digest
from syncron_lib.core.names import join, split
from syncron_lib.core.table import PROBLEM, TYPE_MASK, Table, without
from syncron_lib.fs.state import Row
from syncron_lib.fs.tree import Node, Tree

if TYPE_CHECKING:
    from syncron_lib.fs.view import Naming

_NO_ATTRIBUTES = (stat.S_IFDIR, 0, (1 << 32) - 1, (1 << 32) - 1)
"""Mode, time, and ids that nobody has and that are mapped to none."""
_SIZE = struct.Struct("<QQ")
"""A size as long as a digest, and none that is unknown."""


def forget_digests(tree: Tree) -> None:
    """Forget all digests: the state's were made by another algorithm, or must not be believed."""
    for node in tree.nodes.values():
        node.digests = bytes(len(node.digests))
        node.merkle = digest.UNKNOWN
        node.stored = False


def forget_merkle(tree: Tree) -> None:
    """Forget directory digests only: the state's were made for another profile."""
    for node in tree.nodes.values():
        node.merkle = digest.UNKNOWN
        node.stored = False


def seal(
    tree: Tree, algorithm: digest.Algorithm, profile: Profile, whole: bool, beside: bytes = b""
) -> bytes:
    """Bring every directory's digest up to date; the root's, or `digest.UNKNOWN`.

    ``whole``: the root directory's own attributes belong to the tree. ``beside``: see
    `core.merkle.root_digest`.
    """
    for node in tree.upwards():
        if node.merkle == digest.UNKNOWN and not node.problem and is_known(node):
            table = node.table()
            if tree.naming is not None:
                table = tree.naming.sealed_table(node.path, table)
            node.merkle = directory_digest(algorithm, profile, table)
            node.stored = False
        parent = node.parent
        if parent is not None:
            start = node.row * digest.SIZE
            if parent.digests[start : start + digest.SIZE] != node.merkle:
                _put(parent, start, node.merkle)
    root = tree.root
    if root.merkle == digest.UNKNOWN:
        return digest.UNKNOWN
    own = root.attributes if whole else None
    return root_digest(algorithm, profile, root.merkle, own, beside)


def seal_without(
    tree: Tree,
    algorithm: digest.Algorithm,
    profile: Profile,
    whole: bool,
    extras: Iterable[bytes],
    beside: bytes = b"",
    any_times: bool = False,
    by_size: bool = False,
    implied: Set[bytes] = frozenset(),
) -> bytes:
    """The root's digest as it would be without the entries at ``extras``. Changes no node.

    ``any_times``: times do not count in it. ``by_size``: a file's size does instead of its
    content, which need not be known. ``implied``: directories whose own attributes do not count.
    """
    anew = by_size or (any_times and profile.times)
    if anew:
        tree.complete()
    if any_times:
        profile = profile._replace(times=False)
    left_out = _by_parent(tree, extras)
    plain = _by_parent(tree, implied)
    changed: dict[bytes, bytes] = {}
    for node in tree.upwards():
        names = left_out.get(node.path)
        bare = plain.get(node.path)
        if names is None and bare is None and node.path not in changed and not anew:
            continue
        table = without(node.table(), names or set())
        if bare is not None:
            table = _without_attributes(table, bare)
        digests = bytearray(table.digests)
        known = not node.problem
        for row, (name, mode) in enumerate(zip(table.names, table.modes)):
            start = row * digest.SIZE
            kind = mode & TYPE_MASK
            if kind == stat.S_IFDIR:
                value = changed.get(join(node.path, name))
                if value is not None:
                    digests[start : start + digest.SIZE] = value
            elif kind == stat.S_IFREG and by_size:
                digests[start : start + digest.SIZE] = _SIZE.pack(table.sizes[row], 1)
            if kind in (stat.S_IFREG, stat.S_IFDIR, PROBLEM):
                known = known and digests[start : start + digest.SIZE] != digest.UNKNOWN
        table = table._replace(digests=bytes(digests))
        if tree.naming is not None:
            table = tree.naming.sealed_table(node.path, table)
        value = directory_digest(algorithm, profile, table) if known else digest.UNKNOWN
        changed[node.path] = value
        if node.parent is not None:
            changed.setdefault(node.parent.path, digest.UNKNOWN)
    top = changed.get(b"", tree.root.merkle)
    if top == digest.UNKNOWN:
        return digest.UNKNOWN
    own = tree.root.attributes if whole and b"" not in implied else None
    return root_digest(algorithm, profile, top, own, beside)


def _by_parent(tree: Tree, paths: Iterable[bytes]) -> dict[bytes, set[bytes]]:
    """Names by the directory that they are in, which is in the tree then, if there is one."""
    found: dict[bytes, set[bytes]] = {}
    for path in paths:
        parent, name = split(path)
        if parent not in found:
            tree.nodes.get(parent)
            found[parent] = set()
        found[parent].add(name)
    return found


def _without_attributes(table: Table, names: Set[bytes]) -> Table:
    """``table`` with directories of these names as if they had no attributes."""
    columns = [list(column) for column in (table.modes, table.mtimes, table.uids, table.gids)]
    for row, (name, mode) in enumerate(zip(table.names, table.modes)):
        if name in names and stat.S_ISDIR(mode):
            for column, value in zip(columns, _NO_ATTRIBUTES):
                column[row] = value
    modes, mtimes, uids, gids = columns
    return table._replace(modes=modes, mtimes=mtimes, uids=uids, gids=gids)


def _put(node: Node, start: int, value: bytes) -> None:
    if not isinstance(node.digests, bytearray):
        node.digests = bytearray(node.digests)
    node.digests[start : start + digest.SIZE] = value
    node.merkle = digest.UNKNOWN
    node.stored = False


def is_known(node: Node) -> bool:
    """Whether every file and directory in ``node`` has a known digest."""
    data = bytes(node.digests)
    if digest.UNKNOWN not in data:
        return True
    return not any(True for _ in unknown_rows(node, (stat.S_IFREG, stat.S_IFDIR, PROBLEM)))


def unknown_rows(node: Node, kinds: tuple[int, ...]) -> Iterator[int]:
    """Rows of the given file types without a digest."""
    if not node.stats:
        return
    data = bytes(node.digests)
    for row, mode in enumerate(node.columns().modes):
        start = row * digest.SIZE
        if data[start : start + digest.SIZE] == digest.UNKNOWN and mode & TYPE_MASK in kinds:
            yield row


def rows_to_keep(tree: Tree) -> Iterator[Row]:
    """State rows of all nodes that are not stored as they are.

    A digest that is not settled is left out, and with it the digests of all directories above:
    the next run asks again.
    """
    tainted: set[bytes] = set()
    for node in tree.upwards():
        renamed = tree.naming is not None and _is_renamed(tree.naming, node)
        lasting = not (node.unsettled or node.path in tainted or renamed)
        if not lasting:
            if node.parent is not None:
                tainted.add(node.parent.path)
            merkle = digest.UNKNOWN
        elif node.stored and node.kept == node.plain:
            continue
        else:
            merkle = node.merkle
        if node.problem:
            continue
        yield Row(
            node.path,
            node.stats,
            node.lasting_digests(),
            node.targets,
            node.excluded,
            node.scope,
            merkle,
            node.plain,
        )
        node.stored = lasting
        node.kept = node.plain


def _is_renamed(naming: Naming, node: Node) -> bool:
    """Whether the digest of a directory is of other names than those that it has here."""
    return bool(node.stats) and naming.touches(node.path, node.columns().names)
