"""Scanning: what is found, what is believed of the last time, and what is left out."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given

from syncron_lib.core import digest
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules import Scope
from syncron_lib.fs import ignorefiles
from syncron_lib.fs.ignorefiles import IgnoreFile
from tests import trees
from tests.core.tables import ALL
from tests.fs.roots import (
    XXH3,
    as_user,
    file_digests,
    hash_all,
    literal_paths,
    opened,
    paths_of,
    public_directory,
    remember,
    scanned,
    settle,
    state_of,
    unknown_files,
)
from tests.trees import File, Link, make

# --- what is found --------------------------------------------------------------------------------


@given(trees.random_trees())
def test_a_scan_finds_what_is_there(tmp_path_factory, literal):
    path = tmp_path_factory.mktemp("tree")
    make(path, literal)
    with scanned(path) as root:
        tree = root.tree
        assert paths_of(tree) == literal_paths(literal)
        assert tree.root.entries == len(literal_paths(literal))
        assert tree.root.attributes.mtime_ns == literal.mtime_ns
        for node in tree.nodes.values():
            table = node.table()
            assert list(table.names) == sorted(table.names)
            where = os.path.join(os.fsencode(path), node.path)
            targets = iter(table.targets)
            for row, name in enumerate(table.names):
                st = os.lstat(os.path.join(where, name))
                assert (table.modes[row], table.mtimes[row]) == (st.st_mode, st.st_mtime_ns)
                assert (table.uids[row], table.gids[row]) == (st.st_uid, st.st_gid)
                if stat.S_ISLNK(st.st_mode):
                    assert next(targets) == os.readlink(os.path.join(where, name))
        sizes = [len(n.content) for n in _nodes(literal) if isinstance(n, File)]
        assert tree.root.size == sum(sizes)
        hash_all(root)
        contents = {XXH3.of(n.content) for n in _nodes(literal) if isinstance(n, File)}
        assert set(file_digests(tree).values()) == contents


def _nodes(node: trees.Node) -> Iterator[trees.Node]:
    yield node
    if isinstance(node, trees.Directory):
        for below in node.entries.values():
            yield from _nodes(below)


@given(trees.random_trees())
def test_a_second_scan_believes_the_first(tmp_path_factory, literal):
    path = tmp_path_factory.mktemp("tree")
    make(path, literal)
    first = remember(path)
    with scanned(path) as root:
        assert unknown_files(root.tree) == set()
        assert root.seal(XXH3, ALL) == first
        assert all(node.stored for node in root.tree.nodes.values())
    with scanned(path, trust_state=False) as root:
        assert unknown_files(root.tree) == set(file_digests(root.tree))


def test_nodes_come_depth_first_in_order_of_name(tmp_path):
    names = ["a", "a.txt", "a/b", "a/b/c", "a-", "a0", "B", "é", "a/!"]
    for name in names:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    with scanned(tmp_path) as root:
        paths = list(root.tree.nodes)
        assert paths == sorted(paths, key=lambda path: path.split(b"/") if path else [])
        assert len(paths) == 10


def test_syncrons_own_directory_is_no_part_of_a_tree(tmp_path):
    make(tmp_path, {".syncron": {"x": b""}, "d": {".syncron": b"y", "f": b""}})
    with scanned(tmp_path) as root:
        assert paths_of(root.tree) == [b"d", b"d/f"]


def test_one_entry_under_another_name(tmp_path):
    make(tmp_path, {"real": b"content", "other": b"x"})
    with scanned(tmp_path, only=b"real", alias=b"alias") as root:
        assert paths_of(root.tree) == [b"alias"]
        hash_all(root)
        assert file_digests(root.tree) == {b"alias": XXH3.of(b"content")}
    with scanned(tmp_path, only=b"missing") as root:
        assert paths_of(root.tree) == []


def test_a_tree_1500_directories_deep(tmp_path):
    make(tmp_path, {"top": b"1"})
    fd = os.open(tmp_path, os.O_RDONLY)
    for level in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        if level == 1499:
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    try:
        first = remember(tmp_path)
        with scanned(tmp_path) as root:
            deep = b"/".join([b"d"] * 1500)
            assert root.tree.root.entries == 1502
            assert deep in root.tree.nodes
            assert unknown_files(root.tree) == set()
            assert hash_all(root) == first
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


# --- what is believed -----------------------------------------------------------------------------


def _edit(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"X")


def _edit_and_put_times_back(path: Path) -> None:
    st = os.stat(path)
    _edit(path)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def _replace_by_a_copy(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".new"))
    _edit_and_put_times_back(path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.parametrize(
    "change",
    [
        _edit,
        _edit_and_put_times_back,
        _replace_by_a_copy,
        lambda path: path.write_bytes(b"longer than before"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.chmod(0o600),
    ],
)
def test_only_what_changed_is_hashed_again(tmp_path, change):
    make(tmp_path, {"d": {"changed": b"content", "same": b"1"}, "e": {"f": b"2"}})
    before = remember(tmp_path)
    change(tmp_path / "d" / "changed")
    with scanned(tmp_path) as root:
        assert unknown_files(root.tree) == {b"d/changed"}
        assert root.tree.nodes[b"e"].merkle != digest.UNKNOWN
        assert hash_all(root) != before


def test_names_that_come_and_go(tmp_path):
    make(tmp_path, {"gone": {"f": b"1"}, "stays": {"a": b"1", "c": b"3"}})
    before = remember(tmp_path)
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "stays" / "b").write_bytes(b"2")
    with scanned(tmp_path) as root:
        assert unknown_files(root.tree) == {b"stays/b"}
    after = remember(tmp_path)
    assert after != before
    with scanned(tmp_path) as root:
        assert unknown_files(root.tree) == set()
        assert [row.path for row in state_of(root).rows()] == [b"", b"stays"]


def test_a_changed_symlink_is_read_again(tmp_path):
    make(tmp_path, {"l": Link(b"one"), "m": Link(b"same")})
    remember(tmp_path)
    os.unlink(tmp_path / "l")
    make(tmp_path / "l", Link(b"two"))
    with scanned(tmp_path) as root:
        assert root.tree.root.table().targets == [b"two", b"same"]


def test_a_file_hashed_right_after_its_change_is_not_believed(tmp_path):
    make(tmp_path, {"d": {"old": b"1"}, "e": {"f": b"2"}})
    settle()
    (tmp_path / "d" / "new").write_bytes(b"3")
    with scanned(tmp_path) as root:
        assert hash_all(root) != digest.UNKNOWN
        root.save()
    with scanned(tmp_path) as root:
        assert unknown_files(root.tree) == {b"d/new"}
        assert root.tree.nodes[b"d"].merkle == digest.UNKNOWN
        assert root.tree.root.merkle == digest.UNKNOWN
        assert root.tree.nodes[b"e"].merkle != digest.UNKNOWN


def test_damaged_state_costs_hashes_only(tmp_path):
    make(tmp_path, {f"d{i}": {f"f{j}": b"%d" % j for j in range(20)} for i in range(60)})
    value = remember(tmp_path)
    with opened(tmp_path) as root:
        state = Path(os.fsdecode(state_of(root).path))
    data = bytearray(state.read_bytes())
    for page in range(1, len(data) // 16384):
        data[page * 16384 : page * 16384 + 20] = bytes(20)
    state.write_bytes(data)
    with scanned(tmp_path) as root:
        assert state_of(root).warnings
        assert hash_all(root) == value
        root.save()
    assert remember(tmp_path) == value


# --- what cannot be read --------------------------------------------------------------------------


def test_unreadable_directories_and_files():
    def outcome(path: Path) -> dict[bytes, int]:
        with scanned(path) as root:
            return {node.path: node.problem for node in root.tree.nodes.values()}

    with public_directory() as base:
        make(
            base / "t",
            {
                "closed": trees.directory({"f": b""}, mode=0o000),
                "listed": trees.directory({"f": b"", "g": b""}, mode=0o444),
                "open": {"f": b""},
            },
        )
        (base / "state").mkdir()
        (base / "state").chmod(0o777)
        os.environ["XDG_STATE_HOME"] = str(base / "state")
        found = as_user(lambda: outcome(base / "t"))
        assert found == {b"": 0, b"closed": errno.EACCES, b"listed": 0, b"open": 0}


def test_entries_that_can_be_listed_but_not_looked_at():
    def outcome(path: Path) -> tuple[list[int], list[int]]:
        with scanned(path) as root:
            table = root.tree.nodes[b"listed"].table()
            assert root.seal(XXH3, ALL) == digest.UNKNOWN
            return list(table.modes), list(table.sizes)

    with public_directory() as base:
        make(base / "t", {"listed": trees.directory({"f": b"", "g": b""}, mode=0o444)})
        (base / "state").mkdir()
        (base / "state").chmod(0o777)
        os.environ["XDG_STATE_HOME"] = str(base / "state")
        assert as_user(lambda: outcome(base / "t")) == ([0, 0], [errno.EACCES] * 2)


def test_directories_that_vanish_under_the_scan(tmp_path):
    """Progress is reported while the walk is under way: then its next directory goes."""
    make(tmp_path, {"a": {f"{i}": b"" for i in range(2500)}, "b": {"f": b""}, "c": {"f": b""}})

    def remove(_entries: int, _size: int) -> None:
        shutil.rmtree(tmp_path / "b", ignore_errors=True)

    with scanned(tmp_path, remove) as root:
        assert root.tree.nodes[b"b"].problem == errno.ENOENT
        assert root.tree.nodes[b"c"].problem == 0
        assert b"c/f" in paths_of(root.tree)


def test_a_directory_replaced_by_a_symlink_is_not_walked_through(tmp_path):
    make(tmp_path / "outside", {"secret": b"x"})
    make(tmp_path / "t", {"a": {f"{i}": b"" for i in range(2500)}, "b": {"f": b""}})

    def swap(_entries: int, _size: int) -> None:
        shutil.rmtree(tmp_path / "t" / "b", ignore_errors=True)
        if not os.path.lexists(tmp_path / "t" / "b"):
            os.symlink(tmp_path / "outside", tmp_path / "t" / "b")

    with scanned(tmp_path / "t", swap) as root:
        assert root.tree.nodes[b"b"].problem in (errno.ENOTDIR, errno.ELOOP)
        assert b"b/secret" not in paths_of(root.tree)


# --- what is left out -----------------------------------------------------------------------------


def _rules(*patterns: bytes, gitignore: bool = False) -> RuleOptions:
    return RuleOptions(patterns, gitignore)


TREE: dict[str, trees.Literal] = {
    ".gitignore": b"*.o\n",
    "a.o": b"",
    "a.c": b"",
    "d": {".gitignore": b"!b.o\n", "b.o": b"", "c.o": b"", "build": {"x": b""}},
    "e": {".syncronignore": b"y\n", "y": b"", "z": b""},
}


def test_rules_and_ignore_files_leave_out(tmp_path):
    make(tmp_path, TREE)
    with scanned(tmp_path, rules=_rules(b"- /d/build", gitignore=True)) as root:
        assert paths_of(root.tree) == [
            b".gitignore",
            b"a.c",
            b"d",
            b"d/.gitignore",
            b"d/b.o",
            b"e",
            b"e/.syncronignore",
            b"e/z",
        ]
        found = {(file.directory, file.name) for file in root.ignore_files}
        assert found == {(b"", b".gitignore"), (b"d", b".gitignore"), (b"e", b".syncronignore")}
    with scanned(tmp_path) as root:
        assert b"a.o" in paths_of(root.tree)
        assert b"e/y" not in paths_of(root.tree)


def test_a_destination_obeys_the_sources_ignore_files_only(tmp_path):
    make(tmp_path, {".syncronignore": b"mine\n", "mine": b"", "theirs": b"", "d": {"theirs": b""}})
    given_files = [IgnoreFile(b"d", b".syncronignore", b"theirs\n", (0, 0, 0, 0))]
    with opened(tmp_path, reading=False) as root:
        root.scan(given_files, lambda *_: None)
        assert paths_of(root.tree) == [b".syncronignore", b"d", b"mine", b"theirs"]
        assert list(root.ignore_files) == given_files
        root.scan([], lambda *_: None)
        assert b"d/theirs" in paths_of(root.tree)


@contextmanager
def _counted(function: Callable[..., Any]) -> Iterator[list[int]]:
    """How often ``function`` is called, in one item."""
    calls = [0]
    code = function.__code__

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code is code:
            calls[0] += 1

    sys.setprofile(watch)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def test_answers_are_kept_for_as_long_as_rules_and_names_are_the_same(tmp_path):
    make(tmp_path, TREE)
    rules = _rules(b"- *.tmp", gitignore=True)

    def scan(with_rules: RuleOptions) -> int:
        with opened(tmp_path, rules=with_rules) as root, _counted(Scope.excluded) as calls:
            root.scan(None, lambda *_: None)
            root.seal(XXH3, ALL)
            root.save()
            return calls[0]

    everything = scan(rules)
    assert everything > 5
    assert scan(rules) == 0
    (tmp_path / "d" / "new.o").write_bytes(b"")
    assert scan(rules) == 1
    (tmp_path / "d" / ".gitignore").write_bytes(b"!c.o\n")
    assert 0 < scan(rules) < everything + 1
    with scanned(tmp_path, rules=rules) as root:
        assert b"d/c.o" in paths_of(root.tree)
        assert b"d/b.o" not in paths_of(root.tree)
    assert scan(_rules(b"- *.c", gitignore=True)) > 5


def test_unchanged_ignore_files_are_not_opened(tmp_path):
    make(tmp_path, TREE)
    rules = _rules(gitignore=True)
    remember(tmp_path, rules=rules)
    with scanned(tmp_path, rules=rules) as root:
        assert b"a.o" not in paths_of(root.tree)
        first = root.ignore_files
    with opened(tmp_path, rules=rules) as root, _counted(ignorefiles._content) as reads:
        root.scan(None, lambda *_: None)
        assert root.ignore_files == first
        assert reads == [0]
    (tmp_path / "d" / ".gitignore").write_bytes(b"*.c\n")
    with opened(tmp_path, rules=rules) as root, _counted(ignorefiles._content) as reads:
        root.scan(None, lambda *_: None)
        assert reads == [1]


def test_changed_rules_are_another_answer_for_the_state(tmp_path):
    make(tmp_path, {"a": b"1", "b": b"2"})
    whole = remember(tmp_path)
    part = remember(tmp_path, rules=_rules(b"- b"))
    assert whole != part
    with scanned(tmp_path, rules=_rules(b"- b")) as root:
        assert paths_of(root.tree) == [b"a"]
    assert remember(tmp_path) == whole
