"""Restricted helpers, request by request: what a client may bend, and what stays as it is.

The matrix of every request in every mode is made from the protocol's own tables: a request that
says nothing of what it needs, or that has no example here, fails.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.chunks import Step, StepKind
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.permission import EVERYTHING, MODES, Effect
from syncron_lib.core.role import Role
from syncron_lib.core.twoway.identity import Ticks
from syncron_lib.core.twoway.intents import Intents, pack_intents
from syncron_lib.core.twoway.knowledge import Untouched, fresh
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import PeerViolation, RootError, SyncronError
from syncron_lib.fs.publish import rename_new
from syncron_lib.fs.restriction import Within
from syncron_lib.helper.arguments import reach_of
from syncron_lib.protocol import messages, order, wire
from syncron_lib.protocol.messages import Expected, Extended, Linking, Moved, SetAttributes
from syncron_lib.protocol.order import Phase
from syncron_lib.protocol.pack import PLAIN, Delta, Groups, Packer, Piece
from syncron_lib.protocol.wire import STORE, Sender
from syncron_lib.transport.process import ProcessStream
from tests.core.tables import Row, table
from tests.endpoint.driving import SEAL, XXH3, ask, begin, expected, group, local, opening
from tests.endpoint.ends import command_line
from tests.fs.roots import as_user, public_directory
from tests.trees import Link, make

ALL_MODES = {"everything": EVERYTHING, **MODES}
TREE: dict[str, Any] = {
    "file": b"what is there",
    "large": b"L" * 5000,
    "d": {"kept": b"kept", "below": {"deep": b"deep"}},
    "empty": {},
    "link": Link(b"file"),
}


@pytest.fixture(params=ALL_MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Every restriction, and none."""
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree in the directory that endpoints are restricted to."""
    make(tmp_path / "data/a", TREE)
    (tmp_path / "data/a/script").write_bytes(b"#!")
    (tmp_path / "data/a/script").chmod(0o700)
    return tmp_path / "data/a"


@contextmanager
def restricted(root: Path, mode: str) -> Iterator[LocalEndpoint]:
    """An endpoint restricted to ``root``."""
    endpoint = local(Within([os.fsencode(root)], ALL_MODES[mode]))
    try:
        yield endpoint
    finally:
        endpoint.close()


def seen(root: Path) -> dict[str, tuple[Any, ...]]:
    """All that is there, but for staging, and for the root's time, which staging changes."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted([root, *root.rglob("*")]):
        name = str(path.relative_to(root))
        if name.split("/")[0] == ".syncron":
            continue
        st = os.lstat(path)
        content: Any = os.readlink(path) if path.is_symlink() else None
        if stat.S_ISREG(st.st_mode):
            content = path.read_bytes()
        time = 0 if path == root else st.st_mtime_ns
        found[name] = (st.st_mode, st.st_uid, st.st_gid, st.st_ino, time, content)
    return found


# --- the table ---------------------------------------------------------------------------------


def test_every_request_says_what_it_needs() -> None:
    for rule in wire.RULES:
        assert (rule.needs is None) == (rule.sender is Sender.HELPER), rule.kind
        if rule.needs:
            assert rule.writes, rule.kind
    assert set(order.TURNS) <= set(wire.NEEDS)
    # It only completes what was begun.
    free = {rule.kind for rule in wire.RULES if rule.writes and not rule.needs}
    assert free == {messages.Finish}


def _pack(path: bytes = b"", name: bytes = b"new", data: bytes = b"n", mode: int = 0o644) -> Any:
    ids = os.geteuid(), os.getegid()
    row = Row(name, stat.S_IFREG | mode, len(data), 5, *ids, XXH3.of(data))
    parts = Packer().groups(Groups([group(path, table(row))], (), data), PLAIN)
    return RawPack(b"".join(parts))


