"""A destination that takes some names for others, a real file system: what collides is reported,
and neither of the two is overwritten by the other. Collected only where the tests run as root."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests import folding
from tests.e2e.conftest import Command, Ended, assert_copied
from tests.trees import Link, Literal, make, noise

ONE, TWO = "é", unicodedata.normalize("NFD", "é")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with folding.mounted(tmp_path / "folding") as place:
        yield place / "dst"


def pairs(text: bytes) -> dict[str, Literal]:
    """Names that are one to the destination, of each kind; and one that is alone."""
    return {
        "FILE": text + b"upper",
        "file": text + b"lower one",
        "LARGE": noise(600_000, seed=1),
        "large": noise(600_000, seed=2),
        ONE: text + b"composed",
        TWO: text + b"decomposed",
        "LINK": Link(b"upper"),
        "link": Link(b"lower one"),
        "Mixed": Link(b"a link"),
        "mixed": text + b"a file",
        "DIR": {"f": text + b"in DIR", "sub": {"g": text + b"in DIR/sub"}},
        "dir": {"f": text + b"in dir", "sub": {"h": text + b"in dir/sub"}, "x": noise(600_000)},
        "alone": text + b"alone",
    }


def leaves(top: Path) -> dict[str, bytes]:
    """What is below, by path: content of files, targets of links."""
    found = {}
    for path in top.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(top))] = os.fsencode(os.readlink(path))
        elif path.is_file():
            found[str(path.relative_to(top))] = path.read_bytes()
    return {path: content for path, content in found.items() if ".syncron" not in path}


def names(found: Iterable[str]) -> set[str]:
    """What the names in ``d`` are to the destination."""
    return {folding.folded(os.fsencode(path.split("/")[1])) for path in found}


def reported(ended: Ended) -> set[str]:
    """The paths that were not done."""
    assert ended.code == 23, (ended.code, ended.err)
    for line in ended.err.splitlines():
        assert line.endswith("."), line
    return {error["path"] for error in ended.summary["errors"] if error["path"]}


@pytest.mark.parametrize("options", [(), ("--delete", "--fsync"), ("--inplace", "--no-whole-file")])
@pytest.mark.parametrize("where", ["new", "there"])
def test_one_of_two_names_is_there_whole_and_the_other_is_reported(
    syncron: Command, place: Path, tmp_path: Path, where: str, options: tuple[str, ...]
) -> None:
    """In a directory that the run makes, and in one that is there."""
    source = tmp_path / "src"
    make(source / "d", pairs(b""))
    make(place, {"d": {}} if where == "there" else {})
    expected = leaves(source)
    ended = syncron("--json", *options, source, place)
    lost = reported(ended)
    now = leaves(place)
    for path, content in now.items():
        assert expected.get(path) == content, path
        assert path not in lost, path
    for path in expected.keys() - now.keys():
        assert any(path == each or path.startswith(each + "/") for each in lost), path
    # One of each: what comes below a directory that lost comes with it.
    assert names(expected) == names(now)
    assert all("takes it for" in error["message"] for error in ended.summary["errors"][:1])
    # Whoever gives them names that can stand beside each other has both.
    for name in ("file", "large", TWO, "link", "mixed", "dir"):
        (source / "d" / name).rename(source / "d" / f"other {folding.folded(os.fsencode(name))}")
    syncron.ok("--delete", source, place)
    assert_copied(source, place)


@pytest.mark.parametrize("options", [(), ("--inplace",), ("--delete",)])
def test_what_is_there_under_a_name_like_it_is_not_overwritten(
    syncron: Command, place: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    source = tmp_path / "src"
    make(place, {"FILE": b"mine", "LARGE": noise(600_000), "DIR": {"f": b"mine too"}, "Kind": {}})
    make(source, {"file": b"yours!", "large": noise(600_000, 5), "dir": {"f": b"2"}, "kind": b"3"})
    before = leaves(place)
    ended = syncron("--json", *options, source, place)
    assert reported(ended) == {"file", "large", "dir", "kind"}
    if "--delete" not in options:
        assert leaves(place) == before
        return
    assert leaves(place) == {}
    syncron.ok(*options, source, place)
    assert_copied(source, place)


def test_a_rename_that_changes_the_case_only_is_reported(
    syncron: Command, place: Path, tmp_path: Path
) -> None:
    """No system call does it in one step; nothing is deleted before somebody has seen to it."""
    source = tmp_path / "src"
    make(source, {"Name": noise(5000), "Dir": {"a": b"1", "b": {"c": noise(9000)}}, "same": b"s"})
    syncron.ok(source, place)
    before = leaves(place)
    (source / "Name").rename(source / "nAME")
    (source / "Dir").rename(source / "dIR")
    ended = syncron("--json", "--delete", source, place)
    assert {"nAME", "dIR"} <= reported(ended)
    assert leaves(place) == before
    for old, new in (("Name", "nAME"), ("Dir", "dIR")):
        (place / old).rename(place / "aside")
        (place / "aside").rename(place / new)
    syncron.ok("--delete", source, place)
    assert_copied(source, place)
