"""Wildcard patterns as git and rsync read them, turned into regular expressions.

Both tools' matchers descend from the same ``wildmatch`` function; they differ in what two
stars mean and in one character class, which is what `Dialect` holds. A pattern becomes
*tokens* (`parse`), and tokens become an expression (`expression`) that tries only a few
places per byte of the text, whatever the pattern: patterns come from other machines, and
``a*a*a*a*b`` must not hang a run.

Everything is bytes; one character is one byte, as in both originals. There is no special
treatment of a leading dot.
"""

from __future__ import annotations

import re
from enum import Enum
from itertools import count
from typing import Optional

from syncron_lib.record import NamedTuple

SLASH = 0x2F
_BACKSLASH = 0x5C
_STAR = 0x2A
_QUESTION = 0x3F
_OPEN = 0x5B
_CLOSE = 0x5D
_DASH = 0x2D
_COLON = 0x3A

SPECIAL = re.compile(rb"[*?\[\\]")
"""A byte that ends the literal beginning of a pattern."""


class Dialect(Enum):
    """Whose pattern it is."""

    GIT = "git"
    RSYNC = "rsync"


class Kind(Enum):
    """What one token matches."""

    BYTE = "byte"
    """The one byte in ``text``, which is never a slash."""
    SLASH = "slash"
    """``text`` is a backslash if it was escaped: behind two stars git tells that apart."""
    SET = "set"
    """One byte, not a slash; ``text`` is the expression for it."""
    STAR = "star"
    """Any bytes but slashes, or nothing."""
    STARS = "stars"
    """Two or more stars in a row; what that means depends on the dialect and the place."""


class Token(NamedTuple):
    """One element of a pattern."""

    kind: Kind
    text: bytes = b""


Tokens = tuple[Token, ...]

STAR = Token(Kind.STAR)
_STARS = Token(Kind.STARS)
_SLASH = Token(Kind.SLASH)
_ESCAPED_SLASH = Token(Kind.SLASH, b"\\")
_ONE = Token(Kind.SET, b"[^/]")

_LITERALS = tuple(
    _SLASH if byte == SLASH else Token(Kind.BYTE, bytes((byte,))) for byte in range(256)
)


def literal(text: bytes) -> Tokens:
    """Tokens that match exactly ``text``."""
    return tuple([_LITERALS[byte] for byte in text])


def parse(pattern: bytes, dialect: Dialect) -> Optional[Tokens]:
    """The tokens of ``pattern``; None if it can match nothing at all.

    Nothing is matched by a pattern with an unclosed bracket, an unknown class name, a set
    without members, or a backslash at its end.
    """
    tokens: list[Token] = []
    at = 0
    end = len(pattern)
    while at < end:
        byte = pattern[at]
        at += 1
        if byte == _BACKSLASH:
            if at == end:
                return None
            tokens.append(_ESCAPED_SLASH if pattern[at] == SLASH else _LITERALS[pattern[at]])
            at += 1
        elif byte == _STAR:
            first = at
            while at < end and pattern[at] == _STAR:
                at += 1
            tokens.append(_STARS if at > first else STAR)
        elif byte == _QUESTION:
            tokens.append(_ONE)
        elif byte == _OPEN:
            bracket = _bracket(pattern, at, dialect)
            if bracket is None:
                return None
            members, at = bracket
            if not members:
                return None
            tokens.append(Token(Kind.SET, _set_expression(members)))
        else:
            tokens.append(_LITERALS[byte])
    return tuple(tokens)


def _bracket(pattern: bytes, at: int, dialect: Dialect) -> Optional[tuple[frozenset[int], int]]:
    """Members of the bracket whose content begins at ``at``, and the index behind it.

    None if it is malformed. A closing bracket that comes first is a member; so is a dash
    that has no two ends; ``!`` and ``^`` negate. A slash is never a member.
    """
    end = len(pattern)
    negated = pattern[at : at + 1] in (b"!", b"^")
    if negated:
        at += 1
    members: set[int] = set()
    before: Optional[int] = None
    first = True
    while True:
        if at >= end:
            return None
        byte = pattern[at]
        if byte == _CLOSE and not first:
            break
        first = False
        if byte == _BACKSLASH:
            at += 1
            if at >= end:
                return None
            byte = pattern[at]
            members.add(byte)
            before = byte
        elif byte == _DASH and before is not None and pattern[at + 1 : at + 2] not in (b"", b"]"):
            at += 1
            byte = pattern[at]
            if byte == _BACKSLASH:
                at += 1
                if at >= end:
                    return None
                byte = pattern[at]
            members.update(range(before, byte + 1))
            before = None
        elif byte == _OPEN and pattern[at + 1 : at + 2] == b":":
            close = pattern.find(b"]", at + 2)
            if close < 0:
                return None
            if close == at + 2 or pattern[close - 1] != _COLON:
                members.add(_OPEN)
                before = _OPEN
            else:
                known = _CLASSES[dialect].get(pattern[at + 2 : close - 1])
                if known is None:
                    return None
                members |= known
                before = None
                at = close
        else:
            members.add(byte)
            before = byte
        at += 1
    if negated:
        members = set(range(1, 256)) - members
    members.discard(SLASH)
    members.discard(0)
    return frozenset(members), at + 1


