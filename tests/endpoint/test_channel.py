"""Frames over a stream, and the memory that they come in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from syncron_lib.endpoint.channel import Channel
from syncron_lib.transport.pipes import SocketStream
from tests.trees import noise

KIND = 0x41


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(SocketStream(ours), "it", 0), Channel(SocketStream(theirs), "it", 0)
    yield sender, receiver
    sender.close()
    receiver.close()


def crossed(channels: tuple[Channel, Channel], content: bytes) -> bytearray:
    """The payload that arrives when ``content`` is sent."""
    sender, receiver = channels
    thread = threading.Thread(target=sender.send, args=(KIND, 1, (content,)))
    thread.start()
    frame = receiver.receive()
    thread.join()
    assert frame is not None
    return frame[1]


@pytest.mark.parametrize("size", [70_000, 200_000, 200_001, 300_000, 100])
def test_memory_that_was_given_back_holds_the_next_frame(channels, size):
    first = crossed(channels, noise(200_000))
    channels[1].give_back(first)
    content = noise(size)
    second = crossed(channels, content)
    assert second == content
    assert (second is first) == (size > 100)
    assert crossed(channels, noise(200_000, seed=2)) is not second


def test_memory_that_somebody_still_looks_at_is_left_alone(channels):
    content = noise(200_000)
    first = crossed(channels, content)
    with memoryview(first)[10:20] as part:
        channels[1].give_back(first)
        second = crossed(channels, noise(200_000, seed=2))
        assert second is not first
        assert part == content[10:20]


def test_no_more_memory_is_kept_than_is_sent_ahead(channels):
    given = [bytearray(100_000) for _ in range(40)]
    for payload in given:
        channels[1].give_back(payload)
    kept = {id(payload) for payload in given}
    held = [crossed(channels, noise(100_000)) for _ in range(40)]
    assert sum(id(payload) in kept for payload in held) == 12
