"""Asking: slices that fit into frames, few in flight."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import Any

import pytest

from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.frames import MAX_PAYLOAD
from syncron_lib.protocol.wire import encode
from syncron_lib.session.asking import IN_FLIGHT, batches, replies


def test_slices_are_bounded_by_count_and_by_size() -> None:
    items = [b"x" * n for n in (1, 1, 1, 1, 50, 1, 200, 1)]
    found = [list(each) for each in batches(items, 3, len, 100)]
    assert [item for each in found for item in each] == items
    assert [len(each) for each in found] == [3, 3, 1, 1]
    assert list(batches([], 3, len)) == []


def test_a_slice_of_the_longest_paths_fits_into_a_frame() -> None:
    paths = [b"x" * (1 << 20)] * 20
    for each in batches(paths, 2000, len):
        assert len(encode(messages.Delete(each))[1]) <= MAX_PAYLOAD


class _Slow:
    """An end that answers when it is made to, and counts what it owes."""

    def __init__(self) -> None:
        self.owed: deque[Future[Any]] = deque()
        self.most = 0

    def submit(self, _request: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.owed.append(future)
        self.most = max(self.most, len(self.owed))
        return future


def test_no_more_requests_are_in_flight_than_a_helper_queues() -> None:
    end = _Slow()
    drawn = replies(end, range(100), messages.Done)  # type: ignore[arg-type]
    assert len(end.owed) == IN_FLIGHT  # asked for before anything is awaited
    for _ in range(100):
        end.owed.popleft().set_result(messages.Done())
        assert next(drawn) == messages.Done()
    assert next(drawn, None) is None
    assert end.most == IN_FLIGHT == 8


def test_another_kind_of_reply_is_refused() -> None:
    end = _Slow()
    drawn = replies(end, [1], messages.Done)  # type: ignore[arg-type]
    end.owed.popleft().set_result(messages.Scan())
    with pytest.raises(PeerViolation):
        next(drawn)
