"""All digests of a tree, which two processes share where there is enough to read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncron_lib.endpoint.hashes import hash_all
from syncron_lib.fs.hashing import FileHasher
from syncron_lib.fs.links import Links
from syncron_lib.fs.root import Root
from syncron_lib.fs.second import processors
from tests.fs.roots import XXH3, file_digests, killed_children, scanned

_FILES = 6000
_UNREADABLE = 17


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough files for two, most of them in one directory."""
    top = tmp_path_factory.mktemp("many")
    for number in range(_FILES):
        directory = top / ("few" if number % 20 == 0 else "most")
        directory.mkdir(exist_ok=True)
        (directory / f"{number:05}").write_bytes(b"%d," % number * (number % 300))
    return top


def _hasher(root: Root) -> FileHasher:
    assert root.directories is not None
    return FileHasher(root.tree, root.directories, XXH3, lambda _: None, root.real_name)


def _expected(top: Path) -> dict[bytes, bytes]:
    paths = [path for path in top.rglob("*") if path.is_file()]
    return {
        os.fsencode(path.relative_to(top)): XXH3.of(memoryview(path.read_bytes())) for path in paths
    }


def _size(top: Path) -> int:
    return sum(path.stat().st_size for path in top.rglob("*") if path.is_file())


def test_two_find_what_the_files_hold(many: Path) -> None:
    assert processors() > 1
    with scanned(many) as root:
        hasher = _hasher(root)
        assert hash_all(root.tree, hasher) == []
        assert file_digests(root.tree) == _expected(many)
        assert 0 < hasher.elsewhere < hasher.size
        assert hasher.size >= _size(many)


def test_what_one_of_them_cannot_read_is_told(many: Path) -> None:
    with scanned(many) as root:
        changed = sorted((many / "most").iterdir())[-_UNREADABLE:]
        for path in changed:
            path.write_bytes(path.read_bytes() + b"more")
        problems = hash_all(root.tree, _hasher(root))
        paths = [b"most/" + os.fsencode(path.name) for path in changed]
        assert [(each.path, each.what) for each in problems] == [
            (path, "changed since it was scanned") for path in paths
        ]
        known = file_digests(root.tree)
        assert all(not any(known[path]) for path in paths)


def test_one_that_is_killed_costs_no_digest(many: Path) -> None:
    with scanned(many) as root, killed_children() as killed:
        assert hash_all(root.tree, _hasher(root)) == []
        assert file_digests(root.tree) == _expected(many)
    assert killed


def test_names_of_one_file_are_read_by_one(many: Path) -> None:
    with scanned(many) as root:
        hasher = _hasher(root)
        hasher.links = Links([])
        hash_all(root.tree, hasher)
        assert hasher.elsewhere == 0
        assert file_digests(root.tree) == _expected(many)
