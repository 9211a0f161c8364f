"""Asking an endpoint: replies of the expected kind, long requests in several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from syncron_lib.core.report import Cause, Failure
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.messages import Problem

T = TypeVar("T")


def reply_of(future: Future[Any], kind: type[T]) -> T:
    """The reply, which must be of ``kind``; raises what ended the conversation."""
    reply = future.result()
    if not isinstance(reply, kind):
        raise PeerViolation("The other side answered with something else than was asked for.")
    return reply


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in slices of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def failure_of(problem: Problem, side: str) -> Failure:
    """A problem of one side as the report knows it."""
    cause = Cause.VANISHED if problem.vanished and side == "source" else Cause.ERROR
    return Failure(problem.path, side, problem.what, cause)
