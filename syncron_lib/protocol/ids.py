"""The messages about users and groups; `protocol.messages` has them all."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.core.ids import IdRule
from syncron_lib.record import NamedTuple


class IdName(NamedTuple):
    """A numeric user or group id and its name on that machine."""

    number: int
    name: bytes


class IdPair(NamedTuple):
    """An id of the source and the receiver's id for the same name."""

    source: int
    receiver: int


class MapIds(NamedTuple):
    """Ask the receiver for its own ids of the source's user and group names. ``numeric``: names do
    not count; the rules do in any case."""

    users: Sequence[IdName]
    groups: Sequence[IdName]
    numeric: bool = False
    user_rules: Sequence[IdRule] = ()
    group_rules: Sequence[IdRule] = ()


class MappedIds(NamedTuple):
    """Reply to `MapIds`: only ids that differ."""

    users: Sequence[IdPair]
    groups: Sequence[IdPair]
