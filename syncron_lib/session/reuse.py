"""Content that the destination has under whatever name: asked for, so that it is not sent."""

from __future__ import annotations

import stat
from collections.abc import Sequence

from syncron_lib.core.plan import Change, Plan
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.contents import pack_sizes, unpack_contents, unpack_sizes
from syncron_lib.session.asking import batches, reply_of

_WORTH = 64 << 10
"""Bytes to be transferred below which asking costs more than sending."""
_WORTH_OF_EDITS = 1 << 20
"""The same where nothing is new. What a file was changed to is seldom there under another name, and
a destination of 100,000 files looks for it in as much time as it takes to send this at 300 Mbit/s.
"""
_LATER = 2000
_SMALLEST = 128
"""Bytes of a file below which it is not asked for."""


def offer(
    source: Endpoint, destination: Endpoint, plan: Plan, later: Sequence[Change]
) -> Sequence[bytes]:
    """Tell the source what the destination has of the plan's content. To be called when all but
    ``later`` is selected; which of these need no content either."""
    if plan.size < (_WORTH if plan.creates else _WORTH_OF_EDITS):
        return ()
    sizes = _sizes(source, plan)
    if not sizes:
        return ()
    found = reply_of(destination.submit(messages.Find(sizes)), messages.Found)
    if not found.contents:
        return ()
    there = {content.size for content in unpack_contents(found.contents)}
    paths = [change.path for change in later if change.size in there]
    # As many as a request holds; what remains is sent as what is missing of it.
    asked = next(batches(paths, _LATER, len), ())
    wanted = reply_of(source.submit(messages.Offer(found.contents, asked)), messages.Wanted)
    if wanted.digests:
        reply_of(destination.submit(messages.Keep(wanted.digests)), messages.Done)
    if not set(asked).issuperset(wanted.here):
        raise PeerViolation("The source spoke of files that it was not asked about.")
    return wanted.here


def _sizes(source: Endpoint, plan: Plan) -> bytes:
    """The sizes of the files to be sent; only of what is in new directories the source must be
    asked."""
    sizes = {create.size for create in plan.creates if not stat.S_ISDIR(create.mode)}
    sizes.update(change.size for change in plan.changes)
    if any(stat.S_ISDIR(create.mode) for create in plan.creates):
        reply = reply_of(source.submit(messages.GetSizes()), messages.Sizes)
        sizes.update(unpack_sizes(reply.sizes))
    return pack_sizes(size for size in sizes if size >= _SMALLEST)
