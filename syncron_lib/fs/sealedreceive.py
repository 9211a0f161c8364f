"""Sealed files on their way in: opened before they have a name, or not taken at all."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Union

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, shown
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.errors import NotAuthentic
from syncron_lib.fs.contents import Missing
from syncron_lib.fs.ledger import Written
from syncron_lib.fs.staging import CREATE_READABLE
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.largefile import LargeFile
    from syncron_lib.fs.publish import Publisher
    from syncron_lib.fs.tree import Tree
    from syncron_lib.fs.view import View
    from syncron_lib.protocol.pack import Delta, Piece


class Small(NamedTuple):
    """A file that was opened: its content, and the attributes that were sealed with it."""

    data: memoryview
    mode: int
    mtime_ns: int


def require_sealed(view: View, path: bytes, mode: int, kept: bool) -> None:
    """See that what should come sealed can be: a file, with its content, or what is never sealed
    and takes no sealed file's place. Raises NotAuthentic; Missing where the content is said to be
    here, which holds plaintext only."""
    if mode & TYPE_MASK != stat.S_IFREG:
        if not view.was_sealed(path):
            return
        raise NotAuthentic(
            f"{shown(path)} should be a sealed file, and the other side shows something else in its"
            " place. Nothing of it was taken; if that is right, say --declassify."
        )
    if kept:
        raise Missing


def opened(view: View, path: bytes, data: memoryview, mode: int, mtime_ns: int) -> Small:
    """What is sealed in ``data``. Raises NotAuthentic."""
    found = view.open(path, data)
    if found is None:
        return Small(data, mode, mtime_ns)
    plain, sealed = found
    return Small(memoryview(plain), mode & TYPE_MASK | sealed.mode, sealed.mtime_ns)


def require_plain(view: View, tree: Tree, old: bytes, new: bytes) -> None:
    """See that a move takes nothing that is sealed elsewhere to another place, where the other side
    could have it in clear, and nothing in clear to a place for what is sealed. Raises NotAuthentic,
    and OSError where content must come instead."""
    for path in _files(tree, old):
        if view.is_sealed(path):
            raise NotAuthentic(
                f"The other side shows {shown(path)}, which is sealed, under another name, and"
                " nobody with the key can have done that. Nothing of it was moved."
            )
        if view.is_sealed(new + path[len(old) :]):
            raise PermissionError(errno.EPERM, "it is sealed there")


def _files(tree: Tree, top: bytes) -> Iterator[bytes]:
    """The entry at ``top``, or all that is below it."""
    if top not in tree.nodes:
        yield top
        return
    for path, node in tree.nodes.items():
        if path == top or path.startswith(top + b"/"):
            yield from (join(path, name) for name in node.columns().names)


class Opening(NamedTuple):
    """What gives large files their names once they are opened."""

    view: View
    publisher: Publisher
    finish_file: Callable[[int, bytes, Attributes, int], int]
    durable: bool

    def publish(self, large: LargeFile, pack: Union[Piece, Delta], replace: bool) -> bool:
        """Open a large file that has come as a whole, into a file of its own, and publish that;
        False where it may stay as it came. Raises NotAuthentic and OSError."""
        staging = large.place.staging
        if staging is None or not self.view.is_sealed(large.path):
            return False
        name = staging.name_for_small()
        fd = os.open(name, CREATE_READABLE, 0o600, dir_fd=staging.fd)
        try:
            found = self.view.open_file(large.path, large.place.fd, fd)
            if found is None:
                staging.remove(name)
                return False
            kind = pack.attributes.mode & TYPE_MASK
            own = pack.attributes._replace(mode=kind | found.mode, mtime_ns=found.mtime_ns)
            mtime = self.finish_file(fd, large.path, own, time.time_ns())
            if self.durable:
                os.fsync(fd)
            written = Written(found.size, mtime, pack.digest)
            self.publisher.publish(large.path, staging, name, replace, written)
        except BaseException:
            staging.remove(name)
            large.remove()
            raise
        finally:
            os.close(fd)
        large.remove()
        return True
