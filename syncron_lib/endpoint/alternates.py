"""Requests about alternates: directories in which a destination finds what did not change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import shown
from syncron_lib.endpoint import hashes, parts
from syncron_lib.errors import PeerViolation, RootError
from syncron_lib.fs.reach import Reach
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Problem

if TYPE_CHECKING:  # few runs have alternates
    from syncron_lib.endpoint.local import LocalEndpoint
    from syncron_lib.fs.alternates import Alternate, Linker
    from syncron_lib.fs.basis import OldFiles
    from syncron_lib.fs.largefile import Old
    from syncron_lib.fs.root import Root


class Alternates:
    """Those of the root that an endpoint has open."""

    def __init__(
        self, endpoint: LocalEndpoint, reach: Reach, environment: Mapping[str, str]
    ) -> None:
        self._endpoint = endpoint
        self._reach = reach
        self._environment = environment
        self._open: list[Optional[Alternate]] = []
        self._linker: Optional[Linker] = None
        self._bases: dict[bytes, Alternate] = {}
        """Which has an earlier file, by path."""

    def handlers(self) -> dict[Any, Callable[[Any], Any]]:
        """What carries out which request."""
        return {
            messages.UseAlternates: self.use,
            messages.ListAlternate: self.listed,
            messages.HashAlternate: self.hashed,
            messages.TakeEntries: self.take,
            messages.TakeBasis: self.take_basis,
        }

    def use(self, request: messages.UseAlternates) -> messages.Alternates:
        """Look for them, and scan those that are there."""
        if not self._endpoint.is_open:
            return messages.Alternates([False] * len(request.directories))
        if self._open:
            raise PeerViolation("The client named alternate directories twice.")
        for directory in request.directories:
            self._open.append(self._opened(directory))
        return messages.Alternates([each is not None for each in self._open])

    def _opened(self, directory: bytes) -> Optional[Alternate]:
        from syncron_lib.fs.alternates import Alternate
        from syncron_lib.fs.root import Root

        root = self._endpoint.root
        place = self._reach.look(os.path.join(root.path, directory))
        if place.kind != stat.S_IFDIR:
            return None
        if place.path == root.path:
            raise RootError(
                f"{shown(place.path)} is the destination itself, which cannot stand in for it."
                " Nothing was changed; name another directory to compare with."
            )
        alternate = Alternate(Root(place, root.choice, self._environment, self._reach))
        alternate.scan(self._endpoint.holder)
        return alternate

    def _alternate(self, number: int) -> Alternate:
        """An open one, sealed as the root is."""
        alternate = self._open[number] if number < len(self._open) else None
        if alternate is None:
            raise PeerViolation("The client asked about an alternate directory that is not there.")
        if alternate.hasher is None:
            self._endpoint.seal_alternate(alternate)
        return alternate

    def root(self, number: int) -> Root:
        """One of them as a root."""
        return self._alternate(number).root

    def listed(self, request: messages.ListAlternate) -> messages.Listing:
        """As `List`; but that a directory is not there is an answer here."""
        alternate = self._alternate(request.alternate)
        return parts.listing(alternate.root.tree.nodes, request.paths, request.after)

    def hashed(self, request: messages.HashAlternate) -> messages.Hashed:
        """As `Hash`."""
        hasher = self._alternate(request.alternate).hasher
        assert hasher is not None
        return hashes.hashed(hasher, request.paths)

    def take(self, request: messages.TakeEntries) -> messages.Stored:
        """Make directories, and take entries."""
        writing = self._endpoint.writes()
        alternate = self._alternate(request.alternate)
        if self._linker is None:
            self._linker = writing.linker()
        linker = self._linker
        before = linker.entries
        problems = []
        for directory in request.directories:
            try:
                linker.make(directory.path, Attributes(*directory[1:]))
            except OSError as error:
                what = f"cannot be made: {error.strerror}"
                problems.append(Problem(directory.path, what, False))
        for item in request.items:
            try:
                for path, failed in linker.take(alternate, item):
                    problems.append(_untaken(path, failed))
            except OSError as error:
                problems.append(_untaken(item.path, error))
        return self._endpoint.noted(
            messages.Stored(linker.entries - before, 0, parts.bounded(problems), (), ())
        )

    def take_basis(self, request: messages.TakeBasis) -> messages.Done:
        """Put these files together from an alternate's."""
        alternate = self._alternate(request.alternate)
        for path in request.paths:
            self._bases[path] = alternate
        return messages.Done()

    def old_files(self, path: bytes) -> Optional[OldFiles]:
        """What tells the chunks of the file at ``path``, where that is an alternate's."""
        alternate = self._bases.get(path)
        return None if alternate is None else alternate.old_files(self._endpoint.algorithm)

    def old(self, path: bytes) -> Optional[Old]:
        """The alternate's file, open, where what comes is put together from that."""
        alternate = self._bases.get(path)
        return None if alternate is None else alternate.old(path)

    def save(self) -> None:
        """Keep what is known of them for the next run."""
        linked = {} if self._linker is None else self._linker.linked
        for alternate in self._open:
            if alternate is not None and alternate.hasher is not None:
                if linked:
                    alternate.follow(linked)
                alternate.save()

    def snapshots(self, request: messages.Message) -> messages.Snapshots:
        """What is asked about dated trees, where no root is open."""
        from syncron_lib.endpoint import snapshots

        return snapshots.carried_out(request, self._environment, self._reach)

    def close(self) -> None:
        """Let go of them."""
        if self._open:
            from syncron_lib.fs.alternates import close_all

            close_all(self._open)
            self._open = []
        self._linker = None
        self._bases = {}


def _untaken(path: bytes, error: OSError) -> Problem:
    return Problem(path, f"cannot be taken from the alternate directory: {error.strerror}", False)
