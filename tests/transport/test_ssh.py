"""The built-in SSH client against a real server: letting in, keeping out, and saying why."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncron_lib.errors import ConnectionLost, SshFailed
from syncron_lib.transport.settings import ConnectOptions
from syncron_lib.transport.ssh import run_command
from syncron_lib.transport.sshstream import SshStream
from syncron_lib.transport.stream import ByteStream
from tests.sshd import Sshd, generate_key, running_sshd


def run(options: ConnectOptions, command: str = "echo ok", host: str = "target") -> SshStream:
    return run_command(host, None, None, lambda: command, options)


def output(stream: ByteStream) -> bytes:
    """All that comes, up to the end; closes the stream."""
    buffer = memoryview(bytearray(1 << 16))
    data = b""
    while size := stream.receive_into(buffer):
        data += buffer[:size]
    stream.close()
    return data


def refusal(options: ConnectOptions, host: str = "target") -> str:
    """The sentence with which a connection fails; quickly, and in one line."""
    started = time.monotonic()
    with pytest.raises(SshFailed) as failed:
        run(options, host=host)
    assert time.monotonic() - started < 10
    assert failed.value.exit_code == 255
    message = failed.value.message
    assert message.isprintable(), message
    return message


# What runs there, and how it ends.


def test_a_command_gives_its_output_status_and_errors(sshd, options):
    stream = run(options(sshd.config), "cat; echo 'bad \x1b[31m' >&2; exit 3")
    stream.send(b"abc")
    stream.send(memoryview(b"defg")[:3])
    buffer = memoryview(bytearray(100))
    assert bytes(buffer[: stream.receive_into(buffer)]) in (b"abc", b"abcdef")
    stream.close()
    assert stream.exit_status(0) == 3
    assert stream.stderr_tail() == "bad \\#033[31m"


def test_a_command_that_a_signal_ended_has_no_status(sshd, options):
    stream = run(options(sshd.config), "kill -KILL $$")
    assert stream.receive_into(memoryview(bytearray(1))) == 0
    assert stream.exit_status(5) == -1
    stream.close()


def test_megabytes_go_both_ways_at_once(sshd, options):
    stream = run(options(sshd.config), "cat")
    data = os.urandom(1 << 20) * 24
    sender = threading.Thread(target=stream.send, args=(data,))
    sender.start()
    received = bytearray(len(data))
    view = memoryview(received)
    while view:
        view = view[stream.receive_into(view) :]
    sender.join(20)
    assert received == data
    stream.close()


def test_much_on_standard_error_does_not_stop_the_stream(sshd, options):
    stream = run(options(sshd.config), "head -c 70000000 /dev/zero >&2; echo last >&2; echo ok")
    assert output(stream) == b"ok\n"
    assert stream.stderr_tail().endswith("last")


def test_aes_gcm_is_agreed_on(sshd, options):
    stream = run(options(sshd.config))
    assert stream._link.transport.local_cipher == "aes128-gcm@openssh.com"
    stream.close()


@contextmanager
def _blocked(action: str, stream: ByteStream) -> Iterator[list[BaseException]]:
    """A thread that waits in ``receive_into`` or ``send``, and must have been woken afterwards."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            if action == "receive":
                stream.receive_into(memoryview(bytearray(1)))
            else:
                stream.send(bytes(256 << 20))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    started = time.monotonic()
    yield raised
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("action", ["receive", "send"])
def test_abort_wakes_a_thread_that_waits_for_a_stopped_command(sshd, options, action):
    stream = run(options(sshd.config), "exec sleep 15")
    with _blocked(action, stream) as raised:
        stream.abort()
    assert isinstance(raised[0], ConnectionLost)
    with pytest.raises(ConnectionLost):
        stream.receive_into(memoryview(bytearray(1)))
    stream.close()


