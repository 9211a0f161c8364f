"""What a helper may do to the trees that it serves, and what of a plan that leaves out."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a helper has no use for plans
    from syncron_lib.core.plan import Plan


class Effect(IntFlag):
    """What can be done to a tree, as against looking at it."""

    NONE = 0
    ADD = 1
    """Give a name that nothing has."""
    CHANGE = 2
    """Give what is there another content or other attributes."""
    REMOVE = 4
    """Take a name away."""


EVERYTHING = Effect.ADD | Effect.CHANGE | Effect.REMOVE
MODES = {
    "--read-only": Effect.NONE,
    "--append-only": Effect.ADD,
    "--no-delete": Effect.ADD | Effect.CHANGE,
}
"""The restrictions that a helper can be started with, and what each leaves it."""

THERE_ALREADY = "is there already, and only new names may be added there"
IN_ITS_PLACE = "an entry of another kind is in its place, and nothing may be deleted there"


def withhold(plan: Plan, may: Effect) -> Iterator[tuple[bytes, str]]:
    """Take out of ``plan`` what a destination that ``may`` do no more would refuse, entry by
    entry: the paths, and why. Attributes of directories stay in it: those of one that is added
    to get another time in any case."""
    if Effect.REMOVE not in may:
        replacing = [each for each in plan.creates if each.replaces]
        plan.creates[:] = [each for each in plan.creates if not each.replaces]
        for create in replacing:
            yield create.path, IN_ITS_PLACE
        for link in plan.links:
            if link.replaces:
                yield link.path, IN_ITS_PLACE
        plan.links[:] = [each for each in plan.links if not each.replaces]
    if Effect.CHANGE not in may:
        for change in plan.changes:
            yield change.path, THERE_ALREADY
        plan.changes.clear()
        for link in plan.links:
            if not link.new:
                yield link.path, THERE_ALREADY
        plan.links[:] = [each for each in plan.links if each.new]
        for step in plan.extends:
            if step.flags:
                yield step.path, THERE_ALREADY
        plan.extends[:] = [each for each in plan.extends if not each.flags]
        files = [each for each in plan.adjusts if not stat.S_ISDIR(each.attributes.mode)]
        plan.adjusts[:] = [each for each in plan.adjusts if stat.S_ISDIR(each.attributes.mode)]
        for adjust in files:
            yield adjust.path, THERE_ALREADY
