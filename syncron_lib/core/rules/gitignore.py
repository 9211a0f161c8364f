"""``.gitignore`` and ``.syncronignore``: git's patterns, from the file's bytes to rules."""

from __future__ import annotations

import re
from typing import Optional

from syncron_lib.core.rules.pattern import ANY, ANY_DEPTH, Component, Rule, Shape, component_list
from syncron_lib.core.rules.wildmatch import (
    SPECIAL,
    STAR,
    Dialect,
    Kind,
    Tokens,
    literal,
    parse,
    split,
)

_SIMPLE = re.compile(rb"(\*?)([^*?\[\\/]+)")
"""A name, or a star and the end of a name."""

_BOM = b"\xef\xbb\xbf"


def lines(content: bytes) -> list[bytes]:
    """The patterns of an ignore file, in its order, comments and empty lines left out."""
    content = content.removeprefix(_BOM)
    out = []
    for line in content.split(b"\n"):
        if not line or line.startswith(b"#"):
            continue
        if line.endswith(b"\r"):
            line = line[:-1]
        line = _without_trailing_spaces(line.partition(b"\0")[0])
        if line:
            out.append(line)
    return out


def _without_trailing_spaces(line: bytes) -> bytes:
    """``line`` without the spaces at its end that no backslash protects."""
    stripped = line.rstrip(b" ")
    if len(stripped) < len(line):
        backslashes = len(stripped) - len(stripped.rstrip(b"\\"))
        if backslashes % 2:
            return line[: len(stripped) + 1]
    return stripped


def rules(pattern: bytes) -> list[Rule]:
    """What one line of an ignore file means: one rule, rarely two of one kind, or none.

    None for a pattern that matches nothing: an unclosed bracket, a lone slash.
    """
    exclude = not pattern.startswith(b"!")
    if not exclude:
        pattern = pattern[1:]
    directory_only = pattern.endswith(b"/")
    if directory_only:
        pattern = pattern[:-1]
    simple = _SIMPLE.fullmatch(pattern)
    if simple is not None:
        # Most lines of most files, and a tenth of the time.
        shape = Shape.SUFFIX if simple[1] else Shape.LITERAL
        return [Rule(exclude, directory_only, (ANY_DEPTH, Component(shape, simple[2])))]
    if b"/" not in pattern:
        tokens = parse(pattern, Dialect.GIT)
        variants: list[list[Optional[Tokens]]] = [] if tokens is None else [[None, tokens]]
    else:
        variants = _anchored(pattern[1:] if pattern.startswith(b"/") else pattern)
    out = []
    for variant in variants:
        components = component_list(variant)
        if components is not None:
            out.append(Rule(exclude, directory_only, components))
    return out


def _anchored(pattern: bytes) -> list[list[Optional[Tokens]]]:
    """Component lists for a pattern that is matched from its own directory on.

    git compares what comes before the first wildcard by itself and starts afresh behind it,
    so two stars there cross slashes even in the middle of a name: ``foo**/bar`` is
    ``foobar`` or ``foo*/**/bar``. Anywhere else two stars that share their component with
    something are one star.
    """
    wildcard = SPECIAL.search(pattern)
    start = wildcard.start() if wildcard else len(pattern)
    rest = parse(pattern[start:], Dialect.GIT)
    if rest is None:
        return []
    before = literal(pattern[:start])
    if not before or before[-1].kind is Kind.SLASH or not _crosses(rest):
        return [_components((*before, *rest))]
    at = 0
    while at + 2 < len(rest) and not rest[at + 1].text and _crosses(rest, at + 2):
        at += 2
    rest = rest[at:]
    head: list[Optional[Tokens]] = [*split(before, Kind.SLASH)]
    name = head.pop() or ()
    wide = [*head, (*name, STAR)]
    if len(rest) == 1:
        return [wide, [*wide, None, ANY]]
    out = [[*wide, None, *_components(rest[2:])]]
    if not rest[1].text:
        tail = _components(rest[2:])
        out.append([*head, (*name, *(tail[0] or ())), *tail[1:]])
    return out


def _crosses(tokens: Tokens, at: int = 0) -> bool:
    """Whether there are two stars at ``at`` that have the rest of their component to themselves."""
    return (
        at < len(tokens)
        and tokens[at].kind is Kind.STARS
        and (at + 1 == len(tokens) or tokens[at + 1].kind is Kind.SLASH)
    )


def _components(tokens: Tokens) -> list[Optional[Tokens]]:
    """``tokens`` cut at the slashes; two stars alone between them are any directories."""
    out: list[Optional[Tokens]] = []
    slashes = [token for token in tokens if token.kind is Kind.SLASH]
    for index, part in enumerate(split(tokens, Kind.SLASH)):
        if len(part) != 1 or part[0].kind is not Kind.STARS:
            out.append(part)
        elif index == len(slashes):
            out += (None, ANY)
        elif slashes[index].text:
            # An escaped slash behind two stars: they must match something.
            out += (ANY, None)
        else:
            out.append(None)
    return out
