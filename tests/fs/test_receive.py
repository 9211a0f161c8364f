"""Receiving: what was not asked for is refused, what must stay stays, nothing is half there."""

import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncron_lib.core.merkle import Attributes
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Problem
from syncron_lib.protocol.pack import Piece
from tests import trees
from tests.core.tables import Row, table
from tests.endpoint.driving import (
    XXH3,
    ask,
    expected,
    group,
    local,
    start_writing,
    store_groups,
    store_piece,
)
from tests.fs.roots import as_user, public_directory
from tests.trees import Directory, File, Link, make, noise, read

MTIME = 1_500_000_000_000_000_001
UID, GID = os.geteuid(), os.getegid()


def _file(name: bytes, content: bytes, mode: int = 0o640, uid: int = UID, gid: int = GID) -> Row:
    return Row(name, stat.S_IFREG | mode, len(content), MTIME, uid, gid, XXH3.of(content))


def _link(name: bytes, target: bytes) -> Row:
    return Row(name, stat.S_IFLNK | 0o777, 0, MTIME, UID, GID, target=target)


def _piece(
    path: bytes, body: bytes, size: int, offset: int = 0, *, whole: bytes | None = None
) -> Piece:
    value = bytes(16) if whole is None else XXH3.of(whole)
    own = Attributes(stat.S_IFREG | 0o640, MTIME, UID, GID)
    return Piece(path, own, size, offset, whole is not None, False, value, body)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A destination beside something that must never be touched."""
    make(tmp_path / "outside", {"sentinel": b"precious", "x": b"precious"})
    make(tmp_path / "root", {"old": b"old", "d": {"f": b"in d"}})
    return tmp_path / "root"


@pytest.fixture
def endpoint(root: Path) -> Iterator[LocalEndpoint]:
    found = local()
    outside = read(root.parent / "outside")
    yield found
    found.close()
    assert trees.differences(read(root.parent / "outside"), outside) == []


def _entries(root: Path) -> set[str]:
    """Every path below, syncron's own too."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def _is_refused(act: Callable[[], object], match: str) -> None:
    with pytest.raises(PeerViolation, match=match):
        act()


# --- the honest controls --------------------------------------------------------------------------


def test_single_entries_are_published_whole(endpoint, root):
    start_writing(endpoint, root, [expected(b"old"), expected(b"new"), expected(b"d/l")])
    rows = table(_file(b"new", b"NEW", 0o4755), _file(b"old", b"other"))
    stored = store_groups(endpoint, [group(b"", rows)], b"NEWother")
    assert (stored.entries, stored.problems) == (2, [])
    assert store_groups(endpoint, [group(b"d", table(_link(b"l", b"../old")))]).entries == 1
    trees.assert_same(
        root,
        {
            "old": File(b"other", 0o640, MTIME),
            "new": File(b"NEW", 0o4755, MTIME),
            "d": {"f": b"in d", "l": Link(b"../old", MTIME)},
        },
    )


def test_a_new_directory_appears_when_its_last_group_is_there(endpoint, root):
    start_writing(endpoint, root, [expected(b"new", tree=True)])
    store_groups(endpoint, [group(b"new", table(_file(b"a", b"A")), new=True, last=False)], b"A")
    assert "new" not in _entries(root)
    stored = store_groups(
        endpoint,
        [
            group(b"new", table(_file(b"b", b"BB"), _link(b"l", b"a")), new=True),
            group(b"new/sub", table(), new=True),
        ],
        b"BB",
    )
    assert stored.problems == []
    new = Directory({b"a": File(b"A"), b"b": File(b"BB"), b"l": Link(b"a"), b"sub": Directory()})
    assert trees.differences(read(root / "new"), new) == []


