"""Making hard links at a destination: to what is known to be the right file, and nowhere else."""

from __future__ import annotations

import errno
import os
import stat
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.names import shown, split
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.fs import stats
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.ledger import Ledger, Written
from syncron_lib.fs.mounts import Stagings
from syncron_lib.fs.publish import Publisher

NO_LINK = frozenset(
    (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOENT)
)
"""What is said where there can be no link, though there could be a file: another file system, no
more names for one, another user's file, a leader that did not come."""


class Linker:
    """Gives files of one tree further names. A link is made in staging first, and published as
    any other entry is."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        stagings: Stagings,
        publisher: Publisher,
    ) -> None:
        self._directories = directories
        self._ledger = ledger
        self._stagings = stagings
        self._publisher = publisher

    def link(self, path: bytes, leader: bytes, replace: bool) -> bool:
        """Make ``path`` a name of the file at ``leader``; False where it is that already. Raises
        OSError."""
        parent, name = split(path)
        above, called = split(leader)
        source_fd = self._directories.open(above)
        st = self._directories.disk.stat(called, dir_fd=source_fd, follow_symlinks=False)
        if stat.S_ISDIR(st.st_mode) or not self._is_known(leader, st):
            raise FileExistsError(
                errno.EEXIST, f"{shown(leader)} was changed at the destination during the run"
            )
        if self._has(parent, name, st):
            return False
        self._publisher.require_allowed(path, replace)
        staging = self._stagings.beside(parent)
        temporary = staging.name_for_small()
        source_fd = self._directories.open(above)
        staged = staging.fd
        os.link(called, temporary, src_dir_fd=source_fd, dst_dir_fd=staged, follow_symlinks=False)
        try:
            self._ledger.linked(st)
            now = self._directories.disk.stat(temporary, dir_fd=staged, follow_symlinks=False)
            if _content(now) != _content(st):  # another file had the leader's name by then
                raise FileExistsError(errno.EEXIST, f"{shown(leader)} was changed meanwhile")
            size = st.st_size if stat.S_ISREG(st.st_mode) else 0
            written = Written(size, stats.in_range(st.st_mtime_ns), digest.UNKNOWN)
            self._publisher.publish(path, staging, temporary, replace, written)
        except OSError:
            staging.remove(temporary)
            raise
        return True

    def _is_known(self, path: bytes, st: os.stat_result) -> bool:
        """Whether what is at ``path`` is what this run wrote there, or as it was scanned."""
        parent, name = split(path)
        written = self._ledger.written(parent, name)
        if written is not None:
            size = st.st_size if stat.S_ISREG(st.st_mode) else 0
            return (written.size, written.mtime_ns) == (size, stats.in_range(st.st_mtime_ns))
        scanned = self._publisher.scanned(path)
        now = stats.row(name, st)
        return scanned is not None and self._ledger.is_as_scanned(scanned, now)

    def _has(self, parent: bytes, name: bytes, st: os.stat_result) -> bool:
        current: Optional[os.stat_result] = None
        try:
            fd = self._directories.open(parent)
            current = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (current.st_dev, current.st_ino) == (st.st_dev, st.st_ino)


def _content(st: os.stat_result) -> tuple[int, ...]:
    """What of a stat stays as it is when a file gets another name."""
    return st.st_dev, st.st_ino, st.st_mode & TYPE_MASK, st.st_size, st.st_mtime_ns
