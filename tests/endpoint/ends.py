"""Every kind of endpoint, started the way a run starts it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from syncron_lib.endpoint.base import Endpoint
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.helper.main import serve
from syncron_lib.transport.pipes import SocketStream
from syncron_lib.transport.process import ProcessStream
from tests.endpoint.driving import local

CHECKOUT = Path(__file__).parents[2]


@contextlib.contextmanager
def in_process() -> Iterator[Endpoint]:
    """No frames at all."""
    endpoint = local()
    try:
        yield endpoint
    finally:
        endpoint.close()


@contextlib.contextmanager
def thread() -> Iterator[Endpoint]:
    """A helper in a thread of this process."""
    ours, theirs = socket.socketpair()
    helper = threading.Thread(target=serve, args=(SocketStream(theirs),), daemon=True)
    helper.start()
    endpoint = RemoteEndpoint(SocketStream(ours), "The helper", 20)
    try:
        yield endpoint
    finally:
        endpoint.close()
        helper.join(10)
        assert not helper.is_alive()


def fork() -> tuple[socket.socket, int]:
    """Our end of the stream to a helper in a process of its own, and its number."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ours.close()
            status = serve(SocketStream(theirs))
        finally:
            os._exit(status)
    theirs.close()
    return ours, child


@contextlib.contextmanager
def forked() -> Iterator[Endpoint]:
    """A helper that was forked, as for a local root."""
    ours, child = fork()
    endpoint = RemoteEndpoint(SocketStream(ours, child), "The local helper", 0)
    try:
        yield endpoint
    finally:
        endpoint.close()


def command_line() -> list[str]:
    """What starts an installed helper."""
    return [sys.executable, str(CHECKOUT / "syncron.py"), "--serve"]


@contextlib.contextmanager
def command() -> Iterator[Endpoint]:
    """``syncron --serve`` behind pipes."""
    stream = ProcessStream(command_line(), lambda _: None)
    endpoint = RemoteEndpoint(stream, "The helper", 20)
    try:
        yield endpoint
    finally:
        endpoint.close()
        assert stream.exit_status(5) is not None


EndpointOpener = Callable[[], contextlib.AbstractContextManager[Endpoint]]
KINDS: tuple[EndpointOpener, ...] = (in_process, thread, forked, command)
