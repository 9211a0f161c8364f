"""Packets under AES-GCM, sealed by paramiko's own packetizer and by a real server."""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncron_lib.transport import paramiko_library
from syncron_lib.transport.buffered import SIZE, BufferedSocket
from syncron_lib.transport.packets import Packets
from syncron_lib.transport.ssh import run_command
from tests.trees import noise

paramiko = paramiko_library.load()

KEY, NONCE = bytes(16), bytes(range(12))


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.02)
    with ours, theirs:
        yield ours, theirs


def reader(sock: socket.socket) -> Packets:
    packets = Packets(BufferedSocket(sock))
    packets.set_inbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_in=NONCE)
    return packets


class Wire:
    """A socket for paramiko's packetizer; what is sent stays here."""

    def __init__(self) -> None:
        self.sent = bytearray()

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)


def sealed(*contents: bytes) -> bytearray:
    """Packets as paramiko sends them, each with a kind as its first byte."""
    wire = Wire()
    packets = paramiko.Packetizer(wire)
    packets.set_outbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_out=NONCE)
    for content in contents:
        packets.send_message(paramiko.Message(content))
    return wire.sent


def sender(wire: Wire) -> Any:
    packets: Any = Packets(wire)  # type: ignore[arg-type]
    packets.set_outbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_out=NONCE)
    return packets


def test_packets_that_follow_each_other_leave_together(sockets):
    ours, theirs = sockets
    wire = Wire()
    packets = sender(wire)
    contents = [b"\x50" + noise(100 + each) for each in range(11)]
    parts = []
    for content in contents:
        packets.follows(content is not contents[-1])
        before = len(wire.sent)
        packets.send_message(paramiko.Message(content))
        parts.append(len(wire.sent) - before)
    assert [bool(part) for part in parts] == [each in (3, 7, 10) for each in range(11)]
    theirs.sendall(wire.sent)
    arrived = reader(ours)
    for content in contents:
        assert arrived.read_message()[1].asbytes() == content[1:]


def test_what_another_thread_sends_waits_for_nobody(sockets):
    ours, theirs = sockets
    wire = Wire()
    packets = sender(wire)
    packets.follows(True)
    packets.send_message(paramiko.Message(b"\x50first"))
    assert not wire.sent
    other = threading.Thread(target=packets.send_message, args=(paramiko.Message(b"\x51second"),))
    other.start()
    other.join()
    theirs.sendall(wire.sent)
    arrived = reader(ours)
    assert [arrived.read_message()[0] for _ in range(2)] == [0x50, 0x51]


def data_of(content: bytes) -> bytes:
    """A message that carries channel data."""
    message = paramiko.Message()
    message.add_byte(bytes([94]))
    message.add_int(3)
    message.add_string(content)
    return bytes(message.asbytes())


def test_every_size_arrives_as_it_was(sockets):
    ours, theirs = sockets
    contents = [noise(size) for size in (1, 15, 16, 17, 32_768, 131_072, 200_000, 5)] * 3
    everything = sealed(*map(data_of, contents))
    sender = threading.Thread(target=theirs.sendall, args=(everything,))
    sender.start()
    packets = reader(ours)
    for content in contents:
        kind, message = packets.read_message()
        assert kind == 94
        assert message.get_int() == 3
        assert message.get_binary() == content
    sender.join()


def test_other_messages_come_without_their_padding(sockets):
    ours, theirs = sockets
    theirs.sendall(sealed(b"\x50abc", b"\x02"))
    packets = reader(ours)
    (kind, message), (other, empty) = packets.read_message(), packets.read_message()
    assert (kind, message.asbytes()) == (0x50, b"abc")
    assert (other, empty.asbytes()) == (2, b"")


def test_a_packet_that_comes_byte_by_byte_is_waited_for(sockets):
    ours, theirs = sockets
    everything = sealed(data_of(b"slow"))

    def trickle() -> None:
        for start in range(len(everything)):
            theirs.sendall(everything[start : start + 1])
            if start % 16 == 0:
                threading.Event().wait(0.03)  # longer than the socket's time-out

    sender = threading.Thread(target=trickle)
    sender.start()
    _, message = reader(ours).read_message()
    message.get_int()
    assert message.get_binary() == b"slow"
    sender.join()


@pytest.mark.parametrize("where", [3, 4, 20, -17, -1])
def test_a_packet_that_was_changed_is_refused(sockets, where):
    ours, theirs = sockets
    packet = sealed(data_of(b"x" * 100))
    packet[where] ^= 4  # of the length: to a longer one, which is there
    theirs.sendall(packet + bytes(8))
    with pytest.raises(paramiko.SSHException):
        reader(ours).read_message()


@pytest.mark.parametrize("length", [0, 15, SIZE, 0xFFFFFFFF])
def test_an_absurd_length_is_refused_before_anything_is_waited_for(sockets, length):
    ours, theirs = sockets
    theirs.sendall(length.to_bytes(4, "big"))
    with pytest.raises(paramiko.SSHException, match="length"):
        reader(ours).read_message()


def test_an_end_within_a_packet_is_an_end(sockets):
    ours, theirs = sockets
    theirs.sendall(sealed(data_of(b"cut"))[:-1])
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        reader(ours).read_message()


def test_closing_ends_the_wait(sockets):
    ours, _ = sockets
    packets = reader(ours)
    threading.Timer(0.05, packets.close).start()
    with pytest.raises(EOFError):
        packets.read_message()


def test_keys_are_renewed_on_the_way(sshd, options, monkeypatch, tmp_path):
    agreed = []
    set_cipher = Packets.set_inbound_cipher

    def noted(packets: Packets, *others: Any, **named: Any) -> None:
        agreed.append(named["aead"])
        set_cipher(packets, *others, **named)

    monkeypatch.setattr(Packets, "set_inbound_cipher", noted)
    monkeypatch.setattr(Packets, "REKEY_BYTES", 1 << 20)
    content = noise(6 << 20)
    (tmp_path / "content").write_bytes(content)
    command = f"cat {shlex.quote(str(tmp_path / 'content'))}"
    stream = run_command("target", None, None, lambda: command, options(sshd.config))
    received = bytearray()
    view = memoryview(bytearray(1 << 20))
    while size := stream.receive_into(view):
        received += view[:size]
    stream.close()
    assert received == content
    assert len(agreed) > 3
    assert all(agreed)
