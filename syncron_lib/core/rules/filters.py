"""rsync's filter rules, from how they are written to one canonical form.

Canonical is ``KIND MODIFIERS SPACE PATTERN``: ``b"- *.o"``, ``b"+!s /keep/"``, ``b":n- .excl"``.
The kind is ``-``, ``+`` or ``:`` (a file of rules in every directory); ``hide`` and its like are
sides (``s`` the sender's, ``r`` the receiver's). What ``merge`` names has been read, and ``!`` has
cleared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Optional

from syncron_lib.core.names import shown
from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple

EXCLUDE, INCLUDE, DIR_MERGE = b"-", b"+", b":"
_MERGE, _CLEAR = b".", b"!"
_WORDS = {
    b"exclude": EXCLUDE,
    b"include": INCLUDE,
    b"merge": _MERGE,
    b"dir-merge": DIR_MERGE,
    b"hide": b"H",
    b"show": b"S",
    b"protect": b"P",
    b"risk": b"R",
    b"clear": _CLEAR,
}
_SIDED = {
    b"H": (EXCLUDE, b"s"),
    b"S": (INCLUDE, b"s"),
    b"P": (EXCLUDE, b"r"),
    b"R": (INCLUDE, b"r"),
}
_OF_RULES = b"/!Crspx"
_OF_MERGES = b"/Crspx-+enw"
_OF_SIDED = b"/!px"
_NAMED = re.compile(rb"([a-z-]+)(?=[\s_,]|\Z)")

CVS_IGNORED = (
    b"RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* *$"
    b" *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core"
    b" .svn/ .git/ .hg/ .bzr/"
)
CVSIGNORE = b".cvsignore"


class Manner(NamedTuple):
    """How rules are read, and what they take over from the rule that named their file.

    ``verdict``: there are no prefixes, and all are of this kind. ``words``: one a word. ``cvs``:
    ``!`` clears nevertheless. ``sides`` and ``modifiers``: of every rule. ``old``: only ``- `` and
    ``+ `` are prefixes. ``one_sided``: what names no side is the sender's, as with
    ``--delete-excluded``.
    """

    verdict: bytes = b""
    words: bool = False
    cvs: bool = False
    sides: bytes = b""
    modifiers: bytes = b""
    old: bool = False
    one_sided: bool = False


PLAIN = Manner()
AS_EXCLUDE = Manner(verdict=EXCLUDE, old=True)
AS_INCLUDE = Manner(verdict=INCLUDE, old=True)


class Reader(NamedTuple):
    """What rules can name: ``merge`` files by name, and all that CVS would ignore beside
    `CVS_IGNORED`. Both raise UsageError."""

    merged: Callable[[bytes], bytes]
    cvs: Callable[[], list[bytes]]


def add(filters: list[bytes], text: bytes, manner: Manner, reader: Optional[Reader] = None) -> None:
    """Append what one rule says to ``filters``, or clear them. Raises UsageError. Without a
    ``reader`` a rule may name no file."""
    text = text.partition(b"\0")[0]
    if not text:
        return
    kind, modifiers, pattern = _read(text, manner)
    if kind == _CLEAR:
        filters.clear()
        return
    sides = bytes(side for side in b"rs" if side in modifiers)
    if manner.sides and sides:
        raise UsageError(
            f"The filter rule {shown(text)!r} names a side, as does the rule that names its file;"
            " leave one of them out."
        )
    sides = sides or manner.sides
    if b"x" in modifiers:
        _require_both(text, kind, modifiers + sides, reader)
    if kind in (_MERGE, DIR_MERGE):
        _add_merge(filters, text, kind, modifiers, sides, pattern, manner, reader)
        return
    own = bytes(each for each in b"!/p" if each in modifiers + manner.modifiers)
    if b"C" in modifiers:
        _add_cvs(filters, text, pattern, sides, own, manner, reader)
        return
    if not pattern:
        raise UsageError(f"The filter rule {shown(text)!r} has no pattern; write one behind it.")
    if b"x" in modifiers:
        own, sides = bytes(each for each in b"!" if each in own) + b"x", b""
    elif manner.one_sided:
        sides = sides or b"s"
    filters.append(canonical(kind, own + sides, pattern))


def _require_both(text: bytes, kind: bytes, modifiers: bytes, reader: Optional[Reader]) -> None:
    """Refuse a rule about names of extended attributes that would not be the same everywhere and
    on both sides, by which what is compared would not be what is kept."""
    why = None
    if kind in (_MERGE, DIR_MERGE):
        why = "x is for a rule, and not for a file of rules: write it in that file"
    elif reader is None:
        why = "rules about names of extended attributes are for the whole run: give it by --filter"
    elif any(each in modifiers for each in b"rs"):
        why = "rules about names of extended attributes are for both sides: leave s and r out"
    elif any(each in modifiers for each in b"/C"):
        why = "names of extended attributes are no paths: leave / and C out"
    if why is not None:
        raise UsageError(f"The filter rule {shown(text)!r} cannot be followed; {why}.")


def about_attributes(rules: Sequence[bytes]) -> list[bytes]:
    """Those canonical ``rules`` that are about names of extended attributes. Raises UsageError."""
    return [rule for rule in rules if b"x" in rule.partition(b" ")[0] and b"x" in parsed(rule)[1]]


def add_lines(
    filters: list[bytes], content: bytes, manner: Manner, reader: Optional[Reader] = None
) -> None:
    """Append the rules of a file: one a line, or a word. Empty lines and, but for words, lines
    that begin with ``;`` or ``#`` are left out."""
    for line in content.split() if manner.words else re.split(rb"[\r\n]", content):
        if manner.words or line[:1] not in (b";", b"#"):
            add(filters, line, manner, reader)


