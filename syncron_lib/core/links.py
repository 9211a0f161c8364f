"""Hard links: which names of a tree are names of one file.

A *group* is several names of one file within a tree. Its first name in the order of a walk, its
*leader*, stands for it: the others are to be links to that one, on both sides.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from syncron_lib.core import digest
from syncron_lib.core.names import split
from syncron_lib.core.table import pack_names
from syncron_lib.record import NamedTuple


class Group(NamedTuple):
    """The names of one file in the order of a walk, the leader first; of what kind and size it
    is."""

    mode: int
    size: int
    paths: Sequence[bytes]


def walk_order(path: bytes) -> bytes:
    """What to sort paths by to have them in the order of a walk: NUL is in no name."""
    return path.replace(b"/", b"\0")


def groups_digest(algorithm: digest.Algorithm, groups: Iterable[Group]) -> bytes:
    """What a root with hard links covers of them: the names, group by group, by their leaders."""
    names = sorted((group.paths for group in groups), key=lambda paths: walk_order(paths[0]))
    parts = [struct.pack("<I", len(names)), *map(pack_names, names)]
    return algorithm.of(b"".join(parts))[: digest.SIZE]


def without(groups: Iterable[Group], extras: Iterable[bytes]) -> Iterator[Group]:
    """The groups less the names at and below ``extras``."""
    tops = frozenset(extras)
    for group in groups:
        paths = [path for path in group.paths if tops.isdisjoint(up(path))]
        if len(paths) > 1:
            yield group._replace(paths=paths)


def up(path: bytes) -> Iterator[bytes]:
    """The path and all above it but the root."""
    while path:
        yield path
        path = split(path)[0]
