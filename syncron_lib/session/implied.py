"""Directories that are only on the way to what a run is over, without the source's attributes."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from syncron_lib.core.names import join
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Cause, Failure
from syncron_lib.core.rules.chosen import Listed
from syncron_lib.core.table import PROBLEM, link_targets
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.protocol import messages
from syncron_lib.session.asking import batches
from syncron_lib.session.listings import below_by_row, listings
from syncron_lib.session.steps import creation

_PATHS_A_REQUEST = 5000


def imply(plan: Plan, listed: Listed, source: Endpoint) -> Iterator[Failure]:
    """Have ``plan`` make such directories as any new ones are, and create what is in them one by
    one; what cannot be done."""
    creates, plan.creates = plan.creates, []
    while creates:
        opened: list[bytes] = []
        for create in creates:
            if not (stat.S_ISDIR(create.mode) and listed.is_bare(create.path)):
                plan.creates.append(create)
            elif create.replaces:
                what = "something that is no directory is in its place, and no symlink is followed"
                yield Failure(create.path, "destination", what, Cause.ERROR)
            else:
                opened.append(create.path)
        plan.missing.extend(opened)
        creates = []
        for path, directory in zip(opened, listings(source, opened)):
            below, targets = below_by_row(directory), link_targets(directory.table)
            creates.extend(
                creation(join(path, name), directory.table, row, below, 0, targets.get(row))
                for row, name in enumerate(directory.table.names)
                if directory.table.modes[row] != PROBLEM
            )


def requests(plan: Plan) -> Iterator[messages.Imply]:
    """What both sides are told of it."""
    yield from map(messages.Imply, batches([*plan.implied, *plan.missing], _PATHS_A_REQUEST, len))


def makings(plan: Plan) -> Iterator[messages.MakeImplied]:
    """What the destination is to make."""
    root = [b""] if plan.makes_root and b"" in plan.implied else []
    yield from map(messages.MakeImplied, batches([*root, *plan.missing], _PATHS_A_REQUEST, len))