def canonical(kind: bytes, modifiers: bytes, pattern: bytes) -> bytes:
    """One rule's canonical form."""
    return kind + bytes(sorted(set(modifiers))) + b" " + pattern


def add_argument(filters: list[bytes], text: bytes, *, include: bool) -> None:
    """Append what one ``--exclude`` (``--include``) argument says to ``filters``: a prefix of
    ``- `` or ``+ `` decides whatever the option was, and a lone ``!`` clears."""
    add(filters, text, AS_INCLUDE if include else AS_EXCLUDE)


def add_file(filters: list[bytes], content: bytes, *, include: bool) -> None:
    """Append the rules of an ``--exclude-from`` (``--include-from``) file, one a line."""
    add_lines(filters, content, AS_INCLUDE if include else AS_EXCLUDE)


def parsed(rule: bytes) -> tuple[bytes, bytes, bytes]:
    """Kind, modifiers and pattern of a rule in canonical form. Raises UsageError: it may come from
    the other side."""
    head, space, pattern = rule.partition(b" ")
    kind, modifiers = head[:1], head[1:]
    known = b"!/rspx" if kind != DIR_MERGE else b"+-/Cnwrspd"
    if kind not in (EXCLUDE, INCLUDE, DIR_MERGE) or not (space and pattern):
        raise UsageError(f"The filter rule {shown(rule)!r} is not '- PATTERN' or '+ PATTERN'.")
    if any(each not in known for each in modifiers):
        raise UsageError(f"The filter rule {shown(rule)!r} has an unknown modifier.")
    return kind, modifiers, pattern


def one_sided(rule: bytes) -> bytes:
    """A canonical rule under ``--delete-excluded``: the sender's, if it names no side."""
    kind, modifiers, pattern = parsed(rule)
    if b"x" in modifiers:
        raise UsageError(
            f"The filter rule {shown(rule)!r} is about names of extended attributes, and"
            " --delete-excluded makes rules the sender's: leave one of them out."
        )
    if kind == DIR_MERGE:
        return canonical(kind, modifiers + b"d", pattern)
    sided = b"s" in modifiers or b"r" in modifiers
    return rule if sided else canonical(kind, modifiers + b"s", pattern)


def once_each(rules: Sequence[bytes]) -> tuple[bytes, ...]:
    """``rules`` less each ``dir-merge`` of a file that one before it names."""
    names: set[bytes] = set()
    kept = []
    for rule in rules:
        if rule.startswith(DIR_MERGE):
            name = merge_name(parsed(rule)[2])
            if name in names:
                continue
            names.add(name)
        kept.append(rule)
    return tuple(kept)


