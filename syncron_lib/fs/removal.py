"""Deleting: what was scanned, as it was scanned, deepest first, and nothing else."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Optional

from syncron_lib.core.names import join, split
from syncron_lib.core.permission import EVERYTHING, Effect
from syncron_lib.core.table import PROBLEM
from syncron_lib.fs import stats
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import Finder
from syncron_lib.fs.ledger import Ledger
from syncron_lib.fs.tree import Node, is_directory
from syncron_lib.protocol.messages import Problem

if TYPE_CHECKING:  # few runs keep backups
    from syncron_lib.fs.backup import Backup


class Removal:
    """Removes entries of a scanned tree.

    What appeared in a directory since the scan, and what the rules exclude, stays, and with it
    the directories above.
    """

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        may: Effect = EVERYTHING,
        backup: Optional[Backup] = None,
    ) -> None:
        """``backup``: what keeps that which goes, or is replaced."""
        self._may = may
        self.backup = backup
        self._directories = directories
        self._ledger = ledger
        self._finder = Finder(ledger.tree)
        self.problems: list[Problem] = []
        self.kept: list[bytes] = []
        """Directories that stay because they hold what does not belong to the run."""
        self.removed = 0
        """Entries that are gone."""

    def remove(self, path: bytes) -> None:
        """Remove the entry at ``path`` with all below. Problems are noted, not raised."""
        found = self._finder.find(path)
        if found is None:
            return
        if Effect.REMOVE not in self._may:
            self._problem(path, "may not be deleted")
            return
        if not is_directory(found.stats[1]):
            self._unlink(found.node.path, found.stats)
            return
        top = self._ledger.tree.nodes.get(path)
        if top is None:
            return
        for node in reversed(self._below(top)):
            self._empty(node)
            self._rmdir(node)

    def _below(self, top: Node) -> list[Node]:
        """``top`` and all nodes below it, each before what is below it."""
        nodes = self._ledger.tree.nodes
        order = []
        stack = [top]
        while stack:
            node = stack.pop()
            order.append(node)
            if node.stats:
                columns = node.columns()
                for name, mode in zip(columns.names, columns.modes):
                    child = nodes.get(join(node.path, name)) if is_directory(mode) else None
                    if child is not None:
                        stack.append(child)
        return order

    def _empty(self, node: Node) -> None:
        if not node.stats:
            return
        for row in zip(*node.columns()):
            if row[1] != PROBLEM and not is_directory(row[1]):
                self._unlink(node.path, row)

    def _unlink(self, parent: bytes, scanned: stats.StatRow) -> None:
        name = scanned[0]
        path = join(parent, name)
        try:
            fd = self._directories.open_writable(parent)
            current = self._directories.disk.stat(name, dir_fd=fd, follow_symlinks=False)
            if not self._ledger.is_as_scanned(scanned, stats.row(name, current)):
                self._problem(path, "was changed at the destination during the run, and is kept")
                return
            self._ledger.disturb(current)
            self.discard(path, current)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._problem(path, f"cannot be deleted: {error.strerror}")
            return
        self._count(path, is_directory=False)

    def discard(self, path: bytes, current: os.stat_result) -> None:
        """Take the name of an entry that is no directory, which has just been looked at. Raises
        OSError."""
        # RACE: an edit between that look and this is lost; microseconds apart.
        if self.backup is not None:
            self.backup.take(path, current)
            return
        parent, name = split(path)
        os.unlink(name, dir_fd=self._directories.open_writable(parent))

    def _rmdir(self, node: Node) -> None:
        parent, name = split(node.path)
        if node.problem:
            self._problem(node.path, f"cannot be read, so it is kept: {os.strerror(node.problem)}")
            return
        try:
            fd = self._directories.open_writable(parent)
            self._directories.forget(node.path)
            os.rmdir(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                self.kept.append(node.path)
                self._ledger.touched(node.path)
                # It may have been made writable to empty it.
                self._ledger.directory_attributes.setdefault(node.path, node.attributes)
            else:
                self._problem(node.path, f"cannot be deleted: {error.strerror}")
            return
        self._count(node.path, is_directory=True)

    def _count(self, path: bytes, is_directory: bool) -> None:
        self.removed += 1
        self._ledger.removed(path, is_directory)
        parent = self._ledger.tree.nodes.get(split(path)[0])
        if parent is not None and parent.holds:
            # It may be no entry of the source's, and have been made writable.
            self._ledger.directory_attributes.setdefault(parent.path, parent.attributes)

    def _problem(self, path: bytes, what: str) -> None:
        self.problems.append(Problem(path, what, False))
