"""What a plan makes of paths: for what is decided when all else of it is known."""

from __future__ import annotations

from collections.abc import Set
from typing import Optional

from syncron_lib.core.links import up
from syncron_lib.core.plan import Adjust, Change, Create, Plan


class Fates:
    """The steps of one plan by path."""

    def __init__(self, plan: Plan, unsure: Set[bytes]) -> None:
        """``unsure``: paths that could not be compared; nothing is said of them and all below."""
        self.creates: dict[bytes, Create] = {create.path: create for create in plan.creates}
        self.changes: dict[bytes, Change] = {change.path: change for change in plan.changes}
        self.adjusts: dict[bytes, Adjust] = {adjust.path: adjust for adjust in plan.adjusts}
        self._unsure = unsure
        self._moves = {move.old: move.path for move in plan.moves}
        self._gone = {remove.path for remove in plan.removes}.union(plan.extras)
        # What is taken from an alternate is as it is to be.
        self.taken = frozenset(take.path for take in plan.takes)
        self._gone.update(self.taken, (make.path for make in plan.parents))

    def created(self, path: bytes) -> Optional[Create]:
        """What is created with ``path`` in it, or as it."""
        return next((self.creates[top] for top in up(path) if top in self.creates), None)

    def kept(self, path: bytes) -> Optional[bytes]:
        """Where what the destination has at ``path`` will be; None if it is no more, or no part of
        what the run is about."""
        for top in up(path):
            if top in self._moves:
                path = self._moves[top] + path[len(top) :]
                break
            if top in self._gone:
                return None
        return path if self.stays(path) else None

    def stays(self, path: bytes) -> bool:
        """Whether the destination has the source's content of ``path`` there."""
        return path not in self.changes and self.created(path) is None and self.is_sure(path)

    def is_sure(self, path: bytes) -> bool:
        """Whether it could be compared."""
        return self._unsure.isdisjoint(up(path))
