"""An endpoint behind a byte stream: requests out, replies in, many in flight."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Optional

from syncron_lib.core.names import shown
from syncron_lib.endpoint.base import Names, RawPack
from syncron_lib.endpoint.channel import Channel
from syncron_lib.endpoint.greeting import greeting
from syncron_lib.errors import (
    ConnectionLost,
    Exit,
    Halted,
    PeerViolation,
    SyncronError,
    VersionMismatch,
)
from syncron_lib.protocol import messages, wire
from syncron_lib.protocol.messages import VERSION, Hello, Message
from syncron_lib.protocol.wire import PACK, STORE, Sender
from syncron_lib.transport.stream import ByteStream

OnProgress = Callable[[messages.Progress], None]
_UNSAVED = 9
"""A helper says it once a root; one that says it for ever does not fill the memory."""
_LAST_WORDS = 0.8
"""Seconds to wait for what the helper said before it went. Short, because a signal during
paramiko's send looks like a lost connection too, and nobody waits long after a signal."""


_GREETING = 60.0
"""Seconds that a helper has for its greeting where there is no time-out."""
_AGAIN = "run the same command again, it goes on where it was."
_WAYS_TO_END = frozenset(
    (
        *(Exit.USAGE, Exit.PROTOCOL, Exit.REFUSED, Exit.STATE, Exit.LOCKED, Exit.PEER),
        *(Exit.FILE_FATAL, Exit.CONNECTION, Exit.TIMEOUT),
    )
)
"""How a helper can end. The other codes are for the client alone to give, above all 0."""
_MOST_NOTICES = 1000
"""Notices of one conversation: each is kept for the report."""


def _ignore(_what: object) -> None:
    """For who wants no progress, or no warnings."""


