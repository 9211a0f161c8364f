"""SSH packets under AES-GCM, with few copies of each.

paramiko copies what it receives seven times on its way from the socket to a channel, and what it
sends six times the other way, which takes as long as the encryption. This stands in for its
`Packetizer`, by the parameter that it has for that. To be imported after `paramiko_library.load`.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.exceptions import InvalidTag
from paramiko.message import Message
from paramiko.packet import NeedRekeyException, Packetizer
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from syncron_lib.transport.buffered import SIZE, BufferedSocket
from syncron_lib.transport.stream import Buffer

Feed = Callable[[Buffer], None]

_TAG = 16
_LENGTH = 4
_BLOCK = 16
_CHANNEL_DATA = 94
_DATA = struct.Struct(">BBII")
"""What stands before a channel's data: length of the padding, kind, channel, length."""
_LARGEST = SIZE - _LENGTH - _TAG
_LARGE = 1 << 13
"""Bytes from which on a packet is decrypted into memory that is used again: a new buffer costs the
clearing of it."""
_ROOM = (1 << 17) + 256
"""Bytes of such memory: the largest packet that we let a server send, and what is around it."""
_ROOMS = 64
"""Of these, at most. What the server may send ahead beyond that is decrypted into new memory."""


class Connection(Transport):
    """paramiko's, which cannot wait for itself."""

    def _send_user_message(self, data: Any) -> None:
        # Where the server closes a channel while keys are agreed on, the thread that reads would
        # answer it, and wait half a minute for the keys that only it can bring about. The answer
        # says that we close it too, as the end of the connection will.
        if threading.current_thread() is not self or self.clear_to_send.is_set():
            super()._send_user_message(data)  # type: ignore[misc]


class Burst:
    """Content for a channel, given to `Transport` as if it were one message.

    Its packets leave together: the server is woken by each that leaves alone, and takes the
    processor from whoever makes the next."""

    def __init__(self, channel: int, content: memoryview, most: int) -> None:
        """``channel``: its number at the server. ``most``: bytes of content in a packet."""
        self.channel = channel
        self.content = content
        self.most = most

    def parts(self) -> Iterator[memoryview]:
        """The content of each packet."""
        for start in range(0, len(self.content), self.most):
            yield self.content[start : start + self.most]

    def messages(self) -> Iterator[Message]:
        """The same as paramiko knows it."""
        for part in self.parts():
            message = Message()
            message.add_byte(bytes((_CHANNEL_DATA,)))
            message.add_int(self.channel)
            message.add_string(part)
            yield message