OWN = (1_000_000_000, os.geteuid(), os.getegid())
_EXTENDED = b"\6\0\0\0user.x\1\0\0\0v"
NO_INTENTS = Intents({}, fresh(), Ticks({}), Untouched())
EXAMPLES: dict[Any, Callable[[Path], Any]] = {
    messages.Open: lambda root: opening(root, Role.SOURCE),
    messages.Scan: lambda _: messages.Scan(),
    messages.GetHot: lambda _: messages.GetHot(5),
    messages.GetIgnoreFiles: lambda _: messages.GetIgnoreFiles(0),
    messages.UseIgnoreFiles: lambda _: messages.UseIgnoreFiles([], False),
    messages.Enter: lambda _: messages.Enter([b"file"]),
    messages.MapIds: lambda _: messages.MapIds([], []),
    messages.Seal: lambda _: SEAL,
    messages.List: lambda _: messages.List([b""], None),
    messages.GetLinks: lambda _: messages.GetLinks(0),
    messages.GetMarks: lambda _: messages.GetMarks(0),
    messages.CountKinds: lambda _: messages.CountKinds(),
    messages.GetSets: lambda _: messages.GetSets([b"file"]),
    messages.Hash: lambda _: messages.Hash([b"file"]),
    messages.GetChanges: lambda _: messages.GetChanges(True, 1 << 18, 1 << 20),
    messages.GetChunks: lambda _: messages.GetChunks(b"large", "fixed", 0, 5000),
    messages.Basis: lambda _: messages.Basis(b"large", "fixed", 4096, b"", b"", False, False),
    messages.Select: lambda _: messages.Select([messages.Selected(b"file", False)], (), False),
    messages.GetSizes: lambda _: messages.GetSizes(),
    messages.Offer: lambda _: messages.Offer(b"", []),
    messages.Next: lambda _: messages.Next(0, 0),
    messages.UseAlternates: lambda _: messages.UseAlternates([b"d"]),
    messages.ListAlternate: lambda _: messages.ListAlternate(0, [b""], None),
    messages.HashAlternate: lambda _: messages.HashAlternate(0, []),
    messages.TakeEntries: lambda _: messages.TakeEntries(
        [SetAttributes(b"new", 0o40700, *OWN)], 0, []
    ),
    messages.TakeBasis: lambda _: messages.TakeBasis(0, [b"large"]),
    messages.Backup: lambda _: messages.Backup(b"kept", b"", b"~"),
    messages.Begin: lambda _: messages.Begin((), ()),
    messages.Expect: lambda _: messages.Expect([Expected(b"new", False, False)]),
    messages.Find: lambda _: messages.Find(b""),
    messages.Keep: lambda _: messages.Keep(b""),
    STORE: lambda _: _pack(),
    messages.Release: lambda _: messages.Release(),
    messages.Move: lambda _: messages.Move([], [Moved(b"file", b"moved")]),
    messages.Link: lambda _: messages.Link([Linking(b"new", b"file", False)]),
    messages.Extend: lambda _: messages.Extend([Extended(b"file", _EXTENDED)], False),
    messages.Adjust: lambda _: messages.Adjust([SetAttributes(b"file", 0o100600, *OWN)]),
    messages.Delete: lambda _: messages.Delete([b"file"]),
    messages.Imply: lambda _: messages.Imply([b"d"]),
    messages.MakeImplied: lambda _: messages.MakeImplied([b"new"]),
    messages.Introduce: lambda _: messages.Introduce(),
    messages.Observe: lambda _: messages.Observe(0, False, False, False),
    messages.GetKnowledge: lambda _: messages.GetKnowledge(0),
    messages.GetRecords: lambda _: messages.GetRecords([], 0),
    messages.Tick: lambda _: messages.Tick(),
    messages.Intend: lambda _: messages.Intend(pack_intents(NO_INTENTS), False),
    messages.Preserve: lambda _: messages.Preserve([Moved(b"file", b"kept")]),
    messages.Settle: lambda _: messages.Settle([]),
    messages.GetReplicas: lambda _: messages.GetReplicas(bytes(16)),
    messages.GetManifest: lambda _: messages.GetManifest(),
    messages.PutManifest: lambda _: messages.PutManifest(b"manifest"),
    messages.GetLineage: lambda _: messages.GetLineage(),
    messages.PutLineage: lambda _: messages.PutLineage(bytes(16)),
    messages.Judge: lambda _: messages.Judge([b"file"]),
    messages.Resolve: lambda _: messages.Resolve([]),
    messages.UseManifest: lambda _: messages.UseManifest("there", b""),
    messages.GetSealed: lambda _: messages.GetSealed(),
    messages.MakeManifest: lambda _: messages.MakeManifest(True),
    messages.KeepManifest: lambda _: messages.KeepManifest(),
    messages.LeaveOut: lambda _: messages.LeaveOut([b"file"]),
    messages.RemoveSource: lambda _: messages.RemoveSource(),
    messages.Finish: lambda _: messages.Finish((), True),
    messages.GetSnapshots: lambda root: messages.GetSnapshots(os.fsencode(root)),
    messages.KeepSnapshot: lambda root: messages.KeepSnapshot(
        os.fsencode(root), b"2026-01-01T000000Z", b""
    ),
    messages.DropSnapshots: lambda root: messages.DropSnapshots(
        os.fsencode(root), [b"2020-01-01T000000Z"]
    ),
    messages.Close: lambda _: messages.Close(),
}
"""A request of each kind that does the most it can to the tree."""
KEYED = {
    messages.UseManifest,
    messages.GetSealed,
    messages.MakeManifest,
    messages.KeepManifest,
    messages.Judge,
    messages.Resolve,
}
"""Refused wherever there is no key: to whoever has not forked us."""


