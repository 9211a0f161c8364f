"""Requests about a root that is one of several replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib.core.names import shown
from syncron_lib.core.permission import EVERYTHING
from syncron_lib.core.role import Role
from syncron_lib.core.table import Malformed
from syncron_lib.errors import FileFatal, PeerViolation, RootError
from syncron_lib.fs.reach import Reach
from syncron_lib.protocol import messages
from syncron_lib.protocol.frames import MAX_PAYLOAD

if TYPE_CHECKING:  # few runs are between replicas
    from syncron_lib.endpoint.local import LocalEndpoint
    from syncron_lib.fs.replica.replica import Replica

_PART = MAX_PAYLOAD // 4
"""Bytes of records or knowledge in one reply."""
_MOST_INTENDED = 2 << 30
"""Bytes of what a run is about to do; ten million entries have less."""


def require_allowed(request: messages.Open, reach: Reach) -> None:
    """Refuse a root that may not be written to as the run would."""
    if request.writing and not reach.may:
        raise RootError(
            f"{shown(request.path)} may only be read: this account is restricted by"
            " --read-only. Nothing was changed."
        )
    if request.role == Role.REPLICA and reach.may != EVERYTHING:
        raise RootError(
            f"{shown(request.path)} cannot be one of several replicas: this account is restricted,"
            " and a run in both directions adds, changes and deletes. Nothing was changed."
        )


class Replicas:
    """Carries them out on the root that an endpoint has open."""

    def __init__(self, endpoint: LocalEndpoint, tell: Callable[[messages.Notice], None]) -> None:
        """``tell``: takes what there is to say before a reply."""
        self._endpoint = endpoint
        self._tell_client = tell
        self._replica: Optional[Replica] = None
        self._told = 0
        self._unseen: frozenset[bytes] = frozenset()
        self._knowledge = b""
        self._intended = bytearray()

    def handlers(self) -> Mapping[Any, Callable[[Any], Any]]:
        """By kind of request."""
        return {
            messages.Introduce: self._introduce,
            messages.Observe: self._observe,
            messages.GetKnowledge: self._get_knowledge,
            messages.GetRecords: self._get_records,
            messages.Tick: self._tick,
            messages.Intend: self._intend,
            messages.Preserve: self._preserve,
            messages.Settle: self._settle,
            messages.GetReplicas: self._get_replicas,
        }

    def opened(self) -> Replica:
        """What the root's replica remembers."""
        if self._replica is None:
            from syncron_lib.fs.replica.replica import Replica

            root = self._endpoint.root
            self._replica = Replica(self._endpoint.directories().root_fd, root.path, root.stem)
        return self._replica

    def _tell(self) -> None:
        """Pass on what the replica had to say since the last time."""
        notices = self.opened().notices
        for notice in notices[self._told :]:
            self._tell_client(messages.Notice(notice))
        self._told = len(notices)

    def _introduce(self, _request: messages.Introduce) -> messages.Introduced:
        from syncron_lib.core.twoway.dots import pack_vector
        from syncron_lib.core.twoway.identity import pack_ticks
        from syncron_lib.core.twoway.roster import pack_replicas

        if not self._endpoint.is_open:
            return messages.Introduced(bytes(16), 0, 0, b"")
        replica = self.opened()
        known = pack_vector(replica.knowledge.latest()) + pack_ticks(replica.ticks)
        known += pack_replicas(replica.roster.retired)
        return messages.Introduced(replica.identity, replica.counter, replica.standing, known)

    def _observe(self, request: messages.Observe) -> messages.Observed:
        from syncron_lib.core.twoway.identity import Renewal

        tree, replica = self._endpoint.root.tree, self.opened()
        try:
            renewal = Renewal(request.renewal)
        except ValueError:
            raise PeerViolation("The client asked for an unknown renewal.") from None
        replica.require_seen()
        replica.require_tree(
            tree.root.entries + tree.root.holds, request.allow_empty, request.allow_unmounted
        )
        observation = replica.observe(tree, renewal, request.dry)
        self._tell()
        self._unseen = frozenset(observation.unseen)
        self._knowledge = b""
        return messages.Observed(
            replica.identity, replica.counter, observation.records, observation.changed
        )

    def _get_knowledge(self, request: messages.GetKnowledge) -> messages.KnowledgePart:
        from syncron_lib.core.twoway.identity import pack_ticks
        from syncron_lib.core.twoway.knowledge import Untouched, pack_knowledge, pack_untouched
        from syncron_lib.core.twoway.roster import pack_roster

        if not request.start:
            replica = self.opened()
            self._knowledge = (
                pack_knowledge(replica.knowledge)
                + pack_ticks(replica.ticks)
                + pack_untouched(Untouched(frozenset(), self._unseen))
                + pack_roster(replica.known())
            )
        end = request.start + _PART
        return messages.KnowledgePart(
            self._knowledge[request.start : end], end < len(self._knowledge)
        )

    def _get_records(self, request: messages.GetRecords) -> messages.RecordsPart:
        replica = self.opened()
        parts: list[bytes] = []
        left, start = _PART, request.start
        for path in request.paths:
            packed = replica.records(path)
            part = packed[start : start + left]
            parts.append(part)
            left -= len(part) + 64
            if start + len(part) < len(packed):
                return messages.RecordsPart(parts, True)
            start = 0
            if left <= 0:
                break
        return messages.RecordsPart(parts, False)

    def _tick(self, _request: messages.Tick) -> messages.Ticked:
        return messages.Ticked(self.opened().tick())

    def _intend(self, request: messages.Intend) -> messages.Done:
        self._intended += request.data
        if len(self._intended) > _MOST_INTENDED:
            raise PeerViolation("The client intends more than any tree has.")
        if not request.more:
            data, self._intended = bytes(self._intended), bytearray()
            try:
                self.opened().intend(data)
            except Malformed as error:
                raise PeerViolation(f"The client's intents are malformed: {error}.") from None
            self._tell()
        return messages.Done()

    def _preserve(self, request: messages.Preserve) -> messages.Stored:
        stored = self._endpoint.noted(self._endpoint.writes().preserve(request))
        # The other side is about to take the conflict for settled.
        self._write_through()
        return stored

    def _write_through(self) -> None:
        """What is remembered to be there must not be lost by a power cut: the next run would take
        that for an edit, or for a deletion."""
        from syncron_lib.fs.durable import write_through

        try:
            write_through([self._endpoint.directories().root_fd])
        except OSError as error:
            raise FileFatal(
                f"The disk does not take what was written ({error.strerror}); check it, and run"
                " again."
            ) from None

    def _settle(self, request: messages.Settle) -> messages.Settled:
        replica, endpoint = self.opened(), self._endpoint
        if replica.intends:
            self._write_through()
        failed = replica.settle(endpoint.root.tree, request.untouched)
        if sum(map(len, failed)) > MAX_PAYLOAD // 2:
            raise FileFatal(
                "More entries failed than can be told one by one; see to the cause, and run again."
            )
        return messages.Settled(replica.digest(), failed)

    def _get_replicas(self, request: messages.GetReplicas) -> messages.Replicas:
        replica = self.opened()
        if request.retire is not None:
            replica.retire(request.retire)
        self._tell()
        latest = replica.knowledge.latest()
        members = replica.known().members
        unnamed = dict.fromkeys(latest.keys() - members.keys())
        found = [
            messages.KnownReplica(each, member.label, latest.get(each, 0), member.retired)
            for each, member in members.items()
        ]
        found += [messages.KnownReplica(each, b"", latest[each], False) for each in unnamed]
        return messages.Replicas(replica.identity, replica.standing, sorted(found))

    def close(self) -> None:
        """Let go of what is open."""
        if self._replica is not None:
            self._replica.close()
            self._replica = None
        self._told = 0
        self._knowledge, self._intended = b"", bytearray()
