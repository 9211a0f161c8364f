"""What differs between two tables of one directory: pure, entry by entry.

Flags are rsync's itemized strings, 11 characters ``YXcstpoguax`` (see rsync's manual under
``--itemize-changes``), with ``Y`` left to whoever knows the direction.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from enum import Enum
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes, Profile, compared
from syncron_lib.core.table import PROBLEM, TYPE_MASK, Table, link_targets
from syncron_lib.record import NamedTuple


class Relation(Enum):
    """How an entry of the source stands to the destination's of the same name."""

    ONLY_SOURCE = "only source"
    ONLY_DESTINATION = "only destination"
    OTHER_KIND = "other kind"
    DIFFERENT = "different"
    """Same kind, other content, target or device."""
    UNKNOWN = "unknown"
    """Two files of one size, of which a digest is unknown."""
    SAME = "same"
    """Same content (a directory: same below, or still to be looked at: see ``descend``)."""
    UNREADABLE_SOURCE = "unreadable source"
    UNREADABLE_DESTINATION = "unreadable destination"


class Pair(NamedTuple):
    """One name of the two tables. Rows are None where that side lacks it. ``descend``: two
    directories whose digests do not say that they are equal. ``attributes_differ``: beside the
    content."""

    name: bytes
    relation: Relation
    source: Optional[int]
    destination: Optional[int]
    descend: bool = False
    attributes_differ: bool = False


def attributes_of(table: Table, row: int) -> Attributes:
    """One row's attributes."""
    return Attributes(table.modes[row], table.mtimes[row], table.uids[row], table.gids[row])


def digest_of(table: Table, row: int) -> bytes:
    """One row's digest."""
    return table.digests[row * digest.SIZE : (row + 1) * digest.SIZE]


def pairs(source: Table, destination: Table, profile: Profile) -> Iterator[Pair]:
    """Every name of either table that is not plainly equal, in name order.

    ``profile``: with the source's ids mapped to the destination's.
    """
    receiver = profile._replace(users={}, groups={})
    same_ids = not (profile.users or profile.groups)
    mine_raw, theirs_raw = _raw(source), _raw(destination)
    theirs = {name: row for row, name in enumerate(destination.names)}
    source_links = link_targets(source)
    destination_links = link_targets(destination)
    found = []
    for row, name in enumerate(source.names):
        other = theirs.pop(name, None)
        mode = source.modes[row]
        if mode == PROBLEM:
            found.append(Pair(name, Relation.UNREADABLE_SOURCE, row, other))
            continue
        if other is None:
            found.append(Pair(name, Relation.ONLY_SOURCE, row, None))
            continue
        theirs_mode = destination.modes[other]
        if theirs_mode == PROBLEM:
            found.append(Pair(name, Relation.UNREADABLE_DESTINATION, row, other))
            continue
        kind = mode & TYPE_MASK
        if kind != theirs_mode & TYPE_MASK:
            found.append(Pair(name, Relation.OTHER_KIND, row, other))
            continue
        # What is the same in all is so under any profile: nearly every entry is.
        attributes_differ = not (same_ids and mine_raw[row] == theirs_raw[other]) and compared(
            profile, attributes_of(source, row)
        ) != compared(receiver, attributes_of(destination, other))
        descend = False
        relation = Relation.SAME
        if kind == stat.S_IFREG:
            relation = _files(source, row, destination, other)
        elif kind == stat.S_IFDIR:
            mine = digest_of(source, row)
            descend = mine == digest.UNKNOWN or mine != digest_of(destination, other)
        elif kind == stat.S_IFLNK:
            if source_links[row] != destination_links[other]:
                relation = Relation.DIFFERENT
        elif source.sizes[row] != destination.sizes[other]:  # a device's number
            relation = Relation.DIFFERENT
        if relation is not Relation.SAME or descend or attributes_differ:
            found.append(Pair(name, relation, row, other, descend, attributes_differ))
    for name, other in theirs.items():
        unreadable = destination.modes[other] == PROBLEM
        relation = Relation.UNREADABLE_DESTINATION if unreadable else Relation.ONLY_DESTINATION
        found.append(Pair(name, relation, None, other))
    found.sort(key=lambda pair: pair.name)
    return iter(found)


def _raw(table: Table) -> list[tuple[int, int, int, int]]:
    """Every row's attributes, as numbers."""
    return list(zip(table.modes, table.mtimes, table.uids, table.gids))


def _files(source: Table, row: int, destination: Table, other: int) -> Relation:
    if source.sizes[row] != destination.sizes[other]:
        return Relation.DIFFERENT
    mine, theirs = digest_of(source, row), digest_of(destination, other)
    if digest.UNKNOWN in (mine, theirs):
        return Relation.UNKNOWN
    return Relation.SAME if mine == theirs else Relation.DIFFERENT


_LETTERS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "L",
    stat.S_IFCHR: "D",
    stat.S_IFBLK: "D",
    stat.S_IFIFO: "S",
    stat.S_IFSOCK: "S",
}


def letter(mode: int) -> str:
    """rsync's letter for a kind of entry."""
    return _LETTERS.get(mode & TYPE_MASK, "?")


def new_flags(mode: int) -> str:
    """Flags of an entry that is created, from the second character on."""
    return letter(mode) + "+" * 9


def change_flags(
    source: Attributes,
    destination: Attributes,
    profile: Profile,
    *,
    size_differs: bool,
    content_differs: bool,
) -> str:
    """Flags of an entry that is there already, from the second character on."""
    receiver = profile._replace(users={}, groups={})
    mode, time, owner, group = compared(profile, source)
    their_mode, their_time, their_owner, their_group = compared(receiver, destination)
    content = content_differs and (not size_differs or stat.S_ISLNK(source.mode))
    return "".join(
        (
            letter(source.mode),
            "c" if content else ".",
            "s" if size_differs else ".",
            "t" if time != their_time else ".",
            "p" if mode != their_mode else ".",
            "o" if owner != their_owner else ".",
            "g" if group != their_group else ".",
            "...",
        )
    )
