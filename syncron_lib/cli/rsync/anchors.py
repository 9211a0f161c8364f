"""Rules for a source that goes over under its own name.

rsync anchors rules where that name is: ``/src/x`` is ``x`` in ``src``. syncron anchors them in the
source itself. So each rule is rewritten as what it says below the name: pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.core.names import shown
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules import RuleSet, filters
from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple


class Below(NamedTuple):
    """``patterns``: the rules below a name. ``file`` and ``directory``: whether they leave out what
    has the name, where it is a file, and where it is a directory."""

    patterns: tuple[bytes, ...]
    file: bool
    directory: bool


def below(patterns: Sequence[bytes], name: bytes) -> Below:
    """What canonical rules say of ``name`` and below it. Raises UsageError for a rule that cannot
    be rewritten."""
    if not patterns:
        return Below((), False, False)
    own = [rule for rule in patterns if not rule.startswith(filters.DIR_MERGE)]
    rewritten = [each for rule in patterns for each in _rewritten(rule, name)]
    return Below(tuple(rewritten), _leaves(own, name, False), _leaves(own, name, True))


def _leaves(patterns: Sequence[bytes], name: bytes, is_directory: bool) -> bool:
    return RuleSet.compile(RuleOptions(tuple(patterns))).root().excluded(name, is_directory)


def _rewritten(rule: bytes, name: bytes) -> list[bytes]:
    kind, modifiers, pattern = filters.parsed(rule)
    # Of each directory; of the file system; of attributes.
    if kind == filters.DIR_MERGE or b"/" in modifiers or b"x" in modifiers:
        return [rule]
    derived = _derived(pattern, name, rule)
    if b"!" in modifiers and derived != [pattern]:
        if len(derived) > 1:
            raise _undecided(rule)
        derived = derived or [_MATCHES_NOTHING]
    return [filters.canonical(kind, modifiers, each) for each in derived]


_MATCHES_NOTHING = b"/."


def _derived(pattern: bytes, name: bytes, rule: bytes) -> list[bytes]:
    """The patterns that match below ``name`` what ``pattern`` matches with it before."""
    anchored = pattern.startswith(b"/")
    first, _, rest = pattern.removeprefix(b"/").partition(b"/")
    if not anchored and not rest:
        return [pattern]
    if b"**" in first:
        if first not in (b"**", b"***"):
            raise _undecided(rule)
        return [pattern, b"/" + rest] if rest else [pattern]
    follows = bool(rest) and _leaves([b"- /" + first], name, True)
    derived = [b"/" + rest] if follows else []
    return derived if anchored else [pattern, *derived]


def _undecided(rule: bytes) -> UsageError:
    return UsageError(
        f"The filter rule {shown(rule)!r} cannot be told below a source's own name, because of its"
        " ** or !; write a slash behind the source, and the rule as it is below that."
    )
