"""Filter rules about the names of extended attributes (the modifier ``x``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syncron_lib.core.extended import ACL_NAMES, ATIME, Kinds
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules.filters import about_attributes, canonical, parsed
from syncron_lib.core.rules.ruleset import RuleSet

Keeps = Callable[[bytes], bool]
"""Whether the attribute of a name is kept."""


def keeping(kinds: int, patterns: Sequence[bytes]) -> Keeps:
    """What a run with these filters in canonical form keeps of these `Kinds`. Raises
    UsageError."""
    keeps_kind = Kinds(kinds).keeps
    named = about_attributes(patterns)
    if not named:
        return keeps_kind
    rules = []
    for rule in named:
        kind, modifiers, pattern = parsed(rule)
        rules.append(canonical(kind, modifiers.replace(b"x", b""), pattern))
    excluded = RuleSet.compile(RuleOptions(tuple(rules))).root().excluded

    def keeps(name: bytes) -> bool:
        if not keeps_kind(name):
            return False
        return name in ACL_NAMES or name == ATIME or not excluded(name, False)

    return keeps
