"""What is linked from an alternate where names of files and attributes count."""

from __future__ import annotations

import pytest

from syncron_lib.core.extend import Marked
from syncron_lib.core.extended import Mark
from syncron_lib.core.links import Group
from syncron_lib.core.sharing import Apart, links_apart, marks_apart

FILE, DIRECTORY, LINK = 0o100644, 0o040755, 0o120777
ONE, TWO = Mark(bytes(16), b"1" * 16), Mark(bytes(16), b"2" * 16)


def group(*paths: bytes, mode: int = FILE) -> Group:
    return Group(mode, 1, paths)


@pytest.mark.parametrize(
    ("source", "alternate", "missing", "barred"),
    [
        ("the same names", [group(b"a", b"b")], b"", set()),
        ("a name more", [group(b"a", b"b", b"c")], b"", {b"a", b"b", b"c"}),
        ("a name more that the source has not", [group(b"a", b"b", b"gone/c")], b"", set()),
        ("a name less", [group(b"a", b"gone/c")], b"", {b"a", b"b"}),
        ("two files", [], b"", {b"a", b"b"}),
        ("one that is there already", [group(b"a", b"b")], b"b", {b"a", b"b"}),
        ("files of their own", [group(b"a", b"b"), group(b"x", b"y")], b"", {b"x", b"y"}),
    ],
)
def test_names(source: str, alternate: list[Group], missing: bytes, barred: set[bytes]) -> None:
    found = links_apart(
        [group(b"a", b"b")],
        alternate,
        False,
        lambda path: path != missing,
        lambda path: path.startswith(b"gone/"),
    )
    assert found == Apart(barred, {b"a", b"b"}), source


def test_names_that_are_never_taken() -> None:
    both = [group(b"a", b"b", mode=LINK)], [group(b"a", b"b", mode=LINK)]
    assert links_apart(*both, False, lambda _: True, lambda _: False).barred == {b"a", b"b"}
    both = [group(b"a", b"b")], [group(b"a", b"b")]
    assert links_apart(*both, True, lambda _: True, lambda _: False).barred == {b"a", b"b"}


def test_attributes() -> None:
    source = {
        b"same": Marked(FILE, 1, ONE),
        b"other": Marked(FILE, 1, ONE),
        b"more": Marked(FILE, 1, ONE),
        b"d": Marked(DIRECTORY, 0, ONE),
    }
    alternate = {
        b"same": Marked(FILE, 1, ONE),
        b"other": Marked(FILE, 1, TWO),
        b"fewer": Marked(FILE, 1, ONE),
        b"d": Marked(DIRECTORY, 0, ONE),
        b"plain": Marked(DIRECTORY, 0, ONE),
    }
    opened = {b"d"}
    assert marks_apart(source, alternate, False) == Apart({b"other", b"more", b"fewer"}, opened)
    # A copy has none.
    assert marks_apart(source, alternate, True) == Apart({b"same", b"other", b"more"}, opened)
