"""What every endpoint promises, whatever kind it is: `endpoint.base.Endpoint`."""

import os
import socket
from typing import Any

import pytest

from syncron_lib import __version__
from syncron_lib.core import digest
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import RawPack
from syncron_lib.errors import Exit, SyncronError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import RootKind
from syncron_lib.protocol.pack import End, unpack_pack
from tests import trees
from tests.core.tables import Row, table
from tests.endpoint.driving import (
    PATIENCE,
    SEAL,
    XXH3,
    ask,
    begin,
    carry_out,
    expected,
    group,
    opening,
    selected,
    start_writing,
    store_groups,
    synchronize,
)
from tests.trees import Directory, Fifo, File, Link, Socket, make, noise

S, D = Role.SOURCE, Role.DESTINATION

TREE: dict[str, Any] = {
    "empty": b"",
    "small": b"content",
    "large": noise(1_500_000),
    "text": b"text " * 200_000,
    "run": File(b"#!", 0o4755),
    "d": {"e": {"f": {"deep": b"1"}}, "none": {}, "pipe": Fifo(0o600), "socket": Socket(0o640)},
    "link": Link(b"d/e"),
    "dangling": Link(b"/nowhere/\xff"),
    os.fsdecode(b"odd\n\xff"): b"x",
    "closed": Directory({b"f": File(b"x", 0o400)}, 0o550),
}


def _fails(end: Any, request: Any, code: Exit = Exit.PEER) -> str:
    with pytest.raises(SyncronError) as caught:
        ask(end, request)
    assert caught.value.exit_code == code
    return caught.value.message


def test_it_greets(end):
    hello = end.hello
    assert hello.oldest <= messages.VERSION <= hello.newest
    assert hello.program == f"syncron {__version__}"
    assert hello.host == socket.gethostname()
    assert hello.uid == os.geteuid()
    assert hello.algorithms == [each.name for each in digest.available()]
    assert hello.compressions == ["zstd", "zlib"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_whole_run(ends, tmp_path, compress):
    make(tmp_path / "source", TREE)
    make(
        tmp_path / "destination",
        {"small": b"CONTENT", "d": b"a file", "run": {"x": {"y": b""}}, "extra": {"z": b""}},
    )
    source, destination = ends(), ends()
    begin(source, tmp_path / "source", S)
    begin(destination, tmp_path / "destination", D)
    outcome = carry_out(source, destination, compress=compress)
    assert outcome.failures == []
    assert outcome.roots[0] == outcome.roots[1] != digest.UNKNOWN
    trees.assert_same(tmp_path / "source", tmp_path / "destination", owner=True)
    assert not (tmp_path / "destination" / ".syncron").exists()


def test_nothing_changed_is_nothing_to_do(ends, tmp_path):
    make(tmp_path / "source", TREE)
    (tmp_path / "destination").mkdir()
    source, destination = ends(), ends()
    first = synchronize(source, destination, tmp_path / "source", tmp_path / "destination")
    second = synchronize(source, destination, tmp_path / "source", tmp_path / "destination")
    assert second.plan.is_empty
    assert (second.roots, second.content) == (first.roots, 0)


def test_one_endpoint_serves_one_root_after_another(end, tmp_path):
    for name in ("a", "b"):
        make(tmp_path / name, {name: b"1"})
        assert begin(end, tmp_path / name, S).entries == 1
        (directory,) = ask(end, messages.List([b""])).directories
        assert directory.table.names == [name.encode()]
        assert ask(end, messages.Close()) == messages.Done()


def test_requests_in_flight_are_answered_in_order(end, tmp_path):
    make(tmp_path, {f"d{i}": {f"f{j}": b"" for j in range(i)} for i in range(20)})
    requests = [opening(tmp_path, S), messages.Scan(), SEAL]
    requests += [messages.List([b"d%d" % i]) for i in range(20)]
    replies = [future.result(PATIENCE) for future in [end.submit(each) for each in requests]]
    assert [len(reply.directories[0].table.names) for reply in replies[3:]] == list(range(20))


# --- what stands at a path ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "parent_missing"),
    [
        ("d", RootKind.DIRECTORY, False),
        ("f", RootKind.FILE, False),
        ("p", RootKind.OTHER, False),
        ("none", RootKind.MISSING, False),
        ("none/none", RootKind.MISSING, True),
        ("to-d", RootKind.DIRECTORY, False),
    ],
)
def test_what_stands_at_a_path(quick_end, tmp_path, name, kind, parent_missing):
    make(tmp_path, {"d": {}, "f": b"", "p": Fifo(), "to-d": Link(b"d")})
    opened = ask(quick_end, opening(tmp_path / name, S))
    assert (opened.kind, opened.parent_missing) == (kind, parent_missing)
    assert opened.path == os.fsencode(tmp_path / name.replace("to-", ""))
    # Of a root that cannot be read there is nothing to scan, and no other harm.
    scanned = ask(quick_end, messages.Scan())
    assert (scanned.entries, scanned.problems) == (0, 0)


