"""Frames: length, kind, request number, payload.

A frame is ``u32 length | u8 kind | u32 request | payload``, big-endian, where ``length`` counts
the payload only. The request number ties a reply to its request; 0 is for frames that are
neither (greeting, heartbeat, progress).
"""

from __future__ import annotations

import struct

from syncron_lib.errors import PeerViolation
from syncron_lib.record import NamedTuple

HEADER = struct.Struct(">IBI")
MAX_PAYLOAD = 16 << 20
"""Bytes. Large enough for packs and for tables of 100,000 rows (a larger directory is listed in
parts), small enough that a peer cannot make us allocate much: it is checked before the payload's
buffer is made."""


class Header(NamedTuple):
    """A parsed frame header."""

    length: int
    kind: int
    request: int


def pack_header(length: int, kind: int, request: int) -> bytes:
    """Header of a frame whose payload has ``length`` bytes."""
    if length > MAX_PAYLOAD:
        raise ValueError(f"a frame of {length} bytes is over the limit of {MAX_PAYLOAD}")
    return HEADER.pack(length, kind, request)


def unpack_header(data: bytes | bytearray | memoryview) -> Header:
    """Parse ``HEADER.size`` bytes; refuses a payload over the limit."""
    length, kind, request = HEADER.unpack(data)
    if length > MAX_PAYLOAD:
        raise PeerViolation(
            f"The other side announced a frame of {length} bytes, over the limit of"
            f" {MAX_PAYLOAD}; it is damaged or not syncron."
        )
    return Header(length, kind, request)
