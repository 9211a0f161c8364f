"""A throw-away OpenSSH server on 127.0.0.1, with keys of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 20.0


@dataclass(frozen=True)
class Sshd:
    """A running server. ``config`` is an ``ssh_config`` by which its hosts are reached: the alias
    ``target``, and any other name at this port."""

    directory: Path
    port: int
    user: str
    host_key: Path
    user_key: Path
    known_hosts: Path
    config: Path
    pid: int

    def log(self) -> str:
        """What the server wrote so far."""
        return (self.directory / "sshd.log").read_text(errors="replace")

    def known_hosts_line(self, name: str | None = None) -> str:
        """The line by which the server is known."""
        kind, blob = self.host_key.with_suffix(".pub").read_text().split()[:2]
        return f"{name or f'[127.0.0.1]:{self.port}'} {kind} {blob}\n"

    def write_config(
        self,
        name: str,
        lines: Sequence[str] = (),
        *,
        host: str = "target",
        replace: Mapping[str, str] | None = None,
    ) -> Path:
        """Another ``ssh_config``: the usual lines for ``host``, changed by ``replace`` (an empty
        value drops a keyword), then ``lines``."""
        usual = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "User": self.user,
            "IdentityFile": str(self.user_key),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "none",
        }
        usual.update(replace or {})
        text = [f"Host {host}"]
        text += [f"    {key} {value}" for key, value in usual.items() if value]
        text += [f"    {line}" for line in lines]
        path = self.directory / name
        path.write_text("\n".join(text) + "\n")
        return path


def generate_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair with ssh-keygen."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "syncron-test"]
    subprocess.run([*command, "-f", str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


@contextmanager
def running_sshd(
    directory: Path,
    options: Sequence[str] = (),
    *,
    host_key_kind: str = "ed25519",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Sshd]:
    """An sshd on a free port of 127.0.0.1 until the block ends. ``options`` are lines of
    ``sshd_config``, which win over the usual ones."""
    binary = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise RuntimeError("these tests need an OpenSSH server (sshd)")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    host_key = generate_key(directory / "host_key", kind=host_key_kind)
    user_key = generate_key(directory / "user_key")
    shutil.copy(user_key.with_suffix(".pub"), directory / "authorized_keys")
    port = _free_port()
    process = _launch(binary, directory, port, host_key, options, environment or {})
    try:
        if not _answers(process, port):
            raise RuntimeError((directory / "sshd.log").read_text(errors="replace"))
        sshd = Sshd(
            directory,
            port,
            getpass.getuser(),
            host_key,
            user_key,
            directory / "known_hosts",
            directory / "ssh_config",
            process.pid,
        )
        sshd.known_hosts.write_text(sshd.known_hosts_line())
        sshd.write_config("ssh_config")
        yield sshd
    finally:
        _stop(process)


def _launch(
    binary: str,
    directory: Path,
    port: int,
    host_key: Path,
    options: Sequence[str],
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    # Nothing that a session keeps may land in the home directory of who runs the tests.
    variables = {"XDG_CACHE_HOME": f"{directory}/cache", "XDG_STATE_HOME": f"{directory}/state"}
    variables.update(environment)
    lines = [
        *options,
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {host_key}",
        f"AuthorizedKeysFile {directory}/authorized_keys",
        f"PidFile {directory}/sshd.pid",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        "LogLevel VERBOSE",
        "MaxStartups 100",
        "UseDNS no",
        "SetEnv " + " ".join(f"{name}={value}" for name, value in variables.items()),
    ]
    config = directory / "sshd_config"
    config.write_text("\n".join(lines) + "\n")
    with open(directory / "sshd.log", "ab") as log:
        return subprocess.Popen(
            [binary, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            time.sleep(0.01)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and every connection it serves."""
    if process.poll() is None:
        # Sessions are processes of their own process groups below it; the listener alone is ours.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
