"""Moves: what a plan creates and removes, matched, and asked for.

Both sides are listed and hashed only as far as a match may come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from syncron_lib.core import digest
from syncron_lib.core.compare import attributes_of, change_flags, digest_of
from syncron_lib.core.merkle import Profile
from syncron_lib.core.moves import Division, Entry, Forest, Matches, divide, unknown_candidates
from syncron_lib.core.names import join
from syncron_lib.core.plan import Create, Left, Make, Move, Plan, Remove
from syncron_lib.core.table import PROBLEM, link_targets
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Directory, Expected, Moved, SetAttributes
from syncron_lib.session.asking import batches, replies
from syncron_lib.session.listings import below_by_row, listings

_ITEMS_A_REQUEST = 2000
_FILES_A_REQUEST = 500
_LISTED = 20_000
"""Created entries that are listed in any case to find moves among them; beyond, at most
`_LISTED_A_REMOVED` for each removed one. What is not found is copied at the destination."""
_LISTED_A_REMOVED = 16
_LEVELS = 200
"""Directories below each other that are looked into on either side: each level is an exchange, and
an evil side could make them up without an end."""


class MoveSearch:
    """Finds the moves in a plan and puts them in the place of creates and removes."""

    def __init__(
        self,
        source: Endpoint,
        destination: Endpoint,
        profile: Profile,
        on_hashed: Callable[[int], None],
    ) -> None:
        """``profile``: with the source's ids mapped. ``on_hashed``: called with the bytes of
        each request."""
        self._source = source
        self._destination = destination
        self._profile = profile
        self._on_hashed = on_hashed
        self._left: Mapping[bytes, Left] = {}
        self._left_below: Mapping[bytes, Left] = {}
        """What the plan leaves, and how much of it is below directories."""

    def apply_to(self, plan: Plan) -> None:
        """Change ``plan``, if there is anything to move."""
        created = Forest(_created(create) for create in plan.creates if not create.replaces)
        removed = Forest(_removed(remove) for remove in plan.removes)
        if not any(entry.is_movable for entry in (*created.tops,)) or not any(
            entry.is_movable or entry.fixed for entry in removed.tops
        ):
            return
        self._left, self._left_below = plan.left, plan.left_below() if plan.left else {}
        matches = self._matches(created, removed)
        if matches.old_of:
            self._put(plan, divide(created, removed, matches.old_of))

    def _matches(self, created: Forest, removed: Forest) -> Matches:
        matches = Matches(created, removed)
        if not (matches.frontier or matches.files):
            return matches
        for _ in range(_LEVELS):
            unlisted = [
                entry
                for entry in removed
                if entry.is_directory
                and entry.path not in removed.below
                and matches.is_free(entry.path)
            ]
            if not unlisted:
                break
            self._list(self._destination, removed, unlisted, own=False)
        left = sum(entry.entries for entry in removed.tops)
        budget = _LISTED + _LISTED_A_REMOVED * left
        matches = Matches(created, removed)
        for _ in range(_LEVELS):
            if not matches.frontier or not any(
                entry.is_movable and matches.is_free(entry.path) for entry in removed
            ):
                break
            frontier = [entry for entry in matches.frontier if entry.entries <= budget]
            if not frontier:
                break
            budget -= sum(1 for _ in frontier)
            self._list(self._source, created, frontier, own=True)
            matches = Matches(created, removed)
        free = [entry for entry in removed if matches.is_free(entry.path)]
        mine, theirs = unknown_candidates(matches.files, free)
        if mine or theirs:
            created.set_digests(self._hashed(self._source, mine))
            removed.set_digests(self._hashed(self._destination, theirs))
            matches = Matches(created, removed)
        return matches

    def _list(
        self, endpoint: Endpoint, forest: Forest, entries: Sequence[Entry], own: bool
    ) -> None:
        """List directories. ``own``: they are the source's, whose problems must be told by what
        is created whole."""
        paths = [entry.path for entry in entries]
        for path, directory in zip(paths, listings(endpoint, paths)):
            below = list(_entries(path, directory))
            if own and self._left:
                below = [
                    self._without_left(entry) for entry in below if entry.path not in self._left
                ]
            unreadable = directory.problem or PROBLEM in directory.table.modes
            forest.below[path] = [] if own and unreadable else below

    def _without_left(self, entry: Entry) -> Entry:
        """A directory of the source, less what is left of it, with which it would be another."""
        left = self._left_below.get(entry.path)
        if left is None:
            return entry
        entries, size = entry.entries - left.entries, entry.size - left.size
        return entry._replace(entries=entries, size=size, digest=digest.UNKNOWN)

    def _hashed(self, endpoint: Endpoint, entries: Sequence[Entry]) -> dict[bytes, bytes]:
        """Digests of files; one that cannot be read is not moved, and told of where it is sent."""
        found: dict[bytes, bytes] = {}
        requests = [
            [entry.path for entry in batch]
            for batch in batches(entries, _FILES_A_REQUEST, lambda entry: len(entry.path))
        ]
        answers = replies(endpoint, map(messages.Hash, requests), messages.Hashed)
        for paths, reply in zip(requests, answers):
            if len(reply.digests) != len(paths) * digest.SIZE:
                raise PeerViolation("The other side sent another number of digests.")
            self._on_hashed(reply.size)
            for index, path in enumerate(paths):
                found[path] = reply.digests[index * digest.SIZE : (index + 1) * digest.SIZE]
        return found

    def _put(self, plan: Plan, division: Division) -> None:
        plan.makes = [Make(entry.path, entry.attributes) for entry in division.makes]
        plan.moves = [self._move(new, old) for new, old in division.moves]
        replacing = [create for create in plan.creates if create.replaces]
        plan.creates = [*replacing, *map(_create, division.creates)]
        plan.removes = list(map(_remove, division.removes))
        for steps in (plan.creates, plan.removes):
            steps.sort(key=lambda step: step.path.replace(b"/", b"\0"))

    def _move(self, new: Entry, old: Entry) -> Move:
        flags = change_flags(
            new.attributes, old.attributes, self._profile, size_differs=False, content_differs=False
        )
        return Move(new.path, old.path, flags, new.attributes, old.entries, old.size)


def _created(create: Create) -> Entry:
    return Entry(
        create.path,
        create.attributes,
        create.entries,
        create.size,
        create.digest,
        create.target,
    )


def _removed(remove: Remove) -> Entry:
    return Entry(
        remove.path,
        remove.attributes,
        remove.entries,
        remove.size,
        remove.digest,
        fixed=remove.holds,
    )


def _create(entry: Entry) -> Create:
    return Create(
        entry.path,
        entry.attributes.mode,
        entry.entries,
        entry.size,
        entry.target,
        0,
        entry.attributes,
        entry.digest,
    )


def _remove(entry: Entry) -> Remove:
    return Remove(
        entry.path,
        entry.is_directory,
        entry.entries,
        entry.size,
        entry.attributes,
        entry.digest,
        entry.fixed,
    )


def _entries(path: bytes, directory: Directory) -> Iterator[Entry]:
    table = directory.table
    below = below_by_row(directory)
    targets = link_targets(table)
    for row, (name, mode) in enumerate(zip(table.names, table.modes)):
        if mode == PROBLEM:
            continue
        inside = below.get(row)
        yield Entry(
            join(path, name),
            attributes_of(table, row),
            1 if inside is None else inside.entries + 1,
            table.sizes[row] if inside is None else inside.size,
            digest_of(table, row),
            targets.get(row),
            inside is not None and inside.holds,
        )


# --- carrying out -------------------------------------------------------------------------------


def carry_out(
    destination: Endpoint, plan: Plan, on_stored: Callable[[messages.Stored], None]
) -> int:
    """Make the plan's directories and move what is to be moved; the number of entries moved.
    What could not be moved is created and removed by the plan from then on."""
    failed: set[bytes] = set()
    replacing = [Expected(make.path, True, True) for make in plan.makes if make.replaces]
    expected = batches(replacing, _ITEMS_A_REQUEST, lambda item: len(item.path))
    for _ in replies(destination, map(messages.Expect, expected), messages.Done):
        pass
    for stored in replies(destination, _requests(plan), messages.Stored):
        on_stored(stored)
        failed.update(stored.again)
    if failed:
        _give_up(plan, failed)
    return plan.moved


def _requests(plan: Plan) -> Iterator[messages.Move]:
    makes = [SetAttributes(make.path, *make.attributes) for make in plan.makes]
    for some in batches(makes, _ITEMS_A_REQUEST, lambda item: len(item.path)):
        yield messages.Move(some, ())
    items = [Moved(move.old, move.path) for move in plan.moves]
    for each in batches(items, _ITEMS_A_REQUEST, lambda item: len(item.old) + len(item.new)):
        yield messages.Move((), each)


def _give_up(plan: Plan, failed: Iterable[bytes]) -> None:
    """Send what could not be moved, and delete it where it was. Whatever it was that changed
    there meanwhile, deleting looks again."""
    failed = set(failed)
    kept = []
    for move in plan.moves:
        if move.path not in failed:
            kept.append(move)
            continue
        plan.instead[move.path] = move.old
        own, mode = move.attributes, move.attributes.mode
        plan.creates.append(
            Create(move.path, mode, move.entries, move.size, None, 0, own, digest.UNKNOWN)
        )
        top = next((each for each in plan.removes if _holds(each.path, move.old)), None)
        if top is None:
            directory = mode & 0o170000 == 0o040000
            plan.removes.append(
                Remove(move.old, directory, move.entries, move.size, own, digest.UNKNOWN, False)
            )
        else:
            plan.removes[plan.removes.index(top)] = top._replace(
                entries=top.entries + move.entries, size=top.size + move.size
            )
    plan.moves = kept


def withhold(plan: Plan, keep: Callable[[bytes], bool]) -> int:
    """Keep what stays behind because it could not be moved, where ``keep`` says so of the path
    that it should have had. The number of entries that stay."""
    stays = [old for new, old in plan.instead.items() if keep(new)]
    kept = [
        remove
        for remove in plan.removes
        if any(old == remove.path or _holds(remove.path, old) for old in stays)
    ]
    for remove in kept:
        plan.removes.remove(remove)
        plan.extras.append(remove.path)
    return sum(remove.entries for remove in kept)


def _holds(top: bytes, path: bytes) -> bool:
    return path.startswith(top + b"/")