def _bring_to(endpoint: LocalEndpoint, root: Path, turn: order.Turn, writing: bool) -> None:
    """Send what comes before, by the table of order; a source's role where either will do."""
    role = Role.SOURCE if turn.role is None else turn.role
    before: list[Any] = [opening(root, role, writing=writing and role is not Role.SOURCE)]
    before += [messages.Scan(), SEAL._replace(extended=1), messages.Begin((), ())]
    for request in before[: int(turn.earliest)]:
        ask(endpoint, request)
        if isinstance(request, messages.Seal) and role is Role.DESTINATION:
            ask(endpoint, messages.UseAlternates([b"d"]))


@pytest.mark.parametrize("kind", order.TURNS, ids=lambda kind: getattr(kind, "__name__", "Store"))
def test_every_request_in_every_mode(root: Path, mode: str, kind: Any) -> None:
    assert set(EXAMPLES) == set(order.TURNS), "a request without an example"
    may, turn = ALL_MODES[mode], order.TURNS[kind]
    if kind in messages.ABOUT_SNAPSHOTS:
        make(root / "2020-01-01T000000Z", {"old": b"old"})
        make(root / "incomplete", {"new": b"new"})
    before = seen(root)
    if turn.role is Role.REPLICA and may != EVERYTHING:
        with restricted(root, mode) as endpoint, pytest.raises(RootError):
            ask(endpoint, opening(root, Role.REPLICA, writing=True))
        return
    with restricted(root, mode) as endpoint:
        # Where all is read-only, some come out of turn, since nothing can begin.
        refused = bool(wire.NEEDS[kind] & ~may) or (not may and turn.earliest is Phase.WRITING)
        refused = refused or kind in KEYED
        if may or turn.earliest < Phase.WRITING:
            _bring_to(endpoint, root, turn, writing=bool(may))
            if kind is messages.Next:
                ask(endpoint, EXAMPLES[messages.Select](root))
            if kind is STORE:
                ask(endpoint, EXAMPLES[messages.Expect](root))
            if kind is messages.Settle:
                ask(endpoint, messages.Intend(pack_intents(NO_INTENTS), False))
        else:
            begin(endpoint, root, Role.DESTINATION, writing=False)
        try:
            ask(endpoint, EXAMPLES[kind](root))
        except PeerViolation:
            assert refused
        else:
            assert not refused
            if kind is messages.Adjust:
                ask(endpoint, messages.Finish((), True))
    after = seen(root)
    if kind is messages.KeepSnapshot and may:
        # Its content is there under another name; that is all that it does.
        before = {at: found for at, found in before.items() if not at.startswith("incomplete")}
        assert "2026-01-01T000000Z/new" in after and "incomplete" not in after
    if not may:
        assert after == before
    if Effect.CHANGE not in may:
        assert {name: after.get(name) for name in before} == before
    if Effect.REMOVE not in may:
        assert set(before) <= set(after)
    if kind is messages.Extend:
        assert os.listxattr(root / "file") == (["user.x"] if Effect.CHANGE in may else [])
    # The control: without a restriction each of them does what it is refused for.
    if mode == "everything":
        changes = {
            messages.Adjust,
            messages.Delete,
            messages.Link,
            messages.Move,
            messages.TakeEntries,
            messages.MakeImplied,
            messages.Preserve,
            messages.RemoveSource,
            messages.KeepSnapshot,
            messages.DropSnapshots,
            STORE,
        }
        assert (after != before) == (kind in changes)