@pytest.mark.parametrize("action", ["receive", "send"])
def test_abort_wakes_a_thread_that_waits_for_a_stopped_server(sshd, options, action):
    stream = run(options(sshd.config), "echo $PPID; exec sleep 15")
    buffer = memoryview(bytearray(100))
    server = int(bytes(buffer[: stream.receive_into(buffer)]))
    os.kill(server, signal.SIGSTOP)
    try:
        with _blocked(action, stream) as raised:
            stream.abort()
        assert isinstance(raised[0], ConnectionLost)
        started = time.monotonic()
        stream.close()
        assert time.monotonic() - started < 8
    finally:
        os.kill(server, signal.SIGCONT)


@pytest.mark.parametrize("action", ["receive", "send"])
def test_a_killed_server_is_a_lost_connection(sshd, options, action):
    stream = run(options(sshd.config), "echo $PPID; exec sleep 15")
    buffer = memoryview(bytearray(100))
    server = int(bytes(buffer[: stream.receive_into(buffer)]))
    with _blocked(action, stream) as raised:
        os.kill(server, signal.SIGKILL)
    assert isinstance(raised[0], ConnectionLost)
    assert "target" in raised[0].message
    stream.close()


def test_nothing_is_left_running(sshd, options):
    before = set(threading.enumerate())
    stream = run(options(sshd.config), "cat")
    stream.close()
    refusal(options(sshd.write_config("wrong", replace={"UserKnownHostsFile": "none"})))
    assert set(threading.enumerate()) <= before


# Reaching it.


def test_a_name_that_does_not_resolve(sshd, options):
    config = sshd.write_config("noname", replace={"HostName": "no-such-host.invalid"})
    message = refusal(options(config, timeout=8.0))
    assert "no-such-host.invalid" in message
    assert "resolved" in message


def test_a_port_where_nobody_listens(sshd, options):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        config = sshd.write_config("refused", replace={"Port": str(port)})
        assert f"127.0.0.1 port {port} refuses connections" in refusal(options(config))


