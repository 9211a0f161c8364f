"""What has arrived through SSH and was not read yet."""

import threading
import time

from syncron_lib.transport.sshstream import _BATCH, _LARGE, _Inbox


def test_a_small_read_is_answered_by_the_first_byte() -> None:
    inbox = _Inbox()
    threading.Timer(0.02, inbox.feed, [b"x"]).start()
    assert inbox.read(_LARGE - 1) == b"x"


def test_a_large_read_waits_for_many_packets_but_not_for_ever() -> None:
    inbox = _Inbox()
    threading.Timer(0.01, inbox.feed, [b"a" * 10]).start()
    threading.Timer(0.02, inbox.feed, [b"b" * 10]).start()
    began = time.monotonic()
    assert bytes(inbox.read(_BATCH)) == b"a" * 10
    assert time.monotonic() - began < 5
    assert bytes(inbox.read(_BATCH)) == b"b" * 10


def test_the_end_wakes_a_large_read_with_what_there_is() -> None:
    inbox = _Inbox()
    threading.Timer(0.01, inbox.feed, [b"last"]).start()
    threading.Timer(0.02, inbox.close).start()
    assert bytes(inbox.read(_BATCH)) == b"last"
    assert bytes(inbox.read(_BATCH)) == b""


def test_an_empty_packet_is_not_the_end() -> None:
    inbox = _Inbox()
    inbox.feed(b"")
    inbox.feed(b"more")
    assert bytes(inbox.read(10)) == b"more"


def test_parts_of_a_packet_are_not_mixed_up() -> None:
    inbox = _Inbox()
    inbox.feed(b"0123456789")
    inbox.feed(b"abc")
    parts = [bytes(inbox.read(4)) for _ in range(4)]
    assert parts == [b"0123", b"4567", b"89", b"abc"]
    assert len(inbox) == 0
    assert not inbox.read_ready()
