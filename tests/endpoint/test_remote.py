"""When the other side is slow, silent, gone, or breaks the rules."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.greeting import greeting
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import (
    ConnectionLost,
    Exit,
    PeerViolation,
    SyncronError,
    TimedOut,
    VersionMismatch,
)
from syncron_lib.helper.main import serve
from syncron_lib.protocol import messages, wire
from syncron_lib.protocol.frames import HEADER, MAX_PAYLOAD, pack_header
from syncron_lib.transport.pipes import SocketStream
from tests.endpoint.driving import ask, begin, opening
from tests.endpoint.ends import command_line, fork
from tests.trees import make, noise

TIMEOUT = 1.0
LATE = TIMEOUT + 2


@contextlib.contextmanager
def _helper() -> Iterator[tuple[RemoteEndpoint, int]]:
    """An endpoint with a short time-out and its helper's process."""
    ours, child = fork()
    endpoint = RemoteEndpoint(SocketStream(ours), "The helper", TIMEOUT)
    try:
        yield endpoint, child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
        endpoint.close()


def _ends_within(limit: float, kind: type[SyncronError], act: Callable[[], object]) -> None:
    began = time.monotonic()
    with pytest.raises(kind):
        act()
    assert time.monotonic() - began < limit


# --- silence --------------------------------------------------------------------------------------


def test_a_helper_that_stops_ends_a_receive(tmp_path):
    with _helper() as (endpoint, child):
        begin(endpoint, tmp_path, Role.SOURCE)
        os.kill(child, signal.SIGSTOP)
        _ends_within(LATE, TimedOut, lambda: ask(endpoint, messages.List([b""])))
        # And whatever comes later.
        _ends_within(0.5, TimedOut, lambda: ask(endpoint, messages.List([b""])))


def test_a_helper_that_stops_ends_a_send(tmp_path):
    with _helper() as (endpoint, child):
        begin(endpoint, tmp_path, Role.DESTINATION)
        os.kill(child, signal.SIGSTOP)

        def send() -> None:
            for _ in range(10):
                endpoint.submit(RawPack(bytes(8 << 20)))

        _ends_within(LATE, TimedOut, send)


