"""SIGKILL at every system call by which a run changes something: each file is the old one or the
new one, nobody outlives it, and the next run makes both sides equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deep import DEEP, spread
from tests.e2e.conftest import Command, Ended, MakeWay, Script, children, eventually
from tests.e2e.faults import MUTATING, WORKLOADS, Bench, points, tracing
from tests.e2e.forking import CLIENT, DESTINATION, SOURCE, Forked
from tests.sshd import Sshd

pytestmark = pytest.mark.timeout(3600 if DEEP else 120)

_KILL = "signal=KILL"


@pytest.fixture(params=WORKLOADS)
def bench(request: pytest.FixtureRequest, forked: Forked, tmp_path: Path) -> Bench:
    """Each workload."""
    return Bench(forked, WORKLOADS[request.param], tmp_path)


@pytest.mark.parametrize(
    ("who", "calls", "most", "code"),
    [
        pytest.param(DESTINATION, MUTATING, 20, 12, id="destination"),
        pytest.param(SOURCE, MUTATING, 3, 12, id="source"),
        pytest.param(CLIENT, ("sendto",), 6, -9, id="client"),
    ],
)
def test_killed_between_any_two_changes(
    bench: Bench, who: int, calls: tuple[str, ...], most: int, code: int
) -> None:
    """A client changes nothing by itself; what it sends has others change something."""
    found = bench.points(who, calls)
    chosen = spread(found, most)
    for point in chosen:
        bench.reset()
        strace = ("-o", "/dev/null", *point.inject(_KILL))
        ended = bench.run(*bench.words(), who=who, strace=strace)
        assert ended.code == code, (point, ended.code, ended.err)
        assert code != 12 or "run the same command again" in ended.err, ended.err
        bench.assert_survived(point)
    print(f"{bench.workload.name}: killed at {len(chosen)} of {len(found)} points")


@pytest.mark.parametrize("way", ["rsh", "ssh"])
def test_a_remote_helper_is_killed_between_any_two_changes(
    syncron: Command,
    bench: Bench,
    hosts: Sshd,
    make_way: MakeWay,
    script: Script,
    tmp_path: Path,
    way: str,
) -> None:
    """What is said to the client is a change too: it goes on by it."""
    rsh = tmp_path / "rsh"
    rsh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    rsh.chmod(0o755)
    to = (f"--rsh={rsh}",) if way == "rsh" else ()

    def start(helper: str, *words: str | Path) -> Ended:
        words = (*to, f"--remote-syncron={helper}", *words)
        return bench.run(*words) if way == "rsh" else syncron(*words)

    def run(*options: str) -> tuple[int, str]:
        # By way of the remote, which remembers it in a place of its own.
        ended = start(script(), "--delete", bench.old, f"target:{bench.destination}")
        assert ended.code == 0, ended.err
        helper = script(f"exec strace -f -qq {' '.join(options)} {{helper}}")
        ended = start(helper, *bench.words("target:"))
        return ended.code, ended.err

    trace = tmp_path / "trace"
    for _ in range(2):  # once all is remembered over there, each run is like the one before
        assert run(*tracing(trace)) == (0, "")
    found = points(trace)
    # What it does before it serves is the interpreter's.
    usual = ("openat", "write", "ioctl", "mkdir")
    first = next(n for n, point in enumerate(found) if point.call not in usual)
    chosen = spread(found[first:], 4 if way == "rsh" else 2)
    missed = 0
    for point in chosen:
        code, err = run("-o", "/dev/null", *point.inject(_KILL))
        if code == 0 and point.call == "write":
            missed += 1  # it said less this time: how far it has come is told by the clock
        else:
            assert code == 12, (point, code, err)
            assert "run the same command again" in err
        assert eventually(lambda: not children(hosts.pid), 5), "a helper outlives its client"
        bench.assert_survived(point)
    assert missed <= 2
    print(f"{bench.workload.name}: killed at {len(chosen) - missed} of {len(found)} points")
