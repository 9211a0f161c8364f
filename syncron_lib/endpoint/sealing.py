"""Requests about sealed files: a manifest kept for others, and a tree seen as its ciphertext."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, cast

from syncron_lib.core.role import Role
from syncron_lib.endpoint.parts import LIMIT
from syncron_lib.errors import PeerViolation
from syncron_lib.fs import manifestfile
from syncron_lib.protocol import messages

if TYPE_CHECKING:
    from syncron_lib.endpoint.local import LocalEndpoint
    from syncron_lib.fs.replica.replica import Replica
    from syncron_lib.fs.view import ReplicaView, View

_PART = 4 << 20
"""Bytes of a manifest in one message."""
_FILE = 6
"""Bytes of a file in a reply beside its path."""


class Manifests:
    """The manifest of the root that an endpoint has open, and the view of who has the key."""

    def __init__(
        self, endpoint: LocalEndpoint, view: Optional[View], replica: Callable[[], Replica]
    ) -> None:
        """``replica``: what the root is one of several with."""
        self._endpoint = endpoint
        self._given_view = view
        self._replica = replica
        self._incoming = bytearray()
        self._before = b""
        self._made: Optional[bytes] = None
        self._unsettled: list[bytes] = []
        self._removed: list[bytes] = []
        self._files: Optional[list[messages.SealedFile]] = None
        self._tops: Optional[list[messages.SealedFile]] = None

    def handlers(self) -> dict[Any, Callable[[Any], Any]]:
        """What carries out which request."""
        return {
            messages.GetManifest: self.get,
            messages.PutManifest: self.put,
            messages.GetLineage: self.lineage,
            messages.PutLineage: self.put_lineage,
            messages.UseManifest: self.use,
            messages.GetSealed: self.files,
            messages.MakeManifest: self.make,
            messages.KeepManifest: self.keep,
            messages.Judge: self.judge,
            messages.Resolve: self.resolve,
        }

    def close(self) -> None:
        """Forget what was about one root."""
        self._incoming.clear()
        self._before = b""
        self._made = self._files = self._tops = None

    def _view(self) -> View:
        if self._given_view is None:
            raise PeerViolation("The client asked about sealed files where there is no key.")
        return self._given_view

    def _replica_view(self) -> ReplicaView:
        return cast("ReplicaView", self._view())

    def _take(self, content: bytes, more: bool) -> Optional[bytes]:
        """Add a part; the whole, if this was the last."""
        if len(self._incoming) + len(content) > manifestfile.MAX_SIZE:
            raise PeerViolation("The other side sent a manifest that is too large.")
        self._incoming += content
        if more:
            return None
        whole = bytes(self._incoming)
        self._incoming.clear()
        return whole

    def get(self, request: messages.GetManifest) -> messages.Manifest:
        """A part of the manifest."""
        end = self._endpoint
        if not end.is_open:
            return messages.Manifest(b"")
        content = self._made
        if content is None:
            known = end.root.directories
            content = b"" if known is None else manifestfile.read(known.root_fd)
        part = content[request.start : request.start + _PART]
        return messages.Manifest(part, request.start + len(part) < len(content))

    def put(self, request: messages.PutManifest) -> messages.Done:
        """Keep a manifest."""
        whole = self._take(request.content, request.more)
        if whole is not None:
            end = self._endpoint
            root_fd, durable = end.directories().root_fd, end.writes().durable
            manifestfile.write(root_fd, whole, durable, self._before)
        return messages.Done()

    def lineage(self, _request: messages.GetLineage) -> messages.Lineage:
        """What the manifest came after."""
        return messages.Lineage(manifestfile.lineage(self._endpoint.directories().root_fd))

    def put_lineage(self, request: messages.PutLineage) -> messages.Done:
        """Note what the next manifest came after."""
        if not manifestfile.is_lineage(request.digests):
            raise PeerViolation("The other side sent a lineage that is none.")
        self._before = request.digests
        return messages.Done()

    def use(self, request: messages.UseManifest) -> messages.Viewed:
        """See the tree as sealed."""
        view = self._view()
        whole = self._take(request.content, request.more)
        if whole is None:
            return messages.Viewed(False, False, 0, False, False, b"", False)
        if self._endpoint.role is Role.REPLICA:
            replica = self._replica()
            replica.view = self._replica_view()
            replica.view.join(replica)
        viewed = view.use(self._endpoint.root, request.where, whole)
        self._files = self._tops = None
        return viewed

    def files(self, request: messages.GetSealed) -> messages.SealedFiles:
        """What is sealed."""
        if request.tops:
            if self._tops is None:
                self._tops = [
                    messages.SealedFile(path, False, False) for path in self._view().tops()
                ]
            files = self._tops
        else:
            if self._files is None:
                self._files = self._view().files()
            files = self._files
        part = []
        size = 0
        for file in files[request.known :]:
            part.append(file)
            size += len(file.path) + _FILE
            if size > LIMIT or len(part) == 100_000:
                break
        return messages.SealedFiles(part, request.known + len(part) < len(files))

    def make(self, request: messages.MakeManifest) -> messages.Done:
        """Make a manifest of what is sealed by now."""
        self._unsettled.extend(request.unsettled)
        self._removed.extend(request.removed)
        if not request.more:
            self._made = self._view().make(
                request.announce, self._unsettled, self._removed, request.settled
            )
            self._unsettled, self._removed = [], []
        return messages.Done()

    def keep(self, _request: messages.KeepManifest) -> messages.Done:
        """Remember the newest manifest."""
        self._view().keep()
        return messages.Done()

    def mark(self) -> None:
        """See which files are sealed, after the tree was written to."""
        if self._given_view is not None and self._endpoint.role is Role.REPLICA:
            self._replica_view().mark(self._endpoint.root)

    def judge(self, request: messages.Judge) -> messages.Judgement:
        """What is signed of some paths."""
        return messages.Judgement(self._replica_view().judge(request.paths))

    def resolve(self, request: messages.Resolve) -> messages.Done:
        """Take what the client itself has made."""
        self._replica_view().resolve(request.items)
        return messages.Done()