class Packets(Packetizer):
    """The packets of one connection. Everything but AES-GCM is paramiko's."""

    def __init__(self, socket: BufferedSocket) -> None:
        super().__init__(socket)  # type: ignore[arg-type]
        self._source = socket
        self._cipher: Any = None
        """`AESGCM` for what is received, once the keys are agreed on."""
        self._nonce = b""
        self._sequence = 0
        self._packets = self._bytes = 0
        """Received since the keys were agreed on."""
        self._packets_asked = self._bytes_asked = 0
        """What they were when new keys were asked for."""
        self._feeds: dict[int, Feed] = {}
        """Who takes the data of a channel, by our number for it."""
        self._spare: deque[bytearray] = deque()
        self._rooms = 0
        self._sending = threading.Lock()
        self._sealer: Any = None
        """`AESGCM` for what is sent, once the keys are agreed on."""
        self._fixed, self._counter = b"", 0
        """The parts of the next nonce."""
        self._packets_sent = self._bytes_sent = 0
        self._plain = self._sealed = memoryview(b"")
        """Where bursts are put together and sealed."""

    def attach(self, channel: int, feed: Feed) -> None:
        """Have the data of ``channel`` (our number) fed without paramiko between. What `feed` is
        given as a memoryview is used again once it was given to `take_back`."""
        self._feeds[channel] = feed

    def take_back(self, data: Buffer) -> None:
        """Nobody looks any more at what was fed."""
        if isinstance(data, memoryview) and isinstance(data.obj, bytearray):
            self._spare.append(data.obj)

    def set_outbound_cipher(self, block_engine: Any, *others: Any, **named: Any) -> None:
        super().set_outbound_cipher(block_engine, *others, **named)
        authenticated = named.get("aead", False)
        if self._sealer is not None and not authenticated:
            # paramiko's own count of packets, which other ciphers need, was left behind.
            raise SSHException("The server changed to a weaker cipher.")
        if authenticated:
            nonce = named["iv_out"]
            self._sealer = block_engine
            self._fixed, self._counter = nonce[:4], int.from_bytes(nonce[4:], "big")
        self._packets_sent = self._bytes_sent = 0

    def set_outbound_compressor(self, compressor: Any) -> None:
        raise SSHException("Compression was not offered.")

    def send_message(self, data: Any) -> None:
        with self._sending:
            if isinstance(data, Burst):
                if self._sealer is not None:
                    self._send_burst(data)
                else:
                    for message in data.messages():
                        super().send_message(message)
            elif self._sealer is not None:
                payload = data.asbytes()
                padding = _padding(1 + len(payload))
                plain = b"".join((bytes((padding,)), payload, os.urandom(padding)))
                sealed = memoryview(bytearray(_LENGTH + len(plain) + _TAG))
                self._seal(memoryview(plain), sealed)
                self.write_all(sealed)
            else:
                super().send_message(data)

    def _send_burst(self, burst: Burst) -> None:
        room = _DATA.size + burst.most + 2 * _BLOCK
        if len(self._plain) < room:
            self._plain = memoryview(bytearray(room))
        count = -(-len(burst.content) // burst.most)
        if len(self._sealed) < count * (_LENGTH + room + _TAG):
            self._sealed = memoryview(bytearray(count * (_LENGTH + room + _TAG)))
        plain, sealed, position = self._plain, self._sealed, 0
        for part in burst.parts():
            size = len(part)
            used = _DATA.size + size
            padding = _padding(used)
            _DATA.pack_into(plain, 0, padding, _CHANNEL_DATA, burst.channel, size)
            plain[_DATA.size : used] = part
            plain[used : used + padding] = os.urandom(padding)
            position += self._seal(plain[: used + padding], sealed[position:])
        self.write_all(sealed[:position])

    def _seal(self, plain: memoryview, room: memoryview) -> int:
        """Put a packet into ``room``; its bytes. In the clear: how long it is."""
        length = len(plain)
        end = _LENGTH + length + _TAG
        room[:_LENGTH] = length.to_bytes(_LENGTH, "big")
        nonce = self._fixed + self._counter.to_bytes(8, "big")
        self._counter = (self._counter + 1) & 0xFFFFFFFFFFFFFFFF
        _encrypt(self._sealer, nonce, plain, room[:_LENGTH], room[_LENGTH:end])
        self._packets_sent += 1
        self._bytes_sent += end
        if not self.need_rekey() and (
            self._packets_sent >= self.REKEY_PACKETS or self._bytes_sent >= self.REKEY_BYTES
        ):
            self._trigger_rekey()
        return end

    def set_inbound_cipher(self, block_engine: Any, *others: Any, **named: Any) -> None:
        super().set_inbound_cipher(block_engine, *others, **named)
        authenticated = named.get("aead", False)
        if self._cipher is not None and not authenticated:
            # paramiko's own count of packets, which other ciphers need, was left behind.
            raise SSHException("The server changed to a weaker cipher.")
        if authenticated:
            self._cipher, self._nonce = block_engine, named["iv_in"]
        self._packets = self._bytes = self._packets_asked = self._bytes_asked = 0

    def set_inbound_compressor(self, compressor: Any) -> None:
        raise SSHException("Compression was not offered.")

    def reset_seqno_in(self) -> None:
        super().reset_seqno_in()
        self._sequence = 0

    def read_message(self) -> tuple[int, Message]:
        if self._cipher is None:
            self._sequence += 1
            return super().read_message()
        while True:
            packet = self._next()
            size = len(packet)
            plain = self._decrypted(packet)
            self._source.skip(size)
            counter = int.from_bytes(self._nonce[4:], "big") + 1
            self._nonce = self._nonce[:4] + (counter & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
            self._count(size)
            number, self._sequence = self._sequence, (self._sequence + 1) & 0xFFFFFFFF
            # Its parts: length of the padding, kind, content, padding.
            end = len(plain) - plain[0]
            if end < 2:
                raise SSHException("A packet has more padding than content.")
            kind = plain[1]
            if kind != _CHANNEL_DATA or not self._fed(plain, end):
                message = Message(bytes(plain[2:end]))
                message.seqno = number
                self.take_back(plain)
                return kind, message
            if self.need_rekey():
                raise NeedRekeyException

    def _decrypted(self, packet: memoryview) -> Buffer:
        head, sealed = packet[:_LENGTH], packet[_LENGTH:]
        room = self._room(len(sealed) - _TAG)
        try:
            if room is None:
                plain: bytes = self._cipher.decrypt(self._nonce, sealed, head)
                return plain
            _decrypt(self._cipher, self._nonce, sealed, head, room)
            return room
        except InvalidTag:
            raise SSHException("A packet was damaged or forged on its way.") from None

    def _room(self, size: int) -> memoryview | None:
        """Memory for a packet; None where new memory will do."""
        if not _LARGE <= size <= _ROOM:
            return None
        try:
            # The last that came back: the processor still has it at hand.
            return memoryview(self._spare.pop())[:size]
        except IndexError:
            if self._rooms == _ROOMS:
                return None
            self._rooms += 1
            return memoryview(bytearray(_ROOM))[:size]

    def _fed(self, plain: Buffer, end: int) -> bool:
        """Give a channel its data, if somebody takes it."""
        if end < _DATA.size:
            return False
        _, _, channel, size = _DATA.unpack_from(plain)
        feed = self._feeds.get(channel)
        if feed is None:
            return False
        if size > end - _DATA.size:
            raise SSHException("A packet says that it is longer than it is.")
        feed(memoryview(plain)[_DATA.size : _DATA.size + size])
        return True

    def _next(self) -> memoryview:
        """The next packet as it came."""
        while True:
            if self.handshake_timed_out():
                raise EOFError
            try:
                length = int.from_bytes(self._source.peek(_LENGTH), "big")
                # Not authenticated yet, so not to be waited for whatever it says.
                if not 16 <= length <= _LARGEST:
                    raise SSHException("The length of a packet is damaged.")
                return self._source.peek(_LENGTH + length + _TAG)
            except (TimeoutError, BlockingIOError):
                if self.closed:
                    raise EOFError from None
                if not self._source and self.need_rekey():
                    raise NeedRekeyException from None
            except OSError:
                if self.closed:
                    raise EOFError from None
                raise

    def _trigger_rekey(self) -> None:
        self._packets_asked, self._bytes_asked = self._packets, self._bytes
        super()._trigger_rekey()  # type: ignore[misc]

    def _count(self, size: int) -> None:
        """Ask for new keys after as much as paramiko does, and insist on them."""
        self._packets += 1
        self._bytes += size
        if not self.need_rekey():
            if self._packets >= self.REKEY_PACKETS or self._bytes >= self.REKEY_BYTES:
                self._trigger_rekey()
        elif (
            self._packets - self._packets_asked >= self.REKEY_PACKETS_OVERFLOW_MAX
            or self._bytes - self._bytes_asked >= self.REKEY_BYTES_OVERFLOW_MAX
        ):
            raise SSHException("The server does not agree on new keys.")


def _padding(length: int) -> int:
    """Bytes of padding, at least four, behind ``length`` bytes."""
    return 4 + -(length + 4) % _BLOCK


def _encrypt(cipher: Any, nonce: bytes, plain: memoryview, head: memoryview, room: Any) -> None:
    """Into memory that is there, where ``cryptography`` can do so."""
    try:
        encrypt_into = cipher.encrypt_into
    except AttributeError:
        room[:] = cipher.encrypt(nonce, plain, head)
    else:
        encrypt_into(nonce, plain, head, room)


def _decrypt(cipher: Any, nonce: bytes, sealed: memoryview, head: memoryview, room: Any) -> None:
    """Likewise."""
    try:
        decrypt_into = cipher.decrypt_into
    except AttributeError:
        room[:] = cipher.decrypt(nonce, sealed, head)
    else:
        decrypt_into(nonce, sealed, head, room)
