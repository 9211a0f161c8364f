"""Asking an endpoint: replies of the expected kind, long requests in several."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from syncron_lib.core.report import Cause, Failure
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Problem

T = TypeVar("T")

IN_FLIGHT = 8
"""Requests in flight to one side: hides the round trip, and fewer than a helper queues."""
IN_A_FLIGHT = 24
"""Requests on their way while none of them needs the reply to another: all of a small run's."""
FRAME = 2 << 20
"""Bytes of paths in one request; with one more path of 1 MiB it is still far below a frame."""


def reply_of(future: Future[Any], kind: type[T]) -> T:
    """The reply, which must be of ``kind``; raises what ended the conversation."""
    reply = future.result()
    if not isinstance(reply, kind):
        raise PeerViolation("The other side answered with something else than was asked for.")
    return reply


def ignore_files(source: Endpoint) -> Iterator[messages.IgnoreFiles]:
    """The source's ignore files, in as many parts as they come in. There is no end to what a peer
    can make up: whoever keeps them bounds them."""
    known = 0
    while True:
        part = reply_of(source.submit(messages.GetIgnoreFiles(known)), messages.IgnoreFiles)
        if part.more and not part.files:
            raise PeerViolation("The source announced ignore files and sent none.")
        known += len(part.files)
        yield part
        if not part.more:
            return


def batches(
    items: Sequence[T], count: int, size_of: Callable[[T], int], size: int = FRAME
) -> Iterator[Sequence[T]]:
    """``items`` in slices of at most ``count``, and of ``size`` bytes by ``size_of`` or little
    more: whatever their paths, a slice fits into a frame."""
    start = total = 0
    for index, item in enumerate(items):
        total += size_of(item)
        if index + 1 - start == count or total >= size:
            yield items[start : index + 1]
            start, total = index + 1, 0
    if start < len(items):
        yield items[start:]


def length_of_path(item: Any) -> int:
    """Size of what stands for an entry: all but its path is small."""
    return len(item.path)


def replies(endpoint: Endpoint, requests: Iterable[Any], kind: type[T]) -> Iterator[T]:
    """The replies to ``requests``, a few of which are in flight at any time."""
    following = iter(requests)
    first = itertools.islice(following, IN_FLIGHT)
    return _replies(endpoint, deque(map(endpoint.submit, first)), following, kind)


def _replies(
    endpoint: Endpoint, waiting: deque[Future[Any]], following: Iterator[Any], kind: type[T]
) -> Iterator[T]:
    while waiting:
        yield reply_of(waiting.popleft(), kind)
        for request in itertools.islice(following, 1):
            waiting.append(endpoint.submit(request))


class Flight:
    """Requests to one endpoint that are sent without waiting for the replies to those before.

    What must not be sent before something is known waits for it by `settle`.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._waiting: deque[tuple[Future[Any], type, Callable[[Any], None]]] = deque()

    def send(
        self,
        request: Any,
        kind: type[T],
        then: Callable[[T], None] = lambda _: None,
        most: int = IN_A_FLIGHT,
    ) -> None:
        """Send ``request``; ``then`` takes its reply, in a later call. Waits only while there are
        ``most`` requests without one."""
        while self._waiting and (len(self._waiting) >= most or self._waiting[0][0].done()):
            self._take()
        self._waiting.append((self._endpoint.submit(request), kind, then))

    def settle(self) -> None:
        """Await all replies; raises what ended the conversation."""
        while self._waiting:
            self._take()

    def _take(self) -> None:
        future, kind, then = self._waiting.popleft()
        then(reply_of(future, kind))


def failure_of(problem: Problem, side: str) -> Failure:
    """A problem of one side as the report knows it."""
    cause = Cause.VANISHED if problem.vanished and side == "source" else Cause.ERROR
    return Failure(problem.path, side, problem.what, cause)
