"""Backups: what a run replaces or deletes keeps its content under another name.

An entry gets its backup's name before it loses its own, by a link or by the one rename that takes
its name away; so there is no moment at which the only copy has no name. A backup of an earlier run
that has the name makes way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import Optional

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, split
from syncron_lib.fs import attributes
from syncron_lib.fs.attributes import PERMISSIONS, Applied
from syncron_lib.fs.copying import NO_LINK, copy_content
from syncron_lib.fs.directories import OPEN_DIRECTORY, Directories
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.fs.reach import Reach
from syncron_lib.fs.staging import CREATE_FILE
from syncron_lib.record import NamedTuple

_TEMPORARY = b".syncron-backup"
"""A copy while it is made."""
_IN_THE_WAY = frozenset((errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST))
_NO_DIRECTORY = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))


class Elsewhere(NamedTuple):
    """A directory that backups go to. ``path``: real. ``below``: where in it this root's begin."""

    path: bytes
    below: bytes
    reach: Reach


class Backup:
    """Keeps entries of one tree. Raises OSError where one cannot be kept: it must stay then."""

    def __init__(
        self,
        directories: Directories,
        suffix: bytes,
        elsewhere: Optional[Elsewhere],
        umask: int,
        durable: bool,
        extended: int = 0,
    ) -> None:
        """``elsewhere``: None where a backup stays beside what it was. ``umask``: the user's, for
        a backup directory that is made. ``durable``: copies are on the disk when they are made.
        ``extended``: the kinds of extended attributes that copies have too."""
        self._directories = directories
        self._suffix = suffix
        self._elsewhere = elsewhere
        self._umask = umask
        self._durable = durable
        self._extended = extended
        disk = directories.disk
        is_root = os.geteuid() == 0 or disk is not os
        self._like = Applied(True, True, is_root, is_root, {}, {}, umask, disk=disk)
        self._kept: Optional[Directories] = None
        self._closed: dict[bytes, int] = {}
        """Directories of backups that were closed to their owner, and their permissions."""

    def keep(self, path: bytes, st: os.stat_result) -> None:
        """Give the entry at ``path``, which is about to be replaced, its backup's name too."""
        target, name = self._place(path)
        parent, own = self._parent(path)
        for _ in range(2):
            try:
                os.link(own, name, src_dir_fd=parent, dst_dir_fd=target, follow_symlinks=False)
                return
            except FileExistsError:
                self._make_way(target, name)
            except OSError as error:
                if error.errno not in NO_LINK:
                    raise
                break
        self._copy(parent, own, st, target, name)

    def take(self, path: bytes, st: os.stat_result) -> None:
        """Give the entry at ``path`` its backup's name instead of its own."""
        target, name = self._place(path)
        parent, own = self._parent(path)
        try:
            self._rename(parent, own, target, name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(parent, own, st, target, name)
            # RACE: an edit since it was copied is lost.
            os.unlink(own, dir_fd=parent)
            return
        if st.st_nlink > 1:
            # A rename to another name of the same file does nothing.
            with contextlib.suppress(FileNotFoundError):
                left = os.stat(own, dir_fd=parent, follow_symlinks=False)
                if left.st_ino == st.st_ino:
                    os.unlink(own, dir_fd=parent)

    def copy(self, path: bytes, st: os.stat_result) -> None:
        """Copy the file at ``path``, which is about to be written to."""
        target, name = self._place(path)
        self._copy(*self._parent(path), st, target, name)

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        parent, name = split(path)
        return self._directories.open_writable(parent), name

    def _rename(self, source: int, old: bytes, target: int, new: bytes) -> None:
        try:
            os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            self._make_way(target, new)
            os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)

    def _make_way(self, directory: int, name: bytes) -> None:
        """Remove the backup of an earlier run."""
        st = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISDIR(st.st_mode):
            os.unlink(name, dir_fd=directory)
        elif self._elsewhere is None:
            raise OSError(errno.EISDIR, "a directory has the name of its backup")
        else:
            _remove_tree(directory, name)

    def _copy(self, parent: int, own: bytes, st: os.stat_result, target: int, name: bytes) -> None:
        """Make the backup as another file: on another file system, or where none can be linked."""
        now = time.time_ns()
        wanted = Attributes(st.st_mode, st.st_mtime_ns, st.st_uid, st.st_gid)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_TEMPORARY, dir_fd=target)
        try:
            if stat.S_ISREG(st.st_mode):
                self._copy_file(parent, own, st, target, wanted, now)
            else:
                readlink = self._like.disk.readlink
                link = readlink(own, dir_fd=parent) if stat.S_ISLNK(st.st_mode) else b""
                attributes.make_special(
                    target, _TEMPORARY, wanted, st.st_rdev, link, self._like, now
                )
            if self._extended:
                from syncron_lib.core.extended import Kinds
                from syncron_lib.fs.extended import carry, held

                with held(parent, own) as old, held(target, _TEMPORARY) as new:
                    carry(old, new, Kinds(self._extended).keeps, self._like.disk)
            self._rename(target, _TEMPORARY, target, name)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(_TEMPORARY, dir_fd=target)
            raise

    def _copy_file(
        self,
        parent: int,
        own: bytes,
        st: os.stat_result,
        target: int,
        wanted: Attributes,
        now: int,
    ) -> None:
        source = os.open(own, OPEN_FILE, dir_fd=parent)
        try:
            copy = os.open(_TEMPORARY, CREATE_FILE, 0o600, dir_fd=target)
            try:
                copy_content(source, copy, st.st_size)
                after = os.fstat(source)
                if (after.st_ino, after.st_size, after.st_mtime_ns, os.fstat(copy).st_size) != (
                    st.st_ino,
                    st.st_size,
                    st.st_mtime_ns,
                    st.st_size,
                ):
                    raise OSError(errno.ESTALE, "it was changed while it was kept as a backup")
                attributes.set_on_new(copy, wanted, self._like, now)
                if self._durable:
                    os.fsync(copy)
            finally:
                os.close(copy)
        finally:
            os.close(source)

    # --- where ----------------------------------------------------------------------------------

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """The directory (borrowed) and the name that the backup of ``path`` gets."""
        parent, name = split(path)
        if self._elsewhere is None:
            return self._directories.open_writable(parent), name + self._suffix
        if self._kept is None:
            self._kept = Directories(self._open(self._elsewhere))
        return self._made(self._kept, self._elsewhere.below, parent), name + self._suffix

    def _open(self, elsewhere: Elsewhere) -> int:
        """The backup directory, made if it is missing."""
        with contextlib.suppress(FileNotFoundError):
            return elsewhere.reach.open(elsewhere.path)
        mask = os.umask(self._umask)
        try:
            elsewhere.reach.create(elsewhere.path, True)
        finally:
            os.umask(mask)
        fd = elsewhere.reach.open(elsewhere.path)
        os.fchmod(fd, 0o777 & ~self._umask)
        return fd

    def _made(self, kept: Directories, below: bytes, parent: bytes) -> int:
        """The directory for the backups of what is in ``parent``, made with those above it, each
        with the permissions and the owner of the one that it stands for."""
        path = join(below, parent) if parent else below
        with contextlib.suppress(OSError):
            return self._opened(kept, path)
        names = path.split(b"/")
        step = b""
        for count, name in enumerate(names, 1):
            above, step = step, join(step, name)
            try:
                kept.open(step)
                continue
            except OSError as error:
                if error.errno not in _NO_DIRECTORY:
                    raise
                there = error.errno != errno.ENOENT
            above_fd = self._opened(kept, above)
            if there:  # the backup of something that was no directory then
                os.unlink(name, dir_fd=above_fd)
            os.mkdir(name, 0o700, dir_fd=above_fd)
            inside = len(names) - count
            depth = parent.count(b"/") + 1 if parent else 0
            if depth > inside:
                own = b"/".join(parent.split(b"/")[: depth - inside])
                self._dress(kept.open(step), own)
            else:
                os.fchmod(kept.open(step), 0o777 & ~self._umask)
        return self._opened(kept, path)

    def _opened(self, kept: Directories, path: bytes) -> int:
        """A directory of backups, open for another one; it is closed again at the end."""
        fd = kept.open(path)
        mode = os.fstat(fd).st_mode & PERMISSIONS
        if mode & 0o300 != 0o300 and os.geteuid() != 0:
            os.fchmod(fd, mode | 0o700)
            self._closed[path] = mode
        return fd

    def _dress(self, fd: int, own: bytes) -> None:
        old, disk = self._directories.open(own), self._like.disk
        st = disk.fstat(old)
        if self._like.owner:
            disk.fchown(fd, st.st_uid, st.st_gid)
        disk.fchmod(fd, st.st_mode & PERMISSIONS)
        if self._extended:
            from syncron_lib.core.extended import Kinds
            from syncron_lib.fs.extended import carry

            carry(old, fd, Kinds(self._extended).keeps, disk)

    # --- the end --------------------------------------------------------------------------------

    @property
    def root_fd(self) -> Optional[int]:
        """The backup directory, where something was kept in it."""
        return None if self._kept is None else self._kept.root_fd

    def close(self) -> None:
        """Let go of the backup directory."""
        if self._kept is not None:
            for path, mode in reversed(self._closed.items()):
                with contextlib.suppress(OSError):
                    os.fchmod(self._kept.open(path), mode)
            self._kept.close()
            os.close(self._kept.root_fd)
            self._kept = None


def _remove_tree(directory: int, name: bytes) -> None:
    """Remove a directory of earlier backups, through no symlink."""
    stack = [(os.dup(directory), name, False)]
    try:
        while stack:
            above, own, emptied = stack.pop()
            if emptied:
                try:
                    os.rmdir(own, dir_fd=above)
                finally:
                    os.close(above)
                continue
            stack.append((above, own, True))
            fd = os.open(own, OPEN_DIRECTORY, dir_fd=above)
            try:
                for entry in map(os.fsencode, os.listdir(fd)):
                    st = os.stat(entry, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(st.st_mode):
                        stack.append((os.dup(fd), entry, False))
                    else:
                        os.unlink(entry, dir_fd=fd)
            finally:
                os.close(fd)
    finally:
        for above, _, _ in stack:
            os.close(above)
