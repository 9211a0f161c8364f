"""Removing what was brought over from the source (``--remove-source-files``): files that are still
as they were read, and no directories. Of a symlink that stood for a file the name goes, and not
what it leads to; what lies behind one that stood for a directory is none of the source's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence

from syncron_lib.core import digest
from syncron_lib.core.names import join
from syncron_lib.core.table import PROBLEM
from syncron_lib.fs import stats
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.stats import StatRow
from syncron_lib.fs.tree import Node, Tree, is_directory
from syncron_lib.protocol.messages import Problem

_EDITED = "was changed since it was read, and is kept"
_BEHIND = "is a symlink to a directory, the files of which are kept"


class Handover:
    """Takes the names of a source's files. ``removed``: how many are gone."""

    def __init__(
        self, tree: Tree, directories: Directories, real_name: Callable[[bytes], bytes]
    ) -> None:
        self._tree = tree
        self._directories = directories
        self._real_name = real_name
        self._unlinked: set[int] = set()
        """Inodes that have lost a name by this, and have another ctime for it."""
        self.removed = 0

    def remove_all(self, spared: Sequence[bytes]) -> list[Problem]:
        """Remove all but directories, and but what is at or below the paths in ``spared``; what
        could not be."""
        kept = frozenset(spared)
        problems: list[Problem] = []
        lens = self._directories.lens
        if lens is not None and lens.follow:
            # These first: what they lead to may be removed as well.
            self._remove_some(kept, problems, True)
        self._remove_some(kept, problems, False)
        return problems

    def _remove_some(self, kept: frozenset[bytes], problems: list[Problem], links: bool) -> None:
        """Remove what is a symlink in the place of a file (``links``), or what is none."""
        stack = [self._tree.root] if b"" not in kept else []
        while stack:
            node = stack.pop()
            for row, scanned in enumerate(_rows(node)):
                path = join(node.path, scanned[0])
                if path in kept or scanned[1] == PROBLEM:
                    continue
                below = self._tree.nodes.get(path)
                try:
                    if self._stands_for_other(path, scanned[1]):
                        if links and below is not None and below.stats:
                            problems.append(Problem(path, _BEHIND, False))
                        if below is not None or not links:
                            continue
                    elif below is not None:
                        stack.append(below)
                        continue
                    elif links or is_directory(scanned[1]):
                        continue
                    sure = self._is_sure(node, row, scanned[1])
                    if not sure or not self._remove(path, scanned, links):
                        problems.append(Problem(path, _EDITED, True))
                except FileNotFoundError:
                    pass
                except OSError as error:
                    what = f"cannot be removed: {error.strerror}"
                    problems.append(Problem(path, what, False))

    def _stands_for_other(self, path: bytes, mode: int) -> bool:
        """Whether a symlink is shown as what it leads to. Raises OSError."""
        lens = self._directories.lens
        if lens is None or lens.is_link(mode):
            return False
        fd = self._directories.open(path.rpartition(b"/")[0])
        st = os.stat(self._real_name(path), dir_fd=fd, follow_symlinks=False)
        return stat.S_ISLNK(st.st_mode)

    def _is_sure(self, node: Node, row: int, mode: int) -> bool:
        """Whether what was read is known, and could not have been changed in the same tick."""
        value = node.digest_of(row)
        known = value != digest.UNKNOWN or not stat.S_ISREG(mode)
        return known and row not in (node.unsettled or ())

    def _remove(self, path: bytes, scanned: StatRow, link: bool) -> bool:
        """False where it is not as it was. ``link``: a symlink that leads to that."""
        fd = self._directories.open(path.rpartition(b"/")[0])
        name = self._real_name(path)
        lens = self._directories.lens
        if link:
            assert lens is not None
            st = lens.stat(fd, name, scanned[1])
        else:
            st = self._directories.disk.stat(name, dir_fd=fd, follow_symlinks=False)
        now = stats.row(scanned[0], st) if lens is None else lens.row(scanned[0], st)
        if now != scanned and not (
            st.st_ino in self._unlinked and (*now[:4], *now[5:]) == (*scanned[:4], *scanned[5:])
        ):
            return False
        # RACE: an edit between that look and this is lost; microseconds apart.
        os.unlink(name, dir_fd=fd)
        self.removed += 1
        if st.st_nlink > 1 and not link:
            self._unlinked.add(st.st_ino)
        return True


def _rows(node: Node) -> Iterator[StatRow]:
    if node.stats and not node.problem:
        yield from zip(*node.columns())
