"""Items of what a run leaves as it is: of what is the same on both sides, and of what the options
leave."""

from __future__ import annotations

import stat
from collections.abc import Container, Iterator, Mapping

from syncron_lib.core.choosing import Why, never_brought
from syncron_lib.core.compare import attributes_of, letter
from syncron_lib.core.links import up
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join
from syncron_lib.core.options import TransferRules
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Action, Item
from syncron_lib.core.table import PROBLEM, link_targets
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.session.listings import listings, own_attributes

_NOTHING = " " * 9
"""In flags: no attribute is another."""


def unchanged(
    plan: Plan, told: Container[bytes], source: Endpoint, whole: bool, rules: TransferRules
) -> Iterator[Item]:
    """One item for all that the plan does nothing about, or only links or copies. ``told``: the
    paths of other items. ``whole``: the run is over roots, whose own attributes count.
    ``rules``: what they leave is left also where it happens to be the same."""
    bare = frozenset((*plan.implied, *plan.missing))
    new = frozenset(create.path for create in plan.creates if stat.S_ISDIR(create.mode))
    marks = {each.path: "c" for each in (*plan.makes, *plan.parents)}
    marks.update((take.path, "h") for take in plan.takes if not take.copy)
    chooses = rules != TransferRules()
    taken = frozenset(take.path for take in plan.takes)
    frontier = [b""]
    while frontier:
        following: list[bytes] = []
        for path, directory in zip(frontier, listings(source, frontier)):
            if path not in told and path not in bare and (path or whole) and not directory.problem:
                yield _same(path, own_attributes(directory), 0, None, marks)
            table = directory.table
            targets = link_targets(table)
            for row, (name, mode) in enumerate(zip(table.names, table.modes)):
                inside = join(path, name)
                left = plan.left.get(inside)
                if mode == PROBLEM or (left is not None and left.why is not Why.ALTERNATE):
                    continue
                if stat.S_ISDIR(mode):
                    following.extend([inside] * (inside not in new))
                elif inside not in told:
                    size = table.sizes[row] if stat.S_ISREG(mode) else 0
                    attributes = attributes_of(table, row)
                    target = targets.get(row)
                    chosen = chooses and taken.isdisjoint(up(inside))
                    why = _why(rules, inside, mode, size, target) if chosen else None
                    if why is None:
                        yield _same(inside, attributes, size, target, marks)
                    else:
                        yield _left(inside, mode, size, target, why)
        frontier = following


def _same(
    path: bytes, own: Attributes, size: int, target: bytes | None, marks: Mapping[bytes, str]
) -> Item:
    flags = marks.get(path, ".") + letter(own.mode) + _NOTHING
    directory = stat.S_ISDIR(own.mode)
    return Item(Action.UNCHANGED, flags, path, directory, size, target, attributes=own)


def left_items(plan: Plan) -> Iterator[Item]:
    """One item for each entry that an option is the reason to leave."""
    for path, left in plan.left.items():
        if left.why is not None and left.why is not Why.ALTERNATE:
            yield _left(path, left.mode, left.size, left.target, left.why)


def left_directory(path: bytes, why: Why) -> Item:
    """The item of a directory that is left."""
    return _left(path, stat.S_IFDIR, 0, None, why)


def _why(
    rules: TransferRules, path: bytes, mode: int, size: int, target: bytes | None
) -> Why | None:
    return Why.EXISTS if rules.ignore_existing else never_brought(rules, path, mode, size, target)


def _left(path: bytes, mode: int, size: int, target: bytes | None, why: Why) -> Item:
    flags = "." + letter(mode) + _NOTHING
    return Item(Action.LEAVE, flags, path, stat.S_ISDIR(mode), size, target, why=why)
