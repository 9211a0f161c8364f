"""Ends that nobody planned: at every moment each file is the old one or the whole new one, the
next run goes on, and nothing is left running or locked. Every single moment has its place in
`test_crash_points`."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import (
    Command,
    MakeWay,
    Script,
    Way,
    assert_copied,
    children,
    command_line,
    eventually,
    is_alive,
)
from tests.sshd import Sshd
from tests.trees import File, make, noise


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source, and an older copy of it."""
    top = tmp_path_factory.mktemp("trees")
    old = {f"{n:02}": b"old %d" % n for n in range(30)} | {"large": noise(600_000), "gone": b"x"}
    make(top / "old", {"d": old, "e": {"gone": {"f": b"y"}}, "kind": {"was": b"directory"}})
    new = {f"{n:02}": b"new %d!" % n for n in range(40)} | {"large": noise(1_500_000, seed=1)}
    fresh = {f"{n}": {f"{m}": noise(300, seed=n * m) for m in range(12)} for n in range(12)}
    make(top / "new", {"d": new, "e": fresh, "kind": b"now a file", "l": noise(700_000, seed=2)})
    return top / "new", top / "old"


def contents(top: Path) -> dict[str, bytes]:
    """Every regular file outside of the staging."""
    found = {}
    for where, below, names in os.walk(top):
        below[:] = [name for name in below if name != ".syncron"]
        for name in names:
            path = Path(where, name)
            found[str(path.relative_to(top))] = path.read_bytes()
    return found


def assert_old_or_new(destination: Path, old: Path, new: Path) -> None:
    """Each file is one of the two, byte for byte, and there is no other."""
    before, after = contents(old), contents(new)
    found = contents(destination)
    for path, content in found.items():
        assert content in (before.get(path), after.get(path)), path
    for path in before.keys() & after.keys():
        assert path in found, path


def assert_goes_on(
    syncron: Command, way: Way, trees: tuple[Path, Path], destination: Path, sshd: Sshd
) -> None:
    """No helper is left, no lock is held, and the next run ends it."""
    new, old = trees
    assert eventually(lambda: not children(sshd.pid), 5), "a helper outlives its client"
    assert_old_or_new(destination, old, new)
    syncron.ok("--delete", *way.words(new, destination))
    assert_copied(new, destination)


def copy(old: Path, destination: Path) -> None:
    """The destination as it was before."""
    shutil.rmtree(destination, ignore_errors=True)
    subprocess.run(["cp", "-a", old, destination], check=True)


_TRIES = 25
"""At most; a machine may be so quick that many a run is over before it is hit."""


def writing(
    run: subprocess.Popen[str], destination: Path, generator: random.Random, span: float
) -> None:
    """Wait until ``run`` writes to ``destination``, and at most ``span`` seconds more."""
    eventually(lambda: (destination / ".syncron").exists() or run.poll() is not None)
    time.sleep(generator.uniform(0, span))


@pytest.mark.parametrize("name", ["push-shipped", "pull-installed", "relay-shipped"])
def test_the_client_is_killed_at_any_moment(
    syncron: Command,
    hosts: Sshd,
    make_way: MakeWay,
    trees: tuple[Path, Path],
    tmp_path: Path,
    name: str,
) -> None:
    new, old = trees
    way = make_way(name)
    destination = tmp_path / "dst"
    generator = random.Random(name)
    reached = 0
    for attempt in range(_TRIES):
        if attempt >= 4 and reached:
            break
        copy(old, destination)
        run = syncron.start("--delete", *way.words(new, destination))
        writing(run, destination, generator, 0.08 * 0.6**attempt)
        own = children(run.pid)
        run.kill()
        run.communicate()
        reached += contents(destination) != contents(new)
        assert eventually(lambda own=own: not any(map(is_alive, own)), 5), own  # type: ignore[misc]
        assert_goes_on(syncron, way, trees, destination, hosts)
    assert reached, "every run was over before it was killed"


@pytest.mark.parametrize("name", ["push-shipped", "pull-installed"])
def test_the_servers_session_is_killed(
    syncron: Command,
    hosts: Sshd,
    make_way: MakeWay,
    trees: tuple[Path, Path],
    tmp_path: Path,
    name: str,
) -> None:
    new, old = trees
    way = make_way(name)
    destination = tmp_path / "dst"
    generator = random.Random(name)
    codes = Counter[int]()
    for attempt in range(_TRIES):
        if attempt >= 4 and codes[12]:
            break
        copy(old, destination)
        run = syncron.start("--json", "--delete", *way.words(new, destination))
        writing(run, destination, generator, 0.05 * 0.6**attempt)
        for pid in children(hosts.pid):
            if "sshd" in command_line(pid):
                os.kill(pid, signal.SIGKILL)
        ended = syncron.end(run, within=10)
        codes[ended.summary["exit_code"]] += 1
        assert_goes_on(syncron, way, trees, destination, hosts)
    assert set(codes) <= {0, 12}
    assert codes[12], "every run was over before its session was killed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["local", "push-shipped", "pull-installed"])
def test_a_signal_ends_it_in_order(
    syncron: Command,
    hosts: Sshd,
    make_way: MakeWay,
    trees: tuple[Path, Path],
    tmp_path: Path,
    name: str,
    number: signal.Signals,
) -> None:
    new, old = trees
    way = make_way(name)
    destination = tmp_path / "dst"
    generator = random.Random(f"{name}{number}")
    codes = Counter[int]()
    for attempt in range(_TRIES):
        if attempt >= 2 and codes[128 + number]:
            break
        copy(old, destination)
        run = syncron.start("--json", "--delete", *way.words(new, destination))
        writing(run, destination, generator, 0.01 * 0.6**attempt)
        own = children(run.pid)
        run.send_signal(number)
        ended = syncron.end(run)
        assert ended.seconds < 2
        codes[ended.summary["exit_code"]] += 1
        assert ended.code in (0, -number)
        assert eventually(lambda own=own: not any(map(is_alive, own)), 2), own  # type: ignore[misc]
        assert_goes_on(syncron, way, trees, destination, hosts)
    assert set(codes) <= {0, 128 + number}
    assert codes[128 + number], "every run was over before the signal came"


