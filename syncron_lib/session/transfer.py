"""Carrying out a plan: content in packs, many in flight, then metadata, deletes last."""

from __future__ import annotations

import collections
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import Future
from typing import Any, TypeVar

from syncron_lib.core.plan import Change, Plan
from syncron_lib.core.report import Failure
from syncron_lib.endpoint.base import Endpoint, RawPack
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Arrived, Expected, IdPair, Selected
from syncron_lib.protocol.pack import PackKind, read_head
from syncron_lib.session.asking import batches, failure_of, length_of_path, replies, reply_of
from syncron_lib.session.compression import Compression
from syncron_lib.session.delta import WHOLE, DeltaChoice, is_delta, tell, windows

T = TypeVar("T")

_ITEMS_A_REQUEST = 2000
_PACKS_ASKED = 6
"""Packs asked for ahead: their megabytes fill a link of 100 ms at 500 Mbit/s."""
_PACKS_STORED = 12
"""Packs sent to the destination and not yet acknowledged."""


class Transfer:
    """One plan between two endpoints."""

    def __init__(
        self,
        source: Endpoint,
        destination: Endpoint,
        on_failure: Callable[[Failure], None],
        on_progress: Callable[[int], None],
        compression: Compression,
        deltas: DeltaChoice = WHOLE,
        reuse: bool = True,
    ) -> None:
        """``reuse``: the destination may have some of the content."""
        self._reuse = reuse
        self._source = source
        self._destination = destination
        self._on_failure = on_failure
        self._on_progress = on_progress
        self._compression = compression
        self._deltas = deltas
        self._again: list[bytes] = []
        """Paths whose content the destination could not find after all."""
        self.content = 0
        """Bytes of the files that were sent, before compression."""
        self.matched = 0
        """Of these, bytes that the destination had already."""
        self.published = self.moved = self.adjusted = self.deleted = 0
        """Entries that the destination has said to be done: with their content, under another
        path, their attributes only, or gone."""

    def run(
        self,
        plan: Plan,
        users: Sequence[IdPair],
        groups: Sequence[IdPair],
        before_deletes: Callable[[], None],
    ) -> None:
        """Carry ``plan`` out, but for the end (`messages.Finish`)."""
        leftovers = reply_of(
            self._destination.submit(messages.Begin(users, groups, self._deltas.in_place)),
            messages.Leftovers,
        )
        if plan.moves:
            self._move(plan)
        deltas = [change for change in plan.changes if self._deltas.chunker and is_delta(change)]
        self._announce(plan, leftovers.arrived, {change.path for change in deltas})
        if self._reuse and (plan.creates or plan.changes):
            deltas = self._offer(plan, deltas)
        if len(plan.creates) + len(plan.changes) > len(deltas):
            self._stream()
        for window in windows(deltas):
            tell(self._source, self._destination, self._deltas, window)
            self._select([change.path for change in window])
            self._stream()
        if self._again:
            self._send_again(plan)
        self._adjust(plan)
        before_deletes()
        paths = [remove.path for remove in plan.removes]
        requests = (messages.Delete(some) for some in batches(paths, _ITEMS_A_REQUEST, len))
        for stored in replies(self._destination, requests, messages.Stored):
            self._note(stored)
            self.deleted += stored.entries

    def _move(self, plan: Plan) -> None:
        from syncron_lib.session.moving import carry_out

        self.moved = carry_out(self._destination, plan, self._note)

    def _offer(self, plan: Plan, deltas: list[Change]) -> list[Change]:
        """Tell the source what the destination has; the deltas that are still to be made."""
        from syncron_lib.session.reuse import offer

        here = offer(self._source, self._destination, plan, deltas)
        if here:
            self._select(here)
        found = set(here)
        return [change for change in deltas if change.path not in found]

    def _send_again(self, plan: Plan) -> None:
        """Send whole what the destination could not find or put together after all."""
        replacing = {create.path for create in plan.creates if create.replaces}
        again, self._again = self._again, []
        expected = [Expected(path, False, path in replacing) for path in again]
        expects = (messages.Expect(some) for some in self._batches(expected))
        collections.deque(replies(self._destination, expects, messages.Done), maxlen=0)
        self._select(again, plain=True)
        self._stream()

    def _select(self, paths: Sequence[bytes], plain: bool = False) -> None:
        """Have these files sent too."""
        items = [Selected(path, False) for path in paths]
        requests = (messages.Select(some, (), plain) for some in self._batches(items))
        collections.deque(replies(self._source, requests, messages.Done), maxlen=0)

    def _announce(self, plan: Plan, arrived: Sequence[Arrived], later: Set[bytes]) -> None:
        """Tell both sides what will move; entries that need no frame of their own first.
        ``later``: what is selected when more is known of it."""
        expected = []
        selected = []
        for create in plan.creates:
            tree = create.mode & 0o170000 == 0o040000
            expected.append(Expected(create.path, tree, create.replaces > 0))
            selected.append(Selected(create.path, tree))
        for change in plan.changes:
            expected.append(Expected(change.path, False, False))
            if change.path not in later:
                selected.append(Selected(change.path, False))
        expects = (messages.Expect(some) for some in self._batches(expected))
        selects = [messages.Select(some, ()) for some in self._batches(selected)]
        if arrived and not selects:
            selects = [messages.Select((), ())]
        if selects:
            selects[0] = selects[0]._replace(arrived=arrived)
        both = itertools.zip_longest(
            replies(self._destination, expects, messages.Done),
            replies(self._source, selects, messages.Done),
        )
        collections.deque(both, maxlen=0)

    def _batches(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        return batches(items, _ITEMS_A_REQUEST, length_of_path)

    def _stream(self) -> None:
        """Packs from the source to the destination until the source has no more."""
        asked: deque[Future[Any]] = deque()
        stored: deque[Future[Any]] = deque()
        while True:
            while len(asked) < _PACKS_ASKED:
                asked.append(self._source.submit(self._compression.next()))
            pack = reply_of(asked.popleft(), RawPack)
            head = read_head(pack.payload)
            if head.kind == PackKind.END:
                self._compression.ended()
                break
            self._compression.saw(head)
            stored.append(self._destination.submit(pack))
            while len(stored) > _PACKS_STORED or (stored and stored[0].done()):
                self._stored(stored.popleft())
            self.content += head.content
            if head.kind == PackKind.DELTA:
                self.matched += head.content - head.literal
            self._on_progress(self.content)
        while stored:
            self._stored(stored.popleft())

    def _stored(self, future: Future[Any]) -> None:
        stored = reply_of(future, messages.Stored)
        self._compression.stored(stored.busy)
        self._note(stored)
        self.published += stored.entries
        self._again.extend(stored.again)

    def _note(self, stored: messages.Stored) -> None:
        for problem in stored.passed_on:
            self._on_failure(failure_of(problem, "source"))
        for problem in stored.problems:
            self._on_failure(failure_of(problem, "destination"))

    def _adjust(self, plan: Plan) -> None:
        items = [messages.SetAttributes(adjust.path, *adjust.attributes) for adjust in plan.adjusts]
        items.extend(
            messages.SetAttributes(move.path, *move.attributes)
            for move in plan.moves
            if move.differs
        )
        adjusted = {item.path for item in items}
        items.extend(
            messages.SetAttributes(path, *attributes)
            for path, attributes in plan.touched.items()
            if path not in adjusted
        )
        requests = (messages.Adjust(some) for some in self._batches(items))
        for stored in replies(self._destination, requests, messages.Stored):
            self._note(stored)
            self.adjusted += stored.entries
