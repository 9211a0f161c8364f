"""How large what is sealed is, and what stands at its beginning; see docs/secure-format.md."""

from __future__ import annotations

from typing import Optional

RULES = b".secure"
"""The file that says what is sealed, in its directory and below."""
MAGIC = b"SYNCSEC1"
CHUNK = 1 << 16
"""Bytes of plaintext in each chunk but the last, which is always shorter."""
TAG = 16
PREFIX = 126
"""Bytes before the first chunk."""


def chunks_of(size: int) -> int:
    """How many chunks ``size`` bytes of plaintext take."""
    return size // CHUNK + 1


def sealed_size(size: int) -> int:
    """Bytes of the sealed file of a plaintext of ``size`` bytes."""
    return PREFIX + size + TAG * chunks_of(size)


def plain_size(size: int) -> Optional[int]:
    """Bytes of plaintext in a sealed file of ``size`` bytes; None where none has that size."""
    whole, rest = divmod(size - PREFIX, CHUNK + TAG)
    return whole * CHUNK + rest - TAG if whole >= 0 and rest >= TAG else None
