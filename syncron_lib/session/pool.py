"""Endpoints of a run: begun early, kept for the next run of the same command.

What a helper and an endpoint need is imported late: see `Pool.start`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from syncron_lib.core.location import Local, Location, Remote
from syncron_lib.core.names import shown
from syncron_lib.errors import SyncronError, VersionMismatch
from syncron_lib.record import NamedTuple
from syncron_lib.transport.beside import beside
from syncron_lib.transport.pipes import SocketStream
from syncron_lib.transport.settings import Ask, ConnectOptions

if TYPE_CHECKING:
    from concurrent.futures import Future

    from syncron_lib.endpoint.remote import RemoteEndpoint
    from syncron_lib.fs.view import View
    from syncron_lib.session.keyholder import KeyHolder


_PATIENCE = 2.0
"""Seconds after which it is a person or a slow network that is waited for, and not a processor.
Local helpers wait as well, for their greeting, and not for ever."""


class _Key(NamedTuple):
    """Whom an endpoint speaks with: an account, or None for this machine; and a run's side."""

    account: Remote | None
    side: int


class _Connecting:
    """A connection that a thread of its own makes."""

    def __init__(self, make: Callable[[Callable[[], None]], RemoteEndpoint], name: str) -> None:
        """``make`` is given what it is to call once the other machine is busy, and we are not."""
        self.asked = threading.Event()
        self._outcome = beside(lambda: make(self.asked.set), name)
        self._outcome.add_done_callback(lambda _: self.asked.set())

    def result(self) -> RemoteEndpoint:
        return self._outcome.result()

    def abandon(self) -> None:
        """Nobody wants it any more: it is closed when it comes."""

        def close(outcome: Future[RemoteEndpoint]) -> None:
            if outcome.exception() is None:
                with contextlib.suppress(SyncronError):
                    outcome.result().close()

        self._outcome.add_done_callback(close)


