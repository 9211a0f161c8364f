"""Which new entries are old ones under another name: pure, on what both sides have listed.

What only the source has is *created*, what only the destination has is *removed*. A created
directory whose Merkle digest is a removed one's, and a created file whose size and digest are a
removed one's, are moved. A created directory of which only a part is moved is divided: it is
made, and each entry in it is moved or created for itself.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import split
from syncron_lib.record import NamedTuple


class Entry(NamedTuple):
    """An entry that one side only has. ``entries`` and ``size``: totals with all below.
    ``fixed``: a directory that cannot move whole: it holds what the rules leave out."""

    path: bytes
    attributes: Attributes
    entries: int
    size: int
    digest: bytes
    target: Optional[bytes] = None
    fixed: bool = False

    @property
    def is_directory(self) -> bool:
        """Whether there may be entries below it."""
        return stat.S_ISDIR(self.attributes.mode)

    @property
    def is_movable(self) -> bool:
        """Whether a move could save anything: it holds something."""
        if self.is_directory:
            return self.entries > 1 and not self.fixed
        return stat.S_ISREG(self.attributes.mode) and self.size > 0


class Forest:
    """Trees that one side only has, as far as they have been listed."""

    def __init__(self, tops: Iterable[Entry]) -> None:
        self.tops = list(tops)
        self.below: dict[bytes, list[Entry]] = {}
        """The entries of each directory that was listed."""

    def __iter__(self) -> Iterator[Entry]:
        """Every known entry, a directory before what is in it."""
        waiting = deque(self.tops)
        while waiting:
            entry = waiting.popleft()
            yield entry
            waiting.extend(self.below.get(entry.path, ()))

    def set_digests(self, digests: Mapping[bytes, bytes]) -> None:
        """Fill in what has become known of files, by path."""
        for entries in (self.tops, *self.below.values()):
            for index, entry in enumerate(entries):
                value = digests.get(entry.path)
                if value is not None:
                    entries[index] = entry._replace(digest=value)


class Matches:
    """Moves found between two forests.

    ``old_of``: the removed entry that becomes the created one at a path. ``frontier``: created
    directories that were not listed and are not moved whole. ``files``: created files that no
    removed one is known to be.
    """

    def __init__(self, created: Forest, removed: Forest) -> None:
        self.old_of: dict[bytes, Entry] = {}
        self.frontier: list[Entry] = []
        self.files: list[Entry] = []
        self._taken: set[bytes] = set()
        self._broken: set[bytes] = set()
        """Removed directories of which something below is taken."""
        pool = _Pool(removed)
        level = created.tops
        while level:
            self._take(pool, [entry for entry in level if entry.is_directory])
            self.files.extend(e for e in level if not e.is_directory and e.is_movable)
            following: list[Entry] = []
            for entry in level:
                if entry.is_directory and entry.path not in self.old_of:
                    below = created.below.get(entry.path)
                    if below is None:
                        self.frontier.append(entry)
                    else:
                        following.extend(below)
            level = following
        self._take(pool, self.files)
        self.files = [entry for entry in self.files if entry.path not in self.old_of]

    def _take(self, pool: _Pool, entries: Sequence[Entry]) -> None:
        """Find the old ones of ``entries``: those of the same name first, so that of several
        equal ones each keeps its own."""
        for named in (True, False):
            for entry in entries:
                if entry.path in self.old_of or not _is_known(entry):
                    continue
                waiting = pool.equal(entry, named)
                while waiting:
                    old = waiting.popleft()
                    if self.is_free(old.path):
                        self._note(entry, old)
                        break

    def _note(self, entry: Entry, old: Entry) -> None:
        self.old_of[entry.path] = old
        self._taken.add(old.path)
        self._broken.update(_ancestors(old.path))

    def is_free(self, path: bytes) -> bool:
        """Whether nothing at, above or below the removed ``path`` is taken."""
        if path in self._broken or path in self._taken:
            return False
        return self._taken.isdisjoint(_ancestors(path))


class _Pool:
    """Removed entries by what they hold."""

    def __init__(self, removed: Forest) -> None:
        self._named: dict[tuple[bytes, int, bytes, bool], deque[Entry]] = {}
        self._all: dict[tuple[bytes, int, bool], deque[Entry]] = {}
        for entry in removed:
            if _is_known(entry):
                key = (entry.digest, entry.size, entry.is_directory)
                self._all.setdefault(key, deque()).append(entry)
                named = (entry.digest, entry.size, split(entry.path)[1], entry.is_directory)
                self._named.setdefault(named, deque()).append(entry)

    def equal(self, entry: Entry, named: bool) -> Optional[deque[Entry]]:
        """Those that hold the same; the caller takes them off as it goes."""
        if named:
            name = split(entry.path)[1]
            return self._named.get((entry.digest, entry.size, name, entry.is_directory))
        return self._all.get((entry.digest, entry.size, entry.is_directory))


def _is_known(entry: Entry) -> bool:
    return entry.digest != digest.UNKNOWN and entry.is_movable


def _ancestors(path: bytes) -> Iterator[bytes]:
    while path:
        path = split(path)[0]
        yield path


def unknown_candidates(
    files: Iterable[Entry], removed: Iterable[Entry]
) -> tuple[list[Entry], list[Entry]]:
    """The created and the removed files that should be hashed: of unknown digest, and with one
    on the other side that has their size and their time or name."""
    removed = [e for e in removed if not e.is_directory and e.is_movable]
    files = list(files)
    mine = {key for entry in files for key in _traits(entry)}
    theirs = {key for entry in removed for key in _traits(entry)}
    return (
        [e for e in files if e.digest == digest.UNKNOWN and not theirs.isdisjoint(_traits(e))],
        [e for e in removed if e.digest == digest.UNKNOWN and not mine.isdisjoint(_traits(e))],
    )


def _traits(entry: Entry) -> tuple[tuple[int, object], tuple[int, object]]:
    return (entry.size, entry.attributes.mtime_ns), (entry.size, split(entry.path)[1])


class Division(NamedTuple):
    """What is to be done. ``makes``: created directories that are made by themselves, parents
    first. ``creates``: entries that are created with all below. ``moves``: (new, old).
    ``removes``: removed tops that do not move, with what is left of them."""

    makes: list[Entry]
    creates: list[Entry]
    moves: list[tuple[Entry, Entry]]
    removes: list[Entry]


def divide(created: Forest, removed: Forest, old_of: Mapping[bytes, Entry]) -> Division:
    """Divide the created trees by what is moved of them, and take that off the removed."""
    holding = {above for path in old_of for above in _ancestors(path)}
    division = Division([], [], [], [])
    stack = created.tops[::-1]
    while stack:
        entry = stack.pop()
        old = old_of.get(entry.path)
        if old is not None:
            division.moves.append((entry, old))
        elif entry.path in holding:
            division.makes.append(entry)
            stack.extend(reversed(created.below[entry.path]))
        else:
            division.creates.append(entry)
    tops = {entry.path: [0, 0] for entry in removed.tops}
    for old in old_of.values():
        for above in (old.path, *_ancestors(old.path)):
            if above in tops:
                tops[above][0] += old.entries
                tops[above][1] += old.size
    for entry in removed.tops:
        entries, size = tops[entry.path]
        if entries < entry.entries:
            left = entry._replace(entries=entry.entries - entries, size=entry.size - size)
            division.removes.append(left)
    return division
