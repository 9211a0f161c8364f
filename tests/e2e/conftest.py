"""What the end-to-end tests share: the command as users start it, and a real SSH server."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.sshd import Sshd, running_sshd
from tests.trees import Place, assert_same, rsync_differences

if TYPE_CHECKING:
    from tests.e2e.forking import Forked

CHECKOUT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0

_AS_ROOT = [
    "test_folding.py",
    "test_as_root.py",
    "test_link_down.py",
    "test_power_loss.py",
    "test_state_without_room.py",
    "test_temp_dir_as_root.py",
]
collect_ignore = [] if IS_ROOT else _AS_ROOT
"""What only root can bring about (mounts, owners, another user) is no test for anyone else."""
if "SYNCRON_CLIENTS" not in os.environ:
    collect_ignore.append("test_ansible.py")  # half a gigabyte to install: `make clients`

REMOTE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""A bare account's, with no syncron on it."""


@dataclass(frozen=True)
class Ended:
    """One run of the command. ``summary`` is the last line of ``--json``, else empty."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The objects of ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last object, which must be the summary."""
        last: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        assert last["message_type"] == "summary"
        assert last["exit_code"] == (self.code if self.code >= 0 else 128 - self.code)
        return last


class Command:
    """Starts the command in a process of its own."""

    def words(self, *words: str | bytes | Path) -> list[str | bytes | Path]:
        """The command line."""
        return [sys.executable, str(CHECKOUT / "syncron.py"), *words]

    def start(self, *words: str | bytes | Path, **more: Any) -> subprocess.Popen[str]:
        """Begin a run."""
        environ = {**os.environ, **more.pop("environ", {})}
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **more}
        return subprocess.Popen(
            self.words(*words),
            env={name: value for name, value in environ.items() if value is not None},
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            **given,
        )

    def end(self, process: subprocess.Popen[str], *, within: float = 60.0) -> Ended:
        """Await the end of a run; a traceback is never an end."""
        began = time.monotonic()
        try:
            out, err = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"still running after {within} s\n{out}{err}") from None
        assert "Traceback" not in err, err
        return Ended(process.returncode, out or "", err, time.monotonic() - began)

    def __call__(self, *words: str | bytes | Path, **more: Any) -> Ended:
        """Run to the end."""
        return self.end(self.start(*words, **more))

    def ok(self, *words: str | bytes | Path, **more: Any) -> dict[str, Any]:
        """Run with ``--json``; it must end well and say that both sides are equal. The summary."""
        ended = self("--json", *words, **more)
        assert ended.code == 0, (ended.err, ended.out)
        summary = ended.summary
        assert summary["match"] is True
        assert summary["source_root"] == summary["destination_root"] is not None
        return summary


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    """The command, loaded."""
    from tests.e2e.forking import Forked  # which needs what is here

    forked = Forked(tmp_path_factory.mktemp("forked"))
    yield forked
    forked.close()


@pytest.fixture
def syncron() -> Command:
    """The command."""
    return Command()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One server a worker; its sessions keep their state beside it, not in anyone's home."""
    directory = tmp_path_factory.mktemp("sshd")
    environment = {
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "PATH": REMOTE_PATH,
    }
    with running_sshd(directory, environment=environment) as server:
        yield server


@pytest.fixture
def hosts(sshd: Sshd, home: Path) -> Sshd:
    """The server is known to the user as ``target`` and as ``other``."""
    (home / ".ssh").mkdir(mode=0o700)
    text = sshd.config.read_text()
    (home / ".ssh/config").write_text(text.replace("Host target", "Host target other", 1))
    return sshd


Script = Callable[..., str]


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """Makes a program from lines of sh; its path. ``{helper}`` stands for an installed syncron."""

    def make(text: str = "exec {helper}") -> str:
        path = tmp_path_factory.mktemp("bin") / "syncron"
        helper = f'{sys.executable} {CHECKOUT / "syncron.py"} "$@"'
        path.write_text("#!/bin/sh\n" + text.replace("{helper}", helper) + "\n")
        path.chmod(0o755)
        return str(path)

    return make


@dataclass(frozen=True)
class Way:
    """Where the two sides are. ``options`` choose the helper."""

    name: str
    source_host: str
    destination_host: str
    options: tuple[str, ...]

    def source(self, path: Place) -> str:
        """The word for a source."""
        return self.source_host + os.fsdecode(path)

    def destination(self, path: Place) -> str:
        """The word for a destination."""
        return self.destination_host + os.fsdecode(path)

    def words(self, source: Place, destination: Place) -> tuple[str, ...]:
        """All words of a run."""
        return (*self.options, self.source(source), self.destination(destination))


ALL_WAYS = (
    *("local", "push-installed", "push-shipped"),
    *("pull-installed", "pull-shipped", "relay-installed", "relay-shipped"),
)
WAYS = ("local", "push-installed", "pull-shipped", "relay-shipped")
"""One of each kind, for what does not depend on how the helper came there."""


MakeWay = Callable[[str], Way]


@pytest.fixture
def make_way(hosts: Sshd, script: Script) -> MakeWay:
    """Makes a way by its name."""

    def make(name: str) -> Way:
        direction, _, helper = name.partition("-")
        source = "target:" if direction in ("pull", "relay") else ""
        destination = {"push": "target:", "relay": "other:"}.get(direction, "")
        options = (f"--remote-syncron={script()}",) if helper == "installed" else ()
        return Way(name, source, destination, options)

    return make


@pytest.fixture(params=ALL_WAYS)
def any_way(request: pytest.FixtureRequest, make_way: MakeWay) -> Way:
    """Every way there is."""
    return make_way(request.param)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, make_way: MakeWay) -> Way:
    """One way of each kind."""
    return make_way(request.param)


def assert_copied(source: Place, destination: Place, *options: str) -> None:
    """Both are the same, by rsync's judgement and by ours; ``.syncron`` is gone."""
    assert rsync_differences(source, destination, *options) == []
    if not options:
        assert_same(os.fsdecode(source), os.fsdecode(destination), owner=IS_ROOT)
    assert not os.path.lexists(os.path.join(os.fsdecode(destination), ".syncron"))


@contextmanager
def mounted(place: Path, options: str = "size=8m") -> Iterator[Path]:
    """A tmpfs, gone when the block ends."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{options},mode=755", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def listing(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything that `stat` says of everything below, but for the times of access."""
    found: dict[str, tuple[object, ...]] = {}
    for where in [top, *top.rglob("*")]:
        st = os.lstat(where)
        kind = (st.st_mode, st.st_ino, st.st_uid, st.st_gid, st.st_nlink)
        found[str(where)] = (*kind, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
    return found


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether ``condition`` came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return bool(condition())


def is_locked(directory: Path) -> bool:
    """Whether somebody holds a directory."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def children(pid: int) -> list[int]:
    """The processes that descend from ``pid``."""
    found: list[int] = []
    todo = [pid]
    while todo:
        tasks = Path(f"/proc/{todo.pop()}/task")
        try:
            lists = [task.read_text() for task in tasks.glob("*/children")]
        except OSError:  # it ended while we looked, and left no children of its own
            continue
        below = [int(word) for text in lists for word in text.split()]
        found += below
        todo += below
    return found


def command_line(pid: int) -> str:
    """What a process was started as; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process runs (one that is dead and not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def held(*pids: int) -> Iterator[None]:
    """Stopped processes, which go on, if they are still there, when the block ends."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGCONT)
