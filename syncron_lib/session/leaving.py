"""What a new directory is brought over without: by the options, or because it cannot be read."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from syncron_lib.core.choosing import Why, never_brought
from syncron_lib.core.names import join
from syncron_lib.core.options import TransferRules
from syncron_lib.core.plan import Left, Plan
from syncron_lib.core.table import PROBLEM, link_targets
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.session.listings import below_by_row, listings


def leave_below(plan: Plan, source: Endpoint, rules: TransferRules) -> None:
    """Take out of the plan's new directories what is not brought over: files that are too large or
    too small, symlinks that are not wanted, and with ``existing`` everything (such a directory
    takes the place of a file)."""
    frontier = [create.path for create in plan.creates if stat.S_ISDIR(create.mode)]
    while frontier:
        following = []
        for path, directory in zip(frontier, listings(source, frontier)):
            table, below = directory.table, below_by_row(directory)
            targets = link_targets(table)
            for row, (name, mode) in enumerate(zip(table.names, table.modes)):
                size = table.sizes[row] if stat.S_ISREG(mode) else 0
                inside, target = join(path, name), targets.get(row)
                if stat.S_ISDIR(mode) and not rules.existing:
                    following.append(inside)
                    continue
                entries = 1
                if stat.S_ISDIR(mode):
                    entries, size = below[row].entries + 1, below[row].size
                why = (
                    Why.NEW if rules.existing else never_brought(rules, inside, mode, size, target)
                )
                if why is not None:
                    plan.left[inside] = Left(entries, size, why, mode, target)
        frontier = following
    left = plan.left_below()
    plan.creates[:] = [
        create.without(left[create.path]) if create.path in left else create
        for create in plan.creates
    ]


def unreadable_below(plan: Plan, source: Endpoint) -> Iterator[tuple[bytes, int]]:
    """What in the plan's new directories cannot be read, and why, which else is found when they are
    sent."""
    frontier = [create.path for create in plan.creates if stat.S_ISDIR(create.mode)]
    while frontier:
        following = []
        for path, directory in zip(frontier, listings(source, frontier)):
            if directory.problem:
                yield path, directory.problem
            table = directory.table
            for name, mode, size in zip(table.names, table.modes, table.sizes):
                if mode == PROBLEM:
                    yield join(path, name), size
                elif stat.S_ISDIR(mode):
                    following.append(join(path, name))
        frontier = following
