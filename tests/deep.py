"""How thorough the tests are. Of what is enumerated point by point (system calls, frames, pages,
moments) ``SYNCRON_DEEP=1`` tries every point, and ``SYNCRON_DEEP=2/9`` the second of nine parts,
for whoever shares a machine. Without it a few points are tried, in minutes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

_Point = TypeVar("_Point")

_WORD = os.environ.get("SYNCRON_DEEP", "")
DEEP = _WORD not in ("", "0")
_NUMBER, _PARTS = map(int, _WORD.split("/")) if "/" in _WORD else (1, 1)


def part(points: Sequence[_Point]) -> list[_Point]:
    """Those that are this run's to try, from the first to the last of them."""
    return list(points[_NUMBER - 1 :: _PARTS])


def spread(points: Sequence[_Point], most: int) -> list[_Point]:
    """This run's of all in the deep profile, else ``most``, evenly."""
    if DEEP or len(points) <= most:
        return part(points)
    return [points[index * len(points) // most] for index in range(most)]