def test_nothing_is_opened_for_writing_where_all_is_read_only(root: Path) -> None:
    with restricted(root, "--read-only") as endpoint:
        for path in (root, root / "missing", root / "d"):
            with pytest.raises(RootError, match="may only be read") as caught:
                ask(endpoint, opening(path, Role.DESTINATION))
            assert caught.value.exit_code == 3
        opened = ask(endpoint, opening(root, Role.DESTINATION, writing=False))
        assert opened.may == Effect.NONE


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--restrict", "data/a"], 1, "data/a, which is no absolute path"),
        (["--restrict="], 1, "an empty path, which is no absolute path"),
        (["--restrict", "/none/at/all"], 3, "/none/at/all, which cannot be opened as a directory"),
        (["--restrict", "/etc/passwd"], 3, "cannot be opened as a directory (Not a directory)"),
        (["--restrict", "/", "--restrict", "~"], 1, "~, which is no absolute path"),
        (["--restrict"], 1, "--restrict needs a directory"),
        (["--restrict", "/", "--read-only", "--append-only"], 1, "exclude each other"),
        (["--no-delete", "--restrict", "/", "--read-only"], 1, "exclude each other"),
        (["--read-only"], 1, "--read-only needs --restrict DIR"),
        (["--restrict", "/", "--readonly"], 1, "--readonly is no option of --serve"),
        (["--restrict", "/", "--read-only=yes"], 1, "--read-only=yes is no option of --serve"),
        (["--restict", "/srv"], 1, "--restict is no option of --serve"),
        (["--restrict", "/", "/srv"], 1, "/srv is no option of --serve"),
        (["--restrict", "/", "\x1b[2J"], 1, "\\#033[2J is no option of --serve"),
        ([""], 1, "is no option of --serve"),
    ],
)
def test_a_bad_restriction_serves_nobody(words: list[str], code: int, says: str) -> None:
    stream = ProcessStream([*command_line(), *words], lambda _: None)
    with pytest.raises(SyncronError) as caught:
        RemoteEndpoint(stream, "The helper", 20)
    assert caught.value.exit_code == code
    assert says in caught.value.message
    assert "authorized_keys" in caught.value.message
    assert stream.exit_status(5) == code


def test_words_may_be_written_in_any_order(root: Path) -> None:
    place = str(root)
    for words in (["--restrict", place, "--no-delete"], ["--no-delete", f"--restrict={place}"]):
        assert reach_of(words).may == Effect.ADD | Effect.CHANGE
        assert reach_of(["--restrict", "/", *words, "--no-delete"]).look(b"/etc").path == b"/etc"
        with pytest.raises(RootError):
            reach_of(words).look(b"/etc")
    assert reach_of(["--restrict", place]).may == EVERYTHING