def test_a_large_file_arrives_in_pieces(endpoint, root):
    content = noise(300_000)
    start_writing(endpoint, root, [expected(b"d/big")])
    store_piece(endpoint, _piece(b"d/big", content[:100_000], len(content)))
    assert "d/big" not in _entries(root)
    store_piece(endpoint, _piece(b"d/big", content[100_000:], len(content), 100_000, whole=content))
    trees.assert_same(root / "d", {"f": b"in d", "big": File(content, 0o640, MTIME)})


# --- what was not asked for -----------------------------------------------------------------------


_REFUSED = "not asked for|leads out of the tree"


@pytest.mark.parametrize(
    ("path", "row"),
    [
        (b"", _file(b"other", b"x")),
        (b"", _file(b"old", b"x")),
        (b"d", _file(b"asked", b"x")),
        (b"d", _file(b"f", b"x")),
        (b"asked", _file(b"f", b"x")),
        (b"nowhere", _file(b"f", b"x")),
        (b".syncron", _file(b"index", b"x")),
    ],
)
def test_an_entry_that_was_not_asked_for_is_refused(endpoint, root, path, row):
    before = read(root)
    start_writing(endpoint, root, [expected(b"asked")])
    _is_refused(lambda: store_groups(endpoint, [group(path, table(row))], b"x"), _REFUSED)
    assert trees.differences(read(root), before) == []


def test_an_entry_that_came_is_not_asked_for_any_more(endpoint, root):
    start_writing(endpoint, root, [expected(b"new")])
    store_groups(endpoint, [group(b"", table(_file(b"new", b"x")))], b"x")
    again = [group(b"", table(_file(b"new", b"y")))]
    _is_refused(lambda: store_groups(endpoint, again, b"y"), "not asked for")
    assert (root / "new").read_bytes() == b"x"


@pytest.mark.parametrize("path", [b"", b"other", b"d", b"d/new", b"newer", b"new/a/b"])
def test_a_directory_that_was_not_asked_for_is_refused(endpoint, root, path):
    start_writing(endpoint, root, [expected(b"new", tree=True), expected(b"file")])
    _is_refused(lambda: store_groups(endpoint, [group(path, table(), new=True)]), "asked for|twice")
    assert "new" not in _entries(root)


def test_the_root_itself_is_no_new_directory(endpoint, root):
    start_writing(endpoint, root, [expected(b"", tree=True)])
    _is_refused(lambda: store_groups(endpoint, [group(b"", table(), new=True)]), "twice")
    assert (root / "old").read_bytes() == b"old"


def test_a_directory_twice_or_two_at_once_is_refused(endpoint, root):
    start_writing(endpoint, root, [expected(b"n", tree=True), expected(b"m", tree=True)])
    store_groups(endpoint, [group(b"n", table(), new=True)])
    _is_refused(lambda: store_groups(endpoint, [group(b"n", table(), new=True)]), "twice")
    store_groups(endpoint, [group(b"m", table(), new=True, last=False)])
    _is_refused(lambda: store_groups(endpoint, [group(b"n/x", table(), new=True)]), "before ending")


@pytest.mark.parametrize(
    "piece",
    [
        _piece(b"other", b"x", 1, whole=b"x"),
        _piece(b"d/f", b"x", 1, whole=b"x"),
        _piece(b"big/below", b"x", 1, whole=b"x"),
        _piece(b".syncron/index", b"x", 1, whole=b"x"),
        _piece(b"big", b"x", 10, 5),
    ],
)
def test_a_piece_that_was_not_asked_for_is_refused(endpoint, root, piece):
    before = read(root)
    start_writing(endpoint, root, [expected(b"big")])
    _is_refused(lambda: store_piece(endpoint, piece), f"{_REFUSED}|not here")
    assert trees.differences(read(root), before) == []


