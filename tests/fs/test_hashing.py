"""Reading a file to know it: what was scanned, whole, and never anything else in its place."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from syncron_lib.fs.hashing import BLOCK, Changed, FileHasher, Finder
from syncron_lib.fs.root import Root
from tests.fs.roots import XXH3, file_digests, opened, scanned
from tests.trees import Fifo, Link, make, noise


def _hasher(root: Root, on_bytes: Callable[[int], None] = lambda _: None) -> FileHasher:
    assert root.directories is not None
    return FileHasher(root.tree, root.directories, XXH3, on_bytes, root.real_name)


@pytest.mark.parametrize("size", [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_files_of_all_sizes(tmp_path, size):
    content = noise(size)
    make(tmp_path, {"d": {"f": content}})
    read: list[int] = []
    with scanned(tmp_path) as root:
        hasher = _hasher(root, read.append)
        assert hasher.hash(b"d/f") == XXH3.of(content)
        assert file_digests(root.tree) == {b"d/f": XXH3.of(content)}
        assert hasher.size == size == sum(read)


def _gone(path: Path) -> None:
    os.unlink(path)


def _same_size(path: Path) -> None:
    st = os.stat(path)
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def _longer(path: Path) -> None:
    path.write_bytes(b"longer than before")


def _fifo(path: Path) -> None:
    os.unlink(path)
    make(path, Fifo())


def _symlink(path: Path) -> None:
    os.unlink(path)
    make(path.parent / "elsewhere", b"content")
    make(path, Link(b"elsewhere"))


def _directory(path: Path) -> None:
    os.unlink(path)
    path.mkdir()


def _socket(path: Path) -> None:
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    "change", [_gone, _same_size, _longer, _fifo, _symlink, _directory, _socket]
)
def test_what_is_not_as_it_was_scanned_is_not_hashed(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, {"f": b"content"})
    with scanned(tmp_path) as root:
        change(tmp_path / "f")
        with pytest.raises(Changed):
            _hasher(root).hash(b"f")
        assert file_digests(root.tree)[b"f"] == bytes(16)


@pytest.mark.parametrize("path", [b"l", b"d", b"never", b"d/never", b"never/f", b""])
def test_only_scanned_files_are_hashed(tmp_path, path):
    make(tmp_path, {"f": b"content", "l": Link(b"f"), "d": {}})
    with scanned(tmp_path) as root:
        with pytest.raises(Changed):
            _hasher(root).hash(path)


def test_a_file_that_grows_while_it_is_read(tmp_path):
    make(tmp_path, {"f": noise(2 * BLOCK)})

    def grow(_count: int) -> None:
        with open(tmp_path / "f", "ab") as file:
            file.write(b"x")

    with scanned(tmp_path) as root:
        with pytest.raises(Changed, match="while it was read"):
            _hasher(root, grow).hash(b"f")


def test_a_symlink_in_place_of_a_parent_is_not_followed(tmp_path):
    make(tmp_path, {"outside": {"f": b"content"}, "t": {"d": {"f": b"content"}}})
    with scanned(tmp_path / "t") as root:
        assert root.directories is not None
        root.directories.close()
        os.rename(tmp_path / "t" / "d", tmp_path / "t" / "moved")
        os.symlink("../outside", tmp_path / "t" / "d")
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            _hasher(root).hash(b"d/f")


def test_one_file_under_another_name(tmp_path):
    make(tmp_path, {"real": b"content"})
    with opened(tmp_path, only=b"real", alias=b"alias") as root:
        root.scan(None, lambda *_: None)
        assert _hasher(root).hash(b"alias") == XXH3.of(b"content")


def test_entries_are_found_by_path(tmp_path):
    make(tmp_path, {"b": {"y": b"1", "x": b"22"}, "a": b"333"})
    with scanned(tmp_path) as root:
        finder = Finder(root.tree)
        for path, size in ((b"b/x", 2), (b"a", 3), (b"b/y", 1), (b"b/x", 2)):
            found = finder.find(path)
            assert found is not None
            assert (found.stats[0], found.stats[2]) == (path.split(b"/")[-1], size)
            assert found.node.table().names[found.row] == found.stats[0]
        for path in (b"b/", b"b/z", b"c", b"b/x/y", b"a/b"):
            assert finder.find(path) is None
