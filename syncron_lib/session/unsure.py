"""Files that only their digests tell apart: hashed on both sides at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.report import Failure
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import FRAME, IN_FLIGHT, failure_of, reply_of

_FILES_A_REQUEST = 500
_AHEAD = 2
"""Requests in flight while more files are looked for: what is asked of the same side for that
waits for their answers."""


class Unsure(NamedTuple):
    """Two files of one size that only their digests can tell apart."""

    path: bytes
    source: Attributes
    destination: Attributes
    size: int
    source_known: bytes
    destination_known: bytes


class _Open:
    """A file that is not decided yet. ``known``: what source and destination have; ``awaited``: how
    many of these are still to come."""

    __slots__ = ("awaited", "item", "known")

    def __init__(self, item: Unsure) -> None:
        self.item = item
        self.known = [item.source_known, item.destination_known]
        self.awaited = self.known.count(digest.UNKNOWN)


class Hashing:
    """Finds the digests that are not known, from the moment when it hears of the first. ``size``:
    bytes that were read for it; ``source_problems``: files of the source that could not be."""

    def __init__(
        self,
        source: Endpoint,
        destination: Endpoint,
        on_failure: Callable[[Failure], None],
        on_hashed: Callable[[int, int], None],
    ) -> None:
        """``on_hashed``: called with the bytes hashed so far and in all."""
        self._sides = (_Side(source, "source"), _Side(destination, "destination"))
        self._on_failure = on_failure
        self._on_hashed = on_hashed
        self.size = self.source_problems = 0
        self._open: dict[bytes, _Open] = {}
        """By path."""

    def add(self, item: Unsure) -> None:
        """Have this file's digests found."""
        self._open[item.path] = file = _Open(item)
        for side, value in zip(self._sides, file.known):
            if value == digest.UNKNOWN:
                side.add(item)

    def decided(self) -> Iterator[tuple[Unsure, bool]]:
        """Each of the added files that could be read on both sides, and whether it is the same."""
        total = sum(side.size for side in self._sides)
        runs = [(index, side.hashes()) for index, side in enumerate(self._sides)]
        # Each keeps its own requests in flight; drawing from both in turn keeps both machines
        # busy.
        while runs:
            for run in list(runs):
                index, hashes = run
                batch = next(hashes, None)
                if batch is None:
                    runs.remove(run)
                    continue
                paths, reply = batch
                self.size += reply.size
                self._on_hashed(self.size, total)
                if len(reply.digests) != len(paths) * digest.SIZE:
                    raise PeerViolation("The other side sent another number of digests.")
                for problem in reply.problems:
                    self._open.pop(problem.path, None)
                    self.source_problems += not index and not problem.vanished
                    self._on_failure(failure_of(problem, self._sides[index].name))
                yield from self._known(index, paths, reply.digests)

    def _known(
        self, index: int, paths: Sequence[bytes], digests: bytes
    ) -> Iterator[tuple[Unsure, bool]]:
        """Note what one side has at ``paths``; what is decided by it."""
        for row, path in enumerate(paths):
            file = self._open.get(path)
            if file is not None:
                file.known[index] = digests[row * digest.SIZE : (row + 1) * digest.SIZE]
                file.awaited -= 1
                if not file.awaited:
                    del self._open[path]
                    mine, theirs = file.known
                    yield file.item, mine == theirs != digest.UNKNOWN


class _Side:
    """One side's files to hash, in requests of bounded number and size, so that progress shows.
    ``size``: of all of them."""

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        self.name = name
        self.size = 0
        self._endpoint = endpoint
        self._batch: list[bytes] = []
        self._batch_size = self._names = 0
        self._batches: deque[list[bytes]] = deque()
        self._sent: deque[tuple[Sequence[bytes], Future[object]]] = deque()
        self._answered: deque[tuple[Sequence[bytes], Future[object]]] = deque()

    def add(self, item: Unsure) -> None:
        self._batch.append(item.path)
        self._batch_size += item.size
        self._names += len(item.path)
        self.size += item.size
        if (
            len(self._batch) >= _FILES_A_REQUEST
            or self._batch_size >= 64 << 20
            or self._names >= FRAME
        ):
            self._end_batch()
            self._send(_AHEAD)

    def hashes(self) -> Iterator[tuple[Sequence[bytes], messages.Hashed]]:
        """The answers, for the paths of each request."""
        if self._batch:
            self._end_batch()
        while True:
            self._send(IN_FLIGHT)
            if not self._answered:
                if not self._sent:
                    return
                self._answered.append(self._sent.popleft())
            paths, future = self._answered.popleft()
            yield paths, reply_of(future, messages.Hashed)

    def _end_batch(self) -> None:
        self._batches.append(self._batch)
        self._batch, self._batch_size, self._names = [], 0, 0

    def _send(self, most: int) -> None:
        """See that ``most`` requests are in flight, as far as there are so many."""
        while self._sent and self._sent[0][1].done():
            self._answered.append(self._sent.popleft())
        while self._batches and len(self._sent) < most:
            batch = self._batches.popleft()
            self._sent.append((batch, self._endpoint.submit(messages.Hash(batch))))