def _span(first: int, last: int) -> frozenset[int]:
    return frozenset(range(first, last + 1))


_UPPER = _span(0x41, 0x5A)
_LOWER = _span(0x61, 0x7A)
_DIGIT = _span(0x30, 0x39)
_ALNUM = _UPPER | _LOWER | _DIGIT
_PRINT = _span(0x20, 0x7E)
_POSIX = {
    b"alnum": _ALNUM,
    b"alpha": _UPPER | _LOWER,
    b"blank": frozenset(b" \t"),
    b"cntrl": _span(0x01, 0x1F) | {0x7F},
    b"digit": _DIGIT,
    b"graph": _span(0x21, 0x7E),
    b"lower": _LOWER,
    b"print": _PRINT,
    b"punct": _span(0x21, 0x7E) - _ALNUM,
    b"space": frozenset(b" \t\n\v\f\r"),
    b"upper": _UPPER,
    b"xdigit": _DIGIT | _span(0x41, 0x46) | _span(0x61, 0x66),
}
_CLASSES = {
    Dialect.RSYNC: _POSIX,
    # git has character tables of its own, in which \\v and \\f are not white space.
    Dialect.GIT: {**_POSIX, b"space": frozenset(b" \t\n\r")},
}


def _set_expression(members: frozenset[int]) -> bytes:
    ordered = sorted(members)
    parts = []
    start = previous = ordered[0]
    for byte in (*ordered[1:], 512):
        if byte == previous + 1:
            previous = byte
            continue
        parts.append(b"\\x%02x-\\x%02x" % (start, previous))
        start = previous = byte
    return b"[" + b"".join(parts) + b"]"


def expression(tokens: Tokens, group: str = "g") -> bytes:
    """A regular expression (``re.DOTALL``, for ``fullmatch``) for ``tokens``.

    ``Kind.STARS`` matches anything, slashes included. ``group`` begins the names of the
    groups in it, so that several expressions can stand side by side in one.

    A star that another follows takes the shortest text that lets what stands between the two
    match, and never reconsiders: a look-ahead captures that text, a back reference consumes
    it, which `re` does not enter again. INVARIANT: this loses no match. What stands between
    two single stars either holds no slash, so that the second star reaches from the
    earlier place all that it reaches from a later one; or holds one, and then there is only
    one place for it. What stands between two double stars ends earliest where it begins
    earliest, by the same argument, and the second reaches everything from there.
    """
    counter = count()

    def shortest(star: bytes, body: bytes) -> bytes:
        name = b"%s%d" % (group.encode("ascii"), next(counter))
        return b"(?=(?P<%s>%s?%s))(?P=%s)" % (name, star, body, name)

    def between(part: Tokens, followed: bool) -> bytes:
        """Fixed tokens and single stars; ``followed`` says that a double star comes next."""
        pieces = split(part, Kind.STAR)
        out = [_fixed(pieces[0])]
        for index, piece in enumerate(pieces[1:], 2):
            if followed or index < len(pieces):
                out.append(shortest(b"[^/]*", _fixed(piece)))
            else:
                out.append(b"[^/]*" + _fixed(piece))
        return b"".join(out)

    parts = split(tokens, Kind.STARS)
    if len(parts) == 1:
        return between(parts[0], False)
    out = [between(parts[0], True)]
    out.extend(shortest(b".*", between(part, True)) for part in parts[1:-1])
    out.append(b".*" + between(parts[-1], False))
    return b"".join(out)


def split(tokens: Tokens, kind: Kind) -> list[Tokens]:
    """``tokens`` cut at every token of one kind: always at least one part, some may be empty."""
    parts = []
    start = 0
    for index, token in enumerate(tokens):
        if token.kind is kind:
            parts.append(tokens[start:index])
            start = index + 1
    parts.append(tokens[start:])
    return parts


def _fixed(tokens: Tokens) -> bytes:
    return b"".join(
        b"/"
        if token.kind is Kind.SLASH
        else re.escape(token.text)
        if token.kind is Kind.BYTE
        else token.text
        for token in tokens
    )
