"""The messages by which a source learns what content the destination has; part of
`protocol.messages`, under which name they are used."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.record import NamedTuple


class GetSizes(NamedTuple):
    """Ask the source for the sizes of the selected files, in order to ask the destination."""


class Sizes(NamedTuple):
    """Reply to `GetSizes`: distinct sizes, 8 bytes each."""

    sizes: bytes


class Find(NamedTuple):
    """Ask the destination for the contents that it has of these sizes (as in `Sizes`)."""

    sizes: bytes


class Found(NamedTuple):
    """Reply to `Find`: contents, 8 bytes of size and 16 of digest each."""

    contents: bytes


class Offer(NamedTuple):
    """Tell the source which contents the destination has (as in `Found`). ``later``: files that
    will be selected later."""

    contents: bytes
    later: Sequence[bytes]


class Wanted(NamedTuple):
    """Reply to `Offer`: digests of large contents that the source will refer to; ``here``: which
    of the files that are selected later have such a one."""

    digests: bytes
    here: Sequence[bytes]


class Keep(NamedTuple):
    """Tell the destination of which large contents it must not lose the last copy before the
    end. Reply: `Done`."""

    digests: bytes
