"""What a run was asked to do. Made once by the command line, read by everything below it.

Named tuples, not dataclasses: the helper needs some of them, and importing `dataclasses` would
cost its start as much as all of its protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional


class DeleteCap(NamedTuple):
    """``--max-delete``: at most ``entries`` deletes, or ``percent`` of what the destination has."""

    entries: Optional[int] = None
    percent: Optional[float] = None


class RuleOptions(NamedTuple):
    """What belongs to the tree.

    ``patterns``: rsync filter rules in order, each ``b"- PATTERN"`` or ``b"+ PATTERN"``; the
    first that matches decides. ``gitignore``: honour ``.gitignore`` as git does.
    ``.syncronignore`` is always honoured. ``one_file_system``: stay on the root's device.
    """

    patterns: tuple[bytes, ...] = ()
    gitignore: bool = False
    one_file_system: bool = False


class Keep(NamedTuple):
    """Attributes a run carries over and compares; ``None`` for owner and group means "where
    the receiver is root"."""

    permissions: bool = True
    times: bool = True
    owner: Optional[bool] = None
    group: Optional[bool] = None


class Backup(NamedTuple):
    """Where what is replaced or deleted is kept. ``directory``: relative to the destination's
    root, if it is; None: beside what it was. ``suffix``: what its name gets at the end."""

    directory: Optional[bytes] = None
    suffix: bytes = b"~"


class Alternates(NamedTuple):
    """Directories in which what did not change is found, relative to the destination's root if
    they are. ``copy``: it is copied from there; else it is hard-linked."""

    option: str
    directories: tuple[bytes, ...]
    copy: bool

    def paths(self, name: Optional[bytes] = None) -> Sequence[bytes]:
        """The directories as a root takes them. ``name``: the root's in the directory that they
        are relative to, where it is not that itself."""
        if name is None:
            return self.directories
        above = ((b"" if each.startswith(b"/") else b"../") + each for each in self.directories)
        return [each.rstrip(b"/") + b"/" + name for each in above]


class RunOptions(NamedTuple):
    """One run's options, named as on the command line."""

    keep: Keep = Keep()
    rules: RuleOptions = RuleOptions()
    delete: bool = False
    force: bool = False
    ignore_errors: bool = False
    """Delete although a part of the source could not be read; below that, never."""
    dry_run: bool = False
    verify: bool = False
    mkpath: bool = False
    max_delete: Optional[DeleteCap] = None
    allow_empty_source: bool = False
    allow_unmounted: bool = False
    itemize: bool = False
    """Tell the observer of every single entry, also of those below a new directory."""
    compress: str = "auto"
    """``auto``: where it helps; ``always``: by the best way that both have; ``zstd``; ``zlib``;
    ``none``."""
    compress_level: Optional[int] = None
    """None: the way's own."""
    bwlimit: int = 0
    """Bytes a second that each link carries at most, in each direction; 0 for no limit."""
    whole_file: Optional[bool] = None
    """Send changed large files whole; None: where both roots are on this machine."""
    in_place: bool = False
    """Write what changed into the files that are there."""
    backup: Optional[Backup] = None
    """Keep what is replaced or deleted; None: do not."""
    alternates: Optional[Alternates] = None
    fsync: bool = False
    """Have all on the destination's disk before the run ends, and content before its name."""
    lock_wait: float = 0.0
    """Seconds to wait for a root that another run holds."""
    timeout: float = 60.0
    """Seconds without a sign of life from the other side before the run is given up."""
