"""Messages about a root that is one of several replicas: what it remembers, knows and learns.

What is packed in them is read by `core.twoway`; the helper reads it, the client does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from syncron_lib.protocol.moved import Moved
from syncron_lib.record import NamedTuple


class Introduce(NamedTuple):
    """Ask a replica who it is. Reply: `Introduced`."""


class Introduced(NamedTuple):
    """``replica``: its identity; ``counter``: how far it has counted; ``standing``: a
    `core.twoway.identity.Standing`. ``known``: packed, of each replica the last tick that it knows
    of, the random numbers of the last ticks, and which replicas are gone for good."""

    replica: bytes
    counter: int
    standing: int
    known: bytes


class Observe(NamedTuple):
    """Note what people have changed since the records were made. ``renewal``: a
    `core.twoway.identity.Renewal`, to be done before. ``dry``: nothing of it is kept.
    ``allow_empty`` and ``allow_unmounted``: a root that is empty now, and was not, is as it should
    be. Reply: `Observed`."""

    renewal: int
    dry: bool
    allow_empty: bool
    allow_unmounted: bool


class Observed(NamedTuple):
    """``replica`` and ``counter``: as by now. ``records``: the digest of all records.
    ``changed``: entries that were others."""

    replica: bytes
    counter: int
    records: bytes
    changed: int


class GetKnowledge(NamedTuple):
    """Ask for what a replica knows, from this byte of it on. Reply: `KnowledgePart`."""

    start: int


class KnowledgePart(NamedTuple):
    """Knowledge, numbers of ticks, what was not looked at, and the replicas that it has heard of,
    packed one after the other; or a part of that. ``more``: not the last."""

    data: bytes
    more: bool


class GetRecords(NamedTuple):
    """Ask for the records of directories, of the first from this byte of them on. Reply:
    `RecordsPart`."""

    paths: Sequence[bytes]
    start: int


class RecordsPart(NamedTuple):
    """The packed records of the first of the directories. ``more``: of the last of them, this is
    not all."""

    directories: Sequence[bytes]
    more: bool


class Tick(NamedTuple):
    """Count one event more, for what this run resolves. Reply: `Ticked`."""


class Ticked(NamedTuple):
    """The event."""

    counter: int


class Intend(NamedTuple):
    """What the run is about to do at this side, packed: it is kept before any of it is done.
    ``more``: this is not all of it. Reply: `Done`."""

    data: bytes
    more: bool


class Preserve(NamedTuple):
    """Copy files and links, each to a new path that nothing has. Reply: `Stored`, with the new
    paths of those that could not be in ``again``."""

    items: Sequence[Moved]


class Settle(NamedTuple):
    """See what has come of what was intended, and learn what the other side knows, but for
    ``untouched``. Reply: `Settled`."""

    untouched: Sequence[bytes]


class Settled(NamedTuple):
    """``records``: the digest of all records. ``failed``: what is not as it was to be."""

    records: bytes
    failed: Sequence[bytes]


class GetReplicas(NamedTuple):
    """Ask which replicas this one has heard of. ``retire``: one that is gone for good from now on.
    Reply: `Replicas`."""

    retire: Optional[bytes]


class KnownReplica(NamedTuple):
    """``label``: where it said that it is, empty where that is not known. ``events``: the last of
    its ticks that is known."""

    replica: bytes
    label: bytes
    events: int
    retired: bool


class Replicas(NamedTuple):
    """``replica`` and ``standing``: of the one that was asked, as in `Introduced`; it is one of
    ``known``."""

    replica: bytes
    standing: int
    known: Sequence[KnownReplica]
