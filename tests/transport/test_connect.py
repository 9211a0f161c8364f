"""Starting the helper: every way it goes well, and every way it does not, told apart."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.location import Remote
from syncron_lib.errors import (
    ConnectionLost,
    HelperNotStarted,
    SshFailed,
    SyncronError,
    TimedOut,
    UncleanShell,
    Unreachable,
)
from syncron_lib.transport import archive
from syncron_lib.transport.connect import Connection, ConnectOptions, connect
from syncron_lib.transport.stream import ByteStream
from tests.sshd import running_sshd

ECHO = """
import os, sys

def main():
    import shipped.answer
    os.write(1, shipped.answer.GREETING)
    while data := os.read(0, 65536):
        while data:
            data = data[os.write(1, data):]
    sys.stderr.write("echo ends\\n")
    return 5
"""

PACKED = archive.pack(
    {
        "shipped.": "",
        "shipped.answer": "GREETING = b'hello' # \xe9",
        "shipped.echo": ECHO,
    },
    "shipped.echo:main",
)
"""Stands in for the helper: it greets first, then gives back what it is given."""

TARGET = Remote("target", None, None, b"")

Rsh = Callable[..., ConnectOptions]


@pytest.fixture
def rsh(tmp_path: Path, home: Path, notices: list[str]) -> Rsh:
    """Options with an ``-e`` command that runs the command line here, in a shell, as sshd would:
    after ``prelude``, with ``path`` as PATH; by default a PATH without syncron."""

    def make(
        prelude: str = "", *, path: str | None = None, shell: str = "/bin/sh", **changes: Any
    ) -> ConnectOptions:
        script = tmp_path / "rsh"
        if path is None:
            path = _path_without_syncron(tmp_path / "no-syncron")
        command = f"/usr/bin/env PATH={shlex.quote(path)} {shell}"
        script.write_text(
            f'#!/bin/sh\nfor last; do :; done\n{prelude}\nexec {command} -c "$last"\n'
        )
        script.chmod(0o755)
        settings: dict[str, Any] = {
            "rsh": shlex.quote(str(script)),
            "timeout": 15.0,
            "notice": notices.append,
            "home": str(home),
        }
        return ConnectOptions(**{**settings, **changes})

    return make


def start(
    options: ConnectOptions, packed: archive.Archive = PACKED, *, ship: bool = False
) -> Connection:
    return connect(TARGET, options, ship=ship, packed=packed)


def failure(
    options: ConnectOptions, kind: type[SyncronError], code: int, packed: archive.Archive = PACKED
) -> str:
    started = time.monotonic()
    with pytest.raises(SyncronError) as failed:
        start(options, packed)
    assert type(failed.value) is kind or issubclass(type(failed.value), kind)
    assert failed.value.exit_code == code
    assert failed.value.message.isprintable()
    assert time.monotonic() - started < 12
    return failed.value.message


def receive_exactly(stream: ByteStream, size: int) -> bytes:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        received = stream.receive_into(view)
        assert received, bytes(buffer[: size - len(view)])
        view = view[received:]
    return bytes(buffer)


def speak(connection: Connection) -> None:
    """Both ways work from the first byte on, and the end is told."""
    assert receive_exactly(connection.stream, 5) == b"hello"
    data = os.urandom(300_000)
    sender = threading.Thread(target=connection.stream.send, args=(data,))
    sender.start()
    assert receive_exactly(connection.stream, len(data)) == data
    sender.join(5)
    connection.stream.close()
    assert connection.exit_status_text() == "ended with status 5 (it said: echo ends)"


# It starts.


def test_over_ssh_shipped_then_from_the_cache(sshd, options):
    first = start(options(sshd.config), ship=True)
    assert first.how == "shipped"
    speak(first)
    second = start(options(sshd.config), ship=True)
    assert second.how == "cached"
    speak(second)


def test_over_an_external_ssh(sshd, options):
    chosen = options(sshd.config, rsh=f"ssh -F {shlex.quote(str(sshd.config))}")
    connection = start(chosen, ship=True)
    assert connection.how in ("shipped", "cached")
    speak(connection)


def test_over_ssh_with_an_empty_path_there(tmp_path, options):
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('PATH=/nonexistent; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
    with running_sshd(tmp_path / "sshd", [f"ForceCommand /bin/sh {wrapper}"]) as server:
        message = failure(options(server.config), HelperNotStarted, 127)
    assert "There is no Python on target" in message
    assert "--remote-python" in message


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash", "/bin/sh", "tcsh", "fish"])
def test_the_command_line_is_one_for_every_shell(rsh, shell):
    speak(start(rsh(shell=shell)))


def test_the_command_line_holds_nothing_that_shells_read_differently(rsh):
    from syncron_lib.transport.startcommand import Recipe, command_line

    for recipe in (Recipe(), Recipe("~/py thon'!\\"), Recipe(None, "/a b/syncron'\n!")):
        line = command_line(recipe, "0" * 16, lambda: PACKED)
        assert line.startswith("exec /bin/sh -c '")
        inner = line[len("exec /bin/sh -c '") : -1]
        assert not set(inner) & set("'!\n")
        assert "\\'" not in inner
        assert "\\\\" not in inner


def test_python_with_an_odd_name(rsh, tmp_path):
    odd = tmp_path / "it's a\n$HOME\\n\"python!"
    odd.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    odd.chmod(0o755)
    speak(start(rsh(remote_python=str(odd))))


def test_python_below_the_home_directory(rsh, home):
    (home / "py").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (home / "py").chmod(0o755)
    speak(start(rsh(remote_python="~/py")))


@pytest.mark.parametrize(
    "noise", ["Welcome to host, ", "line\n" * 40, "x" * 65000, "\xff\x1b[2J\x01", "syncron-"]
)
def test_what_a_shell_prints_before_is_passed_over(rsh, noise):
    speak(start(rsh(f"printf %s {shlex.quote(noise)}")))


def test_noise_over_ssh(tmp_path, options):
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('printf "%200s" banner; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
    with running_sshd(tmp_path / "sshd", [f"ForceCommand /bin/sh {wrapper}"]) as server:
        speak(start(options(server.config), ship=True))


# The cache.


def _cache(home: Path) -> Path:
    return home / "cache" / "syncron"


def test_the_cache_is_private_and_is_used(rsh, home):
    assert start_and_close(rsh()) == "shipped"
    directory = _cache(home) / PACKED.digest
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(_cache(home).stat().st_mode) == 0o700
    assert [path.suffix for path in directory.iterdir()] == [".code"]
    assert start_and_close(rsh()) == "cached"


def start_and_close(options: ConnectOptions, packed: archive.Archive = PACKED) -> str:
    connection = start(options, packed)
    speak(connection)
    return connection.how


def test_without_xdg_the_cache_is_below_the_home_directory(rsh, home):
    assert start_and_close(rsh("unset XDG_CACHE_HOME")) == "shipped"
    assert (home / ".cache" / "syncron" / PACKED.digest).is_dir()


def test_a_damaged_cache_is_replaced(rsh, home):
    start_and_close(rsh())
    (file,) = (_cache(home) / PACKED.digest).iterdir()
    data = bytearray(file.read_bytes())
    for damage in (b"", data[:50], bytes(data[:-1]), data[:-9] + b"\xff" + data[-8:]):
        file.write_bytes(damage)
        assert start_and_close(rsh()) == "shipped"
        assert file.read_bytes() == data
    assert start_and_close(rsh()) == "cached"


@pytest.mark.parametrize("what", ["directory", "own", "file"])
def test_a_cache_that_others_can_write_is_not_believed(rsh, home, what):
    start_and_close(rsh())
    own = _cache(home) / PACKED.digest
    (file,) = own.iterdir()
    path = {"directory": _cache(home), "own": own, "file": file}[what]
    path.chmod(path.stat().st_mode | 0o002)
    assert start_and_close(rsh()) == "shipped"


def test_a_cache_that_is_a_link_is_not_believed(rsh, home, tmp_path):
    start_and_close(rsh())
    _cache(home).rename(tmp_path / "elsewhere")
    _cache(home).symlink_to(tmp_path / "elsewhere")
    assert start_and_close(rsh()) == "shipped"


@pytest.mark.parametrize(
    "prelude",
    [
        "export XDG_CACHE_HOME=/proc/none",
        "export XDG_CACHE_HOME=/dev/full",
        "unset XDG_CACHE_HOME; export HOME=relative",
        "ulimit -f 0",
    ],
)
def test_where_nothing_can_be_kept_it_runs_from_memory(rsh, prelude):
    for _ in range(2):
        assert start_and_close(rsh(prelude)) == "shipped"


def test_only_the_newest_of_other_versions_are_kept(rsh, home):
    start_and_close(rsh())
    for age in range(5):
        old = _cache(home) / f"{age:064x}"
        old.mkdir()
        (old / "x.code").write_bytes(b"")
        os.utime(old, (1000 - age, 1000 - age))
    (_cache(home) / "kept-by-somebody-else").mkdir()
    other = archive.pack(
        {"shipped.": "", "shipped.answer": "GREETING = b'hello'", "shipped.echo": ECHO},
        "shipped.echo:main",
    )
    start_and_close(rsh(), other)
    left = {path.name for path in _cache(home).iterdir()}
    assert left == {other.digest, PACKED.digest, f"{0:064x}", "kept-by-somebody-else"}


# Which Python.


def _python(directory: Path, name: str, body: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{body}\n")
    (directory / name).chmod(0o755)


TOO_OLD = """
case "$1" in
-V) echo "Python 3.8.18";;
*) exec "$REAL" -c 'import sys; sys.version_info = (3, 8, 18); sys.argv = ["-c"] + sys.argv[2:]
exec(sys.argv.pop(1))' "$2" "$3" "$4" "$5" "$6" "$7";;
esac
"""
"""Behaves as an old Python does, for the machines that have none: same version, same code run."""

PYTHON_2 = """
case "$1" in
-V) echo "Python 2.7.18" >&2;;
*) echo "Unknown option: -I" >&2; exit 2;;
esac
"""


def _too_old(directory: Path, name: str = "python3") -> None:
    _python(directory, name, TOO_OLD.replace("$REAL", sys.executable).replace("-c '", "-c '"))


def test_a_newer_python_of_another_name_is_found(rsh, tmp_path):
    bin_ = tmp_path / "bin"
    _too_old(bin_)
    _python(bin_, "python3.10", f'exec {sys.executable} "$@"')
    speak(start(rsh(path=str(bin_))))


def test_python_under_its_oldest_name(rsh, tmp_path):
    _python(tmp_path / "bin", "python", f'exec {sys.executable} "$@"')
    speak(start(rsh(path=str(tmp_path / "bin"))))


def test_python_too_old(rsh, tmp_path):
    _too_old(tmp_path / "bin")
    _python(tmp_path / "bin", "python", PYTHON_2)
    message = failure(rsh(path=str(tmp_path / "bin")), HelperNotStarted, 127)
    assert "too old: python3: Python 3.8.18; python: Python 2.7.18" in message
    assert "Python 3.9" in message


def test_a_named_python_that_is_too_old(rsh, tmp_path):
    _python(tmp_path / "bin", "old", PYTHON_2)
    path = str(tmp_path / "bin" / "old")
    message = failure(rsh(remote_python=path), HelperNotStarted, 127)
    assert f"{path}: Python 2.7.18" in message


def test_no_python(rsh, tmp_path):
    (tmp_path / "bin").mkdir()
    message = failure(rsh(path=str(tmp_path / "bin")), HelperNotStarted, 127)
    assert "There is no Python on target (no python3 in its PATH)" in message


def test_a_python_that_is_only_a_shim(rsh, tmp_path):
    _python(tmp_path / "bin", "python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    message = failure(rsh(path=str(tmp_path / "bin")), HelperNotStarted, 127)
    assert "pyenv: python3: command not found" in message


def test_a_named_python_that_is_missing(rsh):
    message = failure(rsh(remote_python="/none/python3"), HelperNotStarted, 127)
    assert "--remote-python /none/python3 is no Python that can be started" in message


def test_a_named_python_that_may_not_be_executed(rsh, tmp_path):
    path = tmp_path / "plain"
    path.write_text("")
    message = failure(rsh(remote_python=str(path)), HelperNotStarted, 126)
    assert "may not be executed" in message


# An installed syncron.

INSTALLED = f"""
cd {{root}}
exec {sys.executable} -c '
import os, sys
assert sys.argv[1:] == ["--serve"], sys.argv
from syncron_lib.transport.marker import announce
announce(os.environ)
os.write(1, b"hello")
while data := os.read(0, 65536):
    while data: data = data[os.write(1, data):]
