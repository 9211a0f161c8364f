"""The records of a replica's tree, by directory: read when they are asked for, written together.

What is packed of a directory covers the digests of those below, so whatever changes in one is
carried up to the root.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import is_below, join, split
from syncron_lib.core.table import Malformed, Reader, pack_blob
from syncron_lib.core.twoway.records import (
    Record,
    Records,
    pack_records,
    records_digest,
    unpack_records,
)
from syncron_lib.fs.replica.store import Damaged, Row, Store
from syncron_lib.fs.tree import Tree

_SHOWN = struct.Struct("<Iq")
_NOTHING_SHOWN: Mapping[bytes, Attributes] = {}


class Page:
    """One directory's records. ``exact``: they are what was on the disk when they were written."""

    __slots__ = ("below", "exact", "merkle", "packed", "records", "shown")

    def __init__(self) -> None:
        self.records: dict[bytes, Record] = {}
        self.below: dict[bytes, bytes] = {}
        """By name of a subdirectory, the digest of its records."""
        self.shown: Mapping[bytes, Attributes] = _NOTHING_SHOWN
        self.merkle = digest.UNKNOWN
        self.packed = b""
        self.exact = False


class Book:
    """All pages of one replica."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pages: dict[bytes, Page] = {}
        self._merkles: dict[bytes, bytes] = {}
        """Of directories without a page here."""
        self._changed: set[bytes] = set()
        self._gone: set[bytes] = set()
        """Topmost directories whose stored rows count no more."""

    def page(self, path: bytes) -> Optional[Page]:
        """The page of a directory; None where there is none. Raises `Damaged`."""
        page = self._pages.get(path)
        if page is None and not self._is_gone(path):
            row = self._store.row(path)
            if row is not None:
                page = self._pages[path] = _unpacked(row)
        return page

    def merkle(self, path: bytes) -> bytes:
        """The digest that a directory had on the disk when its records were what was there, or
        `digest.UNKNOWN`; quicker than its page. Raises `Damaged`."""
        page = self._pages.get(path)
        if page is not None:
            return page.merkle
        if self._is_gone(path):
            return digest.UNKNOWN
        kept = self._merkles.get(path)
        if kept is None:
            kept = self._merkles[path] = self._store.merkle(path)
        return kept

    def _is_gone(self, path: bytes) -> bool:
        while path and self._gone:
            if path in self._gone:
                return True
            path = split(path)[0]
        return False

    def begin(self, path: bytes) -> Page:
        """The page of a directory, an empty one where there is none."""
        page = self.page(path)
        if page is None:
            page = self._pages[path] = Page()
            self._changed.add(path)
        return page

    def write(
        self, path: bytes, records: Records, shown: Mapping[bytes, Attributes], exact: bool
    ) -> None:
        """Give a directory other records. Pages of directories that are none any more go."""
        page = self.begin(path)
        there = {name for name, record in page.records.items() if record.is_directory}
        wanted = {name for name, record in records.items() if record.is_directory}
        for name in there - wanted:
            self.drop(join(path, name))
        page.records, page.shown, page.exact = dict(records), shown, exact
        self._changed.add(path)
        for name in wanted - there:
            self.begin(join(path, name))

    def drop(self, top: bytes) -> None:
        """Forget a directory with all below."""
        for path in [path for path in self._pages if is_below(path, top)]:
            del self._pages[path]
            self._changed.discard(path)
        self._gone.add(top)

    def settle(
        self, tree: Tree, is_exact: Callable[[bytes, Page], bool] = lambda _, page: page.exact
    ) -> None:
        """Pack what changed, from below, with the digests that the directories have on the disk;
        but for those whose records are not just what is there: the next scan looks at these."""
        waiting = set(self._changed)
        for path in self._changed:
            while path:
                path = split(path)[0]
                waiting.add(path)
        self._changed |= waiting
        for path in sorted(waiting, key=lambda path: path.count(b"/") + bool(path), reverse=True):
            page = self.begin(path)
            below, exact = page.below, is_exact(path, page)
            page.below = {}
            for name, record in page.records.items():
                if not record.is_directory:
                    continue
                inner = join(path, name)
                child = self._pages.get(inner) if inner in waiting else None
                if child is not None or name not in below:
                    child = self.begin(inner)
                    page.below[name] = records_digest(child.packed or pack_records({}, {}))
                else:
                    page.below[name] = below[name]
                exact = exact and self._is_exact(inner, tree)
            page.packed = pack_records(page.records, page.below)
            node = tree.nodes.get(path)
            page.merkle = node.merkle if exact and node is not None else digest.UNKNOWN

    def _is_exact(self, path: bytes, tree: Tree) -> bool:
        """Whether the page of a subdirectory is what is on the disk."""
        node = tree.nodes.get(path)
        return node is not None and digest.UNKNOWN != node.merkle == self.merkle(path)

    def root(self) -> bytes:
        """The digest of all records."""
        page = self.page(b"")
        return records_digest(page.packed if page is not None else pack_records({}, {}))

    def changes(self) -> tuple[dict[bytes, Row], list[bytes]]:
        """What is to be stored: rows, and directories that are gone with all below."""
        rows = {}
        for path in self._changed:
            page = self._pages[path]
            rows[path] = Row(page.merkle, _pack_shown(page.shown), page.packed)
        return rows, list(self._gone)

    def saved(self) -> None:
        """It is stored."""
        self._changed.clear()
        self._gone.clear()

    def everything(self) -> Iterator[tuple[bytes, Page]]:
        """All pages, from the root down."""
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            page = self.page(path)
            if page is not None:
                yield path, page
                waiting.extend(
                    join(path, name) for name, each in page.records.items() if each.is_directory
                )


def _unpacked(row: Row) -> Page:
    page = Page()
    try:
        page.records, page.below = unpack_records(row.records)
        page.shown = _unpack_shown(row.shown)
    except Malformed:
        raise Damaged from None
    page.merkle, page.packed = row.merkle, row.records
    page.exact = row.merkle != digest.UNKNOWN
    return page


def _pack_shown(shown: Mapping[bytes, Attributes]) -> bytes:
    return b"".join(
        pack_blob(name) + _SHOWN.pack(own.mode, own.mtime_ns) for name, own in shown.items()
    )


def _unpack_shown(data: bytes) -> Mapping[bytes, Attributes]:
    if not data:
        return _NOTHING_SHOWN
    reader = Reader(data)
    shown = {}
    while reader.position < reader.end:
        name = reader.blob()
        mode, mtime = _SHOWN.unpack(reader.take(_SHOWN.size))
        shown[name] = Attributes(mode, mtime, 0, 0)
    return shown
