"""Both ways between homes and disks on one machine: in clear in those, sealed on these."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from syncron_lib.core.sealing import MAGIC
from tests.e2e.conftest import Command, Ended
from tests.e2e.sealing import RULES, SEALED, Bench, bench, captured, contents, needles
from tests.trees import make


@pytest.fixture
def secrets(syncron: Command, tmp_path: Path) -> Bench:
    made = bench(syncron, tmp_path)
    for name in ("sealed", "other", "second"):
        make(tmp_path / name, {})
    return made


def both_ways(secrets: Bench, *words: str | Path, code: int = 0) -> Ended:
    ended = secrets.syncron("--two-way", "--json", *map(str, words))
    assert ended.code == code, (ended.err, ended.out)
    return ended


def assert_sealed(disk: Path, *homes: Path) -> None:
    stored = b"".join(path.read_bytes() for path in disk.rglob("*") if path.is_file())
    for home in homes:
        for needle in needles(home):
            assert needle not in stored, needle
    found = contents(disk)
    assert {name for name, data in found.items() if data.startswith(MAGIC)} >= SEALED
    assert found["readme"] == contents(homes[0])["readme"]


def test_two_homes_and_a_disk_that_is_named_once(secrets: Bench) -> None:
    home, disk, other = secrets.source, secrets.sealed, secrets.top / "other"
    both_ways(secrets, f"--sealed={disk}", home, disk)
    assert_sealed(disk, home)
    # What is new beside it could be either.
    ended = secrets.syncron("--two-way", disk, other)
    assert ended.code == 3 and "Say --sealed for each" in ended.err, ended.err
    assert not contents(other)
    both_ways(secrets, f"--sealed={disk}", disk, other)
    assert contents(home) == contents(other)
    (home / "a.env").write_bytes(b"PASSWORD=another one of home")
    (other / "secrets/key").unlink()
    (other / "secrets/new").write_bytes(b"new, and only in the other home")
    for one in (home, other, home):
        both_ways(secrets, one, disk)
    assert contents(home) == contents(other)
    assert not (home / "secrets/key").exists()
    stored = b"".join(contents(disk).values())
    assert b"another one of home" not in stored and b"the other home" not in stored
    # All three at once, in whatever order.
    (home / "b.env").write_bytes(b"PASSWORD=by home, for all")
    both_ways(secrets, disk, other, home)
    assert contents(home) == contents(other)
    summary = both_ways(secrets, home, disk, other).summary
    assert [summary[name] for name in ("created", "changed", "deleted", "conflicts")] == [0] * 4
    # What else there is for a disk is of use, too.
    assert secrets.syncron("--secure-check", disk).code == 0
    assert secrets.syncron("--unseal", disk, secrets.opened).code == 0
    assert contents(secrets.opened) == contents(home)


def test_it_stays_sealed_though_nothing_was_to_be_at_first(secrets: Bench) -> None:
    home, disk = secrets.source, secrets.sealed
    (home / ".secure").unlink()
    for name in SEALED - {".secure"}:
        (home / name).unlink()
    dry = both_ways(secrets, "--dry-run", f"--sealed={disk}", home, disk)
    assert dry.summary["created"] and not (disk / ".syncron").exists()
    both_ways(secrets, f"--sealed={disk}", home, disk)
    (home / ".secure").write_bytes(RULES)
    (home / "a.env").write_bytes(b"PASSWORD=that came later")
    both_ways(secrets, home, disk)
    assert (disk / "a.env").read_bytes().startswith(MAGIC)
    # Also where the machine has no key.
    moved = secrets.key.rename(secrets.top / "moved")
    (home / "b.env").write_bytes(b"PASSWORD=once more")
    ended = secrets.syncron("--two-way", home, disk)
    assert ended.code not in (0, 23), ended.err
    assert not (disk / "b.env").exists()
    moved.rename(secrets.key)
    both_ways(secrets, home, disk)
    assert (disk / "b.env").read_bytes().startswith(MAGIC)


def test_disks_are_brought_together_by_who_has_the_key(secrets: Bench) -> None:
    home, disk, second = secrets.source, secrets.sealed, secrets.top / "second"
    named = f"--sealed={disk}", f"--sealed={second}/"
    both_ways(secrets, *named, disk, second, home)
    for each in (disk, second):
        assert_sealed(each, home)
    assert contents(disk) == contents(second)
    # Among themselves as they are, which is to be said.
    ended = secrets.syncron("--two-way", disk, second)
    assert ended.code == 3 and "--ciphertext" in ended.err
    (disk / "readme").write_bytes(b"edited on the disk")
    both_ways(secrets, "--ciphertext", disk, second)
    assert contents(disk) == contents(second)
    ended = secrets.syncron("--two-way", f"--key={secrets.key}", disk, second)
    assert ended.code == 1 and "no replica here is in clear" in ended.err
    both_ways(secrets, second, home)
    assert (home / "readme").read_bytes() == b"edited on the disk"


def test_the_key_is_in_the_middle_whatever_comes_first(secrets: Bench) -> None:
    option, _ = captured(secrets.top)
    home, disk = secrets.source, secrets.sealed
    hubs = [f"host:{secrets.top / name}" for name in ("other", "second")]
    both_ways(secrets, option, f"--sealed={disk}", hubs[0], disk, home, hubs[1])
    for name in ("sealed", "other", "second"):
        assert_sealed(secrets.top / name, home)


def test_a_disk_that_was_filled_by_seal_is_known_by_its_rules(secrets: Bench) -> None:
    home, disk = secrets.source, secrets.sealed
    secrets.sealed_ok()
    summary = both_ways(secrets, disk, home).summary
    assert [summary[name] for name in ("created", "changed", "deleted", "conflicts")] == [0] * 4
    assert_sealed(disk, home)


def test_what_does_not_show_that_it_is_sealed_is_not_taken_to_be_in_clear(secrets: Bench) -> None:
    home, disk = secrets.source, secrets.sealed
    (home / ".secure").unlink()
    patterns = "--secure=*.env", "--secure=/secrets/"
    secrets.sealed_ok(*patterns)
    before = contents(disk)
    ended = secrets.syncron("--two-way", *patterns, home, disk)
    assert ended.code == 3 and "a.env" in ended.err and "--sealed" in ended.err, ended.err
    assert contents(disk) == before
    both_ways(secrets, *patterns, f"--sealed={disk}", home, disk)
    (home / "a.env").write_bytes(b"PASSWORD=newer")
    both_ways(secrets, disk, home)
    assert (disk / "a.env").read_bytes().startswith(MAGIC)


def test_a_disk_that_was_made_to_look_new_gets_nothing_in_clear(secrets: Bench) -> None:
    home, disk = secrets.source, secrets.sealed
    both_ways(secrets, f"--sealed={disk}", home, disk)
    for entry in disk.iterdir():
        if entry.name != "readme":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    ended = secrets.syncron("--two-way", home, disk)
    assert ended.code == 3 and "was sealed when this machine saw it last" in ended.err, ended.err
    ended = secrets.syncron("--two-way", f"--sealed={disk}", home, disk)
    assert ended.code == 7 and "--accept-rollback" in ended.err
    assert set(contents(disk)) == {"readme"}
    both_ways(secrets, "--accept-rollback", f"--sealed={disk}", home, disk)
    assert_sealed(disk, home)
    # On purpose, and said how.
    shutil.rmtree(disk)
    make(disk, {"readme": b"x"})
    remembered = ended_words(secrets.syncron("--two-way", home, disk).err, "remove")
    os.unlink(remembered)
    both_ways(secrets, home, disk, code=4)
    assert contents(disk) == contents(home)


def ended_words(text: str, after: str) -> str:
    """The word after another one."""
    return text.split(f" {after} ")[1].split(",")[0]


def test_a_home_is_not_taken_for_a_disk(secrets: Bench) -> None:
    home, disk = secrets.source, secrets.sealed
    before = contents(home)
    ended = secrets.syncron("--two-way", f"--sealed={home}", home, disk)
    assert ended.code == 3 and ".secure in it is in clear" in ended.err, ended.err
    both_ways(secrets, f"--sealed={disk}", home, disk)
    (home / ".secure").unlink()  # what it remembers says it, too
    ended = secrets.syncron("--two-way", f"--sealed={home}", home, secrets.top / "other")
    assert ended.code == 3 and "holds files in clear" in ended.err, ended.err
    assert contents(home) == {name: before[name] for name in before if name != ".secure"}
    assert not contents(secrets.top / "other")


def test_what_nobody_could_mean_is_refused(secrets: Bench) -> None:
    home, disk = secrets.source, secrets.sealed
    for words, what in (
        (("--two-way", f"--sealed={secrets.top}", home, disk), "none of the replicas"),
        (("--two-way", "--sealed=host:x", home, "host:x"), "none of the replicas"),
        (("--two-way", "--ciphertext", f"--sealed={disk}", home, disk), "takes no key"),
        (("--two-way", f"--sealed={disk}", f"--sealed={home}", home, disk), "is in clear: name"),
        ((f"--sealed={disk}", home, disk), "--seal or --unseal"),
    ):
        ended = secrets.syncron(*map(str, words))
        assert ended.code == 1 and what in ended.err, (words, ended.err)
    secrets.key.unlink()
    ended = secrets.syncron("--two-way", f"--sealed={disk}", home, disk)
    assert ended.code != 0 and "--keygen" in ended.err, ended.err
    assert not contents(disk)


def test_a_job_names_the_disk_as_it_names_replicas(secrets: Bench) -> None:
    config = secrets.top / "config.yaml"
    config.write_text("jobs:\n  usb:\n    replicas: [source, sealed]\n    sealed: sealed\n")
    ended = secrets.syncron(f"--config={config}", "--job", "usb")
    assert ended.code == 0, ended.err
    assert_sealed(secrets.sealed, secrets.source)


def test_a_run_in_one_direction_brings_a_disk_nothing_in_clear(secrets: Bench) -> None:
    home, disk, second = secrets.source, secrets.sealed, secrets.top / "second"
    both_ways(secrets, f"--sealed={disk}", home, disk)
    assert secrets.syncron("--seal", home, second).code == 0
    (home / "a.env").write_bytes(b"PASSWORD=one that is new")
    for place in (disk, second):
        for words in ((), ("--delete",), ("--dry-run",)):
            ended = secrets.syncron(*words, home, place)
            assert ended.code == 3 and "Seal it with --seal" in ended.err, ended.err
        stored = b"".join(contents(place).values())
        assert b"one that is new" not in stored
        assert secrets.syncron("--seal", home, place).code == 0
        assert_sealed(place, home)
    # From the home, and between what is sealed, all goes as ever.
    assert secrets.syncron(home, secrets.top / "copy").code == 0
    assert contents(secrets.top / "copy") == contents(home)
    assert secrets.syncron("--ciphertext", disk, second).code == 0
