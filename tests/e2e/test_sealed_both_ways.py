"""Sealed files between machines of which none has the key: carried both ways as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncron_lib.core.sealing import MAGIC
from tests.e2e.conftest import Command, Ended
from tests.e2e.sealing import SMALL, Bench, bench, contents, needles, without_state
from tests.sshd import Sshd

MANIFEST = ".syncron/secure-manifest"


@pytest.fixture
def secrets(syncron: Command, tmp_path: Path) -> Bench:
    made = bench(syncron, tmp_path)
    made.sealed_ok()
    return made


def carried(secrets: Bench, *replicas: Path | str, code: int = 0) -> Ended:
    for each in replicas:
        if isinstance(each, Path):
            each.mkdir(exist_ok=True)
    ended = secrets.syncron("--two-way", "--ciphertext", *map(str, replicas))
    assert ended.code == code, (ended.err, ended.out)
    return ended


def assert_opens(secrets: Bench, sealed: Path, *words: str) -> None:
    """Who has the key, and was never here, has everything."""
    opened = secrets.top / f"from-{sealed.name}"
    ended = secrets.syncron("--unseal", *words, sealed, opened)
    assert ended.code == 0, ended.err
    assert contents(opened) == contents(secrets.source)


def test_ciphertext_goes_both_ways_and_opens_where_the_key_is(secrets: Bench, hosts: Sshd) -> None:
    second = secrets.top / "second"
    second.mkdir()
    carried(secrets, secrets.sealed, f"target:{second}")
    assert contents(second) == contents(secrets.sealed)
    assert (second / MANIFEST).read_bytes() == (secrets.sealed / MANIFEST).read_bytes()
    assert_opens(secrets, second)
    # What lies there, with what it remembers as a replica, says nothing.
    stored = b"".join(path.read_bytes() for path in second.rglob("*") if path.is_file())
    for needle in needles(secrets.source):
        assert needle not in stored
    assert b"no secret either" in stored and (second / ".syncron/state.db").exists()  # the controls
    # With the key something is edited, made and deleted; without it only what is in clear.
    (secrets.source / "a.env").write_bytes(b"PASSWORD=another\n")
    (secrets.source / "secrets/new").write_bytes(b"new")
    (secrets.source / "sub/b.env").unlink()
    secrets.sealed_ok("--delete")
    (second / "readme").write_bytes(b"edited there")
    (secrets.source / "readme").write_bytes(b"edited there")
    carried(secrets, secrets.sealed, f"target:{second}")
    assert contents(second) == contents(secrets.sealed)
    assert (secrets.sealed / "readme").read_bytes() == b"edited there"
    opened = secrets.top / "from-second"
    ended = secrets.syncron("--unseal", "--delete", second, opened)
    assert ended.code == 0, ended.err
    # The deletion, too: what the key signed of it came along.
    assert contents(opened) == contents(secrets.source)
    # Nothing is new: nothing is written.
    before = (second / MANIFEST).stat().st_mtime_ns
    carried(secrets, secrets.sealed, f"target:{second}")
    assert (second / MANIFEST).stat().st_mtime_ns == before


def test_the_newer_manifest_counts_whoever_meets_whom(secrets: Bench) -> None:
    first, second, third = secrets.sealed, secrets.top / "second", secrets.top / "third"
    carried(secrets, first, second, third)
    for turn, other in enumerate((third, second)):
        (secrets.source / "a.env").write_bytes(SMALL + b"%d" % turn)
        secrets.sealed_ok()
        carried(secrets, first, other)
    # The second has never had the third's; the first told it that it was before its own.
    newest = (first / MANIFEST).read_bytes()
    assert (second / MANIFEST).read_bytes() == newest != (third / MANIFEST).read_bytes()
    carried(secrets, third, second)
    assert (third / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes() == newest
    for each in (second, third):
        assert_opens(secrets, each)


def test_what_did_not_come_leaves_the_manifest_as_it_was(secrets: Bench) -> None:
    second = secrets.top / "second"
    carried(secrets, secrets.sealed, second)
    before = (second / MANIFEST).read_bytes()
    (secrets.source / "a.env").write_bytes(SMALL + b"edited")
    secrets.sealed_ok()
    (secrets.sealed / "readme").write_bytes(b"by one")
    (second / "readme").write_bytes(b"by the other")
    words = "--two-way", "--ciphertext", "--conflicts=skip", secrets.sealed, second
    assert secrets.syncron(*words).code == 4
    assert (second / MANIFEST).read_bytes() == before
    (second / "readme").write_bytes((secrets.sealed / "readme").read_bytes())
    carried(secrets, secrets.sealed, second)
    assert (second / MANIFEST).read_bytes() == (secrets.sealed / MANIFEST).read_bytes()


def test_two_that_were_both_written_to_are_told_of(secrets: Bench) -> None:
    second = secrets.top / "second"
    carried(secrets, secrets.sealed, second)
    (secrets.source / "a.env").write_bytes(SMALL + b"1")
    secrets.sealed_ok()
    (secrets.source / "a.env").write_bytes(SMALL + b"2")
    assert secrets.syncron("--seal", secrets.source, second).code == 0
    manifests = [(each / MANIFEST).read_bytes() for each in (secrets.sealed, second)]
    ended = carried(secrets, secrets.sealed, second, code=4)
    assert "each keeps its own manifest" in ended.err
    assert manifests == [(each / MANIFEST).read_bytes() for each in (secrets.sealed, second)]
    # Both versions are there, as they are; the copy is sealed for where it came from.
    (copy,) = second.glob("a.syncron-conflict-*.env")
    assert copy.read_bytes().startswith(MAGIC)
    assert contents(second) == contents(secrets.sealed)
    refused = secrets.unseal()
    assert refused.code == 7 and ("a.env" in refused.out or copy.name in refused.out)
    assert not (secrets.opened / copy.name).exists()
    # What the warning says is a way out.
    secrets.sealed_ok("--delete")
    ended = secrets.syncron("--ciphertext", "--delete", f"{secrets.sealed}/", second)
    assert ended.code == 0, ended.err
    assert "manifest" not in carried(secrets, second, secrets.sealed).err
    without_state()
    assert_opens(secrets, second)


def test_rules_that_an_untrusted_replica_changed_unseal_nothing(secrets: Bench) -> None:
    second = secrets.top / "second"
    carried(secrets, secrets.sealed, second)
    (second / ".secure").write_bytes(b"!*\n")
    (second / "sub/.secure").write_bytes(b"!*.env\n")
    carried(secrets, secrets.sealed, second)
    assert (secrets.sealed / ".secure").read_bytes() == b"!*\n"
    # Where the key is, they are no rules, and nothing of them is taken.
    opened = secrets.top / "opened"
    ended = secrets.unseal()
    assert ended.code == 7 and ".secure" in ended.out
    assert not (opened / "sub/.secure").exists()
    (secrets.source / "sub/b.env").write_bytes(SMALL)
    secrets.sealed_ok("--delete")
    assert (secrets.sealed / ".secure").read_bytes().startswith(MAGIC)
    carried(secrets, second, secrets.sealed)
    assert not (second / "sub/.secure").exists()
    assert_opens(secrets, second)
    stored = b"".join(contents(second).values()) + b"".join(contents(secrets.sealed).values())
    for needle in needles(secrets.source):
        assert needle not in stored


def test_sealed_names_are_carried_too(syncron: Command, tmp_path: Path) -> None:
    secrets = bench(syncron, tmp_path)
    secrets.sealed_ok("--secure-names")
    second = tmp_path / "second"
    carried(secrets, secrets.sealed, second)
    stored = b"".join(path.read_bytes() for path in second.rglob("*") if path.is_file())
    names = b"\n".join(bytes(path) for path in second.rglob("*"))
    for name in (b"a.env", b"empty.env", b"large", b"deep"):
        assert name not in stored and name not in names
    assert b"public.env" in names and b"public.env" in stored  # the controls
    assert_opens(secrets, second)


def test_what_is_in_clear_is_not_carried_and_what_is_sealed_not_by_mistake(
    secrets: Bench, hosts: Sshd
) -> None:
    second = secrets.top / "second"
    second.mkdir()
    for words, says in (
        # Sealed, and nobody has said that it is to go as it is.
        ((secrets.sealed, second), "say --ciphertext"),
        # In clear, and to be sealed.
        (("--ciphertext", secrets.source, second), "a.env is to be sealed"),
        (("--ciphertext", secrets.source, f"target:{second}"), "a.env is to be sealed"),
    ):
        ended = secrets.syncron("--two-way", *map(str, words))
        assert ended.code == 3 and says in ended.err, (words, ended.err)
        assert not contents(second)
    for options in (("--key=k", "--ciphertext"), ("--secure-names",), ("--declassify",)):
        ended = secrets.syncron("--two-way", *options, secrets.source, f"target:{second}")
        assert ended.code == 1 and ("takes no key" in ended.err or "push and pull" in ended.err)
