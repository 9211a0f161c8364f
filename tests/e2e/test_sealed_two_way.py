"""Both ways with the key as users start it: machines with the key through one that has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncron_lib.core.sealing import MAGIC
from tests.e2e.conftest import Command, Ended
from tests.e2e.sealing import SEALED, Bench, bench, captured, contents, needles
from tests.sshd import Sshd
from tests.trees import make


@pytest.fixture
def secrets(syncron: Command, tmp_path: Path) -> Bench:
    made = bench(syncron, tmp_path)
    make(made.sealed, {})
    make(tmp_path / "other", {})
    return made


def both_ways(secrets: Bench, *words: str | Path, code: int = 0) -> Ended:
    ended = secrets.syncron("--two-way", "--json", *map(str, words))
    assert ended.code == code, (ended.err, ended.out)
    return ended


def test_two_machines_with_the_key_through_one_without(secrets: Bench, hosts: Sshd) -> None:
    hub = f"target:{secrets.sealed}"
    mine, other = secrets.source, secrets.top / "other"
    summary = both_ways(secrets, mine, hub).summary
    assert summary["match"] is True
    both_ways(secrets, hub, other)  # the other way round
    assert contents(mine) == contents(other)
    found = contents(secrets.sealed)
    assert {name for name, data in found.items() if data.startswith(MAGIC)} == SEALED
    for root in (mine, other):
        (root / "a.env").write_bytes(b"PASSWORD=by " + root.name.encode())
    (other / "secrets/key").unlink()
    (mine / "secrets/more/new").write_bytes(b"new")
    both_ways(secrets, mine, hub)
    ended = both_ways(secrets, other, hub, code=4)
    assert ended.summary["conflicts"] == 1
    both_ways(secrets, mine, hub)
    assert contents(mine) == contents(other)
    assert not (mine / "secrets/key").exists()
    (copy,) = mine.glob("a.syncron-conflict-*.env")
    kept = {copy.read_bytes(), (mine / "a.env").read_bytes()}
    assert kept == {b"PASSWORD=by source", b"PASSWORD=by other"}
    assert (secrets.sealed / copy.name).read_bytes().startswith(MAGIC)
    summary = both_ways(secrets, mine, hub, other).summary
    assert [summary[name] for name in ("created", "changed", "deleted", "conflicts")] == [0] * 4
    # What is only on the hub opens as ever, and runs in one direction go on from there.
    ended = secrets.syncron("--secure-check", hub)
    assert ended.code == 0, ended.err
    ended = secrets.syncron("--verify", "--omit-dir-times", mine, hub)
    assert ended.code == 0, (ended.out, ended.err)
    (mine / "empty.env").write_bytes(b"not any more")
    assert secrets.syncron(mine, hub).code == 0
    both_ways(secrets, other, hub)
    both_ways(secrets, mine, hub)
    assert (other / "empty.env").read_bytes() == b"not any more"
    assert contents(mine) == contents(other)


def test_a_tree_that_was_pushed_before_is_gone_on_with(secrets: Bench, hosts: Sshd) -> None:
    hub = f"target:{secrets.sealed}"
    ended = secrets.syncron(secrets.source, hub)
    assert ended.code == 0, ended.err
    summary = both_ways(secrets, secrets.source, hub).summary
    assert [summary[name] for name in ("created", "changed", "bytes_transferred")] == [0, 0, 0]


def test_nothing_in_clear_is_on_the_wire_or_the_disk(
    secrets: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = secrets.top / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    option, log = captured(secrets.top)
    hub, mine, other = f"host:{secrets.sealed}", secrets.source, secrets.top / "other"
    clear = option, "--no-compress"
    both_ways(secrets, *clear, mine, hub)
    both_ways(secrets, *clear, other, hub)
    searched = [*needles(mine)]
    for number, root in enumerate((mine, other)):
        (root / "a.env").write_bytes(b"A SECRET OF NUMBER %d\n" % number * 9)
        (root / "secrets/large").write_bytes(b"%d and more of it " % number * 70_000)
        searched += needles(root)
    (other / "secrets/key").unlink()
    both_ways(secrets, *clear, mine, hub)
    both_ways(secrets, *clear, other, hub, code=4)
    both_ways(secrets, *clear, mine, hub)
    assert contents(mine) == contents(other)
    stored = b"".join(path.read_bytes() for path in secrets.sealed.rglob("*") if path.is_file())
    for place in (log.read_bytes(), stored):
        assert b"no secret either" in place  # the control
        for needle in searched:
            assert needle not in place, needle
    # What was resolved lay nowhere in clear, and is gone.
    assert not list(scratch.iterdir())


def test_what_is_merged_is_merged_in_clear_here_and_sealed_there(secrets: Bench) -> None:
    option, log = captured(secrets.top)
    hub, mine, other = f"host:{secrets.sealed}", secrets.source, secrets.top / "other"
    lines = b"".join(b"LINE_%d=of a secret\n" % number for number in range(9))
    (mine / "lines.env").write_bytes(lines)
    merge = "--merge=*.env=git merge-file -p {a} {base} {b}"
    both_ways(secrets, option, merge, mine, hub)
    both_ways(secrets, option, merge, other, hub)
    (mine / "lines.env").write_bytes(lines.replace(b"LINE_1", b"MINE_1"))
    (other / "lines.env").write_bytes(lines.replace(b"LINE_7", b"OTHER_7"))
    both_ways(secrets, option, merge, mine, hub)
    both_ways(secrets, option, merge, other, hub)
    both_ways(secrets, option, merge, mine, hub)
    merged = lines.replace(b"LINE_1", b"MINE_1").replace(b"LINE_7", b"OTHER_7")
    assert (mine / "lines.env").read_bytes() == (other / "lines.env").read_bytes() == merged
    assert (secrets.sealed / "lines.env").read_bytes().startswith(MAGIC)
    assert b"of a secret" not in log.read_bytes()


def test_what_a_keeper_did_is_said_with_what_to_do(secrets: Bench) -> None:
    option, _ = captured(secrets.top)
    hub, mine = f"host:{secrets.sealed}", secrets.source
    both_ways(secrets, option, mine, hub)
    before = contents(mine)
    old = (secrets.sealed / "a.env").read_bytes()
    (secrets.sealed / "a.env").write_bytes(old[:-1])
    ended = secrets.syncron("--two-way", option, mine, hub)
    assert ended.code == 7 and "a.env" in ended.err, ended.err
    assert contents(mine) == before
    # A push repairs it.
    assert secrets.syncron(option, mine, hub).code == 0
    both_ways(secrets, option, mine, hub)
    (secrets.sealed / "sub/b.env").unlink()
    ended = secrets.syncron("--two-way", option, mine, hub)
    assert ended.code == 0 and "put back" in ended.out + ended.err
    # An older manifest, and what to say where that is right.
    manifest = secrets.sealed / ".syncron/secure-manifest"
    older = manifest.read_bytes()
    (mine / "a.env").write_bytes(b"PASSWORD=newer")
    both_ways(secrets, option, mine, hub)
    manifest.write_bytes(older)
    ended = secrets.syncron("--two-way", option, mine, hub)
    assert ended.code == 7 and "--accept-rollback" in ended.err
    both_ways(secrets, "--accept-rollback", option, mine, hub)
    both_ways(secrets, option, mine, hub)
    assert (mine / "a.env").read_bytes() == b"PASSWORD=newer"


def test_another_key_is_gone_on_with(secrets: Bench) -> None:
    option, _ = captured(secrets.top)
    hub, mine, other = f"host:{secrets.sealed}", secrets.source, secrets.top / "other"
    both_ways(secrets, option, mine, hub)
    both_ways(secrets, option, other, hub)
    ended = secrets.syncron("--rekey", option, mine, hub)
    assert ended.code == 0, ended.err
    for root in (mine, other):
        both_ways(secrets, option, root, hub)
    (other / "a.env").write_bytes(b"PASSWORD=edited")
    for root in (other, mine):
        both_ways(secrets, option, root, hub)
    assert contents(mine) == contents(other)
    assert (mine / "a.env").read_bytes() == b"PASSWORD=edited"
    assert not [*mine.glob("*conflict*")]
    summary = both_ways(secrets, option, mine, hub).summary
    assert [summary[name] for name in ("created", "changed", "conflicts")] == [0] * 3
