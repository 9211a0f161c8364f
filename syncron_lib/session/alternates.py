"""Alternates: what a plan would create, and another directory of the destination has already.

The source is compared with each alternate as with a destination. What that comparison does not
speak of is the same in both, a whole directory where it speaks of nothing below it.
"""

from __future__ import annotations

import stat
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from typing import Any, Optional

from syncron_lib.core.choosing import Why
from syncron_lib.core.extend import Marked
from syncron_lib.core.links import Group
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import Alternates, Use
from syncron_lib.core.plan import Basis, Change, Create, Left, Make, Plan, Take
from syncron_lib.core.report import Failure
from syncron_lib.core.sharing import Apart, is_below, links_apart, marks_apart
from syncron_lib.core.table import PROBLEM, link_targets
from syncron_lib.endpoint.base import Endpoint, RawPack
from syncron_lib.protocol import messages
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import batches, replies
from syncron_lib.session.extending import marks_of
from syncron_lib.session.linking import groups_of
from syncron_lib.session.listings import below_by_row, listings
from syncron_lib.session.steps import creation

_ITEMS_A_REQUEST = 2000
_SAME = "d" + "." * 9
"""Flags of a directory that an alternate has just so."""


Beside = tuple[Optional[Sequence[Group]], Optional[Mapping[bytes, Marked]]]
"""The source's hard-link groups and its extended attributes, where these count."""


class AlternateEndpoint:
    """A destination's alternate, asked as an endpoint is."""

    def __init__(self, destination: Endpoint, number: int) -> None:
        self.hello = destination.hello
        self._destination = destination
        self._number = number

    def submit(self, request: Any | RawPack) -> Future[Any]:
        """Ask about it."""
        if isinstance(request, messages.List):
            return self._destination.submit(
                messages.ListAlternate(self._number, request.paths, request.after)
            )
        if isinstance(request, (messages.GetLinks, messages.GetMarks)):
            return self._destination.submit(request._replace(alternate=self._number))
        assert isinstance(request, messages.Hash)
        return self._destination.submit(messages.HashAlternate(self._number, request.paths))

    def close(self) -> None:
        """Nothing: it is the destination's."""


Compare = Callable[[Endpoint, Callable[[Failure], None]], Plan]
"""Compares the source with an endpoint; takes what cannot be compared."""


class _There(NamedTuple):
    """What a comparison with an alternate came to. ``keys``: all paths that it speaks of, with NUL
    for the slash, in order. ``opened``: directories that are not taken whole."""

    absent: set[bytes]
    changed: dict[bytes, Change]
    adjusted: dict[bytes, str]
    keys: list[bytes]
    opened: Set[bytes]

    def lacks(self, path: bytes) -> bool:
        """Whether it has nothing like it at ``path``."""
        while path:
            if path in self.absent:
                return True
            path = split(path)[0]
        return False

    def has(self, path: bytes) -> bool:
        """Whether it has an entry of that kind at ``path``, with whatever attributes."""
        return not self.lacks(path) and path not in self.changed

    def is_open(self, path: bytes) -> bool:
        """Whether anything in the directory ``path`` is another there, or is decided on by
        itself."""
        if path in self.opened:
            return True
        prefix = path.replace(b"/", b"\0") + b"\0"
        at = bisect_left(self.keys, prefix)
        return at < len(self.keys) and self.keys[at].startswith(prefix)


def missing(chosen: Alternates, there: Sequence[bool]) -> Iterator[str]:
    """Warnings of those that are not there."""
    for directory, is_there in zip(chosen.directories, there):
        if not is_there:
            yield f"{chosen.option} {shown(directory)} does not exist at the destination."


