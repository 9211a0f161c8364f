"""Streams over descriptors and sockets: bytes arrive whole, and no wait outlives an abort."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from syncron_lib.errors import ConnectionLost
from syncron_lib.transport.pipes import FdStream, SocketStream, reap
from syncron_lib.transport.stream import ByteStream

Pair = tuple[ByteStream, ByteStream]


def _fd_pair() -> Pair:
    a_read, b_write = os.pipe()
    b_read, a_write = os.pipe()
    return FdStream(a_read, a_write), FdStream(b_read, b_write)


def _one_fd_pair() -> Pair:
    a, b = socket.socketpair()
    return _both_ways(a.detach()), _both_ways(b.detach())


def _both_ways(fd: int) -> FdStream:
    return FdStream(fd, fd)


def _socket_pair() -> Pair:
    a, b = socket.socketpair()
    return SocketStream(a), SocketStream(b)


@pytest.fixture(params=[_fd_pair, _one_fd_pair, _socket_pair])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    make: Callable[[], Pair] = request.param
    ends = make()
    yield ends
    for end in ends:
        end.close()


def receive_exactly(stream: ByteStream, size: int) -> bytes:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        received = stream.receive_into(view)
        if not received:
            break
        view = view[received:]
    return bytes(buffer[: size - len(view)])


def test_megabytes_arrive_whole_both_ways_at_once(pair):
    a, b = pair
    data = os.urandom(1 << 20) * 5 + b"end"
    results: dict[str, bytes] = {}
    threads = [
        threading.Thread(target=a.send, args=(memoryview(data),)),
        threading.Thread(target=b.send, args=(data[::-1],)),
        threading.Thread(target=lambda: results.update(b=receive_exactly(b, len(data)))),
        threading.Thread(target=lambda: results.update(a=receive_exactly(a, len(data)))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results["b"] == data
    assert results["a"] == data[::-1]


def test_receives_what_is_there_and_then_the_end(pair):
    a, b = pair
    a.send(b"abc")
    buffer = bytearray(10)
    assert b.receive_into(memoryview(buffer)) == 3
    assert buffer[:3] == b"abc"
    a.close()
    assert b.receive_into(memoryview(buffer)) == 0


def _blocked(action: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """A thread that runs ``action`` and is known to wait in it."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    return thread, raised


@pytest.mark.parametrize("which", ["receive", "send"])
def test_abort_wakes_a_blocked_thread(pair, which):
    a, _b = pair
    if which == "receive":
        thread, raised = _blocked(lambda: a.receive_into(memoryview(bytearray(10))))
    else:
        thread, raised = _blocked(lambda: a.send(bytes(64 << 20)))
    started = time.monotonic()
    a.abort()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - started < 2
    assert isinstance(raised[0], ConnectionLost)


def test_after_abort_everything_fails_at_once(pair):
    a, _b = pair
    a.abort()
    a.abort()
    with pytest.raises(ConnectionLost):
        a.receive_into(memoryview(bytearray(1)))
    with pytest.raises(ConnectionLost):
        a.send(b"x" * 100)


def test_sending_to_an_end_that_is_gone_is_a_lost_connection(pair):
    a, b = pair
    b.close()
    with pytest.raises(ConnectionLost):
        for _ in range(100):
            a.send(bytes(1 << 16))


def test_descriptors_are_blocking_again_after_close():
    read_fd, far_write = os.pipe()
    far_read, write_fd = os.pipe()
    kept = os.dup(read_fd), os.dup(write_fd)
    stream = FdStream(read_fd, write_fd)
    assert not os.get_blocking(kept[0])
    stream.close()
    stream.close()
    assert all(os.get_blocking(fd) for fd in kept)
    for fd in (*kept, far_write, far_read):
        os.close(fd)


def test_close_waits_for_the_child():
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        theirs.recv(1)
        os._exit(0)
    theirs.close()
    SocketStream(ours, child).close()
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


def test_a_child_that_does_not_end_is_killed():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    status = reap(child, 0.1)
    assert status is not None
    assert os.WTERMSIG(status) == 9
