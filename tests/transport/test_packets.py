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
from syncron_lib.transport.packets import Burst, Connection, Packets
from syncron_lib.transport.ssh import run_command
from syncron_lib.transport.stream import Buffer
from tests.trees import noise

paramiko = paramiko_library.load()

KEY, NONCE = bytes(16), bytes(range(12))
CIPHER = AESGCM(KEY)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.02)
    with ours, theirs:
        yield ours, theirs


def reader(sock: socket.socket, cipher: Any = CIPHER) -> Packets:
    packets = Packets(BufferedSocket(sock))
    packets.set_inbound_cipher(cipher, 16, None, 16, None, aead=True, iv_in=NONCE)
    return packets


class Wire:
    """A socket for paramiko's packetizer; what is sent stays here."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.calls = 0

    def send(self, data: bytes) -> int:
        self.calls += 1
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


def sender(wire: Wire, cipher: Any = CIPHER) -> Any:
    packets: Any = Packets(wire)  # type: ignore[arg-type]
    packets.set_outbound_cipher(cipher, 16, None, 16, None, aead=True, iv_out=NONCE)
    return packets


class OlderCipher:
    """AESGCM as ``cryptography`` had it before it could write into memory that is there."""

    def __init__(self) -> None:
        whole = AESGCM(KEY)
        self.encrypt, self.decrypt = whole.encrypt, whole.decrypt


def opened(wire: Wire) -> list[tuple[int, int, bytes]]:
    """What paramiko's own packetizer makes of what was sent: (kind, channel, content)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writing = threading.Thread(target=theirs.sendall, args=(wire.sent,))
        writing.start()
        packets = paramiko.Packetizer(ours)
        packets.set_inbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_in=NONCE)
        found = []
        left = len(wire.sent)
        while left:
            length = int.from_bytes(ours.recv(4, socket.MSG_PEEK), "big")
            kind, message = packets.read_message()
            found.append((kind, message.get_int(), message.get_binary()))
            left -= 4 + length + 16
        writing.join()
        return found


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 7_003])
@pytest.mark.parametrize("cipher", [CIPHER, OlderCipher()], ids=["now", "older"])
def test_a_burst_leaves_together_as_the_packets_of_a_channel(size, cipher):
    wire = Wire()
    packets = sender(wire, cipher)
    content = noise(size)
    for channel in (3, 4):  # the second in the memory of the first
        packets.send_message(Burst(channel, memoryview(content), 1000))
    assert wire.calls == 2
    expected = [content[start : start + 1000] for start in range(0, size, 1000)]
    assert opened(wire) == [(94, channel, part) for channel in (3, 4) for part in expected]


def test_a_burst_before_there_are_keys_is_messages_of_paramiko():
    content = noise(2500)
    plain, expected = Wire(), Wire()
    packets: Any = Packets(plain)  # type: ignore[arg-type]
    packets.send_message(Burst(3, memoryview(content), 1000))
    theirs = paramiko.Packetizer(expected)
    for start in (0, 1000, 2000):
        theirs.send_message(paramiko.Message(data_of(content[start : start + 1000])))
    assert plain.sent == expected.sent


def test_messages_and_bursts_of_several_threads_stay_whole():
    wire = Wire()
    packets = sender(wire)

    def send(channel: int) -> None:
        for _ in range(50):
            packets.send_message(Burst(channel, memoryview(bytes([channel]) * 2500), 1000))
            packets.send_message(paramiko.Message(data_of(b"between", channel)))

    threads = [threading.Thread(target=send, args=(channel,)) for channel in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = opened(wire)
    assert len(found) == 3 * 50 * 4
    for channel in (1, 2, 3):
        parts = [content for _, number, content in found if number == channel]
        assert parts == 50 * [*(bytes([channel]) * size for size in (1000, 1000, 500)), b"between"]


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_no_other_kind_of_cipher_follows(direction):
    packets: Any = Packets(Wire())  # type: ignore[arg-type]
    set_cipher = getattr(packets, f"set_{direction}_cipher")
    nonce = {"iv_in" if direction == "inbound" else "iv_out": NONCE}
    set_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, **nonce)
    with pytest.raises(paramiko.SSHException, match="weaker"):
        set_cipher(None, 16, None, 16, None)


