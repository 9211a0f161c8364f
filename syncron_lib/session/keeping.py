"""Backups of what is replaced or deleted: where they go, and what of a plan they change."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import join
from syncron_lib.core.options import Backup, RunOptions
from syncron_lib.core.plan import Plan, Remove
from syncron_lib.core.report import Cause, Failure
from syncron_lib.core.table import PROBLEM
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.protocol import messages
from syncron_lib.session.listings import below_by_row, listings
from syncron_lib.session.steps import removal

_LEVELS = 10_000


def with_backups_left_out(options: RunOptions, destination: Location, into: bool) -> RunOptions:
    """``options`` with a rule that leaves a backup directory inside of the destination alone."""
    backup = options.backup
    if backup is None or backup.directory is None or into:
        return options
    directory = os.path.normpath(backup.directory)
    if os.path.isabs(directory):
        root = destination.path
        if isinstance(destination, Local):
            root = os.path.join(os.getcwdb(), root)
        root = os.path.normpath(root).rstrip(b"/") + b"/"
        if not root.startswith(b"/") or not directory.startswith(root):
            return options
        directory = directory[len(root) :]
    if directory.split(b"/")[0] in (b".", b".."):
        return options
    pattern = b"- /%s/" % _literal(directory)
    patterns = (*options.rules.patterns, pattern)
    return options._replace(rules=options.rules._replace(patterns=patterns))


def _literal(path: bytes) -> bytes:
    """A pattern that matches ``path`` only: a backslash is one where there are wildcards."""
    if not any(each in path for each in (b"*", b"?", b"[")):
        return path
    for each in (b"\\", b"*", b"?", b"["):
        path = path.replace(each, b"\\" + each)
    return path


def request_for(backup: Backup, source: Location, into: bool) -> messages.Backup:
    """What the destination is told. ``into``: the root lies in the directory that the user named,
    to which the backup directory is relative."""
    directory, below = backup.directory, b""
    if into and directory is not None:
        directory, below = (
            os.path.join(b"..", directory),
            os.path.basename(source.path.rstrip(b"/")),
        )
    return messages.Backup(directory, below, backup.suffix)


def spare_backups(plan: Plan, destination: Endpoint, suffix: bytes) -> Iterable[Failure]:
    """Make ``plan`` leave alone what earlier runs kept beside what it was, and the directories that
    such things stay in; what is not done for that."""
    kept: list[Remove] = []
    for create in [each for each in plan.creates if each.replaces > 1]:
        plan.creates.remove(create)
        what = (
            "a directory that is not empty is in its place, and its backups would stay there;"
            " name a directory for them with --backup-dir"
        )
        yield Failure(create.path, "destination", what, Cause.ERROR)
    tops, plan.removes = plan.removes, []
    directories: dict[bytes, Remove] = {}
    holding: set[bytes] = set()

    def sort(removes: Sequence[Remove]) -> list[Remove]:
        inside = []
        for each in removes:
            if each.is_directory and not each.path.endswith(suffix):
                directories[each.path] = each
                inside.append(each)
                continue
            above = each.path.rpartition(b"/")[0]
            while above in directories and above not in holding:
                holding.add(above)
                above = above.rpartition(b"/")[0]
            if not each.path.endswith(suffix):
                plan.removes.append(each)
            elif each.path.rpartition(b"/")[0] not in directories:
                kept.append(each)
        return inside

    frontier = sort(tops)
    for _ in range(_LEVELS):
        if not frontier:
            break
        following: list[Remove] = []
        paths = [each.path for each in frontier]
        for path, directory in zip(paths, listings(destination, paths)):
            table, below = directory.table, below_by_row(directory)
            following.extend(
                removal(join(path, name), table, row, below)
                for row, name in enumerate(table.names)
                if table.modes[row] != PROBLEM
            )
            if directory.problem or PROBLEM in table.modes:
                holding.update(_with_those_above(path, directories))
        frontier = sort(following)
    for path, each in directories.items():
        above = path.rpartition(b"/")[0]
        is_top = above not in directories
        if path in holding:
            if is_top:
                kept.append(each)
        elif is_top or above in holding:
            plan.removes.append(each)
    plan.extras.extend(each.path for each in kept)
    plan.removes.sort(key=lambda each: each.path.replace(b"/", b"\0"))


def _with_those_above(path: bytes, directories: dict[bytes, Remove]) -> Iterable[bytes]:
    while path in directories:
        yield path
        path = path.rpartition(b"/")[0]
