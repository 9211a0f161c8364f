"""Files that only their digests tell apart: hashed on both sides at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Unsure(NamedTuple):
    """Two files of one size that only their digests can tell apart."""

    path: bytes
    source: Attributes
    destination: Attributes
    size: int
    source_known: bytes
    destination_known: bytes


class Hashing:
    """Finds the digests that are not known. ``size``: bytes that were read for it;
    ``source_problems``: files of the source that could not be."""

    def __init__(
        self,
        source: Endpoint,
        destination: Endpoint,
        on_failure: Callable[[Failure], None],
        on_hashed: Callable[[int, int], None],
    ) -> None:
        """``on_hashed``: called with the bytes hashed so far and in all."""
        self._source = source
        self._destination = destination
        self._on_failure = on_failure
        self._on_hashed = on_hashed
        self.size = self.source_problems = 0

    def decided(self, unsure: Sequence[Unsure]) -> Iterator[tuple[Unsure, bool]]:
        """Each of ``unsure`` that could be read on both sides, and whether it is the same."""
        sides = (
            (self._source, "source", [u for u in unsure if u.source_known == digest.UNKNOWN]),
            (
                self._destination,
                "destination",
                [u for u in unsure if u.destination_known == digest.UNKNOWN],
            ),
        )
        total = sum(u.size for _, _, files in sides for u in files)
        digests: dict[tuple[str, bytes], bytes] = {}
        failed: set[bytes] = set()
        runs = [self._hashes(endpoint, side, files) for endpoint, side, files in sides]
        # Each generator keeps its own requests in flight; drawing from both in turn keeps both
        # machines busy.
        while runs:
            for run in list(runs):
                batch = next(run, None)
                if batch is None:
                    runs.remove(run)
                    continue
                side, paths, reply = batch
                self.size += reply.size
                self._on_hashed(self.size, total)
                if len(reply.digests) != len(paths) * digest.SIZE:
                    raise PeerViolation("The other side sent another number of digests.")
                for index, path in enumerate(paths):
                    value = reply.digests[index * digest.SIZE : (index + 1) * digest.SIZE]
                    digests[side, path] = value
                for problem in reply.problems:
                    failed.add(problem.path)
                    self.source_problems += side == "source" and not problem.vanished
                    self._on_failure(failure_of(problem, side))
        for item in unsure:
            if item.path not in failed:
                mine = digests.get(("source", item.path), item.source_known)
                theirs = digests.get(("destination", item.path), item.destination_known)
                yield item, mine == theirs

    def _hashes(
        self, endpoint: Endpoint, side: str, files: Sequence[Unsure]
    ) -> Iterator[tuple[str, Sequence[bytes], messages.Hashed]]:
        batches = deque(_batches(files))
        waiting: deque[tuple[Sequence[bytes], Future[object]]] = deque()
        while batches or waiting:
            while batches and len(waiting) < IN_FLIGHT:
                batch = batches.popleft()
                waiting.append((batch, endpoint.submit(messages.Hash(batch))))
            paths, future = waiting.popleft()
            yield side, paths, reply_of(future, messages.Hashed)


def _batches(files: Iterable[Unsure]) -> Iterator[list[bytes]]:
    """Paths in requests of bounded number and size, so that progress shows."""
    batch: list[bytes] = []
    size = names = 0
    for file in files:
        batch.append(file.path)
        size += file.size
        names += len(file.path)
        if len(batch) >= _FILES_A_REQUEST or size >= 64 << 20 or names >= FRAME:
            yield batch
            batch, size, names = [], 0, 0
    if batch:
        yield batch
