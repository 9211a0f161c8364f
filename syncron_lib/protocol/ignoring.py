"""The messages about ignore files; `protocol.messages` has them all."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.record import NamedTuple


class IgnoreFile(NamedTuple):
    """An ignore file's content; ``directory`` is where it rules, ``name`` as in core.rules."""

    directory: bytes
    name: bytes
    content: bytes


class GetIgnoreFiles(NamedTuple):
    """Ask the source for the ignore files that its scan found, less the first ``known``."""

    known: int = 0


class IgnoreFiles(NamedTuple):
    """Reply to `GetIgnoreFiles`; ``more``: these are not all."""

    files: Sequence[IgnoreFile]
    more: bool = False


class UseIgnoreFiles(NamedTuple):
    """Tell the destination the source's ignore files; it scans again, once there are no ``more``
    to come (and answers with zeros before). Reply: `Scanned`."""

    files: Sequence[IgnoreFile]
    more: bool = False
