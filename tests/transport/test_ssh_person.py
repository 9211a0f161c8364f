"""Passwords and questions: asked of a person only, and never without a terminal.

OpenSSH without PAM knows no keyboard-interactive, and a test must not set an account's password:
the server here is paramiko's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from paramiko.server import InteractiveQuery

from syncron_lib.transport.settings import ConnectOptions
from tests.sshd import generate_key
from tests.transport.conftest import Options
from tests.transport.test_ssh import output, refusal, run

PASSWORD = "correct horse"


class _Server(paramiko.ServerInterface):
    def __init__(self, methods: str) -> None:
        self.methods = methods
        self.passed: list[str] = []

    def get_allowed_auths(self, username: str) -> str:
        return self.methods

    def _answer(self, right: bool) -> int:
        return AUTH_SUCCESSFUL if right else AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        return self._answer(password == PASSWORD)

    def check_auth_interactive(self, username: str, submethods: str) -> InteractiveQuery:
        return InteractiveQuery("Title", "Be\x1bware", ("Word: ", False), ("Code: ", True))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return self._answer(responses == [PASSWORD, "123"])

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def answer() -> None:
            # Not before the client has been told that the command runs, and has said something.
            channel.recv(1)
            channel.sendall(b"ok\n")
            channel.send_exit_status(0)
            channel.close()

        threading.Thread(target=answer, daemon=True).start()
        return True


def _lets_in(options: ConnectOptions) -> bool:
    stream = run(options)
    stream.send(b"x")
    return output(stream) == b"ok\n"


@contextmanager
def _server(directory: Path, methods: str) -> Iterator[Path]:
    """A server of paramiko's that accepts ``methods``; the configuration to reach it."""
    key_file = generate_key(directory / "host")
    key = paramiko.Ed25519Key.from_private_key_file(str(key_file))
    transports = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                transport = paramiko.Transport(connection)
                transport.add_server_key(key)
                transports.append(transport)
                transport.start_server(server=_Server(methods), event=threading.Event())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        known = directory / "known_hosts"
        public = key_file.with_suffix(".pub").read_text().split()
        known.write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
        config = directory / "config"
        config.write_text(
            f"Host target\n  HostName 127.0.0.1\n  Port {port}\n  User somebody\n"
            f"  UserKnownHostsFile {known}\n  IdentityAgent none\n"
        )
        yield config
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for transport in transports:
        transport.close()


def _asking(
    options: Options, config: Path, answers: Sequence[str | None]
) -> tuple[ConnectOptions, list[tuple[str, bool]]]:
    asked: list[tuple[str, bool]] = []
    left = list(answers)

    def ask(prompt: str, secret: bool) -> str | None:
        asked.append((prompt, secret))
        return left.pop(0)

    return options(config, ask=ask), asked


@pytest.mark.parametrize("wrong", [0, 2])
def test_a_password(tmp_path: Path, options: Options, wrong: int) -> None:
    with _server(tmp_path, "password") as config:
        chosen, asked = _asking(options, config, ["wrong"] * wrong + [PASSWORD])
        assert _lets_in(chosen)
    assert asked == [("somebody@target's password: ", True)] * (wrong + 1)


def test_a_wrong_password_is_asked_for_three_times(tmp_path: Path, options: Options) -> None:
    with _server(tmp_path, "password") as config:
        chosen, asked = _asking(options, config, ["wrong"] * 3)
        assert "refused to let you in" in refusal(chosen)
    assert len(asked) == 3


def test_a_person_who_does_not_answer(tmp_path: Path, options: Options) -> None:
    with _server(tmp_path, "password") as config:
        chosen, asked = _asking(options, config, [None])
        assert "refused to let you in" in refusal(chosen)
    assert len(asked) == 1


def test_questions_of_the_server(tmp_path: Path, options: Options, notices: list[str]) -> None:
    with _server(tmp_path, "keyboard-interactive") as config:
        chosen, asked = _asking(options, config, [PASSWORD, "123"])
        assert _lets_in(chosen)
    assert asked == [("Word: ", True), ("Code: ", False)]
    assert notices == ["Title", "Be\\#033ware"]


@pytest.mark.parametrize("methods", ["password", "keyboard-interactive"])
def test_without_a_terminal_nobody_is_asked(tmp_path: Path, options: Options, methods: str) -> None:
    with _server(tmp_path, methods) as config:
        message = refusal(options(config))
    assert f"the server accepts: {methods}" in message
    assert "there was no key to try" in message
