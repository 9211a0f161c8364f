"""A TCP relay on loopback that makes a link slow: a delay each way, and a rate.

It stands between a client and a server on this machine and needs nothing of the kernel. What
comes in is stamped with the time at which a real link would have it at its other end, and sent on
then. All connections share the link; its two directions do not hinder each other. Making a
connection costs the round trip that it costs on a real link. What is not imitated is loss, and
TCP's slow start.
"""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: How much the link holds at its entrance for want of rate, in seconds.
BUFFERED_SECONDS = 0.02
#: What may be under way in one direction of a connection. At a delay of 0.1 s it allows 1.3 GB/s.
MOST_UNDER_WAY = 128 << 20
#: One read; where there is a rate, not more than it carries in this many seconds, for smoothness.
LARGEST_READ = 1 << 18
SLICE_SECONDS = 0.004
SMALLEST_READ = 1448
#: How long what still passes has to arrive, where a relay cuts its connections.
_CUT_SECONDS = 0.02


class Exchanges:
    """Counts exchanges: the longest chain of chunks of which each was sent when the one before had
    arrived at its sender. Chunks that are sent by chance when another has just arrived count too,
    so that a slow machine may show more than there need be, and none less."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._known = {True: 0, False: 0}
            """The longest chain that has arrived at each end; True: at the client."""
            self._under_way: dict[bool, deque[tuple[float, int]]] = {True: deque(), False: deque()}
            self.count = 0

    def sent(self, by_client: bool, due: float) -> None:
        """A chunk is on its way and arrives at the time ``due``."""
        with self._lock:
            arriving = self._under_way[by_client]
            while arriving and arriving[0][0] <= time.monotonic():
                self._known[by_client] = max(self._known[by_client], arriving.popleft()[1])
            length = self._known[by_client] + by_client
            self._under_way[not by_client].append((due, length))
            self.count = max(self.count, length)


@dataclass
class Direction:
    """One direction of the link: when a byte that comes in now is at the other end."""

    delay: float
    rate: float | None
    bytes: int = 0
    _free_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def largest_read(self) -> int:
        if self.rate is None:
            return LARGEST_READ
        return min(LARGEST_READ, max(SMALLEST_READ, int(self.rate * SLICE_SECONDS)))

    def due(self, size: int, earliest: float) -> float:
        """The time at which these `size` bytes arrive; they are on the link from now on."""
        with self._lock:
            self.bytes += size
            begin = max(time.monotonic(), earliest)
            if self.rate is not None:
                begin = max(begin, self._free_at)
                self._free_at = begin = begin + size / self.rate
            return begin + self.delay

    def wait_for_room(self) -> None:
        """Return when the link can take more."""
        if self.rate is None:
            return
        ahead = self._free_at - time.monotonic() - BUFFERED_SECONDS
        if ahead > 0:
            time.sleep(ahead)


class Relay:
    """What `running_relay` yields: where to connect to, and what has passed."""

    def __init__(
        self, target: int, delay: float, rate: float | None, cut_after: int | None = None
    ) -> None:
        self._cut_after = cut_after
        self._cutting = threading.Lock()
        self._target = target
        self._delay = delay
        self._up = Direction(delay, rate)
        self._down = Direction(delay, rate)
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._stopped = False
        self._exchanges = Exchanges()
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0

    @property
    def bytes_up(self) -> int:
        """Bytes from clients to the server."""
        return self._up.bytes

    @property
    def bytes_down(self) -> int:
        """Bytes from the server to clients."""
        return self._down.bytes

    @property
    def exchanges(self) -> int:
        """How often one side had to wait for the other, since the beginning or `forget`."""
        return self._exchanges.count

    def forget(self) -> None:
        """Count exchanges anew."""
        self._exchanges.forget()

    def start(self) -> None:
        _in_thread(self._accept)

    def stop(self) -> None:
        self._stopped = True
        for one in [self._listener, *self._sockets]:
            # Closing alone does not wake a thread that waits in `accept` or `recv`.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.add(client)
            _in_thread(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        # A client may send once it has the answer to its SYN; the server has a connection when it
        # has the answer to that.
        begin = time.monotonic() + 2 * self._delay
        time.sleep(3 * self._delay)
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        self._sockets.add(server)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count = self._exchanges
        left = self._left
        _Pipe(client, server, self._up, begin, lambda due: count.sent(True, due), left).start()
        _Pipe(server, client, self._down, begin, lambda due: count.sent(False, due), left).start()

    def _left(self, data: bytes) -> bytes:
        """What of ``data`` still passes; after that, nothing does."""
        if self._cut_after is None:
            return data
        with self._cutting:
            rest = data[: self._cut_after]
            self._cut_after -= len(rest)
        if len(rest) < len(data):
            threading.Timer(_CUT_SECONDS, self.stop).start()
        return rest


class _Pipe:
    """One direction of one connection: a thread that reads, and one that sends when it is time."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        direction: Direction,
        begin: float,
        on_chunk: Callable[[float], None],
        left: Callable[[bytes], bytes],
    ) -> None:
        self._on_chunk = on_chunk
        self._left = left
        self._source = source
        self._sink = sink
        self._direction = direction
        self._begin = begin
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._changed = threading.Condition()

    def start(self) -> None:
        _in_thread(self._read)
        _in_thread(self._send)

    def _read(self) -> None:
        data = b"?"
        largest = self._direction.largest_read()
        while data:
            self._direction.wait_for_room()
            try:
                data = self._left(self._source.recv(largest))
            except OSError:
                data = b""
            due = self._direction.due(len(data), self._begin)
            if data:
                self._on_chunk(due)
            with self._changed:
                self._under_way.append((due, data))
                self._size += len(data)
                self._changed.notify()
                while self._size > MOST_UNDER_WAY:
                    self._changed.wait()

    def _send(self) -> None:
        while True:
            with self._changed:
                while not self._under_way:
                    self._changed.wait()
                due, data = self._under_way.popleft()
            remaining = due - time.monotonic()
            if remaining > 0:
                time.sleep(remaining)
            with contextlib.suppress(OSError):
                if not data:
                    self._sink.shutdown(socket.SHUT_WR)
                    return
                # After an error the reader goes on to its end: its side learns of it by itself.
                self._sink.sendall(data)
            with self._changed:
                self._size -= len(data)
                self._changed.notify()


def _in_thread(function, *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


@contextlib.contextmanager
def running_relay(
    port: int, delay: float = 0.0, rate: float | None = None, cut_after: int | None = None
) -> Iterator[Relay]:
    """A relay to `port` of this machine: `delay` in seconds one way, `rate` in bytes a second
    each way. After `cut_after` bytes, of both directions together, both end.

    A `rate` of None is no limit. At the end all its connections are closed.
    """
    relay = Relay(port, delay, rate, cut_after)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
