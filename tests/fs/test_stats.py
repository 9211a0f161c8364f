"""Packed stat columns, and when a digest may be believed."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.table import Malformed
from syncron_lib.fs import stats
from syncron_lib.fs.stats import is_settled, is_settled_as_written
from tests.trees import valid_names

S = 1_000_000_000
NOW = 1_700_000_000 * S + 123_456_789
OLD = NOW - 3600 * S + 1

_u32, _u64, _i64 = (
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
)


@st.composite
def stat_rows(draw: st.DrawFn) -> list[stats.StatRow]:
    names = sorted(draw(st.lists(valid_names(), unique=True, max_size=5)))
    return [
        (name, *(draw(kind) for kind in (_u32, _u64, _i64, _i64, _u64, _u32, _u32)))  # type: ignore[misc]
        for name in names
    ]


@given(stat_rows())
def test_unpack_undoes_pack(rows):
    assert list(zip(*stats.unpack(stats.pack(rows)))) == rows


@given(stat_rows(), st.sets(st.integers(0, 3)))
def test_sizes_are_found_in_packed_rows(rows, sizes):
    rows = [(row[0], row[1], row[2] % 5, *row[3:]) for row in rows]
    assert stats.has_one_of(sizes, stats.pack(rows)) == any(row[2] in sizes for row in rows)


@given(stat_rows(), st.data())
def test_damage_is_malformed_or_other_rows(rows, data):
    packed = bytearray(stats.pack(rows))
    if not packed:
        return
    with pytest.raises(Malformed):
        stats.unpack(bytes(packed[: data.draw(st.integers(1, len(packed) - 1))]))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = stats.unpack(bytes(packed))
    except Malformed:
        return
    assert len(found.names) == len(found.gids)


@given(st.binary(max_size=60))
def test_noise_is_malformed_or_rows(data):
    try:
        found = stats.unpack(data)
    except Malformed:
        return
    assert stats.pack(list(zip(*found))) == data


def test_no_rows_are_no_bytes():
    assert stats.pack([]) == b""
    with pytest.raises(Malformed):
        stats.unpack(bytes(8))


def test_times_that_64_bits_cannot_hold_are_the_nearest(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    os.utime(tmp_path / "f", ns=(0, 2**65))
    status = os.stat(tmp_path / "f")
    row = stats.row(b"f", status)
    # A file system without such times has clamped it by itself, to some other limit.
    assert row[3] == min(status.st_mtime_ns, 2**63 - 1)
    assert list(zip(*stats.unpack(stats.pack([row])))) == [row]


def test_the_row_of_a_file_on_disk(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"12345")
    st_ = os.stat(file)
    assert stats.row(b"f", st_) == (
        b"f",
        st_.st_mode,
        5,
        st_.st_mtime_ns,
        st_.st_ctime_ns,
        st_.st_ino,
        st_.st_uid,
        st_.st_gid,
    )
    assert stats.row(b"d", os.stat(tmp_path))[2] == 0, "a directory's size says nothing"
    assert stats.row(b"null", os.stat("/dev/null"))[2] == os.makedev(1, 3)


@pytest.mark.parametrize(
    ("mtime", "ctime", "settled"),
    [
        (OLD, OLD, True),
        (OLD, NOW, False),
        (OLD, NOW - 50_000_000, False),
        (OLD, NOW - 50_000_001, True),
        (NOW - 1, OLD, False),  # a file system whose ctime is none
        (NOW + 1, OLD, False),
        (NOW + 3600 * S, OLD, True),  # or it would be read again in every run
        (OLD, NOW + 3600 * S, False),  # a clock that was put back
        (OLD, NOW // S * S, False),  # whole seconds: a coarse file system
        (OLD, NOW // S * S - S, False),
        (OLD, NOW // S * S - 2 * S, True),
    ],
)
def test_a_digest_is_settled_if_a_later_change_would_show(mtime, ctime, settled):
    assert is_settled(mtime, ctime, NOW) is settled


@pytest.mark.parametrize(
    ("mtime", "ctime", "settled"),
    [
        (OLD, NOW, True),
        (NOW, NOW, False),
        (NOW - 50_000_000, NOW, False),
        (NOW - 50_000_001, NOW, True),
        (NOW + 60 * S, NOW, True),
        (NOW // S * S - S, NOW // S * S, False),
    ],
)
def test_what_we_wrote_is_settled_if_its_mtime_is_another(mtime, ctime, settled):
    assert is_settled_as_written(mtime, ctime) is settled