# --- what is bent, entry by entry -----------------------------------------------------------------


def _stored(endpoint: LocalEndpoint, item: Expected, request: Any) -> None:
    ask(endpoint, messages.Expect([item]))
    ask(endpoint, request)


def _piece(path: bytes, size: int, data: bytes, value: bytes = b"", **more: Any) -> Any:
    attributes = Attributes(0o100644, 5, *OWN[1:])
    last = more.get("last", True)
    piece = Piece(path, attributes, size, 0, last, False, value or XXH3.of(data), data)
    return RawPack(b"".join(Packer().piece(piece, PLAIN)))


def _delta(path: bytes, old: bytes) -> Any:
    new = old[:4096] + b"!"
    steps = [Step(StepKind.COPY, 0, 4096), Step(StepKind.LITERAL, 0, 1)]
    attributes = Attributes(0o100644, 5, *OWN[1:])
    delta = Delta(path, attributes, len(new), 0, True, False, XXH3.of(new), len(new), steps, b"!")
    return RawPack(b"".join(Packer().delta(delta, PLAIN)))


def _new_tree(path: bytes) -> Any:
    packed = Groups([group(path, table(), new=True)], (), b"")
    return RawPack(b"".join(Packer().groups(packed, PLAIN)))


def overwrite(end: LocalEndpoint) -> None:
    _stored(end, expected(b"file"), _pack(b"", b"file", b"other"))


def overwrite_in_pieces(end: LocalEndpoint) -> None:
    _stored(end, expected(b"large"), _piece(b"large", 3, b"new"))


def overwrite_by_a_delta(end: LocalEndpoint) -> None:
    ask(end, EXAMPLES[messages.GetChunks](Path()))
    _stored(end, expected(b"large"), _delta(b"large", b"L" * 5000))


def truncate(end: LocalEndpoint) -> None:
    _stored(end, expected(b"file"), _pack(b"", b"file", b""))


def replace_a_symlink(end: LocalEndpoint) -> None:
    _stored(end, expected(b"link"), _pack(b"", b"link", b"a file"))


def set_a_mode(end: LocalEndpoint) -> None:
    ask(end, messages.Adjust([SetAttributes(b"script", 0o104755, *OWN)]))


def set_a_time(end: LocalEndpoint) -> None:
    ask(end, messages.Adjust([SetAttributes(b"d/kept", 0o100644, 7, *OWN[1:])]))


def set_a_directory_s_mode(end: LocalEndpoint) -> None:
    ask(end, messages.Adjust([SetAttributes(b"d", 0o040777, *OWN)]))
    ask(end, messages.Finish((), True))


def set_a_directory_s_time(end: LocalEndpoint) -> None:
    ask(end, messages.Adjust([SetAttributes(b"d", 0o040755, 7, *OWN[1:])]))
    ask(end, messages.Finish((), True))


def set_the_root_s_mode(end: LocalEndpoint) -> None:
    ask(end, messages.Adjust([SetAttributes(b"", 0o040777, *OWN)]))
    ask(end, messages.Finish((), True))


def swap_a_file_for_a_directory(end: LocalEndpoint) -> None:
    _stored(end, expected(b"file", tree=True, replace=True), _new_tree(b"file"))


def swap_a_directory_for_a_file(end: LocalEndpoint) -> None:
    _stored(end, expected(b"d", replace=True), _pack(b"", b"d", b"a file"))


def swap_a_directory_for_one_that_is_empty(end: LocalEndpoint) -> None:
    _stored(end, expected(b"empty", tree=True, replace=True), _new_tree(b"empty"))