@pytest.mark.parametrize("path", [b"in home", b"~/in home", b"./x/../in home"])
def test_paths_are_relative_to_the_home_directory(ends, home, path):
    (home / "in home").mkdir()
    (home / "x").mkdir()
    opened = ask(ends(), opening(path, S))
    assert opened.path == os.fsencode(home / "in home")


@pytest.mark.parametrize("parents", [False, True])
def test_a_missing_destination_is_made_when_writing_begins(end, tmp_path, parents):
    root = tmp_path / "new" / "root" if parents else tmp_path / "root"
    begin(end, root, D, parents=parents)
    assert not root.exists()
    ask(end, messages.Begin((), ()))
    assert root.is_dir()
    ask(end, messages.Expect([expected(b"f")]))
    row = Row(b"f", 0o100644, 1, 5, os.geteuid(), os.getegid(), XXH3.of(b"x"))
    assert store_groups(end, [group(b"", table(row))], b"x").problems == []
    assert (root / "f").read_bytes() == b"x"


def test_a_missing_source_is_not_made(end, tmp_path):
    assert ask(end, opening(tmp_path / "none", S)).kind == RootKind.MISSING
    # What was sent in one flight with it is answered with nothing.
    assert ask(end, messages.Scan()).entries == 0
    assert ask(end, SEAL).root == digest.UNKNOWN
    assert ask(end, messages.GetChanges(True, 1 << 20, 1 << 20)).basis == digest.UNKNOWN
    _fails(end, messages.List([b""]))
    assert not (tmp_path / "none").exists()


def test_one_entry_under_another_name(end, tmp_path):
    make(tmp_path, {"real": b"content", "other": b""})
    scanned = begin(end, tmp_path, S, only=b"real", alias=b"alias")
    assert (scanned.entries, scanned.size) == (1, 7)
    ask(end, messages.Select([selected(b"alias")], ()))
    pack = unpack_pack(ask(end, messages.Next(0)).payload)
    assert bytes(pack.body) == b"content"  # type: ignore[union-attr]
    assert isinstance(unpack_pack(ask(end, messages.Next(0)).payload), End)


def test_digests_are_computed_when_asked_for(end, tmp_path):
    make(tmp_path, {"a": b"1", "d": {"b": b"22"}})
    begin(end, tmp_path, S)
    hashed = ask(end, messages.Hash([b"d/b", b"never"]))
    assert hashed.digests == XXH3.of(b"22") + digest.UNKNOWN
    assert hashed.size == 2
    assert [problem.path for problem in hashed.problems] == [b"never"]
    sealed = ask(end, SEAL._replace(complete=True))
    assert sealed.root != digest.UNKNOWN
    assert sealed.hashed == 1
    other = ask(end, SEAL._replace(complete=True, times=False))
    assert other.root not in (sealed.root, digest.UNKNOWN)
    with_sha = ask(end, SEAL._replace(complete=True, algorithm="sha256-128"))
    assert with_sha.root != sealed.root
    assert with_sha.hashed == 3


def test_ids_of_the_same_name_are_found(end, tmp_path):
    begin(end, tmp_path, D)
    request = messages.MapIds(
        [messages.IdName(0, b"other"), messages.IdName(12345, b"root"), messages.IdName(7, b"")],
        [messages.IdName(5, b"no such group"), messages.IdName(6, b"a\0b")],
    )
    assert ask(end, request) == messages.MappedIds([messages.IdPair(12345, 0)], [])


# --- what is refused -----------------------------------------------------------------------------


def _store() -> RawPack:
    return RawPack(bytes(22))


@pytest.mark.parametrize(
    "request_",
    [
        messages.GetIgnoreFiles(),
        messages.UseIgnoreFiles([]),
        messages.List([b""]),
        messages.Hash([]),
        messages.Select([], []),
        messages.Next(0),
        messages.Begin([], []),
        messages.Expect([]),
        messages.Adjust([]),
        messages.Delete([]),
        messages.Finish([], True),
        _store(),
    ],
    ids=lambda request: type(request).__name__,
)
def test_nothing_can_be_asked_before_a_root_is_open(quick_end, request_):
    assert "out of turn" in _fails(quick_end, request_)