@contextmanager
def _listener(answer: bytes, *, close: bool) -> Iterator[int]:
    """A port that answers every connection with ``answer`` and then nothing."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                connection.sendall(answer)
                if close:
                    connection.close()
                else:
                    held.append(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("answer", "close", "says"),
    [
        (b"", False, "sent nothing of SSH for 1.5 s"),
        (b"SSH-2.0-x\r\n", False, "sent nothing of SSH for 1.5 s"),
        (b"", True, "does not answer as an SSH server"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "does not answer as an SSH server"),
        (b"SSH-2.0-x\r\n", True, "closed the connection before it was set up"),
        (b"SSH-1.5-x\r\n", False, "no algorithm in common"),
    ],
)
def test_a_port_where_no_ssh_server_answers(sshd, options, answer, close, says):
    with _listener(answer, close=close) as port:
        config = sshd.write_config("odd", replace={"Port": str(port)})
        before = set(threading.enumerate())
        assert says in refusal(options(config, timeout=1.5))
        # A timer of the failed handshake would keep the process from ending.
        for thread in set(threading.enumerate()) - before:
            thread.join(1)
            assert not thread.is_alive()


def test_no_common_algorithm(tmp_path, options):
    with running_sshd(tmp_path, ["Ciphers chacha20-poly1305@openssh.com"]) as server:
        message = refusal(options(server.config))
    assert "no algorithm in common (no acceptable ciphers)" in message
    assert "-e ssh" in message


def test_the_command_line_port_and_identity_win(sshd, options, tmp_path):
    other = generate_key(tmp_path / "other")
    config = sshd.write_config(
        "wrong-port", replace={"Port": "1", "IdentityFile": str(other), "HostKeyAlias": "named"}
    )
    sshd.known_hosts.write_text(sshd.known_hosts_line() + sshd.known_hosts_line("named"))
    chosen = options(config, port=sshd.port, identity=(str(sshd.user_key),))
    assert output(run(chosen)) == b"ok\n"


def test_an_alias_of_an_included_file(sshd, options, tmp_path):
    config = tmp_path / "config"
    config.write_text(f"Include {sshd.config}\n")
    assert output(run(options(config))) == b"ok\n"


def test_a_proxy_command(sshd, options, tmp_path):
    program = tmp_path / "proxy.py"
    program.write_text(
        "import os, socket, sys, threading\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while d := os.read(0, 65536): s.sendall(d)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(65536): os.write(1, d)\n"
    )
    config = sshd.write_config(
        "proxied", [f"ProxyCommand {shlex.quote(sys.executable)} {program} %h %p"]
    )
    stream = run(options(config), "cat")
    data = os.urandom(3 << 20)
    sender = threading.Thread(target=stream.send, args=(data,))
    sender.start()
    received = bytearray(len(data))
    view = memoryview(received)
    while view:
        view = view[stream.receive_into(view) :]
    sender.join(5)
    assert received == data
    processes = stream._link.processes  # type: ignore[attr-defined]
    assert processes[0].poll() is None
    stream.close()
    assert processes[0].poll() is not None


def test_a_proxy_command_that_fails(sshd, options):
    config = sshd.write_config("proxied-wrong", ["ProxyCommand sh -c 'exit 7'"])
    message = refusal(options(config))
    assert "The ProxyCommand" in message
    assert "status 7" in message


def _jumps(sshd: Sshd, name: str, jump: str, known: str) -> Path:
    """A configuration in which ``far`` is reached through ``jump``, gates are ``gate*``."""
    usual = sshd.config.read_text().split("\n", 1)[1].replace("    UserKnown", "    #")
    path = sshd.directory / name
    gate_known = sshd.directory / f"{name}.known"
    gate_known.write_text(known)
    path.write_text(
        f"Host far\n    ProxyJump {jump}\n    HostKeyAlias far\n"
        f"Host gate*\n    HostKeyAlias %n\nHost *\n    UserKnownHostsFile {gate_known}\n{usual}"
    )
    return path


def test_proxy_jump_over_two_hosts(sshd, options):
    known = sshd.known_hosts_line("far") + sshd.known_hosts_line()
    config = _jumps(sshd, "jump", "gate1,gate2", known).read_text()
    path = sshd.directory / "jump"
    path.write_text(config.replace("Host gate*\n    HostKeyAlias %n\n", ""))
    stream = run(options(path), "cat; echo done", host="far")
    data = os.urandom(2 << 20)
    sender = threading.Thread(target=stream.send, args=(data,))
    sender.start()
    received = bytearray(len(data))
    view = memoryview(received)
    while view:
        view = view[stream.receive_into(view) :]
    sender.join(5)
    assert received == data
    with _blocked("receive", stream) as raised:
        stream.abort()
    assert isinstance(raised[0], ConnectionLost)
    stream.close()
    assert sshd.log().count("Accepted publickey") >= 3


def test_the_host_key_of_a_jump_host_is_checked(sshd, options, tmp_path):
    path = tmp_path / "config"
    usual = sshd.config.read_text().split("\n", 1)[1]
    path.write_text(
        f"Host far\n  ProxyJump gate\nHost gate\n  UserKnownHostsFile none\nHost *\n{usual}"
    )
    assert "is not known" in refusal(options(path), host="far")


def test_a_jump_host_that_does_not_connect_on(sshd, options, tmp_path):
    path = tmp_path / "config"
    usual = sshd.config.read_text().split("\n", 1)[1]
    path.write_text(f"Host far\n  ProxyJump gate\n  Port 1\nHost *\n{usual}")
    message = refusal(options(path), host="far")
    assert "(ProxyJump) does not connect on to 127.0.0.1 port 1" in message


def test_jump_hosts_in_a_circle(sshd, options, tmp_path):
    path = tmp_path / "config"
    path.write_text("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    assert "circles" in refusal(options(path), host="a")
