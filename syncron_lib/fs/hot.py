"""Hot directories: those of a source that changed most often, over runs.

A hot run looks at these alone, and believes of all others what the state says. What lies in a
directory shows in its own listing, and its own times in that of the directory above: so both are
looked at.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence

from syncron_lib.core.names import split
from syncron_lib.core.table import TYPE_MASK, Malformed
from syncron_lib.fs import stats
from syncron_lib.fs.changes import changes
from syncron_lib.fs.state import State
from syncron_lib.fs.tree import Tree
from syncron_lib.record import NamedTuple

KEY = "hot"
"""Of `State.get`."""

MOST = 500
"""Directories whose changes are counted."""
_FADES = 0.98
"""What each run with changes leaves of a score: that of a directory that changed in every one comes
to 50, and one that has not in the last 200 is forgotten."""
_LEAST = 0.02
_MUCH = 2000
"""Directories that change in one run; where it is more, it says nothing of which are hot."""


class Hot(NamedTuple):
    """A directory, and how often it changed, of late more than long ago."""

    path: bytes
    score: float


def looked_at(paths: Iterable[bytes]) -> frozenset[bytes]:
    """The directories that a scan for changes in ``paths`` has to list."""
    found = set(paths)
    found.update([split(path)[0] for path in found])
    return frozenset(found)


def more(tree: Tree, state: State) -> Mapping[str, bytes]:
    """What of the state's values is another by now. To be asked before the tree is saved."""
    paths = _changed(tree, state)
    return {KEY: counted(state.get(KEY), paths)} if paths else {}


def _changed(tree: Tree, state: State) -> Sequence[bytes]:
    """The directories whose listing is another than the state has it; one of which nothing is known
    is new and not hot."""
    if state.emptied:
        return ()
    found = [
        change.node.path
        for change in changes(tree, state) or ()
        if change.row is not None and _listing(change.node.stats) != _listing(change.row.stats)
    ]
    return found if len(found) <= _MUCH else ()


def _listing(packed: bytes) -> Sequence[tuple[object, ...]]:
    """A directory but for the times of those in it, which change with what is below them."""
    try:
        columns = stats.unpack(packed)
    except Malformed:
        return ()
    return [
        row[:2] + row[5:] if row[1] & TYPE_MASK == stat.S_IFDIR else row for row in zip(*columns)
    ]


def counted(before: bytes, paths: Sequence[bytes]) -> bytes:
    """The scores with one more run, in which ``paths`` changed."""
    scores = {each.path: each.score * _FADES for each in unpacked(before)}
    for path in paths:
        scores[path] = scores.get(path, 0.0) + 1.0
    first = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:MOST]
    return b"\0".join(b"%.6f %b" % (score, path) for path, score in first if score >= _LEAST)


def unpacked(data: bytes) -> list[Hot]:
    """The hottest first; nothing of what is damaged."""
    found: list[Hot] = []
    for each in data.split(b"\0") if data else ():
        score, _, path = each.partition(b" ")
        try:
            found.append(Hot(path, float(score)))
        except ValueError:
            return []
    return found
