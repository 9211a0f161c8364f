"""Messages about dated trees in one directory: see `fs.snapshots`."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.record import NamedTuple


class GetSnapshots(NamedTuple):
    """What snapshots are there. ``directory``: as the user wrote it. Reply: `Snapshots`."""

    directory: bytes


class Snapshot(NamedTuple):
    """One of them. ``note``: what the run that made it said of it, empty where that is lost."""

    name: bytes
    note: bytes


class Snapshots(NamedTuple):
    """``kind``, ``parent_missing``, ``unmounted``: of the directory, as in `Opened`. ``items``: the
    oldest first. ``problems``: what could not be removed."""

    kind: int
    parent_missing: bool
    unmounted: bool
    items: Sequence[Snapshot]
    problems: Sequence[str] = ()


class KeepSnapshot(NamedTuple):
    """Give what was brought to ``incomplete`` in the directory its name, which nothing has, and
    have ``latest`` lead there. ``durable``: wait for the disk. Reply: `Snapshots`."""

    directory: bytes
    name: bytes
    note: bytes
    durable: bool = False


class DropSnapshots(NamedTuple):
    """Remove snapshots with all in them; not that to which ``latest`` leads. Reply: `Snapshots`."""

    directory: bytes
    names: Sequence[bytes]
