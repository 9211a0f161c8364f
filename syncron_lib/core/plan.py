"""The plan: everything that a run will do, as values, before any of it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from syncron_lib.core.merkle import Attributes


class Create(NamedTuple):
    """A new entry. A directory comes with all below it: ``entries`` and ``size`` are totals of
    the subtree, itself included. ``replaces``: entries that make way for it, 0 for none."""

    path: bytes
    mode: int
    entries: int
    size: int
    target: Optional[bytes]
    replaces: int


class Change(NamedTuple):
    """New content for an entry that keeps its kind. ``flags``: see `core.compare`."""

    path: bytes
    flags: str
    size: int
    old_size: int
    target: Optional[bytes]


class Adjust(NamedTuple):
    """New attributes for an entry whose content stays."""

    path: bytes
    flags: str
    attributes: Attributes
    size: int
    target: Optional[bytes]


class Remove(NamedTuple):
    """An entry to be deleted; a directory with the ``entries`` in all, itself included."""

    path: bytes
    is_directory: bool
    entries: int
    size: int


@dataclass
class Plan:
    """Made by the comparison; looked at by the guards; carried out by the transfer.

    ``touched``: attributes that directories are given back after something in them changed.
    ``extras``: topmost paths that only the destination has and that stay. ``makes_root``: the
    destination is missing and is made.
    """

    creates: list[Create] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    adjusts: list[Adjust] = field(default_factory=list)
    removes: list[Remove] = field(default_factory=list)
    touched: dict[bytes, Attributes] = field(default_factory=dict)
    extras: list[bytes] = field(default_factory=list)
    makes_root: bool = False

    @property
    def deleted(self) -> int:
        """Entries that will be gone, those that make way included."""
        replaced = sum(create.replaces for create in self.creates)
        return replaced + sum(remove.entries for remove in self.removes)

    @property
    def created(self) -> int:
        """Entries that will be new; a destination that is made is none of its own entries."""
        return sum(create.entries for create in self.creates)

    @property
    def size(self) -> int:
        """Bytes of content to be transferred."""
        return sum(create.size for create in self.creates) + sum(
            change.size for change in self.changes
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.makes_root or self.creates or self.changes or self.adjusts or self.removes)
