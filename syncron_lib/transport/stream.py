"""The smallest byte stream that everything above can stand on."""

from __future__ import annotations

from typing import Protocol, Union

Buffer = Union[bytes, bytearray, memoryview]


class ByteStream(Protocol):
    """A two-way byte stream.

    One thread may receive while another sends; two threads must not send at once (the frame
    channel above holds a lock). Errors of the thing underneath are translated into
    `syncron_lib.errors` where they happen.
    """

    def receive_into(self, view: memoryview) -> int:
        """Fill a part of ``view`` (at least one byte) and return how many bytes; 0 at the end."""

    def send(self, data: Buffer) -> None:
        """Send all of ``data``; may block until the other side reads."""

    def abort(self) -> None:
        """Make a blocked or later receive or send fail at once. Any thread; never blocks."""

    def close(self, at_rest: bool = False) -> None:
        """Say that nothing more will be sent, release what is held, and wait (bounded) for the
        program at the other end to go. ``at_rest``: it holds nothing, and need not be waited for
        where that would take an exchange."""
