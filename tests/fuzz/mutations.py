"""Random changes to bytes: what a damaged line or a malicious peer may make of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

_NUMBERS = tuple(
    number.to_bytes(size, "little")
    for size in (1, 4, 8)
    for number in (
        0,
        1,
        127,
        128,
        255,
        (1 << 8 * size - 1) - 1,
        1 << 8 * size - 1,
        (1 << 8 * size) - 1,
    )
    if number < 1 << 8 * size
)
_WORDS = (b"..", b"/", b".", b"\0", b"../..", b"/etc", b".syncron", b"link/secret", b"\xff\xfe")


def mutated(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """``data`` with one to four changes; ``others`` are what parts can be taken from."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(out) + 1)
        end = min(len(out), at + chance.choice((1, 2, 4, 8, 16, 64)))
        kind = chance.randrange(8)
        if kind == 0:
            out[at:end] = chance.randbytes(end - at)
        elif kind == 1:
            number = chance.choice(_NUMBERS)
            out[at : at + len(number)] = number
        elif kind == 2:
            del out[at:end]
        elif kind == 3:
            out[at:at] = out[at:end]
        elif kind == 4:
            word = chance.choice(_WORDS)
            out[at : at + len(word)] = word
        elif kind == 5 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 6:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            out[at:end] = other[start : start + chance.choice((4, 16, 64))]
        else:
            del out[at:]
    return bytes(out)
