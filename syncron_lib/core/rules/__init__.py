"""What belongs to the tree: rsync filters, ``.gitignore`` and ``.syncronignore``.

Pure: whoever scans reads the ignore files and hands in their content. See docs/rules.md.
"""

from __future__ import annotations

from syncron_lib.core.rules.filters import add_argument, add_file
from syncron_lib.core.rules.ruleset import AnyScope, RuleSet, are_one_sided
from syncron_lib.core.rules.scope import (
    GIT,
    GIT_EXCLUDE,
    GITIGNORE,
    IGNORE_FILES,
    MAX_IGNORE_FILE,
    MERGED,
    SYNCRONIGNORE,
    IgnoreFileRefused,
    Merge,
    Scope,
    Side,
)

__all__ = [
    "GIT",
    "GITIGNORE",
    "GIT_EXCLUDE",
    "IGNORE_FILES",
    "MAX_IGNORE_FILE",
    "MERGED",
    "SYNCRONIGNORE",
    "AnyScope",
    "IgnoreFileRefused",
    "Merge",
    "RuleSet",
    "Scope",
    "Side",
    "add_argument",
    "add_file",
    "are_one_sided",
]
