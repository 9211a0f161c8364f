"""What a plan must do so that entries have the source's extended attributes and ACLs."""

from __future__ import annotations

from collections.abc import Mapping, Set

from syncron_lib.core.compare import letter
from syncron_lib.core.extended import PLAIN, Kinds, Mark
from syncron_lib.core.fates import Fates
from syncron_lib.core.links import up, walk_order
from syncron_lib.core.plan import Extend, Plan
from syncron_lib.record import NamedTuple

_ATIME, _ACL, _XATTR = 7, 8, 9
"""Where in an entry's flags another time of access, ACL, and other attributes are told."""


class Marked(NamedTuple):
    """One entry that has any: of what kind it is, its size, and its mark."""

    mode: int
    size: int
    mark: Mark


def extend(
    plan: Plan,
    source: Mapping[bytes, Marked],
    destination: Mapping[bytes, Marked],
    unsure: Set[bytes],
    kinds: Kinds,
) -> None:
    """Have ``plan``, which holds all else, give entries what they lack or have too much of.
    ``unsure``: paths that could not be compared."""
    fates = Fates(plan, unsure)
    theirs = {}
    for path, marked in destination.items():
        kept = fates.kept(path)
        if kept is not None:
            theirs[kept] = marked
    linked = {link.path for link in plan.links}
    # What is made in its place gets the ACL of the directory that it is in.
    made = {make.path for make in plan.makes} if Kinds.ACLS in kinds else set()
    if plan.makes_root and Kinds.ACLS in kinds:
        made.add(b"")
    parents = {make.path for make in plan.parents}
    bare = {*plan.implied, *plan.missing}
    flags = {}
    # What gets new content is told beside what it was.
    changed = {change.path for change in plan.changes}
    replaced = changed.intersection(destination)
    for path in sorted({*source, *theirs, *made, *replaced}, key=walk_order):
        if path in linked or path in bare or not fates.is_sure(path):
            continue
        if not fates.taken.isdisjoint(up(path)):
            continue
        mine, other = source.get(path), theirs.get(path)
        wanted = PLAIN if mine is None else mine.mark
        if path in replaced:
            other = destination[path]
        has = PLAIN if other is None else other.mark
        mode, size = next(((each.mode, each.size) for each in (mine, other) if each), (0, 0))
        told = list(letter(mode) + "." * 9)
        if wanted.acls != has.acls:
            told[_ACL] = "a"
        if wanted.atime != has.atime:
            told[_ATIME] = "u"
        if wanted.others != has.others:
            told[_XATTR] = "x"
        comes = path in made or path in parents or (plan.makes_root and not path)
        if comes or not fates.stays(path):
            flags[path] = told
            if path in source or path in theirs or path in made:
                plan.extends.append(Extend(path, "", 0, 0))
        elif wanted != has:
            flags[path] = told
            plan.extends.append(Extend(path, "".join(told), mode, size))
    plan.adjusts[:] = [
        adjust._replace(flags=_both(adjust.flags, flags.get(adjust.path)))
        for adjust in plan.adjusts
    ]
    plan.changes[:] = [
        change._replace(flags=_both(change.flags, flags.get(change.path)))
        for change in plan.changes
    ]


def _both(flags: str, others: list[str] | None) -> str:
    if others is None:
        return flags
    return "".join(two if one == "." else one for one, two in zip(flags, others))
