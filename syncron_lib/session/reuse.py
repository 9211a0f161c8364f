"""Content that the destination has under whatever name: asked for, so that it is not sent."""

from __future__ import annotations

import stat

from syncron_lib.core.plan import Plan
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.protocol import messages
from syncron_lib.protocol.contents import pack_sizes
from syncron_lib.session.asking import reply_of

_WORTH = 64 << 10
"""Bytes to be transferred below which asking costs more than sending."""
_SMALLEST = 128
"""Bytes of a file below which it is not asked for."""


def offer(source: Endpoint, destination: Endpoint, plan: Plan) -> None:
    """Tell the source what the destination has of the plan's content. To be called when all is
    selected."""
    if plan.size < _WORTH:
        return
    sizes = _sizes(source, plan)
    if not sizes:
        return
    found = reply_of(destination.submit(messages.Find(sizes)), messages.Found)
    if not found.contents:
        return
    wanted = reply_of(source.submit(messages.Offer(found.contents)), messages.Wanted)
    if wanted.digests:
        reply_of(destination.submit(messages.Keep(wanted.digests)), messages.Done)


def _sizes(source: Endpoint, plan: Plan) -> bytes:
    """The sizes of the files to be sent; only of what is in new directories the source must be
    asked."""
    if any(stat.S_ISDIR(create.mode) for create in plan.creates):
        return reply_of(source.submit(messages.GetSizes()), messages.Sizes).sizes
    sizes = {create.size for create in plan.creates}
    sizes.update(change.size for change in plan.changes)
    return pack_sizes(size for size in sizes if size >= _SMALLEST)
