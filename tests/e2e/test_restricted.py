"""Accounts whose key may do no more than a forced command says, over a real SSH server.

What each mode lets a client do stands in `tests/endpoint/test_restriction.py`, request by request,
and which roots it reaches in `tests/fs/test_restriction.py`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import SyncronError
from syncron_lib.protocol import messages
from syncron_lib.protocol.pack import Piece
from syncron_lib.transport.process import ProcessStream
from tests.adversary.evil import frame, packed
from tests.e2e.conftest import CHECKOUT, Command, Ended, Script, assert_copied, listing
from tests.endpoint.driving import SEAL, XXH3, expected, opening
from tests.sshd import Sshd, generate_key
from tests.trees import Link, make

Restricted = Callable[..., str]


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """The remote machine. Keys are restricted to ``data/a``; all else stays as it is."""
    far = tmp_path / "far"
    make(far, {"data": {"ab": {"secret": b"not yours"}, "secret": b"nor this"}, "x": b"x"})
    make(far / "data/a", {"old": b"what is there", "d": {"kept": b"kept"}})
    before = outside(far)
    yield far
    assert outside(far) == before


def outside(far: Path) -> dict[str, tuple[object, ...]]:
    """All but what is in ``data/a``."""
    inside = str(far / "data/a")
    found = listing(far)
    return {name: at for name, at in found.items() if not (name + "/").startswith(inside + "/")}


@pytest.fixture
def restricted(sshd: Sshd, home: Path, script: Script) -> Iterator[Restricted]:
    """Gives the account another key, with a forced command of these words; the host as which it is
    used."""
    keys = sshd.directory / "authorized_keys"
    before = keys.read_text()
    (home / ".ssh").mkdir(mode=0o700)

    def another(*words: str | Path, program: str | None = None, before: str = "") -> str:
        name = f"key{len(list(home.glob('key*.pub')))}"
        key = generate_key(home / name)
        command = before + shlex.join([program or script(), "--serve", *map(str, words)])
        with keys.open("a") as file:
            file.write(f'restrict,command="{command}" {key.with_suffix(".pub").read_text()}')
        config = sshd.write_config(name, host=name, replace={"IdentityFile": str(key)})
        with (home / ".ssh/config").open("a") as file:
            file.write(config.read_text())
        return name

    yield another
    keys.write_text(before)


def refused(ended: Ended, code: int, *words: str) -> None:
    """It ended with one sentence, or two, in one line."""
    assert ended.code == code, (ended.code, ended.err)
    for word in words:
        assert word in ended.err, ended.err
    assert len(ended.err.splitlines()) == 1, ended.err


# --- the modes ---------------------------------------------------------------------------------


def test_append_only_takes_what_is_new(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    host = restricted("--restrict", there, "--append-only")
    make(tmp_path / "src", {"new": b"n", "d": {"more": b"m"}, "tree": {"x": {"y": b"y"}}})
    make(tmp_path / "src", {"large": b"L" * 700_000})
    summary = syncron.ok(tmp_path / "src", f"{host}:{there}")
    assert summary["created"] == 6
    assert (there / "old").read_bytes() == b"what is there"
    # A backup a day, under a name of its own.
    syncron.ok(tmp_path / "src", f"{host}:{there}/2026-11-22")
    syncron.ok("--mkpath", tmp_path / "src", f"{host}:{there}/2026/11/23")
    assert_copied(tmp_path / "src", there / "2026/11/23")
    (tmp_path / "single").write_bytes(b"1")
    assert syncron(tmp_path / "single", f"{host}:{there}/d/named").code == 0
    (tmp_path / "single").write_bytes(b"2")
    ended = syncron(tmp_path / "single", f"{host}:{there}/d/named")
    assert ended.code == 23, ended.err
    assert (there / "d/named").read_bytes() == b"1"
    # Nothing to do is no collision.
    syncron.ok(tmp_path / "src", f"{host}:{there}/2026-11-22")

    before = listing(there)
    (tmp_path / "src/new").write_bytes(b"N")
    (tmp_path / "src/large").write_bytes(b"S" * 700_000)
    (tmp_path / "src/d/more").chmod(0o600)
    (tmp_path / "src/d/another").write_bytes(b"a")
    ended = syncron("--json", tmp_path / "src", f"{host}:{there}")
    assert ended.code == 23
    failed = {error["path"] for error in ended.summary["errors"]}
    assert {"new", "large", "d/more"} <= failed
    assert (there / "d/another").read_bytes() == b"a"
    after = listing(there)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {str(there), str(there / "d")}  # their times, by what was added
    refused(
        syncron("--delete", tmp_path / "src", f"{host}:{there}"), 3, "may not delete", "--delete"
    )
    assert listing(there) == after


def test_no_delete_changes_and_keeps(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    host = restricted("--restrict", there, "--no-delete")
    make(tmp_path / "src", {"old": b"changed", "d": {"kept": b"kept too"}, "new": b"n"})
    syncron.ok(tmp_path / "src", f"{host}:{there}")
    syncron.ok("--delete", tmp_path / "src", f"{host}:{there}")  # there is nothing to delete
    before = listing(there)
    (tmp_path / "src/old").rename(tmp_path / "src/renamed")
    refused(
        syncron("--delete", tmp_path / "src", f"{host}:{there}"), 3, "may not delete", "--delete"
    )
    assert listing(there) == before
    (tmp_path / "src/new").unlink()
    make(tmp_path / "src/new", {"in": b"in"})
    ended = syncron("--json", "--force", tmp_path / "src", f"{host}:{there}")
    assert ended.code == 23
    assert [error["path"] for error in ended.summary["errors"]] == ["new"]
    assert (there / "new").read_bytes() == b"n"
    assert (there / "renamed").exists()
    assert (there / "old").exists()


def test_read_only_is_read(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    host = restricted("--restrict", there, "--read-only")
    before = listing(there)
    syncron.ok(f"{host}:{there}", tmp_path / "dst")
    assert_copied(there, tmp_path / "dst")
    syncron.ok(f"{host}:{there}/old", tmp_path / "single")
    assert syncron("--verify", tmp_path / "dst", f"{host}:{there}").code == 0
    (tmp_path / "dst/more").write_bytes(b"m")
    assert syncron("-n", "--delete", tmp_path / "dst", f"{host}:{there}").code in (0, 3)
    for option in ("--no-delete", "--delete"):
        ended = syncron(option, tmp_path / "dst", f"{host}:{there}")
        refused(ended, 3, "may only be read", "Nothing was changed")
    refused(syncron(tmp_path / "dst/more", f"{host}:{there}/"), 3, "may only be read")
    assert listing(there) == before


def test_read_only_needs_no_place_of_its_own(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    """The account's home can be read-only, or not there."""
    there = top / "data/a"
    nowhere = "HOME=/proc/none XDG_STATE_HOME= "
    host = restricted("--restrict", there, "--read-only", before=nowhere)
    for _ in range(2):
        assert syncron.ok(f"{host}:{there}", tmp_path / "dst")["warnings"] == []
    assert_copied(there, tmp_path / "dst")
    # Where something is to be written, the account needs one.
    host = restricted("--restrict", there, "--append-only", before=nowhere)
    refused(syncron(tmp_path / "dst", f"{host}:{there}"), 5, "state directory")


