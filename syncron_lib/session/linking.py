"""Hard links: what both ends have of them, and what the plan does about it."""

from __future__ import annotations

from collections.abc import Iterator, Set
from concurrent.futures import Future
from typing import Any

from syncron_lib.core.links import Group, up, without
from syncron_lib.core.names import shown, split
from syncron_lib.core.plan import Plan
from syncron_lib.core.regroup import regroup
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Linking
from syncron_lib.session.asking import batches, reply_of
from syncron_lib.session.listings import listings, own_attributes

_ITEMS_A_REQUEST = 2000
_DIRECTORY = 0o040000
MOST_NAMES = 1 << 26
"""More than fit a machine's memory, where nothing else says how many there can be."""


class LinkSearch:
    """Asks both ends which names are names of one file, in the flight of other questions."""

    def __init__(self, source: Endpoint, destination: Endpoint, by_size: bool) -> None:
        """``by_size``: see `core.regroup`."""
        self._by_size = by_size
        self._source = source
        self._destination = destination
        self._asked = [end.submit(messages.GetLinks()) for end in (source, destination)]
        self._mine: list[Group] | None = None

    def of_source(self, entries: int) -> list[Group]:
        """The source's groups; it has scanned so many entries."""
        if self._mine is None:
            self._mine = _groups(self._source, self._asked[0], entries)
        return self._mine

    def apply_to(
        self, plan: Plan, source_entries: int, destination_entries: int, unsure: Set[bytes]
    ) -> None:
        """Have ``plan`` do what is needed; it holds all else that will be done. The numbers are
        those of entries that the ends have scanned. ``unsure``: see `core.regroup`."""
        mine = self.of_source(source_entries)
        theirs = _groups(self._destination, self._asked[1], destination_entries)
        if plan.left:
            mine = [*without(mine, plan.left)]
            unsure = unsure | plan.left.keys()
        regroup(plan, mine, theirs, unsure, self._by_size)
        self._touch(plan)

    def _touch(self, plan: Plan) -> None:
        """Have the directories that the comparison did not look into get their times back."""
        parents = {split(link.path)[0] for link in plan.links}
        parents.update(split(change.path)[0] for change in plan.changes)
        if parents:
            parents.add(b"")  # staging comes and goes in it
        new = {create.path for create in plan.creates}.union(make.path for make in plan.makes)
        paths = sorted(
            path
            for path in parents.difference(plan.touched, plan.implied, plan.missing)
            if new.isdisjoint(up(path))
        )
        for path, directory in zip(paths, listings(self._source, paths)):
            plan.touched[path] = own_attributes(directory)


def groups_of(alternate: Endpoint) -> list[Group]:
    """The groups of one that has not said how much it has."""
    return _groups(alternate, alternate.submit(messages.GetLinks()), MOST_NAMES)


def _groups(endpoint: Endpoint, first: Future[Any], entries: int) -> list[Group]:
    """The groups of one end; it has no more names than ``entries``."""
    names: dict[bytes, None] = {}
    groups: list[Group] = []
    number = -1
    for link in _links(endpoint, first):
        if link.path in names or len(names) >= entries:
            raise PeerViolation(f"The other side told twice of the name {shown(link.path)}.")
        if link.mode & TYPE_MASK in (0, _DIRECTORY):
            raise PeerViolation(f"The other side told of {shown(link.path)} as no kind of file.")
        names[link.path] = None
        if link.group != number:
            number = link.group
            groups.append(Group(link.mode, link.size, []))
        groups[-1].paths.append(link.path)  # type: ignore[attr-defined]
    return groups


def _links(endpoint: Endpoint, asked: Future[Any]) -> Iterator[messages.Linked]:
    known = 0
    while True:
        reply = reply_of(asked, messages.Links)
        yield from reply.links
        if not reply.more:
            return
        if not reply.links:
            raise PeerViolation("The other side has more links to tell of, and tells of none.")
        known += len(reply.links)
        asked = endpoint.submit(messages.GetLinks(known))


def requests(plan: Plan) -> Iterator[messages.Link]:
    """What the destination is asked for."""
    items = [Linking(link.path, link.leader, link.replaces > 0) for link in plan.links]
    for some in batches(items, _ITEMS_A_REQUEST, lambda item: len(item.path) + len(item.leader)):
        yield messages.Link(some)