@pytest.mark.parametrize(
    ("role", "steps", "request_"),
    [
        (S, 3, messages.Begin([], [])),
        (S, 3, messages.Expect([])),
        (S, 3, messages.Delete([b"f"])),
        (S, 3, messages.Adjust([])),
        (S, 3, _store()),
        (S, 3, messages.MapIds([], [])),
        (S, 3, messages.UseIgnoreFiles([])),
        (S, 3, messages.Enter([])),
        (S, 1, SEAL),
        (S, 2, messages.GetChanges(False, 0, 0)),
        (S, 2, messages.List([b""])),
        (S, 3, messages.Scan()),
        (S, 3, opening("/", S)),
        (D, 3, messages.Select([], [])),
        (D, 3, messages.Next(0)),
        (D, 3, messages.GetIgnoreFiles()),
        (D, 3, messages.Expect([])),
        (D, 3, messages.Delete([b"f"])),
        (D, 3, _store()),
        (D, 4, messages.Begin([], [])),
        (D, 4, SEAL),
        (D, 4, messages.Scan()),
        (D, 4, messages.List([b""])),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, (tuple, RawPack)) else str(value),
)
def test_a_request_out_of_turn_is_refused(quick_end, tmp_path, role, steps, request_):
    make(tmp_path / "root", {"f": b"precious"})
    so_far = [opening(tmp_path / "root", role), messages.Scan(), SEAL, messages.Begin((), ())]
    for step in so_far[:steps]:
        ask(quick_end, step)
    assert "out of turn" in _fails(quick_end, request_)
    trees.assert_same(tmp_path / "root", {"f": b"precious"})


def test_a_root_opened_for_reading_is_not_written_to(end, tmp_path):
    begin(end, tmp_path, D, writing=False)
    assert "without having said" in _fails(end, messages.Begin((), ()))


def test_a_directory_that_is_none_cannot_be_listed(end, tmp_path):
    make(tmp_path, {"f": b""})
    begin(end, tmp_path, S)
    assert "is no directory" in _fails(end, messages.List([b"f"]))


def test_an_unknown_algorithm_is_refused(end, tmp_path):
    ask(end, opening(tmp_path, S))
    ask(end, messages.Scan())
    _fails(end, SEAL._replace(algorithm="md5"))


@pytest.mark.parametrize("payload", [b"", b"x", bytes(22), noise(5000)])
def test_a_pack_that_is_none_is_refused(quick_end, tmp_path, payload):
    start_writing(quick_end, tmp_path)
    _fails(quick_end, RawPack(payload))


def test_a_root_is_held_by_one_run(ends, tmp_path):
    first, second = ends(), ends()
    ask(first, opening(tmp_path, D, holder="the first"))
    request = opening(tmp_path, D, holder="the second")
    opened = ask(second, request)
    assert "the first" in opened.held
    # It is not open: nothing can be done with it.
    assert ask(second, messages.Scan()).entries == 0
    ask(first, messages.Close())
    free = ask(second, request)
    assert (free.kind, free.held) == (RootKind.DIRECTORY, "")
    assert free.identity == opened.identity != bytes(16)


def test_a_directory_is_known_by_its_identity(ends, tmp_path):
    make(tmp_path, {"a": {}, "b": {}, "link": Link(b"a")})
    found = [ask(ends(), opening(tmp_path / name, S)).identity for name in ("a", "b", "link")]
    assert found[0] == found[2] != found[1]
    assert ask(ends(), opening(tmp_path / "none", D)).identity == bytes(16)


def test_a_root_whose_end_is_closed_is_free(ends, tmp_path):
    first = ends()
    ask(first, opening(tmp_path, D))
    first.close()
    assert ask(ends(), opening(tmp_path, D, lock_wait_ms=3000)).kind == RootKind.DIRECTORY


def test_a_failure_keeps_its_exit_code(end, tmp_path, monkeypatch):
    (tmp_path / ".syncron").write_bytes(b"")
    begin(end, tmp_path, D)
    assert ".syncron" in _fails(end, messages.Begin((), ()), Exit.FILE_FATAL)


def test_closing_twice_is_no_error(end, tmp_path):
    ask(end, opening(tmp_path, S))
    end.close()
    end.close()
