"""What only the destination has and the rules keep there.

Where rules have sides, there may be entries that belong to the tree, because the source does not
hide them or because they go with a directory that is deleted, and are protected nevertheless.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence

from syncron_lib.core.names import join, split
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.plan import Remove
from syncron_lib.core.rules import MERGED, AnyScope, RuleSet, Side, are_one_sided
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.endpoint.parts import GivenFiles
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import ignore_files
from syncron_lib.session.listings import listings


class Kept(NamedTuple):
    """Paths that are not deleted, and the directories below candidates that hold them."""

    paths: set[bytes]
    above: set[bytes]


class Protection:
    """The receiver's side of the rules."""

    def __init__(
        self, rules: RuleOptions, source: Endpoint, destination: Endpoint, root: bytes
    ) -> None:
        """``root``: the destination's path. To be made when the source has been scanned."""
        self._destination = destination
        self._files = _ignore_files(source)
        self._scopes: dict[tuple[Side, bytes], AnyScope] = {}
        top = self._files.get(b"", {})
        above = {key: top[key] for key in top if key.startswith(MERGED) and b"/" in key}
        for side in (Side.RECEIVER, Side.DELETING):
            compiled = RuleSet.compile(rules, side, root).with_above(above)
            self._scopes[side, b""] = compiled.root().with_files(top)

    def _scope(self, side: Side, path: bytes) -> AnyScope:
        known = self._scopes.get((side, path))
        if known is None:
            parent, name = split(path)
            known = self._scope(side, parent).child(name)
            files = self._files.get(path)
            if files:
                known = known.with_files(files)
            self._scopes[side, path] = known
        return known

    def kept(self, candidates: Sequence[Remove], inside: Sequence[Remove]) -> Kept:
        """What stays of ``candidates``, which would be deleted from directories that stay, and of
        what is in them, and in the directories ``inside``, which make way."""
        kept = Kept(set(), set())
        frontier = [remove.path for remove in inside if remove.entries > 1]
        for remove in candidates:
            parent, name = split(remove.path)
            if self._scope(Side.RECEIVER, parent).excluded(name, remove.is_directory):
                kept.paths.add(remove.path)
            elif remove.is_directory and remove.entries > 1:
                frontier.append(remove.path)
        while frontier:
            following = []
            for path, directory in zip(frontier, listings(self._destination, frontier)):
                scope = self._scope(Side.DELETING, path)
                for name, mode in zip(directory.table.names, directory.table.modes):
                    here = join(path, name)
                    if scope.excluded(name, stat.S_ISDIR(mode)):
                        kept.paths.add(here)
                        kept.above.update(_above(here))
                    elif stat.S_ISDIR(mode):
                        following.append(here)
            frontier = following
        return kept


def protection(
    rules: RuleOptions, source: Endpoint, destination: Endpoint, root: bytes
) -> Protection | None:
    """The same, where the rules need it."""
    if not are_one_sided(rules.patterns):
        return None
    return Protection(rules, source, destination, root)


def _above(path: bytes) -> Iterable[bytes]:
    while path:
        path = split(path)[0]
        yield path


def _ignore_files(source: Endpoint) -> dict[bytes, dict[bytes, bytes]]:
    """The source's ignore files, by directory and name."""
    given = GivenFiles()
    for part in ignore_files(source):
        given.add(part.files)
    found: dict[bytes, dict[bytes, bytes]] = {}
    for file in given.taken():
        found.setdefault(file.directory, {})[file.name] = file.content
    return found
