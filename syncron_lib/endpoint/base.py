"""The interface of an endpoint: one root on one machine. The session never knows which kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Protocol, Union

from syncron_lib.protocol.messages import Directory, Hello, Message

if TYPE_CHECKING:  # a helper has no use for futures, and they are slow to import
    from concurrent.futures import Future

Buffer = Union[bytes, bytearray, memoryview]


def _leave(_payload: bytearray) -> None:
    """For payloads whose memory nobody wants back."""


class RawPack:
    """A pack on its way through the client, which looks at its head only."""

    __slots__ = ("_give_back", "payload")

    def __init__(self, payload: Buffer, give_back: Callable[[bytearray], object] = _leave) -> None:
        """``give_back`` takes the payload's memory when it is done with."""
        self.payload = payload
        self._give_back = give_back

    def done(self) -> None:
        """Nobody will look at the payload any more."""
        payload, self.payload = self.payload, b""
        if isinstance(payload, bytearray):
            self._give_back(payload)


class Names(Protocol):
    """A root whose names are sealed where it is: paths as this side knows them, and as it does."""

    def request(self, message: Message) -> Message:
        """A request as it is understood there."""

    def reply(self, message: Message) -> Message:
        """A reply as it is understood here, but for listings."""

    def directory(self, path: bytes, directory: Directory) -> Directory:
        """The directory at ``path`` as it is understood here, from what was listed there."""


class Endpoint(Protocol):
    """Takes requests and answers each; many may be in flight, answered in order.

    A request is a message of `protocol.messages` or a `RawPack` to be stored; a reply is a
    message, or a `RawPack` for `Next`. A future fails with a `SyncronError` if the request ends
    the run.
    """

    @property
    def hello(self) -> Hello:
        """The greeting of the program at this end."""

    def submit(self, request: Message | RawPack) -> Future[Any]:
        """Send a request; its reply comes with the future."""

    def close(self) -> None:
        """End the conversation, whatever state it is in. Never raises, never blocks for long."""
