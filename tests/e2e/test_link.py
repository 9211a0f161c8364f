"""The link between client and helper: cut, down, slow; and ends that stand still. Whatever happens,
both ends are over in time, no file is torn, no lock is held, and the next run goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import frame_relay
from tests.deep import DEEP, part
from tests.e2e.conftest import (
    Command,
    Ended,
    MakeWay,
    Script,
    assert_copied,
    children,
    command_line,
    eventually,
    held,
    is_alive,
)
from tests.e2e.test_kill import assert_old_or_new
from tests.frame_relay import OFFSETS, Fault, Seen
from tests.relay import running_relay
from tests.sshd import Sshd
from tests.trees import File, make, noise

Frame = tuple[str, int]
"""Where a frame goes, and its how-manieth there it is."""
WAYS = ["push", "pull"]
TIMEOUT = 2
_IN_TIME = 2.0
"""Seconds after the time-out in which everything has to be over."""
_BUSY = 1.5
"""What a machine that does several such runs at once may take longer."""


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source, and an older copy of it: with something new, changed, large, moved and gone."""
    top = tmp_path_factory.mktemp("trees")
    large, moved = noise(700_000), noise(5000, seed=1)
    make(top / "old", {"d": {"a": b"old", "b": b"same", "gone": b"x"}, "large": large, "m": moved})
    changed = File(large[:300_000] + b"inserted" + large[300_000:], mode=0o600)
    make(
        top / "new",
        {
            "d": {"a": b"new!", "b": b"same"},
            "e": {"f": b"1", "g": {}},
            "large": changed,
            "n": moved,
        },
    )
    return top / "new", top / "old"