@pytest.mark.parametrize(
    "second",
    [
        _piece(b"big", b"cd", 4, 1, whole=b"abcd"),
        _piece(b"big", b"cd", 4, 0, whole=b"abcd"),
        _piece(b"big", b"cd", 5, 2, whole=b"abcd"),
        _piece(b"huge", b"ab", 4, 0),
    ],
)
def test_pieces_out_of_place_are_refused(endpoint, root, second):
    start_writing(endpoint, root, [expected(b"big"), expected(b"huge")])
    store_piece(endpoint, _piece(b"big", b"ab", 4))
    _is_refused(lambda: store_piece(endpoint, second), "out of place|mixed")
    assert _entries(root) & {"big", "huge"} == set()


# --- content that is not what it should be --------------------------------------------------------


def test_wrong_content_of_a_small_file(endpoint, root):
    start_writing(endpoint, root, [expected(b"old")])
    rows = table(_file(b"old", b"new"))
    _is_refused(lambda: store_groups(endpoint, [group(b"", rows)], b"nex"), "not what its digest")
    assert (root / "old").read_bytes() == b"old"
    assert not list((root / ".syncron").glob("t*"))


def test_wrong_content_in_a_new_directory(endpoint, root):
    start_writing(endpoint, root, [expected(b"new", tree=True)])
    groups = [group(b"new", table(_file(b"a", b"new")), new=True)]
    _is_refused(lambda: store_groups(endpoint, groups, b"nex"), "not what its digest")
    assert "new" not in _entries(root)


@pytest.mark.parametrize("body", [b"abcx", b"abc"])
def test_wrong_content_of_a_large_file(endpoint, root, body):
    start_writing(endpoint, root, [expected(b"old")])
    last = _piece(b"old", body, 4, whole=b"abcd")
    _is_refused(lambda: store_piece(endpoint, last), "not what its digest")
    assert (root / "old").read_bytes() == b"old"
    left = {path.name for path in (root / ".syncron").iterdir()}
    assert left <= {"index"}, "damaged content must not be taken up by the next run"


@pytest.mark.parametrize(("body", "match"), [(b"ne", "shorter"), (b"newer", "belongs to no file")])
@pytest.mark.parametrize("new", [False, True])
def test_content_that_is_too_short_or_too_long(endpoint, root, body, match, new):
    start_writing(endpoint, root, [expected(b"old"), expected(b"new", tree=True)])
    groups = [group(b"new" if new else b"", table(_file(b"old", b"new")), new=new)]
    _is_refused(lambda: store_groups(endpoint, groups, body), match)


def test_entries_of_no_known_kind(endpoint, root):
    start_writing(endpoint, root, [expected(b"sub"), expected(b"new", tree=True)])
    rows = table(Row(b"sub", stat.S_IFDIR | 0o755))
    _is_refused(lambda: store_groups(endpoint, [group(b"", rows)]), "no known kind")
    _is_refused(lambda: store_groups(endpoint, [group(b"new", rows, new=True)]), "no known kind")


# --- what must stay -------------------------------------------------------------------------------


def _problem(stored: messages.Stored, path: bytes, what: str) -> None:
    assert stored.entries == 0
    assert len(stored.problems) == 1
    assert stored.problems[0].path == path
    assert what in stored.problems[0].what


def test_a_target_edited_since_the_scan_survives(endpoint, root):
    start_writing(endpoint, root, [expected(b"old")])
    st = os.stat(root / "old")
    (root / "old").write_bytes(b"mine")
    os.truncate(root / "old", 3)
    os.utime(root / "old", ns=(st.st_atime_ns, st.st_mtime_ns))
    stored = store_groups(endpoint, [group(b"", table(_file(b"old", b"new")))], b"new")
    _problem(stored, b"old", "cannot be written")
    assert (root / "old").read_bytes() == b"min"
    assert not list((root / ".syncron").glob("t*"))


def test_a_large_target_edited_since_the_scan_survives(endpoint, root):
    start_writing(endpoint, root, [expected(b"old")])
    store_piece(endpoint, _piece(b"old", b"ab", 4))
    (root / "old").write_bytes(b"mine")
    _problem(store_piece(endpoint, _piece(b"old", b"cd", 4, 2, whole=b"abcd")), b"old", "cannot")
    assert (root / "old").read_bytes() == b"mine"


