"""``--exclude``, ``--include`` and their files: rsync's patterns, from text to rules.

Filter rules are kept as rsync writes them: ``b"- PATTERN"`` or ``b"+ PATTERN"``.
"""

from __future__ import annotations

import re
from typing import Optional

from syncron_lib.core.names import shown
from syncron_lib.core.rules.pattern import ANY, Rule, WholePath, component_list
from syncron_lib.core.rules.wildmatch import (
    Dialect,
    Kind,
    Tokens,
    literal,
    parse,
    split,
)
from syncron_lib.errors import UsageError

_WILDCARD = re.compile(rb"[*?\[]")


def add_argument(filters: list[bytes], text: bytes, *, include: bool) -> None:
    """Append what one ``--exclude`` (``--include``) argument says to ``filters``.

    A prefix of ``"- "`` or ``"+ "`` decides whatever the option was; a lone ``!`` clears
    what came before. An empty argument says nothing. Raises `UsageError` where the prefix
    has no pattern behind it.
    """
    text = text.partition(b"\0")[0]
    if not text:
        return
    if text == b"!":
        filters.clear()
        return
    if text[:2] not in (b"- ", b"+ "):
        text = (b"+ " if include else b"- ") + text
    if len(text) == 2:
        raise UsageError("The filter rule %r has no pattern; write one behind it." % shown(text))
    filters.append(text)


def add_file(filters: list[bytes], content: bytes, *, include: bool) -> None:
    """Append the rules of an ``--exclude-from`` (``--include-from``) file, one a line.

    Empty lines and lines that begin with ``;`` or ``#`` are left out.
    """
    for line in re.split(rb"[\r\n]", content):
        if line[:1] not in (b";", b"#"):
            add_argument(filters, line, include=include)


def rules(text: bytes) -> list[Rule]:
    """What one filter rule means: one rule, two of one kind, or none if it matches nothing."""
    if text[:2] not in (b"- ", b"+ ") or len(text) == 2:
        raise UsageError("The filter rule %r is not '- PATTERN' or '+ PATTERN'." % shown(text))
    exclude = text[:1] == b"-"
    pattern = text[2:]
    directory_only = len(pattern) > 1 and pattern.endswith(b"/")
    if directory_only:
        pattern = pattern[:-1]
    wild = _WILDCARD.search(pattern) is not None
    double = wild and b"**" in pattern
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
    out = []
    if wild and pattern.endswith(b"***") and len(tokens) > 1 and tokens[-2].kind is Kind.SLASH:
        # DIR/*** is DIR/ and DIR/**.
        out.append(_rule(exclude, True, tokens[:-2], floats=floats, anchored=anchored))
    out.append(_rule(exclude, directory_only, tokens, floats=floats, anchored=anchored))
    return [rule for rule in out if rule is not None]


def _slashes(tokens: Tokens) -> int:
    return sum(token.kind is Kind.SLASH for token in tokens)


def _rule(
    exclude: bool, directory_only: bool, tokens: Tokens, *, floats: bool, anchored: bool
) -> Optional[Rule]:
    """The rule for ``tokens``; ``floats``: may begin at any component of the path.

    Two stars match slashes wherever they stand. Where they have a component to themselves,
    they match at least one, because both slashes beside them must be there too; at the very
    beginning they match none too, since rsync puts a slash in front of the path then.
    """
    parts = split(tokens, Kind.SLASH)
    if all(len(part) == 1 or all(t.kind is not Kind.STARS for t in part) for part in parts):
        elements: list[Optional[Tokens]] = [None] if floats else []
        for index, part in enumerate(parts):
            if not part or part[0].kind is not Kind.STARS:
                elements.append(part)
            elif index == 0 and not anchored and len(parts) > 1:
                elements.append(None)
            else:
                elements += (None, ANY)
        components = component_list(elements)
        return None if components is None else Rule(exclude, directory_only, components)
    if not floats and not anchored and len(tokens) > 1 and tokens[1].kind is Kind.SLASH:
        tokens = tokens[2:]
        floats = True
    return Rule(exclude, directory_only, None, WholePath(tokens, floats))
