"""What a client remembers of the manifests that it has seen: the highest counter, and its hash."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping

from syncron_lib.errors import StateUnusable
from syncron_lib.fs.state import state_directory
from syncron_lib.record import NamedTuple


class Seen(NamedTuple):
    """The newest manifest that was seen; counter 0 for none."""

    counter: int = 0
    hash: bytes = b""


class SeenFile:
    """Kept beside the states, one for each tree and place where it is sealed."""

    def __init__(self, environment: Mapping[str, str], root_id: bytes, where: str) -> None:
        try:
            directory = state_directory(environment)
        except StateUnusable:
            self.path = b""  # as on a fresh machine, each time
            return
        name = hashlib.sha256(root_id + where.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.path = os.path.join(directory, name.encode() + b".sealed")

    def read(self) -> Seen:
        """What was seen last; nothing where that is lost or damaged."""
        try:
            with open(self.path, "rb") as file:
                counter, value = file.read(200).split()
            return Seen(int(counter), bytes.fromhex(value.decode("ascii")))
        except (OSError, ValueError):
            return Seen()

    def write(self, seen: Seen) -> None:
        """Remember ``seen``."""
        if not self.path:
            return
        temporary = self.path + b".new"
        with contextlib.suppress(OSError):
            with open(temporary, "wb") as file:
                file.write(b"%d %s\n" % (seen.counter, seen.hash.hex().encode()))
            os.replace(temporary, self.path)
