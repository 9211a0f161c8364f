"""``--bwlimit`` holds on the wire: pushing, pulling, and for each link of a relay."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.deep import DEEP
from tests.e2e.conftest import Command, MakeWay, assert_copied, eventually
from tests.relay import Relay, running_relay
from tests.sshd import Sshd
from tests.trees import make, noise

SECONDS = 10.0 if DEEP else 2.0
RATE = 1 << 20


def go_through(relay: Relay, sshd: Sshd, home: Path) -> None:
    """Let the user's connections go through ``relay``."""
    known = home / "known_hosts"
    known.write_text(sshd.known_hosts_line(f"[127.0.0.1]:{relay.port}"))
    replace = {"Port": str(relay.port), "UserKnownHostsFile": str(known)}
    config = sshd.write_config("limited", replace=replace, host="target other")
    (home / ".ssh/config").write_text(config.read_text())


@pytest.mark.parametrize("direction", ["push", "pull", "relay"])
def test_it_holds_within_five_percent(
    syncron: Command, make_way: MakeWay, hosts: Sshd, home: Path, tmp_path: Path, direction: str
) -> None:
    way = make_way(f"{direction}-installed")
    source, destination = tmp_path / "src", tmp_path / "dst"
    size = int(RATE * (SECONDS + 6))
    small = {f"{number:03}": noise(3_000, number) for number in range(100)}
    make(source, {"large": noise(size), "small": small})
    with running_relay(hosts.port) as relay:
        go_through(relay, hosts, home)

        def passed() -> list[int]:
            up = [relay.bytes_up] if direction != "pull" else []
            return up + ([relay.bytes_down] if direction != "push" else [])

        run = syncron.start("--bwlimit=1m", *way.words(source, destination))
        # The client passes on whole packs: the second link of a relay begins one later.
        assert eventually(lambda: min(passed()) > 1.5 * RATE)
        before, began = passed(), time.monotonic()
        time.sleep(SECONDS)
        after, elapsed = passed(), time.monotonic() - began
        run.send_signal(signal.SIGTERM)
        ended = syncron.end(run)
    for one, other in zip(before, after, strict=True):
        assert (other - one) / elapsed == pytest.approx(RATE, rel=0.05)
    # What is half sent does not hold up the end.
    assert ended.code == -signal.SIGTERM


def test_a_rate_that_takes_longer_than_the_time_out(
    syncron: Command, make_way: MakeWay, tmp_path: Path
) -> None:
    """The one pack takes four seconds; the time-out is two."""
    for direction in ("push", "pull"):
        way = make_way(f"{direction}-installed")
        source, destination = tmp_path / "src", tmp_path / direction
        if not source.exists():
            make(source, {"a": noise(40_000)})
        words = ("--bwlimit=10", "--timeout=2", *way.words(source, destination))
        began = time.monotonic()
        syncron.ok(*words)
        assert time.monotonic() - began > 3.8
        assert_copied(source, destination)
