"""The reply to `GetChanges`: what of a root is no longer as it was at the end of the last run."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Sequence
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.names import is_valid_path, join
from syncron_lib.core.table import Malformed
from syncron_lib.endpoint import parts
from syncron_lib.fs import changes, hot
from syncron_lib.fs.changes import Change
from syncron_lib.fs.root import Root
from syncron_lib.fs.tree import Node
from syncron_lib.protocol import messages

_RECORD = 64
"""Bytes of a `Changed` beside its path and its directory, or little less."""

Hash = Callable[[bytes], object]
"""Finds out the digest of one file."""

NOTHING = messages.Changes(digest.UNKNOWN, False, 0, 0, 0, 0, False, (), 0)


def hottest(root: Optional[Root], most: int) -> messages.HotDirectories:
    """Which directories changed most often."""
    state = None if root is None else root.state
    found = hot.unpacked(state.get(hot.KEY)) if state is not None else []
    items = [messages.HotDirectory(each.path, int(each.score * 1000)) for each in found[:most]]
    return messages.HotDirectories([each for each in items if is_valid_path(each.path)])


def since_last_run(root: Root, request: messages.GetChanges, hash_file: Hash) -> messages.Changes:
    """What changed since ``root`` was remembered under the profile that it is sealed for."""
    basis, found = root.changes()
    if found is None:
        return NOTHING
    hashed = _hash_edited(found, request.hash, hash_file)
    top = root.tree.root
    own = *top.attributes, top.holds
    changed: list[messages.Changed] = []
    complete = True
    left = min(request.limit, parts.LIMIT)
    for change in found:
        node = change.node
        left -= _RECORD + len(node.path)
        directory: Optional[messages.Directory] = None
        if (change.row is not None) if request.before else change.own:
            size = parts.size_of(node)
            if size <= left:
                directory = _before(root, change) if request.before else _now(root, node)
            # One that is not told can be asked for; where it is asked what was, it cannot.
            complete = complete and (directory is not None or not request.before)
            left -= size if directory is not None else 0
        if left < 0:
            return messages.Changes(basis, False, *own, changed, hashed)
        below = messages.Below(node.entries, node.size, node.holds)
        changed.append(messages.Changed(node.path, node.merkle, below, directory, change.own))
    return messages.Changes(basis, complete, *own, changed, hashed)


def _hash_edited(found: Sequence[Change], most: int, hash_file: Hash) -> int:
    """Find out the digests of files that may have been edited in place: it would be asked next."""
    hashed = 0
    for change in found if most else ():
        for path, size in changes.edited(change):
            if hashed + size > most:
                continue
            hash_file(path)
            hashed += size
    return hashed


def _now(root: Root, node: Node) -> messages.Directory:
    (directory,) = parts.listing(root.tree.nodes, [node.path], None).directories
    return directory


def _before(root: Root, change: Change) -> Optional[messages.Directory]:
    row, state = change.row, root.state
    if row is None or state is None:
        return None
    table = changes.remembered_table(row)
    if table is None:
        return None
    below = []
    for name, mode in zip(table.names, table.modes):
        if stat.S_ISDIR(mode):
            path = join(row.path, name)
            node = root.tree.nodes.get(path)
            if node is not None:
                below.append(messages.Below(node.entries, node.size, node.holds))
                continue
            try:
                below.append(messages.Below(*changes.remembered_below(state, path), False))
            except (sqlite3.DatabaseError, Malformed):
                return None
    return messages.Directory(*change.node.attributes, 0, table, below)
