"""Serving an endpoint over a byte stream: the whole of what runs on the other machine."""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

from syncron_lib import OBJECTS_BETWEEN_COLLECTIONS
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.channel import Channel
from syncron_lib.endpoint.greeting import greeting
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import ConnectionLost, Exit, PeerViolation, SyncronError
from syncron_lib.fs.directories import raise_descriptor_limit
from syncron_lib.fs.reach import ANYWHERE, Reach
from syncron_lib.protocol import messages, wire
from syncron_lib.protocol.frames import Header
from syncron_lib.protocol.wire import PACK, STORE, Sender
from syncron_lib.transport import marker
from syncron_lib.transport.pipes import FdStream
from syncron_lib.transport.stream import ByteStream

if TYPE_CHECKING:
    from syncron_lib.fs.view import View

_UNGREETED_TIMEOUT = 60.0
"""Seconds that a helper waits for its client's greeting."""
_QUEUED = 64
"""Frames received ahead of their handling. The client keeps fewer requests than this in flight,
so that the receiving thread always gets back to reading heartbeats."""
_QUEUED_BYTES = 128 << 20
"""Bytes of these; a client sends at most some 20 MiB ahead."""

_Frame = Optional[tuple[Header, bytearray]]


class _Service:
    """One conversation."""

    def __init__(
        self,
        stream: ByteStream,
        environment: Mapping[str, str],
        umask: int,
        reach: Reach,
        view: Optional[View],
    ) -> None:
        self._environment = environment
        self._channel = Channel(stream, "the client", _UNGREETED_TIMEOUT)
        self._frames: queue.Queue[_Frame | SyncronError] = queue.Queue(_QUEUED)
        self._endpoint = LocalEndpoint(
            environment,
            umask,
            self._tell,
            reach=reach,
            view=view,
            is_waited_for=lambda: not self._frames.empty(),
        )
        self._queued = 0
        """Bytes of them."""
        self._taken = threading.Condition()
        self._abandoned = False
        """Nobody listens any more; long work ends when it next has something to tell."""

    def _tell(self, what: Union[messages.Progress, messages.Notice]) -> None:
        if self._abandoned:
            raise ConnectionLost("The client has ended.")
        kind, payload = wire.encode(what)
        self._channel.send(kind, 0, (payload,))

    def run(self) -> Exit:
        """Serve until the client ends. The exit code is the helper's own."""
        request = 0
        try:
            self._greet()
            receiver = threading.Thread(target=self._receive, name="receive", daemon=True)
            receiver.start()
            while True:
                frame = self._frames.get()
                if frame is None:
                    return Exit.OK
                if isinstance(frame, SyncronError):
                    request = 0
                    raise frame
                header, payload = frame
                request = header.request
                with self._taken:
                    self._queued -= len(payload)
                    self._taken.notify()
                self._answer(request, self._endpoint.handle(_request(header, payload)))
                if header.kind == STORE:
                    self._channel.give_back(payload)
        except SyncronError as error:
            self._fail(request, error)
            return error.exit_code
        except Exception as error:  # a defect: said in a sentence, never a bare disconnect
            if self._environment.get("SYNCRON_DEBUG") == "1":
                import traceback

                traceback.print_exc()
            defect = SyncronError(f"An internal error ended the helper ({error!r}).")
            self._fail(request, defect)
            return defect.exit_code
        finally:
            self._endpoint.close()

    def _greet(self) -> None:
        self._channel.start_pulse()
        kind, payload = wire.encode(greeting())
        self._channel.send(kind, 0, (payload,))
        frame = self._channel.receive_first(_UNGREETED_TIMEOUT)
        hello = None if frame is None else wire.decode(frame[0].kind, frame[1], Sender.CLIENT)
        if not isinstance(hello, messages.Hello):
            raise PeerViolation("The client sent something else than a greeting.")
        self._channel.start_pulse(hello.timeout_ms / 1000)
        self._channel.limit(hello.rate)

    def _receive(self) -> None:
        try:
            while True:
                frame = self._channel.receive()
                self._abandoned = frame is None
                if frame is None:
                    self._frames.put(None)
                    return
                with self._taken:
                    self._taken.wait_for(lambda: self._queued < _QUEUED_BYTES)
                    self._queued += len(frame[1])
                self._frames.put(frame)
        except SyncronError as error:
            self._abandoned = True
            self._frames.put(error)

    def _answer(self, request: int, reply: Any) -> None:
        if isinstance(reply, list):
            self._channel.send(PACK, request, reply)
        else:
            kind, payload = wire.encode(reply)
            self._channel.send(kind, request, (payload,))

    def _fail(self, request: int, error: SyncronError) -> None:
        """Tell the client why, if it still listens."""
        kind, payload = wire.encode(messages.Failed(error.exit_code, error.message))
        with contextlib.suppress(SyncronError):
            self._channel.send(kind, request, (payload,))


def _request(header: Header, payload: bytearray) -> Any:
    if header.kind == STORE:
        return RawPack(payload)
    return wire.decode(header.kind, payload, Sender.CLIENT)


def serve(
    stream: ByteStream,
    environment: Optional[Mapping[str, str]] = None,
    reach: Reach = ANYWHERE,
    view: Optional[View] = None,
) -> int:
    """Serve one client over ``stream``; the exit code for the process. ``view``: what sees files
    sealed, where the client has forked us and holds a key."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    raise_descriptor_limit()
    umask = os.umask(0)  # there is no way to ask for it without setting it
    os.umask(umask)
    try:
        given = os.environ if environment is None else environment
        return int(_Service(stream, given, umask, reach, view).run())
    finally:
        with contextlib.suppress(SyncronError, OSError):
            stream.close()


def _refuse(stream: ByteStream, error: SyncronError) -> int:
    """Tell the client, whatever it says, why nothing is served."""
    kind, payload = wire.encode(messages.Failed(error.exit_code, error.message))
    channel = Channel(stream, "the client", _UNGREETED_TIMEOUT)
    with contextlib.suppress(SyncronError):
        channel.send(kind, 0, (payload,))
    with contextlib.suppress(SyncronError, OSError):
        stream.close()
    return int(error.exit_code)


def main(arguments: Sequence[str] = ()) -> int:
    """``syncron --serve``: serve on standard input and output, restricted by ``arguments``."""
    # A terminal's Ctrl-C is for the client, which ends us in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reach: Reach = ANYWHERE
    refusal: Optional[SyncronError] = None
    if arguments:
        from syncron_lib.helper.arguments import reach_of

        try:
            reach = reach_of(arguments)
        except SyncronError as error:
            refusal = error
    try:
        marker.announce(os.environ)
    except OSError:
        return int(Exit.CONNECTION)  # the client has gone: nobody is there to be told
    stream = FdStream(0, 1)
    return serve(stream, reach=reach) if refusal is None else _refuse(stream, refusal)


def main_shipped() -> NoReturn:
    """The entry of a helper that was shipped; the first stage has announced it. Ends the process,
    as the ``syncron`` command does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os._exit(serve(FdStream(0, 1)))
