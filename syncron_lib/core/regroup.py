"""What a plan must do so that the names of one file at the source are so at the destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

from syncron_lib.core.compare import letter, new_flags
from syncron_lib.core.fates import Fates
from syncron_lib.core.links import Group
from syncron_lib.core.plan import Change, Link, Plan

_LOST = -1
"""Stands for a file that is another group's."""


def regroup(
    plan: Plan,
    source: Sequence[Group],
    destination: Sequence[Group],
    unsure: Set[bytes],
    by_size: bool = False,
) -> None:
    """Have ``plan`` make the names of each of the source's groups names of one file, and of files
    that are none of one group others. ``unsure``: paths that could not be compared.

    Where files of the destination stay as they are, the one with the most names of a group becomes
    the group's; else the leader's, which comes as the plan says. Where names of two groups are of
    one file, one group keeps that, and the other's are made anew. ``by_size``: nobody knows what is
    in a file that stays, so if the first name that is there gets the source's content, all do.
    """
    fates = _Fates(plan, unsure)
    # What is taken from an alternate, all names of a file or none, are names of one file there.
    source = [group for group in source if fates.taken.isdisjoint(group.paths)]
    leader_of = {path: group.paths[0] for group in source for path in group.paths}
    file_of: dict[bytes, int] = {}
    for number, group in enumerate(destination):
        kept = [path for path in map(fates.kept, group.paths) if path is not None]
        owners = Counter(leader_of.get(path, path) for path in kept)
        most = max(owners, key=owners.__getitem__, default=None)
        for path in kept:
            owner = leader_of.get(path, path)
            if owner == most:
                file_of[path] = number
            elif path in leader_of:
                file_of[path] = _LOST
            else:
                fates.renew(path, group)
    for group in source:
        names: dict[object, list[bytes]] = {}
        for path in group.paths:
            file = file_of.get(path, path)
            if file != _LOST and fates.stays(path):
                names.setdefault(file, []).append(path)
        if names and not (by_size and _changes_first(group, fates)):
            same = max(names.values(), key=len)
        else:
            same = [group.paths[0]]
            if same[0] in file_of:
                fates.renew(same[0], group)
        linked = frozenset(same)
        for path in group.paths:
            if path not in linked:
                fates.link(path, same[0], group)
    fates.put()


def _changes_first(group: Group, fates: _Fates) -> bool:
    for path in group.paths:
        if fates.created(path) is None:
            return path in fates.changes
    return False


class _Fates(Fates):
    """The same while names are linked."""

    def __init__(self, plan: Plan, unsure: Set[bytes]) -> None:
        super().__init__(plan, unsure)
        self._plan = plan
        self._links: list[Link] = []

    def renew(self, path: bytes, group: Group) -> None:
        """Have the file at ``path`` written anew, with its content as it is."""
        adjust = self.adjusts.pop(path, None)
        flags = letter(group.mode) + "." * 9 if adjust is None else adjust.flags
        target = None if adjust is None else adjust.target
        self.changes[path] = Change(path, flags, group.size, group.size, target)

    def link(self, path: bytes, anchor: bytes, group: Group) -> None:
        """Have ``path`` be a name of the file at ``anchor``, instead of what the plan would have
        done for it."""
        created = self.created(path)
        change, adjust = self.changes.pop(path, None), self.adjusts.pop(path, None)
        replaces = 0
        # Of one that is there and is as it should be, rsync shows blanks.
        flags = letter(group.mode) + " " * 9
        if created is not None:
            flags = new_flags(group.mode)
            if created.path == path:
                replaces = created.replaces
                del self.creates[path]
            else:  # the source leaves it out of the directory that it would have come with
                entries, size = created.entries - 1, created.size - group.size
                self.creates[created.path] = created._replace(entries=entries, size=size)
        elif change is not None:
            flags = change.flags
        elif adjust is not None:
            flags = adjust.flags
        new = created is not None
        self._links.append(Link(path, anchor, flags, group.mode, group.size, new, replaces))

    def put(self) -> None:
        """Bring all that was changed into the plan."""
        plan = self._plan
        plan.creates[:] = self.creates.values()
        plan.changes[:] = self.changes.values()
        plan.adjusts[:] = self.adjusts.values()
        plan.links.extend(self._links)
