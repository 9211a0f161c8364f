"""How a destination is told to write."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.core.options import RunOptions
from syncron_lib.protocol.messages import Begin, IdPair


def beginning(
    options: RunOptions, users: Sequence[IdPair] = (), groups: Sequence[IdPair] = ()
) -> Begin:
    """The request after which the destination writes; what is written in place is the transfer's
    to say."""
    how = options.fsync, options.sparse, options.preallocate, options.delay_updates
    return Begin(users, groups, False, *how)
