"""A replica on this machine whose sealed files are on its disk as they are sealed: a disk beside a
home in which they are in clear.

Which of the two a directory is must never be guessed wrong: plaintext would come to a disk that
somebody else may get, or ciphertext into a home. So it is said once, noted in the replica, and what
is found there is held against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from syncron_lib.core.names import join, shown
from syncron_lib.core.options import SecureOptions
from syncron_lib.core.sealing import MAGIC, RULES
from syncron_lib.errors import GuardRefused
from syncron_lib.fs import sealedrules, view
from syncron_lib.fs.manifestfile import mark_sealed
from syncron_lib.fs.sealedreplica import ReplicaView
from syncron_lib.protocol import messages

if TYPE_CHECKING:
    from syncron_lib.fs.root import Root


class CarriedView(ReplicaView):
    """Carries out `fs.view.View` of a tree that is as it is seen: nothing is opened there."""

    def __init__(self, options: SecureOptions, environment: Mapping[str, str], marks: bool) -> None:
        """``marks``: the run may note in the replica what it is."""
        super().__init__(options, None, environment)
        self._marks = marks

    def use(self, root: Root, where: str, manifest: bytes) -> messages.Viewed:
        """As `View`."""
        self.begin()
        leave = "leave out --sealed for it, or name another directory. Nothing was changed."
        if self._replica is not None and self._replica.sealed:
            raise GuardRefused(
                f"{where} holds files in clear that other replicas have sealed, so it cannot be one"
                f" that is sealed itself: {leave}"
            )
        for path, content in sealedrules.found(root):
            if not content.startswith(MAGIC):
                rules = shown(join(path, RULES))
                raise GuardRefused(
                    f"{where} is to be sealed, and {rules} in it is in clear: {leave}"
                )
        if self._marks and root.directories is not None:
            mark_sealed(root.directories.root_fd)
        view.forget(root, root.sealed_before.split(b"\0"))
        return messages.Viewed(False, False, 0, False, bool(root.sealed_before), b"", False)
