"""Requests to a source for content."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Optional

from syncron_lib.errors import PeerViolation
from syncron_lib.fs.send import Sender
from syncron_lib.protocol import compression, messages, pack

if TYPE_CHECKING:
    from syncron_lib.endpoint.local import LocalEndpoint


class Sending:
    """The sending side of the root that an endpoint has open."""

    def __init__(self, endpoint: LocalEndpoint) -> None:
        self._endpoint = endpoint
        self._sender: Optional[Sender] = None

    def _sends(self) -> Sender:
        if self._sender is None:
            end = self._endpoint
            root = end.root
            how = end.algorithm, root.real_name, root.chunk_lists
            self._sender = Sender(root.tree, end.directories(), *how, end.left_out, root.view)
            if root.links is not None:
                self._sender.linked = root.links.others(end.left_out)
        return self._sender

    def basis(self, request: messages.Basis) -> messages.Done:
        """What the destination has of a file."""
        view = self._endpoint.root.view
        if view is not None and view.is_sealed(request.path):
            return messages.Done()  # nothing of it is like what it has
        self._sends().bases.add(request)
        return messages.Done()

    def select(self, request: messages.Select) -> messages.Done:
        """What is wanted."""
        self._sends().select(request.items, request.arrived, request.plain)
        return messages.Done()

    def get_sizes(self, _request: messages.GetSizes) -> messages.Sizes:
        """The sizes of what was selected."""
        return messages.Sizes(self._sends().sizes())

    def offer(self, request: messages.Offer) -> messages.Wanted:
        """What the destination has of these sizes."""
        return messages.Wanted(*self._sends().offer(request.contents, request.later))

    def next(self, request: messages.Next) -> list[pack.Buffer]:
        """The next pack, as parts that are valid until the next call."""
        if self._sender is None:
            raise PeerViolation("The client asked for content before selecting any.")
        most = compression.MAX_LEVEL.get(request.compression)
        if most is None or request.level > most:
            raise PeerViolation(
                f"The client asked for compression {request.compression} of level {request.level}."
            )
        began = time.perf_counter()
        parts = self._sender.next(request)
        return pack.with_busy(parts, int((time.perf_counter() - began) * 1e6))

    def remove_source(self, _request: messages.RemoveSource) -> messages.Stored:
        """Remove what was brought over."""
        from syncron_lib.endpoint.parts import bounded
        from syncron_lib.fs.handover import Handover

        end = self._endpoint
        handover = Handover(end.root.tree, end.directories(), end.root.real_name)
        problems = handover.remove_all(list(end.left_out))
        return messages.Stored(handover.removed, 0, bounded(problems), (), ())

    @property
    def is_done(self) -> bool:
        """Whether all that was selected has been given out."""
        return self._sender is None or self._sender.is_done

    def close(self) -> None:
        """Let go of what is open."""
        if self._sender is not None:
            self._sender.bases.close()
            self._sender = None