def swap_a_file_for_itself(end: LocalEndpoint) -> None:
    _stored(end, expected(b"file", replace=True), _pack(b"", b"file", b"other"))


def delete(end: LocalEndpoint) -> None:
    ask(end, messages.Delete([b"file"]))


def delete_a_directory(end: LocalEndpoint) -> None:
    ask(end, messages.Delete([b"d"]))


def move(end: LocalEndpoint) -> None:
    ask(end, messages.Move([], [Moved(b"file", b"d/elsewhere")]))


def move_a_directory(end: LocalEndpoint) -> None:
    ask(end, messages.Move([], [Moved(b"d", b"elsewhere")]))


ATTACKS: dict[Callable[[LocalEndpoint], None], Effect] = {
    overwrite: Effect.CHANGE,
    overwrite_in_pieces: Effect.CHANGE,
    overwrite_by_a_delta: Effect.CHANGE,
    truncate: Effect.CHANGE,
    replace_a_symlink: Effect.CHANGE,
    set_a_mode: Effect.CHANGE,
    set_a_time: Effect.CHANGE,
    set_a_directory_s_mode: Effect.CHANGE,
    set_a_directory_s_time: Effect.CHANGE,
    set_the_root_s_mode: Effect.CHANGE,
    swap_a_file_for_a_directory: Effect.REMOVE,
    swap_a_directory_for_a_file: Effect.REMOVE,
    swap_a_directory_for_one_that_is_empty: Effect.REMOVE,
    swap_a_file_for_itself: Effect.REMOVE,
    delete: Effect.REMOVE,
    delete_a_directory: Effect.REMOVE,
    move: Effect.REMOVE,
    move_a_directory: Effect.REMOVE,
}


