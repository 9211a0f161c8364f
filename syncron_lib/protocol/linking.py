"""The messages about hard links; `protocol.messages` has them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from syncron_lib.record import NamedTuple


class GetLinks(NamedTuple):
    """Ask which names of the tree are names of one file, less the first ``known`` of them.
    ``alternate``: of which alternate's tree, where it is not the root's."""

    known: int = 0
    alternate: Optional[int] = None


class Linked(NamedTuple):
    """One name of a file that has several in the tree. ``group``: the same number for all of them,
    which follow each other in the order of a walk. ``mode`` and ``size``: the file's."""

    group: int
    mode: int
    size: int
    path: bytes


class Links(NamedTuple):
    """Reply to `GetLinks`; ``more``: these are not all."""

    links: Sequence[Linked]
    more: bool = False


class Linking(NamedTuple):
    """A path that is to be a name of the file at ``leader``. ``replace``: an entry of another kind
    stands there and may be removed."""

    path: bytes
    leader: bytes
    replace: bool


class Link(NamedTuple):
    """Make hard links. Reply: `Stored`, with the paths whose file system does not take them in
    ``again``: their content is to be sent."""

    items: Sequence[Linking]
