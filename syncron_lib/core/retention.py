"""Snapshots by name, and which of them a rule keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Optional

from syncron_lib.record import NamedTuple

INCOMPLETE = b"incomplete"
"""Where the next snapshot is made."""
LATEST = b"latest"

_NAME = re.compile(
    rb"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z"
)
NAME_FORMAT = "%Y-%m-%dT%H%M%SZ"
"""Of `time.strftime`: UTC, so that names sort; no colon, which would look like a host's."""


def is_snapshot(name: bytes) -> bool:
    """Whether a name is a snapshot's."""
    if not _NAME.fullmatch(name):
        return False
    try:
        date.fromisoformat(name[:10].decode("ascii"))
    except ValueError:  # the 31st of February
        return False
    return True


def _week(name: bytes) -> bytes:
    year, week, _ = date.fromisoformat(name[:10].decode("ascii")).isocalendar()
    return b"%d-%d" % (year, week)


_PERIODS: Mapping[str, Callable[[bytes], bytes]] = {
    "last": lambda name: name,
    "hourly": lambda name: name[:13],
    "daily": lambda name: name[:10],
    "weekly": _week,
    "monthly": lambda name: name[:7],
    "yearly": lambda name: name[:4],
}


class Retention(NamedTuple):
    """How many are kept of each period: ``(period, number)``."""

    rules: Sequence[tuple[str, int]]

    def dropped(self, names: Iterable[bytes]) -> list[bytes]:
        """Those that no rule keeps, the oldest first. A rule keeps the newest of each of its
        last periods in which there is one; the newest of all is always kept."""
        newest_first = sorted(filter(is_snapshot, names), reverse=True)
        kept = set(newest_first[:1])
        for period, number in self.rules:
            seen: set[bytes] = set()
            for name in newest_first:
                of = _PERIODS[period](name)
                if of not in seen and len(seen) < number:
                    seen.add(of)
                    kept.add(name)
        return [name for name in reversed(newest_first) if name not in kept]


def parse_retention(text: str) -> Retention:
    """``hourly=24,daily=7``. ValueError says what is expected."""
    rules: list[tuple[str, int]] = []
    for part in text.split(","):
        period, _, number = part.strip().partition("=")
        known = period in _PERIODS and period not in dict(rules)
        if not known or not re.fullmatch("[0-9]{1,5}", number) or not int(number):
            raise ValueError(
                "expected how many to keep, such as hourly=24,daily=7,weekly=4,monthly=12; also"
                " yearly and last"
            )
        rules.append((period, int(number)))
    return Retention(tuple(rules))


def free_name(wanted: bytes, taken: Iterable[bytes]) -> Optional[bytes]:
    """``wanted``, or a later second of its minute that no snapshot has, if there is one."""
    there = set(taken)
    for second in range(int(wanted[15:17]), 60):
        name = b"%b%02dZ" % (wanted[:15], second)
        if name not in there:
            return name
    return None
