"""A socket that is read from in large parts."""

import socket

import pytest

from syncron_lib.transport.buffered import BufferedSocket


def test_every_byte_comes_once_and_in_order_whatever_is_asked_for() -> None:
    ours, theirs = socket.socketpair()
    sent = bytes(range(256)) * 40
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        stream = BufferedSocket(ours)
        sizes = iter([1, 15, 4, 5000, 3, 100_000] + [77] * 1000)
        got = bytearray()
        while part := stream.recv(next(sizes)):
            got += part
    assert got == sent


def test_what_is_buffered_needs_no_further_byte_from_the_kernel() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abcdef")
        stream = BufferedSocket(ours)
        stream.settimeout(0.01)
        assert [stream.recv(2), stream.recv(2), stream.recv(9)] == [b"ab", b"cd", b"ef"]
        with pytest.raises(TimeoutError):
            stream.recv(1)
