"""Extended attributes and ACLs: what both ends have, and how they come over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import Future
from typing import Any

from syncron_lib.core.extend import Marked, extend
from syncron_lib.core.extended import PLAIN, Kinds, Mark
from syncron_lib.core.names import shown
from syncron_lib.core.plan import Plan
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Extended
from syncron_lib.session.asking import batches, reply_of
from syncron_lib.session.linking import MOST_NAMES

_PATHS_A_REQUEST = 2000
_FRAME = 4 << 20
"""Bytes of attributes in one request; one more set still fits."""


class MarkSearch:
    """Asks both ends which entries have any, in the flight of other questions."""

    def __init__(self, source: Endpoint, destination: Endpoint, kinds: Kinds) -> None:
        self._ends = source, destination
        self._kinds = kinds
        self._asked = [end.submit(messages.GetMarks()) for end in self._ends]
        self._mine: dict[bytes, Marked] | None = None

    def of_source(self, entries: int) -> dict[bytes, Marked]:
        """What the source has; it has scanned so many entries."""
        if self._mine is None:
            self._mine = _marks(self._ends[0], self._asked[0], entries)
        return self._mine

    def apply_to(self, plan: Plan, entries: tuple[int, int], unsure: Set[bytes]) -> None:
        """Have ``plan`` do what is needed; it holds all else that will be done. ``entries``: how
        many the ends have scanned. ``unsure``: see `core.extend`."""
        mine = self.of_source(entries[0])
        theirs = _marks(self._ends[1], self._asked[1], entries[1])
        extend(plan, mine, theirs, unsure, self._kinds)


def marks_of(alternate: Endpoint) -> dict[bytes, Marked]:
    """What one has that has not said how many entries it has."""
    return _marks(alternate, alternate.submit(messages.GetMarks()), MOST_NAMES)


def _marks(endpoint: Endpoint, asked: Future[Any], entries: int) -> dict[bytes, Marked]:
    marks: dict[bytes, Marked] = {}
    while True:
        reply = reply_of(asked, messages.Marks)
        for path, mode, size, *digests in reply.marks:
            mark = Mark(*digests)
            if path in marks or len(marks) > entries or mark == PLAIN:
                raise PeerViolation(f"The other side told of {shown(path)} what cannot be.")
            marks[path] = Marked(mode, size, mark)
        if not reply.more:
            return marks
        if not reply.marks:
            raise PeerViolation("The other side has more to tell of, and tells of nothing.")
        asked = endpoint.submit(messages.GetMarks(len(marks)))


def carry_over(source: Endpoint, paths: Sequence[bytes], coming: bool) -> Iterator[messages.Extend]:
    """What the destination is asked for, so that the entries at ``paths`` have what the source's
    have."""
    items: list[Extended] = []
    size = 0
    for some in batches(paths, _PATHS_A_REQUEST, len):
        for path, packed in zip(some, _sets(source, some)):
            items.append(Extended(path, packed))
            size += len(path) + len(packed)
            if size > _FRAME or len(items) == _PATHS_A_REQUEST:
                yield messages.Extend(items, coming)
                items, size = [], 0
    if items:
        yield messages.Extend(items, coming)


def _sets(source: Endpoint, paths: Sequence[bytes]) -> Iterator[bytes]:
    while paths:
        reply = reply_of(source.submit(messages.GetSets(paths)), messages.Sets)
        if not 0 < len(reply.sets) <= len(paths):
            raise PeerViolation("The other side told of another number of entries than asked for.")
        yield from reply.sets
        paths = paths[len(reply.sets) :]


def order(
    source: Endpoint, plan: Plan, coming: bool, send: Callable[[messages.Extend], None]
) -> None:
    """Have entries that come, or those that are there, get what the plan says."""
    paths = [step.path for step in plan.extends if coming is not bool(step.flags)]
    for request in carry_over(source, paths, coming):
        send(request)
