"""What a run did: values that the command line turns into text or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from syncron_lib.core.choosing import Why
from syncron_lib.core.merkle import Attributes
from syncron_lib.errors import Exit
from syncron_lib.record import NamedTuple


class Place(NamedTuple):
    """A directory, and what was done in it: entries, and bytes of content."""

    path: bytes
    entries: int
    size: int


class Cause(Enum):
    """Why one file was not done. Decides between exit 23 and 24."""

    ERROR = "error"
    """The operating system refused (EACCES, EIO, ...), or the target changed under us."""
    VANISHED = "vanished"
    """The source file went away, or changed while it was read."""


class Failure(NamedTuple):
    """One file that was not done. ``side`` is ``"source"`` or ``"destination"``; ``what`` is a
    short phrase such as ``"cannot read: Permission denied"``."""

    path: bytes
    side: str
    what: str
    cause: Cause


class Action(Enum):
    """What happens to one path of the destination."""

    CREATE = "create"
    CHANGE = "change"
    MOVE = "move"
    LINK = "link"
    METADATA = "metadata"
    DELETE = "delete"
    UNCHANGED = "unchanged"
    """Nothing: it is told only if that is asked for."""
    LEAVE = "leave"
    """Nothing, because the options say so; the same."""


class Item(NamedTuple):
    """One itemized change, as ``-i``, ``-n`` and ``--json`` show it.

    ``flags`` is rsync's 11-character itemized string (``>f.st......``, ``cd+++++++++``,
    ``*deleting  ``). ``target`` is a symlink's target, or the path that a hard link is made to.
    ``size`` is in bytes, of the new entry (of the old one for a delete). ``old``: the path that a
    moved entry had.
    """

    action: Action
    flags: str
    path: bytes
    is_directory: bool
    size: int
    target: Optional[bytes] = None
    old: Optional[bytes] = None
    attributes: Optional[Attributes] = None
    """The source's; None for what is deleted."""
    sealed: bool = False
    """It is encrypted on the other side."""
    at: Optional[int] = None
    """Of a run in both directions, the side that it happens at: 0 for the first, 1 for the
    second."""
    why: Optional[Why] = None
    """Why it is left."""
    mode: int = 0
    """Of what is deleted."""


class Clash(NamedTuple):
    """Something that two replicas had changed, each in its way. ``what``: see
    `core.twoway.reconcile.What`. ``digests``: of the two versions, None where there was none, or a
    directory. ``winner``: whose version has the path now, 0 or 1, None for neither. ``kept``: where
    the other version is."""

    path: bytes
    what: str
    digests: tuple[Optional[bytes], Optional[bytes]]
    winner: Optional[int]
    kept: Optional[bytes]


@dataclass
class Report:
    """One run's result; the fields that `--json` names in its summary, and the failures.

    Counts are of entries (files, directories, symlinks, specials). ``bytes_sent`` and
    ``bytes_received`` are as seen by this machine, on the wire, both remotes together in a
    relay. ``match`` is None where roots were not compared (dry run).
    """

    source: str
    destination: str
    dry_run: bool = False
    duration: float = 0.0
    created: int = 0
    changed: int = 0
    moved: int = 0
    linked: int = 0
    """Entries that became hard links of those of an alternate directory."""
    copied: int = 0
    """Entries that were copied from one."""
    deleted: int = 0
    removed: int = 0
    """Files that were removed from the source."""
    metadata: int = 0
    unchanged: int = 0
    left_out: int = 0
    """Entries of the source that the options leave as they are at the destination, there or not."""
    source_entries: int = 0
    source_kinds: Sequence[int] = ()
    """How many of each of `core.kinds.KINDS` there are, where that is asked for."""
    source_bytes: int = 0
    bytes_transferred: int = 0
    """Content bytes that were sent, before compression."""
    bytes_matched: int = 0
    """Content bytes of the files that were sent which the destination had already."""
    bytes_scanned: int = 0
    """Sum of the sizes of all files in the source tree."""
    bytes_hashed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    source_root: Optional[str] = None
    """Hexadecimal Merkle root, None while unknown."""
    algorithm: Optional[str] = None
    """What the roots were computed by; roots by two algorithms say nothing about each other."""
    destination_root: Optional[str] = None
    match: Optional[bool] = None
    conflicts: int = 0
    places: list[Place] = field(default_factory=list)
    """Where in the tree something was to be done."""
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unsaved: list[str] = field(default_factory=list)
    """What a side could not keep for the next run: the files are right, the exit code says it."""
    exit_code: Exit = Exit.OK


class Phase(Enum):
    """What a run is busy with; one progress bar each."""

    CONNECT = "connecting"
    SCAN = "scanning"
    COMPARE = "comparing"
    HASH = "hashing"
    TRANSFER = "transferring"
    DELETE = "deleting"
    FINISH = "finishing"
