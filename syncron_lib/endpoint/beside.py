"""Replies about what stands beside the tables of directories (hard links, extended attributes), and
what the writing side alone carries out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib.endpoint.parts import LIMIT
from syncron_lib.endpoint.writing import Writing
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.root import Root
from syncron_lib.protocol import messages

if TYPE_CHECKING:
    from syncron_lib.core.extended import Mark
    from syncron_lib.fs.extended import Reading

_MOST = 200_000
"""Items in one reply."""
_LINK, _MARKED = 20, 48
"""Bytes of a `Linked` and of a `Marked` beside the path."""


class Beside:
    """Carries out the requests about them on one root."""

    def __init__(
        self,
        root: Callable[[], Root],
        alternate: Callable[[int], Root],
        writes: Callable[[], Writing],
        noted: Callable[[messages.Stored], messages.Stored],
        limit: int = LIMIT,
    ) -> None:
        """``root``, ``writes``: the open root and its writing side, which raise where there is
        none, as does ``alternate``: those of the root, by number. ``noted``: is given what was
        stored. ``limit``: bytes after which a reply is cut."""
        self._root = root
        self._alternate = alternate
        self._writes = writes
        self._noted = noted
        self._limit = limit

    def handlers(self) -> dict[Any, Callable[[Any], Any]]:
        """What carries out which request."""
        return {
            messages.GetLinks: self.links,
            messages.GetMarks: self.marks,
            messages.GetSets: self.sets,
            messages.CountKinds: self.kinds,
            messages.Link: self.link,
            messages.Extend: self.extend,
        }

    def links(self, request: messages.GetLinks) -> messages.Links:
        """The names of files with several behind the first ones, as many as fit."""
        links = self._root_of(request.alternate).links
        names = (
            messages.Linked(number, group.mode, group.size, path)
            for number, group in enumerate(() if links is None else links.groups)
            for path in group.paths
        )
        part: list[messages.Linked] = []
        left = self._limit
        for each in itertools.islice(names, request.known, None):
            if left <= 0 or len(part) == _MOST:
                return messages.Links(part, True)
            part.append(each)
            left -= len(each.path) + _LINK
        return messages.Links(part)

    def _root_of(self, alternate: Optional[int]) -> Root:
        return self._root() if alternate is None else self._alternate(alternate)

    def _extended(self, root: Root) -> tuple[Optional[Reading], Mapping[bytes, Mark]]:
        profile = root.profile
        extended = root.extended() if profile is not None and profile.extended else None
        if extended is None or profile is None:
            return None, {}
        return extended, extended.marks(profile)

    def marks(self, request: messages.GetMarks) -> messages.Marks:
        """The same for entries with extended attributes."""
        extended, marks = self._extended(self._root_of(request.alternate))
        if extended is None:
            return messages.Marks(())
        part: list[messages.Marked] = []
        left = self._limit
        for path, mark in itertools.islice(marks.items(), request.known, None):
            if left <= 0 or len(part) == _MOST:
                return messages.Marks(part, True)
            has = extended.entries[path]
            part.append(messages.Marked(path, has.mode, has.size, *mark))
            left -= len(path) + _MARKED
        return messages.Marks(part)

    def sets(self, request: messages.GetSets) -> messages.Sets:
        """What entries have, the first ones, as many as fit."""
        extended, marks = self._extended(self._root())
        profile = self._root().profile
        if extended is None or profile is None:
            raise PeerViolation("The client asked for extended attributes, which are not kept.")
        found: list[bytes] = []
        left = self._limit
        for path in request.paths:
            # Nothing is looked at but what the scan found.
            found.append(extended.set_of(path, profile) if path in marks else b"")
            left -= len(found[-1]) + 4
            if left <= 0:
                break
        return messages.Sets(found)

    def kinds(self, _request: messages.CountKinds) -> messages.Kinds:
        """How many entries there are of each kind."""
        from syncron_lib.fs.kinds import count_kinds

        return messages.Kinds(*count_kinds(self._root().tree))

    def link(self, request: messages.Link) -> messages.Stored:
        """Make hard links."""
        return self._noted(self._writes().link(request.items))

    def extend(self, request: messages.Extend) -> messages.Stored:
        """Give entries extended attributes."""
        return self._noted(self._writes().extend(request))

    def imply(self, request: messages.Imply) -> messages.Done:
        """Leave the attributes of directories out of the root."""
        self._root().implied.update(request.paths)
        return messages.Done()

    def make_implied(self, request: messages.MakeImplied) -> messages.Stored:
        """Make directories that are only on the way."""
        return self._noted(self._writes().make_implied(request.paths))

    def keep(self, request: messages.Keep) -> messages.Done:
        """Keep contents until the end."""
        return self._writes().keep(request)

    def move(self, request: messages.Move) -> messages.Stored:
        """Move entries."""
        return self._writes().move(request)

    def release(self, _request: messages.Release) -> messages.Stored:
        """Give what was to wait its names."""
        return self._noted(self._writes().release())

    def adjust(self, request: messages.Adjust) -> messages.Stored:
        """Set attributes."""
        return self._noted(self._writes().adjust(request.items))

    def delete(self, request: messages.Delete) -> messages.Stored:
        """Delete entries."""
        return self._noted(self._writes().delete(request.paths))
