"""A helper that speaks the protocol and bends one step of it.

It is an honest helper behind a relay. Each frame on its way to the client is decoded, given to the
*bend* of an attack and encoded again; a bend can also answer a request in the helper's place. So
an attack is the step that it bends, and all around it is an honest conversation.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from syncron_lib.core.location import Local, Location, Remote
from syncron_lib.core.options import RunOptions
from syncron_lib.core.parts import Part
from syncron_lib.core.report import Report
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import SyncronError
from syncron_lib.protocol import messages, wire
from syncron_lib.protocol.frames import HEADER, pack_header
from syncron_lib.protocol.pack import Delta, End, Groups, Packer, Piece, unpack_pack
from syncron_lib.protocol.wire import PACK, Sender
from syncron_lib.session.single import SingleRun
from syncron_lib.transport.pipes import SocketStream
from tests.endpoint.ends import fork
from tests.session.test_run import Watcher

SILENCE = 40.0
"""Seconds without a sign of life that end a run here, with a code that no attack may end it with:
so nobody waits in vain. How soon all is over is measured in processor time (`Ended.cpu`), which
does not depend on what else the machine does."""


def frame(kind: int, payload: bytes, request: int = 0) -> bytes:
    """A frame as it crosses the wire, whatever is in it."""
    return HEADER.pack(len(payload), kind, request) + payload


def encoded(what: Any, request: int) -> bytes:
    """The frame of a message or of a pack; encoders check nothing."""
    if isinstance(what, bytes):
        return what
    if isinstance(what, (Groups, Piece, Delta, End)):
        return frame(PACK, packed(what), request)
    kind, payload = wire.encode(what)
    return pack_header(len(payload), kind, request) + payload


def packed(what: Groups | Piece | Delta | End) -> bytes:
    """A pack as the payload of a frame."""
    packer, plain = Packer(), messages.Next()
    if isinstance(what, Groups):
        return b"".join(packer.groups(what, plain))
    if isinstance(what, Piece):
        return b"".join(packer.piece(what, plain))
    if isinstance(what, Delta):
        return b"".join(packer.delta(what, plain))
    return b"".join(packer.end())


HANG_UP = b"(and is gone)"
"""At the end of what is sent: the connection ends there."""

Bend = Callable[[Any, int], Any]
"""From a decoded message (or pack) and its request's number to what is sent instead: a message, a
pack, the bytes of frames, or a list of these; the message itself where it is left as it is."""


class Attack(NamedTuple):
    """``on``: the kinds of message or pack that are given to ``bend``. ``answers``: answers a
    request in the helper's place, or says None. ``codes``: how the run may end."""

    name: str
    on: tuple[type, ...]
    bend: Bend
    codes: tuple[int, ...] = (7,)
    answers: Callable[[Any], Any] | None = None
    options: RunOptions | None = None
    says: str = ""
    """In the sentence that the user reads."""
    times: int = 1 << 30
    """How often it bends at most."""
    again: bool = False
    """Both sides remember an earlier run."""