@pytest.mark.parametrize("in_place", [False, True], ids=["whole", "inplace"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_is_there_stays_as_far_as_the_mode_says(
    root: Path, mode: str, attack: Callable[[LocalEndpoint], None], in_place: bool
) -> None:
    before = seen(root)
    allowed = ATTACKS[attack] in ALL_MODES[mode]
    refused = ""
    with restricted(root, mode) as endpoint:
        try:
            begin(endpoint, root, Role.DESTINATION)
            ask(endpoint, messages.Begin((), (), in_place))
            attack(endpoint)
            ask(endpoint, messages.Finish((), True))
        except SyncronError as error:
            refused = error.message
    assert (seen(root) != before) == allowed, refused
    if not allowed:
        assert seen(root) == before


@pytest.mark.parametrize("mode", ["--append-only", "--no-delete"], indirect=True)
def test_what_rules_hide_from_the_scan_is_not_overwritten(root: Path, mode: str) -> None:
    """Patterns are the client's: it could have the helper see an empty tree."""
    before = seen(root)
    with restricted(root, mode) as endpoint:
        begin(endpoint, root, Role.DESTINATION, patterns=[b"- *"])
        ask(endpoint, messages.Begin((), ()))
        for name in (b"file", b"link", b"large", b"d", b"empty"):
            _stored(endpoint, expected(name), _pack(b"", name, b"other"))
            _stored(endpoint, expected(name, tree=True), _new_tree(name))
        ask(endpoint, messages.Finish((), True))
    assert seen(root) == before


def test_what_was_made_meanwhile_is_not_replaced(root: Path) -> None:
    """Two runs on roots one in the other: what the one has scanned, the other has changed since."""
    with restricted(root, "--append-only") as endpoint:
        begin(endpoint, root, Role.DESTINATION)
        ask(endpoint, messages.Begin((), ()))
        (root / "new").write_bytes(b"first")
        (root / "empty2").mkdir(mode=0o711)
        before = seen(root)
        _stored(endpoint, expected(b"new"), _pack(b"", b"new", b"second"))
        ask(endpoint, messages.Expect([expected(b"empty2", tree=True)]))
        ask(endpoint, _new_tree(b"empty2"))
    assert seen(root) == before


def test_append_only_adds_files_and_directories(root: Path) -> None:
    before = seen(root)
    with restricted(root, "--append-only") as endpoint:
        begin(endpoint, root, Role.DESTINATION)
        ask(endpoint, messages.Begin((), ()))
        _stored(endpoint, expected(b"d/new"), _pack(b"d", b"new", b"n", 0o600))
        ask(endpoint, messages.Expect([expected(b"tree", tree=True)]))
        ask(endpoint, _new_tree(b"tree"))
        # A directory that is added to has another time anyway; it may be the source's.
        times = SetAttributes(b"d", stat.S_IFDIR | 0o755, 7_000_000_000, *OWN[1:])
        ask(endpoint, messages.Adjust([times]))
        finished = ask(endpoint, messages.Finish((), True))
    assert finished.problems == []
    after = seen(root)
    assert set(after) - set(before) == {"d/new", "tree"}
    assert {name for name in before if before[name] != after[name]} == {"d"}
    assert (root / "d").stat().st_mtime == 7
    assert (root / "tree").stat().st_mode & 0o777 == 0o755


def test_append_only_sets_no_time_of_what_it_has_not_added_to(root: Path) -> None:
    before = {path: os.lstat(path).st_mtime_ns for path in (root, root / "d", root / "d/below")}
    with restricted(root, "--append-only") as endpoint:
        begin(endpoint, root, Role.DESTINATION)
        ask(endpoint, messages.Begin((), ()))
        mode = stat.S_IFDIR | 0o755
        items = [SetAttributes(path, mode, 7, *OWN[1:]) for path in (b"", b"d", b"d/below")]
        ask(endpoint, messages.Adjust(items))
        finished = ask(endpoint, messages.Finish((), True))
    assert {problem.path for problem in finished.problems} == {b"", b"d", b"d/below"}
    assert {path: os.lstat(path).st_mtime_ns for path in before} == before


def test_append_only_makes_no_directory_writable() -> None:
    """A directory that its owner has closed stays closed."""

    def problems(path: Path) -> list[str]:
        os.environ["XDG_STATE_HOME"] = str(path / "state")
        with restricted(path / "a", "--append-only") as endpoint:
            begin(endpoint, path / "a", Role.DESTINATION)
            ask(endpoint, messages.Begin((), ()))
            ask(endpoint, messages.Expect([expected(b"d/new")]))
            stored = ask(endpoint, _pack(b"d", b"new"))
            return [problem.what for problem in stored.problems]

    with public_directory() as path:
        path.chmod(0o777)
        as_user(lambda: make(path / "a", {"d": {"kept": b"k"}}))
        (path / "a/d").chmod(0o555)
        assert as_user(lambda: problems(path)) == ["cannot be written: Permission denied"]
        assert (path / "a/d").stat().st_mode & 0o777 == 0o555


def test_a_new_root_gets_its_attributes(root: Path) -> None:
    with restricted(root, "--append-only") as endpoint:
        begin(endpoint, root / "made", Role.DESTINATION)
        ask(endpoint, messages.Begin((), ()))
        ask(endpoint, messages.Adjust([SetAttributes(b"", 0o040751, 7_000_000_000, *OWN[1:])]))
        assert ask(endpoint, messages.Finish((), True)).problems == []
    st = (root / "made").stat()
    assert (st.st_mode & 0o777, st.st_mtime) == (0o751, 7)


def test_a_rename_that_never_replaces(tmp_path: Path) -> None:
    """What gives names where a file system has no hard links."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
    top = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError, match="made at the destination during the run"):
            rename_new(top, b"one", top, b"two")
        assert (tmp_path / "two").read_bytes() == b"two"
        assert rename_new(top, b"one", top, b"three")
        assert (tmp_path / "three").read_bytes() == b"one"
        with pytest.raises(FileNotFoundError):
            rename_new(top, b"one", top, b"four")
    finally:
        os.close(top)
