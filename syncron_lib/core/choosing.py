"""What of a tree is brought over, entry by entry: rsync's transfer rules, pure."""

from __future__ import annotations

import stat

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.options import TransferRules

_SECOND = 1_000_000_000


def is_out_of_bounds(rules: TransferRules, mode: int, size: int) -> bool:
    """Whether a file is larger or smaller than is brought over."""
    return stat.S_ISREG(mode) and (
        (rules.max_size is not None and size > rules.max_size)
        or (rules.min_size is not None and size < rules.min_size)
    )


def is_left(rules: TransferRules, source: Attributes, size: int, destination: Attributes) -> bool:
    """Whether an entry that is at the destination already stays as it is there. Two directories
    are never left: what is in them is looked at by itself."""
    if rules.ignore_existing and not (stat.S_ISDIR(source.mode) and stat.S_ISDIR(destination.mode)):
        return True
    if not stat.S_ISREG(source.mode):
        return False
    if is_out_of_bounds(rules, source.mode, size):
        return True
    return rules.update and stat.S_ISREG(destination.mode) and _is_newer(rules, destination, source)


def _is_newer(rules: TransferRules, destination: Attributes, source: Attributes) -> bool:
    """Whether the destination's is the newer one. As with rsync, seconds count, and with a window
    one that is not older by so much is newer."""
    if rules.modify_window is not None and rules.modify_window < 0:
        return destination.mtime_ns > source.mtime_ns
    older = source.mtime_ns // _SECOND - destination.mtime_ns // _SECOND
    return older < (rules.modify_window or 0)


def within_window(rules: TransferRules, source: Attributes, destination: Attributes) -> Attributes:
    """The source's attributes, with the destination's time where that will do."""
    window = rules.modify_window
    if window is None or window < 0:
        return source
    apart = abs(source.mtime_ns // _SECOND - destination.mtime_ns // _SECOND)
    return source._replace(mtime_ns=destination.mtime_ns) if apart <= window else source
