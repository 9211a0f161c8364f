"""Requests about snapshots, carried out where they are."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import Any

from syncron_lib.fs.reach import Reach
from syncron_lib.fs.snapshots import SnapshotDirectory
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import RootKind

_MOST = 20_000
"""Snapshots that a reply tells of, with their notes: the latest."""
_PROBLEMS = 100


def carried_out(request: Any, environment: Mapping[str, str], reach: Reach) -> messages.Snapshots:
    """What is there, after the request."""
    directory = SnapshotDirectory(reach.look(request.directory), environment, reach)
    problems: list[str] = []
    try:
        if isinstance(request, messages.KeepSnapshot):
            directory.keep(request.name, request.note, request.durable)
        elif isinstance(request, messages.DropSnapshots):
            problems = directory.drop(request.names)
        return _told(directory)._replace(problems=problems[:_PROBLEMS])
    finally:
        directory.close()


def _told(directory: SnapshotDirectory) -> messages.Snapshots:
    place = directory.place
    kinds = {0: RootKind.MISSING, stat.S_IFDIR: RootKind.DIRECTORY, stat.S_IFREG: RootKind.FILE}
    items = [messages.Snapshot(*item) for item in directory.items()[-_MOST:]]
    kind = kinds.get(place.kind, RootKind.OTHER)
    return messages.Snapshots(kind, place.parent_missing, directory.unmounted(), items)
