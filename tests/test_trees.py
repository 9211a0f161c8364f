"""The vocabulary that the other tests judge by is judged by rsync."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given

from tests import trees


@given(tree=trees.random_trees())
def test_what_is_made_is_read_back(tree: trees.Directory) -> None:
    with tempfile.TemporaryDirectory() as place:
        top = os.path.join(place, "top")
        trees.make(top, tree)
        assert trees.differences(tree, trees.read(top)) == []
        assert trees.read(top) == tree


def test_literals_have_a_short_form(tmp_path: Path) -> None:
    trees.make(tmp_path / "a", {"f": b"x", b"\xff": {"p": trees.Fifo(), "l": trees.Link(b"f")}})
    assert (tmp_path / "a/f").read_bytes() == b"x"
    assert os.readlink(os.fsencode(tmp_path) + b"/a/\xff/l") == b"f"
    assert os.lstat(tmp_path / "a").st_mtime_ns == trees.MTIME_NS
    trees.make(tmp_path / "b", trees.read(tmp_path / "a"))
    trees.assert_same(tmp_path / "a", tmp_path / "b")
    assert trees.rsync_differences(tmp_path / "a", tmp_path / "b") == []


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"f": b"y", "d": {}}, "f: content b'x' against b'y'"),
        ({"f": trees.File(b"x", mode=0o600), "d": {}}, "f: mode 420 against 384"),
        (
            {"f": trees.File(b"x", mtime_ns=trees.MTIME_NS + 1), "d": {}},
            f"f: mtime_ns {trees.MTIME_NS} against {trees.MTIME_NS + 1}",
        ),
        ({"f": trees.Link(b"x"), "d": {}}, "f: File against Link"),
        ({"f": b"x"}, "d: only on the left"),
        ({"f": b"x", "d": {"\n": b""}}, "d/\\#012: only on the right"),
        ({"f": b"x", "d": trees.directory({}, mtime_ns=1)}, "d: mtime_ns"),
    ],
)
def test_every_difference_is_seen_by_us_and_by_rsync(
    tmp_path: Path, changed: trees.Literal, seen: str
) -> None:
    trees.make(tmp_path / "a", {"f": b"x", "d": {}})
    trees.make(tmp_path / "b", changed)
    assert trees.rsync_differences(tmp_path / "a", tmp_path / "b") != []
    with pytest.raises(AssertionError) as raised:
        trees.assert_same(tmp_path / "a", tmp_path / "b")
    assert seen in str(raised.value)