class Relay:
    """Stands between a client and the honest helper behind an evil one."""

    def __init__(self, client: socket.socket, helper: socket.socket, attack: Attack | None) -> None:
        self._client, self._helper, self._attack = client, helper, attack
        self._lock = threading.Lock()
        self._pending: deque[tuple[int, Any]] = deque()
        """Numbers of requests in order, with what is answered in the helper's place."""
        self.bent = 0
        self._threads = [
            threading.Thread(target=self._shielded, args=(work,), daemon=True)
            for work in (self._up, self._down)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(SILENCE)
            assert not thread.is_alive()
        for end in (self._client, self._helper):
            end.close()

    def _shielded(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            work()
        # What was said last is still to be read: only the way on is closed.
        with contextlib.suppress(OSError):
            (self._helper if work == self._up else self._client).shutdown(socket.SHUT_WR)

    def _up(self) -> None:
        while (one := _received(self._client)) is not None:
            kind, request, payload = one
            with self._lock:
                answer = None
                if request:
                    if self._attack is not None and self._attack.answers is not None:
                        answer = self._attack.answers(_decoded(kind, payload, Sender.CLIENT))
                    self._pending.append((request, answer))
                if answer is None:
                    self._helper.sendall(frame(kind, payload, request))
                else:
                    self.bent += 1
                    self._flush()

    def _flush(self) -> None:
        while self._pending and self._pending[0][1] is not None:
            request, answer = self._pending.popleft()
            self._client.sendall(_frames(answer, request))

    def _down(self) -> None:
        while (one := _received(self._helper)) is not None:
            kind, request, payload = one
            sent = frame(kind, payload, request)
            attack = self._attack
            if attack is not None and kind != wire.BY_KIND[messages.Heartbeat].number:
                what = _decoded(kind, payload, Sender.HELPER)
                if isinstance(what, attack.on) and self.bent < attack.times:
                    instead = attack.bend(what, request)
                    if instead is not what:
                        self.bent += 1
                        sent = _frames(instead, request)
            with self._lock:
                self._client.sendall(sent.removesuffix(HANG_UP))
                if sent.endswith(HANG_UP):
                    return
                if request:
                    self._pending.popleft()
                    self._flush()


def _frames(what: Any, request: int) -> bytes:
    parts = what if isinstance(what, list) else [what]
    return b"".join(encoded(part, request) for part in parts)


def _decoded(kind: int, payload: bytes, sender: Sender) -> Any:
    if kind in (PACK, wire.STORE):
        return unpack_pack(payload)
    return wire.decode(kind, payload, sender)


def _received(end: socket.socket) -> tuple[int, int, bytes] | None:
    head = _exactly(end, HEADER.size)
    if head is None:
        return None
    length, kind, request = HEADER.unpack(head)
    payload = _exactly(end, length)
    return None if payload is None else (kind, request, payload)


def _exactly(end: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = end.recv(min(count - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


class Ends:
    """Stands in for a pool: the two helpers of one run are here already, and no key."""

    key = None

    def __init__(self, endpoints: tuple[RemoteEndpoint, RemoteEndpoint]) -> None:
        self._endpoints = endpoints

    def start(self, _sides: object) -> None:
        """They are."""

    def endpoint(self, _location: Location, side: int) -> RemoteEndpoint:
        return self._endpoints[side]

    def discard(self, _location: Location, _side: int) -> None:
        """No guess is taken back here: the helper is asked again."""

    def bytes_on_the_wire(self) -> tuple[int, int]:
        return 0, 0


@contextlib.contextmanager
def _helpers(
    side: int, attack: Attack | None, used: list[float]
) -> Iterator[tuple[Ends, Relay, list[int]]]:
    """An honest helper here, and one that is evil on the ``side``. ``used`` gets the seconds of
    processor time that each of them used in its life."""
    forked = fork(), fork()
    ends, children = [end for end, _ in forked], [child for _, child in forked]
    ours, theirs = socket.socketpair()
    relay = Relay(theirs, ends[side], attack)
    streams = [SocketStream(end) for end in ends]
    streams[side] = SocketStream(ours)
    endpoints: list[RemoteEndpoint] = []
    try:
        for index, stream in enumerate(streams):
            whom = "evil.example" if index == side else "The local helper"
            endpoints.append(RemoteEndpoint(stream, whom, SILENCE if index == side else 0))
        yield Ends((endpoints[0], endpoints[1])), relay, children
    finally:
        for endpoint in endpoints:
            endpoint.close()
        for stream in streams:
            stream.close()
        relay.join()
        for child in children:
            usage = os.wait4(child, 0)[2]
            used.append(usage.ru_utime + usage.ru_stime)


class Ended(NamedTuple):
    """How a run went: its report where it came to its end, else what ended it."""

    report: Report | None
    error: BaseException | None
    bent: int
    growth: int
    """Bytes by which the largest process grew at most."""
    cpu: float
    """Seconds of processor time that the client and both helpers used."""
    watcher: Watcher

    @property
    def code(self) -> int:
        """The exit code."""
        if self.report is not None:
            return int(self.report.exit_code)
        assert isinstance(self.error, SyncronError), self.error
        return int(self.error.exit_code)


def run(
    side: int,
    paths: Iterable[bytes],
    attack: Attack | None,
    options: RunOptions,
    into: bool = False,
) -> Ended:
    """A run between two directories, of which the one of ``side`` is behind an evil helper."""
    source, destination = paths
    here: list[Location] = [Local(source), Local(destination)]
    here[side] = Remote("evil.example", None, None, (source, destination)[side])
    watcher = Watcher()
    report, error = None, None
    growth = 0
    used: list[float] = []
    began = time.process_time()
    with _helpers(side, attack, used) as (ends, relay, children):
        before = {pid: resident(pid, "VmRSS") for pid in (os.getpid(), *children)}
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
        try:
            part = Part(here[0], options.rules.chosen, into)
            report = SingleRun(part, here[1], options, watcher, ends).run()  # type: ignore[arg-type]
        except Exception as caught:
            error = caught
        for pid, size in before.items():
            with contextlib.suppress(OSError):
                growth = max(growth, resident(pid, "VmHWM") - size)
    cpu = time.process_time() - began + sum(used)
    return Ended(report, error, relay.bent, growth, cpu, watcher)


def resident(pid: int, which: str) -> int:
    """Bytes of a process, now (``VmRSS``) or at most so far (``VmHWM``)."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(which):
                return int(line.split()[1]) << 10
    return 0