def test_a_target_that_appeared_since_the_scan_survives(endpoint, root):
    start_writing(
        endpoint,
        root,
        [expected(b"new"), expected(b"link"), expected(b"dir"), expected(b"big")],
    )
    (root / "new").write_bytes(b"mine")
    os.symlink("../outside/x", root / "link")
    (root / "dir").mkdir()
    (root / "big").write_bytes(b"mine")
    for name in (b"new", b"link", b"dir"):
        stored = store_groups(endpoint, [group(b"", table(_file(name, b"new")))], b"new")
        _problem(stored, name, "cannot be written")
    _problem(
        store_piece(endpoint, _piece(b"big", b"x", 1, whole=b"x")), b"big", "cannot be written"
    )
    assert (root / "new").read_bytes() == b"mine"
    assert os.readlink(root / "link") == "../outside/x"
    assert (root / "dir").is_dir()
    assert (root / "big").read_bytes() == b"mine"


def test_a_target_that_vanished_since_the_scan_is_no_reason_to_overwrite_another(endpoint, root):
    start_writing(endpoint, root, [expected(b"old")])
    os.unlink(root / "old")
    stored = store_groups(endpoint, [group(b"", table(_file(b"old", b"new")))], b"new")
    _problem(stored, b"old", "cannot be written")


def test_a_directory_that_appeared_since_the_scan_survives(endpoint, root):
    start_writing(endpoint, root, [expected(b"new", tree=True)])
    make(root / "new", {"mine": b"mine"})
    stored = store_groups(endpoint, [group(b"new", table(_file(b"a", b"A")), new=True)], b"A")
    _problem(stored, b"new", "cannot be written")
    trees.assert_same(root / "new", {"mine": b"mine"})


@pytest.mark.parametrize("name", ["old", "d"])
def test_another_kind_stays_unless_it_may_be_replaced(endpoint, root, name):
    before = read(root / name)
    path = name.encode()
    tree = name == "old"
    start_writing(endpoint, root, [expected(path, tree=tree)])
    if tree:
        stored = store_groups(endpoint, [group(path, table(), new=True)])
    else:
        stored = store_groups(endpoint, [group(b"", table(_file(path, b"x")))], b"x")
    _problem(stored, path, "cannot be written")
    assert trees.differences(read(root / name), before) == []


def test_a_file_replaces_a_directory_and_a_directory_a_file(endpoint, root):
    start_writing(
        endpoint, root, [expected(b"d", replace=True), expected(b"old", tree=True, replace=True)]
    )
    assert store_groups(endpoint, [group(b"", table(_file(b"d", b"x")))], b"x").problems == []
    groups = [group(b"old", table(_file(b"a", b"A")), new=True)]
    assert store_groups(endpoint, groups, b"A").problems == []
    assert (root / "d").read_bytes() == b"x"
    trees.assert_same(root / "old", {"a": b"A"})


def test_a_directory_with_something_new_in_it_is_not_replaced(endpoint, root):
    start_writing(endpoint, root, [expected(b"d", replace=True)])
    (root / "d" / "mine").write_bytes(b"mine")
    stored = store_groups(endpoint, [group(b"", table(_file(b"d", b"x")))], b"x")
    assert stored.entries == 0
    assert stored.problems
    assert (root / "d" / "mine").read_bytes() == b"mine"


def test_a_deep_directory_is_replaced_by_a_file(endpoint, root):
    """Its removal needs more descriptors than are held: none may be used after it is closed."""
    path = root / "p" / "d"
    path.mkdir(parents=True)
    for _ in range(450):
        path = path / "x"
        path.mkdir()
    others = [b"a", b"b", b"c"]
    make(root, {name: {} for name in others})
    start_writing(
        endpoint,
        root,
        [expected(b"p/d", replace=True), *(expected(name + b"/f") for name in others)],
    )
    # Descriptors that will be closed to make room, so that the numbers are not the same later.
    for name in others:
        store_groups(endpoint, [group(name, table(_file(b"f", b"x")))], b"x")
    stored = store_groups(endpoint, [group(b"p", table(_file(b"d", b"x")))], b"x")
    assert (stored.entries, stored.problems) == (1, [])
    assert (root / "p" / "d").read_bytes() == b"x"