def test_restricted_without_a_mode_all_may_be_done_there(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    host = restricted("--restrict", top / "data/a")
    make(tmp_path / "src", {"d": {"kept": b"changed"}})
    syncron.ok("--delete", tmp_path / "src", f"{host}:{top}/data/a")
    assert_copied(tmp_path / "src", top / "data/a")


# --- roots -------------------------------------------------------------------------------------


def test_roots_outside_are_refused(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    host = restricted("--restrict", there, "--restrict", top / "data/a/d")
    make(tmp_path / "src", {"mine": b"mine", "out": Link(b"../ab"), "self": Link(b"d")})
    syncron.ok(tmp_path / "src", f"{host}:{there}")
    for path in (f"{top}/data/ab", f"{there}/out", ""):
        where = f"{host}:{path}"
        for ended in (syncron(tmp_path / "src", where), syncron(where, tmp_path / "dst")):
            refused(ended, 3, "out of reach", f"restricted to {there} and {there}/d")
    refused(syncron(tmp_path / "src/mine", f"{host}:{top}/data/secret"), 3, "out of reach")
    assert not (tmp_path / "dst").exists()
    syncron.ok(f"{host}:{there}/self", tmp_path / "dst")
    assert_copied(there / "d", tmp_path / "dst")


def test_a_scratch_directory_outside_is_refused(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    (there / "out").symlink_to("../ab")
    (there / "scratch").mkdir()
    host = restricted("--restrict", there, "--append-only")
    make(tmp_path / "src", {"f": b"1", "large": b"L" * 700_000})
    for scratch in ("../..", top / "data/ab", "../out", "../out/../ab"):
        ended = syncron("-T", scratch, tmp_path / "src", f"{host}:{there}/d")
        refused(ended, 3, "out of reach", f"restricted to {there}")
    for scratch in ("../scratch", there / "scratch"):
        syncron.ok("-T", scratch, tmp_path / "src", f"{host}:{there}/d")
    assert not any((there / "scratch").iterdir())


# --- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--restrict", "/none/at/all"], 3, "/none/at/all, which cannot be opened as a directory"),
        (["--restict", "/srv"], 1, "--restict is no option of --serve"),
    ],
)
def test_a_bad_restriction_refuses_to_start(
    syncron: Command,
    restricted: Restricted,
    tmp_path: Path,
    words: list[str],
    code: int,
    says: str,
) -> None:
    make(tmp_path / "src", {"a": b"a"})
    host = restricted(*words)
    refused(syncron(tmp_path / "src", f"{host}:{tmp_path}/dst"), code, says, "authorized_keys")
    assert not (tmp_path / "dst").exists()


@pytest.mark.parametrize(
    "options",
    [["--remote-python=python3"], ["--remote-syncron=/none/syncron"], ["-e", "ssh"]],
    ids=lambda options: options[0],
)
def test_whatever_the_client_asks_for_the_forced_one_is_started(
    syncron: Command,
    restricted: Restricted,
    top: Path,
    tmp_path: Path,
    home: Path,
    options: list[str],
) -> None:
    host = restricted("--restrict", top / "data/a", "--read-only")
    words = ("-e", f"ssh -F {home}/.ssh/config") if options[0] == "-e" else options
    syncron.ok(*words, f"{host}:{top}/data/a", tmp_path / "dst")
    refused(syncron(*words, tmp_path / "dst", f"{host}:{top}/data/a"), 3, "may only be read")


COMMANDS = (
    *("", "touch {there}/made", "/usr/lib/openssh/sftp-server"),
    "syncron --serve --restrict /; SYNCRON_MARKER=0123456789abcdef",
    "SYNCRON_MARKER='; touch {there}/made; echo '",
    "exec /bin/sh -c 'SYNCRON_MARKER=fedcba9876543210; export SYNCRON_MARKER; touch {there}/made'",
    "$(touch {there}/made) `touch {there}/made` \n touch {there}/made \xff \x1b[2J",
    "x" * 100_000,
)


def test_of_what_was_asked_to_run_nothing_is_believed_but_a_marker(
    sshd: Sshd, restricted: Restricted, top: Path, home: Path
) -> None:
    there = top / "data/a"
    host = restricted("--restrict", there, "--read-only")
    before = listing(there)
    for command in COMMANDS:
        done = subprocess.run(
            ["ssh", "-F", home / ".ssh/config", host, "--", command.format(there=there)],
            input=b"",
            capture_output=True,
            timeout=20,
        )
        marker = re.search(r"SYNCRON_MARKER=([0-9a-f]{16})\b", command)
        said = f"syncron-{marker[1]} started installed\n".encode() if marker else b""
        # Then its greeting: kind 1, request 0, version 1.
        greeting = done.stdout.removeprefix(said)
        assert done.stdout.startswith(said), (command, done)
        assert greeting[4:13] == b"\1\0\0\0\0\1\0\0\0", (command, done)
    assert listing(there) == before


def test_a_forced_helper_of_another_version_is_told_as_such(
    syncron: Command, restricted: Restricted, tmp_path: Path, script: Script
) -> None:
    code = "import sys; from syncron_lib.protocol import messages; messages.VERSION = 9; "
    code += "from syncron_lib.helper.main import main; sys.exit(main(sys.argv[2:]))"
    newer = script(f"cd {CHECKOUT}; exec {sys.executable} -c '{code}' \"$@\"")
    make(tmp_path / "src", {"a": b"a"})
    host = restricted("--restrict", tmp_path, program=newer)
    ended = syncron(tmp_path / "src", f"{host}:{tmp_path}/dst")
    assert ended.code == 2, ended.err
    assert "speaks protocol versions 9 to 9" in ended.err
    assert "A forced command there starts the one that is installed" in ended.err
    assert not (tmp_path / "dst").exists()


# --- a client of one's own -----------------------------------------------------------------------


def piece(path: bytes, mode: int = 0o104755) -> RawPack:
    """A file with all its content."""
    own = Attributes(mode, 5, 0, 0)
    return RawPack(packed(Piece(path, own, 4, 0, True, False, XXH3.of(b"evil"), b"evil")))


def told(home: Path, host: str, requests: list[Any]) -> Any:
    """What the helper answers to the last of these, or the exit code that it ends with; over SSH,
    by a client that checks nothing and asks for what it likes."""
    words = ["ssh", "-F", str(home / ".ssh/config"), host, "--", "true"]
    stream = ProcessStream(words, lambda _: None)
    end = RemoteEndpoint(stream, "The helper", 20)
    reply = None
    try:
        for request in requests:
            if isinstance(request, bytes):
                stream.send(request)
                return end.submit(messages.Close()).result(20)
            reply = end.submit(request).result(20)
    except SyncronError as error:
        return int(error.exit_code)
    finally:
        end.close()
        stream.close()
    return reply


@pytest.mark.parametrize("mode", ["--append-only", "--no-delete", "--read-only"])
def test_a_client_that_keeps_to_nothing(
    restricted: Restricted, top: Path, home: Path, mode: str
) -> None:
    """What leads out, and what the mode forbids, whoever asks; what it allows is done."""
    there = top / "data/a"
    make(there, {"out": Link(b"../ab"), "way": {"out": Link(bytes(top))}})
    host = restricted("--restrict", there, mode)
    role = Role.SOURCE if mode == "--read-only" else Role.DESTINATION

    def ask(*requests: Any, at: str = "", as_: Role = role) -> Any:
        begun = [opening(f"{there}{at}", as_), messages.Scan(), SEAL]
        if as_ is Role.DESTINATION:
            begun.append(messages.Begin((), ()))
        return told(home, host, [*begun, *requests])

    before = listing(there)
    for at in ("b", "/way/out/x"):
        assert ask(at=at) == 3, at
    if mode == "--read-only":
        assert ask(as_=Role.DESTINATION) == 3
        assert ask(messages.Begin((), ())) == 7
        assert ask(b"\xff" * 2000) == 7
        assert ask(frame(0xEE, b"")) == 7
        # Nothing is read through a link, and what may be read is.
        assert ask(messages.Hash([b"out/secret"])).digests == bytes(16)
        assert ask(messages.Hash([b"old"])).digests == XXH3.of(b"what is there")
        assert listing(there) == before
        return
    assert ask(messages.Delete([b"old"])) == 7
    through = ask(messages.Expect([expected(b"out/new")]), piece(b"out/new"))
    assert [each.path for each in through.problems] == [b"out/new"]
    assert {name: at for name, at in listing(there).items() if "syncron" not in name}.keys() == (
        before.keys()
    )
    if mode == "--append-only":
        reply = ask(messages.Expect([expected(b"old", replace=True)]), piece(b"old"))
        assert [each.path for each in reply.problems] == [b"old"]
        reply = ask(messages.Adjust([messages.SetAttributes(b"old", 0o104777, 5, 0, 0)]))
        assert [each.path for each in reply.problems] == [b"old"]
        after = listing(there)
        assert after[str(there / "old")] == before[str(there / "old")]
    else:
        assert ask(messages.Expect([expected(b"old")]), piece(b"old")).entries == 1
        assert (there / "old").read_bytes() == b"evil"
    assert ask(messages.Expect([expected(b"d/new")]), piece(b"d/new")).entries == 1
    assert (there / "d/new").read_bytes() == b"evil"


# --- backups -----------------------------------------------------------------------------------


def test_backups_stay_inside(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    make(tmp_path / "src", {"old": b"another", "d": {"kept": b"kept"}})
    host = restricted("--restrict", there)
    (there / "out").symlink_to(top / "data/ab")
    for place in ("../ab", f"{top}/elsewhere", "out", "..", "out/below"):
        words = (f"--backup-dir={place}", "--exclude=out", tmp_path / "src", f"{host}:{there}")
        refused(syncron(*words), 3, "Nothing was changed")
    ended = syncron("--backup-dir=kept", "--exclude=out", tmp_path / "src", f"{host}:{there}")
    assert ended.code == 0, ended.err
    assert (there / "kept/old").read_bytes() == b"what is there"


def test_where_nothing_may_be_deleted_what_is_replaced_can_be_kept(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    make(tmp_path / "src", {"old": b"another"})
    host = restricted("--restrict", there, "--no-delete")
    assert syncron("-b", tmp_path / "src", f"{host}:{there}").code == 0
    assert (there / "old~").read_bytes() == b"what is there"
    refused(syncron("-b", "--delete", tmp_path / "src", f"{host}:{there}"), 3)


# --- snapshots ---------------------------------------------------------------------------------


def test_snapshots_of_an_append_only_account(
    syncron: Command, restricted: Restricted, top: Path, tmp_path: Path
) -> None:
    there = top / "data/a"
    make(tmp_path / "src", {"f": b"the same", "d": {"g": b"g", "h": b"h"}})
    host = restricted("--restrict", there, "--append-only")
    for day in range(3):
        (tmp_path / "src/d/h").write_bytes(b"of day %d" % day)
        words = (f"--link-dest=../{day - 1}", tmp_path / "src", f"{host}:{there}/{day}")
        assert syncron(*words).code == 0
        assert_copied(tmp_path / "src", there / str(day))
    assert (there / "0/f").stat().st_nlink == (there / "2/d/g").stat().st_nlink == 3
    for outside in ("../../ab", f"{top}/data"):
        words = (f"--link-dest={outside}", tmp_path / "src", f"{host}:{there}/x")
        refused(syncron(*words), 3, "restricted to")
    assert not (there / "x").exists()
