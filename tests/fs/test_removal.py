"""Deleting: what was scanned, as it was scanned, and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given

from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.protocol import messages
from tests import trees
from tests.endpoint.driving import ask, local, start_writing
from tests.fs.roots import as_user, literal_paths, public_directory
from tests.trees import Fifo, Link, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path / "outside", {"x": b"precious"})
    make(
        tmp_path / "root",
        {"d": {"f": b"1", "sub": {"g": b"2"}, "l": Link(b"../../outside/x")}, "keep": b"3"},
    )
    os.symlink("../outside", tmp_path / "root" / "to-outside")
    return tmp_path / "root"


@pytest.fixture
def endpoint(root: Path) -> Iterator[LocalEndpoint]:
    found = local()
    yield found
    found.close()
    trees.assert_same(root.parent / "outside", {"x": b"precious"})


def _delete(endpoint: LocalEndpoint, *paths: bytes) -> messages.Stored:
    stored: messages.Stored = ask(endpoint, messages.Delete(paths))
    return stored


def test_a_directory_goes_with_all_below(endpoint, root):
    start_writing(endpoint, root)
    stored = _delete(endpoint, b"d")
    assert (stored.entries, stored.problems) == (5, [])
    assert not (root / "d").exists()
    assert (root / "keep").read_bytes() == b"3"


def test_a_symlink_goes_and_not_what_it_leads_to(endpoint, root):
    start_writing(endpoint, root)
    assert _delete(endpoint, b"to-outside", b"d/l").entries == 2
    assert not os.path.lexists(root / "to-outside")


def test_what_was_not_scanned_is_not_deleted(endpoint, root):
    start_writing(endpoint, root)
    (root / "new").write_bytes(b"new")
    assert _delete(endpoint, b"new", b"never", b"to-outside/x", b"").entries == 0
    assert (root / "new").read_bytes() == b"new"
    assert (root / "keep").exists()


def test_what_appeared_since_the_scan_stays_with_what_is_above(endpoint, root):
    start_writing(endpoint, root)
    (root / "d" / "sub" / "new").write_bytes(b"new")
    stored = _delete(endpoint, b"d")
    assert stored.entries == 3
    trees.assert_same(root / "d", {"sub": {"new": b"new"}})
    finished = ask(endpoint, messages.Finish((), True))
    assert finished.problems == []


def test_what_was_edited_since_the_scan_stays(endpoint, root):
    start_writing(endpoint, root)
    st = os.stat(root / "d" / "f")
    (root / "d" / "f").write_bytes(b"X")
    os.utime(root / "d" / "f", ns=(st.st_atime_ns, st.st_mtime_ns))
    stored = _delete(endpoint, b"d")
    assert [problem.path for problem in stored.problems] == [b"d/f"]
    assert (root / "d" / "f").read_bytes() == b"X"
    assert not (root / "d" / "sub").exists()


def test_what_is_excluded_stays_with_what_is_above(endpoint, root):
    start_writing(endpoint, root, patterns=[b"- g"])
    assert _delete(endpoint, b"d").problems == []
    trees.assert_same(root / "d", {"sub": {"g": b"2"}})


def test_a_directory_that_became_a_symlink_is_not_walked_through(endpoint, root):
    (root / "d" / "x").write_bytes(b"precious")
    start_writing(endpoint, root)
    endpoint.root.directories.close()
    os.rename(root / "d", root / "moved")
    os.symlink("../outside", root / "d")
    stored = _delete(endpoint, b"d")
    assert stored.problems
    assert (root / "moved" / "f").exists()
    assert os.path.islink(root / "d")


def test_what_is_gone_already_is_done(endpoint, root):
    start_writing(endpoint, root)
    os.unlink(root / "d" / "f")
    os.unlink(root / "d" / "sub" / "g")
    os.rmdir(root / "d" / "sub")
    stored = _delete(endpoint, b"d")
    assert (stored.entries, stored.problems) == (5, [])
    assert not (root / "d").exists()


def test_what_cannot_be_deleted_is_named():
    def outcome(root: Path) -> list[tuple[bytes, str]]:
        end = local()
        start_writing(end, root)
        stored = ask(end, messages.Delete([b"foreign", b"mine"]))
        end.close()
        return [(problem.path, problem.what) for problem in stored.problems]

    with public_directory() as base:
        make(base / "root", {"foreign": {"f": b""}, "mine": {"f": b""}})
        (base / "state").mkdir()
        os.environ["XDG_STATE_HOME"] = str(base / "state")
        if os.geteuid() == 0:
            for path in (base / "root", base / "root/mine", base / "root/mine/f", base / "state"):
                os.chown(path, 65534, -1)
            assert as_user(lambda: outcome(base / "root")) == [
                (b"foreign/f", "cannot be deleted: Permission denied")
            ]
            trees.assert_same(base / "root", {"foreign": {"f": b""}})


@given(trees.random_trees())
def test_any_tree_can_be_deleted(tmp_path_factory, literal):
    path = tmp_path_factory.mktemp("tree")
    make(path, literal)
    end = local()
    start_writing(end, path)
    stored = _delete(end, *literal.entries)
    assert (stored.entries, stored.problems) == (len(literal_paths(literal)), [])
    end.close()
    assert [each.name for each in path.iterdir()] in ([], [".syncron"])


def test_a_fifo_is_deleted_without_being_opened(endpoint, root):
    make(root / "pipe", Fifo())
    start_writing(endpoint, root)
    assert _delete(endpoint, b"pipe").entries == 1
    assert not (root / "pipe").exists()
