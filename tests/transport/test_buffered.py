"""A socket that is read from in large parts."""

import socket
import threading

import pytest

from syncron_lib.transport.buffered import SIZE, BufferedSocket


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


def test_what_is_looked_at_stays_until_it_is_skipped() -> None:
    ours, theirs = socket.socketpair()
    sent = bytes(range(256)) * 8
    with ours, theirs:
        stream = BufferedSocket(ours)
        theirs.sendall(sent)
        assert bytes(stream.peek(3)) == bytes(stream.peek(3)) == sent[:3]
        stream.skip(2)
        assert bytes(stream.peek(1000)) == sent[2:1002]
        assert stream.recv(1) == sent[2:3]
        ours.settimeout(0.01)
        with pytest.raises(TimeoutError):
            stream.peek(len(sent))
        theirs.sendall(b"more")
        assert bytes(stream.peek(len(sent) - 3 + 4)) == sent[3:] + b"more"
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            stream.peek(len(sent) + 2)


def test_a_piece_is_in_one_part_wherever_it_lies_in_the_buffer() -> None:
    ours, theirs = socket.socketpair()
    size = SIZE // 3 + 1
    with ours, theirs:
        stream = BufferedSocket(ours)
        for number in range(7):
            piece = bytes([number]) * size
            sender = threading.Thread(target=theirs.sendall, args=(piece,))
            sender.start()
            assert stream.peek(size) == piece
            sender.join()
            stream.skip(size)
        assert len(stream) == 0
