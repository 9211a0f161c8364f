"""The replicas that roots have heard of, told; and one of them taken to be gone for good."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncron_lib.core.location import Location
from syncron_lib.core.names import shown
from syncron_lib.core.options import RunOptions
from syncron_lib.core.twoway.identity import Standing
from syncron_lib.errors import RootError, UsageError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import KnownReplica, Opened, Replicas
from syncron_lib.session.asking import reply_of
from syncron_lib.session.conduct import with_pool
from syncron_lib.session.twoway.ends import End
from syncron_lib.transport.settings import ConnectOptions

if TYPE_CHECKING:
    from syncron_lib.session.observer import Observer
    from syncron_lib.session.pool import Pool

_LEAST = 4
"""Digits of an identity that say which is meant."""


def replicas_of(
    location: Location, options: RunOptions, connect: ConnectOptions, observer: Observer
) -> Replicas:
    """The replicas that a root has heard of."""
    options = options._replace(dry_run=True)
    return with_pool(
        connect, options, (location,), lambda pool: _asked(pool, location, options, observer)
    )


def forget(
    name: str,
    locations: Sequence[Location],
    options: RunOptions,
    connect: ConnectOptions,
    observer: Observer,
) -> KnownReplica:
    """Have roots remember that a replica is gone for good; which one. ``name``: the first digits
    of its identity, or its label. Raises UsageError where that is none of those that they have
    heard of, or is in one of them; nothing is changed then."""

    def work(pool: Pool) -> KnownReplica:
        look = options._replace(dry_run=True)
        heard = [_asked(pool, location, look, observer) for location in locations]
        gone = _meant(name, heard)
        for location, said in zip(locations, heard):
            if said.replica == gone.replica:
                raise UsageError(
                    f"{gone.replica.hex()} is the replica in {location.shown()} itself: name one"
                    " that is gone. Nothing was changed."
                )
        for location in locations:
            _asked(pool, location, options, observer, gone.replica)
        return gone

    return with_pool(connect, options, locations, work)


def _meant(name: str, heard: Sequence[Replicas]) -> KnownReplica:
    """Which replica has a name."""
    known = {each.replica: each for said in heard for each in sorted(said.known)}
    digits = name.lower()
    label = os.fsencode(name)
    found = [
        each
        for each in known.values()
        if each.label == label or (len(digits) >= _LEAST and each.replica.hex().startswith(digits))
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"None of these roots has heard of a replica {name!r}: --list-replicas shows which"
            " there are, by identity and place."
        )
    several = ", ".join(each.replica.hex() for each in found)
    raise UsageError(f"{name!r} is the name of several replicas: give one of {several}.")


def _asked(
    pool: Pool,
    location: Location,
    options: RunOptions,
    observer: Observer,
    retire: bytes | None = None,
) -> Replicas:
    end = End(location, lambda: pool.endpoint(location, 0))
    end.endpoint.on_warning = observer.warning
    end.require(reply_of(end.endpoint.submit(end.opening(options)), Opened))
    said = reply_of(end.endpoint.submit(messages.Introduce()), messages.Introduced)
    if said.standing in (Standing.NEW, Standing.LOST):
        lost = said.standing == Standing.LOST
        why = "has lost what it remembered as" if lost else "is not yet"
        raise RootError(
            f"{end.shown} {why} one of several replicas. Nothing was changed; bring it together"
            " with another one by --two-way."
        )
    replicas = reply_of(end.endpoint.submit(messages.GetReplicas(retire)), Replicas)
    end.close()
    return replicas


def described(replica: KnownReplica) -> str:
    """For people."""
    return shown(replica.label) if replica.label else replica.replica.hex()