# --- nothing outside ------------------------------------------------------------------------------


def _swap_for_a_symlink(root: Path) -> None:
    os.rename(root / "d", root / "moved")
    os.symlink("../outside", root / "d")


def test_a_symlink_in_place_of_a_parent_is_not_followed(endpoint, root):
    (root / "d" / "sub").mkdir()
    start_writing(
        endpoint,
        root,
        [*(expected(path) for path in (b"d/x", b"d/f", b"d/big", b"d/sub/x"))]
        + [expected(b"d/new", tree=True)],
    )
    _swap_for_a_symlink(root)
    endpoint.root.directories.close()  # nothing is held that could lead past the symlink
    for path, name in ((b"d", b"x"), (b"d", b"f"), (b"d/sub", b"x")):
        stored = store_groups(endpoint, [group(path, table(_file(name, b"evil")))], b"evil")
        _problem(stored, path + b"/" + name, "cannot be written")
    _problem(store_groups(endpoint, [group(b"d/new", table(), new=True)]), b"d/new", "cannot be")
    _problem(store_piece(endpoint, _piece(b"d/big", b"x", 1, whole=b"x")), b"d/big", "cannot be")
    items = [messages.SetAttributes(b"d/f", stat.S_IFREG | 0o777, 1, UID, GID)]
    _problem(ask(endpoint, messages.Adjust(items)), b"d/f", "cannot be set")
    _problem(ask(endpoint, messages.Delete([b"d/f"])), b"d/f", "cannot be deleted")
    assert (root / "moved" / "f").read_bytes() == b"in d"


def test_a_directory_that_was_moved_is_still_the_one_that_is_held(endpoint, root):
    start_writing(endpoint, root, [expected(b"d/x")])
    store_groups(endpoint, [group(b"d", table())])
    _swap_for_a_symlink(root)
    store_groups(endpoint, [group(b"d", table(_file(b"x", b"X")))], b"X")
    assert (root / "d" / "x").read_bytes() == b"precious"


def test_a_symlink_in_place_of_a_target_is_not_followed(endpoint, root):
    start_writing(endpoint, root, [expected(b"old")])
    os.unlink(root / "old")
    os.symlink("../outside/x", root / "old")
    stored = store_groups(endpoint, [group(b"", table(_file(b"old", b"evil")))], b"evil")
    _problem(stored, b"old", "cannot be written")
    items = [messages.SetAttributes(b"old", stat.S_IFREG | 0o777, 1, UID, GID)]
    _problem(ask(endpoint, messages.Adjust(items)), b"old", "cannot be set")


def test_staging_that_is_a_symlink_is_refused(endpoint, root):
    os.symlink("../outside", root / ".syncron")
    with pytest.raises(Exception, match=r"\.syncron in the destination cannot be opened"):
        start_writing(endpoint, root, [expected(b"new")])


def test_a_name_planted_in_staging_is_not_written_through(endpoint, root):
    start_writing(endpoint, root, [expected(b"new"), expected(b"big")])
    store_groups(endpoint, [group(b"", table(_file(b"new", b"x")))], b"x")
    for kind in "tn":
        for number in range(20):
            os.symlink("../../outside/x", root / ".syncron" / f"{kind}{number}")
    stored = store_piece(endpoint, _piece(b"big", b"evil", 4, whole=b"evil"))
    _problem(stored, b"big", "cannot be written")


# --- nothing is half there ------------------------------------------------------------------------


