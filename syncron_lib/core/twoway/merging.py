"""Merging what was changed on both sides: which files, by what command, and from which base.

A base is only worth having if both versions were made of it. That is told by events as all else is:
what both sides know of a path lies in the past of what each has there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Optional

from syncron_lib.core.options import MergeRule
from syncron_lib.core.rules.wildmatch import Dialect, expression, parse
from syncron_lib.core.twoway.dots import Dots, Vector, any_known
from syncron_lib.core.twoway.records import Record
from syncron_lib.record import NamedTuple

MOST = 1 << 20
"""Bytes of a version that is merged or shown, and of a base that is kept."""
_PLACE = re.compile(r"\{(base|a|b|out)\}")


class Merged(NamedTuple):
    """What two versions were merged to."""

    fp: bytes
    size: int
    mtime: int


class Base(NamedTuple):
    """The content that both sides had last, with the events of that version and of its life."""

    fp: bytes
    made: Dots
    born: Dots

    def is_before(self, one: Record, known: Vector) -> bool:
        """Whether a version was made of it, by a side that knows so much."""
        return any_known(self.made, known) and bool(self.born & one.born)


def rule_for(rules: Sequence[MergeRule], path: bytes) -> Optional[MergeRule]:
    """The first rule whose pattern matches: the name, or the whole path if there is a slash."""
    name = path.rpartition(b"/")[2]
    for rule in rules:
        matcher = _matcher(rule.pattern)
        if matcher is not None and matcher.fullmatch(path if b"/" in rule.pattern else name):
            return rule
    return None


@lru_cache(maxsize=256)
def _matcher(pattern: bytes) -> Optional[re.Pattern[bytes]]:
    tokens = parse(pattern.lstrip(b"/"), Dialect.RSYNC)
    return None if tokens is None else re.compile(expression(tokens), re.DOTALL)


def named(words: Sequence[str], place: str) -> bool:
    """Whether a command names a place."""
    return any(found[1] == place for word in words for found in _PLACE.finditer(word))


def filled(words: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """A command with the names of files in their places."""
    return [_PLACE.sub(lambda found: places[found[1]], word) for word in words]
