"""Messages about entries that get another path, or none."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.protocol.keeping import SetAttributes
from syncron_lib.record import NamedTuple


class Moved(NamedTuple):
    """An entry at ``old`` that gets the path ``new``."""

    old: bytes
    new: bytes


class Move(NamedTuple):
    """Make directories, parents first, then move files and directories, each by one rename.
    Reply: `Stored`, with the new paths that nothing could be moved to in ``again``."""

    directories: Sequence[SetAttributes]
    items: Sequence[Moved]


class Delete(NamedTuple):
    """Remove entries with all below, deepest first, as they were scanned. Reply: `Stored`."""

    paths: Sequence[bytes]


class Release(NamedTuple):
    """All content has come: give it its names, where that was to wait. Reply: `Stored`."""
