"""Which replicas there are: what two say of them, put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.table import Malformed, Reader
from syncron_lib.core.twoway.roster import (
    NOBODY,
    Member,
    Roster,
    pack_replicas,
    pack_roster,
    read_replicas,
    read_roster,
)

A, B, C = (bytes([letter]) * 16 for letter in b"ABC")

members = st.builds(
    Member, st.sampled_from([b"", b"a:/", b"b:/\xff"]), st.integers(0, 3), st.booleans()
)
rosters = st.builds(Roster, st.dictionaries(st.sampled_from([A, B, C]), members))


@given(rosters, rosters, rosters)
def test_in_whatever_order_it_is_heard(one: Roster, other: Roster, third: Roster) -> None:
    assert one.joined(one) == one
    assert one.joined(NOBODY) == one
    assert one.joined(other) == other.joined(one)
    assert one.joined(other).joined(third) == one.joined(other.joined(third))
    assert one.joined(other).retired == one.retired | other.retired


def test_the_later_name_counts_and_what_is_gone_stays_so() -> None:
    named = NOBODY.named(A, b"old:/").named(A, b"new:/")
    assert named.named(A, b"new:/") == named
    assert NOBODY.named(A, b"old:/").joined(named).members[A].label == b"new:/"
    gone = NOBODY.without(A)
    assert gone.retired == {A}
    assert named.joined(gone).named(A, b"again:/").retired == {A}


def test_whatever_count_another_told_a_name_can_be_given() -> None:
    told = NOBODY.joined(Roster({A: Member(b"told:/", (1 << 64) - 1)}))
    named = told.named(A, b"mine:/")
    assert named.members[A].label == b"mine:/"
    assert read_roster(Reader(pack_roster(named))) == named


@given(rosters)
def test_it_comes_back_as_it_was(roster: Roster) -> None:
    reader = Reader(pack_roster(roster))
    assert read_roster(reader) == roster
    reader.finish()
    reader = Reader(pack_replicas(roster.retired))
    assert read_replicas(reader) == roster.retired
    reader.finish()


@given(st.one_of(st.binary(max_size=60), rosters.map(lambda each: pack_roster(each)[:-1])))
def test_noise_is_refused(data: bytes) -> None:
    for read in (read_roster, read_replicas):
        reader = Reader(data)
        try:
            read(reader)
            reader.finish()
        except Malformed:
            continue
        packed = pack_roster(read_roster(Reader(data))) if read is read_roster else data
        assert packed == data


@pytest.mark.parametrize(
    "packed",
    [
        pack_roster(Roster({A: Member()}))[4:] * 2,
        pack_roster(Roster({A: Member(b"l" * 9000)})),
    ],
)
def test_what_cannot_be_one_is_refused(packed: bytes) -> None:
    count = b"\2\0\0\0" if packed[:1] == b"A" else b""
    with pytest.raises(Malformed):
        read_roster(Reader(count + packed))
