"""How users and groups are numbered elsewhere, as the state keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Optional

from syncron_lib.core.merkle import Profile


def packed(profile: Profile) -> bytes:
    """The profile's ids for the state."""
    lines = (
        b" ".join(b"%d:%d" % pair for pair in sorted(ids.items()))
        for ids in (profile.users, profile.groups)
    )
    return b"\n".join(lines)


def packed_owners(users: Set[int], groups: Set[int]) -> bytes:
    """Who owns the entries of a tree, for the state."""
    return b"\n".join(b" ".join(b"%d" % each for each in sorted(ids)) for ids in (users, groups))


def unpacked_owners(data: bytes) -> Optional[tuple[set[int], set[int]]]:
    """The inverse; None where it is damaged."""
    try:
        users, groups = ({int(each) for each in line.split()} for line in data.split(b"\n"))
    except ValueError:
        return None
    if any(not 0 <= each < 1 << 32 for each in users | groups):
        return None
    return users, groups


def unpacked(data: bytes) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """The inverse; no ids where it is damaged."""
    try:
        users, groups = (
            {int(mine): int(theirs) for mine, theirs in (pair.split(b":") for pair in line.split())}
            for line in data.split(b"\n")
        )
    except ValueError:
        return {}, {}
    if any(
        not 0 <= number < 1 << 32
        for ids in (users, groups)
        for pair in ids.items()
        for number in pair
    ):
        return {}, {}
    return users, groups
