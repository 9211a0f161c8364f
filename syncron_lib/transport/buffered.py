"""A socket that is read from in large parts."""

from __future__ import annotations

import socket
from typing import Any

_SIZE = 1 << 18
"""Bytes asked of the kernel at once."""


class BufferedSocket:
    """Stands in for a socket below paramiko, which asks for the first bytes of a packet and then
    for the rest: two waits and two reads a packet, where one fetches several packets."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._view = memoryview(bytearray(_SIZE))
        self._start = self._end = 0

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes, as `socket.socket.recv` gives them."""
        if self._start == self._end:
            self._start, self._end = 0, self._socket.recv_into(self._view)
        start = self._start
        self._start = min(start + size, self._end)
        return bytes(self._view[start : self._start])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
