"""Sealing both ends, asked for as early as can be.

A far side is asked to seal, and what changed there since its last run, in one flight with `Open`
and `Scan`. Two things are not known by then and are guessed: that its ignore files are the ones in
force, and that users and groups are numbered as at its last run. Where a guess was wrong it is
asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from syncron_lib.core.merkle import Profile
from syncron_lib.core.options import RunOptions
from syncron_lib.core.role import Role
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import IdPair, Scanned
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import reply_of
from syncron_lib.session.profile import chosen_algorithm, profile_of, seal_request
from syncron_lib.session.since import NearDirectories

_FAR_TABLES = 256 << 10
"""Bytes of tables of changed directories from a far side: 0.2 s at 10 Mbit/s."""
_NEAR_TABLES = 8 << 20
_FAR_HASHED = 8 << 20
"""Bytes of edited files that a far side may read to say what changed: some 10 ms."""


class Sealed(NamedTuple):
    """Both ends sealed. ``profile``: with the source's ids mapped by ``users`` and ``groups``.
    ``changes``: of source and destination, where they were asked for."""

    profile: Profile
    users: Sequence[IdPair]
    groups: Sequence[IdPair]
    source: messages.Sealed
    destination: messages.Sealed
    source_changes: messages.Changes | None
    destination_changes: messages.Changes | None


class _Asked(NamedTuple):
    sealed: Future[Any]
    changes: Future[Any] | None


class Sealing:
    """Seals the two ends of one run under one profile."""

    def __init__(
        self,
        source: RemoteEndpoint,
        destination: RemoteEndpoint,
        options: RunOptions,
        near: Role | None,
    ) -> None:
        """``near``: the end from which no exchange counts; None: both are."""
        self._ends = {Role.SOURCE: source, Role.DESTINATION: destination}
        self.near = near
        self._complete = options.verify
        self._profile = profile_of(options, destination.hello.uid, source.hello.uid)
        self.algorithm = chosen_algorithm(options.algorithm, source, destination)
        counts = self._profile.owner or self._profile.group or options.keep.acls
        self._ids_options = options.ids
        ruled = bool(options.ids.users or options.ids.groups)
        self._maps_ids = counts and (ruled or (near is not None and not options.ids.numeric))
        self._mapped: Future[Any] | None = None
        self._asked: dict[Role, _Asked] = {}
        self._near_directories: NearDirectories | None = None

    def early(self, role: Role) -> None:
        """Ask the end ``role``, which is being scanned, on the guess that all is as it was."""
        if not self._complete:
            self._asked[role] = self._ask(role, None)

    def forget(self, role: Role) -> None:
        """The end ``role`` has scanned again: what it was asked before counts no more."""
        self._asked.pop(role, None)
        if role is self.near:
            self._near_directories = None

    def near_directories(self) -> NearDirectories:
        """The near end's. To be called as soon as it has scanned: what changed there is looked at
        while the far one may still be busy."""
        assert self.near is not None
        if self._near_directories is None:
            asked = self._asked.get(self.near)
            waiting = None if asked is None else asked.changes
            changed = None if waiting is None else reply_of(waiting, messages.Changes)
            self._near_directories = NearDirectories(self._ends[self.near], changed)
        return self._near_directories

    def map_ids(self, scanned: Scanned) -> None:
        """Ask the receiver how it numbers the source's users and groups."""
        if self._maps_ids:
            request = messages.MapIds(scanned.users, scanned.groups, *self._ids_options)
            self._mapped = self._ends[Role.DESTINATION].submit(request)

    def _ask(self, role: Role, ids: tuple[Sequence[IdPair], Sequence[IdPair]] | None) -> _Asked:
        end, near = self._ends[role], self.near
        users, groups = ids or ((), ())
        request = seal_request(self.algorithm, self._profile, users, groups, self._complete)
        if ids is None:
            same_ids = role is Role.SOURCE and self._maps_ids
            request = request._replace(same_ids=same_ids)
        sealed = end.submit(request)
        if near is None or self._complete:
            return _Asked(sealed, None)
        if role is near:
            changes = messages.GetChanges(True, _NEAR_TABLES, 0)
        else:
            changes = messages.GetChanges(False, _FAR_TABLES, _FAR_HASHED)
        return _Asked(sealed, end.submit(changes))

    def ask(self) -> None:
        """Ask what was not asked yet; to be called when both ends have been scanned."""
        users, groups = self._ids()
        asked = self._asked.get(Role.SOURCE)
        if asked is not None and not self._guessed(asked, users, groups):
            self.forget(Role.SOURCE)
        for role, ids in ((Role.SOURCE, (users, groups)), (Role.DESTINATION, ((), ()))):
            if role not in self._asked:
                self._asked[role] = self._ask(role, ids)

    def _ids(self) -> tuple[Sequence[IdPair], Sequence[IdPair]]:
        if self._mapped is None:
            return (), ()
        mapped = reply_of(self._mapped, messages.MappedIds)
        return mapped.users, mapped.groups

    def _guessed(self, asked: _Asked, users: Sequence[IdPair], groups: Sequence[IdPair]) -> bool:
        """Whether the source has sealed with these ids."""
        sealed = reply_of(asked.sealed, messages.Sealed)
        return dict(sealed.users) == dict(users) and dict(sealed.groups) == dict(groups)

    def result(self) -> Sealed:
        """Await both ends, which have been asked."""
        users, groups = self._ids()
        profile = self._profile._replace(users=dict(users), groups=dict(groups))
        sealed = {
            role: reply_of(asked.sealed, messages.Sealed) for role, asked in self._asked.items()
        }
        changes = {
            role: reply_of(asked.changes, messages.Changes)
            for role, asked in self._asked.items()
            if asked.changes is not None
        }
        return Sealed(
            profile,
            users,
            groups,
            sealed[Role.SOURCE],
            sealed[Role.DESTINATION],
            changes.get(Role.SOURCE),
            changes.get(Role.DESTINATION),
        )
