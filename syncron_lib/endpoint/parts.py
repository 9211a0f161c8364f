"""Replies that a tree can make larger than a frame: cut, so that each fits into one.

What must arrive whole (listings, ignore files) goes on in the reply to another request. Problems
do not: after so many, a number says enough.
"""

from __future__ import annotations

import bisect
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
from syncron_lib.protocol.wire import MAX_PROBLEMS

LIMIT = MAX_PAYLOAD // 2
"""Bytes after which a reply is cut. The last thing in it may go over: a path has up to 1 MiB."""
_ROW = 44 + 1
"""Bytes of a row of a table beside name and target, with the byte between names."""
_BELOW = 17
_NOTHING = messages.Below(0, 0, False)
_DIRECTORY = 64
"""Bytes of a directory beside its rows, at most."""
_MAX_FILES = 100_000
"""Ignore files in one reply."""
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
    whole = part = node.table()
    rows = end = len(whole.names)
    size = size_of(node)
    if after is not None or size > limit:
        start, end, size = _range(whole, after, limit)
        part = sliced(whole, start, end)
    below = []
    for name, mode in zip(part.names, part.modes):
        if mode & TYPE_MASK == stat.S_IFDIR:
            child = nodes.get(join(node.path, name))
            below.append(
                messages.Below(child.entries, child.size, child.holds) if child else _NOTHING
            )
    own = node.attributes
    directory = messages.Directory(
        own.mode, own.mtime_ns, own.uid, own.gid, node.problem, part, below, end < rows
    )
    return directory, size


def size_of(node: Node) -> int:
    """Bytes of a directory in a reply, or some more."""
    # More than a packed row of the scan, a name and the rest of a table's row come to.
    return _DIRECTORY + len(node.stats) + len(node.targets) + node.own_entries * (_ROW + _BELOW)


def _range(table: Table, after: Optional[bytes], limit: int) -> tuple[int, int, int]:
    """The rows behind the name ``after``, at least one, that ``limit`` bytes hold: (start, end,
    bytes)."""
    start = 0 if after is None else bisect.bisect_right(table.names, after)
    links = sum(1 for mode in table.modes[:start] if mode & TYPE_MASK == stat.S_IFLNK)
    targets = iter(table.targets[links:])
    size = _DIRECTORY
    for row in range(start, len(table.names)):
        kind = table.modes[row] & TYPE_MASK
        target = len(next(targets)) + 1 if kind == stat.S_IFLNK else 0
        size += _ROW + _BELOW + len(table.names[row]) + target
        if size > limit and row > start:
            return start, row, size
    return start, len(table.names), size


def ignore_files(
    files: Sequence[ignorefiles.IgnoreFile], known: int, limit: int = LIMIT
) -> messages.IgnoreFiles:
    """The files behind the first ``known``, as many as ``limit`` bytes hold."""
    part = []
    size = 0
    for file in files[known : known + _MAX_FILES]:
        part.append(messages.IgnoreFile(file.directory, file.name, file.content))
        size += len(file.directory) + len(file.name) + len(file.content) + 12
        if size > limit:
            break
    return messages.IgnoreFiles(part, known + len(part) < len(files))


def bounded(problems: Sequence[Problem], most: int = MAX_PROBLEMS) -> list[Problem]:
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


class GivenFiles:
    """Ignore files that a client gives in several parts."""

    def __init__(self) -> None:
        self._files: list[ignorefiles.IgnoreFile] = []
        self._weight = 0

    def add(self, files: Sequence[messages.IgnoreFile]) -> None:
        """Take some. Raises `SyncronError` where it is too much."""
        given = [
            ignorefiles.IgnoreFile(file.directory, file.name, file.content, (0, 0, 0, 0))
            for file in files
        ]
        self._weight += ignorefiles.weight(given)
        ignorefiles.require_bounded(self._weight)
        self._files.extend(given)

    def taken(self) -> Sequence[ignorefiles.IgnoreFile]:
        """All of them; the next ones begin anew."""
        files, self._files, self._weight = self._files, [], 0
        return files
