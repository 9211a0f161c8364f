"""Whose things become whose, as the command line says it."""

from __future__ import annotations

import pytest

from syncron_lib.core.ids import IdRule, parse_chown, parse_map, target_of


def test_maps_are_parsed() -> None:
    assert parse_map("0-99:nobody,wayne:7,:x,*:y") == (
        IdRule(0, 99, b"", b"nobody"),
        IdRule(1, 0, b"wayne", b"7"),
        IdRule(1, 0, b"", b"x"),
        IdRule(1, 0, b"*", b"y"),
    )
    every = IdRule(1, 0, b"*", b"u")
    assert parse_chown("u") == parse_chown("u:") == ((every,), ())
    assert parse_chown(":g") == ((), (every._replace(target=b"g"),))


@pytest.mark.parametrize("text", ["", "a", "a:", "9-1:x", "1:4294967295", "99999999999:x", "a:b,"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_map(text)


@pytest.mark.parametrize("text", ["", ":", "a:b:c", "4294967295"])
def test_nonsense_for_all_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_chown(text)


@pytest.mark.parametrize(
    ("number", "name", "target"),
    [
        (5, b"five", b"low"),
        (50, b"wayne", b"w"),
        (50, b"", b"none"),
        (50, b"wilma", b"wil"),
        (50, b"w*", None),
        (50, b"other", None),
    ],
)
def test_the_first_that_matches_decides(number: int, name: bytes, target: bytes | None) -> None:
    rules = parse_map("0-9:low,wayne:w,5:never,:none,w?l*:wil")
    assert target_of(rules, number, name) == target
