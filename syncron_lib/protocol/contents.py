"""Sizes and contents of files, as they cross the wire in great numbers: packed, not as records."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from syncron_lib.errors import PeerViolation
from syncron_lib.record import NamedTuple

_SIZE = struct.Struct("<Q")
_CONTENT = struct.Struct("<Q16s")
_DIGEST = struct.Struct("<16s")
MOST = 300_000
"""Sizes or contents in one message: so many fit into a blob."""


class Content(NamedTuple):
    """What a file holds."""

    size: int
    digest: bytes


def pack_sizes(sizes: Iterable[int]) -> bytes:
    """Sizes in ascending order, so many as fit."""
    return b"".join([_SIZE.pack(size) for size in sorted(sizes)[:MOST]])


def unpack_sizes(packed: bytes) -> Iterator[int]:
    """The inverse of `pack_sizes`."""
    return (size for (size,) in _unpacked(_SIZE, packed))


def pack_contents(contents: Iterable[Content]) -> bytes:
    """Contents one after the other."""
    return b"".join([_CONTENT.pack(*content) for content in contents])


def unpack_contents(packed: bytes) -> Iterator[Content]:
    """The inverse of `pack_contents`."""
    return (Content(*each) for each in _unpacked(_CONTENT, packed))


def unpack_digests(packed: bytes) -> Iterator[bytes]:
    """Digests one after the other."""
    return (value for (value,) in _unpacked(_DIGEST, packed))


def _unpacked(layout: struct.Struct, packed: bytes) -> Iterator[tuple[Any, ...]]:
    if len(packed) % layout.size:
        raise PeerViolation("The other side sent a list that is cut off.")
    return layout.iter_unpack(packed)
