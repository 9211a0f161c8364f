"""Who is who: replicas that meet, and what a side keeps of what it is about to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.table import Malformed, Reader
from syncron_lib.core.twoway.identity import (
    Known,
    Renewal,
    Ticks,
    pack_ticks,
    read_ticks,
    renewals,
    with_tick,
)
from syncron_lib.core.twoway.intents import Intents, pack_intents, read_intents
from syncron_lib.core.twoway.knowledge import Untouched
from syncron_lib.core.twoway.records import Record
from tests.core.test_twoway_records import knowledge, paths, records

A, B, C = (bytes([letter]) * 16 for letter in b"ABC")
NUMBER, OTHER = b"8 bytes.", b"another."


def known(replica: bytes, counter: int, **more: object) -> Known:
    latest = more.get("latest", {replica: counter})
    ticks, retired = more.get("ticks", Ticks({})), more.get("retired", frozenset())
    return Known(replica, counter, latest, ticks, retired)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (known(A, 3), known(B, 5), (Renewal.NONE, Renewal.NONE)),
        (known(A, 3), known(A, 3), (Renewal.NONE, Renewal.IDENTITY)),
        (known(A, 3), known(B, 1, latest={A: 4}), (Renewal.IDENTITY, Renewal.NONE)),
        (known(A, 3, latest={B: 9}), known(B, 8), (Renewal.NONE, Renewal.IDENTITY)),
        (
            known(A, 3, ticks=Ticks({C: {2: NUMBER}})),
            known(B, 3, ticks=Ticks({C: {2: OTHER, 3: NUMBER}})),
            (Renewal.NONE, Renewal.EVERYTHING),
        ),
        (
            known(A, 3, ticks=Ticks({C: {2: NUMBER}})),
            known(B, 3, ticks=Ticks({C: {3: OTHER}})),
            (Renewal.NONE, Renewal.NONE),
        ),
        (known(A, 3, retired={B, C}), known(B, 5), (Renewal.NONE, Renewal.IDENTITY)),
        (known(A, 3), known(B, 5, retired={A, B}), (Renewal.IDENTITY, Renewal.IDENTITY)),
    ],
    ids=[
        *("strangers", "copies", "first restored", "second restored", "two of one", "one of one"),
        *("second is gone", "both are gone"),
    ],
)
def test_what_two_that_meet_must_become(
    first: Known, second: Known, expected: tuple[Renewal, Renewal]
) -> None:
    assert renewals(first, second) == expected


def test_the_numbers_of_the_last_ticks_are_kept_and_no_more() -> None:
    ticks = Ticks({})
    for tick in range(1, 40):
        ticks = with_tick(ticks, A, tick, b"%08d" % tick)
    assert len(ticks.numbers[A]) == 16
    assert ticks.nonce(A, 39) == b"00000039"
    assert ticks.nonce(A, 1) is None
    assert ticks.joined(Ticks({B: {1: NUMBER}})).nonce(B, 1) == NUMBER


numbers = st.dictionaries(st.integers(1, 99), st.binary(min_size=8, max_size=8), max_size=16)
ticks = st.builds(Ticks, st.dictionaries(st.sampled_from([A, B, C]), numbers))


@given(ticks)
def test_ticks_come_back_as_they_were(known_ticks: Ticks) -> None:
    reader = Reader(pack_ticks(known_ticks))
    assert read_ticks(reader) == known_ticks
    reader.finish()


@st.composite
def intents(draw: st.DrawFn) -> Intents:
    wanted: dict[bytes, Record | None] = draw(st.dictionaries(paths, st.none() | records()))
    untouched = Untouched(draw(st.frozensets(paths)), draw(st.frozensets(paths)))
    return Intents(wanted, draw(knowledge), draw(ticks), untouched, draw(st.booleans()))


@given(intents())
def test_intents_come_back_as_they_were(given_intents: Intents) -> None:
    assert read_intents(pack_intents(given_intents)) == given_intents


@given(intents(), st.data())
def test_damaged_intents_are_refused_or_are_intents(
    given_intents: Intents, data: st.DataObject
) -> None:
    packed = bytearray(pack_intents(given_intents))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(packed), bytes(packed[:place])):
        try:
            read_intents(damaged)
        except Malformed:
            pass
