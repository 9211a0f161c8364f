"""What a root is to a run."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """What a root is to the run. A source is never written to. A replica is both."""

    SOURCE = 0
    DESTINATION = 1
    REPLICA = 2
