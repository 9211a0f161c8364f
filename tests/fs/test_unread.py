"""What a hot scan leaves unread: it is there when it is asked for, and as if it had been read."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core import digest
from syncron_lib.core.options import RuleOptions
from syncron_lib.fs import seal
from syncron_lib.fs.root import Root
from syncron_lib.fs.state import State
from syncron_lib.fs.tree import Node, Unread
from tests.core.tables import ALL
from tests.fs.roots import (
    XXH3,
    hash_all,
    opened,
    remember,
    scanned,
    settle,
    state_of,
    unknown_files,
)
from tests.trees import make

WIDE: dict[str, Any] = {
    f"d{one}": {f"e{two}": {f"f{three}": {"file": b"x" * (three + 1)} for three in range(3)}}
    for one in range(4)
    for two in range(1)
} | {"hot": {"here": {"log": b"0"}}, "empty": {"in": {"it": {}}}, "odd-name!": {"d": {"f": b""}}}


def _hot(root: Root, paths: Sequence[bytes]) -> bytes:
    root.hot = paths
    root.scan(None, lambda entries, size: None)
    return root.seal(XXH3, ALL)


def _shown(node: Node) -> tuple[object, ...]:
    return (
        *(node.stats, bytes(node.digests), node.targets, node.excluded, node.scope, node.merkle),
        *(node.attributes, node.identity, node.own_entries, node.own_size),
        *(node.entries, node.size, node.holds, node.row, node.parent and node.parent.path),
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make(tmp_path / "tree", WIDE)
    remember(tmp_path / "tree")
    return tmp_path / "tree"


def test_little_is_read_and_all_of_it_counts(tree: Path) -> None:
    (tree / "hot/here/log").write_bytes(b"longer")
    settle()
    with opened(tree) as root:
        _hot(root, [b"hot/here"])
        seen = {node.path for node in root.tree.present()}
        value = hash_all(root)
        assert root.save() is None
    top = {os.fsencode(name) for name in os.listdir(tree)}
    assert seen == {b"", b"hot/here"} | top
    with opened(tree) as root:
        root.scan(None, lambda entries, size: None)
        assert root.seal(XXH3, ALL) == value != digest.UNKNOWN


def test_whoever_asks_finds_what_a_whole_scan_finds(tree: Path) -> None:
    with opened(tree) as root:
        _hot(root, ())
        whole = {path: _shown(node) for path, node in root.tree.nodes.items()}
    with opened(tree) as root:
        root.scan(None, lambda entries, size: None)
        root.seal(XXH3, ALL)
        assert {path: _shown(node) for path, node in root.tree.nodes.items()} == whole
    for asked in whole:
        with opened(tree) as root:
            _hot(root, [b"hot/here"])
            nodes = root.tree.nodes
            assert isinstance(nodes, Unread)
            assert nodes.get(asked + b"x") is None and b"nowhere" not in nodes
            assert asked in nodes and nodes[asked].path == asked
            assert len(root.tree.present()) < len(whole)
            upwards = [node.path for node in root.tree.upwards()]
            assert all(
                upwards.index(path) < upwards.index(path.rpartition(b"/")[0])
                for path in upwards
                if path
            )
            root.tree.total()
            assert _shown(nodes[asked]) == whole[asked]
            assert {path: _shown(node) for path, node in nodes.items()} == whole


def test_totals_and_digests_are_those_of_all(tree: Path) -> None:
    with opened(tree) as root:
        root.scan(None, lambda entries, size: None)
        value, top = root.seal(XXH3, ALL), root.tree.root
        with opened(tree) as other:
            assert _hot(other, [b"hot/here"]) == value != digest.UNKNOWN
            mine = other.tree.root
            assert (mine.entries, mine.size) == (top.entries, top.size)
            assert (other.users, other.groups) == (root.users, root.groups)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_did_not_change_is_not_written_again(tmp_path: Path, processes: int) -> None:
    make(tmp_path, {f"d{number:03}": {"e": {"f": b"f"}} for number in range(100)})
    remember(tmp_path)
    with opened(tmp_path) as root:
        root.may_share = lambda: processes > 1
        root.scan(None, lambda entries, size: None)
        root.seal(XXH3, ALL)
        assert len(root.tree.nodes) == 201
        assert list(seal.rows_to_keep(root.tree)) == []


def test_what_goes_is_asked_for_no_more(tree: Path) -> None:
    with opened(tree) as root:
        _hot(root, [b"hot/here"])
        assert root.tree.remove({b"d1"}) == [b"d1"]
        assert root.tree.nodes.get(b"d1/e0") is None
        assert b"d1" not in set(root.tree.nodes)


def test_only_what_is_on_the_way_is_read(tree: Path) -> None:
    with opened(tree) as root:
        _hot(root, [b"hot/here"])
        nodes, before = root.tree.nodes, {node.path for node in root.tree.present()}
        entries = root.tree.root.entries
        assert nodes[b"d1/e0/f2"].own_entries == 1
        assert {node.path for node in root.tree.present()} - before == {b"d1/e0", b"d1/e0/f2"}
        assert b"d1/e0/f9" not in nodes and b"d1/e0/f2/file" not in nodes
        root.tree.total()
        assert root.tree.root.entries == entries
        # What has gone does not come back with what lay beside it, nor is what is new read.
        del nodes[b"d1/e0/f2"]
        nodes[b"d1/e0/f0"] = new = Node(b"d1/e0/f0", nodes[b"d1/e0"], 0)
        assert b"d1/e0/f2" not in nodes and b"d1/e0/f1" in nodes
        assert {path for path in nodes if path.startswith(b"d1/e0/")} == {
            b"d1/e0/f0",
            b"d1/e0/f1",
        }
        assert nodes[b"d1/e0/f0"] is new


@pytest.mark.parametrize("name", [".gitignore", ".secure"])
def test_what_may_have_rules_of_its_own_is_read(tree: Path, name: str) -> None:
    (tree / "d2/e0" / name).write_text("nothing")
    rules = RuleOptions(gitignore=True)
    remember(tree, rules=rules)
    remember(tree, rules=rules)
    with opened(tree, rules=rules) as root:
        _hot(root, [b"hot/here"])
        seen = {node.path for node in root.tree.present()}
    assert {b"d2", b"d2/e0"} <= seen and b"d1/e0" not in seen


def test_under_the_rules_of_the_run_or_of_what_is_above_little_is_read(tree: Path) -> None:
    (tree / ".gitignore").write_text("*.o\n")
    make(tree / "d1/e0/f1", {"left.out": b"1", "made.o": b"2"})
    rules = RuleOptions((b"- *.out",), gitignore=True)
    remember(tree, rules=rules)
    with opened(tree, rules=rules) as root:
        root.scan(None, lambda entries, size: None)
        value = root.seal(XXH3, ALL)
        whole = {path: _shown(node) for path, node in root.tree.nodes.items()}
    with opened(tree, rules=rules) as root:
        assert _hot(root, [b"hot/here"]) == value
        assert {node.path.count(b"/") for node in root.tree.present()} == {0, 1}
        assert [node.path for node in root.tree.present() if node.holds] == [b"", b"d1"]
        assert list(seal.rows_to_keep(root.tree)) == []
        assert {path: _shown(node) for path, node in root.tree.nodes.items()} == whole
    for others in (RuleOptions(gitignore=True), RuleOptions((b"- *.out",)), RuleOptions()):
        with opened(tree, rules=others) as root:
            root.scan(None, lambda entries, size: None)
            names = {path: node.excluded for path, node in root.tree.nodes.items()}
        with opened(tree, rules=others) as root:
            _hot(root, [b"hot/here"])
            assert {path: node.excluded for path, node in root.tree.nodes.items()} == names


def test_what_another_profile_makes_of_it_is_known(tree: Path) -> None:
    profile = ALL._replace(times=False)
    with opened(tree) as root:
        root.scan(None, lambda entries, size: None)
        value = root.seal(XXH3, profile)
    with opened(tree) as root:
        _hot(root, [b"hot/here"])
        assert root.seal(XXH3, profile) == value != digest.UNKNOWN


def test_a_row_that_is_damaged_is_looked_up_on_the_disk(tree: Path) -> None:
    with opened(tree) as root:
        value = _hot(root, ())
        path = state_of(root).path
    with sqlite3.connect(os.fsdecode(path)) as db:
        db.execute("UPDATE directory SET checksum = 1 WHERE key = ?", (b"d1\0e0\0f1",))
    db.close()
    with opened(tree) as root:
        assert _hot(root, [b"hot/here"]) == value
        node = root.tree.nodes[b"d1/e0/f1"]
        assert node.columns().names == [b"file"] and not any(bytes(node.digests))
        assert root.seal(XXH3, ALL) == digest.UNKNOWN
        assert hash_all(root) == value
        assert root.save() is None
    with opened(tree) as root:
        root.scan(None, lambda entries, size: None)
        assert root.seal(XXH3, ALL) == value


def test_a_row_that_is_damaged_costs_no_other(tree: Path) -> None:
    with opened(tree) as root:
        path = state_of(root).path
    with sqlite3.connect(os.fsdecode(path)) as db:
        db.execute("UPDATE directory SET checksum = 1 WHERE key = ?", (b"d1\0e0\0f1",))
    db.close()
    with opened(tree) as root:
        _hot(root, [b"hot/here"])
        assert b"d1/e0/f1" in root.tree.nodes and state_of(root).damaged
        assert root.save() is None
        assert len(state_of(root).warnings) == 1
    with scanned(tree) as root:
        assert unknown_files(root.tree) == {b"d1/e0/f1/file"}


def test_who_owns_what_was_brought_is_looked_up(tree: Path) -> None:
    remember(tree, reading=False)  # as a run into it does, whose owners nobody has counted
    with opened(tree, reading=False) as root:
        _hot(root, [b"hot/here"])
        assert isinstance(root.tree.nodes, Unread)
    for left_unread in (False, True):
        with opened(tree) as root:
            _hot(root, [b"hot/here"])
            assert isinstance(root.tree.nodes, Unread) == left_unread
            assert root.users == {os.geteuid()}
            assert root.save() is None


@pytest.mark.parametrize("version", [1, 2])
def test_state_of_an_earlier_version_is_taken_over(tree: Path, version: int) -> None:
    with opened(tree) as root:
        value = _hot(root, ())
        state = state_of(root)
        path, rows = os.fsdecode(state.path), list(state.rows())
        if version == 1:
            rows = [row._replace(below=b"") for row in rows]
    with sqlite3.connect(path) as db:
        for row in rows:
            key = row.path.replace(b"/", b"\0")
            db.execute("UPDATE directory SET checksum = ? WHERE key = ?", (row.checksum(), key))
        db.execute("DROP INDEX marks")
        db.execute("ALTER TABLE directory DROP COLUMN mark")
        if version == 1:
            db.execute("ALTER TABLE directory DROP COLUMN below")
        db.execute(f"PRAGMA user_version={version}")
    db.close()
    # Several runs may come to it at once, such as pushes of one source to several machines.
    start = threading.Barrier(8)

    def take_over(_: int) -> list[str]:
        start.wait()
        state = State(os.fsencode(path))
        state.close()
        return state.warnings

    with ThreadPoolExecutor(8) as runs:
        assert list(runs.map(take_over, range(8))) == [[]] * 8
    with opened(tree) as root:
        assert list(state_of(root).rows()) == rows
        assert state_of(root).marks() == {row.path: row.mark() for row in rows}
        assert _hot(root, [b"hot/here"]) == value
        assert isinstance(root.tree.nodes, Unread) == (version == 2)
        assert root.save() is None
    with opened(tree) as root:
        assert _hot(root, [b"hot/here"]) == value
        assert isinstance(root.tree.nodes, Unread)