sys.stderr.write("echo ends\\n")
sys.exit(5)
' "$@"
"""
"""Says the marker and serves, as ``syncron --serve`` does."""

ROOT = Path(archive.__file__).parents[2]


def _installed(directory: Path, body: str | None = None) -> str:
    _python(directory, "syncron", body or INSTALLED.replace("{root}", shlex.quote(str(ROOT))))
    return f"{directory}:{os.environ['PATH']}"


def test_an_installed_syncron_is_preferred(rsh, tmp_path):
    connection = start(rsh(path=_installed(tmp_path / "bin")))
    assert connection.how == "installed"
    speak(connection)


def test_an_installed_syncron_below_the_home_directory(rsh, home):
    (home / ".local").mkdir()
    _installed(home / ".local" / "bin")
    connection = start(rsh())
    assert connection.how == "installed"
    speak(connection)


def _path_without_syncron(directory: Path) -> str:
    """PATH as it is, but for where syncron is installed; this Python is ``python3`` in it."""
    directory.mkdir(exist_ok=True)
    if not (directory / "python3").exists():
        _python(directory, "python3", f'exec {sys.executable} "$@"')
    parts = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(
        [str(directory), *(p for p in parts if not os.path.exists(os.path.join(p, "syncron")))]
    )


def test_shipping_can_be_asked_for(rsh, tmp_path):
    connection = start(rsh(path=_installed(tmp_path / "bin")), ship=True)
    assert connection.how == "shipped"
    speak(connection)


@pytest.mark.parametrize(
    "body", ["exit 1", "echo usage: syncron; exit 1", "exec /none/python", "kill -SEGV $$"]
)
def test_a_broken_installed_syncron_is_replaced_by_a_shipped_one(rsh, tmp_path, notices, body):
    connection = start(rsh(path=_installed(tmp_path / "bin", body)))
    assert connection.how == "shipped"
    speak(connection)
    assert any("Sending the helper instead" in notice for notice in notices)


def test_a_named_syncron(rsh, tmp_path):
    _installed(tmp_path / "bin")
    connection = start(rsh(remote_syncron=str(tmp_path / "bin" / "syncron")))
    assert connection.how == "installed"
    speak(connection)


@pytest.mark.parametrize(
    ("body", "mode", "code", "says"),
    [
        (None, 0o755, 127, "was not found"),
        ("exit 3", 0o644, 126, "may not be executed"),
        ("echo why >&2; exit 3", 0o755, 127, "ended with status 3 before it served; name another"),
    ],
)
def test_a_named_syncron_that_fails_is_not_replaced(rsh, tmp_path, body, mode, code, says):
    path = tmp_path / "bin" / "syncron"
    if body is not None:
        _installed(tmp_path / "bin", body)
        path.chmod(mode)
    message = failure(rsh(remote_syncron=str(path)), HelperNotStarted, code)
    assert says in message
    assert str(path) in message


def test_a_forced_installed_syncron_takes_the_marker_from_the_command(tmp_path, options):
    _installed(tmp_path / "bin")
    command = f"ForceCommand {tmp_path}/bin/syncron --serve"
    with running_sshd(tmp_path / "sshd", [command]) as server:
        connection = start(options(server.config))
    assert connection.how == "installed"
    connection.stream.close()


# Shells and accounts that are in the way.


def test_a_shell_that_is_not_clean(rsh):
    message = failure(rsh("head -c 1000000 /dev/zero | tr '\\0' x"), UncleanShell, 2)
    assert "not clean" in message
    assert '"xxxx' in message


def test_an_account_without_a_login(rsh):
    message = failure(
        rsh("echo 'This account is currently not available.'; exit 1"), HelperNotStarted, 127
    )
    assert 'printed "This account is currently not available."' in message
    assert "status 1" in message


def test_a_forced_command_over_ssh(tmp_path, options):
    with running_sshd(tmp_path / "sshd", ["ForceCommand echo restricted; exit 9"]) as server:
        message = failure(options(server.config), HelperNotStarted, 127)
    assert 'printed "restricted" and ended with status 9' in message


def test_a_command_that_ends_without_a_word(rsh):
    message = failure(rsh("echo oops >&2; exit 3"), HelperNotStarted, 127)
    assert "ended with status 3 and without a word" in message
    assert "It said: oops" in message


def test_no_shell_there(rsh):
    message = failure(rsh("exit 127"), HelperNotStarted, 127)
    assert "/bin/sh" in message


def test_a_shell_that_may_not_be_executed(rsh):
    assert "may not be executed" in failure(rsh("exit 126"), HelperNotStarted, 126)


def test_a_shell_that_is_killed(rsh):
    message = failure(rsh("kill -KILL $$"), HelperNotStarted, 127)
    assert "killed by SIGKILL" in message
    assert "run the same command again" in message


def test_an_external_ssh_that_does_not_say_why(rsh):
    message = failure(rsh("exit 255"), Unreachable, 255)
    assert "status 255" in message
    assert "run it by itself with -v" in message


def test_a_first_stage_that_is_killed(rsh, tmp_path):
    _python(tmp_path / "bin", "python3", "kill -TERM $$")
    message = failure(rsh(path=f"{tmp_path}/bin:/bin:/usr/bin"), HelperNotStarted, 127)
    assert "killed by SIGTERM before it had started" in message


@pytest.mark.parametrize(
    ("command", "heard"),
    [
        ("exec sleep 60", "its shell said nothing"),
        ("echo 'Your name?'; exec sleep 60", 'its shell printed "Your name?"'),
    ],
)
def test_a_shell_that_waits(rsh, command, heard):
    message = failure(rsh(command, timeout=3.0), TimedOut, 30)
    assert "did not start within 3 s" in message
    assert heard in message
    assert "--timeout" in message


def test_a_helper_that_takes_too_long_to_start(rsh, tmp_path):
    _installed(tmp_path / "bin", "exec sleep 60")
    message = failure(
        rsh(remote_syncron=str(tmp_path / "bin" / "syncron"), timeout=3.0), TimedOut, 30
    )
    assert "did not start within 3 s, though the shell there tried" in message
    assert "--timeout" in message


def test_a_helper_that_cannot_be_imported(rsh):
    packed = archive.pack({"broken": "import no_such_module"}, "broken:main")
    message = failure(rsh(), HelperNotStarted, 127, packed)
    assert "No module named 'no_such_module'" in message


def test_an_archive_that_is_not_what_was_announced(rsh):
    packed = archive.Archive("0" * 64, PACKED.text, PACKED.entry)
    assert "the archive is damaged" in failure(rsh(), HelperNotStarted, 127, packed)
    packed = archive.Archive(PACKED.digest, b"{}", PACKED.entry)
    assert "the archive is damaged" in failure(rsh(), HelperNotStarted, 127, packed)


def test_an_archive_that_is_too_large(rsh):
    packed = archive.Archive(PACKED.digest, os.urandom((8 << 20) + 1), PACKED.entry)
    assert "the archive is too large" in failure(rsh(), HelperNotStarted, 127, packed)


# The external command.


def test_an_external_command_that_does_not_exist(rsh):
    assert "-e /none/ssh cannot be run" in failure(rsh(rsh="/none/ssh x"), SshFailed, 255)


def test_an_external_ssh_that_fails(sshd, options, notices):
    config = sshd.write_config("external-wrong", replace={"Port": "1"})
    chosen = options(config, rsh=f"ssh -F {shlex.quote(str(config))}")
    message = failure(chosen, SshFailed, 255)
    assert "Connection refused" in message
    assert any("Connection refused" in notice for notice in notices)


def test_the_arguments_are_in_the_order_rsync_uses(tmp_path):
    from syncron_lib.transport.process import rsh_arguments

    remote = Remote("host", "user", None, b"")
    assert rsh_arguments("my 'odd ssh' -v", remote, "COMMAND", port=7, identity=["key"]) == [
        "my",
        "odd ssh",
        "-v",
        "-i",
        "key",
        "-l",
        "user",
        "-p",
        "7",
        "host",
        "COMMAND",
    ]
    remote = Remote("host", None, None, b"")
    assert rsh_arguments("ssh", remote, "C", port=None, identity=[]) == ["ssh", "host", "C"]


# Afterwards.


def test_a_killed_helper_is_told(rsh):
    packed = archive.pack(
        {"killed": "import os, signal\ndef main():\n    os.kill(os.getpid(), signal.SIGKILL)\n"},
        "killed:main",
    )
    connection = start(rsh(), packed)
    assert connection.stream.receive_into(memoryview(bytearray(1))) == 0
    assert connection.exit_status_text().startswith("was killed by SIGKILL")
    connection.stream.close()


def test_a_killed_helper_is_told_over_ssh(sshd, options):
    packed = archive.pack(
        {"killed": "import os, signal\ndef main():\n    os.kill(os.getpid(), signal.SIGSEGV)\n"},
        "killed:main",
    )
    connection = start(options(sshd.config), packed, ship=True)
    assert connection.stream.receive_into(memoryview(bytearray(1))) == 0
    assert connection.exit_status_text().startswith("was killed by SIGSEGV")
    connection.stream.close()


@pytest.mark.parametrize("action", ["receive", "send"])
def test_abort_wakes_a_thread_when_the_external_command_is_stopped(rsh, action):
    connection = start(rsh())
    assert receive_exactly(connection.stream, 5) == b"hello"
    process = connection.remote._process  # type: ignore[attr-defined]
    os.kill(process.pid, signal.SIGSTOP)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            if action == "receive":
                connection.stream.receive_into(memoryview(bytearray(1)))
            else:
                connection.stream.send(bytes(64 << 20))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    connection.stream.abort()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(raised[0], ConnectionLost)
    os.kill(process.pid, signal.SIGCONT)
    connection.stream.close()
    assert process.poll() is not None


def test_a_helper_that_does_not_end_is_not_waited_for_long(rsh):
    packed = archive.pack({"stuck": "import time\ndef main():\n    time.sleep(15)\n"}, "stuck:main")
    connection = start(rsh(), packed)
    started = time.monotonic()
    connection.stream.close()
    assert time.monotonic() - started < 10
    assert connection.exit_status_text().startswith("was killed by SIGTERM")


def test_paramiko_is_imported_only_when_it_is_needed():
    assert (
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, syncron_lib.transport.connect; sys.exit('paramiko' in sys.modules)",
            ],
            cwd=ROOT,
            check=False,
        ).returncode
        == 0
    )
