"""A socket that is read from in large parts."""

from __future__ import annotations

import socket
import time
from typing import Any

SIZE = 1 << 19
"""Bytes asked of the kernel at once, and the most that can be looked at in one piece."""

_MUCH = 1 << 18
_PAUSE = 0.001
"""Seconds that a reader lets go by who has sent `_MUCH`: a server says for every 96 KiB that it has
taken them, and to be woken for each of these words holds up whoever sends."""


class BufferedSocket:
    """Stands in for a socket below paramiko, which asks for the first bytes of a packet and then
    for the rest: two waits and two reads a packet, where one fetches several packets."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._view = memoryview(bytearray(SIZE))
        self._start = self._end = 0
        self._sent = 0
        """Bytes since the last pause."""

    def send(self, data: bytes) -> int:
        """As `socket.socket.send`."""
        sent = self._socket.send(data)
        self._sent += sent
        return sent

    def __len__(self) -> int:
        """Bytes that have come and were not taken."""
        return self._end - self._start

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes, as `socket.socket.recv` gives them."""
        if self._start == self._end:
            self._start, self._end = 0, self._socket.recv_into(self._view)
        start = self._start
        self._start = min(start + size, self._end)
        return bytes(self._view[start : self._start])

    def peek(self, size: int) -> memoryview:
        """The next ``size`` bytes, at most `SIZE`, which stay until they are skipped or received;
        valid until the next call. Raises EOFError where fewer come, TimeoutError as the socket
        does; what has come until then is kept."""
        while self._end - self._start < size:
            if self._start + size > SIZE:
                left = len(self)
                self._view[:left] = self._view[self._start : self._end]
                self._start, self._end = 0, left
            elif self._start == self._end:
                self._start = self._end = 0
            if self._sent >= _MUCH:
                self._sent = 0
                time.sleep(_PAUSE)
            received = self._socket.recv_into(self._view[self._end :])
            if not received:
                raise EOFError
            self._end += received
        return self._view[self._start : self._start + size]

    def skip(self, size: int) -> None:
        """Take bytes that were looked at."""
        self._start += size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
