"""Sealed names: nothing at the other side, nor on the way there, tells what a secret is called."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command
from tests.e2e.sealing import LARGE, SEALED, Bench, bench, contents, without_state
from tests.secure.reader import Reader
from tests.sshd import Sshd
from tests.trees import assert_same, make, noise

LONG = "long-name-" * 20
HIDDEN = (
    "secrets",
    "key",
    "large",
    "more",
    "deep",
    "hollow",
    "a.env",
    "empty.env",
    "b.env",
    LONG,
    "pointer",
)
"""Names that must be nowhere; short ones would be found in noise."""
CLEAR = ("readme", "public.env", "sub")


@pytest.fixture
def secrets(syncron: Command, tmp_path: Path) -> Bench:
    made = bench(syncron, tmp_path)
    make(made.source / "secrets", {LONG: b"long", "hollow": {}})
    (made.source / "secrets/pointer").symlink_to("more/deep")
    return made


@pytest.fixture
def named(secrets: Bench) -> Bench:
    """Sealed with names."""
    secrets.sealed_ok("--secure-names")
    return secrets


def names_in(top: Path) -> set[str]:
    """Every name, and what symlinks point to; also while they become others."""
    found = set()
    for path, directories, files in os.walk(top):
        if ".syncron" in directories:
            directories.remove(".syncron")
        for name in (*directories, *files):
            found.add(name)
            with contextlib.suppress(OSError):
                found.update(os.readlink(os.path.join(path, name)).split("/"))
    return found


def assert_named(secrets: Bench) -> None:
    """The names at the sealed side are what the document says, and no other."""
    reader = Reader(secrets.key.read_bytes())
    _, rows = reader.manifest((secrets.sealed / ".syncron/secure-manifest").read_bytes())
    there = {str(path.relative_to(secrets.sealed)) for path in secrets.sealed.rglob("*")}
    there = {path for path in there if not path.startswith(".syncron")}
    wanted: dict[str, str] = {}
    for path in sorted(secrets.source.rglob("*")):
        name = path.relative_to(secrets.source)
        above = wanted.get(str(name.parent), "" if str(name.parent) == "." else str(name.parent))
        hidden = name.parts[0] == "secrets" or name.name in ("a.env", "empty.env", "b.env")
        own = reader.seal_name(above.encode(), name.name.encode()).decode() if hidden else name.name
        wanted[str(name)] = f"{above}/{own}" if above else own
        if path.is_file() and not path.is_symlink() and name.as_posix().encode() in rows:
            data = (secrets.sealed / wanted[str(name)]).read_bytes()
            assert reader.open(name.as_posix().encode(), data).content == path.read_bytes()
    assert there == set(wanted.values())
    assert not names_in(secrets.sealed).intersection(HIDDEN)


def test_a_tree_goes_with_its_names_sealed_and_comes_back(named):
    assert_named(named)
    # Another run needs not be told again.
    summary = named.sealed_ok()
    assert summary["created"] == summary["changed"] == summary["bytes_hashed"] == 0
    assert named.sealed_ok("--verify")["match"] is True
    named.unsealed_ok()
    assert_same(str(named.source), str(named.opened))
    assert named.unsealed_ok()["bytes_hashed"] == 0
    ended = named.syncron("--secure-check", named.sealed)
    assert ended.code == 0 and f"{len(SEALED) + 1} sealed files" in ended.err


def test_changes_and_deletes_are_told_by_plain_names(named):
    named.unsealed_ok()
    (named.source / "secrets/large").unlink()
    (named.source / "secrets/more").rename(named.source / "secrets/less")
    (named.source / "a.env").write_bytes(b"another")
    (named.source / "secrets/pointer").unlink()
    (named.source / "secrets/pointer").symlink_to("less/deep")
    ended = named.syncron("--seal", "--delete", "-n", "-i", named.source, named.sealed)
    assert ended.code == 0, ended.err
    for told in ("*deleting   secrets/large", "secrets/less/deep (sealed)", "a.env (sealed)"):
        assert told in ended.out, ended.out
    assert named.sealed_ok("--delete")["match"] is True
    assert_named(named)
    ended = named.unseal("--delete")
    assert ended.code == 0, ended.err
    assert_same(str(named.source), str(named.opened))


def test_no_name_is_on_the_wire(secrets, syncron, tmp_path):
    script, log = tmp_path / "rsh", tmp_path / "wire"
    script.write_text(
        f'#!/bin/sh\nfor last; do :; done\ntee -a {log} | /bin/sh -c "$last" | tee -a {log}\n'
    )
    script.chmod(0o755)
    remote = f"host:{secrets.sealed}"
    words = (f"--rsh={script}", "--compress-choice=none", "--delete")
    for edit in (b"1", b"2"):
        ended = syncron(*words, "--secure-names", secrets.source, remote)
        assert ended.code == 0, ended.err
        (secrets.source / "secrets/key").write_bytes(edit * 20)
        (secrets.source / "secrets/more/deep").rename(secrets.source / f"secrets/more/x{edit!r}")
        (secrets.source / "secrets/more/deep").write_bytes(edit)
    ended = syncron(*words, secrets.source, remote)
    assert ended.code == 0, ended.err
    ended = syncron(*words, remote, secrets.opened)
    assert ended.code == 0, ended.err
    assert_same(str(secrets.source), str(secrets.opened))
    ended = syncron(words[0], "--secure-check", remote)
    assert ended.code == 0, ended.err
    passed = log.read_bytes()
    for name in CLEAR:
        assert name.encode() in passed
    for name in HIDDEN:
        if len(name) > 4:
            assert name.encode() not in passed, name
    stored = b"".join(path.read_bytes() for path in secrets.sealed.rglob("*") if path.is_file())
    assert not any(name.encode() in stored for name in HIDDEN if len(name) > 4)


def test_a_second_machine_has_the_names_from_the_key(named, hosts: Sshd):
    without_state()
    remote = f"target:{named.sealed}"
    ended = named.syncron("--json", remote, named.opened)
    assert ended.code == 0, ended.err
    assert_same(str(named.source), str(named.opened))
    # It pushes what it edits, and state that is lost costs no content.
    (named.opened / "secrets/new").write_bytes(b"from the second machine")
    (named.opened / "secrets/more/deep").unlink()
    for _ in range(2):
        ended = named.syncron("--json", "--delete", named.opened, remote)
        assert ended.code == 0 and ended.summary["match"], ended.err
        assert ended.summary["bytes_transferred"] < 1000
        without_state()
    ended = named.syncron("--delete", remote, named.source)
    assert ended.code == 0, ended.err
    assert_same(str(named.source), str(named.opened))


def test_names_in_clear_are_sealed_later_and_the_other_way_round(secrets):
    secrets.sealed_ok()
    assert "secrets" in names_in(secrets.sealed)
    assert secrets.sealed_ok("--secure-names")["match"] is True
    assert_named(secrets)
    assert secrets.sealed_ok()["match"] is True
    assert_named(secrets)
    secrets.unsealed_ok()
    assert_same(str(secrets.source), str(secrets.opened))
    # Without --declassify nothing puts them in clear.
    secrets.sealed_ok("--declassify", "--secure-names")
    assert_named(secrets)
    assert secrets.sealed_ok("--declassify")["match"] is True
    assert set(contents(secrets.sealed)) == set(contents(secrets.source))
    assert secrets.sealed_ok()["created"] == 0
    secrets.unsealed_ok("--delete")
    assert_same(str(secrets.source), str(secrets.opened))


def test_what_is_only_there_keeps_its_name_until_it_is_pulled(secrets):
    secrets.sealed_ok()
    (secrets.source / "secrets/key").unlink()
    ended = secrets.seal("--secure-names")
    assert ended.code == 3 and "secrets/key" in ended.err and "pull first" in ended.err
    assert (secrets.sealed / "secrets/key").exists()
    secrets.sealed_ok("--secure-names", "--delete")
    assert_named(secrets)


def test_a_foreign_name_among_sealed_ones_is_kept_and_told_of(named):
    directory = next(path.parent for path in named.sealed.rglob("*") if path.is_symlink())
    (directory / "foreign").write_bytes(b"mine")
    ended = named.seal()
    assert ended.code == 23 and "foreign" in ended.out and "--delete" in ended.out
    assert (directory / "foreign").read_bytes() == b"mine"
    assert named.unseal().code in (0, 23, 24)
    assert not (named.opened / "secrets/foreign").exists()
    named.sealed_ok("--delete")
    assert not (directory / "foreign").exists()


def test_names_that_are_exchanged_there_are_refused(named):
    named.unsealed_ok()
    before = contents(named.opened)
    link = next(path for path in named.sealed.rglob("*") if path.is_symlink())
    first, second = sorted(
        path for path in link.parent.iterdir() if path.is_file() and not path.is_symlink()
    )[:2]
    for one, other in ((first, "x"), (second, first.name), (link.parent / "x", second.name)):
        one.rename(link.parent / other)
    ended = named.unseal()
    assert ended.code == 7 and "Nothing of it was taken" in ended.err, ended.err
    assert contents(named.opened) == before
    # A directory that is moved elsewhere opens under no name, and nothing here follows.
    link.parent.rename(named.sealed / "sub/moved")
    ended = named.unseal("--delete")
    assert ended.code in (7, 23), ended.err
    assert before.items() <= contents(named.opened).items()


def test_names_stay_sealed_when_rules_change(named):
    (named.source / ".secure").write_bytes(b"*.env\n!public.env\n")
    (named.source / "secrets/later").write_bytes(b"not named by a rule")
    named.sealed_ok()
    assert not {*HIDDEN, "later"} & names_in(named.sealed)
    named.unsealed_ok()
    assert_same(str(named.source), str(named.opened))


def many(secrets: Bench) -> None:
    make(secrets.source / "secrets/many", {f"{n:02}": noise(60_000, seed=n) for n in range(24)})


def killed(secrets: Bench, *words: Any) -> None:
    """Begin a push, and kill it when some of it has come."""
    manifest = secrets.sealed / ".syncron/secure-manifest"
    before, there = manifest.read_bytes(), names_in(secrets.sealed)
    slow = secrets.syncron.start("--seal", "--bwlimit=500", *words, secrets.source, secrets.sealed)
    deadline = time.monotonic() + 30
    while manifest.read_bytes() == before or len(names_in(secrets.sealed) - there) < 6:
        assert time.monotonic() < deadline and slow.poll() is None
        time.sleep(0.01)
    slow.send_signal(signal.SIGKILL)
    slow.communicate()
    time.sleep(0.3)


@pytest.mark.parametrize(
    ("words", "before"), [(["--secure-names"], []), (["--declassify"], ["--secure-names"])]
)
def test_a_kill_while_names_become_others(secrets, words, before):
    many(secrets)
    secrets.sealed_ok(*before)
    killed(secrets, *words)
    # Nothing is lost with the machine that was killed.
    without_state()
    ended = secrets.unseal()
    assert ended.code in (0, 23) and "a further push finishes" in ended.out
    assert contents(secrets.opened) == contents(secrets.source)
    assert secrets.syncron("--secure-check", secrets.sealed).code == 0
    # A further run finishes, and nothing is left of the other names.
    assert secrets.sealed_ok(*words)["match"] is True
    if before:
        assert set(contents(secrets.sealed)) == set(contents(secrets.source))
    else:
        assert_named(secrets)
    shutil.rmtree(secrets.opened)
    secrets.unsealed_ok()
    assert_same(str(secrets.source), str(secrets.opened))


def test_a_new_key_seals_names_anew_and_a_kill_on_the_way(secrets, hosts: Sshd):
    many(secrets)
    remote = f"target:{secrets.sealed}"
    ended = secrets.syncron("--secure-names", secrets.source, remote)
    assert ended.code == 0, ended.err
    before = names_in(secrets.sealed)
    slow = secrets.syncron.start("--rekey", "--bwlimit=500", secrets.source, remote)
    deadline = time.monotonic() + 30
    while len(names_in(secrets.sealed) - before) < 6:
        assert time.monotonic() < deadline and slow.poll() is None
        time.sleep(0.01)
    slow.send_signal(signal.SIGKILL)
    slow.communicate()
    time.sleep(0.5)
    without_state()
    ended = secrets.syncron(remote, secrets.opened)
    assert ended.code in (0, 23) and "a further push finishes" in ended.err, ended.err
    assert contents(secrets.opened) == contents(secrets.source)
    ended = secrets.syncron("--json", "--rekey", secrets.source, remote)
    assert ended.code == 0 and ended.summary["match"], (ended.err, ended.out)
    assert names_in(secrets.sealed) & before == {".secure", *CLEAR, "c"}
    assert_named(secrets)


def test_an_interrupted_transfer_goes_on(secrets, hosts: Sshd):
    remote = f"target:{secrets.sealed}"
    slow = secrets.syncron.start("--secure-names", "--bwlimit=1000", secrets.source, remote)
    deadline = time.monotonic() + 30
    staging = secrets.sealed / ".syncron"
    while not any(path.stat().st_size > 400_000 for path in staging.glob("n*") if path.is_file()):
        assert time.monotonic() < deadline and slow.poll() is None
        time.sleep(0.02)
    slow.send_signal(signal.SIGTERM)
    slow.communicate()
    ended = secrets.syncron("--json", "--secure-names", secrets.source, remote)
    assert ended.code == 0, ended.err
    assert ended.summary["bytes_transferred"] < len(LARGE) - 300_000
    assert_named(secrets)


def test_backups_have_sealed_names_too(named):
    (named.source / "secrets/key").write_bytes(b"another key")
    named.sealed_ok("--backup-dir=../kept")
    kept = named.top / "kept"
    assert len(contents(kept)) == 1 and not names_in(kept) & set(HIDDEN)


def test_what_cannot_be_had_with_sealed_names_is_refused(named, tmp_path):
    (tmp_path / "list").write_text("secrets\n")
    for words, says in (
        ((f"--files-from={tmp_path}/list",), "--files-from"),
        (("--backup",), "--backup-dir"),
        (("--declassify", "--existing"), "takes all of the tree"),
    ):
        ended = named.seal(*words)
        assert ended.code == 1 and says in ended.out, (words, ended.out)
    assert_named(named)
    ended = named.syncron("--secure-names", named.source, named.top / "here")
    assert ended.code == 1 and "--secure-names is about" in ended.err


def test_rules_that_are_sealed_themselves_are_not_told(secrets, syncron, tmp_path):
    script, log = tmp_path / "rsh", tmp_path / "wire"
    script.write_text(
        f'#!/bin/sh\nfor last; do :; done\ntee -a {log} | /bin/sh -c "$last" | tee -a {log}\n'
    )
    script.chmod(0o755)
    (secrets.source / "secrets/.syncronignore").write_bytes(b"telling-pattern\n")
    ended = syncron(f"--rsh={script}", secrets.source, f"host:{secrets.sealed}")
    assert ended.code == 3 and "secrets/.syncronignore is to be sealed" in ended.err
    assert b"telling" not in log.read_bytes()
