"""Symlinks of the destination where the source has directories (``--keep-dirlinks``).

The destination cannot know which of its symlinks are meant: that is found by comparing. So it is
told of them, scans what they lead to, and both are compared again, until no more are found.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence

from syncron_lib.core import digest
from syncron_lib.core.compare import Relation, pairs
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import join, split
from syncron_lib.core.plan import Remove
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Doubled, RootKind
from syncron_lib.protocol.wire import MAX_ENTERED
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import reply_of
from syncron_lib.session.listings import listings
from syncron_lib.session.opening import Ends
from syncron_lib.session.protection import Kept
from syncron_lib.session.sealing import Sealed

_ROUNDS = 1000
"""Symlinks to directories below each other; a peer could make up more without an end."""


class Dirlinks(NamedTuple):
    """``refused``: symlinks that are not followed, and why. ``doubled``: what has several paths
    through those that are."""

    refused: Mapping[bytes, str] = {}
    doubled: Sequence[Doubled] = ()

    def is_second(self, path: bytes) -> bool:
        """Whether a directory has another path, under which it gets its attributes."""
        return any(each.path == path for each in self.doubled)

    def kept(self, candidates: Sequence[Remove]) -> Kept:
        """What is not deleted: what is in a directory with several paths, because it may be there
        for another of them, and these directories."""
        tops = {path for each in self.doubled for path in each}
        kept = Kept(set(), set())
        for path in tops:
            kept.paths.add(path)
            kept.above.update((path, *_above(path)))
        for remove in candidates:
            if not tops.isdisjoint(_above(remove.path)):
                kept.paths.add(remove.path)
        return kept


def _above(path: bytes) -> Iterator[bytes]:
    while path:
        path = split(path)[0]
        yield path


def entered(ends: Ends, sealed: Sealed) -> tuple[Ends, Sealed, Dirlinks]:
    """Have the destination show the directories that its symlinks lead to where the source has
    directories."""
    refused: dict[bytes, str] = {}
    doubled: Sequence[Doubled] = ()
    looked_at: set[bytes] = set()
    if ends.destination_opened.kind == RootKind.MISSING:
        return ends, sealed, Dirlinks()
    for _ in range(_ROUNDS):
        roots = sealed.source.root, sealed.destination.root
        if roots[0] == roots[1] != digest.UNKNOWN:
            return ends, sealed, Dirlinks(refused, doubled)
        found = _symlinks(ends.source, ends.destination, sealed.profile)
        paths = [path for path in found if path not in looked_at][:MAX_ENTERED]
        looked_at.update(paths)
        if not paths:
            return ends, sealed, Dirlinks(refused, doubled)
        answer = reply_of(ends.destination.submit(messages.Enter(paths)), messages.Entered)
        refused.update((problem.path, problem.what) for problem in answer.refused)
        if answer.entered:
            doubled = answer.doubled
            before = ends.destination_scanned
            scanned = before._replace(entries=answer.entries, size=answer.size)
            scanned = scanned._replace(problems=answer.problems)
            ends = ends._replace(destination_scanned=scanned)
            ends.sealing.forget(Role.DESTINATION)
            ends.sealing.ask()
            sealed = ends.sealing.result()
    raise PeerViolation("The other side has symlinks to directories in each other without an end.")


def _symlinks(source: Endpoint, destination: Endpoint, profile: Profile) -> list[bytes]:
    """Paths at which the destination has a symlink and the source a directory."""
    found = []
    frontier = [b""]
    while frontier:
        following = []
        both = zip(frontier, listings(source, frontier), listings(destination, frontier))
        for path, mine, theirs in both:
            if mine.problem or theirs.problem:
                continue
            for pair in pairs(mine.table, theirs.table, profile):
                if pair.descend:
                    following.append(join(path, pair.name))
                elif pair.relation is Relation.OTHER_KIND:
                    assert pair.source is not None
                    assert pair.destination is not None
                    is_directory = stat.S_ISDIR(mine.table.modes[pair.source])
                    if is_directory and stat.S_ISLNK(theirs.table.modes[pair.destination]):
                        found.append(join(path, pair.name))
        frontier = following
    return found
