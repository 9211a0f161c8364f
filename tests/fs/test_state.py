"""State is a cache: damaged it is set aside and built anew, newer it is left alone."""

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.errors import Exit, StateUnusable
from syncron_lib.fs.state import Row, State, file_stem, state_directory
from tests.fs.roots import as_user, public_directory
from tests.protocol.values import paths
from tests.trees import noise

PAGE = 16384


def _row(path: bytes, size: int = 20) -> Row:
    seed = len(path) + sum(path)
    return Row(path, noise(size, seed), b"d" * 16, b"t", b"e", b"s", b"m" * 16)


ROWS = [_row(b"%s" % path, 2000) for path in (b"", *(b"dir%02d" % i for i in range(60)))]


def _save(path: Path, rows: list[Row]) -> None:
    state = State(os.fsencode(path))
    state.save(rows, [], {"profile": b"p", "root": b"/r"})
    state.close()


def _rows(path: Path) -> list[Row]:
    state = State(os.fsencode(path))
    try:
        assert state.warnings == []
        return list(state.rows())
    finally:
        state.close()


@given(st.sets(paths(), max_size=12))
def test_rows_come_in_the_order_of_a_depth_first_walk(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("state") / "s.db"
    _save(path, [_row(each) for each in found])
    walk = sorted(found, key=lambda each: each.split(b"/") if each else [])
    assert _rows(path) == [_row(each) for each in walk]


def test_saving_adds_replaces_and_removes(tmp_path):
    path = tmp_path / "s.db"
    _save(path, [_row(b""), _row(b"a"), _row(b"a/b")])
    state = State(os.fsencode(path))
    state.save([_row(b"a", 99), _row(b"new")], [b"a/b", b"never"], {"root": b"other"})
    assert (state.get("root"), state.get("profile"), state.get("none")) == (b"other", b"p", b"")
    state.close()
    assert _rows(path) == [_row(b""), _row(b"a", 99), _row(b"new")]


def test_a_save_that_fails_leaves_what_was(tmp_path):
    path = tmp_path / "s.db"
    _save(path, [_row(b"a")])
    state = State(os.fsencode(path))

    def rows():
        yield _row(b"b")
        raise OSError("while rows are made")

    with pytest.raises(OSError, match="while rows"):
        state.save(rows(), [b"a"], {})
    state.save([_row(b"c")], [], {})
    state.close()
    assert _rows(path) == [_row(b"a"), _row(b"c")]


def test_files_are_told_apart_by_root_and_scope():
    stems = {file_stem(b"/a"), file_stem(b"/b"), file_stem(b"/a", b"f"), file_stem(b"/a/f")}
    assert len(stems) == 4


# --- damage ------------------------------------------------------------------------------------


def _use(path: Path) -> list[str]:
    """What a run does with state; returns its warnings. Nothing but `StateUnusable` may end it."""
    state = State(os.fsencode(path))
    try:
        try:
            for row in state.rows():
                assert row in ROWS, "a damaged row passed for a good one"
        except sqlite3.DatabaseError:
            state.reset()
        assert isinstance(state.get("profile"), bytes)
        try:
            state.save(ROWS, [], {"profile": b"p"})
        except sqlite3.DatabaseError:
            # The next run can save again, without anybody's help.
            state.save(ROWS, [], {"profile": b"p"})
        return state.warnings
    finally:
        state.close()


def _is_whole_after(path: Path, damaged: bytes) -> None:
    path.write_bytes(damaged)
    try:
        warnings = _use(path)
    except StateUnusable:
        # Only what says that it is newer is left alone, and then untouched.
        assert path.read_bytes() == damaged
        version = int.from_bytes(damaged[60:64], "big", signed=True)
        assert version > 1
        return
    assert _rows(path) == ROWS
    aside = path.with_name(path.name + ".damaged")
    if warnings:
        assert str(aside) in warnings[0]
        assert aside.exists()
        aside.unlink()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "s.db"
    _save(path, ROWS)
    data = path.read_bytes()
    assert len(data) > 8 * PAGE
    return data


def _pages(data: bytes) -> range:
    return range(len(data) // PAGE)


def test_flipped_bytes_on_every_page(tmp_path, whole):
    for page in _pages(whole):
        for offset in (0, 1, 5, 9, 40, PAGE // 2, PAGE - 3):
            damaged = bytearray(whole)
            damaged[page * PAGE + offset] ^= 0xFF
            _is_whole_after(tmp_path / "s.db", bytes(damaged))


def test_every_byte_of_the_header(tmp_path, whole):
    for offset in range(0, 130, 2):
        damaged = bytearray(whole)
        damaged[offset] ^= 0x81
        _is_whole_after(tmp_path / "s.db", bytes(damaged))


def test_every_page_zeroed(tmp_path, whole):
    for page in _pages(whole):
        start = page * PAGE
        _is_whole_after(tmp_path / "s.db", whole[:start] + bytes(PAGE) + whole[start + PAGE :])


def test_every_truncation_by_page_and_within_one(tmp_path, whole):
    for page in _pages(whole):
        for length in (page * PAGE, page * PAGE + 100):
            _is_whole_after(tmp_path / "s.db", whole[:length])


def test_all_zeros_and_noise(tmp_path, whole):
    _is_whole_after(tmp_path / "s.db", bytes(len(whole)))
    _is_whole_after(tmp_path / "s.db", noise(len(whole)))
    _is_whole_after(tmp_path / "s.db", b"not a database at all\n")


def test_what_is_damaged_is_kept_aside_and_said(tmp_path):
    path = tmp_path / "s.db"
    path.write_bytes(b"not a database at all\n" * 100)
    state = State(os.fsencode(path))
    assert len(state.warnings) == 1
    assert "s.db.damaged" in state.warnings[0]
    assert (tmp_path / "s.db.damaged").read_bytes() == b"not a database at all\n" * 100
    assert list(state.rows()) == []
    state.close()


def test_a_damaged_row_is_left_out_and_the_others_stay(tmp_path, whole):
    at = whole.index(ROWS[7].stats)
    damaged = bytearray(whole)
    damaged[at + 10] ^= 1
    path = tmp_path / "s.db"
    path.write_bytes(damaged)
    assert _rows(path) == [row for row in ROWS if row != ROWS[7]]


def test_state_of_a_newer_version_is_refused_and_untouched(tmp_path, whole):
    path = tmp_path / "s.db"
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StateUnusable, match=r"newer syncron .*version 99") as caught:
        State(os.fsencode(path))
    assert caught.value.exit_code == Exit.STATE
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s.db"]


# --- where it is kept --------------------------------------------------------------------------


def test_the_state_directory_is_private(tmp_path):
    base = tmp_path / "not" / "there"
    found = state_directory({"XDG_STATE_HOME": str(base)})
    assert found == os.fsencode(base / "syncron")
    assert os.stat(found).st_mode & 0o777 == 0o700


def test_a_relative_state_home_is_ignored(home):
    found = state_directory({"XDG_STATE_HOME": "relative"})
    assert found == os.fsencode(home / ".local" / "state" / "syncron")


def test_a_state_directory_that_cannot_be_written_to():
    def message(base: Path) -> str:
        try:
            state_directory({"XDG_STATE_HOME": str(base)})
        except StateUnusable as error:
            return error.message
        return "no error"

    with public_directory() as base:
        (base / "syncron").mkdir(mode=0o555)
        assert "cannot be written to" in as_user(lambda: message(base))
        (base / "syncron").rmdir()
        base.chmod(0o555)
        assert "cannot be made" in as_user(lambda: message(base))


def test_a_state_file_that_cannot_be_written():
    def outcome(path: Path) -> str:
        try:
            state = State(os.fsencode(path))
        except StateUnusable as error:
            return error.message
        try:
            state.save([_row(b"a")], [], {})
        except sqlite3.DatabaseError as error:
            return str(error)
        return "no error"

    with public_directory() as base:
        base.chmod(0o555)
        assert "cannot be used" in as_user(lambda: outcome(base / "s.db"))
        base.chmod(0o755)
        _save(base / "s.db", [_row(b"b")])
        (base / "s.db").chmod(0o444)
        assert "readonly" in as_user(lambda: outcome(base / "s.db"))
        assert _rows(base / "s.db") == [_row(b"b")]