def test_a_heartbeat_that_cannot_be_sent_is_no_reason_to_wait():
    """The stream is full when the next heartbeat is due: the time-out still counts."""
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        theirs.sendall(_frame(greeting()))
        endpoint = RemoteEndpoint(SocketStream(ours), "The helper", TIMEOUT)
        future = endpoint.submit(messages.List([b""]))
        for size in (1 << 16, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(bytes(size), socket.MSG_DONTWAIT)
        _ends_within(LATE, TimedOut, lambda: future.result(LATE + 5))
        endpoint.close()


def test_a_busy_helper_shows_signs_of_life(tmp_path):
    """Waiting for a lock takes longer than the time-out, and says nothing itself."""
    with _helper() as (holder, _), _helper() as (endpoint, _):
        ask(holder, opening(tmp_path, Role.DESTINATION))
        began = time.monotonic()
        wait = int(TIMEOUT * 2500)
        assert ask(endpoint, opening(tmp_path, Role.DESTINATION, lock_wait_ms=wait)).held
        assert time.monotonic() - began > TIMEOUT * 2


def test_an_idle_conversation_lives(tmp_path):
    with _helper() as (endpoint, _):
        begin(endpoint, tmp_path, Role.SOURCE)
        time.sleep(TIMEOUT * 2)
        assert ask(endpoint, messages.Close()) == messages.Done()


# --- an end ---------------------------------------------------------------------------------------


def test_a_helper_that_is_killed(tmp_path):
    with _helper() as (endpoint, child):
        begin(endpoint, tmp_path, Role.SOURCE)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _ends_within(2, ConnectionLost, lambda: ask(endpoint, messages.List([b""])))


def test_a_helper_that_is_killed_fails_all_that_is_in_flight(tmp_path):
    with _helper() as (endpoint, child):
        os.kill(child, signal.SIGSTOP)
        futures = [endpoint.submit(messages.Scan()) for _ in range(5)]
        os.kill(child, signal.SIGKILL)
        for future in futures:
            with pytest.raises(ConnectionLost, match="run the same command again"):
                future.result(5)


def test_how_the_helper_ended_is_said():
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(ConnectionLost, match="the helper was killed by the system;"):
        RemoteEndpoint(SocketStream(ours), "The helper", 5, lambda: "was killed by the system")


def test_why_the_helper_gave_up_is_said_even_while_much_is_sent(tmp_path):
    """Its last words are on their way while the stream to it breaks."""
    (tmp_path / ".syncron").write_bytes(b"")
    for _ in range(5):
        with _helper() as (endpoint, _):
            begin(endpoint, tmp_path, Role.DESTINATION)
            with pytest.raises(SyncronError) as caught:
                futures = [endpoint.submit(messages.Begin((), ()))]
                futures += [endpoint.submit(RawPack(bytes(1 << 20))) for _ in range(60)]
                for future in futures:
                    future.result(5)
            assert caught.value.exit_code == Exit.FILE_FATAL, caught.value.message


def _exits_within(child: int, limit: float) -> int:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    raise AssertionError(f"the helper is still there after {limit} s")


def test_a_helper_ends_when_its_client_does(tmp_path):
    with _helper() as (endpoint, child):
        begin(endpoint, tmp_path, Role.SOURCE)
        endpoint.close()
        assert _exits_within(child, 5) == Exit.OK


def test_a_helper_that_waits_for_a_lock_ends_when_its_client_does(tmp_path):
    with _helper() as (holder, _), _helper() as (endpoint, child):
        ask(holder, opening(tmp_path, Role.DESTINATION))
        endpoint.submit(opening(tmp_path, Role.DESTINATION, lock_wait_ms=60_000))
        time.sleep(0.2)
        endpoint.close()
        _exits_within(child, 5)


def test_a_helper_that_hashes_much_ends_when_its_client_does(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(400 << 30)
    with _helper() as (endpoint, child):
        begin(endpoint, tmp_path, Role.SOURCE)
        endpoint.submit(messages.Hash([b"sparse"]))
        time.sleep(0.2)
        endpoint.close()
        _exits_within(child, 5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_ends_when_its_client_is_killed(tmp_path, number):
    """The client is a process of its own that starts ``syncron --serve`` and is killed."""
    make(tmp_path / "root", {"f": b""})
    script = (
        "import os, sys, time\n"
        "from syncron_lib.endpoint.remote import RemoteEndpoint\n"
        "from syncron_lib.transport.process import ProcessStream\n"
        "from tests.endpoint.driving import begin\n"
        "from syncron_lib.core.role import Role\n"
        "stream = ProcessStream(sys.argv[2:], print)\n"
        "end = RemoteEndpoint(stream, 'x', 60)\n"
        "begin(end, sys.argv[1], Role.DESTINATION)\n"
        "print(stream._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "root"), *command_line()],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert client.stdout is not None
    helper = int(client.stdout.readline())
    assert Path(f"/proc/{helper}").exists()
    client.send_signal(number)
    client.wait(5)
    deadline = time.monotonic() + 5
    while _is_running(helper):
        assert time.monotonic() < deadline, "an orphan is left"
        time.sleep(0.02)
    client.stdout.close()


def _is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    # An orphan is reaped by whoever adopts it, which in a container may be nobody.
    return status.rpartition(")")[2].split()[0] != "Z"


# --- broken rules ---------------------------------------------------------------------------------


def _frame(message: messages.Message, request: int = 0) -> bytes:
    kind, payload = wire.encode(message)
    return pack_header(len(payload), kind, request) + payload


HELLO = _frame(greeting())


@contextlib.contextmanager
def _peer(*sent: bytes) -> Iterator[RemoteEndpoint]:
    """An endpoint whose helper says just this and then is silent."""
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        theirs.sendall(b"".join(sent))
        endpoint = RemoteEndpoint(SocketStream(ours), "The helper", 10)
        try:
            yield endpoint
        finally:
            endpoint.close()


@pytest.mark.parametrize(
    "reply",
    [
        _frame(messages.Done(), 2),
        _frame(messages.Done(), 0),
        _frame(messages.Hello(1, 1, "", "", "", 0, [], [], [], 0), 0),
        _frame(messages.Scan(), 1),
        pack_header(1, wire.BY_KIND[messages.Done].number, 1) + b"x",
        pack_header(0, wire.BY_KIND[messages.Sealed].number, 1),
        pack_header(0, 0xEE, 1),
        pack_header(5, wire.PACK, 1) + b"12345",
        HEADER.pack(MAX_PAYLOAD + 1, 1, 1),
        HEADER.pack((1 << 32) - 1, 255, (1 << 32) - 1),
    ],
)
def test_a_reply_against_the_rules(reply):
    with _peer(HELLO) as endpoint:
        pass
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        theirs.sendall(HELLO)
        endpoint = RemoteEndpoint(SocketStream(ours), "The helper", 10)
        future = endpoint.submit(messages.Scan())
        theirs.sendall(reply)
        with pytest.raises(PeerViolation) as caught:
            future.result(5)
        assert caught.value.exit_code == Exit.PEER
        endpoint.close()


def test_a_reply_that_comes_twice():
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        theirs.sendall(HELLO)
        endpoint = RemoteEndpoint(SocketStream(ours), "The helper", 10)
        future = endpoint.submit(messages.Scan())
        theirs.sendall(_frame(messages.Done(), 1) * 2)
        assert future.result(5) == messages.Done()
        with pytest.raises(PeerViolation, match="not asked"):
            endpoint.submit(messages.Scan()).result(5)
        endpoint.close()


@pytest.mark.parametrize(
    ("greeted", "kind"),
    [
        (_frame(messages.Done()), PeerViolation),
        (b"Welcome to this machine!\n", PeerViolation),
        (_frame(greeting()._replace(oldest=2, newest=3)), VersionMismatch),
        (_frame(messages.Failed(5, "state")), SyncronError),
    ],
)
def test_a_greeting_that_is_none(greeted, kind):
    with pytest.raises(kind), _peer(greeted):
        pass


def test_the_helpers_words_are_escaped():
    with _peer(HELLO) as endpoint:
        pass
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        theirs.sendall(HELLO)
        endpoint = RemoteEndpoint(SocketStream(ours), "The helper", 10)
        future = endpoint.submit(messages.Scan())
        theirs.sendall(_frame(messages.Failed(11, "\x1b[31mno\nroom\u202e"), 1))
        with pytest.raises(SyncronError) as caught:
            future.result(5)
        assert caught.value.exit_code == Exit.FILE_FATAL
        assert caught.value.message == "The helper: \\#033[31mno\\#012room\\#342\\#200\\#256"
        endpoint.close()


@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_noise_from_a_helper_ends_the_conversation_in_order(data, greeted):
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        theirs.sendall((HELLO if greeted else b"") + data)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises((PeerViolation, ConnectionLost, SyncronError)) as caught:
            endpoint = RemoteEndpoint(SocketStream(ours), "The helper", 10)
            try:
                endpoint.submit(messages.Scan()).result(5)
            finally:
                endpoint.close()
        assert isinstance(caught.value, SyncronError)


@given(st.binary(min_size=1, max_size=200), st.booleans(), st.booleans())
def test_noise_from_a_client_ends_the_helper_in_order(data, greeted, framed):
    ours, theirs = socket.socketpair()
    codes: list[int] = []
    helper = threading.Thread(target=lambda: codes.append(serve(SocketStream(theirs))))
    helper.start()
    if framed:
        data = pack_header(len(data) - 1, data[0], 1) + data[1:]
    with contextlib.closing(ours):
        ours.sendall((HELLO if greeted else b"") + data)
        ours.shutdown(socket.SHUT_WR)
        helper.join(10)
    assert not helper.is_alive()
    assert codes[0] in (Exit.OK, Exit.PEER, Exit.CONNECTION)


def test_a_stored_pack_crosses_whole(tmp_path):
    """Frames of all sizes, in one part and in many: what arrives is what was sent."""
    with _helper() as (endpoint, _):
        make(tmp_path, {"big": noise(3 << 20)})
        begin(endpoint, tmp_path, Role.SOURCE)
        before = endpoint.bytes_received
        ask(endpoint, messages.Select([messages.Selected(b"big", False)], ()))
        size = len(ask(endpoint, messages.Next(0)).payload)
        assert size > 1 << 20
        assert endpoint.bytes_received - before >= size
        assert endpoint.bytes_sent > 0
