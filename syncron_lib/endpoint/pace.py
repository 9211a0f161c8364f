"""A limit to the rate at which bytes are sent, held smoothly."""

from __future__ import annotations

from typing import Optional

_SLICE = 0.02
"""Seconds that the bytes sent at once take at the limit: a slow link is not hit by bursts, and the
other side hears something often, however low the limit."""
_LARGEST = 1 << 20
_ARREARS = 0.1
"""Seconds of sending that may be made up for, after a wait that took longer than was asked for."""


class Pace:
    """Says how long to wait, and how much may then be sent. Reads no clock."""

    def __init__(self, rate: int) -> None:
        """``rate``: bytes a second, at least 1."""
        self._rate = rate
        self._slice = max(1, min(int(rate * _SLICE), _LARGEST))
        self._due: Optional[float] = None
        """When the next bytes are due."""

    def wait(self, now: float) -> float:
        """Seconds until anything may be sent; 0 or less for none."""
        return 0.0 if self._due is None else self._due - now

    def take(self, length: int, now: float) -> int:
        """How many of ``length`` bytes are sent now; they count as sent."""
        count = min(length, self._slice)
        due = now if self._due is None else max(self._due, now - _ARREARS)
        self._due = due + count / self._rate
        return count
