"""Content that a destination has, by digest: copied from there instead of sent.

It may be in a file as it was scanned, in one that this run has published, in what an interrupted
run left, or in a file that this run replaced and kept aside because the source still wants it.
Whatever is said of it, a copy is read and its digest checked before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.names import join, split
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.fs import stats
from syncron_lib.fs.arrivals import Arrivals
from syncron_lib.fs.copying import copied
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import OPEN_FILE, Changed, FileHasher, Finder
from syncron_lib.fs.ledger import Ledger
from syncron_lib.fs.references import LARGE, REMEMBERED
from syncron_lib.fs.staging import CREATE_READABLE, Staging
from syncron_lib.fs.tree import Node
from syncron_lib.protocol.contents import MOST, Content, unpack_digests

_KEPT_SMALL = 64 << 20
"""Bytes of small files that are kept aside when they are replaced, wanted or not."""
_SAME = 4
"""Places that are remembered for one content."""
_BLOCK = 1 << 20


class Missing(Exception):
    """A content that should be here is not, or not any more."""


class Contents:
    """What one destination has, and where."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        arrivals: Arrivals,
        algorithm: digest.Algorithm,
    ) -> None:
        self._directories = directories
        self._ledger = ledger
        self._arrivals = arrivals
        self._algorithm = algorithm
        self._finder = Finder(ledger.tree)
        self._scanned: dict[bytes, list[tuple[Node, bytes]]] = {}
        """Files as scanned: their directory and name."""
        self._published: dict[bytes, tuple[bytes, bytes]] = {}
        """The same for what this run published: path of the directory and name."""
        self._aside: dict[bytes, tuple[Staging, bytes]] = {}
        self._aside_small = 0
        self._wanted: set[bytes] = set()
        self.staged: Optional[tuple[bytes, int]] = None
        """The new directory that is being filled: its path, and where it is now."""

    # --- what is here ---------------------------------------------------------------------------

    def find(self, sizes: set[int], hasher: FileHasher) -> list[Content]:
        """Contents of the scanned files that have one of ``sizes``. Of large ones unknown digests
        are computed."""
        found: list[Content] = []
        tree = self._ledger.tree
        if not tree.hot or max(sizes, default=0) >= LARGE:
            tree.complete()  # Reading all that a hot run knows takes longer than a little content.
        for node in tree.present():
            if not stats.has_one_of(sizes, node.stats):
                continue
            columns = node.columns()
            for row, size in enumerate(columns.sizes):
                if size not in sizes or columns.modes[row] & TYPE_MASK != stat.S_IFREG:
                    continue
                if node.sealed is not None and columns.names[row] in node.sealed:
                    continue  # its digest is of what the other side sees
                start = row * digest.SIZE
                value = bytes(node.digests[start : start + digest.SIZE])
                if value == digest.UNKNOWN and size >= LARGE:
                    with contextlib.suppress(Changed, OSError):
                        value = hasher.hash(join(node.path, columns.names[row]))
                if value == digest.UNKNOWN:
                    continue
                places = self._scanned.setdefault(value, [])
                if not places:
                    if len(self._scanned) > MOST:
                        return found
                    found.append(Content(size, value))
                if len(places) < _SAME:
                    places.append((node, columns.names[row]))
        return found

    def keep(self, digests: bytes) -> None:
        """The source wants these large contents: they must outlast their replacement."""
        self._wanted.update(unpack_digests(digests))

    def published(self, value: bytes, directory: bytes, name: bytes) -> None:
        """A file of at least `REPEATED` bytes got its name, or will with its directory."""
        if len(self._published) < REMEMBERED:
            self._published[value] = directory, name

    def set_aside(self, path: bytes, parent: int, staging: Staging) -> None:
        """The scanned file at ``path`` is about to be replaced; keep what may yet be copied."""
        if not self._scanned:
            return
        found = self._finder.find(path)
        if found is None:
            return
        start, size = found.row * digest.SIZE, found.stats[2]
        value = bytes(found.node.digests[start : start + digest.SIZE])
        if value not in self._scanned or value in self._aside:
            return
        if value not in self._wanted:
            if size >= LARGE or self._aside_small + size > _KEPT_SMALL:
                return
            self._aside_small += size
        name = staging.name_for_small()
        with contextlib.suppress(OSError):  # then it will have to be sent
            os.link(
                found.stats[0],
                name,
                src_dir_fd=parent,
                dst_dir_fd=staging.fd,
                follow_symlinks=False,
            )
            self._aside[value] = staging, name

    # --- taking ---------------------------------------------------------------------------------

    def take(self, content: Content, directory: int, name: bytes) -> int:
        """A new file ``name`` in ``directory`` with this content: its descriptor. Raises Missing
        where there is none, OSError where it cannot be written."""
        arrived = self._arrivals.take(content.size, content.digest, directory, name)
        if arrived is not None:
            return arrived
        for source in self._sources(content):
            try:
                fd = os.open(name, CREATE_READABLE, 0o600, dir_fd=directory)
                try:
                    if self._copy(source, fd, content.size) == content.digest:
                        return fd
                except BaseException:
                    os.close(fd)
                    os.unlink(name, dir_fd=directory)
                    raise
                os.close(fd)
                os.unlink(name, dir_fd=directory)
            finally:
                os.close(source)
        raise Missing

    def _sources(self, content: Content) -> Iterator[int]:
        """Descriptors of files that should have this content, to be closed by the caller."""
        value = content.digest
        with contextlib.suppress(OSError):
            arrived = self._arrivals.open(content.size, value)
            if arrived is not None:
                yield arrived
        aside = self._aside.get(value)
        if aside is not None:
            with contextlib.suppress(OSError):
                yield self._directories.opener(aside[1], OPEN_FILE, dir_fd=aside[0].fd)
        place = self._published.get(value)
        if place is not None:
            with contextlib.suppress(OSError):
                yield self._open_published(place, content.size)
        for node, name in self._scanned.get(value, ()):
            with contextlib.suppress(OSError):
                yield self._open_scanned(join(node.path, name))

    def _open_published(self, place: tuple[bytes, bytes], size: int) -> int:
        path, name = place
        if self.staged is not None and self.staged[0] == path:
            directory = self.staged[1]
        else:
            directory = self._directories.open(path)
        return self._opened(directory, name, size)

    def _open_scanned(self, path: bytes) -> int:
        found = self._finder.find(path)
        parent, name = split(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "it is not there")
        fd = self._opened(self._directories.open(parent), name, found.stats[2])
        if not self._ledger.is_as_scanned(
            found.stats, stats.row(name, self._directories.disk.fstat(fd))
        ):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "it was changed")
        return fd

    def _opened(self, directory: int, name: bytes, size: int) -> int:
        fd: int = self._directories.opener(name, OPEN_FILE, dir_fd=directory)
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode) or st.st_size != size:
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "it was changed")
        return fd

    def _copy(self, source: int, target: int, size: int) -> bytes:
        """Copy a file; the digest of what came of it."""
        if size < _BLOCK:
            data = os.read(source, size + 1)
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
            return self._algorithm.of(data)
        return copied(source, target, size, self._algorithm)