@pytest.mark.parametrize("moment", ["while it scans", "while it connects"])
def test_a_signal_at_an_early_moment(
    syncron: Command, hosts: Sshd, script: Script, tmp_path: Path, moment: str
) -> None:
    make(tmp_path / "src", {"a": b"1"})
    waiting = {"while it scans": "exec sleep 30", "while it connects": "sleep 30; {helper}"}
    words = (f"--remote-syncron={script(waiting[moment])}", tmp_path / "src", "target:nowhere")
    run = syncron.start("--json", *words)
    assert eventually(lambda: any("sleep" in command_line(pid) for pid in children(hosts.pid)))
    run.send_signal(signal.SIGTERM)
    ended = syncron.end(run)
    assert (ended.code, ended.summary["exit_code"]) == (-15, 143)
    assert ended.seconds < 2


@pytest.mark.parametrize("remote", [False, True])
def test_a_signal_ends_helpers_that_are_busy(
    syncron: Command, hosts: Sshd, script: Script, tmp_path: Path, remote: bool
) -> None:
    """A long scan has nothing to say for a while, and must not keep anyone waiting."""
    make(tmp_path / "src", {f"{number}": {} for number in range(1000)})
    strace = "strace -f -qq -o /dev/null -e inject=getdents64:delay_enter=20000"
    helper = script(f"exec {strace} {{helper}}")
    source = f"target:{tmp_path}/src" if remote else f"{tmp_path}/src"
    words = syncron.words("--json", f"--remote-syncron={helper}", source, tmp_path / "dst")
    whole = [*([] if remote else strace.split()), *words]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if b'"scanning"' in line:
                break
        time.sleep(1)
        own = [run.pid, *children(run.pid)]
        client = run.pid if remote else children(run.pid)[0]
        began = time.monotonic()
        os.kill(client, signal.SIGTERM)
        assert eventually(lambda: not any(map(is_alive, own)), 10)
        assert time.monotonic() - began < 2
        last = run.stdout.read().splitlines()[-1]
    assert b'"exit_code": 143' in last
    # The remote helper learns of it when it next says how far it is.
    assert eventually(lambda: not children(hosts.pid), 30)


def test_a_helper_that_never_answers_is_given_up_in_time(
    syncron: Command, hosts: Sshd, script: Script, tmp_path: Path
) -> None:
    make(tmp_path / "src", {"a": b"1"})
    silent = script("exec sleep 60")
    words = (f"--remote-syncron={silent}", tmp_path / "src", f"target:{tmp_path}/dst")
    ended = syncron("--json", "--timeout=1", *words)
    assert ended.code == 30, ended.err
    assert ended.seconds < 4
    assert eventually(lambda: not children(hosts.pid), 5)


def test_a_busy_peer_is_not_given_up(
    syncron: Command, hosts: Sshd, script: Script, tmp_path: Path
) -> None:
    """A scan that takes longer than the time-out is heard of all the while."""
    make(tmp_path / "src", {f"{number}": {"x": b"1"} for number in range(150)})
    helper = script(
        "exec strace -f -qq -o /dev/null -e inject=getdents64:delay_enter=20000 {helper}"
    )
    words = (f"--remote-syncron={helper}", f"target:{tmp_path}/src", tmp_path / "dst")
    began = time.monotonic()
    syncron.ok("--timeout=2", *words)
    assert time.monotonic() - began > 4, "it was not slow at all"


@pytest.mark.parametrize("name", ["local", "push-shipped", "pull-installed"])
def test_a_large_file_goes_on_where_it_was(
    syncron: Command,
    hosts: Sshd,
    make_way: MakeWay,
    tmp_path: Path,
    name: str,
) -> None:
    way = make_way(name)
    source, destination = tmp_path / "src", tmp_path / "dst"
    size = 100_000_000
    make(source, {"large": File(noise(size))})
    make(destination, {"large": b"the old one"})
    run = syncron.start(*way.words(source, destination))

    def arrived() -> int:
        return sum(path.stat().st_size for path in (destination / ".syncron").glob("n*"))

    assert eventually(lambda: arrived() > size * 0.4)
    run.kill()
    run.communicate()
    there = arrived()
    assert there < size, "it was over before it was killed"
    assert (destination / "large").read_bytes() == b"the old one"
    assert eventually(lambda: not children(hosts.pid), 5)
    summary = syncron.ok(*way.words(source, destination))
    assert summary["bytes_transferred"] <= size * 0.65
    if name == "push-shipped":
        assert summary["bytes_sent"] < size * 0.65
    if name == "pull-installed":
        assert summary["bytes_received"] < size * 0.65
    assert_copied(source, destination)


def test_what_was_staged_of_another_file_is_not_used(syncron: Command, tmp_path: Path) -> None:
    """The source changes between the killed run and the next."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"large": noise(30_000_000), "d": {f"{n}": b"x%d" % n for n in range(2000)}})
    destination.mkdir()
    run = syncron.start(source, destination)
    assert eventually(lambda: any((destination / ".syncron").glob("n*")))
    run.kill()
    run.communicate()
    (source / "large").write_bytes(noise(30_000_000, seed=5))
    for number in range(2000):
        (source / f"d/{number}").write_bytes(b"y%d" % number)
    assert eventually(lambda: syncron(source, destination).code == 0, 5)
    assert_copied(source, destination)
