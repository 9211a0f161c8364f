"""Packed tables: the identity on tables, and `Malformed` on anything else."""

import stat
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.table import (
    EMPTY,
    Malformed,
    Reader,
    Table,
    chosen,
    pack,
    unpack,
    without,
)
from tests.core.tables import Row, normal, rows_of, table, tables

FILE = stat.S_IFREG | 0o644


def _unpack_whole(data: bytes) -> Table:
    reader = Reader(data)
    found = unpack(reader)
    reader.finish()
    return found


@given(tables())
def test_unpack_undoes_pack(original):
    assert normal(_unpack_whole(pack(original))) == normal(original)


def test_problems_cross():
    original = table(Row(b"broken", 0, size=13), Row(b"whole", FILE, 5))
    assert normal(_unpack_whole(pack(original))) == normal(original)


@given(tables(), tables())
def test_packed_tables_are_equal_exactly_when_the_tables_are(one, other):
    assert (pack(one) == pack(other)) == (normal(one) == normal(other))


@given(tables(), st.data())
def test_every_truncation_is_malformed(original, data):
    packed = pack(original)
    length = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(Malformed):
        _unpack_whole(packed[:length])


@given(tables())
def test_trailing_bytes_are_malformed(original):
    with pytest.raises(Malformed):
        _unpack_whole(pack(original) + b"\0")


@given(tables(), st.data())
def test_a_mutation_is_malformed_or_another_table_in_order(original, data):
    packed = bytearray(pack(original))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] = data.draw(st.integers(0, 255))
    try:
        found = _unpack_whole(bytes(packed))
    except Malformed:
        return
    # What is accepted is what packing would make: there are no two spellings of a table.
    assert pack(found) == packed


@given(st.binary(max_size=200))
def test_noise_is_malformed(data):
    try:
        found = _unpack_whole(data)
    except Malformed:
        return
    assert pack(found) == data


@pytest.mark.parametrize(
    "names",
    [
        [b"b", b"a"],
        [b"a", b"a"],
        [b""],
        [b"."],
        [b".."],
        [b"a", b"x/y"],
        [b"/"],
        [b"a\0b"],
        [b"x" * 256],
    ],
)
def test_names_that_a_sorted_directory_cannot_have(names):
    count = len(names)
    bad = Table(
        names, [FILE] * count, [0] * count, [0] * count, [0] * count, [0] * count, b"", ()
    )._replace(digests=bytes(16 * count))
    with pytest.raises(Malformed):
        _unpack_whole(pack(bad))


@pytest.mark.parametrize(
    "row",
    [
        Row(b"a", 0o644),  # permissions of nothing
        Row(b"a", 0o110000),  # a file type that no system has
        Row(b"a", FILE | 1 << 16),
        Row(b"a", FILE, size=1 << 63),
        Row(b"a", 0, size=1 << 40),  # an errno that no system has
        Row(b"a", 0, size=0),
        Row(b"a", stat.S_IFLNK | 0o777, target=b"t" * 65537),
        Row(b"a", stat.S_IFLNK | 0o777, target=b""),
    ],
)
def test_rows_that_no_scan_makes(row):
    with pytest.raises(Malformed):
        _unpack_whole(pack(table(row)))


def test_a_target_for_each_symlink_and_no_other():
    link = Row(b"a", stat.S_IFLNK | 0o777, target=b"t")
    for targets in ([], [b"t", b"u"]):
        with pytest.raises(Malformed):
            _unpack_whole(pack(table(link)._replace(targets=targets)))
    with pytest.raises(Malformed):
        _unpack_whole(pack(table(Row(b"a", FILE))._replace(targets=[b"t"])))


@pytest.mark.parametrize("count", [1, 1000, 1 << 24, (1 << 32) - 1])
def test_a_count_that_the_frame_cannot_hold_allocates_nothing(count):
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            unpack(Reader(struct.pack("<I", count) + bytes(40)))
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [1, 1 << 20, (1 << 32) - 1])
def test_a_length_that_the_frame_cannot_hold(length):
    with pytest.raises(Malformed):
        Reader(struct.pack("<I", length)).blob()


@given(tables(max_rows=8), st.data())
def test_chosen_rows_keep_what_is_theirs(original, data):
    rows = rows_of(original)
    wanted = data.draw(
        st.lists(st.sampled_from(range(len(rows))), unique=True) if rows else st.just([])
    )
    wanted.sort()
    assert rows_of(chosen(original, wanted)) == [rows[row] for row in wanted]
    left_out = {rows[row].name for row in wanted}
    expected = [row for row in rows if row.name not in left_out]
    assert rows_of(without(original, left_out)) == expected


def test_the_empty_table():
    assert normal(_unpack_whole(pack(EMPTY))) == normal(EMPTY)
    assert bytes(16) == digest.UNKNOWN
