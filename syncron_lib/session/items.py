"""A plan as itemized lines: one for every entry, those below new directories included."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from syncron_lib.core.compare import link_targets, new_flags
from syncron_lib.core.names import join
from syncron_lib.core.plan import Create, Plan
from syncron_lib.core.report import Action, Item
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.session.comparison import listings

_DELETING = "*deleting  "
_MOVING = "*moving    "


def of_plan(plan: Plan, source: Endpoint, transfer: str) -> Iterator[Item]:
    """Items in the order of the tree, deletes last. ``transfer``: ``<`` or ``>``, rsync's mark
    for a file that is sent or received."""
    if plan.makes_root:
        yield Item(Action.CREATE, "cd" + "+" * 9, b"", True, 0)
    below = list(_below(plan, source))
    made = [_created(create, transfer) for create in plan.creates]
    made.extend(_new(path, mode, size, target, transfer) for path, mode, size, target in below)
    made.extend(
        Item(Action.CREATE, "c" + new_flags(make.attributes.mode), make.path, True, 0)
        for make in plan.makes
    )
    for move in plan.moves:
        directory = stat.S_ISDIR(move.attributes.mode)
        made.append(Item(Action.MOVE, _MOVING, move.path, directory, move.size, None, move.old))
    for change in plan.changes:
        mark = transfer if change.flags.startswith("f") else "c"
        made.append(
            Item(Action.CHANGE, mark + change.flags, change.path, False, change.size, change.target)
        )
    for adjust in plan.adjusts:
        directory = stat.S_ISDIR(adjust.attributes.mode)
        made.append(
            Item(
                Action.METADATA,
                "." + adjust.flags,
                adjust.path,
                directory,
                adjust.size,
                adjust.target,
            )
        )
    made.sort(key=lambda item: item.path.replace(b"/", b"\0"))
    yield from made
    for remove in plan.removes:
        yield Item(Action.DELETE, _DELETING, remove.path, remove.is_directory, remove.size)


def _created(create: Create, transfer: str) -> Item:
    size = create.size if stat.S_ISREG(create.mode) else 0
    return _new(create.path, create.mode, size, create.target, transfer)


def _new(path: bytes, mode: int, size: int, target: bytes | None, transfer: str) -> Item:
    mark = transfer if stat.S_ISREG(mode) else "c"
    flags = mark + new_flags(mode)
    return Item(Action.CREATE, flags, path, stat.S_ISDIR(mode), size, target)


def _below(plan: Plan, source: Endpoint) -> Iterator[tuple[bytes, int, int, bytes | None]]:
    """(path, mode, size, target) of what comes with the plan's new directories."""
    frontier = [create.path for create in plan.creates if stat.S_ISDIR(create.mode)]
    while frontier:
        following = []
        for path, directory in zip(frontier, listings(source, frontier)):
            table = directory.table
            targets = link_targets(table)
            for row, (name, mode) in enumerate(zip(table.names, table.modes)):
                if not mode:
                    continue
                below = join(path, name)
                size = table.sizes[row] if stat.S_ISREG(mode) else 0
                yield below, mode, size, targets.get(row)
                if stat.S_ISDIR(mode):
                    following.append(below)
        frontier = following