def manner_of(modifiers: bytes) -> Manner:
    """How the file is read that a ``merge`` or ``dir-merge`` rule with these modifiers names."""
    cvs = b"C" in modifiers
    verdict = INCLUDE if b"+" in modifiers else EXCLUDE if cvs or b"-" in modifiers else b""
    sides = bytes(each for each in b"rs" if each in modifiers)
    inherited = bytes(each for each in b"/p" if each in modifiers)
    words = cvs or b"w" in modifiers
    return Manner(verdict, words, cvs, sides, inherited, one_sided=b"d" in modifiers)


def merge_name(pattern: bytes) -> bytes:
    """The name that a ``dir-merge`` rule's file has in every directory."""
    return pattern[pattern.rfind(b"/") + 1 :]


def _read(text: bytes, manner: Manner) -> tuple[bytes, bytes, bytes]:
    """Kind, modifiers and the rest of one rule as written; ``hide`` and its like are an exclude or
    include of one side."""
    if manner.verdict:
        if text == _CLEAR and (manner.old or manner.cvs):
            return _CLEAR, b"", b""
        if manner.old and text[:2] in (b"- ", b"+ "):
            return text[:1], b"", text[2:]
        return manner.verdict, b"", text
    named = _NAMED.match(text)
    if named is not None and named[1] in _WORDS:
        kind, at = _WORDS[named[1]], named.end()
    else:
        kind, at = text[:1], 1
    allowed = _allowed(kind)
    if allowed is None:
        raise UsageError(
            f"Unknown filter rule {shown(text)!r}; it begins with - + . : H S P R or !."
        )
    sides = b""
    if kind in _SIDED:
        kind, sides = _SIDED[kind]
    if kind == _CLEAR:
        if text[at:].strip(b" _,"):
            raise UsageError(
                f"The filter rule {shown(text)!r} clears; nothing may stand behind it."
            )
        return kind, b"", b""
    if text[at : at + 1] == b",":
        at += 1
    end = at
    while end < len(text) and text[end] not in b" _":
        if text[end] not in allowed:
            raise UsageError(
                f"The filter rule {shown(text)!r} has an unknown modifier, {chr(text[end])!r}."
            )
        end += 1
    modifiers = text[at:end]
    if b"C" in modifiers and (b"-" in modifiers or b"+" in modifiers):
        raise UsageError(f"The filter rule {shown(text)!r} has C beside - or +; leave that out.")
    return kind, modifiers + sides, text[end + 1 :]


def _allowed(kind: bytes) -> Optional[bytes]:
    if kind in (EXCLUDE, INCLUDE):
        return _OF_RULES
    if kind in (_MERGE, DIR_MERGE):
        return _OF_MERGES
    return _OF_SIDED if kind in _SIDED else b"" if kind == _CLEAR else None


def _add_merge(
    filters: list[bytes],
    text: bytes,
    kind: bytes,
    modifiers: bytes,
    sides: bytes,
    name: bytes,
    manner: Manner,
    reader: Optional[Reader],
) -> None:
    name = name or (CVSIGNORE if b"C" in modifiers else b"")
    if not merge_name(name):
        raise UsageError(f"The filter rule {shown(text)!r} names no file; write one behind it.")
    if reader is None:
        raise UsageError(
            f"The filter rule {shown(text)!r} in a file of one directory names another file;"
            " syncron reads those of the command line only."
        )
    if b"e" in modifiers:
        filters.append(canonical(EXCLUDE, b"", merge_name(name)))
    kept = bytes(each for each in modifiers + manner.modifiers if each in b"+-/Cnwp") + sides
    if b"C" in modifiers:
        kept += b"n"
    if kind == _MERGE:
        add_lines(filters, reader.merged(name), manner_of(kept), reader)
        return
    filters[:] = once_each([*filters, canonical(DIR_MERGE, kept, name)])


def _add_cvs(
    filters: list[bytes],
    text: bytes,
    pattern: bytes,
    sides: bytes,
    modifiers: bytes,
    manner: Manner,
    reader: Optional[Reader],
) -> None:
    """All that CVS ignores everywhere, in the place of a ``-C``."""
    if pattern or reader is None:
        raise UsageError(f"The filter rule {shown(text)!r} takes no pattern.")
    ignored: list[bytes] = []
    how = Manner(EXCLUDE, True, True, sides, modifiers + b"p", one_sided=manner.one_sided)
    for content in (CVS_IGNORED, *reader.cvs()):
        add_lines(ignored, content, how)
    filters.extend(ignored)
