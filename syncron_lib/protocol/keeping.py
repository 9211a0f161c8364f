"""Messages about what a run keeps of what it replaces or deletes, and about directories in which it
finds what did not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from syncron_lib.record import NamedTuple


class SetAttributes(NamedTuple):
    """Give an entry that is there already new attributes (a directory: at the very end)."""

    path: bytes
    mode: int
    mtime_ns: int
    uid: int
    gid: int


class Adjust(NamedTuple):
    """Metadata of entries whose content stays. Reply: `Stored`."""

    items: Sequence[SetAttributes]


class LeaveOut(NamedTuple):
    """Some of the ``extras`` of `Finish`, where there are more than a frame holds. To a source,
    before `Select`: it does not send them with a directory that is selected with all below."""

    extras: Sequence[bytes]


class Backup(NamedTuple):
    """Keep what is replaced or deleted. ``directory``: where, relative to the root if it is; None:
    beside what it was. ``below``: where in it the root's own path begins. ``suffix``: what each
    name gets at its end. Reply: `Done`."""

    directory: Optional[bytes]
    below: bytes
    suffix: bytes


class UseAlternates(NamedTuple):
    """Look for what did not change in these directories too, each relative to the root if it is.
    They are scanned as the root is. Reply: `Alternates`."""

    directories: Sequence[bytes]


class Alternates(NamedTuple):
    """Which of the directories are there."""

    there: Sequence[bool]


class ListAlternate(NamedTuple):
    """As `List`, of the alternate with this number. Reply: `Listing`."""

    alternate: int
    paths: Sequence[bytes]
    after: Optional[bytes]


class HashAlternate(NamedTuple):
    """As `Hash`, of the alternate with this number. Reply: `Hashed`."""

    alternate: int
    paths: Sequence[bytes]


class TakenEntry(NamedTuple):
    """An entry that is made from the one at the same path of an alternate. ``tree``: a directory
    with all below. ``copy``: not linked. ``mode`` to ``gid``: what it is given where it is another
    file than there, or a directory; in the source's numbers."""

    path: bytes
    tree: bool
    copy: bool
    mode: int
    mtime_ns: int
    uid: int
    gid: int


class TakeEntries(NamedTuple):
    """Make directories, parents first; then take entries from an alternate. Reply: `Stored`."""

    directories: Sequence[SetAttributes]
    alternate: int
    items: Sequence[TakenEntry]


class TakeBasis(NamedTuple):
    """These files are new, and the alternate with this number has earlier ones at the same paths:
    `GetChunks` and deltas of them are about those. Reply: `Done`."""

    alternate: int
    paths: Sequence[bytes]
