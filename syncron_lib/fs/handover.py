"""Removing what was brought over from the source (``--remove-source-files``): files that are still
as they were read, and no directories."""

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
        problems = []
        stack = [self._tree.root] if b"" not in kept else []
        while stack:
            node = stack.pop()
            for row, scanned in enumerate(_rows(node)):
                path = join(node.path, scanned[0])
                if path in kept or scanned[1] == PROBLEM:
                    continue
                if is_directory(scanned[1]):
                    stack.extend(filter(None, [self._tree.nodes.get(path)]))
                    continue
                try:
                    if not self._is_sure(node, row, scanned[1]) or not self._remove(path, scanned):
                        problems.append(Problem(path, _EDITED, True))
                except FileNotFoundError:
                    pass
                except OSError as error:
                    what = f"cannot be removed: {error.strerror}"
                    problems.append(Problem(path, what, False))
        return problems

    def _is_sure(self, node: Node, row: int, mode: int) -> bool:
        """Whether what was read is known, and could not have been changed in the same tick."""
        value = node.digest_of(row)
        known = value != digest.UNKNOWN or not stat.S_ISREG(mode)
        return known and row not in (node.unsettled or ())

    def _remove(self, path: bytes, scanned: StatRow) -> bool:
        """False where it is not as it was."""
        fd = self._directories.open(path.rpartition(b"/")[0])
        name = self._real_name(path)
        st = self._directories.disk.stat(name, dir_fd=fd, follow_symlinks=False)
        lens = self._directories.lens
        now = stats.row(scanned[0], st) if lens is None else lens.row(scanned[0], st)
        if now != scanned and not (
            st.st_ino in self._unlinked and (*now[:4], *now[5:]) == (*scanned[:4], *scanned[5:])
        ):
            return False
        # RACE: an edit between that look and this is lost; microseconds apart.
        os.unlink(name, dir_fd=fd)
        self.removed += 1
        if st.st_nlink > 1:
            self._unlinked.add(st.st_ino)
        return True


def _rows(node: Node) -> Iterator[StatRow]:
    if node.stats and not node.problem:
        yield from zip(*node.columns())
