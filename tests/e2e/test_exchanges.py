"""Over a long way: what a run waits for, counted by a relay that adds delay."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Script, assert_copied
from tests.relay import Relay, running_relay
from tests.sshd import Sshd

DELAY = 0.08
DEPTH = 12


@pytest.fixture
def far(sshd: Sshd, home: Path) -> Iterator[Relay]:
    """The server is far away, and known as ``target``."""
    with running_relay(sshd.port, delay=DELAY) as relay:
        known_hosts = home / "known_hosts"
        known_hosts.write_text(sshd.known_hosts_line(f"[127.0.0.1]:{relay.port}"))
        config = sshd.write_config(
            f"far-{relay.port}",
            replace={"Port": str(relay.port), "UserKnownHostsFile": str(known_hosts)},
        )
        (home / ".ssh").mkdir(mode=0o700)
        shutil.copy(config, home / ".ssh/config")
        yield relay


class Far:
    """Runs over the long way, and the exchanges that they take."""

    def __init__(self, relay: Relay, syncron: Command, options: tuple[str, ...], top: Path) -> None:
        self._relay = relay
        self._syncron = syncron
        self._options = options
        (top / "empty").mkdir()
        # This scans, seals and closes, and waits for each; all the rest is the handshake.
        self._handshake = 0
        self._handshake = self.exchanges("--root", f"target:{top}/empty") - 3

    def exchanges(self, *words: str) -> int:
        """Exchanges of a run after the handshake. The end of the stream, which nobody waits for,
        is none."""
        self._relay.forget()
        ended = self._syncron(*self._options, *words)
        assert ended.code == 0, ended.err
        return self._relay.exchanges - self._handshake - 1


@pytest.fixture
def over(far: Relay, syncron: Command, script: Script, tmp_path: Path) -> Far:
    return Far(far, syncron, (f"--remote-syncron={script()}",), tmp_path)


def deep(top: Path) -> Path:
    """A tree that a walk level by level has to ask for again and again; its deepest directory."""
    place = top
    for number in range(DEPTH):
        place = place / f"down{number}"
        (place / "side").mkdir(parents=True)
        (place / "side/file").write_bytes(b"beside")
        (place / "file").write_bytes(b"%d" % number)
    return place


def settle() -> None:
    """What was just written is not believed to stay as it was."""
    time.sleep(0.06)


@pytest.mark.parametrize("pulls", [False, True], ids=["push", "pull"])
def test_two_exchanges_do_for_nothing_and_for_few_changes(
    over: Far, tmp_path: Path, pulls: bool
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    bottom = deep(source)
    settle()
    near, far = str(source), f"target:{destination}"
    if pulls:
        near, far = f"target:{source}", str(destination)
    words = ("--delete", near, far)
    over.exchanges(*words)
    assert over.exchanges(*words) <= 2

    (bottom / "file").write_bytes(b"longer than before")
    (bottom / "side/file").write_bytes(b"Beside")
    (bottom.parent / "new").mkdir()
    (bottom.parent / "new/file").write_bytes(b"new")
    (bottom.parent / "file").chmod(0o600)
    settle()
    assert over.exchanges(*words) <= 2
    assert_copied(source, destination)

    # By itself: what is created and removed in one run may have been moved, which has to be asked.
    shutil.rmtree(bottom / "side")
    assert over.exchanges(*words) <= 2
    assert_copied(source, destination)
    assert over.exchanges(*words) <= 2


@pytest.mark.parametrize("pulls", [False, True], ids=["push", "pull"])
def test_two_exchanges_undo_what_others_did_at_the_destination(
    over: Far, tmp_path: Path, pulls: bool
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    bottom = destination / deep(source).relative_to(source)
    settle()
    words = ("--delete", str(source), f"target:{destination}")
    if pulls:
        words = ("--delete", f"target:{source}", str(destination))
    over.exchanges(*words)
    (bottom / "file").unlink()
    (bottom / "side/file").write_bytes(b"Beside")
    (bottom / "foreign").mkdir()
    assert over.exchanges(*words) <= 2
    assert_copied(source, destination)
