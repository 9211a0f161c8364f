"""Messages about what a run keeps of what it replaces or deletes."""

from __future__ import annotations

from typing import NamedTuple, Optional


class Backup(NamedTuple):
    """Keep what is replaced or deleted. ``directory``: where, relative to the root if it is; None:
    beside what it was. ``below``: where in it the root's own path begins. ``suffix``: what each
    name gets at its end. Reply: `Done`."""

    directory: Optional[bytes]
    below: bytes
    suffix: bytes
