"""A tree as the other side may see it: what is sealed as its ciphertext.

Only interfaces: what carries them out holds a key, and is never shipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Optional, Protocol

from syncron_lib.core import digest
from syncron_lib.core.names import split
from syncron_lib.core.table import Table
from syncron_lib.protocol.pack import Renaming
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.root import Root
    from syncron_lib.fs.stats import StatRow
    from syncron_lib.fs.tree import Tree
    from syncron_lib.protocol import messages


class Reader(Protocol):
    """A file's bytes as the other side gets them."""

    size: int

    def read(self, space: memoryview) -> int:
        """Fill the beginning of ``space``; how many bytes, 0 at the end. Raises OSError."""

    def rewind(self) -> None:
        """Begin again."""

    def is_true(self) -> bool:
        """Whether all that was read is what was hashed before."""


class FileReader:
    """A file that is not sealed, open at ``fd``."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size

    def read(self, space: memoryview) -> int:
        """As `Reader`."""
        return os.readv(self._fd, (space,)) if space else 0

    def rewind(self) -> None:
        """As `Reader`."""
        os.lseek(self._fd, 0, os.SEEK_SET)

    def is_true(self) -> bool:
        """As `Reader`."""
        return True


class Opened(NamedTuple):
    """What is sealed beside a file's content."""

    size: int
    mode: int
    mtime_ns: int


class Naming(Renaming, Protocol):
    """Names of a tree as the other side has them."""

    def touches(self, path: bytes, names: Sequence[bytes]) -> bool:
        """Whether some of the names in a directory are others there."""

    def sealed_table(self, path: bytes, table: Table) -> Table:
        """The table of a directory as it is there."""


class Remembering(Protocol):
    """What one of several replicas remembers."""

    @property
    def sealed(self) -> bytes:
        """What its sealed files stand for, as `View.kept` packed it."""

    def holds(self, path: bytes) -> bool:
        """Whether there is a file at ``path``, as far as it knows."""


class View(Protocol):
    """What an endpoint asks of who has the key."""

    @property
    def naming(self) -> Optional[Naming]:
        """Where names are others on the other side, or may be."""

    active: bool
    """Something in the tree is sealed, or could be."""

    def begin(self) -> None:
        """Another root is opened: nothing is known of it."""

    def use(self, root: Root, where: str, manifest: bytes) -> messages.Viewed:
        """Look at a scanned tree; ``manifest``: the other side's. Raises `SyncronError`."""

    def files(self) -> list[messages.SealedFile]:
        """All that is sealed, in the order of paths."""

    def tops(self) -> list[bytes]:
        """Paths whose last name is sealed, though the one above it is not."""

    def make(
        self, announce: bool, unsettled: Sequence[bytes], removed: Sequence[bytes], settled: bool
    ) -> bytes:
        """A new manifest, as `messages.MakeManifest` says; empty where nothing is another."""

    def keep(self) -> None:
        """The newest manifest is where it belongs."""

    def remembered(self) -> Mapping[str, bytes]:
        """What the state is to keep."""

    def is_sealed(self, path: bytes) -> bool:
        """Whether what is at ``path`` must be sealed on the other side."""

    def was_sealed(self, path: bytes) -> bool:
        """Whether a file at ``path`` is known to have been, and not to have been deleted."""

    def sealed_in(self, directory: bytes) -> Optional[Callable[[bytes], bool]]:
        """The same for names in one directory; None where nothing is."""

    def reader(self, path: bytes, fd: int, scanned: StatRow, sends: bool) -> Reader:
        """A sealed file's ciphertext. ``sends``: it goes over as another than is there. Raises
        `fs.hashing.Changed` where the file changes meanwhile."""

    def seal(self, path: bytes, data: bytes, scanned: StatRow, sends: bool) -> bytes:
        """The ciphertext of a small file that holds ``data``; else as `reader`."""

    def is_touched(self, path: bytes, fd: int, scanned: StatRow) -> bool:
        """Whether the other side has this content, and only what is sealed beside it is another."""

    def open(self, path: bytes, data: memoryview) -> Optional[tuple[bytes, Opened]]:
        """The content of a sealed file; None for one that may be in clear. Raises
        `NotAuthentic`."""

    def open_file(self, path: bytes, fd: int, target: int) -> Optional[Opened]:
        """The same from one file into another."""


class ReplicaView(View, Protocol):
    """The same of one of several replicas."""

    def join(self, replica: Remembering) -> None:
        """The tree that is looked at next is this replica's."""

    def mark(self, root: Root) -> None:
        """See which files are sealed, after a run has written to the tree."""

    def judge(self, paths: Sequence[bytes]) -> list[messages.Judged]:
        """What is signed of those of these paths that are sealed."""

    def resolve(self, items: Sequence[messages.Resolved]) -> None:
        """As `messages.Resolve` says."""

    def failed(self, paths: Sequence[bytes]) -> None:
        """What was to come at these paths has not."""

    def kept(self, tree: Tree) -> Optional[bytes]:
        """What the replica is to remember; None where nothing is sealed."""


def forget(root: Root, paths: Iterable[bytes]) -> None:
    """Forget the digests of the files at these ``paths``: they are of what is sealed, and not of
    what is here, or the other way round."""
    by_directory: dict[bytes, set[bytes]] = {}
    for path in paths:
        parent, name = split(path)
        by_directory.setdefault(parent, set()).add(name)
    for parent, names in by_directory.items():
        node = root.tree.nodes.get(parent)
        if node is not None and node.stats:
            for row, name in enumerate(node.columns().names):
                if name in names:
                    node.set_digest(row, digest.UNKNOWN, True)
