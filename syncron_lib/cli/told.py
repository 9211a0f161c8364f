"""What is told: rsync's flags of ``--info``, each at its level."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from syncron_lib.core.choosing import Why
from syncron_lib.core.options import TransferRules
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.cli.settings import Settings
    from syncron_lib.core.report import Item

UNTOLD = {
    "backup": "a backup has the name that --suffix and --backup-dir give it",
    "copy": "what is copied at the destination is not told apart",
    "misc": "there is nothing of that kind to tell",
    "mount": "other file systems are left out by the scan, which names none",
    "remove": "the line at the end counts what was removed",
}
"""rsync's flags of which nothing is told here, and why."""


class Told(NamedTuple):
    """How much of each is told; 0 for nothing. ``name``: 2 for what is unchanged too. ``delete``
    is rsync's ``del``. ``stats``: 1 for the totals only."""

    delete: int = 0
    flist: int = 0
    name: int = 0
    nonreg: int = 0
    progress: int = 0
    skip: int = 0
    stats: int = 0
    symsafe: int = 0

    def leaves(self, item: Item) -> bool:
        """Whether it is told that the options leave this entry."""
        if item.why is Why.UNSAFE:
            return self.symsafe > 0
        return (self.nonreg if item.why is Why.KIND else self.skip) > 0


_FLAGS = {("del" if field == "delete" else field): field for field in Told._fields}
_SILENT = Told()
_VERBOSE = Told(delete=1, flist=1, name=1, stats=1, symsafe=1)
_MORE = _VERBOSE._replace(name=2, skip=1)


def parse(text: str) -> dict[str, int]:
    """What ``--info`` says, by field; ValueError for what is none of its flags."""
    found: dict[str, int] = {}
    for word in text.lower().split(","):
        parts = re.fullmatch("([a-z]+)([0-9]?)", word)
        name, level = (parts[1], int(parts[2] or 1)) if parts is not None else ("", 0)
        if name in ("all", "none"):
            found.update(dict.fromkeys(Told._fields, level if name == "all" else 0))
        elif name in _FLAGS:
            found[_FLAGS[name]] = level
        elif name not in UNTOLD:
            raise ValueError(
                f"{word!r} is none of {', '.join(_FLAGS)}, all and none; a 0 behind one silences it"
            )
        elif level:
            raise ValueError(f"{word!r} cannot be told: {UNTOLD[name]}")
    return found


def told(settings: Settings) -> Told:
    """What ``--info`` says of each, else what ``-v``, ``--stats`` and ``--progress`` do."""
    verbose = settings.verbose or 0
    found = _MORE if verbose > 1 else _VERBOSE if verbose else _SILENT
    if settings.stats:
        found = found._replace(stats=2)
    if settings.progress:
        found = found._replace(progress=1)
    return found._replace(**settings.info)


class Itemized(NamedTuple):
    """Which entries a session is to tell of."""

    changes: bool
    unchanged: bool
    left: bool


def itemized(settings: Settings, rules: TransferRules) -> Itemized:
    """What of a run must be told for all that is to be shown or logged."""
    each = Told() if settings.quiet else told(settings)
    tells_left = max(each.nonreg, each.skip, each.symsafe) > 0
    left = tells_left and rules != TransferRules()
    shown = settings.shows_changes or settings.logs_changes
    unchanged = shown and max(settings.itemize_changes or 0, each.name) > 1
    unchanged = unchanged and not settings.two_way  # there it is nobody's
    return Itemized(shown or left or each.delete > 0, unchanged, left)
