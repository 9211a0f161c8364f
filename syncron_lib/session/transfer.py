"""Carrying out a plan: content in packs, many in flight, then metadata, deletes last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from concurrent.futures import Future
from typing import Any, TypeVar

from syncron_lib.core.names import shown, split
from syncron_lib.core.plan import Change, Plan
from syncron_lib.core.report import Failure
from syncron_lib.endpoint.base import Endpoint, RawPack
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Arrived, Expected, Selected
from syncron_lib.protocol.pack import PackKind, read_head
from syncron_lib.session.asking import Flight, batches, failure_of, length_of_path, reply_of
from syncron_lib.session.compression import Compression
from syncron_lib.session.delta import WHOLE, DeltaChoice, is_delta, tell, windows

T = TypeVar("T")

_ITEMS_A_REQUEST = 2000
_EXTRAS_A_REQUEST = 10_000
_PACKS_ASKED = 6
"""Packs asked for ahead: their megabytes fill a link of 100 ms at 500 Mbit/s."""
_SMALL = 2 << 20
"""Bytes of content that come in fewer packs than are asked for ahead."""
_FEW = 1000
"""Entries likewise."""
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
        any_times: bool = False,
        by_size: bool = False,
        keeps_source: bool = False,
    ) -> None:
        """``reuse``: the destination may have some of the content. ``any_times`` and ``by_size``:
        how the roots are compared in the end, as in `messages.Finish`. ``keeps_source``: the source
        is asked for more behind that."""
        self.keeps_source = keeps_source
        self._reuse = reuse
        self._source = source
        self._destination = destination
        self._selecting = Flight(source)
        self.storing = Flight(destination)
        self._on_failure = on_failure
        self._on_progress = on_progress
        self._compression = compression
        self._deltas = deltas
        self._again: list[bytes] = []
        """Paths whose content the destination could not find after all."""
        self._doubts = 0
        """What the heads of packs said that the destination has to speak of first."""
        self._source_finished: Future[Any] | None = None
        self._source_finish = messages.Finish((), True, not keeps_source, any_times, by_size)
        self._has_left = self._has_implied = False
        self.content = 0
        """Bytes of the files that were sent, before compression."""
        self.matched = 0
        """Of these, bytes that the destination had already."""
        self.published = self.moved = self.linked = self.adjusted = self.deleted = 0
        """Entries that the destination has said to be done: with their content, under another
        path, their attributes only, or gone."""

    def run(
        self,
        plan: Plan,
        begin: messages.Begin,
        before_deletes: Callable[[], None],
        *,
        staging: bool = True,
        source_is_far: bool = False,
        backup: messages.Backup | None = None,
        begun: Sequence[Arrived] | None = None,
        first: Callable[[Flight], None] | None = None,
    ) -> None:
        """Carry ``plan`` out, but for the end (`finish`), which awaits what this does not.
        ``begin``: how, but for what is written in place.

        ``before_deletes`` is called when all failures of the source are known; those of the
        destination may not be, unless ``plan.instead`` depends on them. ``staging``: the
        destination may have leftovers. ``source_is_far``: an exchange with the source takes long.
        ``backup``: what is replaced or deleted is kept so. ``begun``: what the destination has said
        that it has left, where it has been told to begin before. ``first``: sends what comes first
        of all then.
        """
        if backup is not None:
            self.storing.send(backup, messages.Done)
        arrived: list[Arrived] = [] if begun is None else [*begun]
        if begun is None:
            self.storing.send(
                begin._replace(in_place=self._deltas.in_place),
                messages.Leftovers,
                lambda leftovers: arrived.extend(leftovers.arrived),
            )
            if first is not None:
                first(self.storing)
            if staging:
                self.storing.settle()
        self._imply(plan)
        if plan.missing or (plan.implied and plan.makes_root):
            from syncron_lib.session.implied import makings

            for making in makings(plan):
                self.storing.send(making, messages.Stored, self._note)
        if plan.moves or plan.makes:
            self._move(plan)
        if plan.parents or plan.takes:
            self._take_from_alternates(plan)
        if plan.extends:
            self._extend(plan, coming=True)
        self._leave(plan)
        deltas = [change for change in plan.changes if self._is_delta(change)]
        if plan.bases:
            deltas.extend(self._based(plan))
        self._announce(plan, arrived, {change.path for change in deltas})
        if self._reuse and (plan.creates or plan.changes):
            deltas = self._offer(plan, deltas)
        if len(plan.creates) + len(plan.changes) > len(deltas):
            few = plan.created + len(plan.changes) <= _FEW and plan.size <= _SMALL
            self._stream(source_is_far and few and not deltas and not (plan.links or plan.extends))
        for window in windows(deltas):
            tell(self._source, self._destination, self._deltas, window)
            self._select([change.path for change in window])
            self._stream()
        if self._doubts:
            self.storing.settle()
        if self._again:
            self._send_again(plan)
            self.storing.settle()
        self._release(begin)
        if plan.links and self._link(plan):
            self._release(begin)
        self._adjust(plan)
        if plan.extends:
            self._extend(plan, coming=False)
        if plan.instead:
            # What could not be moved may go only where it has come by now.
            self.storing.settle()
        before_deletes()
        for some in batches([remove.path for remove in plan.removes], _ITEMS_A_REQUEST, len):
            self.storing.send(messages.Delete(some), messages.Stored, self._removed)

    def settle(self) -> None:
        """Await what `run` did not: all failures of the destination are known then."""
        self.storing.settle()

    def finish(self, plan: Plan, failed: Collection[bytes]) -> list[messages.Finished]:
        """Let both sides bring their trees up to date and let go of them; what source and
        destination say. ``failed``: paths that were not done, as far as is known; where the source
        is asked for more, the roots are compared without."""
        self._leave(plan)
        self._imply(plan)
        *before, last = [*batches([*plan.extras, *plan.left], _EXTRAS_A_REQUEST, len)] or [()]
        for some in before:
            self.storing.send(messages.LeaveOut(some), messages.Done)
        finish = self._source_finish._replace(complete=not failed)
        without = list(failed) if self.keeps_source else []
        for some in batches(without, _EXTRAS_A_REQUEST, len):
            self._selecting.send(messages.LeaveOut(some), messages.Done)
            self.storing.send(messages.LeaveOut(some), messages.Done)
        if self._source_finished is None:
            self._selecting.settle()
            self._source_finished = self._source.submit(finish)
        finished: list[messages.Finished] = []
        finish = finish._replace(extras=last, close=True)
        self.storing.send(finish, messages.Finished, finished.append)
        self.settle()
        return [reply_of(self._source_finished, messages.Finished), *finished]

    def _leave(self, plan: Plan) -> None:
        """Tell the source what is not wanted of it, once."""
        if not self._has_left:
            for some in batches(list(plan.left), _EXTRAS_A_REQUEST, len):
                self._selecting.send(messages.LeaveOut(some), messages.Done)
        self._has_left = True

    def _imply(self, plan: Plan) -> None:
        """Tell both sides of directories whose attributes do not count, once."""
        if self._has_implied or not (plan.implied or plan.missing):
            return
        from syncron_lib.session.implied import requests

        self._has_implied = True
        for request in requests(plan):
            self._selecting.send(request, messages.Done)
            self.storing.send(request, messages.Done)

    def _move(self, plan: Plan) -> None:
        from syncron_lib.session.moving import carry_out

        self.moved = carry_out(self._destination, plan, self._note)

    def _extend(self, plan: Plan, coming: bool) -> None:
        from syncron_lib.session.extending import order

        order(
            self._source,
            plan,
            coming,
            lambda request: self.storing.send(request, messages.Stored, self._note),
        )

    def _release(self, begin: messages.Begin) -> None:
        """What has come gets its names, where that was to wait for the rest."""
        if begin.delay:
            self.storing.send(messages.Release(), messages.Stored, self._named)

    def _link(self, plan: Plan) -> bool:
        """Make hard links; whether content had to come for some after all."""
        from syncron_lib.session.linking import requests

        for request in requests(plan):
            self.storing.send(request, messages.Stored, self._named)
        self.storing.settle()
        if not self._again:
            return False
        self._send_again(plan)
        return True

    def _take_from_alternates(self, plan: Plan) -> None:
        from syncron_lib.session.alternates import carry_out

        carry_out(self._destination, plan, self._linked)

    def _is_delta(self, change: Change) -> bool:
        choice = self._deltas
        return bool(choice.chunker and is_delta(change) and change.path not in choice.whole)

    def _based(self, plan: Plan) -> list[Change]:
        """New files that are put together from those of alternates."""
        from syncron_lib.session.alternates import take_bases

        bases = [each for each in plan.bases if self._deltas.chunker and is_delta(each.change)]
        take_bases(self._destination, bases)
        return [basis.change for basis in bases]

    def _linked(self, stored: messages.Stored) -> None:
        self._note(stored)
        self.linked += stored.entries

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
        replacing.update(link.path for link in plan.links if link.replaces)
        again, self._again = self._again, []
        _require_sent(plan, again)
        expected = [Expected(path, False, path in replacing) for path in again]
        for some in self._batches(expected):
            self.storing.send(messages.Expect(some), messages.Done)
        self._select(again, plain=True)
        self._stream()

    def _select(self, paths: Sequence[bytes], plain: bool = False) -> None:
        """Have these files sent too."""
        items = [Selected(path, False) for path in paths]
        for some in self._batches(items):
            self._selecting.send(messages.Select(some, (), plain), messages.Done)

    def _announce(self, plan: Plan, arrived: Sequence[Arrived], later: Set[bytes]) -> None:
        """Tell both sides what will move; entries that need no frame of their own first.
        ``later``: what is selected when more is known of it."""
        expected = []
        selected = []
        for create in plan.creates:
            tree = create.mode & 0o170000 == 0o040000
            expected.append(Expected(create.path, tree, create.replaces > 0))
            if create.path not in later:
                selected.append(Selected(create.path, tree))
        for change in plan.changes:
            expected.append(Expected(change.path, False, False))
            if change.path not in later:
                selected.append(Selected(change.path, False))
        for expect in self._batches(expected):
            self.storing.send(messages.Expect(expect), messages.Done)
        for select in self._batches(selected):
            self._selecting.send(messages.Select(select, arrived), messages.Done)
            arrived = ()
        if arrived:
            self._selecting.send(messages.Select((), arrived), messages.Done)

    def _batches(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        return batches(items, _ITEMS_A_REQUEST, length_of_path)

    def _stream(self, ends_soon: bool = False) -> None:
        """Packs from the source to the destination until the source has no more. ``ends_soon``:
        they should come with the first that are asked for, and the source may finish then."""
        asked: deque[Future[Any]] = deque()
        while True:
            while len(asked) < _PACKS_ASKED and self._source_finished is None:
                asked.append(self._source.submit(self._compression.next()))
            if ends_soon:
                self._source_finished = self._source.submit(self._source_finish)
                ends_soon = False
            if not asked:
                self._go_on()
                continue
            pack = reply_of(asked.popleft(), RawPack)
            head = read_head(pack.payload)
            if head.kind == PackKind.END:
                self._compression.ended()
                break
            self._compression.saw(head)
            self._doubts += head.doubts
            self.storing.send(pack, messages.Stored, self._stored, _PACKS_STORED)
            pack.done()
            self.content += head.content
            if head.kind == PackKind.DELTA:
                self.matched += head.content - head.literal
            self._on_progress(self.content)
        self._selecting.settle()
        if self._source_finished is not None and self._doubts:
            self._go_on()

    def _go_on(self) -> None:
        """The source may have more to send than was thought; so it has not let go of its root."""
        assert self._source_finished is not None
        if reply_of(self._source_finished, messages.Finished).closed:
            raise PeerViolation("The source finished before it had sent everything.")
        self._source_finished = None

    def _stored(self, stored: messages.Stored) -> None:
        self._compression.stored(stored.busy)
        self._named(stored)

    def _named(self, stored: messages.Stored) -> None:
        self._note(stored)
        self.published += stored.entries
        self._again.extend(stored.again)

    def _adjusted(self, stored: messages.Stored) -> None:
        self._note(stored)
        self.adjusted += stored.entries

    def _removed(self, stored: messages.Stored) -> None:
        self._note(stored)
        self.deleted += stored.entries

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
        for some in self._batches(items):
            self.storing.send(messages.Adjust(some), messages.Stored, self._adjusted)


def _require_sent(plan: Plan, again: Sequence[bytes]) -> None:
    """See that the destination asks again for nothing but what ``plan`` brings it."""
    brought = {create.path for create in plan.creates}
    brought.update(change.path for change in plan.changes)
    brought.update(link.path for link in plan.links)
    for path in again:
        above = path
        while above and above not in brought:
            above = split(above)[0]
        if not above:
            raise PeerViolation(
                f"The destination asked again for {shown(path)}, which was not sent to it."
            )
