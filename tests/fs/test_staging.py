"""Staging: what an interrupted run left is found by its index, and nothing else is believed."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.errors import FileFatal
from syncron_lib.fs.staging import Leftover, Staging
from tests import trees
from tests.fs.roots import as_user, public_directory
from tests.trees import Link, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path / "outside", {"secret": b"precious"})
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def staging(root: Path) -> Iterator[Staging]:
    fd = os.open(root, os.O_RDONLY)
    found = Staging(fd)
    yield found
    found.close()
    os.close(fd)
    trees.assert_same(root.parent / "outside", {"secret": b"precious"})


def _write(staging: Staging, name: bytes, content: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=staging.fd)
    os.write(fd, content)
    os.close(fd)


def test_nothing_is_made_before_it_is_needed(staging, root):
    assert staging.leftovers() == []
    staging.clear()
    assert list(root.iterdir()) == []


def test_the_directory_is_private(staging, root):
    (root / ".syncron").mkdir()
    (root / ".syncron").chmod(0o777)
    assert staging.fd >= 0
    assert stat.S_IMODE(os.stat(root / ".syncron").st_mode) == 0o700


def test_what_is_left_is_found_by_the_next_run(staging, root):
    large = staging.name_for_large(b"d/big", 100, -5)
    _write(staging, large, b"begin")
    tree = staging.new_directory(b"new/dir")
    _write(staging, tree + b"/small", b"whole")
    make(root / ".syncron" / os.fsdecode(tree) / "link", Link(b"../../../outside/secret"))
    _write(staging, staging.name_for_small(), b"of no use")
    staging.name_for_large(b"never-made", 1, 1)
    staging.close()
    again = Staging(os.open(root, os.O_RDONLY))
    size, mtime = 5, os.stat(root / ".syncron" / os.fsdecode(tree) / "small").st_mtime_ns
    assert again.leftovers() == [
        Leftover(b"", large, b"d/big", 100, -5),
        Leftover(tree, b"small", b"new/dir/small", size, mtime),
    ]
    names = {os.fsencode(path.name) for path in (root / ".syncron").iterdir()}
    assert names == {b"index", large, tree}
    assert again.name_for_large(b"x", 1, 1) not in names
    again.clear()
    assert list(root.iterdir()) == []
    again.close()


@pytest.mark.parametrize("name", [b"n/../../../outside", b"n1/../../outside", b"../outside", b".."])
def test_an_index_that_leads_out_is_not_believed(staging, root, name):
    """Whoever left the directory, its index is data."""
    make(root / ".syncron", {"n": {}, "n1": {}})
    records = [(name, b"tree", b"x"), (name + b"/secret", b"file", b"y")]
    index = b"".join(b"\0".join((*each, b"8", b"0", b"")) for each in records)
    (root / ".syncron" / "index").write_bytes(index)
    assert staging.leftovers() == []


@pytest.mark.parametrize("path", [b"/etc/passwd", b"../x", b"", b"a//b", b"a/.."])
def test_an_index_with_paths_that_lead_out_is_not_believed(staging, root, path):
    make(root / ".syncron", {"n1": b"content"})
    (root / ".syncron" / "index").write_bytes(b"n1\0file\0%s\x007\x000\0" % path)
    assert staging.leftovers() == []


@given(st.one_of(st.binary(max_size=60), st.lists(st.binary(max_size=6)).map(b"\0".join)))
def test_a_damaged_index_is_no_leftovers(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("root")
    make(root / ".syncron", {"index": data, "n1": b"", "n9": {}})
    fd = os.open(root, os.O_RDONLY)
    staging = Staging(fd)
    staging.leftovers()
    assert staging.name_for_large(b"x", 1, 1) not in (b"n1", b"n9")
    staging.close()
    os.close(fd)


@pytest.mark.parametrize("number", [b"9" * 5000, b"\xb2", b"-1", b"1_0", b" 1"])
def test_numbers_that_are_none(staging, root, number):
    make(root / ".syncron", {"index": b"n%s\0file\0x\0%s\0%s\0" % (number, number, number)})
    assert staging.leftovers() == []


def test_what_is_no_directory_is_refused(staging, root):
    make(root / ".syncron", b"mine")
    with pytest.raises(FileFatal, match=r"\.syncron .*remove what has that name"):
        staging.leftovers()
    assert (root / ".syncron").read_bytes() == b"mine"


def test_another_users_staging_is_refused():
    def outcome(root: Path) -> str:
        staging = Staging(os.open(root, os.O_RDONLY))
        try:
            staging.leftovers()
        except FileFatal as error:
            return error.message
        return "no error"

    with public_directory() as base:
        (base / ".syncron").mkdir()
        if os.geteuid() == 0:
            assert "belongs to another user" in as_user(lambda: outcome(base))
        assert outcome(base) == "no error"


def test_clearing_removes_all_that_was_staged(staging, root):
    _write(staging, staging.name_for_large(b"x", 1, 1), b"")
    tree = staging.new_directory(b"d")
    _write(staging, tree + b"/f", b"")
    os.symlink("../../outside", root / ".syncron" / "link")
    staging.clear()
    assert list(root.iterdir()) == []
    # And can be begun anew.
    _write(staging, staging.name_for_small(), b"")
    staging.clear()
    assert list(root.iterdir()) == []