def sent_later(theirs: socket.socket, *contents: bytes) -> None:
    threading.Thread(target=theirs.sendall, args=(sealed(*contents),), daemon=True).start()


@pytest.mark.parametrize("cipher", [CIPHER, OlderCipher()], ids=["now", "older"])
def test_data_is_fed_to_who_takes_it(sockets, cipher):
    ours, theirs = sockets
    packets = reader(ours, cipher)
    fed: list[bytes] = []

    def feed(data: Buffer) -> None:
        fed.append(bytes(data))
        packets.take_back(data)

    packets.attach(3, feed)
    contents = [noise(size) for size in (20_000, 5, 131_072, 200_000, 30_000)]
    messages = [data_of(content) for content in contents]
    sent_later(theirs, *messages, data_of(b"for nobody", 4), b"\x50other")
    kind, message = packets.read_message()
    assert (kind, message.get_int(), message.get_binary()) == (94, 4, b"for nobody")
    assert packets.read_message()[0] == 0x50
    assert fed == contents


def test_memory_is_used_again_only_when_it_was_given_back(sockets):
    ours, theirs = sockets
    packets = reader(ours)
    fed: list[Any] = []
    packets.attach(3, fed.append)
    contents = [noise(10_000 + each) for each in range(100)]
    sent_later(theirs, *map(data_of, contents), b"\x50end")
    packets.read_message()
    assert [bytes(data) for data in fed] == contents
    kept = {id(data.obj) for data in fed if isinstance(data.obj, bytearray)}
    assert 0 < len(kept) < 100  # the rest is new memory, so that a slow reader costs no more
    for data in fed:
        packets.take_back(data)
    again = reader(ours)
    again._spare = packets._spare
    again.attach(3, fed.append)
    sent_later(theirs, data_of(contents[0]), b"\x50end")
    again.read_message()
    assert bytes(fed[-1]) == contents[0]
    assert id(fed[-1].obj) in kept


def test_data_that_is_shorter_than_it_says_is_refused(sockets):
    ours, theirs = sockets
    packets = reader(ours)
    packets.attach(3, lambda _: None)
    lie = bytearray(data_of(b"x" * 100))
    lie[8] += 20  # the last byte of its length
    theirs.sendall(sealed(bytes(lie)))
    with pytest.raises(paramiko.SSHException, match="longer"):
        packets.read_message()


def data_of(content: bytes, channel: int = 3) -> bytes:
    """A message that carries channel data."""
    message = paramiko.Message()
    message.add_byte(bytes([94]))
    message.add_int(channel)
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
    agreed: list[str] = []

    def noting(method: str) -> Any:
        set_cipher = getattr(Packets, method)

        def noted(packets: Packets, *others: Any, **named: Any) -> None:
            assert named["aead"]
            agreed.append(method)
            set_cipher(packets, *others, **named)

        return noted

    for method in ("set_inbound_cipher", "set_outbound_cipher"):
        monkeypatch.setattr(Packets, method, noting(method))
    monkeypatch.setattr(Packets, "REKEY_BYTES", 1 << 20)
    content = noise(6 << 20)
    there = tmp_path / "content"
    place = shlex.quote(str(there))
    command = f"head -c {len(content)} > {place}; cat {place}"
    stream = run_command("target", None, None, lambda: command, options(sshd.config))
    stream.send(content)
    sent = agreed.count("set_outbound_cipher")
    received = bytearray()
    view = memoryview(bytearray(1 << 20))
    while size := stream.receive_into(view):
        received += view[:size]
    stream.close()
    assert there.read_bytes() == content
    assert received == content
    assert sent > 2
    assert agreed.count("set_inbound_cipher") > sent


def test_who_reads_does_not_wait_for_the_keys_that_it_brings_about(sockets):
    class Closing(Connection):
        """Answers the end of a channel while keys are agreed on, as paramiko's thread does."""

        def run(self) -> None:
            self._send_user_message(paramiko.Message(b"\x61"))
            ended.set()

    ended = threading.Event()
    buffered: Any = BufferedSocket(sockets[0])
    closing: Any = Closing(buffered, packetizer_class=Packets)
    closing.active = True
    closing.clear_to_send_timeout = 1.0
    closing.start()
    assert ended.wait(0.5)
