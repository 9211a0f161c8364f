"""Who keeps a name that two versions want, as the user has it."""

from __future__ import annotations

from syncron_lib.core.options import Conflicts
from syncron_lib.core.twoway.reconcile import Choice, Policy
from syncron_lib.core.twoway.records import Record


def policy_of(conflicts: Conflicts) -> Policy:
    """Who keeps a name, as the user wants it."""
    if conflicts is Conflicts.NEWER:
        return _newer
    always = {
        Conflicts.KEEP_BOTH: Choice.BY_ORDER,
        Conflicts.PREFER_FIRST: Choice.FIRST,
        Conflicts.PREFER_SECOND: Choice.SECOND,
        Conflicts.SKIP: Choice.SKIP,
        Conflicts.ASK: Choice.BY_ORDER,  # where nobody is asked, which is a dry run
    }[conflicts]
    return lambda *_: always


def _newer(_path: bytes, first: Record, second: Record) -> Choice:
    """The only rule that looks at a clock."""
    if first.mtime == second.mtime:
        return Choice.BY_ORDER
    return Choice.FIRST if first.mtime > second.mtime else Choice.SECOND
