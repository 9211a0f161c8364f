"""Sources, and listed paths, that are not there: left out, or deleted from the destination too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from syncron_lib.core.location import Location
from syncron_lib.core.names import join, shown
from syncron_lib.core.options import FileList, Missing, RunOptions
from syncron_lib.core.parts import Part
from syncron_lib.core.plan import Plan, Remove
from syncron_lib.core.rules.chosen import Listed
from syncron_lib.core.table import PROBLEM
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import UsageError
from syncron_lib.protocol.messages import RootKind
from syncron_lib.session.listings import below_by_row, listings
from syncron_lib.session.observer import Observer
from syncron_lib.session.opening import kind_of
from syncron_lib.session.pool import Pool
from syncron_lib.session.protection import Protection
from syncron_lib.session.steps import removal

_LEVELS = 10_000


def parts_there(
    pool: Pool, parts: Sequence[Part], options: RunOptions, observer: Observer
) -> Iterator[Part]:
    """Those of ``parts`` whose roots are there; of the others what deletes them, if they are to
    be deleted."""
    for part in parts:
        if kind_of(pool, part.source, options, observer) != RootKind.MISSING:
            yield part
        elif options.rules.missing is Missing.DELETE:
            yield _gone(part.source, part.into)


def _gone(source: Location, into: bool) -> Part:
    if not into:
        raise UsageError(
            f"The source {source.shown()} does not exist, and what is to be deleted for it would be"
            " all of DST: use --relative, --files-from or several sources."
        )
    above, name = os.path.split(source.path.rstrip(b"/"))
    return Part(source._replace(path=above), FileList(name, True))


def delete_missing(
    plan: Plan,
    only_there: Sequence[Remove],
    listed: Listed,
    destination: Endpoint,
    protection: Protection | None,
    others: bool,
) -> Iterator[str]:
    """Have ``plan`` delete what is listed and missing, which is among or below ``only_there``; what
    is not deleted, for people. ``others``: directories that are not empty, too."""
    frontier = [each for each in only_there if _concerns(listed, each)]
    found: list[Remove] = []
    for _ in range(_LEVELS):
        if not frontier:
            break
        found.extend(each for each in frontier if each.path in listed.missing)
        above = [each.path for each in frontier if each.path not in listed.missing]
        frontier = []
        for path, directory in zip(above, listings(destination, above)):
            table, below = directory.table, below_by_row(directory)
            inside = (
                removal(join(path, name), table, row, below)
                for row, name in enumerate(table.names)
                if table.modes[row] != PROBLEM
            )
            frontier.extend(each for each in inside if _concerns(listed, each))
    kept = protection.kept(found, ()) if protection is not None else None
    for each in found:
        if kept is not None and each.path in (kept.paths | kept.above):
            continue
        if each.holds or (each.entries > 1 and not others):
            yield (
                f"{shown(each.path)} is kept at the destination, because it is not empty; allow its"
                " removal with --delete or --force."
            )
            continue
        plan.removes.append(each)
    gone = {each.path for each in plan.removes}
    plan.extras[:] = [path for path in plan.extras if path not in gone]


def _concerns(listed: Listed, each: Remove) -> bool:
    return each.path in listed.missing or (each.is_directory and listed.is_above_missing(each.path))
