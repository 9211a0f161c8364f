"""Messages about symlinks of a destination that are taken for the directories they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.protocol.messages import Problem


class Enter(NamedTuple):
    """Take the symlinks at ``paths`` for the directories that they lead to, if they do, and scan
    again. Reply: `Entered`."""

    paths: Sequence[bytes]


class Doubled(NamedTuple):
    """Two paths of one directory, or of one and another that lies in it."""

    path: bytes
    other: bytes


class Entered(NamedTuple):
    """``entries``, ``size`` and ``problems``: as in `Scanned`. ``entered``: those that are
    directories now. ``refused``: those that may lead to one and are not followed. ``doubled``: what
    of the tree has several paths in it by now, through these and earlier ones."""

    entries: int
    size: int
    problems: int
    entered: Sequence[bytes]
    refused: Sequence[Problem]
    doubled: Sequence[Doubled]