def spread(frames: list[Frame], most: int) -> list[tuple[Frame, int]]:
    """Each frame with all the bytes to be tried at its end. Outside of the deep profile at most so
    many frames, with one each, in turns."""
    if DEEP:
        return part([(frame, offset) for frame in frames for offset in OFFSETS])
    chosen = frames[:: -(-len(frames) // most)]
    return [(frame, OFFSETS[number % 3]) for number, frame in enumerate(chosen)]


class Run(NamedTuple):
    """One run over a link of which something happens."""

    fault: Fault
    ended: Ended
    at: float
    """When it ended, by the monotonic clock."""
    seen: Seen
    destination: Path


class Link:
    """Runs from ``new`` to a copy of ``old`` over a link, one after the other or side by side."""

    def __init__(
        self, command: Command, helper: str, way: str, trees: tuple[Path, Path], top: Path
    ) -> None:
        self._command = command
        self._helper = helper
        self._way = way
        self.new, self.old = trees
        self._top = top

    def words(self, destination: Path) -> tuple[str, str]:
        """Source and destination."""
        if self._way == "push":
            return str(self.new), f"host:{destination}"
        return f"host:{self.new}", str(destination)

    def _place(self, fault: Fault, suffix: str) -> Path:
        return self._top / ("-".join(map(str, fault)) + suffix)

    def start(self, fault: Fault, *options: str) -> subprocess.Popen[str]:
        """Begin one run, from the beginning."""
        destination = self._place(fault, "")
        subprocess.run(["cp", "-a", self.old, destination], check=True)
        relay = frame_relay.option(self._place(fault, ".log"), fault)
        helper = f"--remote-syncron={self._helper}"
        return self._command.start(
            "--json", "--delete", *options, relay, helper, *self.words(destination)
        )

    def run(self, fault: Fault, *options: str) -> Run:
        """One run, to its end."""
        ended = self._command.end(self.start(fault, *options))
        seen = frame_relay.seen(self._place(fault, ".log"))
        return Run(fault, ended, time.monotonic(), seen, self._place(fault, ""))

    def frames(self, *options: str) -> list[Frame]:
        """What passes where nothing happens."""
        run = self.run(frame_relay.NO_FAULT, *options)
        assert run.ended.code == 0, run.ended.err
        self.check(run)
        count = Counter(direction for direction, _ in run.seen.frames)
        return [(direction, n) for direction, most in count.items() for n in range(most)]

    def check(self, run: Run) -> None:
        """Nothing is torn, no helper is left, and the next run gets the lock and ends it."""
        assert run.ended.err.count("\n") <= 2, run
        assert_old_or_new(run.destination, self.old, self.new)
        if run.ended.code == 0:
            assert_copied(self.new, run.destination)
        else:
            assert run.ended.err.startswith("syncron: "), run
            assert "again" in run.ended.err or "--timeout" in run.ended.err, run
        if run.seen.is_greeted:
            assert eventually(lambda: not is_alive(run.seen.helper), 5), run
        elif is_alive(run.seen.helper):
            os.kill(run.seen.helper, signal.SIGKILL)  # it waits for a greeting, and holds nothing
        self._command.ok("--delete", "--lock-wait=5", self.new, run.destination)
        assert_copied(self.new, run.destination)
        shutil.rmtree(run.destination)

    def all(self, faults: Iterable[Fault], *options: str, at_once: int = 2) -> list[Run]:
        """A run for each of ``faults``, checked."""

        def one(fault: Fault) -> Run:
            run = self.run(fault, *options)
            self.check(run)
            return run

        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(one, faults))


@pytest.fixture(params=WAYS)
def link(
    request: pytest.FixtureRequest,
    syncron: Command,
    script: Script,
    trees: tuple[Path, Path],
    tmp_path: Path,
) -> Link:
    """A link one way."""
    return Link(syncron, script(), request.param, trees, tmp_path)


@pytest.mark.timeout(900)
def test_the_link_is_cut_at_every_boundary_of_a_frame(link: Link) -> None:
    """And one byte before and behind it."""
    frames = link.frames()
    assert len(frames) > 20
    faults = [Fault("cut", *frame, offset) for frame, offset in spread(frames, 36)]
    codes: Counter[int] = Counter()
    for run in link.all(faults):
        codes[run.ended.code] += 1
        assert run.ended.code in (0, 12), run
    assert codes[12] > len(faults) * 0.5, codes
    print(f"{len(faults)} cuts at {len(frames)} frames: {dict(codes)}")


def assert_in_time(run: Run) -> None:
    """Both ends gave the other up by themselves."""
    assert run.ended.code == 30, run
    assert run.seen.happened is not None
    assert run.at - run.seen.happened < TIMEOUT + _IN_TIME + _BUSY, run
    if run.seen.is_greeted:
        assert run.seen.ended is not None, run
        assert run.seen.ended - run.seen.happened < TIMEOUT + _IN_TIME + _BUSY, run


@pytest.mark.timeout(900)
def test_the_link_goes_down_at_every_frame(link: Link) -> None:
    """Nothing is closed, nothing passes: both ends find out by themselves, in time."""
    frames = link.frames()
    faults = [Fault("hold", *frame, offset) for frame, offset in spread(frames, 10)]
    codes: Counter[int] = Counter()
    for run in link.all(faults, f"--timeout={TIMEOUT}", at_once=4):
        codes[run.ended.code] += 1
        if run.ended.code:
            assert_in_time(run)
    assert codes[30] > len(faults) * 0.5, codes  # the last frames are not waited for
    print(f"{len(faults)} times down at {len(frames)} frames: {dict(codes)}")


def test_a_byte_now_and_then_is_no_greeting(link: Link) -> None:
    """Who has greeted may be as slow as it likes; a greeting has to be whole in time."""
    begins_slow = Fault("slow", "client", -1, 0, TIMEOUT / 4)
    (run,) = link.all([begins_slow], f"--timeout={TIMEOUT}")
    assert run.ended.code == 30, run
    assert run.seen.happened is not None
    assert run.at - run.seen.happened < TIMEOUT + _IN_TIME
    assert "greeting" in run.ended.err


def test_a_byte_now_and_then_is_a_sign_of_life(link: Link) -> None:
    """In mid-frame: a slow link is none that is down, and can be ended by a signal."""
    options = "--json", "--delete", f"--timeout={TIMEOUT}"
    slow = [Fault("slow", direction, 4, 1, TIMEOUT / 4) for direction in ("client", "helper")]
    runs = [link.start(fault, *options) for fault in slow]
    # So slow that it is as good as down.
    assert_in_time(link.all([Fault("slow", "client", 4, 1, TIMEOUT * 4)], *options)[0])
    time.sleep(TIMEOUT)
    assert [run.poll() for run in runs] == [None, None]
    for run in runs:
        run.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert [run.wait() for run in runs] == [-signal.SIGTERM] * 2
    assert time.monotonic() - began < _IN_TIME


def helpers_of(server: Sshd) -> list[int]:
    """The remote helpers."""
    return [pid for pid in children(server.pid) if "sshd" not in command_line(pid)]


def sessions_of(server: Sshd) -> list[int]:
    """The server's own processes for its connections."""
    return [pid for pid in children(server.pid) if "sshd" in command_line(pid)]


def await_gone(pids: list[int], within: float) -> None:
    """All of ``pids`` end in time."""
    assert eventually(lambda: not any(map(is_alive, pids)), within), pids


@pytest.fixture
def full(tmp_path: Path) -> tuple[Path, Path]:
    """A source that fills every pipe and window for a while, and a place for its copy."""
    make(tmp_path / "src", {f"{n}": noise(1_000_000, seed=n) for n in range(60)})
    (tmp_path / "dst").mkdir()
    return tmp_path / "src", tmp_path / "dst"


@pytest.mark.parametrize("who", ["local helper", "remote helper", "session"])
@pytest.mark.parametrize("name", ["push-installed", "pull-installed"])
def test_who_stands_still_is_given_up(
    syncron: Command,
    hosts: Sshd,
    make_way: MakeWay,
    full: tuple[Path, Path],
    name: str,
    who: str,
) -> None:
    """While content moves, so that whoever sends to it meets full pipes."""
    way = make_way(name)
    run = syncron.start("--json", f"--timeout={TIMEOUT}", *way.words(*full))
    assert eventually((full[1] / ".syncron").exists)
    local, remote = children(run.pid), helpers_of(hosts)
    stopped = {"local helper": local, "remote helper": remote, "session": sessions_of(hosts)}[who]
    with held(*stopped):
        began = time.monotonic()
        ended = syncron.end(run, within=10)
        assert time.monotonic() - began < TIMEOUT + _IN_TIME
        assert ended.code == 30, ended.err
        assert "--timeout" in ended.err
        await_gone([pid for pid in local + remote if pid not in stopped], TIMEOUT + _IN_TIME)
    await_gone(local + remote, 5)
    syncron.ok("--lock-wait=5", *way.words(*full))
    assert_copied(*full)


@pytest.mark.parametrize("name", ["local", "push-installed"])
def test_a_client_that_stands_still_holds_no_lock(
    syncron: Command, hosts: Sshd, make_way: MakeWay, full: tuple[Path, Path], name: str
) -> None:
    way = make_way(name)
    run = syncron.start("--json", f"--timeout={TIMEOUT}", *way.words(*full))
    assert eventually((full[1] / ".syncron").exists)
    helpers = children(run.pid) + helpers_of(hosts)
    with held(run.pid):
        await_gone(helpers, TIMEOUT + _IN_TIME)
        syncron.ok(*way.words(*full))
        assert_copied(*full)
    ended = syncron.end(run, within=10)
    assert ended.code in (12, 30), ended.err


def test_a_run_that_was_suspended_goes_on(syncron: Command, full: tuple[Path, Path]) -> None:
    """Ctrl-Z stops the client and its helpers for as long as a person likes."""
    run = syncron.start("--json", "--timeout=1", *full)
    assert eventually((full[1] / ".syncron").exists)
    with held(run.pid, *children(run.pid)):
        time.sleep(3)
    ended = syncron.end(run)
    assert ended.code == 0, ended.err
    assert_copied(*full)


def go_through(port: int, server: Sshd, home: Path) -> None:
    """Let the user's connections to the server go through another port of this machine."""
    known = home / "known_hosts"
    known.write_text(server.known_hosts_line(f"[127.0.0.1]:{port}"))
    replace = {"Port": str(port), "UserKnownHostsFile": str(known)}
    config = server.write_config(f"through-{port}", replace=replace)
    (home / ".ssh/config").write_text(config.read_text())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["push-installed", "pull-installed"])
def test_a_connection_is_cut_anywhere(
    syncron: Command,
    hosts: Sshd,
    home: Path,
    make_way: MakeWay,
    trees: tuple[Path, Path],
    tmp_path: Path,
    name: str,
) -> None:
    """Below SSH: in its handshake, in the shell's lines, in packets of both directions."""
    codes: Counter[int] = Counter()
    places = part(range(500, 16_000, 200 if DEEP else 4000))
    for place in places:
        destination = tmp_path / str(place)
        subprocess.run(["cp", "-a", trees[1], destination], check=True)
        words = ("--delete", *make_way(name).words(trees[0], destination))
        with running_relay(hosts.port, cut_after=place) as relay:
            go_through(relay.port, hosts, home)
            ended = syncron("--json", *words)
        codes[ended.code] += 1
        assert ended.code in (0, 12, 255), ended.err
        assert_old_or_new(destination, trees[1], trees[0])
        assert eventually(lambda: not helpers_of(hosts), 5)
        go_through(hosts.port, hosts, home)
        syncron.ok(*words)
        assert_copied(trees[0], destination)
    assert codes[12] and codes[255]
    print(f"{len(places)} connections cut: {dict(codes)}")
