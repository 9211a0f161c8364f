"""What a run was asked to do. Made once by the command line, read by everything below it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class DeleteCap:
    """``--max-delete``: at most ``count`` deletes, or ``percent`` of the destination's entries."""

    count: Optional[int] = None
    percent: Optional[float] = None


@dataclass(frozen=True)
class RuleOptions:
    """What belongs to the tree.

    ``patterns``: rsync filter rules in order, each ``b"- PATTERN"`` or ``b"+ PATTERN"``; the
    first that matches decides. ``gitignore``: honour ``.gitignore`` as git does.
    ``.syncronignore`` is always honoured. ``one_file_system``: stay on the root's device.
    """

    patterns: tuple[bytes, ...] = ()
    gitignore: bool = False
    one_file_system: bool = False


@dataclass(frozen=True)
class Keep:
    """Attributes a run carries over and compares; ``None`` for owner and group means "where
    the receiver is root"."""

    permissions: bool = True
    times: bool = True
    owner: Optional[bool] = None
    group: Optional[bool] = None


@dataclass(frozen=True)
class RunOptions:
    """One run's options, named as on the command line."""

    keep: Keep = field(default_factory=Keep)
    rules: RuleOptions = field(default_factory=RuleOptions)
    delete: bool = False
    force: bool = False
    dry_run: bool = False
    verify: bool = False
    checksum: bool = False
    mkpath: bool = False
    max_delete: Optional[DeleteCap] = None
    allow_empty_source: bool = False
    allow_unmounted: bool = False
    itemize: bool = False
    """Tell the observer of every single entry, also of those below a new directory."""
    compress: str = "auto"
    """``auto``, ``zstd`` or ``none``."""
    lock_wait: float = 0.0
    """Seconds to wait for a root that another run holds."""
    timeout: float = 60.0
    """Seconds without a sign of life from the other side before the run is given up."""
