"""``syncron --demo``: every kind of run, against an SSH server of its own on loopback.

Everything lives in one temporary directory: keys, the server's configuration, the trees, and the
home directories of both sides, so that nothing of the user's is read or written.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncron_lib.cli.output import Output, one_line
from syncron_lib.errors import Exit, SyncronError, UsageError

_SERVER_STARTS = 10.0
"""Seconds that the server has to come up."""

_PRIVILEGE_SEPARATION = Path("/run/sshd")
"""What OpenSSH insists on when root starts it, and what its service file creates elsewhere."""

_SYSTEM_DIRECTORIES = "/usr/sbin:/usr/local/sbin:/sbin:/usr/libexec"


def demonstrate(output: Output) -> int:
    """Run it all; the exit status is 0 where every run ended as it should."""
    sshd, keygen = program("sshd"), program("ssh-keygen")
    with tempfile.TemporaryDirectory(prefix="syncron-demo-") as name:
        demo = _Demo(Path(name), output)
        with _server(sshd, keygen, Path(name)):
            return demo.run()


class _Demo:
    def __init__(self, top: Path, output: Output) -> None:
        self._home = top / "here"
        self._there = top / "there"
        self._output = output
        self._unexpected = 0

    def run(self) -> int:
        """The story, in eight runs."""
        self._make_tree()
        photos = self._home / "photos"
        self._tell("An SSH server of its own on 127.0.0.1 is the host called demo.")
        self._tell("1. Push a directory. The parent of the copy is missing too: --mkpath.")
        self._syncron("-v", "--mkpath", "photos", "demo:backup/photos")
        self._tell("2. Nothing has changed: both sides compare one Merkle root each.")
        self._syncron("-v", "photos", "demo:backup/photos")
        self._tell("3. One file edited, one new, one gone. What would happen, with --delete?")
        (photos / "2024/notes.txt").write_text("Rain all week, and one rainbow.\n")
        (photos / "2025/new.raw").write_bytes(b"light" * 5000)
        (photos / "2024/blurred.raw").unlink()
        self._syncron("-n", "--delete", "photos", "demo:backup/photos")
        self._tell("4. The same, done.")
        self._syncron("-v", "--delete", "photos", "demo:backup/photos")
        self._tell("5. Pull it back into another directory.")
        self._syncron("--stats", "demo:backup/photos", "restored")
        self._tell("6. Are they the same, by content?")
        self._syncron("-v", "--verify", "photos", "restored")
        self._tell("7. A byte flipped behind everyone's back: same size, same time.")
        _flip(self._home / "restored/2024/sunset.raw")
        self._syncron("-v", "--verify", "photos", "restored", expected=Exit.DIFFERENT)
        self._tell("8. The summary for programs.")
        self._syncron("--json", "photos", "restored")
        if self._unexpected:
            self._tell(f"{self._unexpected} of these runs did not end as it should have.")
            return Exit.FILE_FATAL
        self._tell("Done; the server, its keys and all directories are removed again.")
        return Exit.OK

    def _make_tree(self) -> None:
        photos = self._home / "photos"
        for folder in ("2024", "2025", "empty"):
            (photos / folder).mkdir(parents=True)
        for name, line in (("2024/notes", "Sun all week.\n"), ("2025/notes", "More to come.\n")):
            (photos / f"{name}.txt").write_text(line)
        for number, name in enumerate(("2024/sunset", "2024/blurred", "2025/rainbow")):
            (photos / f"{name}.raw").write_bytes(bytes(range(number, 200 + number)) * 500)
        (photos / "best").symlink_to("2024/sunset.raw")

    def _tell(self, text: str) -> None:
        self._output.write(f"\n{text}\n")
        self._output.flush()

    def _syncron(self, *words: str, expected: int = Exit.OK) -> None:
        self._output.write(f"$ {shlex.join(('syncron', *words))}\n")
        self._output.flush()
        done = subprocess.run(
            [sys.executable, "-m", "syncron", *words],
            cwd=self._home,
            env=_environment(self._home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
            check=False,
        )
        for line in done.stdout.splitlines():
            self._output.write(f"{one_line(line)}\n")
        if done.returncode != Exit.OK:
            self._output.write(f"(exit {done.returncode})\n")
        self._unexpected += done.returncode != expected


def _flip(file: Path) -> None:
    """Change one byte of ``file`` and put its time back."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _environment(home: Path) -> dict[str, str]:
    """For our side's runs: another home, but the same Python and its packages."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "SSH_", "SYNCRON_"))
    }
    package = Path(__file__).resolve().parents[2]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **ours,
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUSERBASE": site.getuserbase(),
    }


def program(name: str) -> str:
    """The absolute path of one of OpenSSH's programs, which may be where only root looks."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_DIRECTORIES}"
    found = shutil.which(name, path=path)
    if found is None:
        raise UsageError(
            f"The demo needs an SSH server of its own, and there is no {name} here: install"
            " OpenSSH (for example: apt install openssh-server) and run syncron --demo again."
        )
    return os.path.abspath(found)


@contextmanager
def _server(sshd: str, keygen: str, top: Path) -> Iterator[None]:
    """A server on loopback that lets in the key of ``top/here/.ssh`` only, for as long as the
    context lasts; sessions have ``top/there`` as their home."""
    port = _free_port()
    _write_keys_and_settings(keygen, top, port)
    made = _make_privilege_separation_directory()
    log = top / "sshd.log"
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(top / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
        )
    try:
        _wait_for(process, port, log)
        yield
    finally:
        # Its sessions end with their connections, which ended with the runs.
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if made:
            _PRIVILEGE_SEPARATION.rmdir()


def _write_keys_and_settings(keygen: str, top: Path, port: int) -> None:
    home, there, account = top / "here", top / "there", _account()
    for directory in (home / ".ssh", there):
        directory.mkdir(parents=True, mode=0o700)
    for key in (top / "host_key", home / ".ssh/id_ed25519"):
        subprocess.run(
            [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "syncron --demo", "-f", str(key)],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    shutil.copy(home / ".ssh/id_ed25519.pub", top / "authorized_keys")
    public = (top / "host_key.pub").read_text().split()
    known = f"[127.0.0.1]:{port} {public[0]} {public[1]}\n"
    (home / ".ssh/known_hosts").write_text(known)
    (home / ".ssh/config").write_text(
        f"Host demo\n  HostName 127.0.0.1\n  Port {port}\n  User {account}\n"
        f"  IdentityFile {home}/.ssh/id_ed25519\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {home}/.ssh/known_hosts\n"
    )
    # Whatever the login shell is, it only has to start this.
    (top / "session").write_text(
        f"cd {shlex.quote(str(there))} || exit\n"
        "HOME=$PWD; export HOME; unset XDG_CONFIG_HOME XDG_STATE_HOME XDG_CACHE_HOME\n"
        'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    (top / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {top}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {top}/authorized_keys\nAuthenticationMethods publickey\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPrintMotd no\n"
        f"ForceCommand /bin/sh {top}/session\n"
    )


def _make_privilege_separation_directory() -> bool:
    """Whether it had to be made, and so is to be removed again."""
    if os.getuid() != 0 or _PRIVILEGE_SEPARATION.exists():
        return False
    _PRIVILEGE_SEPARATION.mkdir(mode=0o755)
    return True


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError as error:
        raise UsageError(
            f"The demo logs in as the current user, and user {os.getuid()} has no account here."
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _SERVER_STARTS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
    raise SyncronError(f"The demo's SSH server did not start; it said: {said[0]}.")
