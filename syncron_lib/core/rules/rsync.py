"""rsync's patterns, from filter rules in canonical form to rules."""

from __future__ import annotations

import re
from typing import Optional

from syncron_lib.core.rules.filters import EXCLUDE, parsed
from syncron_lib.core.rules.pattern import ANY, Rule, WholePath, component_list
from syncron_lib.core.rules.wildmatch import (
    Dialect,
    Kind,
    Tokens,
    literal,
    parse,
    split,
)
from syncron_lib.record import NamedTuple

_WILDCARD = re.compile(rb"[*?\[]")


def rules(text: bytes) -> list[Rule]:
    """What one filter rule in canonical form means: one rule, two of one kind, or none if it
    matches nothing."""
    kind, modifiers, pattern = parsed(text)
    exclude = kind == EXCLUDE
    if b"!" in modifiers:
        inner = tuple(_of_pattern(exclude, pattern, b"/" in modifiers, whole=True))
        return [Rule(exclude, False, None, none_of=inner)]
    return _of_pattern(exclude, pattern, b"/" in modifiers, whole=False)


def _of_pattern(exclude: bool, pattern: bytes, absolute: bool, whole: bool) -> list[Rule]:
    """``whole``: for whole paths only."""
    directory_only = len(pattern) > 1 and pattern.endswith(b"/")
    if directory_only:
        pattern = pattern[:-1]
    wild = _WILDCARD.search(pattern) is not None
    double = wild and b"**" in pattern
    # Where only the name counts, it does not matter where the path begins.
    absolute = absolute and (double or b"/" in pattern)
    anchored = pattern.startswith(b"/")
    floats = not anchored and not pattern.startswith(b"**")
    body = pattern[1:] if anchored else pattern
    # A backslash escapes only in a pattern that holds a wildcard.
    tokens = parse(body, Dialect.RSYNC) if wild else literal(body)
    if tokens is None:
        return []
    if not double and floats and _slashes(tokens) != pattern.count(b"/"):
        # Matched against as many components as the pattern has slashes, one of which stands
        # in a bracket, where it matches none.
        return []
    shape = _Shape(floats, anchored, absolute, whole or absolute)
    out = []
    if wild and pattern.endswith(b"***") and len(tokens) > 1 and tokens[-2].kind is Kind.SLASH:
        # DIR/*** is DIR/ and DIR/**.
        out.append(_rule(exclude, True, tokens[:-2], shape))
    out.append(_rule(exclude, directory_only, tokens, shape))
    return [rule for rule in out if rule is not None]


class _Shape(NamedTuple):
    """``floats``: may begin at any component of the path. ``whole``: to be compared with it as a
    whole. The others: as in `Rule`."""

    floats: bool
    anchored: bool
    absolute: bool
    whole: bool


def _slashes(tokens: Tokens) -> int:
    return sum(token.kind is Kind.SLASH for token in tokens)


def _rule(exclude: bool, directory_only: bool, tokens: Tokens, shape: _Shape) -> Optional[Rule]:
    """The rule for ``tokens``.

    Two stars match slashes wherever they stand. Where they have a component to themselves,
    they match at least one, because both slashes beside them must be there too; at the very
    beginning they match none too, since rsync puts a slash in front of the path then.
    """
    floats, anchored, absolute, whole = shape
    parts = split(tokens, Kind.SLASH)
    if not whole and all(
        len(part) == 1 or all(t.kind is not Kind.STARS for t in part) for part in parts
    ):
        elements: list[Optional[Tokens]] = [None] if floats else []
        for index, part in enumerate(parts):
            if not part or part[0].kind is not Kind.STARS:
                elements.append(part)
            elif index == 0 and not anchored and len(parts) > 1:
                elements.append(None)
            else:
                elements += (None, ANY)
        components = component_list(elements)
        if components is None:
            return None
        return Rule(exclude, directory_only, components, anchored=anchored)
    if not floats and not anchored and len(tokens) > 1 and tokens[1].kind is Kind.SLASH:
        tokens = tokens[2:]
        floats = True
    path = WholePath(tokens, floats)
    return Rule(exclude, directory_only, None, path, anchored=anchored, absolute=absolute)
