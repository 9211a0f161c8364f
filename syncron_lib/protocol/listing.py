"""The messages by which directories are told; `protocol.messages` has them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from syncron_lib.core.table import Table
from syncron_lib.record import NamedTuple


class List(NamedTuple):
    """Ask for the tables of directories, by path; of the first one only the rows behind the name
    ``after``, if there is one."""

    paths: Sequence[bytes]
    after: Optional[bytes] = None


class Imply(NamedTuple):
    """Directories that are only on the way to what the run is over: their own attributes do not
    count in the root that `Finished` tells. Reply: `Done`."""

    paths: Sequence[bytes]


class MakeImplied(NamedTuple):
    """Make such directories, parents first, as any new ones are made there. Reply: `Stored`."""

    paths: Sequence[bytes]


class Below(NamedTuple):
    """What lies below one subdirectory: counts of entries and bytes of files. ``holds``: there is
    something that the rules leave out, too, so that the directory can neither go nor move."""

    entries: int
    size: int
    holds: bool


class Directory(NamedTuple):
    """One directory's table; ``below`` has one item a subdirectory, in row order.

    ``mode`` … ``gid`` are the directory's own. ``problem``: errno that kept it from being read,
    0 for none. ``more``: these are not all rows; of the last directory of a reply only.
    """

    mode: int
    mtime_ns: int
    uid: int
    gid: int
    problem: int
    table: Table
    below: Sequence[Below]
    more: bool = False


class Listing(NamedTuple):
    """Reply to `List`: the first directories asked for, as many as fit a frame (at least 1)."""

    directories: Sequence[Directory]


class GetChanges(NamedTuple):
    """Ask which directories are no longer as remembered, with tables as they were (``before``) or
    are. ``limit``: bytes of tables; ``hash``: bytes of edited files that may be read for it."""

    before: bool
    limit: int
    hash: int


class Changed(NamedTuple):
    """One directory whose digest is another, or unknown. ``below``: all below it now. ``own``:
    more changed than digests of subdirectories. ``directory``: its table, as far as it is told.
    ``merkle``: its digest now, zeros if that is unknown."""

    path: bytes
    merkle: bytes
    below: Below
    directory: Optional[Directory]
    own: bool


class Changes(NamedTuple):
    """Reply to `GetChanges`. ``basis``: the top directory's remembered digest, zeros for none.
    ``complete``: what is not among ``changed`` is as remembered. ``mode`` … ``gid``: the root's.
    ``holds``: of any directory, as in `Below`."""

    basis: bytes
    complete: bool
    mode: int
    mtime_ns: int
    uid: int
    gid: int
    holds: bool
    changed: Sequence[Changed]
    hashed: int


class CountKinds(NamedTuple):
    """Say how many entries of each kind the tree has. Reply: `Kinds`."""


class Kinds(NamedTuple):
    """Reply to `CountKinds`: of all entries below the root. ``devices`` are character and block
    devices, ``specials`` all other kinds."""

    files: int
    directories: int
    symlinks: int
    devices: int
    specials: int
