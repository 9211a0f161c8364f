"""How users and groups of the source are numbered at the receiver, where the run says so itself:
``--usermap``, ``--groupmap``, ``--chown``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional

from syncron_lib.record import NamedTuple

LARGEST = 2**32 - 2
"""One more stands for none."""


class IdRule(NamedTuple):
    """Which of the source's ids get another: those from ``low`` to ``high``, or, where that is no
    range (``low`` is larger), those whose name matches ``name``, a pattern with wildcards; an empty
    one is matched by ids without a name. ``target``: a number or a name at the receiver."""

    low: int
    high: int
    name: bytes
    target: bytes


class IdOptions(NamedTuple):
    """``numeric``: numbers are kept, whatever their names; else the receiver's number of the same
    name is given. The first rule that matches goes before that."""

    numeric: bool = False
    users: Sequence[IdRule] = ()
    groups: Sequence[IdRule] = ()


def parse_map(text: str) -> tuple[IdRule, ...]:
    """``FROM:TO,...`` as rsync has it. ValueError says what is wrong."""
    return tuple(map(_parse_rule, text.split(",")))


def _parse_rule(text: str) -> IdRule:
    source, colon, target = text.partition(":")
    if not colon or not target or "\0" in text:
        raise ValueError("expected FROM:TO, several of them with commas between")
    _require_id(target)
    numbers = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", source)
    if numbers is None:
        return IdRule(1, 0, source.encode("utf-8", "surrogateescape"), _bytes(target))
    _require_id(numbers[1])
    _require_id(numbers[2] or "0")
    low = int(numbers[1])
    high = low if numbers[2] is None else int(numbers[2])
    if high < low:
        raise ValueError(f"expected the range {source} to go up")
    return IdRule(low, high, b"", _bytes(target))


def parse_chown(text: str) -> tuple[tuple[IdRule, ...], tuple[IdRule, ...]]:
    """``USER:GROUP``, or one of them with or without the colon: rules for all users, all groups."""
    user, _, group = text.partition(":")
    if not (user or group) or "\0" in text or ":" in group:
        raise ValueError("expected USER:GROUP, USER or :GROUP")
    for each in (user, group):
        _require_id(each)
    return tuple(_all_to(user)), tuple(_all_to(group))


def _all_to(target: str) -> Sequence[IdRule]:
    return [IdRule(1, 0, b"*", _bytes(target))] if target else []


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _require_id(text: str) -> None:
    if text.isdecimal() and (len(text) > 10 or int(text) > LARGEST):
        raise ValueError(f"expected numbers up to {LARGEST}")


def target_of(rules: Sequence[IdRule], number: int, name: bytes) -> Optional[bytes]:
    """What the first rule that matches an id makes of it."""
    for rule in rules:
        if rule.low <= number <= rule.high or (rule.low > rule.high and _matches(rule.name, name)):
            return rule.target
    return None


def _matches(pattern: bytes, name: bytes) -> bool:
    if not pattern or not any(sign in pattern for sign in b"*?["):
        return pattern == name
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern)
