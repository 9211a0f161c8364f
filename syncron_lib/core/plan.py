"""The plan: everything that a run will do, as values, before any of it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from syncron_lib.core.choosing import Why
from syncron_lib.core.digest import UNKNOWN
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import split
from syncron_lib.record import NamedTuple


class Create(NamedTuple):
    """A new entry. A directory comes with all below it: ``entries`` and ``size`` are totals of
    the subtree, itself included. ``replaces``: entries that make way for it, 0 for none.
    ``attributes`` and ``digest``: the source's. ``flags``: how it differs from what an alternate
    has, see `core.compare`; None where none has anything."""

    path: bytes
    mode: int
    entries: int
    size: int
    target: Optional[bytes]
    replaces: int
    attributes: Attributes
    digest: bytes
    flags: Optional[str] = None

    def without(self, left: Left) -> Create:
        """A directory that is created without what is left of it is equal to none there is."""
        entries, size = self.entries - left.entries, self.size - left.size
        return self._replace(entries=entries, size=size, digest=UNKNOWN)


class Make(NamedTuple):
    """A new directory without what is in it at the source: that is moved there, or created by
    itself."""

    path: bytes
    attributes: Attributes
    flags: Optional[str] = None
    replaces: int = 0
    """Both as of a `Create`."""


class Take(NamedTuple):
    """An entry that is made of the one at the same path of the ``alternate`` with that number; a
    directory with all below, ``entries`` and ``size`` in all. ``copy``: not by a hard each.
    ``flags``: how its attributes differ there; None where they do not. ``replaces``: as of a
    `Create`."""

    path: bytes
    alternate: int
    copy: bool
    attributes: Attributes
    entries: int
    size: int
    flags: Optional[str] = None
    replaces: int = 0


class Move(NamedTuple):
    """An entry of the destination that gets the path of an equal one of the source; a directory
    with the ``entries`` in all, itself included. ``attributes``: what it is given where they
    differ, which ``flags`` say (see `core.compare`)."""

    path: bytes
    old: bytes
    flags: str
    attributes: Attributes
    entries: int
    size: int

    @property
    def differs(self) -> bool:
        """Whether it gets other attributes too."""
        return any(flag != "." for flag in self.flags[1:])


class Change(NamedTuple):
    """New content for an entry that keeps its kind. ``flags``: see `core.compare`."""

    path: bytes
    flags: str
    size: int
    old_size: int
    target: Optional[bytes]
    attributes: Optional[Attributes] = None
    """The source's, where they are known."""


class Basis(NamedTuple):
    """A file that is created, and of which an alternate has another content: ``change`` is how it
    would be changed there."""

    alternate: int
    change: Change


class Adjust(NamedTuple):
    """New attributes for an entry whose content stays."""

    path: bytes
    flags: str
    attributes: Attributes
    size: int
    target: Optional[bytes]


class Link(NamedTuple):
    """A name of the file at ``leader``, another path of its hard-link group. ``new``:
    nothing has the name yet, but ``replaces`` entries of another kind. ``flags``: see
    `core.compare`; ``mode`` and ``size``: the file's."""

    path: bytes
    leader: bytes
    flags: str
    mode: int
    size: int
    new: bool
    replaces: int


class Extend(NamedTuple):
    """An entry that gets the source's extended attributes. ``flags``: what differs, see
    `core.compare`; empty for an entry that comes anew. ``mode`` and ``size``: then 0."""

    path: bytes
    flags: str
    mode: int
    size: int


class Remove(NamedTuple):
    """An entry to be deleted; a directory with the ``entries`` in all, itself included.
    ``attributes`` and ``digest``: the destination's. ``holds``: there is something in it that
    the rules leave out, with which the directories above it stay."""

    path: bytes
    is_directory: bool
    entries: int
    size: int
    attributes: Attributes
    digest: bytes
    holds: bool = False


class Left(NamedTuple):
    """What stays as it is, totals of the source's subtree, itself included."""

    entries: int
    size: int
    why: Optional[Why] = None
    """By which option; None where nobody asks."""
    mode: int = 0
    target: Optional[bytes] = None


_NOTHING = Left(0, 0)


@dataclass
class Plan:
    """Made by the comparison; looked at by the guards; carried out by the transfer.

    ``touched``: attributes that directories are given back after something in them changed.
    ``extras``: topmost paths that only the destination has and that stay. ``left``: topmost paths
    of the source that the options leave as they are at the destination, there or not; those below
    a created directory are not counted in it. ``makes_root``: the
    destination is missing and is made. ``instead``: entries that are created because they could
    not be moved, and where they were: if creating one fails, that must stay. ``parents``:
    directories that are made for what is linked or created in them one by one; ``takes``: what
    is taken from alternates; ``implied``: directories whose own attributes do not count, and of
    these ``missing`` ones that are made; ``bases``: what some of the ``creates`` can be put
    together from.
    """

    creates: list[Create] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    adjusts: list[Adjust] = field(default_factory=list)
    removes: list[Remove] = field(default_factory=list)
    makes: list[Make] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    extends: list[Extend] = field(default_factory=list)
    parents: list[Make] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    bases: list[Basis] = field(default_factory=list)
    touched: dict[bytes, Attributes] = field(default_factory=dict)
    extras: list[bytes] = field(default_factory=list)
    left: dict[bytes, Left] = field(default_factory=dict)
    makes_root: bool = False
    implied: list[bytes] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)
    instead: dict[bytes, bytes] = field(default_factory=dict)

    def left_below(self) -> dict[bytes, Left]:
        """What is left below each directory that has any of it below."""
        found: dict[bytes, Left] = {}
        for path, left in self.left.items():
            while path:
                path = split(path)[0]
                before = found.get(path, _NOTHING)
                found[path] = Left(before.entries + left.entries, before.size + left.size)
        return found

    @property
    def deleted(self) -> int:
        """Entries that will be gone, those that make way included; what is moved is not."""
        replaced = sum(create.replaces for create in self.creates)
        replaced += sum(link.replaces for link in self.links)
        replaced += sum(make.replaces for make in (*self.makes, *self.parents))
        replaced += sum(each.replaces for each in self.takes)
        return replaced + sum(remove.entries for remove in self.removes)

    @property
    def created(self) -> int:
        """Entries that will be new; a destination that is made is none of its own entries."""
        made = (
            len(self.makes)
            + len(self.missing)
            + len(self.parents)
            + sum(link.new for link in self.links)
        )
        return made + sum(create.entries for create in self.creates)

    @property
    def linked(self) -> int:
        """Entries that are taken from alternates by hard links."""
        return sum(each.entries for each in self.takes if not each.copy)

    @property
    def copied(self) -> int:
        """Entries that are copied from alternates."""
        return sum(each.entries for each in self.takes if each.copy)

    @property
    def moved(self) -> int:
        """Entries that will be under another path."""
        return sum(move.entries for move in self.moves)

    @property
    def size(self) -> int:
        """Bytes of content to be transferred."""
        return sum(create.size for create in self.creates) + sum(
            change.size for change in self.changes
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        steps = self.creates or self.changes or self.adjusts or self.removes or self.moves
        others = self.links or self.extends or self.makes or self.parents or self.takes
        return not (self.makes_root or steps or others or self.missing)