def _with_small_files_only(work: Callable[[], object]) -> None:
    """Do ``work`` where no file may be larger than 1000 bytes: a write fails half-way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_half_way_leaves_nothing(endpoint, root):
    content = noise(5000)
    start_writing(endpoint, root, [expected(b"new", tree=True), expected(b"old"), expected(b"big")])
    problems: list[Problem] = []

    def store() -> None:
        rows = table(_file(b"a", b"A"), _file(b"b", content), _file(b"c", b"C"))
        groups = [group(b"new", rows, new=True)]
        problems.extend(store_groups(endpoint, groups, b"A" + content + b"C").problems)
        rows = table(_file(b"old", content))
        problems.extend(store_groups(endpoint, [group(b"", rows)], content).problems)
        piece = _piece(b"big", content, len(content), whole=content)
        problems.extend(store_piece(endpoint, piece).problems)

    _with_small_files_only(store)
    assert [problem.path for problem in problems] == [b"new/b", b"old", b"big"]
    trees.assert_same(root / "new", {"a": File(b"A"), "c": File(b"C")})
    assert (root / "old").read_bytes() == b"old"
    assert not (root / "big").exists()
    finished = ask(endpoint, messages.Finish((), False))
    assert finished.problems == []


def test_the_rest_of_a_large_file_that_failed_is_passed_over(endpoint, root):
    content = noise(5000)
    start_writing(endpoint, root, [expected(b"big"), expected(b"old")])
    problems: list[Problem] = []

    def store() -> None:
        for offset in range(0, 5000, 500):
            body = content[offset : offset + 500]
            whole = content if offset == 4500 else None
            piece = _piece(b"big", body, 5000, offset, whole=whole)
            problems.extend(store_piece(endpoint, piece).problems)

    _with_small_files_only(store)
    assert [problem.path for problem in problems] == [b"big"]
    assert not (root / "big").exists()
    store_piece(endpoint, _piece(b"old", b"new", 3, whole=b"new"))
    assert (root / "old").read_bytes() == b"new"


def test_a_source_that_failed_in_the_middle_leaves_the_old_file(endpoint, root):
    start_writing(endpoint, root, [expected(b"old")])
    store_piece(endpoint, _piece(b"old", b"ab", 4))
    failed = _piece(b"old", b"", 4, 2)._replace(last=True, failed=True)
    assert store_piece(endpoint, failed).entries == 0
    assert (root / "old").read_bytes() == b"old"
    ask(endpoint, messages.Finish((), True))
    assert ".syncron" not in _entries(root)


def test_directories_that_cannot_be_written_to_fail_alone():
    def outcome(root: Path) -> tuple[list[bytes], set[str]]:
        end = local()
        paths = [b"foreign/a", b"readonly/a", b"a"]
        start_writing(end, root, [expected(path) for path in paths])
        failed = []
        for path in paths:
            parent, _, name = path.rpartition(b"/")
            rows = table(_file(name, b"x", uid=os.geteuid(), gid=os.getegid()))
            stored = store_groups(end, [group(parent, rows)], b"x")
            failed += [problem.path for problem in stored.problems]
        ask(end, messages.Finish((), True))
        end.close()
        return failed, _entries(root)

    with public_directory() as base:
        root = base / "root"
        make(root, {"foreign": {}, "readonly": {}})
        (base / "state").mkdir()
        os.environ["XDG_STATE_HOME"] = str(base / "state")
        nobody = 65534 if os.geteuid() == 0 else os.geteuid()
        for path in (root, root / "readonly", base / "state"):
            os.chown(path, nobody, -1)
        # Without root there is nobody else to own a directory.
        (root / "foreign").chmod(0o555)
        (root / "readonly").chmod(0o555)
        failed, entries = as_user(lambda: outcome(root))
        foreign = os.stat(root / "foreign").st_uid != nobody
        # What is the user's own is made writable.
        assert failed == ([b"foreign/a"] if foreign else [])
        assert {"readonly/a", "a"} <= entries
