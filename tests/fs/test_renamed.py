"""What the state knows of a directory goes with it when it is renamed."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import trees
from tests.core.tables import ALL
from tests.fs.roots import (
    XXH3,
    hash_all,
    no_progress,
    opened,
    remember,
    scanned,
    state_of,
    unknown_files,
)
from tests.trees import make

DEEP: trees.Literal = {
    "a": {"file": b"content", "sub": {"x": b"x", "link": trees.Link(b"file"), "y": {"z": b"z"}}},
    "b": {"other": b"other"},
    "c": {},
}


@pytest.fixture
def tree(tmp_path):
    make(tmp_path / "tree", DEEP)
    remember(tmp_path / "tree")
    return tmp_path / "tree"


def test_a_renamed_directory_is_known_as_it_was(tree):
    with scanned(tree) as root:
        known = root.tree.nodes[b"a"].merkle
    os.rename(tree / "a", tree / "renamed")
    with scanned(tree) as root:
        assert unknown_files(root.tree) == set()
        assert root.tree.nodes[b"renamed"].merkle == known
        assert root.save() is None
        assert state_of(root).row(b"a/sub") is None
        assert state_of(root).row(b"renamed/sub/y") is not None


@pytest.mark.parametrize(
    "moves",
    [
        [("a", "c/a")],
        [("a/sub/y", "y")],
        [("a", "t"), ("b", "a"), ("t", "b")],
        [("a/sub", "s"), ("a", "b/a"), ("s", "b/a/other sub")],
    ],
    ids=["into another", "out of another", "swapped", "within one that moved"],
)
def test_directories_are_known_wherever_they_are(tree, moves):
    for old, new in moves:
        os.rename(tree / old, tree / new)
    with scanned(tree) as root:
        assert unknown_files(root.tree) == set()


def test_what_changed_in_a_renamed_directory_is_unknown(tree):
    os.rename(tree / "a", tree / "renamed")
    (tree / "renamed/sub/x").write_bytes(b"y")
    (tree / "renamed/new").write_bytes(b"new")
    with scanned(tree) as root:
        assert unknown_files(root.tree) == {b"renamed/sub/x", b"renamed/new"}


@given(st.data())
def test_a_scan_after_renames_knows_nothing_wrong(tmp_path_factory, data):
    top = tmp_path_factory.mktemp("renamed") / "tree"
    make(top, data.draw(trees.random_trees(specials=False)))
    remember(top)
    for number in range(3):
        found = [where for where in top.rglob("*") if where.is_dir() and not where.is_symlink()]
        if not found:
            break
        old = data.draw(st.sampled_from(sorted(found)))
        places = [where for where in [top, *found] if old not in (where, *where.parents)]
        os.rename(old, data.draw(st.sampled_from(sorted(places))) / f"renamed {number}")
    with scanned(top) as root:
        assert unknown_files(root.tree) == set()
        believed = root.seal(XXH3, ALL)
    with scanned(top, trust_state=False) as root:
        assert hash_all(root) == believed


def test_two_processes_find_what_was_renamed(tmp_path):
    make(tmp_path / "tree", {f"d{number}": {"f": b"%d" % number} for number in range(20)})
    remember(tmp_path / "tree")
    for number in range(20):
        os.rename(tmp_path / f"tree/d{number}", tmp_path / f"tree/e{19 - number}")
    with opened(tmp_path / "tree") as root:
        root.scan(None, no_progress)
        root.seal(XXH3, ALL)
        assert unknown_files(root.tree) == set()
