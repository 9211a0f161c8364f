"""Sending: what was selected, read once, hashed while it is read, and packed."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, split
from syncron_lib.core.sealing import sealed_size
from syncron_lib.core.table import EMPTY, PROBLEM, TYPE_MASK
from syncron_lib.core.view import REASONS
from syncron_lib.fs import sealedsend, stats
from syncron_lib.fs.chunklists import ChunkLists
from syncron_lib.fs.deltasend import Bases
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import OPEN_FILE, Changed, open_scanned
from syncron_lib.fs.references import REPEATED, References, sizes_of
from syncron_lib.fs.sendrows import is_gone, reason_of, replace_rows, table_of
from syncron_lib.fs.stats import StatRow, Stats, is_settled
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.fs.view import FileReader
from syncron_lib.protocol.contents import pack_sizes, unpack_contents
from syncron_lib.protocol.messages import Arrived, Next, Problem, Selected
from syncron_lib.protocol.pack import PLAIN, Buffer, Group, Groups, Packer, Piece, read_head
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.view import Reader, View

PACK_SIZE = 1 << 20
"""Bytes of content in one pack: large enough that a frame's cost does not count, small enough
that several in flight fit any window."""
PACK_ROWS = 4000
"""Entries in one pack, for trees of empty files."""
PACK_HEADER = 4 << 20
"""Bytes of paths, names and targets after which a pack ends, for trees of empty directories: its
frame has a limit."""
LARGE = 512 << 10
"""Files of this size and more travel in pieces."""
_TRIES = 3
"""How often a small file that changes while it is read is read again."""

_S_IFREG = stat.S_IFREG


class _Part(NamedTuple):
    """Rows of one directory to be sent: all (``rows`` None), or some. ``new``: see `Group`."""

    node: Node
    rows: Optional[list[int]]
    new: bool


class Sender:
    """The reading end of one run on one root: an iterator over packs."""

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        algorithm: digest.Algorithm,
        real_name: Callable[[bytes], bytes],
        lists: ChunkLists,
        left_out: Set[bytes] = frozenset(),
        view: Optional[View] = None,
    ) -> None:
        """``lists``: takes the chunk lists that become known. ``left_out``: paths that are not sent
        with what is above them. ``view``: what sees some files sealed."""
        self._left_out = left_out
        self._sees = view
        self.bases = Bases(tree, directories, algorithm, real_name, lists)
        self._tree = tree
        self._directories = directories
        self._algorithm = algorithm
        self._real_name = real_name
        self._selected: list[Selected] = []
        self._references = References(tree, directories, algorithm, real_name)
        self._references.view = view
        self._plain = False
        self._packer = Packer()
        self._packer.naming = None if view is None else view.naming
        self._wanted = PLAIN
        self._packs: Optional[Iterator[list[Buffer]]] = None
        self._done = self._doubts = False
        self._buffer = bytearray(PACK_SIZE + LARGE)
        self._view = memoryview(self._buffer)
        self._groups: list[Group] = []
        self._problems: list[Problem] = []
        self._rows = 0
        self._header = 0
        self._filled = 0
        self.linked: Mapping[bytes, Set[bytes]] = {}
        """Names, by directory, that are no content of a new one: they will be linked there."""
        self.size = 0
        """Bytes read so far; every one of them was hashed."""

    def _seen(self) -> View:
        assert self._sees is not None  # or no file would be sealed
        return self._sees

    def select(
        self, items: Iterable[Selected], arrived: Iterable[Arrived], plain: bool = False
    ) -> None:
        """Add to what will be sent, and to what the destination has of it; also when all that was
        selected before has been sent. ``plain``: all of it comes with its content."""
        if plain:
            self._references.forget()
            self._plain = True
        self._selected.extend(items)
        self._done = False
        self._references.arrived(arrived)

    def sizes(self) -> bytes:
        """The sizes of what was selected, as `protocol.contents` packs them."""
        return pack_sizes(sizes_of((part.node, part.rows) for part in self._parts()))

    def offer(self, contents: bytes, later: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        """Take in what the destination has: digests of the large files that are among it, and
        which of ``later``, files that are still to be selected, are."""
        large = self._references.offer(unpack_contents(contents))
        if not large:
            return b"", []
        parts = [(part.node, part.rows) for part in self._parts()]
        digests = [value for _, value in self._references.wanted(parts, large)]
        items = [Selected(path, False) for path in later]
        parts = [(part.node, part.rows) for part in self._parts(items)]
        found = list(self._references.wanted(parts, large))
        digests.extend(value for _, value in found)
        return b"".join(digests), [path for path, _ in found]

    def next(self, wanted: Next) -> list[Buffer]:
        """The next pack, encoded; its parts are valid until the next call."""
        self._wanted = wanted
        if self._packs is None:
            self._packs = self._all()
        pack = next(self._packs, None)
        self._done = pack is None
        self._doubts = self._doubts or (pack is not None and read_head(pack[0]).doubts > 0)
        if pack is None:
            self._packs, self._selected = None, []
            return self._packer.end()
        return pack

    @property
    def is_done(self) -> bool:
        """Whether the end of what was selected has been given out, and none of it may be wanted
        again."""
        return self._done and not self._doubts

    def _all(self) -> Iterator[list[Buffer]]:
        large: list[tuple[Node, int, bool]] = []
        for part in self._parts():
            if self._header >= PACK_HEADER:
                yield self._flush()
            yield from self._part(part, large)
        if self._groups or self._problems:
            yield self._flush()
        for node, row, new in large:
            yield from self._large(node, row, new)
        if self._problems:
            yield self._flush()

    def _parts(self, items: Optional[Sequence[Selected]] = None) -> Iterator[_Part]:
        """What was selected, directory by directory; a new directory before those below it."""
        nodes = self._tree.nodes
        pending: list[tuple[Node, list[bytes]]] = []
        for item in self._selected if items is None else items:
            if item.tree:
                if pending:
                    yield from self._single(pending)
                    pending = []
                top = nodes.get(item.path)
                stack = [top] if top is not None else []
                while stack:
                    node = stack.pop()
                    yield _Part(node, self._rows_of_new(node), True)
                    below = self._subdirectories(node)
                    below.reverse()
                    stack.extend(below)
                continue
            parent, name = split(item.path)
            node_or_none = nodes.get(parent)
            if node_or_none is None:
                continue
            if not pending or pending[-1][0] is not node_or_none:
                pending.append((node_or_none, []))
            pending[-1][1].append(name)
        yield from self._single(pending)

    def _single(self, pending: list[tuple[Node, list[bytes]]]) -> Iterator[_Part]:
        for node, names in pending:
            index = {name: row for row, name in enumerate(node.columns().names)}
            rows = sorted(index[name] for name in names if name in index)
            yield _Part(node, rows, False)

    def _rows_of_new(self, node: Node) -> Optional[list[int]]:
        """What of a new directory is sent; None for all of it."""
        linked = self.linked.get(node.path, ())
        if not linked and not self._left_out:
            return None
        names = node.columns().names if node.stats else ()
        rows = [
            row
            for row, name in enumerate(names)
            if name not in linked and join(node.path, name) not in self._left_out
        ]
        return rows if len(rows) < len(names) else None

    def _subdirectories(self, node: Node) -> list[Node]:
        if not node.stats:
            return []
        columns = node.columns()
        found = []
        for name, mode in zip(columns.names, columns.modes):
            if mode & TYPE_MASK == stat.S_IFDIR:
                child = self._tree.nodes.get(join(node.path, name))
                if child is not None and child.path not in self._left_out:
                    found.append(child)
        return found

    def _part(self, part: _Part, large: list[tuple[Node, int, bool]]) -> Iterator[list[Buffer]]:
        """Pack one directory's entries. Hot: once for every file that is sent."""
        node = part.node
        columns = node.seen()
        sealed = node.sealed
        real = columns if sealed is None else node.columns()
        path = node.path
        try:
            if node.problem:
                raise OSError(node.problem, os.strerror(node.problem))
            directory = self._directories.open(path)
        except OSError as error:
            looped = node.problem == errno.ELOOP
            what = f"cannot be read: {error.strerror}" if looped else reason_of(error)
            self._problem(path, what, vanished=not looped and is_gone(error))
            if part.new:  # what was seen below it still needs a place
                self._groups.append(Group(path, True, True, False, node.attributes, EMPTY))
            return
        digests = bytearray(node.digests)
        unsettled = set(node.unsettled or ())
        began = time.time_ns()
        sent: list[int] = []
        kept: list[int] = []
        view = self._view
        here = self._references.here
        most = self._references.most
        of = self._algorithm.of
        open_, readv, fstat, close = self._directories.opener, os.readv, os.fstat, os.close
        rows = range(len(columns.names)) if part.rows is None else part.rows
        replaced: dict[int, StatRow] = {}
        for row in rows:
            mode = columns.modes[row]
            if mode & TYPE_MASK != _S_IFREG:
                if mode == PROBLEM:
                    if self._header >= PACK_HEADER or self._rows >= PACK_ROWS:
                        yield self._cut(part, columns, digests, sent, kept, replaced, last=False)
                        sent, kept, replaced = [], [], {}
                        directory = self._directories.open(path)
                    name = columns.names[row]
                    number = columns.sizes[row]
                    what = f"cannot be read: {REASONS.get(number) or os.strerror(number)}"
                    self._problem(join(path, name), what, vanished=False)
                elif mode & TYPE_MASK != stat.S_IFDIR:
                    if self._rows >= PACK_ROWS // 2:  # a target may have 4 KiB
                        yield self._cut(part, columns, digests, sent, kept, replaced, last=False)
                        sent, kept, replaced = [], [], {}
                        directory = self._directories.open(path)
                    sent.append(row)
                    self._rows += 1
                continue
            size = columns.sizes[row]
            if size >= LARGE or (self.bases and join(path, columns.names[row]) in self.bases):
                large.append((node, row, part.new))
                continue
            if (
                self._filled + size > PACK_SIZE
                or self._rows >= PACK_ROWS
                or self._header >= PACK_HEADER
            ):
                yield self._cut(part, columns, digests, sent, kept, replaced, last=False)
                sent, kept, replaced = [], [], {}
                directory = self._directories.open(path)
            name = columns.names[row]
            filled = self._filled
            target = view[filled : filled + size]
            try:
                if sealed is not None and name in sealed:
                    scanned: StatRow = tuple(each[row] for each in real)  # type: ignore[assignment]
                    sealedsend.fill(self._sees, join(path, name), scanned, directory, target)
                else:
                    fd = open_(name if path else self._real_name(name), OPEN_FILE, dir_fd=directory)
                    try:
                        count = readv(fd, (target,)) if size else 0
                        st = fstat(fd)
                    finally:
                        close(fd)
                    if (
                        count != size
                        or st.st_ctime_ns != columns.ctimes[row]
                        or st.st_ino != columns.inodes[row]
                        or st.st_size != size
                        or st.st_mtime_ns != columns.mtimes[row]
                    ):
                        replaced[row] = fresh = self._again(directory, name, path)
                        size = fresh[2]
                        target = view[filled : filled + size]
            except (Changed, OSError) as error:
                self._problem(join(path, name), reason_of(error), vanished=is_gone(error))
                continue
            value = of(target)
            self.size += size
            start = row * 16
            digests[start : start + 16] = value
            if row in replaced or not is_settled(columns.mtimes[row], columns.ctimes[row], began):
                unsettled.add(row)
            if value in here and size:
                kept.append(row)
            else:
                if size >= REPEATED and len(here) < most:
                    here.add(value)
                self._filled = filled + size
                sent.append(row)
            self._rows += 1
        node.digests = digests
        node.unsettled = unsettled or None
        node.merkle = digest.UNKNOWN
        node.stored = False
        self._group(part, columns, digests, sent, kept, replaced, last=True)
        if replaced:
            replace_rows(node, replaced)

    def _again(self, directory: int, name: bytes, path: bytes) -> StatRow:
        """Read a file that is not as scanned into the pack, consistently; its new stat row."""
        lens = self._directories.lens
        row_of = stats.row if lens is None else lens.row
        for _ in range(_TRIES):
            real = name if path else self._real_name(name)
            try:
                fd = self._directories.opener(real, OPEN_FILE, dir_fd=directory)
            except FileNotFoundError:
                raise Changed("vanished") from None
            try:
                before = row_of(name, self._directories.disk.fstat(fd))
                if before[1] & TYPE_MASK != _S_IFREG or before[2] >= LARGE:
                    raise Changed("changed its kind since it was scanned")
                space = self._view[self._filled : self._filled + before[2]]
                count = os.readv(fd, (space,)) if before[2] else 0
                if count == before[2] and row_of(name, self._directories.disk.fstat(fd)) == before:
                    return before
            finally:
                os.close(fd)
        raise Changed("changed while it was read")

    def _problem(self, path: bytes, what: str, vanished: bool) -> None:
        self._problems.append(Problem(path, what, vanished))
        self._rows += 1
        self._header += len(path)

    # --- putting packs together ---------------------------------------------------------------

    def _cut(
        self,
        part: _Part,
        columns: Stats,
        digests: bytearray,
        sent: list[int],
        kept: list[int],
        replaced: dict[int, StatRow],
        last: bool,
    ) -> list[Buffer]:
        self._group(part, columns, digests, sent, kept, replaced, last)
        return self._flush()

    def _group(
        self,
        part: _Part,
        columns: Stats,
        digests: bytearray,
        sent: list[int],
        kept: list[int],
        replaced: dict[int, StatRow],
        last: bool,
    ) -> None:
        """Add the rows so far as a group (two, where some need no content)."""
        self._header += 100 + len(part.node.path) + len(part.node.stats) + len(part.node.targets)
        # What is kept may be what has just been sent, so it comes behind that.
        node, new = part.node, part.new
        if sent or (new and not kept):
            table = table_of(node, columns, digests, sent, replaced)
            ends = last and not kept
            self._groups.append(Group(node.path, new, ends, False, node.attributes, table))
        if kept:
            table = table_of(node, columns, digests, kept, replaced)
            self._groups.append(Group(node.path, new, last, True, node.attributes, table))

    def _flush(self) -> list[Buffer]:
        groups, self._groups = self._groups, []
        problems, self._problems = self._problems, []
        body = self._view[: self._filled]
        self._filled = self._rows = self._header = 0
        return self._packer.groups(Groups(groups, problems, body), self._wanted)

    # --- large files --------------------------------------------------------------------------

    def _delta(self, path: bytes, size: int, mtime: int) -> Iterator[list[Buffer]]:
        """A file of which the destination has told what it has."""
        try:
            for delta in self.bases.deltas(path, self._references.begun_of(path, size, mtime)):
                self.size += delta.length
                if delta.last and not delta.failed:
                    self._references.sent(size, delta.digest)
                yield self._packer.delta(delta, self._wanted)
        except (Changed, OSError) as error:
            self._problem(path, reason_of(error), vanished=is_gone(error))

    def _touched(
        self, node: Node, row: int, fd: int, scanned: StatRow, began: int
    ) -> Iterator[list[Buffer]]:
        """A sealed file of which only what is sealed beside the content is another."""
        for delta in sealedsend.deltas(self._sees, node.path, fd, scanned, self._algorithm):
            if delta.last:
                settled = is_settled(scanned[3], scanned[4], began)
                node.set_digest(row, delta.digest, settled)
            yield self._packer.delta(delta, self._wanted)

    def _large(self, node: Node, row: int, new: bool) -> Iterator[list[Buffer]]:
        columns = node.columns()
        scanned: StatRow = tuple(column[row] for column in columns)  # type: ignore[assignment]
        name, mode, size, mtime, ctime, _, uid, gid = scanned
        path = join(node.path, name)
        own = Attributes(mode, mtime, uid, gid)
        sealed = node.sealed is not None and name in node.sealed
        if sealed:
            size = sealed_size(size)
        if self._references.has(node, row, size):
            self._rows += 1
            table = table_of(node, node.seen(), bytearray(node.digests), [row], {})
            self._groups.append(Group(node.path, False, False, True, node.attributes, table))
            yield self._flush()
            return
        if path in self.bases and not sealed:
            yield from self._delta(path, size, mtime)
            return
        began = time.time_ns()
        try:
            directory = self._directories.open(node.path)
            real = name if node.path else self._real_name(name)
            fd = open_scanned(directory, real, scanned, self._directories.opener)
        except (Changed, OSError) as error:
            self._problem(path, reason_of(error), vanished=is_gone(error))
            return
        offset = 0
        try:
            if sealed and not (new or self._plain) and self._seen().is_touched(path, fd, scanned):
                yield from self._touched(node, row, fd, scanned, began)
                return
            reader: Reader = FileReader(fd, size)
            if sealed:
                reader = self._seen().reader(path, fd, scanned, True)
            hasher, offset = self._references.begun(reader, path, mtime)
            if offset:  # what it goes on behind is named by its digest
                value = hasher.digest()[: digest.SIZE]
                piece = Piece(path, own, size, offset, False, False, value, b"")
                yield self._packer.piece(piece, PLAIN)
            view = self._view
            while True:
                count = reader.read(view[: min(PACK_SIZE, size - offset)]) if offset < size else 0
                whole = offset + count == size
                body = view[:count]
                hasher.update(body)
                self.size += count
                failed = (not whole and count == 0) or (
                    whole
                    and (not stats.is_same_file(scanned, os.fstat(fd)) or not reader.is_true())
                )
                last = whole or failed
                value = hasher.digest()[: digest.SIZE] if last else digest.UNKNOWN
                if last and not failed:
                    settled = is_settled(mtime, ctime, began)
                    node.set_digest(row, value, settled)
                    self._references.sent(size, value)
                if failed:
                    self._problem(path, "changed while it was read", vanished=True)
                piece = Piece(path, own, size, offset, last, failed, value, body)
                yield self._packer.piece(piece, self._wanted)
                offset += count
                if last:
                    return
        except (Changed, OSError) as error:
            self._problem(path, reason_of(error), vanished=isinstance(error, Changed))
            failed_piece = Piece(path, own, size, offset, True, True, digest.UNKNOWN, b"")
            yield self._packer.piece(failed_piece, PLAIN)
        finally:
            os.close(fd)