class AlternateSearch:
    """Takes out of a plan what alternates have."""

    def __init__(
        self,
        source: Endpoint,
        destination: Endpoint,
        compare: Compare,
        use: Use,
        beside: Beside = (None, None),
    ) -> None:
        """``use``: what becomes of what is the same. ``beside``: what else must be."""
        self._groups, self._marks = beside
        self._source = source
        self._destination = destination
        self._compare = compare
        self._copy = use is Use.COPY
        self._leaves = use is Use.COMPARE
        self._second_best: dict[bytes, tuple[int, str]] = {}
        """The first alternate with the same content and other attributes, and which."""
        self._bases: dict[bytes, Basis] = {}
        """The first alternate with another content."""
        self._flags: dict[bytes, str] = {}
        """How entries differ from what the first alternate has that has any."""
        self._left: Mapping[bytes, Left] = {}
        """What the options leave, and how much of it is below which directory."""
        self._left_below: Mapping[bytes, Left] = {}

    def apply_to(self, plan: Plan, numbers: Sequence[int], thorough: bool) -> None:
        """Change ``plan`` by what is found in the alternates of these numbers. ``thorough``: look
        into each of them for how directories differ, though that changes nothing but what is
        told."""
        if plan.left:
            self._left, self._left_below = dict(plan.left), plan.left_below()
        if self._groups is not None:
            numbers = numbers[:1]  # files of two could be one, and nobody would see it
        for number in numbers:
            unlike = thorough and any(make.flags != _SAME for make in plan.parents)
            if not (plan.creates or plan.changes or plan.adjusts or unlike):
                break
            self._look(plan, number)
        for create in plan.creates:
            found = self._second_best.get(create.path)
            if found is not None:
                plan.takes.append(_taken(create, found[0], True, found[1]))
        for adjust in plan.adjusts:
            found = self._second_best.get(adjust.path)
            if found is not None:
                how = adjust.attributes, 1, adjust.size, adjust.flags
                plan.takes.append(Take(adjust.path, found[0], True, *how))
        copied = {link.path for link in plan.takes}
        plan.adjusts[:] = [each for each in plan.adjusts if each.path not in copied]
        plan.creates[:] = [
            each._replace(flags=self._flags.get(each.path))
            for each in plan.creates
            if each.path not in copied
        ]
        plan.bases = [self._bases[each.path] for each in plan.creates if each.path in self._bases]
        for steps in (plan.creates, plan.parents, plan.takes):
            steps.sort(key=lambda step: step.path.replace(b"/", b"\0"))

    def _look(self, plan: Plan, number: int) -> None:
        unlike: set[bytes] = set()
        found = self._compare(
            AlternateEndpoint(self._destination, number), lambda failure: unlike.add(failure.path)
        )
        absent = {create.path for create in found.creates} | unlike
        changed = {change.path: change for change in found.changes}
        adjusted = {adjust.path: adjust.flags for adjust in found.adjusts}
        spoken = _There(absent, changed, adjusted, [], frozenset())
        apart = self._apart(plan, number, spoken, frozenset(found.extras))
        absent |= apart.barred
        said = absent.union(changed, adjusted, found.extras, apart.opened, self._left)
        keys = sorted(path.replace(b"/", b"\0") for path in said)
        there = _There(absent, changed, adjusted, keys, apart.opened)
        left: list[Create] = []
        frontier = plan.creates
        while frontier:
            opened = [each for each in frontier if not self._take(plan, each, there, number, left)]
            frontier = list(self._inside(opened))
        plan.creates = left
        plan.parents[:] = [
            make._replace(flags=_SAME)
            if there.has(make.path) and make.path not in there.adjusted
            else make
            for make in plan.parents
        ]
        if self._groups is None and self._marks is None:
            self._take_changes(plan, there, number)

    def _apart(self, plan: Plan, number: int, there: _There, extras: Set[bytes]) -> Apart:
        """What the alternate may not stand in for, though it is the same otherwise."""
        endpoint = AlternateEndpoint(self._destination, number)
        barred: set[bytes] = set()
        opened: set[bytes] = set()
        if self._marks is not None:
            marks = marks_apart(self._marks, marks_of(endpoint), self._copy)
            barred |= marks.barred
            opened |= marks.opened
        if self._groups is not None:
            created = frozenset(create.path for create in plan.creates)

            def comes(path: bytes) -> bool:
                same = there.has(path) and path not in there.adjusted
                return same and is_below(path, created) and not is_below(path, barred)

            def is_elsewhere(path: bytes) -> bool:
                return is_below(path, extras) or is_below(path, self._left.keys())

            theirs = groups_of(endpoint)
            links = links_apart(self._groups, theirs, self._copy, comes, is_elsewhere)
            barred |= links.barred
            opened |= links.opened
        return Apart(barred, opened)

    def _take(
        self, plan: Plan, create: Create, there: _There, number: int, left: list[Create]
    ) -> bool:
        """Decide about one entry; False where what is in it is to be decided on one by one."""
        path = create.path
        if there.lacks(path):
            left.append(create)
            return True
        other = there.changed.get(path)
        flags = there.adjusted.get(path) if other is None else other.flags
        if other is not None and stat.S_ISREG(create.mode):
            self._bases.setdefault(path, Basis(number, other))
        if flags is not None and (path not in self._flags or path in there.adjusted):
            made_anew = not (stat.S_ISREG(create.mode) or stat.S_ISDIR(create.mode))
            self._flags[path] = f"{flags[0]}c{flags[2:]}" if made_anew else flags
        if stat.S_ISDIR(create.mode):
            if flags is None and not self._leaves and not there.is_open(path):
                plan.takes.append(_taken(create, number, self._copy, None))
                return True
            plan.parents.append(Make(path, create.attributes, flags or _SAME, create.replaces))
            return False
        if flags is None and (stat.S_ISREG(create.mode) or not create.replaces):
            if self._leaves:
                plan.left[path] = Left(1, create.size, Why.ALTERNATE, create.mode)
            else:
                plan.takes.append(_taken(create, number, self._copy, None))
            return True
        plain = self._marks is None or path not in self._marks  # a copy has no attributes
        if plain and flags is not None and path in there.adjusted and stat.S_ISREG(create.mode):
            self._second_best.setdefault(path, (number, flags))
        left.append(create)
        return True

    def _inside(self, opened: Sequence[Create]) -> Iterator[Create]:
        """The entries of the source's directories."""
        paths = [create.path for create in opened]
        for path, directory in zip(paths, listings(self._source, paths)):
            table, below = directory.table, below_by_row(directory)
            targets = link_targets(table)
            for row, (name, mode) in enumerate(zip(table.names, table.modes)):
                inside = join(path, name)
                if mode == PROBLEM or inside in self._left:
                    continue  # it was spoken of when the source was compared
                create = creation(inside, table, row, below, 0, targets.get(row))
                left = self._left_below.get(inside)
                yield create if left is None else create.without(left)

    def _take_changes(self, plan: Plan, there: _There, number: int) -> None:
        """The same for what is to be changed in content or attributes."""

        def is_there(path: bytes) -> bool:
            return there.has(path) and path not in there.adjusted

        if self._leaves:
            return
        changes, plan.changes = plan.changes, []
        for change in changes:
            own = change.attributes
            if own is not None and stat.S_ISREG(own.mode) and is_there(change.path):
                link = Take(change.path, number, self._copy, own, 1, change.size, change.flags)
                plan.takes.append(link)
            else:
                plan.changes.append(change)
        if self._copy:
            return  # what has the content already need not be copied
        adjusts, plan.adjusts = plan.adjusts, []
        for adjust in adjusts:
            own = adjust.attributes
            if stat.S_ISREG(own.mode) and is_there(adjust.path):
                link = Take(adjust.path, number, self._copy, own, 1, adjust.size, adjust.flags)
                plan.takes.append(link)
                continue
            if stat.S_ISREG(own.mode) and there.has(adjust.path):
                # An earlier run may have linked it, and what is changed then is the alternate's.
                self._second_best.setdefault(adjust.path, (number, adjust.flags))
            plan.adjusts.append(adjust)


