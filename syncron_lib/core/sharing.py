"""What an alternate may stand in for where hard links, extended attributes and ACLs count.

To link a file is to share all of it with a tree that must not change. So what is linked is the
same in everything that the run keeps, and nothing is done to it afterwards; what is not the same
comes from the source.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

from syncron_lib.core.extend import Marked
from syncron_lib.core.extended import PLAIN
from syncron_lib.core.links import Group, up
from syncron_lib.record import NamedTuple


class Apart(NamedTuple):
    """``barred``: paths that are not taken from an alternate. ``opened``: directories that are made
    for themselves, and what is in them is decided on one by one."""

    barred: Set[bytes] = frozenset()
    opened: Set[bytes] = frozenset()


def marks_apart(
    source: Mapping[bytes, Marked], alternate: Mapping[bytes, Marked], copy: bool
) -> Apart:
    """What has other extended attributes or ACLs than what would be taken: a copy has none."""
    barred, opened = set(), set()
    for path in {*source, *alternate}:
        mine, other = source.get(path), alternate.get(path)
        if mine is not None and stat.S_ISDIR(mine.mode):
            opened.add(path)
            continue
        if mine is None and other is not None and stat.S_ISDIR(other.mode):
            continue  # a new one is made in any case
        wanted = PLAIN if mine is None else mine.mark
        has = PLAIN if other is None or copy else other.mark
        if wanted != has:
            barred.add(path)
    return Apart(barred, opened)


def links_apart(
    source: Sequence[Group],
    alternate: Sequence[Group],
    copy: bool,
    comes: Callable[[bytes], bool],
    is_elsewhere: Callable[[bytes], bool],
) -> Apart:
    """Names of files that cannot be linked, or not all of them, without becoming names of another
    file. ``comes``: whether a path is taken whole, if it may be. ``is_elsewhere``: whether it is
    the alternate's alone. The names of a file are taken all or none."""
    barred: set[bytes] = set()
    same = {frozenset(group.paths) for group in source}
    files = set()
    for group in alternate:
        names = frozenset(path for path in group.paths if not is_elsewhere(path))
        if names in same:
            files.add(names)
        elif len(names) > 1 or not names.isdisjoint(_names(source)):
            barred |= names
    for group in source:
        names = frozenset(group.paths)
        if copy or names not in files or not (stat.S_ISREG(group.mode) and all(map(comes, names))):
            barred |= names
    return Apart(barred, {path for group in source for path in group.paths})


def _names(groups: Sequence[Group]) -> Iterator[bytes]:
    return (path for group in groups for path in group.paths)


def is_below(path: bytes, tops: Set[bytes]) -> bool:
    """Whether ``path`` is one of ``tops`` or in one."""
    return not tops.isdisjoint(up(path))
