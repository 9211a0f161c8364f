"""Names and paths: what may be one, and how one is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import names
from tests.trees import ODD_NAMES, valid_names


@pytest.mark.parametrize("name", [*ODD_NAMES, b"a", b".hidden", b"..a", b"a..", b"x" * 255])
def test_names_that_a_directory_can_hold(name):
    assert names.is_valid_name(name)
    assert names.is_valid_path(b"d/" + name)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"\0", b"x" * 256])
def test_names_that_no_directory_can_hold(name):
    assert not names.is_valid_name(name)


@pytest.mark.parametrize(
    "path",
    [b"/", b"/a", b"a/", b"a//b", b"..", b"../a", b"a/..", b"a/../b", b"./a", b"a/.", b"a/b\0c"]
    + [b"a/" + b"x" * 256],
)
def test_paths_that_lead_out_or_nowhere(path):
    assert not names.is_valid_path(path)


def test_the_root_is_a_path():
    assert names.is_valid_path(b"")


@given(st.lists(valid_names(), min_size=1, max_size=5))
def test_split_undoes_join(components):
    path = b""
    for name in components:
        parent, path = path, names.join(path, name)
        assert names.is_valid_path(path)
        assert names.split(path) == (parent, name)
    assert path.split(b"/") == components


def test_below_is_by_component():
    assert names.is_below(b"a/b", b"a")
    assert names.is_below(b"a", b"a")
    assert names.is_below(b"anything", b"")
    assert not names.is_below(b"ab", b"a")
    assert not names.is_below(b"a", b"a/b")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain name.txt", "plain name.txt"),
        ("grün/日本".encode(), "grün/日本"),
        (b"a\nb", "a\\#012b"),
        (b"\x1b[31mred", "\\#033[31mred"),
        (b"\x7f", "\\#177"),
        (b"\xff\xfe", "\\#377\\#376"),
        ("\u202e.txt".encode(), "\\#342\\#200\\#256.txt"),
        ("\u200b".encode(), "\\#342\\#200\\#213"),
        ("\u2028".encode(), "\\#342\\#200\\#250"),
        ("\x85".encode(), "\\#302\\#205"),
        (b"\xc3", "\\#303"),
    ],
)
def test_shown_escapes_what_acts_on_a_terminal(name, shown):
    assert names.shown(name) == shown


@given(st.binary(max_size=40))
def test_shown_is_one_line_that_can_be_written_anywhere(name):
    text = names.shown(name)
    assert text.encode("utf-8").decode("utf-8") == text
    assert len(text.splitlines()) <= 1
    assert all(char.isprintable() or char.isspace() for char in text)
    assert "\x1b" not in text
