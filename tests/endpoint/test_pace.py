"""A limited rate: exact over time, smooth, and no hindrance to ending."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from syncron_lib.endpoint.channel import Channel
from syncron_lib.endpoint.pace import Pace
from syncron_lib.errors import ConnectionLost
from syncron_lib.transport.pipes import SocketStream


@pytest.mark.parametrize("rate", [1, 512, 10_000, 1_500_000, 10**9])
@pytest.mark.parametrize("late", [0.0, 0.004])
def test_the_rate_is_exact_however_late_each_wait_ends(rate: int, late: float) -> None:
    pace, now, sent, largest = Pace(rate), 50.0, 0, 0
    while now < 60:
        wait = pace.wait(now)
        if wait > 0:
            now += wait + late
            continue
        count = pace.take(1 << 20, now)
        largest = max(largest, count)
        sent += count
    assert sent == pytest.approx(10 * rate, rel=0.02, abs=2)
    assert largest <= max(1, rate * 0.02)


def test_silence_gives_no_right_to_a_burst() -> None:
    pace, now, sent = Pace(1000), 0.0, 0
    pace.take(1, now)
    now = 100.0
    while pace.wait(now) <= 0:
        sent += pace.take(1 << 20, now)
    assert sent <= 120


def test_a_channel_is_heard_while_it_sends_slowly_and_ends_at_once() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(SocketStream(ours), "it", 1), Channel(SocketStream(theirs), "it", 1)
    sender.limit(2000)
    sender.start_pulse()
    receiver.start_pulse()
    failed: list[BaseException] = []

    def send() -> None:
        try:
            sender.send(0x41, 1, (bytes(1 << 20),))
        except ConnectionLost as error:
            failed.append(error)

    def receive(channel: Channel) -> None:
        with contextlib.suppress(ConnectionLost):
            channel.receive()

    threads = [
        threading.Thread(target=send),
        threading.Thread(target=receive, args=(sender,)),
        threading.Thread(target=receive, args=(receiver,)),
    ]
    for thread in threads:
        thread.start()
    # Longer than the time-out: a frame that takes long is no silence.
    time.sleep(2.2)
    assert all(thread.is_alive() for thread in threads)
    began = time.monotonic()
    sender.fail(ConnectionLost("over"))
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 0.5
    assert failed
    receiver.close()
    sender.close()
