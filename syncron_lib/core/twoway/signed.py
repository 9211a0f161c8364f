"""What is asked of who has the key, where two replicas are reconciled and some files are sealed.

Records are nobody's word. Of sealed files only what is signed counts: what may be taken away, and
what may take the place of what. And a version that is resolved must be signed to come after both.
"""

from __future__ import annotations

from enum import Enum
from typing import Optional, Protocol

from syncron_lib.core.twoway.decide import Verdict
from syncron_lib.core.twoway.merging import Merged
from syncron_lib.core.twoway.records import Record
from syncron_lib.record import NamedTuple


class Side(Enum):
    """One of the two replicas of a run."""

    FIRST = 0
    SECOND = 1

    @property
    def other(self) -> Side:
        """The other one."""
        return Side.SECOND if self is Side.FIRST else Side.FIRST


class Copy(NamedTuple):
    """A version that gets another name: it is at ``path`` on ``side``."""

    side: Side
    path: bytes


class Anew(NamedTuple):
    """A version as it was sealed anew. ``equal``: what was in both versions is the same."""

    fp: bytes
    size: int
    mtime: int
    mode: int
    equal: bool = False


class Signed(Protocol):
    """What who has the key says of sealed files, whatever the records say."""

    def is_sealed(self, path: bytes) -> bool:
        """Whether a file at ``path`` is sealed for sides without the key."""

    def trusted(self, first: Record, second: Record) -> Record:
        """The record of a side with the key."""

    def verdict(
        self, path: bytes, first: Optional[Record], second: Optional[Record], verdict: Verdict
    ) -> Verdict:
        """The verdict on a path, where what is signed allows no other; `Verdict.NONE` where what is
        on one side only is left there. Raises `NotAuthentic`."""

    def repairs(self, path: bytes) -> bool:
        """Whether a file is put back that nobody with the key has deleted."""

    def resolved(
        self, path: bytes, first: Record, second: Record, won: Side, merged: Optional[Merged]
    ) -> Optional[Anew]:
        """A version that comes after both, with what ``won`` has, or what was merged; None where
        that cannot be had."""

    def revived(self, path: bytes, record: Record, side: Side) -> Optional[Anew]:
        """A version that comes after its deletion; None where it does so as it is."""

    def copied(
        self, copy: Copy, record: Record, path: bytes, wanted: Optional[Record]
    ) -> Optional[Anew]:
        """A version under another name. ``wanted``: what is there already. None where what has that
        name would not be sealed."""
