"""Events and sets of them: dots, and vectors that say of whole pasts what is known.

A *replica* is told by 16 random bytes. A *dot* is one event: a replica and one of its ticks. Dots
are compared for one path only, so that one tick may stand for all that a scan has found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from syncron_lib.core.table import Malformed, Reader

REPLICA = 16
"""Bytes of a replica's identity."""

Dot = tuple[bytes, int]
Dots = frozenset[Dot]
"""The dots of one version: usually one; several where the same was written independently."""
Vector = Mapping[bytes, int]
"""By replica, the last of its ticks that is known with all before it."""

NO_DOTS: Dots = frozenset()
_TICK = struct.Struct("<16sQ")
_COUNT = struct.Struct("<I")


def is_known(dot: Dot, vector: Vector) -> bool:
    """Whether whoever knows ``vector`` knows the event."""
    return dot[1] <= vector.get(dot[0], 0)


def any_known(dots: Dots, vector: Vector) -> bool:
    """Whether any of the events is known: for an alias set, that this content was there."""
    return any(tick <= vector.get(replica, 0) for replica, tick in dots)


def all_known(dots: Dots, vector: Vector) -> bool:
    """Whether all of the events are known."""
    return all(tick <= vector.get(replica, 0) for replica, tick in dots)


def joined(one: Vector, other: Vector) -> Vector:
    """What is known by whoever knows both."""
    if one == other:
        return one
    both = dict(one)
    for replica, tick in other.items():
        if tick > both.get(replica, 0):
            both[replica] = tick
    return both


def merged(mine: Dots, known: Vector, theirs: Dots, known_there: Vector) -> Dots:
    """The dots of one content that two sides have: those of both, and of each side those that the
    other does not know. What a side knows and does not have any more is in its past."""
    if mine == theirs:
        return mine
    both = mine & theirs
    both |= frozenset(dot for dot in mine if not is_known(dot, known_there))
    both |= frozenset(dot for dot in theirs if not is_known(dot, known))
    return both or mine | theirs


def pack_dots(dots: Iterable[Dot]) -> bytes:
    """Dots in ascending order, with their number in front."""
    ordered = sorted(dots)
    return _COUNT.pack(len(ordered)) + b"".join(_TICK.pack(*dot) for dot in ordered)


def unpack_dots(reader: Reader) -> list[Dot]:
    """The inverse: in ascending order, none twice."""
    (count,) = _COUNT.unpack(reader.take(4))
    if count * _TICK.size > reader.end - reader.position:
        raise Malformed("more events than the frame can hold")
    dots: list[Dot] = []
    for replica, tick in _TICK.iter_unpack(reader.take(count * _TICK.size)):
        if not tick or (dots and (replica, tick) <= dots[-1]):
            raise Malformed("events out of order")
        dots.append((replica, tick))
    return dots


def pack_vector(vector: Vector) -> bytes:
    """A vector as dots, one a replica."""
    return pack_dots((replica, tick) for replica, tick in vector.items() if tick)


def unpack_vector(reader: Reader) -> dict[bytes, int]:
    """The inverse."""
    dots = unpack_dots(reader)
    vector = dict(dots)
    if len(vector) != len(dots):
        raise Malformed("a replica twice in a vector")
    return vector
