"""What a client asks to be kept of what a run replaces or deletes, checked before anything is."""

from __future__ import annotations

import os
import stat
from typing import Optional

from syncron_lib.core.names import shown
from syncron_lib.errors import PeerViolation, RootError
from syncron_lib.fs.backup import Backup, Elsewhere
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.reach import Reach
from syncron_lib.fs.root import Root
from syncron_lib.protocol import messages
from syncron_lib.record import NamedTuple


class Kept(NamedTuple):
    """How backups are named; ``elsewhere``: None where they stay beside what they were."""

    suffix: bytes
    elsewhere: Optional[Elsewhere]

    def backup(self, directories: Directories, umask: int, durable: bool, extended: int) -> Backup:
        """What keeps the entries of one tree; see there."""
        return Backup(directories, self.suffix, self.elsewhere, umask, durable, extended)


def kept(request: messages.Backup, root: Root, reach: Reach) -> Kept:
    """Look at where backups are to go. Raises RootError where they cannot."""
    suffix, directory = request.suffix, request.directory
    if b"/" in suffix or b"\0" in suffix or (directory is None and not suffix):
        raise PeerViolation("The client asked for backups with a suffix that cannot be.")
    if directory is None:
        return Kept(suffix, None)
    place = reach.look(os.path.join(root.path, directory))
    if place.kind not in (0, stat.S_IFDIR):
        raise RootError(
            f"The backup directory {shown(place.path)} is not a directory."
            " Nothing was changed; name another with --backup-dir."
        )
    above, inside = place.path.rstrip(b"/") + b"/", root.path.rstrip(b"/") + b"/"
    if inside.startswith(above):
        raise RootError(
            f"The backup directory {shown(place.path)} holds the destination itself, whose files"
            " backups could replace. Nothing was changed; name another with --backup-dir."
        )
    if above.startswith(inside) and above[len(inside) : -1] in root.tree.nodes:
        raise RootError(
            f"The backup directory {shown(place.path)} belongs to the tree that is copied to."
            f" Nothing was changed; leave it out with --exclude=/{shown(above[len(inside) : -1])}/."
        )
    return Kept(suffix, Elsewhere(place.path, request.below, reach))
