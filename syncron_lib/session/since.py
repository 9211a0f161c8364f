"""What both sides remember of the last run, instead of a walk level by level.

Where the trees that both sides remember have one digest under the run's profile, they were equal
then. A directory that has not changed on the far side since is there what the near side remembers;
one that has is told with its table. So all that a comparison asks of the far side is known already.
Whatever is not known for certain is left out here, and is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import join, split
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.messages import Changed, Changes, Directory
from syncron_lib.session.listings import listings

_DIRECTORY = 0o040000
_MOST_EARLY = 1000
"""Directories that are listed before it is known whether they are needed: some 10 ms of work."""
ListNear = Callable[[Sequence[bytes]], Iterable[Directory]]


class NearDirectories:
    """The near side's directories as they are now, each asked for once. ``known``: those that
    were, by path."""

    def __init__(self, end: Endpoint, changed: Changes | None = None) -> None:
        """``changed``: what did since the last run, which is asked for at once if it is little."""
        self._end = end
        self.known: dict[bytes, Directory] = {}
        early = [] if changed is None else sorted(_changed(changed))
        if len(early) <= _MOST_EARLY:
            self.listed(early)

    def listed(self, paths: Sequence[bytes]) -> Sequence[Directory]:
        """The directories at ``paths``, in order."""
        directories = list(listings(self._end, paths, self.known))
        self.known.update(zip(paths, directories))
        return directories


def known_directories(
    near: Changes,
    far: Changes,
    profile: Profile,
    far_is_source: bool,
    list_near: ListNear,
) -> dict[bytes, Directory]:
    """The far side's directories as they are now, by path, as far as they are known.

    ``near`` was asked for tables as they were, ``far`` for those of today. ``profile``: with the
    source's ids mapped to the destination's. ``list_near``: asks the near side for directories.
    """
    known: dict[bytes, Directory] = {}
    for change in far.changed:
        if change.directory is not None:
            if change.directory.more:
                raise PeerViolation("The other side listed a part of a directory as changed.")
            known[change.path] = change.directory
    renumbers = bool(profile.users or profile.groups)
    if (
        near.basis != far.basis
        or near.basis == digest.UNKNOWN
        or not (near.complete and far.complete)
        # The near side's numbers are not those that the source has.
        or (far_is_source and renumbers)
    ):
        return known
    changed = {change.path: change for change in far.changed}
    remembered = {change.path: change.directory for change in near.changed}
    # These are here as they were. The root counts in any case: its attributes are in no table.
    above = {b"", *(path for path, there in changed.items() if not there.own)}
    same = above.difference(remembered, _gone(near, changed, list_near))
    # With those that are others now: the comparison will look into these too.
    paths = sorted(same.union(_changed(near)))
    remembered.update(
        (path, directory) for path, directory in zip(paths, list_near(paths)) if path in same
    )
    for path, before in remembered.items():
        there = changed.get(path)
        if before is None or (far.holds and not far_is_source and before.below):
            # What the rules leave out there keeps a directory in its place; here it says nothing.
            continue
        if there is None or not there.own:
            known[path] = _there(path, before, changed, far, profile)
    return known


def _changed(near: Changes) -> Iterator[bytes]:
    """The directories whose own entries are others than they were."""
    return (change.path for change in near.changed if change.directory is not None)


def _gone(near: Changes, changed: Iterable[bytes], list_near: ListNear) -> set[bytes]:
    """Those of the directories that ``changed`` on the far side that the near side has no more."""
    paths = sorted(path for path in changed if path)
    own = {change.path for change in near.changed if change.own}
    above = sorted(own.intersection(split(path)[0] for path in paths))
    there = {
        join(path, name)
        for path, directory in zip(above, list_near(above))
        for name, mode in zip(directory.table.names, directory.table.modes)
        if mode & TYPE_MASK == _DIRECTORY
    }
    gone: set[bytes] = set()
    for path in paths:
        parent = split(path)[0]
        if parent in gone or (parent in own and path not in there):
            gone.add(path)
    return gone


def _there(
    path: bytes,
    before: Directory,
    changed: Mapping[bytes, Changed],
    far: Changes,
    profile: Profile,
) -> Directory:
    """A directory whose own entries have not changed on the far side, from what it was here."""
    table = before.table
    digests = bytearray(table.digests)
    below = iter(before.below)
    sums = []
    for row, (name, mode) in enumerate(zip(table.names, table.modes)):
        if mode & TYPE_MASK != _DIRECTORY:
            continue
        was = next(below, None)
        if was is None:
            raise PeerViolation("The other side counted the subdirectories of a directory wrongly.")
        now = changed.get(join(path, name))
        if now is not None:
            digests[row * digest.SIZE : (row + 1) * digest.SIZE] = now.merkle
        sums.append(was._replace(holds=False) if now is None else now.below)
    table = table._replace(
        uids=[profile.users.get(number, number) for number in table.uids],
        gids=[profile.groups.get(number, number) for number in table.gids],
        digests=bytes(digests),
    )
    # What a directory's own attributes are stands in the one above it; only the root is in none.
    return Directory(far.mode, far.mtime_ns, far.uid, far.gid, 0, table, sums)
