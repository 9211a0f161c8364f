"""Attacks end to end: the command as users start it, a real SSH server, and behind it a helper that
lies. All its lies stand in `tests/adversary`; what a client that lies can do to an account is in
`test_restricted.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.adversary.lying import BY_A_DESTINATION, BY_A_SOURCE
from tests.adversary.world import DESTINATION, SOURCE, World
from tests.e2e.conftest import CHECKOUT, Command, Ended, Script
from tests.sshd import Sshd

SIDES = "source", "destination"
ATTACKS = [
    *((SOURCE, "a name that leads up"), (SOURCE, "a file through a symlink")),
    *((SOURCE, "a piece with other bytes"), (SOURCE, "a bomb of zlib")),
    (DESTINATION, "asks again for what lies outside"),
    (DESTINATION, "a problem that acts on the terminal"),
]


def run(syncron: Command, script: Script, world: World, side: int, attack: str) -> Ended:
    """A pull or a push whose far side lies so."""
    lying = f"{sys.executable} -m tests.adversary.lying {SIDES[side]} '{attack}'"
    words = [str(world.source), str(world.destination)]
    words[side] = "target:" + words[side]
    helper = script(f'cd {CHECKOUT} && exec {lying} "$@"')
    return syncron("--json", "--delete", f"--remote-syncron={helper}", *words)


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("side", [SOURCE, DESTINATION])
def test_the_same_helper_without_a_lie(
    syncron: Command, script: Script, tmp_path: Path, side: int
) -> None:
    world = World(tmp_path)
    ended = run(syncron, script, world, side, "honest")
    assert ended.code == 0, ended.err
    world.require_unharmed(side)
    world.require_equal()


@pytest.mark.parametrize(("side", "attack"), ATTACKS)
def test_a_helper_that_lies(
    syncron: Command, script: Script, hosts: Sshd, tmp_path: Path, side: int, attack: str
) -> None:
    world = World(tmp_path)
    ended = run(syncron, script, world, side, attack)
    codes = (BY_A_SOURCE, BY_A_DESTINATION)[side][attack].codes
    assert ended.code in codes, (ended.code, ended.err)
    assert ended.err.replace("\n", "").isprintable(), ended.err
    assert ended.err.count("\n") <= 2, ended.err
    world.require_unharmed(side)
    # What it left behind is in nobody's way.
    again = run(syncron, script, world, side, "honest")
    assert again.code == 0, again.err
    world.require_equal()
