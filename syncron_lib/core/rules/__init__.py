"""What belongs to the tree: rsync filters, ``.gitignore`` and ``.syncronignore``.

Pure: whoever scans reads the ignore files and hands in their content. See docs/rules.md.
"""

from __future__ import annotations

from syncron_lib.core.rules.rsync import add_argument, add_file
from syncron_lib.core.rules.scope import (
    GIT,
    GIT_EXCLUDE,
    GITIGNORE,
    MAX_IGNORE_FILE,
    SYNCRONIGNORE,
    IgnoreFileRefused,
    RuleSet,
    Scope,
)

__all__ = [
    "GIT",
    "GITIGNORE",
    "GIT_EXCLUDE",
    "MAX_IGNORE_FILE",
    "SYNCRONIGNORE",
    "IgnoreFileRefused",
    "RuleSet",
    "Scope",
    "add_argument",
    "add_file",
]
