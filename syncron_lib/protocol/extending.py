"""The messages about extended attributes and ACLs; `protocol.messages` has them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from syncron_lib.record import NamedTuple


class GetMarks(NamedTuple):
    """Ask which entries have extended attributes that are kept, less the first ``known``.
    ``alternate``: in which alternate, where it is not in the root."""

    known: int = 0
    alternate: Optional[int] = None


class Marked(NamedTuple):
    """An entry that has: digests of its ACLs, of the others and of its time of access,
    zeros for none. ``mode`` and
    ``size``: the entry's."""

    path: bytes
    mode: int
    size: int
    acls: bytes
    others: bytes
    atime: bytes = bytes(16)


class Marks(NamedTuple):
    """Reply to `GetMarks`; ``more``: these are not all."""

    marks: Sequence[Marked]
    more: bool = False


class GetSets(NamedTuple):
    """Ask the source for extended attributes of entries."""

    paths: Sequence[bytes]


class Sets(NamedTuple):
    """Reply to `GetSets`: a set (see `core.extended`) for each of the first paths, at least one."""

    sets: Sequence[bytes]


class Extended(NamedTuple):
    """The extended attributes that an entry is to have, and no others."""

    path: bytes
    attributes: bytes


class Extend(NamedTuple):
    """Give entries these extended attributes: when they come (``coming``; a directory at the end),
    or now. Reply: `Stored`."""

    items: Sequence[Extended]
    coming: bool
