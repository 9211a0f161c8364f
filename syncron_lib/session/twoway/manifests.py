"""Sealed files between replicas of which neither has the key: they are carried as they are, and
what who has the key noted of them, the manifest, goes along.

Nobody here can open a manifest. Which of two came after the other their lineages tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from syncron_lib.core.options import RunOptions
from syncron_lib.errors import GuardRefused
from syncron_lib.protocol import messages
from syncron_lib.session.asking import Flight, reply_of
from syncron_lib.session.beginning import beginning

if TYPE_CHECKING:
    from syncron_lib.session.twoway.ends import End


def require_carried(ends: tuple[End, End], options: RunOptions) -> None:
    """See that what is sealed is meant to be carried as it is. Raises GuardRefused."""
    if options.secure.ciphertext or any(end.keyed for end in ends):
        return
    for end in ends:
        if end.manifest():
            raise GuardRefused(
                f"{end.shown} holds sealed files, or files that others have sealed, and there is no"
                " key: name it with --key. To bring sealed files as they are, without opening them,"
                " say --ciphertext. Nothing was changed."
            )


def carry(ends: tuple[End, End], options: RunOptions, warn: Callable[[str], None]) -> bool:
    """Give both the newer manifest, once all files are the same; whether either got one."""
    if not options.secure.ciphertext:
        return False
    first, second = ends
    manifests = first.manifest(), second.manifest()
    if manifests[0] == manifests[1]:
        return False
    newer = _newer(ends, manifests)
    if newer is None:
        warn(
            f"Runs with the key wrote to both {first.shown} and {second.shown}, and without it"
            " nobody can tell which of them knows more of what is sealed: each keeps its own"
            " manifest. Push from the machine with the key to one of them, then bring that over"
            " the other with --ciphertext."
        )
        return False
    give(ends[1 - newer], manifests[newer], lineage_of(ends[newer]), options)
    return True


def lineage_of(end: End) -> bytes:
    """Digests of the manifests that it had before."""
    return reply_of(end.endpoint.submit(messages.GetLineage()), messages.Lineage).digests


def _newer(ends: tuple[End, End], manifests: tuple[bytes, bytes]) -> int | None:
    """Which of two different manifests came after the other."""
    from syncron_lib.fs.manifestfile import is_in

    for side in (0, 1):
        if not manifests[1 - side]:
            return side
    came_after = [is_in(lineage_of(ends[side]), manifests[1 - side]) for side in (0, 1)]
    return None if came_after[0] == came_after[1] else came_after.index(True)


def give(end: End, content: bytes, lineage: bytes, options: RunOptions) -> None:
    """Have an end keep a manifest, which came after those of a lineage."""
    from syncron_lib.session.secure import put_manifest

    storing = Flight(end.endpoint)
    if not end.writes:
        storing.send(beginning(options), messages.Leftovers)
    if lineage:
        storing.send(messages.PutLineage(lineage), messages.Done)
    put_manifest(storing, content)
    if not end.writes:
        storing.send(messages.Finish((), True), messages.Finished)
    storing.settle()
    end.kept = content
