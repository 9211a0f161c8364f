"""Which request may come when, and to which role: the conversation as a table."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from syncron_lib.core.role import Role
from syncron_lib.protocol import messages
from syncron_lib.protocol.wire import STORE
from syncron_lib.record import NamedTuple


class Phase(IntEnum):
    """How far the conversation about one root has come."""

    CLOSED = 0
    OPEN = 1
    SCANNED = 2
    SEALED = 3
    WRITING = 4


class Turn(NamedTuple):
    """When a request may come: from ``earliest`` to ``latest``, to ``role`` (None: to both).

    ``unopened``: also where `Open` has opened nothing; it is then answered with zeros, because it
    was sent before that could be known.
    """

    earliest: Phase
    latest: Phase
    role: Role | None
    unopened: bool = False


_SOURCE, _DESTINATION, _REPLICA = Role.SOURCE, Role.DESTINATION, Role.REPLICA

TURNS: dict[Any, Turn] = {
    messages.Open: Turn(Phase.CLOSED, Phase.CLOSED, None),
    messages.Scan: Turn(Phase.OPEN, Phase.OPEN, None, unopened=True),
    messages.GetHot: Turn(Phase.OPEN, Phase.OPEN, None, unopened=True),
    messages.GetIgnoreFiles: Turn(Phase.SCANNED, Phase.SEALED, _SOURCE),
    messages.UseIgnoreFiles: Turn(Phase.SCANNED, Phase.SEALED, _DESTINATION),
    messages.Enter: Turn(Phase.SEALED, Phase.SEALED, _DESTINATION),
    messages.MapIds: Turn(Phase.OPEN, Phase.SEALED, _DESTINATION, unopened=True),
    messages.Seal: Turn(Phase.SCANNED, Phase.SEALED, None, unopened=True),
    messages.GetChanges: Turn(Phase.SEALED, Phase.SEALED, None, unopened=True),
    messages.List: Turn(Phase.SEALED, Phase.SEALED, None),
    messages.GetLinks: Turn(Phase.SEALED, Phase.SEALED, None),
    messages.GetMarks: Turn(Phase.SEALED, Phase.SEALED, None),
    messages.CountKinds: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.GetSets: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.Hash: Turn(Phase.SEALED, Phase.SEALED, None),
    messages.GetChunks: Turn(Phase.SEALED, Phase.WRITING, _DESTINATION),
    messages.Basis: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.Select: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.GetSizes: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.Offer: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.Next: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.UseAlternates: Turn(Phase.OPEN, Phase.SEALED, _DESTINATION, unopened=True),
    messages.ListAlternate: Turn(Phase.SEALED, Phase.SEALED, _DESTINATION),
    messages.HashAlternate: Turn(Phase.SEALED, Phase.SEALED, _DESTINATION),
    messages.Backup: Turn(Phase.SEALED, Phase.SEALED, _DESTINATION),
    messages.Begin: Turn(Phase.SEALED, Phase.SEALED, _DESTINATION),
    messages.Expect: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Find: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Keep: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    STORE: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Release: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.TakeBasis: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.TakeEntries: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Move: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Link: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Extend: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Adjust: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Delete: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Imply: Turn(Phase.SEALED, Phase.WRITING, None),
    messages.MakeImplied: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.Introduce: Turn(Phase.OPEN, Phase.SEALED, _REPLICA, unopened=True),
    messages.GetReplicas: Turn(Phase.OPEN, Phase.OPEN, _REPLICA),
    messages.Observe: Turn(Phase.SEALED, Phase.SEALED, _REPLICA),
    messages.GetKnowledge: Turn(Phase.SEALED, Phase.SEALED, _REPLICA),
    messages.GetRecords: Turn(Phase.SEALED, Phase.WRITING, _REPLICA),
    messages.Tick: Turn(Phase.SEALED, Phase.SEALED, _REPLICA),
    messages.Intend: Turn(Phase.SEALED, Phase.WRITING, _REPLICA),
    messages.Preserve: Turn(Phase.WRITING, Phase.WRITING, _REPLICA),
    messages.Settle: Turn(Phase.SEALED, Phase.WRITING, _REPLICA),
    messages.GetManifest: Turn(Phase.OPEN, Phase.WRITING, None, unopened=True),
    messages.PutManifest: Turn(Phase.WRITING, Phase.WRITING, _DESTINATION),
    messages.GetLineage: Turn(Phase.SEALED, Phase.WRITING, _REPLICA),
    messages.PutLineage: Turn(Phase.WRITING, Phase.WRITING, _REPLICA),
    messages.Judge: Turn(Phase.SEALED, Phase.WRITING, _REPLICA),
    messages.Resolve: Turn(Phase.SEALED, Phase.WRITING, _REPLICA),
    messages.UseManifest: Turn(Phase.SCANNED, Phase.SEALED, None),
    messages.GetSealed: Turn(Phase.SCANNED, Phase.WRITING, None),
    messages.MakeManifest: Turn(Phase.SCANNED, Phase.WRITING, None),
    messages.KeepManifest: Turn(Phase.SCANNED, Phase.WRITING, None),
    messages.LeaveOut: Turn(Phase.SEALED, Phase.WRITING, None),
    messages.RemoveSource: Turn(Phase.SEALED, Phase.SEALED, _SOURCE),
    messages.Finish: Turn(Phase.SEALED, Phase.WRITING, None),
    messages.GetSnapshots: Turn(Phase.CLOSED, Phase.CLOSED, None),
    messages.KeepSnapshot: Turn(Phase.CLOSED, Phase.CLOSED, None),
    messages.DropSnapshots: Turn(Phase.CLOSED, Phase.CLOSED, None),
    messages.Close: Turn(Phase.CLOSED, Phase.WRITING, None),
}
"""Every request, and `STORE` for the raw one."""

NO_REPLICAS = frozenset(
    (
        messages.UseIgnoreFiles,
        messages.Enter,
        messages.MapIds,
        messages.UseAlternates,
        messages.ListAlternate,
        messages.HashAlternate,
        messages.TakeBasis,
        messages.TakeEntries,
        messages.Backup,
        messages.Imply,
        messages.MakeImplied,
        messages.RemoveSource,
    )
)
"""What a replica does not take: that is between a source and a destination."""


def may_come(kind: Any, phase: Phase, role: Role | None) -> bool:
    """Whether a request of ``kind`` is in order now."""
    turn = TURNS.get(kind)
    if turn is None:
        return False
    if turn.unopened and phase is Phase.CLOSED:
        return True
    latest = turn.latest
    if role is Role.REPLICA:
        if kind in NO_REPLICAS:
            return False
        if turn.role is Role.SOURCE:
            latest = Phase.WRITING  # it sends what it has, and what it has been given
        elif turn.role is Role.DESTINATION:
            role = turn.role
    if not turn.earliest <= phase <= latest:
        return False
    return turn.role in (None, role) or (turn.role is Role.SOURCE and role is Role.REPLICA)
