"""Messages about directories that change often: see `fs.hot`."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.record import NamedTuple


class GetHot(NamedTuple):
    """Which directories of the root changed most over runs, at most ``most``. Reply:
    `HotDirectories`."""

    most: int


class HotDirectory(NamedTuple):
    """One of them. ``score``: in thousandths; that of one that changed in every run is 50,000."""

    path: bytes
    score: int


class HotDirectories(NamedTuple):
    """The hottest first."""

    items: Sequence[HotDirectory]
