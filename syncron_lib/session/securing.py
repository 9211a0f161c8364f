"""Telling who has the key what is sealed at the other side, once both have been scanned."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import shown
from syncron_lib.core.options import RunOptions
from syncron_lib.core.role import Role
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import GuardRefused
from syncron_lib.protocol import messages
from syncron_lib.session.asking import reply_of
from syncron_lib.session.sealing import Sealing
from syncron_lib.session.unsealed import NOTHING_SEALED, Unsealed

if TYPE_CHECKING:
    from syncron_lib.session.keyholder import KeyHolder


class Asked(Protocol):
    """A root that was asked for. ``manifest``: with what is sealed in it, if it is the far one."""

    @property
    def endpoint(self) -> RemoteEndpoint:
        """Who was asked."""

    @property
    def opened(self) -> Future[Any]:
        """The reply to `Open`."""

    @property
    def manifest(self) -> Future[Any] | None:
        """The reply to `GetManifest`."""


def secured(
    asked: Sequence[Asked],
    locations: Sequence[Location],
    options: RunOptions,
    key: KeyHolder | None,
    sealing: Sealing,
) -> Unsealed:
    """What is to be done about sealed files."""
    side = next((side for side, each in enumerate(asked) if each.manifest is not None), None)
    if side is None:
        return NOTHING_SEALED
    from syncron_lib.session import secure

    far, place = asked[side], locations[side]
    assert far.manifest is not None
    path = shown(reply_of(far.opened, messages.Opened).path)
    where = path if isinstance(place, Local) else f"{place.account()}:{path}"
    content = secure.manifest_of(far.endpoint, reply_of(far.manifest, messages.Manifest))
    ends = asked[0].endpoint, asked[1].endpoint
    made = secure.prepared(options, key, ends, where, content, sealing)
    if made is NOTHING_SEALED and not content and isinstance(place, Local):
        _require_manifest(key, where)
    return made


def _require_manifest(key: KeyHolder | None, where: str) -> None:
    """Without a manifest, and without rules here, what is sealed would be taken as it is."""
    if key is not None and key.role is Role.DESTINATION:
        raise GuardRefused(
            f"{where} has no manifest, so nothing in it is known to be sealed. To open all that is,"
            " say --secure='*' --declassify too; if nothing is, copy it without --unseal. Nothing"
            " was changed."
        )
