"""Which directories of a tree are no longer as the state has them, found out before it is scanned.

Every entry's stat is read, as in a scan, but of a directory nothing is kept: its packed columns are
held against the mark that the state has of them. The scan then looks at what is another, and leaves
the rest unread (`fs.tree.Unread`), as a hot run does with what it does not look at at all. That
spares a tree in which little changed the rows of the state and a node for every directory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Optional

from syncron_lib.core.names import join
from syncron_lib.fs import listing, stats
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.scan import OnProgress
from syncron_lib.fs.second import Halves, SecondProcess, processors
from syncron_lib.fs.state import mark_of

_SUBTREES = 64
_TOP = 300
"""Subtrees to share, and directories at the top of a tree after which no more is looked for."""
_FEWEST = 4
"""Subtrees below which a second process cannot help."""
_REPORT_EVERY = 200
"""Directories between two reports of progress."""
_SPARED = 64
"""Directories that may have changed in any tree; beside them, one in `_SHARE`."""
_SHARE = 8


class _TooMuch(Exception):
    """So much changed that a scan of all takes no longer."""


class Survey:
    """One look at all directories."""

    def __init__(
        self,
        directories: Directories,
        marks: Mapping[bytes, bytes],
        on_progress: OnProgress,
        may_share: Callable[[], bool],
    ) -> None:
        """``marks``: as the state has them. ``on_progress`` and ``may_share`` as `fs.walk.Walk` has
        them."""
        self._directories = directories
        self._marks = marks
        self._on_progress = on_progress
        self._may_share = may_share
        self._halves = Halves(0)
        self._report: OnProgress = self._tell
        self._seen = 0
        self._entries = 0
        self._size = 0
        self._changed: list[bytes] = []

    def changed(self) -> Optional[frozenset[bytes]]:
        """The directories that are not as the state has them, or could not be read; None where
        that is so much that nothing is won. Those that are gone are not among them: the one that
        they were in is."""
        try:
            waiting = deque([b""])
            while waiting and len(waiting) < _SUBTREES and self._seen < _TOP:
                waiting.extend(self._look(waiting.popleft()))
            self._share(list(waiting))
        except _TooMuch:
            return None
        return frozenset(self._changed)

    def _tell(self, entries: int, size: int) -> None:
        more, more_size = self._halves.told()
        self._on_progress(entries + more, size + more_size)

    def _look(self, path: bytes) -> list[bytes]:
        """Look at one directory; its subdirectories."""
        self._seen += 1
        try:
            found = listing.read(self._directories.open(path))
        except OSError:
            self._note(path)
            return []
        if self._marks.get(path) != mark_of(stats.join(found.rows)):
            self._note(path)
        self._entries += len(found.rows)
        self._size += found.size
        return [join(path, name) for name in found.directories]

    def _note(self, path: bytes) -> None:
        self._changed.append(path)
        if len(self._changed) > _SPARED + self._seen // _SHARE:
            raise _TooMuch

    def _below(self, top: bytes) -> None:
        stack = [top]
        while stack:
            stack.extend(self._look(stack.pop()))
            if self._seen % _REPORT_EVERY == 0:
                self._report(self._entries, self._size)

    def _share(self, tops: list[bytes]) -> None:
        """Look at all that lies below these, with two processes where that helps."""
        self._halves = Halves(len(tops))
        other: Optional[SecondProcess] = None
        mine: set[int] = set()
        several = processors() > 1
        try:
            for index in self._halves.from_front():
                if several and other is None and len(tops) - index >= _FEWEST and self._may_share():
                    other = SecondProcess(lambda: self._from_the_back(tops))
                self._below(tops[index])
                mine.add(index)
            if other is not None:
                self._take(other.result(), mine)
        finally:
            if other is not None:
                other.end()
        for index, top in enumerate(tops):
            if index not in mine:  # what a second process that failed has left over
                self._below(top)

    def _from_the_back(self, tops: list[bytes]) -> Any:
        """The second process's work: what it found, by the number of the subtree."""
        halves = self._halves
        self._entries = self._size = 0
        self._report = halves.tell
        found = []
        try:
            for index in halves.from_back():
                self._changed = []
                self._below(tops[index])
                found.append((index, self._changed))
                halves.tell(self._entries, self._size)
        except _TooMuch:
            return None  # This process comes to it, and says so.
        return found

    def _take(self, found: Any, mine: set[int]) -> None:
        """Add what the second process found."""
        for index, changed in found or ():
            if index not in mine:
                mine.add(index)
                for path in changed:
                    self._note(path)
