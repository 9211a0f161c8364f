"""Which snapshots are kept, by their names alone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.retention import (
    NAME_FORMAT,
    Retention,
    free_name,
    is_snapshot,
    parse_retention,
)


def name(moment: datetime) -> bytes:
    return moment.strftime(NAME_FORMAT).encode()


def hourly(days: int) -> list[bytes]:
    start = datetime(2026, 1, 1, 0, 30, tzinfo=timezone.utc)
    return [name(start + timedelta(hours=hour)) for hour in range(24 * days)]


def test_what_is_a_snapshot() -> None:
    assert is_snapshot(b"2026-11-28T034500Z")
    for other in (b"latest", b"incomplete", b"2026-11-28T034500Z~", b"2026-13-01T000000Z"):
        assert not is_snapshot(other)
    assert not is_snapshot(b"2026-02-30T000000Z")


def test_a_year_of_hours() -> None:
    names = hourly(365)
    rules = parse_retention("hourly=24,daily=7,weekly=4,monthly=12,yearly=5")
    kept = sorted(set(names) - set(rules.dropped(names)))
    assert kept[-24:] == names[-24:]
    assert [each[:10] for each in kept][-30:-24] == [b"2026-12-%d" % day for day in range(25, 31)]
    months = {each[:7] for each in kept}
    assert len(months) == 12
    # The newest of a month is its last.
    assert b"2026-01-31T233000Z" in kept
    assert len(kept) <= 24 + 7 + 4 + 12 + 1


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ("last=1", [3]),
        ("last=3", [1, 2, 3]),
        ("daily=2", [2, 3]),
        ("weekly=1", [3]),
        ("monthly=2", [1, 3]),
        ("yearly=9", [0, 3]),
    ],
)
def test_a_rule_keeps_the_newest_of_each_period(rules: str, kept: list[int]) -> None:
    names = [
        b"2025-12-31T100000Z",
        b"2026-01-30T100000Z",
        b"2026-02-01T100000Z",
        b"2026-02-02T100000Z",
    ]
    dropped = parse_retention(rules).dropped([*names, b"latest", b"notes"])
    assert dropped == [each for at, each in enumerate(names) if at not in kept]


@given(
    st.lists(st.integers(1_500_000_000, 1_900_000_000), max_size=60),
    st.dictionaries(
        st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"]),
        st.integers(1, 20),
        min_size=1,
    ),
)
def test_dropping_again_drops_nothing_more(moments: list[int], rules: dict[str, int]) -> None:
    names = {name(datetime.fromtimestamp(each, timezone.utc)) for each in moments}
    retention = Retention(tuple(rules.items()))
    kept = names - set(retention.dropped(names))
    assert retention.dropped(kept) == []
    assert not names or max(names) in kept
    assert len(kept) <= max(1, sum(rules.values()))


@pytest.mark.parametrize(
    "text", ["", "daily", "daily=0", "daily=-1", "minutely=4", "daily=1,daily=2", "daily=x"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match="expected how many to keep"):
        parse_retention(text)


def test_a_name_that_is_taken() -> None:
    wanted = b"2026-11-28T034558Z"
    assert free_name(wanted, []) == wanted
    assert free_name(wanted, [wanted]) == b"2026-11-28T034559Z"
    assert free_name(wanted, [wanted, b"2026-11-28T034559Z"]) is None
