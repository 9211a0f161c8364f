"""Replies that a tree can make larger than a frame: cut, so that each fits into one.

What must arrive whole (listings, ignore files) goes on in the reply to another request. Problems
do not: after so many, a number says enough.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from typing import Optional

from syncron_lib.core.names import join, shown
from syncron_lib.core.table import TYPE_MASK, Table, sliced
from syncron_lib.errors import PeerViolation
from syncron_lib.fs import ignorefiles
from syncron_lib.fs.tree import Node
from syncron_lib.protocol import messages
from syncron_lib.protocol.frames import MAX_PAYLOAD
from syncron_lib.protocol.messages import Problem

LIMIT = MAX_PAYLOAD // 2
"""Bytes after which a reply is cut. The last thing in it may go over: a path has up to 1 MiB."""
_ROW = 44 + 1
"""Bytes of a row of a table beside name and target, with the byte between names."""
_BELOW = 16
_DIRECTORY = 64
"""Bytes of a directory beside its rows, at most."""
_MAX_PROBLEMS = 10_000
_MAX_PROBLEM_BYTES = 2 << 20
"""Of paths and texts: two such lists and more fit into one reply."""


def listing(
    nodes: Mapping[bytes, Node],
    paths: Sequence[bytes],
    after: Optional[bytes],
    limit: int = LIMIT,
) -> messages.Listing:
    """The directories at ``paths``, as many as ``limit`` bytes hold, the first of them from
    behind the name ``after`` on. One that does not fit is begun, and marked so."""
    listed: list[messages.Directory] = []
    left = limit
    for path in paths:
        node = nodes.get(path)
        if node is None:
            raise PeerViolation(f"The client asked about {shown(path)}, which is no directory.")
        if listed and len(node.stats) > left:
            break
        directory, size = _part(node, nodes, after, left)
        listed.append(directory)
        left -= size
        after = None
        if left <= 0 or directory.more:
            break
    return messages.Listing(listed)


def _part(
    node: Node, nodes: Mapping[bytes, Node], after: Optional[bytes], limit: int
) -> tuple[messages.Directory, int]:
    """One directory, or so much of it as ``limit`` bytes hold, and how many these are."""
    table = node.table()
    start = 0 if after is None else sum(1 for name in table.names if name <= after)
    targets = iter(table.targets)
    below = []
    size = _DIRECTORY
    end = start
    for row, (name, mode) in enumerate(zip(table.names, table.modes)):
        kind = mode & TYPE_MASK
        target = next(targets) if kind == stat.S_IFLNK else b""
        if row < start:
            continue
        if size > limit and end > start:
            break
        size += _ROW + len(name) + len(target)
        end = row + 1
        if kind == stat.S_IFDIR:
            size += _BELOW
            child = nodes.get(join(node.path, name))
            below.append(messages.Below(child.entries if child else 0, child.size if child else 0))
    rows = len(table.names)
    own = node.attributes
    part: Table = table if end - start == rows else sliced(table, start, end)
    directory = messages.Directory(
        own.mode, own.mtime_ns, own.uid, own.gid, node.problem, part, below, end < rows
    )
    return directory, size


def ignore_files(
    files: Sequence[ignorefiles.IgnoreFile], known: int, limit: int = LIMIT
) -> messages.IgnoreFiles:
    """The files behind the first ``known``, as many as ``limit`` bytes hold."""
    part = []
    size = 0
    for file in files[known:]:
        part.append(messages.IgnoreFile(file.directory, file.name, file.content))
        size += len(file.directory) + len(file.name) + len(file.content) + 12
        if size > limit:
            break
    return messages.IgnoreFiles(part, known + len(part) < len(files))


def bounded(problems: Sequence[Problem], most: int = _MAX_PROBLEMS) -> list[Problem]:
    """The problems, or the first of them and one that says how many more there are."""
    size = 0
    for index, problem in enumerate(problems):
        size += len(problem.path) + len(problem.what)
        if index and (index >= most or size > _MAX_PROBLEM_BYTES):
            rest = problems[index:]
            what = f"and {len(rest):,} more like the ones before"
            vanished = all(problem.vanished for problem in rest)
            return [*problems[:index], Problem(b"", what, vanished)]
    return list(problems)
