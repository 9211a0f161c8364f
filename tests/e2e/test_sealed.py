"""Sealed files: sealed where they go, open where the key is, and nothing else in between."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.sealing import MAGIC, sealed_size
from syncron_lib.secure import keyfile
from tests.e2e.conftest import Command
from tests.e2e.sealing import (
    LARGE,
    SEALED,
    SMALL,
    Bench,
    bench,
    captured,
    contents,
    needles,
    without_state,
)
from tests.secure.reader import Reader
from tests.sshd import Sshd
from tests.trees import assert_same, make, noise


@pytest.fixture
def secrets(syncron: Command, tmp_path: Path) -> Bench:
    return bench(syncron, tmp_path)


@pytest.fixture
def wire(tmp_path: Path) -> Any:
    return captured(tmp_path)


def assert_sealed(secrets: Bench) -> None:
    """The sealed tree is what it should be: read by somebody who knows the document only."""
    reader = Reader(secrets.key.read_bytes())
    found, plain = contents(secrets.sealed), contents(secrets.source)
    assert found.keys() == plain.keys()
    counter, rows = reader.manifest((secrets.sealed / ".syncron/secure-manifest").read_bytes())
    assert counter > 0
    for name, data in plain.items():
        st = (secrets.source / name).stat()
        if name not in SEALED:
            assert found[name] == data
            continue
        opened = reader.open(name.encode(), found[name])
        assert opened.content == data and len(found[name]) == sealed_size(len(data))
        assert (opened.mode, opened.mtime_ns) == (st.st_mode & 0o7777, st.st_mtime_ns)
        assert rows[name.encode()] == (found[name][16:48], opened.generation, False)
    assert {name.decode() for name, row in rows.items() if not row[2]} == SEALED


def test_a_tree_is_sealed_and_opened_again(secrets):
    summary = secrets.sealed_ok()
    assert summary["created"] == len(contents(secrets.source)) + 3
    assert_sealed(secrets)
    secrets.sealed_ok()
    secrets.unsealed_ok()
    summary = secrets.unsealed_ok()
    assert summary["created"] == summary["changed"] == summary["bytes_hashed"] == 0
    assert_same(str(secrets.source), str(secrets.opened))
    # Nothing changed costs nothing; a look at everything finds it equal.
    assert secrets.sealed_ok()["bytes_hashed"] == 0
    assert secrets.sealed_ok("--verify")["match"] is True


def test_the_sealed_side_has_nothing_in_clear(secrets):
    secrets.sealed_ok()
    stored = b"".join(path.read_bytes() for path in secrets.sealed.rglob("*") if path.is_file())
    for needle in needles(secrets.source):
        assert needle not in stored
    assert b"no secret either" in stored  # the control


def test_a_new_user_s_walk(syncron: Command, hosts: Sshd, tmp_path: Path, home: Path):
    """Made, pushed, looked at, lost, pulled on a second machine; without the key; bent."""
    secrets = bench(syncron, tmp_path)
    remote = f"target:{secrets.sealed}"
    made = syncron("-i", secrets.source, remote)
    assert made.code == 0, made.err
    assert "<f+++++++++ a.env (sealed)" in made.out and "readme\n" in made.out
    assert_sealed(secrets)
    shutil.rmtree(secrets.source)
    # A second machine: no state, no key yet.
    key = secrets.key.read_bytes()
    without_state()
    secrets.key.unlink()
    refused = syncron(remote, secrets.opened)
    assert refused.code == 3 and "there is no key" in refused.err
    assert not secrets.opened.exists()
    as_it_is = syncron("--ciphertext", remote, tmp_path / "ciphertext")
    assert as_it_is.code == 0, as_it_is.err
    assert (tmp_path / "ciphertext/a.env").read_bytes().startswith(MAGIC)
    elsewhere = tmp_path / "usb-key"
    elsewhere.write_bytes(key)
    elsewhere.chmod(0o600)
    pulled = syncron("--key", elsewhere, remote, secrets.opened)
    assert pulled.code == 0, pulled.err
    assert (secrets.opened / "a.env").read_bytes() == SMALL
    assert (secrets.opened / "secrets/large").read_bytes() == LARGE
    # One byte of the remote is another.
    bent = bytearray((secrets.sealed / "secrets/large").read_bytes())
    bent[700_000] ^= 1
    (secrets.sealed / "secrets/large").write_bytes(bent)
    before = contents(secrets.opened)
    ended = syncron("--key", elsewhere, remote, secrets.opened)
    assert ended.code == 7 and "secrets/large" in ended.err and "chunk" in ended.err
    assert contents(secrets.opened) == before
    ended = syncron("--key", elsewhere, "--secure-check", remote)
    assert ended.code == 7 and "secrets/large" in ended.err
    assert f"{len(SEALED) - 1} sealed files" in ended.err


def test_nothing_of_a_secret_is_on_the_wire(secrets, syncron, wire):
    option, log = wire
    remote = f"host:{secrets.sealed}"
    runs: list[tuple[str | Path, ...]] = [(secrets.source, remote)]
    # The rules on the remote count for nothing: it may not have what it does not get anyway.
    for edit in (b"", b"!*\n"):
        ended = syncron(option, "--compress-choice=none", *runs[0])
        assert ended.code == 0, ended.err
        (secrets.sealed / ".secure").write_bytes(edit)
        (secrets.source / "a.env").write_bytes(SMALL + edit + b"edited")
        (secrets.source / "secrets/key").touch()
    ended = syncron(option, "--compress-choice=none", *runs[0])
    assert ended.code == 0, ended.err
    assert_sealed(secrets)
    ended = syncron(option, "--compress-choice=none", remote, secrets.opened)
    assert ended.code == 0, ended.err
    assert_same(str(secrets.source), str(secrets.opened))
    passed = log.read_bytes()
    assert b"no secret either" in passed and b"secrets" in passed  # the controls
    assert len(passed) > 2 * len(LARGE)
    for needle in (*needles(secrets.source), SMALL):
        assert needle not in passed


def test_a_changed_secret_and_a_touched_one(secrets):
    secrets.sealed_ok()
    old = (secrets.sealed / "secrets/large").read_bytes()
    (secrets.source / "a.env").write_bytes(b"PASSWORD=another\n")
    os.utime(secrets.source / "secrets/large", ns=(5, 5))
    (secrets.source / "secrets/key").chmod(0o600)
    summary = secrets.sealed_ok()
    assert summary["changed"] == 3
    assert summary["bytes_transferred"] < 1000
    assert_sealed(secrets)
    new = (secrets.sealed / "secrets/large").read_bytes()
    assert new != old and new[200:] == old[200:]
    secrets.unsealed_ok()
    assert_same(str(secrets.source), str(secrets.opened))


def test_a_renamed_directory_is_sealed_anew(secrets):
    """Sealed for one place; what is remembered of it is not believed at another."""
    secrets.sealed_ok("--delete")
    (secrets.source / "secrets").rename(secrets.source / "sub" / "x.env")
    (secrets.source / "sub/c").rename(secrets.source / "c")
    secrets.sealed_ok("--delete")
    secrets.unsealed_ok()
    assert_same(str(secrets.source), str(secrets.opened))
    assert not (secrets.sealed / "secrets").exists()
    # Two directories that exchange names, too.
    for name in ("p", "q"):
        make(secrets.source / name, {"s.env": name.encode() * 20})
    secrets.sealed_ok()
    (secrets.source / "p").rename(secrets.source / "r")
    (secrets.source / "q").rename(secrets.source / "p")
    (secrets.source / "r").rename(secrets.source / "q")
    secrets.sealed_ok()
    secrets.unsealed_ok("--delete")
    assert_same(str(secrets.source), str(secrets.opened))


def test_the_same_tree_in_clear_elsewhere(secrets, syncron):
    """Digests that stand for ciphertext are not believed of plaintext, nor the other way round."""
    plain = secrets.top / "plain"
    for _ in range(2):
        secrets.sealed_ok()
        syncron.ok(secrets.source, plain)
    assert contents(plain) == contents(secrets.source)
    assert_sealed(secrets)


def test_state_that_is_lost_costs_no_content_on_the_wire(secrets, syncron, wire):
    """Both ways round, and also where only what is beside the content is another."""
    option, log = wire
    remote = f"host:{secrets.sealed}"
    ended = syncron(option, secrets.source, remote)
    assert ended.code == 0, ended.err
    assert log.stat().st_size > len(LARGE)

    def passed(*words: str | Path) -> int:
        without_state()
        before = len(log.read_bytes())
        ended = syncron("--json", option, *words)
        assert ended.code == 0, ended.err
        return len(log.read_bytes()) - before

    nothing = passed(secrets.source, remote)
    shutil.copytree(secrets.source, secrets.opened)
    pulled = passed(remote, secrets.opened)
    os.utime(secrets.source / "secrets/large", ns=(5, 5))
    touched = passed(secrets.source, remote)
    # A helper may be shipped with each of them, and nothing of the content.
    assert max(nothing, pulled, touched) - min(nothing, pulled, touched) < 20_000
    assert max(nothing, pulled, touched) < len(LARGE) - 200_000
    assert_sealed(secrets)


def test_state_that_is_lost_costs_reading_only(secrets):
    secrets.sealed_ok()
    without_state()
    summary = secrets.sealed_ok()
    assert summary["changed"] == summary["created"] == 0 and summary["bytes_hashed"] > 0
    secrets.unsealed_ok()
    without_state()
    assert secrets.unsealed_ok()["changed"] == 0


# --- the rules --------------------------------------------------------------------------------


def test_rules_are_gitignore_s_in_every_directory_and_above_the_root(secrets, syncron):
    make(
        secrets.source / "n",
        {".secure": b"!b.env\n/only-here\n", "b.env": b"x", "only-here": b"x", "c.env": b"x"},
    )
    make(secrets.source / "n/m", {"only-here": b"x", "b.env": b"x"})
    (secrets.top / ".secure").write_bytes(b"from-above\n/source/n/m/only-here\n")
    (secrets.source / "sub/from-above").write_bytes(b"x")
    ended = secrets.seal("--secure=given*", "--exclude=.secure", "-n")
    marked = {m["path"] for m in ended.messages if m.get("sealed")}
    assert marked - SEALED == {"n/only-here", "n/c.env", "n/m/only-here", "sub/from-above"}
    assert SEALED - marked == {".secure"}  # excluded from the tree, and obeyed all the same
    (secrets.source / "given-up").write_bytes(b"x")
    ended = secrets.seal("--secure=given*", "-n")
    assert {m["path"] for m in ended.messages if m.get("sealed")} >= {"given-up", ".secure"}


def test_conflict_copies_of_secrets_are_secrets(secrets):
    """Whatever a rule says of their names."""
    make(secrets.source, {".env": SMALL, ".env.syncron-conflict-0123456789": SMALL})
    (secrets.source / "readme.syncron-conflict-0123456789").write_bytes(b"no secret either")
    (secrets.source / ".secure").write_bytes(b".env\n")
    secrets.sealed_ok()
    found = contents(secrets.sealed)
    sealed = {name for name, data in found.items() if data.startswith(MAGIC)}
    assert sealed == {".secure", ".env", ".env.syncron-conflict-0123456789"}
    # Also where no rule names them any more.
    (secrets.source / ".secure").write_bytes(b"nothing\n")
    (secrets.source / ".env.syncron-conflict-9876543210").write_bytes(SMALL)
    secrets.sealed_ok()
    assert contents(secrets.sealed)[".env.syncron-conflict-9876543210"].startswith(MAGIC)
    assert secrets.seal("--verify").code == 0


def test_rules_that_cannot_be_read_send_nothing(secrets):
    (secrets.source / "sub/.secure").symlink_to("../.secure")
    ended = secrets.seal()
    assert ended.code == 3 and "sub/.secure" in ended.err and "symlink" in ended.err
    assert not secrets.sealed.exists()


def test_rules_that_match_nothing_are_told_of(secrets):
    (secrets.source / ".secure").write_bytes(b"/nothing\n")
    ended = secrets.seal()
    assert ended.code == 0 and "nothing is sealed" in ended.out


def test_without_a_key_nothing_that_is_to_be_sealed_goes(secrets, syncron, wire):
    option, log = wire
    secrets.key.unlink()
    remote = f"host:{secrets.sealed}"
    ended = syncron(option, secrets.source, remote)
    assert ended.code == 3 and "--keygen" in ended.err
    assert SMALL not in log.read_bytes() and not secrets.sealed.exists()
    ended = syncron(option, "--declassify", secrets.source, remote)
    assert ended.code == 0 and (secrets.sealed / "a.env").read_bytes() == SMALL


def test_a_key_in_the_tree_is_sealed_itself(secrets):
    secrets.key.rename(secrets.source / "key")
    secrets.key.symlink_to(secrets.source / "key")
    ended = secrets.seal()
    assert ended.code == 0, ended.err
    assert (secrets.sealed / "key").read_bytes().startswith(MAGIC)
    (secrets.source / "key").rename(secrets.top / "key")
    assert secrets.unseal(f"--key={secrets.top}/key").code == 0


def test_ciphertext_is_not_taken_for_a_tree_with_secrets(sealed_once):
    ended = sealed_once.syncron("--seal", sealed_once.sealed, sealed_once.top / "twice")
    assert ended.code == 3 and "--ciphertext" in ended.err


def test_what_was_sealed_once_stays_so(secrets):
    secrets.sealed_ok()
    (secrets.source / ".secure").write_bytes(b"/secrets/\n")
    (secrets.source / "a.env").write_bytes(b"PASSWORD=after\n")
    secrets.sealed_ok()
    assert (secrets.sealed / "a.env").read_bytes().startswith(MAGIC)
    secrets.sealed_ok("--declassify")
    assert (secrets.sealed / "a.env").read_bytes() == b"PASSWORD=after\n"
    assert (secrets.sealed / "secrets/key").read_bytes().startswith(MAGIC)
    secrets.sealed_ok()
    assert (secrets.sealed / "a.env").read_bytes() == b"PASSWORD=after\n"
    secrets.unsealed_ok()
    assert_same(str(secrets.source), str(secrets.opened))


# --- attacks ----------------------------------------------------------------------------------


def bent(data: bytes, how: str) -> bytes:
    step = (1 << 16) + 16
    first, second = data[126 : 126 + step], data[126 + step : 126 + 2 * step]
    return {
        "flip": data[:-1] + bytes((data[-1] ^ 1,)),
        "head": data[:20] + bytes((data[20] ^ 1,)) + data[21:],
        "meta": data[:100] + bytes((data[100] ^ 1,)) + data[101:],
        "cut": data[:-1],
        "extend": data + b"x",
        "empty": b"",
        "reorder": data[:126] + second + first + data[126 + 2 * step :],
        "repeat": data[:126] + first + first + data[126 + 2 * step :],
    }[how]


def put(place: Path, data: bytes) -> None:
    """Write as somebody would who does not want to be seen."""
    st = place.stat()
    place.write_bytes(data)
    os.utime(place, ns=(st.st_atime_ns, st.st_mtime_ns))


@pytest.mark.parametrize("how", ["flip", "head", "meta", "cut", "extend", "reorder", "repeat"])
@pytest.mark.parametrize("name", ["a.env", "secrets/large"])
def test_tampering_is_found_and_nothing_is_touched(sealed_once: Bench, how: str, name: str):
    if how in ("reorder", "repeat") and name == "a.env":
        name = "secrets/large"
        (sealed_once.opened / name).unlink(missing_ok=True)  # as a file that is new here
    place = sealed_once.sealed / name
    good = place.read_bytes()
    put(place, bent(good, how))
    before = contents(sealed_once.opened)
    try:
        ended = sealed_once.unseal()
        assert ended.code == 7 and name in ended.err, ended.err
        assert contents(sealed_once.opened) == before
        fresh = sealed_once.syncron("--unseal", sealed_once.sealed, sealed_once.top / "fresh")
        assert fresh.code == 7
        assert name not in contents(sealed_once.top / "fresh")
    finally:
        put(place, good)
        shutil.rmtree(sealed_once.top / "fresh", ignore_errors=True)
        sealed_once.unsealed_ok()


@pytest.fixture
def sealed_once(secrets: Bench) -> Bench:
    """Sealed, and opened again."""
    secrets.sealed_ok()
    secrets.unsealed_ok()
    return secrets


def refused(secrets: Bench, *words: str) -> str:
    """Opening must be refused, and change nothing."""
    before = contents(secrets.opened)
    ended = secrets.unseal(*words)
    assert ended.code == 7, (ended.code, ended.err)
    assert contents(secrets.opened) == before
    return ended.err


def test_a_disk_that_has_lost_its_manifest_is_not_taken_for_one_with_nothing_sealed(secrets):
    secrets.sealed_ok()
    shutil.rmtree(secrets.sealed / ".syncron")
    ended = secrets.unseal()
    assert ended.code == 7 and "is gone" in ended.out
    without_state()  # a machine that never saw it
    ended = secrets.unseal()
    assert ended.code == 3 and "has no manifest" in ended.out
    assert not secrets.opened.exists()
    # What it says opens everything, and takes only what is as it was sealed.
    secrets.unsealed_ok("--secure=*", "--declassify")
    assert contents(secrets.opened) == contents(secrets.source)
    bent = bytearray((secrets.sealed / "a.env").read_bytes())
    bent[-1] ^= 1
    (secrets.sealed / "a.env").write_bytes(bent)
    ended = secrets.unseal("--secure=*", "--declassify")
    assert ended.code == 7 and (secrets.opened / "a.env").read_bytes() == SMALL


def test_swapped_files_and_files_of_another_root_are_refused(sealed_once, syncron):
    first, second = sealed_once.sealed / "a.env", sealed_once.sealed / "sub/b.env"
    one, two = first.read_bytes(), second.read_bytes()
    put(first, two)
    put(second, one)
    refused(sealed_once)
    put(second, two)
    # The same tree, sealed with another key.
    ended = syncron("--keygen", sealed_once.top / "key2")
    assert ended.code == 0
    other = sealed_once.top / "other"
    ended = syncron("--seal", "--key", sealed_once.top / "key2", sealed_once.source, other)
    assert ended.code == 0, ended.err
    put(first, (other / "a.env").read_bytes())
    assert "does not hold" in refused(sealed_once)
    put(first, one)
    sealed_once.unsealed_ok()


def test_plaintext_and_other_things_in_a_secret_s_place_are_refused(sealed_once):
    place = sealed_once.sealed / "a.env"
    sealed = place.read_bytes()
    place.write_bytes(b"PASSWORD=mine\n")
    assert "should be sealed" in refused(sealed_once)
    place.unlink()
    place.symlink_to("/etc/passwd")
    refused(sealed_once, "--delete", "--force")
    place.unlink()
    make(place, {"x": b"x"})
    refused(sealed_once, "--delete", "--force")
    shutil.rmtree(place)
    place.write_bytes(sealed)
    # A new place that the rules here name.
    (sealed_once.sealed / "new.env").write_bytes(b"clear")
    assert "new.env" in refused(sealed_once)


def test_a_sealed_file_under_another_name_moves_nothing(sealed_once):
    (sealed_once.sealed / "a.env").rename(sealed_once.sealed / "public")
    before = contents(sealed_once.opened)
    ended = sealed_once.unseal("--delete")
    assert ended.code in (7, 23)
    after = contents(sealed_once.opened)
    assert after["a.env"] == SMALL
    assert SMALL not in [data for name, data in after.items() if name != "a.env"]
    assert before.items() <= after.items()


def test_older_versions_are_refused(sealed_once):
    manifest = sealed_once.sealed / ".syncron/secure-manifest"
    place = sealed_once.sealed / "a.env"
    old, old_manifest = place.read_bytes(), manifest.read_bytes()
    stat = place.stat()
    (sealed_once.source / "a.env").write_bytes(b"PASSWORD=newer\n")
    sealed_once.sealed_ok()
    new, new_manifest = place.read_bytes(), manifest.read_bytes()
    sealed_once.unsealed_ok()
    # The file alone, then all of it; whoever opened it has seen the newer.
    place.write_bytes(old)
    os.utime(place, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert "older version" in refused(sealed_once)
    manifest.write_bytes(old_manifest)
    assert "is an older one" in refused(sealed_once)
    manifest.unlink()
    assert "is gone" in refused(sealed_once)
    # Also whoever seals does not build on it.
    manifest.write_bytes(old_manifest)
    ended = sealed_once.seal()
    assert ended.code == 7 and "--accept-rollback" in ended.err
    ended = sealed_once.syncron("--secure-check", sealed_once.sealed)
    assert ended.code == 7
    # A backup was restored there, and its owner says so.
    sealed_once.unsealed_ok("--accept-rollback")
    assert (sealed_once.opened / "a.env").read_bytes() == SMALL
    place.write_bytes(new)
    manifest.write_bytes(new_manifest)


def test_the_same_content_again_is_another_generation(sealed_once):
    """Back to an earlier content: sealed the same, and not taken for the old version."""
    old = (sealed_once.sealed / "a.env").read_bytes()
    for data in (b"between\n", SMALL):
        (sealed_once.source / "a.env").write_bytes(data)
        sealed_once.sealed_ok()
    now = (sealed_once.sealed / "a.env").read_bytes()
    assert now[:80] == old[:80] and now != old
    sealed_once.unsealed_ok()
    (sealed_once.sealed / "a.env").write_bytes(old)
    refused(sealed_once)


def test_a_bare_deletion_is_repaired_and_a_true_one_followed(sealed_once):
    (sealed_once.sealed / "a.env").unlink()
    shutil.rmtree(sealed_once.sealed / "secrets")
    (sealed_once.sealed / "readme").unlink()
    ended = sealed_once.unseal("--delete")
    assert ended.code == 23 and "nobody with the key has deleted it" in ended.out
    found = contents(sealed_once.opened)
    assert "readme" in found and found["a.env"] == SMALL and found["secrets/large"] == LARGE
    ended = sealed_once.syncron("--secure-check", sealed_once.sealed)
    assert ended.code == 23 and "a.env is missing" in ended.err
    sealed_once.sealed_ok()
    assert_sealed(sealed_once)
    (sealed_once.source / "a.env").unlink()
    sealed_once.sealed_ok("--delete")
    sealed_once.unsealed_ok("--delete")
    assert_same(str(sealed_once.source), str(sealed_once.opened))
    # And the deleted one does not come back.
    reader = Reader(sealed_once.key.read_bytes())
    manifest = (sealed_once.sealed / ".syncron/secure-manifest").read_bytes()
    assert reader.manifest(manifest)[1][b"a.env"][2]


def test_attributes_that_were_not_sealed_are_not_taken(sealed_once):
    (sealed_once.sealed / "a.env").chmod(0o666)
    ended = sealed_once.unseal()
    assert ended.code == 23 and "other attributes" in ended.out
    assert (sealed_once.opened / "a.env").stat().st_mode & 0o777 == 0o644


# --- interrupted --------------------------------------------------------------------------------


def key_ids(secrets: Bench) -> list[str]:
    ring = keyfile.unpacked(secrets.key.read_bytes(), bytes, "")
    return [keys.id.hex() for keys in ring.keys]


def test_a_secret_that_changes_while_it_is_sent_is_not_taken(secrets, syncron, wire):
    option, log = wire
    place = secrets.source / "secrets/large"
    place.write_bytes(noise(16_000_000, seed=9))
    slow = syncron.start(option, "--bwlimit=6000", secrets.source, f"host:{secrets.sealed}")
    deadline = time.monotonic() + 30
    while not log.exists() or log.stat().st_size < 1_000_000:
        assert time.monotonic() < deadline and slow.poll() is None
        time.sleep(0.01)
    st = place.stat()
    with open(place, "r+b") as file:
        file.seek(15_999_000)
        file.write(b"PASSWORD=another" * 10)
    os.utime(place, ns=(st.st_atime_ns, st.st_mtime_ns))
    slow.communicate(timeout=60)
    assert slow.returncode == 24
    assert not (secrets.sealed / "secrets/large").exists()
    assert b"PASSWORD=another" not in log.read_bytes()
    ended = syncron(option, secrets.source, f"host:{secrets.sealed}")
    assert ended.code == 0, ended.err
    assert_sealed(secrets)


def test_a_new_key_and_a_kill_on_the_way(secrets, syncron, wire):
    option, _ = wire
    make(secrets.source / "secrets/many", {f"{n:02}": noise(60_000, seed=n) for n in range(24)})
    remote = f"host:{secrets.sealed}"
    ended = syncron(option, secrets.source, remote)
    assert ended.code == 0, ended.err
    names = [name for name in contents(secrets.sealed) if name in SEALED or "many" in name]

    def sealed_with(key_id: str) -> int:
        ids = [(secrets.sealed / name).read_bytes()[8:16].hex() for name in names]
        return ids.count(key_id)

    (old,) = key_ids(secrets)
    slow = syncron.start(option, "--rekey", "--bwlimit=600", secrets.source, remote)
    deadline = time.monotonic() + 30
    while len(key_ids(secrets)) < 2 or not 3 <= sealed_with(key_ids(secrets)[0]) < len(names):
        assert time.monotonic() < deadline and slow.poll() is None
        time.sleep(0.02)
    slow.send_signal(signal.SIGKILL)
    slow.communicate()
    new = key_ids(secrets)[0]
    time.sleep(0.3)
    assert 3 <= sealed_with(new) < len(names)
    # Every file can be read, by the old key or by the new one.
    reader = Reader(secrets.key.read_bytes())
    for name in names:
        data = (secrets.sealed / name).read_bytes()
        assert reader.open(name.encode(), data).content == (secrets.source / name).read_bytes()
    opened = syncron(option, remote, secrets.opened)
    assert opened.code == 0, opened.err
    assert contents(secrets.opened) == contents(secrets.source)
    # A further run goes on with the same new key, and does not begin again.
    ended = syncron("--json", option, "--rekey", secrets.source, remote)
    assert ended.code == 0, ended.err
    assert key_ids(secrets) == [new, old]
    assert 0 < ended.summary["changed"] < len(names)
    assert sealed_with(new) == len(names)
    ended = syncron("--json", option, "--rekey", secrets.source, remote)
    assert ended.code == 0 and len(key_ids(secrets)) == 3


def test_an_interrupted_transfer_goes_on(secrets, syncron, wire):
    option, log = wire
    remote = f"host:{secrets.sealed}"
    slow = syncron.start(option, "--bwlimit=1000", secrets.source, remote)
    deadline = time.monotonic() + 30
    staging = secrets.sealed / ".syncron"
    while not any(path.stat().st_size > 400_000 for path in staging.glob("n*") if path.is_file()):
        assert time.monotonic() < deadline and slow.poll() is None
        time.sleep(0.02)
    slow.send_signal(signal.SIGTERM)
    slow.communicate()
    # What was to come is known to be secret already.
    rows = Reader(secrets.key.read_bytes()).manifest((staging / "secure-manifest").read_bytes())[1]
    assert {name.decode() for name in rows} == SEALED
    for needle in needles(secrets.source):
        for path in secrets.sealed.rglob("*"):
            assert not path.is_file() or needle not in path.read_bytes()
    before = log.stat().st_size
    ended = syncron(option, secrets.source, remote)
    assert ended.code == 0, ended.err
    assert log.stat().st_size - before < len(LARGE) - 300_000
    assert_sealed(secrets)


# --- together with others -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        "-H",
        "-X",
        "-A",
        "--no-perms",
        "--no-times",
        "--inplace",
        "--size-only",
        "--link-dest=x",
        "-L",
        "--chmod=u+x",
        "--remove-source-files",
    ],
)
def test_what_cannot_be_had_is_refused_by_name(secrets, option):
    ended = secrets.seal(option)
    assert ended.code == 1 and "Sealed files cannot be had together with --" in ended.out
    assert not secrets.sealed.exists()


def test_nothing_lies_open_in_another_directory(secrets):
    assert secrets.seal("-T", "..").code == 0
    ended = secrets.unseal("-T", "..")
    assert ended.code == 1 and "cannot be had together with --temp-dir" in ended.out
    secrets.unsealed_ok()


def test_called_as_rsync_it_seals_too(secrets, syncron, wire):
    option, log = wire
    remote = f"host:{secrets.sealed}"
    ended = syncron("--rsync", option, "-a", f"{secrets.source}/", remote)
    assert ended.code == 0, ended.err
    assert_sealed(secrets)
    ended = syncron("--rsync", option, "-r", f"{secrets.source}/", remote)
    assert ended.code == 1 and "--no-perms" in ended.err
    assert SMALL not in log.read_bytes()


def test_both_ways_is_refused_where_something_is_to_be_sealed_and_no_key(secrets, syncron, wire):
    option, log = wire
    secrets.sealed.mkdir()
    secrets.key.unlink()
    ended = syncron("--two-way", option, secrets.source, f"host:{secrets.sealed}")
    assert ended.code == 3 and "there is no key" in ended.err
    assert SMALL not in log.read_bytes()


def test_snapshots_are_refused_by_name(secrets, syncron, wire):
    option, log = wire
    ended = syncron(option, "--snapshot", secrets.source, f"host:{secrets.sealed}")
    assert ended.code == 1 and "together with --snapshot" in ended.err
    assert SMALL not in log.read_bytes()


def test_backups_of_sealed_files_are_ciphertext_and_none_in_clear(sealed_once):
    (sealed_once.source / "a.env").write_bytes(b"PASSWORD=newer\n")
    sealed_once.sealed_ok("--backup-dir=../kept")
    kept = (sealed_once.top / "kept/a.env").read_bytes()
    assert kept.startswith(MAGIC)
    ended = sealed_once.unseal("--backup")
    assert ended.code == 1 and "--backup" in ended.err


def test_a_single_secret_is_not_sent_alone(secrets, syncron, wire):
    option, log = wire
    ended = syncron(option, secrets.source / "a.env", f"host:{secrets.top}/alone")
    assert ended.code == 3 and "a.env is sealed" in ended.err
    ended = syncron(option, secrets.source / "readme", f"host:{secrets.top}/alone")
    assert ended.code == 0
    assert SMALL not in log.read_bytes()


def test_where_keys_make_no_sense_they_are_refused(secrets, syncron):
    here, there = str(secrets.source), "host:/x"
    for words, says in (
        (("--secure=x", here, str(secrets.top / "d")), "--seal"),
        (("--key", str(secrets.key), "a:/x", there), "both on other machines"),
        (("--seal", here, there), "two local directories"),
        (("--rekey", here, str(secrets.top / "d")), "--rekey needs"),
        (("--ciphertext", "--key", str(secrets.key), here, there), "--ciphertext"),
        (("--passphrase", here, there), "--keygen"),
        (("--seal", "--unseal", here, here), "exclude each other"),
        (("--seal", here), "takes SRC and DST"),
    ):
        ended = syncron(*words)
        assert ended.code == 1 and says in ended.err, (words, ended.err)


def test_ciphertext_is_carried_as_it_is_with_its_manifest(sealed_once, hosts):
    secrets = sealed_once
    replica = secrets.top / "replica"
    for source, destination in (
        (f"target:{secrets.sealed}", str(secrets.top / "here")),
        (str(secrets.top / "here"), f"target:{replica}"),
        (f"target:{secrets.sealed}", f"other:{secrets.top}/relayed"),
    ):
        secrets.syncron.ok("--ciphertext", source, destination)
    for place in (replica, secrets.top / "relayed"):
        assert contents(place) == contents(secrets.sealed)
        ended = secrets.syncron("--unseal", place, secrets.top / f"from-{place.name}")
        assert ended.code == 0, ended.err
        assert_same(str(secrets.source), str(secrets.top / f"from-{place.name}"))
    assert secrets.syncron("--secure-check", replica).code == 0
    # Secrets in clear are not carried by mistake.
    ended = secrets.syncron("--ciphertext", secrets.source, f"target:{secrets.top}/x")
    assert ended.code == 3


# --- keys -----------------------------------------------------------------------------------------


def test_each_thing_that_is_wrong_with_a_key_is_told_apart(sealed_once, syncron, tmp_path):
    told = []

    def wrong(code: int, *words: str) -> None:
        ended = sealed_once.unseal(*words)
        assert ended.code == code, ended.err
        told.append(ended.err.split("; ")[0])

    syncron("--keygen", tmp_path / "other")
    wrong(7, f"--key={tmp_path}/other")
    wrong(3, f"--key={tmp_path}/none")
    (tmp_path / "noise").write_bytes(b"x" * 100)
    (tmp_path / "noise").chmod(0o600)
    wrong(3, f"--key={tmp_path}/noise")
    command = "--passphrase-command=echo open"
    ended = syncron("--keygen", "--passphrase", command, tmp_path / "wrapped")
    assert ended.code == 0, ended.err
    wrong(3, f"--key={tmp_path}/wrapped")
    wrong(3, f"--key={tmp_path}/wrapped", "--passphrase-command=echo wrong")
    wrong(3, f"--key={tmp_path}/wrapped", "--passphrase-command=false")
    sealed_once.key.chmod(0o644)
    wrong(3)
    assert len(set(told)) == len(told), told


def test_a_passphrase_can_be_changed_and_the_key_stays(secrets, syncron):
    secrets.sealed_ok()
    change = 'if [ "$SYNCRON_PASSPHRASE" = new ]; then echo two; else echo one; fi'
    ended = syncron("--change-passphrase", "--passphrase-command=echo one")
    assert ended.code == 0, ended.err
    ended = syncron("--change-passphrase", f"--passphrase-command={change}")
    assert ended.code == 0, ended.err
    assert secrets.unseal("--passphrase-command=echo one").code == 3
    secrets.unsealed_ok("--passphrase-command=echo two")
    assert_same(str(secrets.source), str(secrets.opened))
    ended = secrets.unseal()
    assert ended.code == 3 and "--passphrase-command" in ended.err
    ended = syncron("--keygen")
    assert ended.code == 3 and "not overwritten" in ended.err
