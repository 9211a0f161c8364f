"""What of a tree is brought over, entry by entry: rsync's transfer rules, pure."""

from __future__ import annotations

import re
import stat
from enum import Enum
from typing import Optional

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.options import TransferRules

_UPS = re.compile(rb"(?:\.\./+)*")
_ENDS_UP = re.compile(rb"./\.\.\Z", re.DOTALL)
_SECOND = 1_000_000_000


class Why(Enum):
    """Why an entry of the source is left."""

    EXISTS = "exists"
    NEW = "new"
    NEWER = "newer"
    LARGE = "large"
    SMALL = "small"
    KIND = "kind"
    """Entries of its kind are not wanted."""
    UNSAFE = "unsafe"
    """It is a symlink that may lead out of the tree."""
    ALTERNATE = "alternate"
    """Another directory has the same."""


def out_of_bounds(rules: TransferRules, mode: int, size: int) -> Optional[Why]:
    """Whether a file is larger or smaller than is brought over."""
    if not stat.S_ISREG(mode):
        return None
    if rules.max_size is not None and size > rules.max_size:
        return Why.LARGE
    return Why.SMALL if rules.min_size is not None and size < rules.min_size else None


def never_brought(
    rules: TransferRules, path: bytes, mode: int, size: int, target: Optional[bytes]
) -> Optional[Why]:
    """Why the source's entry is left, whatever is at the destination; None where it is not."""
    if stat.S_ISLNK(mode):
        unsafe = rules.safe_links and is_unsafe(path, target or b"", rules.above)
        return Why.KIND if rules.no_links else Why.UNSAFE if unsafe else None
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return Why.KIND if rules.no_devices else None
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return Why.KIND if rules.no_specials else None
    return out_of_bounds(rules, mode, size)


def is_unsafe(path: bytes, target: bytes, above: int = 0) -> bool:
    """Whether the symlink at ``path`` may lead out of the tree, as rsync sees it: also where it
    goes up behind a name, which may be a symlink, or ends by going up. ``above``: directories above
    the root that belong to the tree."""
    ups = _UPS.match(target)
    assert ups is not None
    rest = target[ups.end() :]
    if not target or target.startswith(b"/") or b"/../" in rest or _ENDS_UP.search(target):
        return True
    up = ups[0].count(b"..") + (rest == b"..")
    return up > path.count(b"/") + above


def left(rules: TransferRules, source: Attributes, destination: Attributes) -> Optional[Why]:
    """Why an entry stays as it is because it is at the destination already; None where it does
    not. Two directories are never left: what is in them is looked at by itself."""
    if rules.ignore_existing and not (stat.S_ISDIR(source.mode) and stat.S_ISDIR(destination.mode)):
        return Why.EXISTS
    if not (rules.update and stat.S_ISREG(source.mode) and stat.S_ISREG(destination.mode)):
        return None
    return Why.NEWER if _is_newer(rules, destination, source) else None


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
