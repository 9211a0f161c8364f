"""Which directories are hot, and what a scan that looks at them alone believes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile
from syncron_lib.core.options import RuleOptions
from syncron_lib.fs import hot
from syncron_lib.fs.reach import ANYWHERE
from syncron_lib.fs.root import Choice, Root
from tests.trees import make

TREE: dict[str, Any] = {"a": {"x": {"f": b"f"}, "y": {}}, "b": {"z": {"g": b"g"}}, "top": b"t"}
PROFILE = Profile(True, True, True, True, {}, {})


def scanned(
    path: Path, only: Sequence[bytes] | None = None, patterns: Sequence[bytes] = ()
) -> tuple[set[bytes], list[bytes]]:
    """Scan, and remember: the names that are there, and which directories are hot by now."""
    place = ANYWHERE.look(os.fsencode(path))
    choice = Choice(None, None, RuleOptions(tuple(patterns)), True, True)
    root = Root(place, choice, os.environ)
    try:
        root.hot = only
        root.scan(None, lambda entries, size: None)
        root.seal(digest.available()[0], PROFILE)
        assert root.save() is None
        names = {
            os.path.join(node.path, name)
            for node in root.tree.nodes.values()
            for name in node.columns().names
        }
        assert root.tree.root.entries == len(names)
        state = root.state
        assert state is not None
        return names, [each.path for each in hot.unpacked(state.get(hot.KEY))]
    finally:
        root.close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make(tmp_path / "tree", TREE)
    scanned(tmp_path / "tree")
    return tmp_path / "tree"


def test_what_changes_is_counted_and_what_is_above_it_is_not(tree: Path) -> None:
    assert scanned(tree)[1] == []
    for number in range(3):
        (tree / f"b/z/{number}").touch()
        scanned(tree)
    (tree / "a/x/f").write_bytes(b"edited")
    assert scanned(tree)[1] == [b"b/z", b"a/x"]


def test_only_what_is_hot_is_looked_at(tree: Path) -> None:
    (tree / "b/z/new").touch()
    (tree / "a/x/unseen").touch()
    (tree / "b/unseen").touch()
    (tree / "b/z/dir/below").mkdir(parents=True)
    (tree / "a/y").rmdir()
    seen, _ = scanned(tree, [b"b/z"])
    assert {b"b/z/new", b"b/z/dir/below", b"b/unseen", b"a/y"} <= seen
    assert b"a/x/unseen" not in seen
    everything, _ = scanned(tree)
    assert b"a/x/unseen" in everything and b"a/y" not in everything


def test_what_is_not_remembered_or_by_other_rules_is_looked_at(tree: Path) -> None:
    (tree / "a/x/new").touch()
    seen, _ = scanned(tree, [b"b"], [b"- g"])
    assert b"a/x/new" in seen and b"b/z/g" not in seen
    # By these rules it is remembered by now.
    (tree / "a/x/newer").touch()
    seen, _ = scanned(tree, [b"b"], [b"- g"])
    assert b"a/x/newer" not in seen and b"b/z/g" not in seen
    (tree / "a/.syncronignore").write_text("newer\n")
    seen, _ = scanned(tree)
    assert b"a/x/newer" not in seen
    (tree / "a/x/later").touch()
    seen, _ = scanned(tree, [b"a/x"])
    assert b"a/x/later" in seen and b"a/x/newer" not in seen


def test_a_hot_directory_that_is_gone_is_no_error(tree: Path) -> None:
    (tree / "b/z/g").unlink()
    (tree / "b/z").rmdir()
    seen, _ = scanned(tree, [b"b/z", b"never/there"])
    assert b"b/z" not in seen and b"a/x/f" in seen


def test_scores_fade_and_are_bounded() -> None:
    data = hot.counted(b"", [b"old"])
    for _ in range(300):
        data = hot.counted(data, [b"new", b"with space"])
    assert [each.path for each in hot.unpacked(data)] == [b"new", b"with space"]
    assert 49 < hot.unpacked(data)[0].score <= 50
    many = hot.counted(data, [b"%d" % number for number in range(1000)])
    assert len(hot.unpacked(many)) == hot.MOST
    assert hot.unpacked(many)[0].path == b"new"


@given(st.binary(max_size=60))
def test_damaged_scores_are_none(noise: bytes) -> None:
    assert all(isinstance(each.score, float) for each in hot.unpacked(noise))
    hot.counted(noise, [b"a"])


def test_what_is_looked_at_is_each_directory_and_the_one_above() -> None:
    assert hot.looked_at([b"a/b/c", b"a", b""]) == {b"a/b/c", b"a/b", b"a", b""}
