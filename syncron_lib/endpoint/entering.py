"""Requests about symlinks of a destination that are taken for directories."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syncron_lib.endpoint.parts import bounded
from syncron_lib.errors import PeerViolation
from syncron_lib.fs import dirlinks
from syncron_lib.fs.ignorefiles import IgnoreFile
from syncron_lib.fs.root import Root
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Doubled, Entered, Problem, Scanned

Scan = Callable[[Sequence[IgnoreFile]], Scanned]
"""Scans the root again."""


def enter(root: Root, request: messages.Enter, scan: Scan) -> Entered:
    """Have symlinks stand for the directories that they lead to, if they do."""
    directories = root.directories
    if directories is None:
        raise PeerViolation("The client asked for what lies in a root that is missing.")
    entered, refused = [], []
    for path in request.paths:
        try:
            if dirlinks.enter(directories, path):
                entered.append(path)
        except dirlinks.NotFollowed as reason:
            refused.append(Problem(path, str(reason), False))
    scanned = scan(root.ignore_files) if entered else Scanned(0, 0, 0, bytes(16), (), ())
    pairs = dirlinks.doubled(directories.entered, root.tree.nodes) if entered else ()
    counts = scanned.entries, scanned.size, scanned.problems
    return Entered(*counts, entered, bounded(refused), [Doubled(*pair) for pair in pairs])
