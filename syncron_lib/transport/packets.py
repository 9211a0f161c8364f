"""SSH packets under AES-GCM, with few copies of each.

paramiko copies what it receives seven times on its way from the socket to a channel, which takes as
long as to decrypt it; what it sends, it hands over packet by packet. This stands in for its
`Packetizer`, by the parameter that it has for that. To be imported after `paramiko_library.load`.
"""

from __future__ import annotations

import threading
from typing import Any

from cryptography.exceptions import InvalidTag
from paramiko import Message, SSHException
from paramiko.packet import NeedRekeyException, Packetizer

from syncron_lib.transport.buffered import SIZE, BufferedSocket

_TAG = 16
_LENGTH = 4
_CHANNEL_DATA = 94
_JOINED = 4
"""Packets that leave together where more follow: the server is woken by each that leaves alone, and
takes the processor from whoever makes the next."""
_LARGEST = SIZE - _LENGTH - _TAG


class Packets(Packetizer):
    """The packets of one connection. Everything but receiving under AES-GCM is paramiko's."""

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
        self._held: list[bytes] = []
        self._joining = 0
        """The thread whose packets may wait for the next one."""

    def follows(self, more: bool) -> None:
        """Whether the calling thread sends another packet right behind the next one, without
        waiting for anything in between: the two may leave together."""
        self._joining = threading.get_ident() if more else 0

    def write_all(self, out: Any) -> None:
        # One thread at a time is here. What another one has to say takes along what is held back,
        # so that no negotiation of keys waits for it.
        self._held.append(out)
        if self._joining != threading.get_ident() or len(self._held) == _JOINED:
            held, self._held = self._held, []
            super().write_all(b"".join(held))

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
        packet = self._next()
        try:
            plain = self._cipher.decrypt(self._nonce, packet[_LENGTH:], packet[:_LENGTH])
        except InvalidTag:
            raise SSHException("A packet was damaged or forged on its way.") from None
        self._source.skip(len(packet))
        counter = int.from_bytes(self._nonce[4:], "big") + 1
        self._nonce = self._nonce[:4] + counter.to_bytes(8, "big")
        self._count(len(packet))
        # Its parts: length of the padding, kind, content, padding.
        end = len(plain) - plain[0]
        if end < 2:
            raise SSHException("A packet has more padding than content.")
        kind = plain[1]
        if kind == _CHANNEL_DATA:
            # The string in it has a length of its own, so that the padding can stay.
            message = Message(plain)
            message.packet.seek(2)
        else:
            message = Message(plain[2:end])
        message.seqno = self._sequence
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return kind, message

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