def _taken(create: Create, number: int, copy: bool, flags: str | None) -> Take:
    return Take(
        create.path,
        number,
        copy,
        create.attributes,
        create.entries,
        create.size,
        flags,
        create.replaces,
    )


# --- carrying out -------------------------------------------------------------------------------


def carry_out(
    destination: Endpoint, plan: Plan, on_stored: Callable[[messages.Stored], None]
) -> None:
    """Make the directories of ``plan``, and take what alternates have."""
    made: list[Make | Take] = [*plan.parents, *plan.takes]
    replacing = [
        messages.Expected(each.path, stat.S_ISDIR(each.attributes.mode), True)
        for each in made
        if each.replaces
    ]
    expected = batches(replacing, _ITEMS_A_REQUEST, lambda item: len(item.path))
    for _ in replies(destination, map(messages.Expect, expected), messages.Done):
        pass
    for stored in replies(destination, _requests(plan), messages.Stored):
        on_stored(stored)


def take_bases(destination: Endpoint, bases: Sequence[Basis]) -> None:
    """Tell the destination what new files are put together from."""
    requests = [
        messages.TakeBasis(number, some)
        for number in sorted({basis.alternate for basis in bases})
        for some in batches(
            [basis.change.path for basis in bases if basis.alternate == number],
            _ITEMS_A_REQUEST,
            len,
        )
    ]
    for _ in replies(destination, requests, messages.Done):
        pass


def _requests(plan: Plan) -> Iterator[messages.TakeEntries]:
    parents = [messages.SetAttributes(each.path, *each.attributes) for each in plan.parents]
    first = plan.takes[0].alternate if plan.takes else 0
    for some in batches(parents, _ITEMS_A_REQUEST, lambda item: len(item.path)):
        yield messages.TakeEntries(some, first, ())
    for number in sorted({link.alternate for link in plan.takes}):
        items = [_item(link) for link in plan.takes if link.alternate == number]
        for each in batches(items, _ITEMS_A_REQUEST, lambda item: len(item.path)):
            yield messages.TakeEntries((), number, each)


def _item(link: Take) -> messages.TakenEntry:
    own: Attributes = link.attributes
    return messages.TakenEntry(link.path, stat.S_ISDIR(own.mode), link.copy, *own)
