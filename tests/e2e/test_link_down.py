"""A network link that goes down: nothing is closed, nothing arrives, and nobody is told.
Collected only where the tests run as root, who alone can make network namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT, Command, Script, assert_copied, eventually
from tests.e2e.test_link import helpers_of
from tests.sshd import Sshd, running_sshd
from tests.trees import make, noise

TIMEOUT = 2
_IN_TIME = 2.0
_HERE, _THERE = "10.213.71.1", "10.213.71.2"


def ip(*words: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """A namespace with one link to this machine's own; clients run in there."""

    def __init__(self) -> None:
        self._name = f"syncron{os.getpid()}"
        self._link = f"sy{os.getpid()}"

    @contextmanager
    def existing(self) -> Iterator[None]:
        """Made, and gone when the block ends."""
        ip("netns", "add", self._name)
        try:
            ip("link", "add", self._link, "type", "veth", "peer", "eth0", "netns", self._name)
            ip("addr", "add", f"{_HERE}/24", "dev", self._link)
            ip("-n", self._name, "addr", "add", f"{_THERE}/24", "dev", "eth0")
            ip("-n", self._name, "link", "set", "eth0", "up")
            self.set("up")
            yield
        finally:
            # By itself the link would go some time after its namespace, and keep the name so long.
            subprocess.run(["ip", "link", "delete", self._link], check=False)
            ip("netns", "delete", self._name)

    def set(self, state: str) -> None:
        """Take the link up or down."""
        ip("link", "set", self._link, state)

    def command(self) -> Command:
        """The command, run in the namespace."""
        prefix = ["ip", "netns", "exec", self._name]

        class There(Command):
            def words(self, *words: str | bytes | Path) -> list[str | bytes | Path]:
                return [*prefix, sys.executable, str(CHECKOUT / "syncron.py"), *words]

        return There()


@pytest.fixture
def network() -> Iterator[Network]:
    """A link that is up."""
    made = Network()
    with made.existing():
        yield made


@pytest.fixture
def server(network: Network, home: Path, tmp_path: Path) -> Iterator[Sshd]:
    """Known in the namespace as ``target``."""
    with running_sshd(tmp_path / "sshd", [f"ListenAddress {_HERE}"]) as server:
        server.known_hosts.write_text(server.known_hosts_line(f"[{_HERE}]:{server.port}"))
        config = server.write_config("there", replace={"HostName": _HERE})
        (home / ".ssh").mkdir(mode=0o700)
        (home / ".ssh/config").write_text(config.read_text())
        yield server


@pytest.mark.parametrize("name", ["push", "pull"])
def test_a_link_that_goes_down_ends_both_sides(
    network: Network, server: Sshd, script: Script, syncron: Command, tmp_path: Path, name: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"{n}": noise(1_000_000, seed=n) for n in range(60)})
    destination.mkdir()
    both = [str(source), str(destination)]
    both[name == "push"] = "target:" + both[name == "push"]
    run = network.command().start(
        "--json", f"--timeout={TIMEOUT}", f"--remote-syncron={script()}", *both
    )
    assert eventually((destination / ".syncron").exists), run.communicate()
    network.set("down")
    began = time.monotonic()
    ended = syncron.end(run, within=10)
    assert time.monotonic() - began < TIMEOUT + _IN_TIME
    assert ended.code in (12, 30), ended.err
    assert "run the same command again" in ended.err or "--timeout" in ended.err
    left = TIMEOUT + _IN_TIME - (time.monotonic() - began)
    assert eventually(lambda: not helpers_of(server), max(left, 0.1)), "the helper does not end"
    syncron.ok("--lock-wait=5", source, destination)
    assert_copied(source, destination)


@pytest.mark.parametrize("moment", ["before", "while it connects"])
def test_a_link_that_is_down_at_the_start(
    network: Network, server: Sshd, script: Script, syncron: Command, tmp_path: Path, moment: str
) -> None:
    make(tmp_path / "src", {"a": b"1"})
    helper = script("sleep 30; {helper}")
    words = ("--json", f"--timeout={TIMEOUT}", f"--remote-syncron={helper}", f"{tmp_path}/src")
    if moment == "before":
        network.set("down")
    run = network.command().start(*words, "target:nowhere")
    if moment != "before":
        assert eventually(lambda: helpers_of(server))
        network.set("down")
    began = time.monotonic()
    ended = syncron.end(run, within=10)
    assert time.monotonic() - began < TIMEOUT + _IN_TIME
    assert ended.code in ((255,) if moment == "before" else (30, 255)), ended.err
    assert ended.err.count("\n") == 1
