"""Where in a tree a plan does something: how much in which directory."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from itertools import chain

from syncron_lib.core.names import split
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Place

MOST = 100
"""Places that are told apart; of more, those deep down are taken together."""


def places(plan: Plan) -> list[Place]:
    """The directories in which a plan does something, by path; at most `MOST`."""
    found: dict[bytes, tuple[int, int]] = {}
    for path, entries, size in _steps(plan):
        before = found.get(path, (0, 0))
        found[path] = before[0] + entries, before[1] + size
    return together([Place(path, *counts) for path, counts in found.items()])


def together(given: Sequence[Place]) -> list[Place]:
    """At most `MOST` of these, those that lie deepest taken together with what is above."""
    found: dict[bytes, tuple[int, int]] = {}
    depth = max((place.path.count(b"/") for place in given), default=0) + 1
    while True:
        found.clear()
        for place in given:
            path = b"/".join(place.path.split(b"/")[:depth])
            before = found.get(path, (0, 0))
            found[path] = before[0] + place.entries, before[1] + place.size
        if len(found) <= MOST or depth == 0:
            break
        depth -= 1
    if depth == 0:
        found = {b"": next(iter(found.values()))}
    return [Place(path, *counts) for path, counts in sorted(found.items())]


def _steps(plan: Plan) -> Iterator[tuple[bytes, int, int]]:
    for create in plan.creates:
        # A new tree is its own place; a new file is in the directory that it lies in.
        tree = stat.S_ISDIR(create.mode)
        yield create.path if tree else split(create.path)[0], create.entries, create.size
    for change in plan.changes:
        yield split(change.path)[0], 1, change.size
    for remove in plan.removes:
        yield split(remove.path)[0], remove.entries, 0
    for move in plan.moves:
        yield split(move.path)[0], move.entries, 0
    for take in plan.takes:
        yield split(take.path)[0], take.entries, 0
    alone = (adjust.path for adjust in plan.adjusts), (link.path for link in plan.links)
    for path in chain(*alone, (extend.path for extend in plan.extends)):
        yield split(path)[0], 1, 0
