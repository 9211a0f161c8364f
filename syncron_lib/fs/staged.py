"""A new directory on its way in."""

from __future__ import annotations

from syncron_lib.core.merkle import Attributes
from syncron_lib.fs.ledger import NewEntry
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
