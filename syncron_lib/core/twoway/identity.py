"""Whether two replicas are who they say they are: pure.

A machine that was copied with everything on it counts on twice under one identity. What its own
witness cannot see shows when it meets others: each tick has a random number, and two that remember
another number of the same tick have met different copies.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Optional

from syncron_lib.core.table import Malformed, Reader
from syncron_lib.core.twoway.dots import REPLICA, Vector
from syncron_lib.record import NamedTuple

_KEPT = 16
"""Ticks of each replica whose numbers are remembered: copies are found out if they meet anybody
within so many."""
_NONCE = 8
_COUNT = struct.Struct("<I")
_TICK = struct.Struct("<Q8s")


class Ticks(NamedTuple):
    """By replica, the random numbers of its last ticks."""

    numbers: Mapping[bytes, Mapping[int, bytes]]

    def nonce(self, replica: bytes, tick: int) -> Optional[bytes]:
        """The number of one tick, if it is remembered."""
        return self.numbers.get(replica, {}).get(tick)

    def joined(self, others: Ticks) -> Ticks:
        """What both remember; of what they disagree about, one's own."""
        both = dict(self.numbers)
        for replica, numbers in others.numbers.items():
            both[replica] = _last({**numbers, **both.get(replica, {})})
        return Ticks(both)

    def contradicts(self, others: Ticks) -> bool:
        """Whether the two remember another number of any tick."""
        return any(
            others.nonce(replica, tick) not in (None, number)
            for replica, numbers in self.numbers.items()
            for tick, number in numbers.items()
        )


def _last(numbers: Mapping[int, bytes]) -> dict[int, bytes]:
    return {tick: numbers[tick] for tick in sorted(numbers)[-_KEPT:]}


def with_tick(ticks: Ticks, replica: bytes, tick: int, number: bytes) -> Ticks:
    """With one tick more."""
    mine = _last({**ticks.numbers.get(replica, {}), tick: number})
    return Ticks({**ticks.numbers, replica: mine})


class Standing(IntEnum):
    """What is known of a root when it is opened."""

    NEW = 0
    """It has never been a replica."""
    KNOWN = 1
    RESTORED = 2
    """It is where it was not, or not as it was: from a backup, or a copy."""
    LOST = 3
    """It was a replica, and what it remembered is gone or damaged."""


class Known(NamedTuple):
    """How a replica introduces itself. ``latest``: of each replica the last tick that it knows
    of. ``retired``: replicas that are gone for good, as far as it has heard."""

    replica: bytes
    counter: int
    latest: Vector
    ticks: Ticks
    retired: frozenset[bytes] = frozenset()


class Renewal(IntEnum):
    """What becomes of who a replica is, before it counts on."""

    NONE = 0
    IDENTITY = 1
    """Another one, with the same records and the same knowledge: it is a copy, was restored, or
    was taken to be gone for good."""
    EVERYTHING = 2
    """Another one that knows nothing: what it knows is of two that count under one identity."""


def renewals(first: Known, second: Known) -> tuple[Renewal, Renewal]:
    """What each of two that meet must become, so that no event has two meanings."""
    if first.ticks.contradicts(second.ticks):
        return _renewal(first, second, False), Renewal.EVERYTHING
    same = first.replica == second.replica
    return _renewal(first, second, False), _renewal(second, first, same)


def _renewal(one: Known, other: Known, same: bool) -> Renewal:
    beyond = other.latest.get(one.replica, 0) > one.counter
    anew = same or beyond or is_retired(one, other)
    return Renewal.IDENTITY if anew else Renewal.NONE


def is_retired(one: Known, other: Known) -> bool:
    """Whether either of two that meet has heard that the first is gone for good."""
    return one.replica in one.retired | other.retired


def pack_ticks(ticks: Ticks) -> bytes:
    """The same bytes for the same numbers."""
    parts = [_COUNT.pack(len(ticks.numbers))]
    for replica in sorted(ticks.numbers):
        numbers = ticks.numbers[replica]
        parts.append(replica + _COUNT.pack(len(numbers)))
        parts.extend(_TICK.pack(tick, numbers[tick]) for tick in sorted(numbers))
    return b"".join(parts)


def read_ticks(reader: Reader) -> Ticks:
    """The inverse. Raises `Malformed`."""
    (count,) = _COUNT.unpack(reader.take(4))
    numbers: dict[bytes, dict[int, bytes]] = {}
    for _ in range(count):
        replica = bytes(reader.take(REPLICA))
        (ticks,) = _COUNT.unpack(reader.take(4))
        if ticks > _KEPT or replica in numbers:
            raise Malformed("more ticks of a replica than are remembered")
        numbers[replica] = dict(_TICK.iter_unpack(reader.take(ticks * _TICK.size)))
    return Ticks(numbers)