class RemoteEndpoint:
    """Speaks with a helper. Replies come in the order of the requests."""

    def __init__(
        self,
        stream: ByteStream,
        whom: str,
        timeout: float,
        explain: Callable[[], str] = str,
        rate: int = 0,
    ) -> None:
        """Send our greeting and await theirs. ``explain``: how the helper ended, as the end of a
        sentence, asked for when the stream ends early. ``rate``: bytes a second that either side
        sends at most, 0 for no limit. Raises VersionMismatch, ConnectionLost."""
        self._whom = whom
        self._within = "the " + whom[4:] if whom.startswith("The ") else whom
        """The same within a sentence."""
        self._explain = explain
        self._channel = Channel(stream, self._within, timeout)
        self._channel.limit(rate)
        self._waiting: deque[tuple[int, type, Optional[Names], Future[Any]]] = deque()
        """Number and kind of each request without a reply, and what knew the names in it."""
        self.names: Optional[Names] = None
        """What knows the names of its root by others; None where they are what they are."""
        self._at_rest = False
        """The helper has let go of its last root."""
        self._lock = threading.Lock()
        self._next_request = 1
        self._notices = 0
        self._failure: Optional[SyncronError] = None
        self.on_progress: OnProgress = _ignore
        self.on_warning: Callable[[str], None] = _ignore
        self.unsaved: list[str] = []
        """What the helper could not keep for the next run, for people."""
        try:
            # Where it has ended already, what it said before tells more than that we could not.
            with contextlib.suppress(ConnectionLost):
                self._send(greeting(int(timeout * 1000), rate), 0)
            self._channel.start_pulse()
            self.hello = self._greeting(timeout or _GREETING)
        except ConnectionLost as error:
            self._channel.close()
            raise _advised(error) from None
        except BaseException:
            self._channel.close()
            raise
        self._receiver = threading.Thread(target=self._receive, name="receive", daemon=True)
        self._receiver.start()

    @property
    def bytes_sent(self) -> int:
        """Bytes of frames sent so far."""
        return self._channel.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Bytes of frames received so far."""
        return self._channel.bytes_received

    def _send(self, message: Message, request: int) -> None:
        kind, payload = wire.encode(message)
        self._channel.send(kind, request, (payload,))

    def _greeting(self, within: float) -> Hello:
        frame = self._channel.receive_first(within)
        if frame is None:
            raise self._early_end()
        header, payload = frame
        if header.kind == wire.BY_KIND[messages.Failed].number:
            raise self._failed(wire.decode(header.kind, payload, Sender.HELPER))
        hello = wire.decode(header.kind, payload, Sender.HELPER)
        if not isinstance(hello, Hello):
            raise PeerViolation(f"{self._whom} sent something else than a greeting.")
        if not hello.oldest <= VERSION <= hello.newest:
            raise VersionMismatch(
                f"{self._whom} runs {shown(hello.program.encode())}, which speaks protocol versions"
                f" {hello.oldest} to {hello.newest}; this one speaks {VERSION}."
                " Install the same version on both sides, or let the helper be shipped."
            )
        return hello

    def submit(self, request: Message | RawPack) -> Future[Any]:
        """Send ``request``; its reply comes with the future."""
        future: Future[Any] = Future()
        names = self.names
        if isinstance(request, RawPack):
            kind, payload = STORE, request.payload
        else:
            kind, payload = wire.encode(request if names is None else names.request(request))
        with self._lock:
            if self._failure is not None:
                raise self._failure
            number = self._next_request
            self._next_request = number % 0xFFFFFFFF + 1
            self._waiting.append((number, type(request), names, future))
            try:
                self._channel.send(kind, number, (payload,))
                return future
            except Halted:
                raise
            except SyncronError as error:
                broken = error
        # The helper's last words, and so the reason, may still be on their way.
        self._receiver.join(_LAST_WORDS)
        raise self._ended_by(broken)

    def _ended_by(self, error: SyncronError) -> SyncronError:
        return self._failure or error

    def _receive(self) -> None:
        try:
            while True:
                frame = self._channel.receive()
                if frame is None:
                    raise self._early_end()
                self._take(*frame)
        except ConnectionLost as error:
            self._fail(_advised(error))
        except SyncronError as error:
            self._fail(error)
        except Exception as error:  # a defect must not leave the run waiting for ever
            self._fail(PeerViolation(f"{self._whom} sent what could not be understood ({error})."))

    def _take(self, header: Any, payload: bytearray) -> None:
        if header.request == 0:
            message = wire.decode(header.kind, payload, Sender.HELPER)
            if isinstance(message, messages.Progress):
                self.on_progress(message)
                return
            if isinstance(message, messages.Notice):
                self._notices += 1
                if self._notices > _MOST_NOTICES:
                    raise PeerViolation(f"{self._whom} sent notices without an end.")
                text = f"{self._whom}: {_peer_text(message.text)}"
                if message.unsaved:
                    self.unsaved = [*self.unsaved[:_UNSAVED], text]
                else:
                    self.on_warning(text)
                return
            if isinstance(message, messages.Failed):
                raise self._failed(message)
            raise PeerViolation(f"{self._whom} sent a reply to nothing.")
        if not self._waiting or self._waiting[0][0] != header.request:
            raise PeerViolation(f"{self._whom} answered what was not asked.")
        _, asked, names, future = self._waiting[0]
        wants_pack, closes = asked is messages.Next, asked is messages.Close
        reply: Any
        if header.kind == PACK:
            if not wants_pack:
                raise PeerViolation(f"{self._whom} sent content that was not asked for.")
            reply = RawPack(payload, self._channel.give_back)
        else:
            reply = wire.decode(header.kind, payload, Sender.HELPER)
            if isinstance(reply, messages.Failed):
                raise self._failed(reply)
            if names is not None:
                reply = names.reply(reply)
        self._waiting.popleft()
        self._at_rest = closes or (isinstance(reply, messages.Finished) and reply.closed)
        future.set_result(reply)

    def _failed(self, message: messages.Failed) -> SyncronError:
        """The error that ended the helper; its text is the peer's, and shown escaped."""
        known = message.exit_code in _WAYS_TO_END
        code = Exit(message.exit_code) if known else Exit.PEER
        return SyncronError(f"{self._whom}: {_peer_text(message.message)}", exit_code=code)

    def _early_end(self) -> ConnectionLost:
        how = self._explain()
        return ConnectionLost(
            f"The connection to {self._within} was lost: the helper {how or 'went away'}; {_AGAIN}"
        )

    def _fail(self, error: SyncronError) -> None:
        self._channel.fail(error)
        with self._lock:
            self._failure = error
            waiting, self._waiting = self._waiting, deque()
        for *_, future in waiting:
            if not future.done():
                future.set_exception(error)

    def abort(self) -> None:
        """Cut the conversation off, whatever the helper is busy with."""
        self._channel.fail(ConnectionLost(f"The connection to {self._within} is closed."))

    def close(self) -> None:
        """End the conversation."""
        with self._lock:
            at_rest = self._failure is None and self._at_rest and not self._waiting
            if self._failure is None:
                self._failure = ConnectionLost(f"The connection to {self._within} is closed.")
        self._channel.close(at_rest)


def _advised(error: ConnectionLost) -> ConnectionLost:
    """The same error, with what to do about it."""
    if error.message.endswith(_AGAIN):
        return error
    return ConnectionLost(f"{error.message.removesuffix('.')}; {_AGAIN}")


def _peer_text(text: str) -> str:
    return shown(text.encode("utf-8", "replace"))