class Pool:
    """Helpers started so far. A local root has a helper too, a process of its own: so a local
    scan and the writing of files run beside this process's SSH, on another core."""

    def __init__(
        self,
        connect: ConnectOptions,
        timeout: float,
        rate: int = 0,
        key: KeyHolder | None = None,
    ) -> None:
        """``timeout``, ``rate``: as `RemoteEndpoint` takes them; the rate is for what is on other
        machines only. ``key``: which side has one."""
        self.key = key
        # Two machines may be connected at once; a person answers one question at a time.
        self._connect = (
            connect._replace(ask=_one_at_a_time(connect.ask)) if connect.ask else connect
        )
        self._timeout = timeout
        self._rate = rate
        self._endpoints: dict[_Key, RemoteEndpoint] = {}
        self._forked: dict[int, SocketStream] = {}
        """Streams to local helpers that have not been spoken with yet, by side."""
        self._connecting: dict[_Key, _Connecting] = {}
        self._children: list[int] = []

    def start(self, sides: Sequence[Location]) -> None:
        """Begin with what these sides will need: local helpers are forked, remote ones connected.

        To be called first of all: it is best to fork where there are no threads yet, and the
        time until a remote helper serves is mostly that machine's, so that ours can be used for
        something else meanwhile (`wait_until_asked`)."""
        for side, location in enumerate(sides):
            if isinstance(location, Local) and not self._has_local(side):
                self._forked[side] = self._fork(side)
        for side, location in enumerate(sides):
            key = _key(location, side)
            if key.account is not None and key not in self._endpoints:
                self._begin_to_connect(key, key.account)

    def wait_until_asked(self) -> None:
        """Wait until no connection is held up by what this process does beside it; but for no
        longer than `_PATIENCE`."""
        over = time.monotonic() + _PATIENCE
        for connecting in self._connecting.values():
            connecting.asked.wait(max(0.0, over - time.monotonic()))

    def endpoint(self, location: Location, side: int) -> RemoteEndpoint:
        """The endpoint for a location; ``side`` tells a run's two apart, even on one machine."""
        key = _key(location, side)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            if key.account is None:
                endpoint = self._start_local(side)
            else:
                self._begin_to_connect(key, key.account)
                endpoint = self._connecting[key].result()
                del self._connecting[key]
            self._endpoints[key] = endpoint
        return endpoint

    def _begin_to_connect(self, key: _Key, account: Remote) -> None:
        if key not in self._connecting:
            self._connecting[key] = _Connecting(
                lambda on_asked: self._start_remote(account, on_asked),
                f"connect to {account.account()}",
            )

    def _has_local(self, side: int) -> bool:
        return side in self._forked or _Key(None, side) in self._endpoints

    def _fork(self, side: int) -> SocketStream:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            key = self.key
            _be_local_helper(ours, theirs, None if key is None else key.view_at(side))
        theirs.close()
        self._children.append(pid)
        return SocketStream(ours, pid)

    def _start_local(self, side: int) -> RemoteEndpoint:
        from syncron_lib.endpoint.remote import RemoteEndpoint

        stream = self._forked.pop(side, None)
        if stream is None:
            # The guess about a root was wrong. A helper uses nothing that a thread of ours could
            # have held when it was forked; the lock of an import would be such a thing.
            import syncron_lib.helper.main  # noqa: F401

            stream = self._fork(side)
        return RemoteEndpoint(stream, "The local helper", self._timeout)

    def _start_remote(self, account: Remote, on_asked: Callable[[], None]) -> RemoteEndpoint:
        from syncron_lib.transport.connect import connect

        connection = connect(account, self._connect, on_asked=on_asked)
        from syncron_lib.endpoint.remote import RemoteEndpoint

        def endpoint() -> RemoteEndpoint:
            return RemoteEndpoint(
                connection.stream,
                connection.account,
                self._timeout,
                connection.exit_status_text,
                self._rate,
            )

        try:
            return endpoint()
        except VersionMismatch:
            if connection.how != "installed" or self._connect.remote_syncron:
                raise
            self._connect.notice(
                f"The syncron installed on {shown(connection.account.encode())} is of another"
                " version; the helper is sent instead."
            )
        connection = connect(account, self._connect, ship=True)
        try:
            return endpoint()
        except VersionMismatch as error:
            if connection.how != "installed":
                raise
            raise VersionMismatch(
                f"{error.message} A forced command there starts the one that is installed,"
                " whatever is asked for."
            ) from None

    def discard(self, location: Location, side: int) -> None:
        """End a local helper that is busy with what is no longer wanted."""
        if isinstance(location, Local):
            endpoint = self._endpoints.pop(_Key(None, side), None)
            if endpoint is not None:
                endpoint.close()

    def bytes_on_the_wire(self) -> tuple[int, int]:
        """(sent, received) over the network by all remote endpoints so far."""
        remote = [end for key, end in self._endpoints.items() if key.account is not None]
        return sum(end.bytes_sent for end in remote), sum(end.bytes_received for end in remote)

    def close(self, within: float | None = None) -> None:
        """End all helpers. ``within``: seconds after which those are cut off that are still busy
        (a scan, a large file) and would hear of it later; by default they are given more."""
        timer = None if within is None else threading.Timer(within, self._cut_off)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            for endpoint in list(self._endpoints.values()):
                with contextlib.suppress(SyncronError):
                    endpoint.close()
            for stream in self._forked.values():
                stream.close()
            for connecting in self._connecting.values():
                connecting.abandon()
        finally:
            if timer is not None:
                timer.cancel()
        self._endpoints.clear()
        self._forked.clear()
        self._connecting.clear()

    def _cut_off(self) -> None:
        # Safe at any moment: a killed helper is what the next run is made for.
        for pid in self._children:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
        for endpoint in list(self._endpoints.values()):
            with contextlib.suppress(SyncronError, OSError):
                endpoint.abort()


def _key(location: Location, side: int) -> _Key:
    if isinstance(location, Local):
        return _Key(None, side)
    return _Key(Remote(location.host, location.user, location.port, b""), side)


def _one_at_a_time(ask: Ask) -> Ask:
    lock = threading.Lock()

    def locked(prompt: str, secret: bool) -> str | None:
        with lock:
            return ask(prompt, secret)

    return locked


def _be_local_helper(
    ours: socket.socket, theirs: socket.socket, view: Callable[[], View] | None
) -> None:
    """The life of a forked local helper. Does not return."""
    status = 1
    try:
        from syncron_lib.helper.main import serve

        ours.close()
        # The terminal's signals are for the client: it ends us by closing the stream.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = serve(SocketStream(theirs), view=view and view())
    finally:
        # Not sys.exit: the client's buffers and exit handlers are not ours to run.
        os._exit(status)
