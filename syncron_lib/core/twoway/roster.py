"""Which replicas one knows of: what they are called, and which of them are gone for good.

It is for people, and decides nothing but who goes on under another identity: what is known of a
replica's events stays, whatever becomes of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from syncron_lib.core.table import Malformed, Reader, pack_blob
from syncron_lib.core.twoway.dots import REPLICA
from syncron_lib.record import NamedTuple

_COUNT = struct.Struct("<I")
_MEMBER = struct.Struct("<QB")
_LONGEST = 1 << 13
"""Bytes of a label: a host and a path."""
_LAST = (1 << 64) - 1
"""The largest count of labels."""


class Member(NamedTuple):
    """One replica. ``label``: where it said that it is, empty where that is not known; ``since``:
    which of its labels that is, the larger the later. ``retired``: it is gone for good."""

    label: bytes = b""
    since: int = 0
    retired: bool = False

    def joined(self, other: Member) -> Member:
        """What both say; a replica that has been retired is so for ever."""
        later = max(self, other, key=lambda each: (each.since, each.label))
        return later._replace(retired=self.retired or other.retired)


class Roster(NamedTuple):
    """By identity, the replicas that one has heard of."""

    members: Mapping[bytes, Member]

    @property
    def retired(self) -> frozenset[bytes]:
        """Those that are gone for good."""
        return frozenset(each for each, member in self.members.items() if member.retired)

    def joined(self, other: Roster) -> Roster:
        """What both have heard of."""
        both = dict(self.members)
        for replica, member in other.members.items():
            both[replica] = member.joined(both.get(replica, Member()))
        return Roster(both)

    def named(self, replica: bytes, label: bytes) -> Roster:
        """With the name that a replica has now."""
        now = self.members.get(replica, Member())
        if now.label == label:
            return self
        # Another replica may have told anything.
        named = now._replace(label=label[:_LONGEST], since=min(now.since + 1, _LAST))
        return Roster({**self.members, replica: named})

    def without(self, replica: bytes) -> Roster:
        """With one that is gone for good."""
        gone = self.members.get(replica, Member())._replace(retired=True)
        return Roster({**self.members, replica: gone})


NOBODY = Roster({})


def pack_roster(roster: Roster) -> bytes:
    """The same bytes for the same replicas."""
    parts = [_COUNT.pack(len(roster.members))]
    for replica in sorted(roster.members):
        label, since, retired = roster.members[replica]
        parts += replica, _MEMBER.pack(since, retired), pack_blob(label)
    return b"".join(parts)


def read_roster(reader: Reader) -> Roster:
    """The inverse. Raises `Malformed`."""
    (count,) = _COUNT.unpack(reader.take(4))
    members: dict[bytes, Member] = {}
    for _ in range(count):
        replica = bytes(reader.take(REPLICA))
        since, retired = _MEMBER.unpack(reader.take(_MEMBER.size))
        label = reader.blob()
        if replica in members or retired > 1 or len(label) > _LONGEST:
            raise Malformed("a replica that cannot be one")
        members[replica] = Member(label, since, bool(retired))
    return Roster(members)


def pack_replicas(replicas: Iterable[bytes]) -> bytes:
    """Identities in ascending order, with their number in front."""
    ordered = sorted(replicas)
    return b"".join((_COUNT.pack(len(ordered)), *ordered))


def read_replicas(reader: Reader) -> frozenset[bytes]:
    """The inverse. Raises `Malformed`."""
    (count,) = _COUNT.unpack(reader.take(4))
    if count * REPLICA > reader.end - reader.position:
        raise Malformed("more replicas than there is room for")
    return frozenset(bytes(reader.take(REPLICA)) for _ in range(count))
