"""A new directory on its way in."""

from __future__ import annotations

import os
import stat

from syncron_lib.core.merkle import Attributes
from syncron_lib.fs.attributes import Applied
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.ledger import Ledger, NewEntry
from syncron_lib.fs.publish import Publisher
from syncron_lib.fs.staging import Staging
from syncron_lib.record import NamedTuple


class StagedDirectory(NamedTuple):
    """A new directory while it is filled."""

    path: bytes
    staging: Staging
    name: bytes
    fd: int
    attributes: Attributes
    entries: list[NewEntry]

    def open(self) -> int:
        """A descriptor of the caller's own, while it is staged. Raises OSError."""
        return os.open(self.name, OPEN_DIRECTORY, dir_fd=self.staging.fd)

    def publish(
        self, publisher: Publisher, ledger: Ledger, keep: Applied, closed: bool, replace: bool
    ) -> int:
        """Give it its name; how many entries have one by that. ``closed``: nobody but its owner may
        enter it before the end of the run. Raises OSError."""
        publisher.publish_directory(self.path, self.staging, self.name, replace)
        # Its own attributes come last of all: it must stay writable until then.
        mode = 0 if closed else keep.mode_of(self.attributes)
        if not keep.permissions:
            mode |= os.fstat(self.fd).st_mode & stat.S_ISGID
        os.fchmod(self.fd, mode & (0o1777 if keep.permissions else 0o3777) | 0o700)
        ledger.add_directory(self.path, self.attributes, self.entries)
        return 1 + len(self.entries)
