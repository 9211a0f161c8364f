"""Dated trees in one directory: named when they are whole, removed when nobody keeps them.

A snapshot is made in ``incomplete``, as a destination like any other, and renamed when it is done:
what has a date is whole, and an interrupted run goes on where it was. What is remembered of the
tree goes with the name, so that the next run links to it without reading a file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence

from syncron_lib.core.names import PRIVATE, shown
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.retention import INCOMPLETE, LATEST, is_snapshot
from syncron_lib.errors import FileFatal, Locked, PeerViolation, StateUnusable
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.identity import file_system
from syncron_lib.fs.publish import rename_new
from syncron_lib.fs.reach import Place, Reach
from syncron_lib.fs.root import Choice, Root
from syncron_lib.fs.state import file_stem, state_directory

_NOTES = b"snapshots"
_DROPPED = b"dropped"
NOTE_MAX = 4096
_STATE_ENDINGS = (b".db", b".holder")
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SnapshotDirectory:
    """The directory that holds snapshots, while one request is carried out."""

    def __init__(self, place: Place, environment: Mapping[str, str], reach: Reach) -> None:
        self.place = place
        self._environment = environment
        self._reach = reach
        self._fd = reach.open(place.path) if place.kind == stat.S_IFDIR else -1

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)

    # --- looking ------------------------------------------------------------------------------

    def items(self) -> list[tuple[bytes, bytes]]:
        """Names and notes, the oldest first."""
        if self._fd < 0:
            return []
        names = sorted(filter(is_snapshot, map(os.fsencode, os.listdir(self._fd))))
        with self._private(_NOTES, make=False) as notes:
            return [(name, _note(notes, name)) for name in names if self._is_directory(name)]

    def unmounted(self) -> bool:
        """Whether snapshots were here at the last run, on a file system that is not here now."""
        if self.place.kind not in (0, stat.S_IFDIR):
            return False
        with contextlib.suppress(StateUnusable):
            root = self._root()
            try:
                return root.unmounted
            finally:
                root.close()
        return False

    def _root(self) -> Root:
        choice = Choice(None, None, RuleOptions(), True, False)
        return Root(self.place, choice, self._environment, self._reach)

    def _is_directory(self, name: bytes) -> bool:
        return stat.S_ISDIR(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)

    # --- keeping ------------------------------------------------------------------------------

    def keep(self, name: bytes, note: bytes, durable: bool) -> None:
        """Name what is in ``incomplete``. Raises OSError and `FileFatal`."""
        if not is_snapshot(name) or len(note) > NOTE_MAX:
            raise PeerViolation("The client named a snapshot as none can be.")
        made = os.open(INCOMPLETE, OPEN_DIRECTORY, dir_fd=self._fd)
        try:
            try:
                fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Locked(
                    f"Another run has begun the next snapshot in {shown(self.place.path)}."
                ) from None
            if not rename_new(self._fd, INCOMPLETE, self._fd, name):
                # RACE: an empty directory that appears in between would be replaced.
                if self._exists(name):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                os.rename(INCOMPLETE, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        finally:
            os.close(made)
        self._move_state(name)
        with self._private(_NOTES, make=True) as notes:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=notes)
            file = os.open(name, _FILE, 0o600, dir_fd=notes)
            try:
                os.write(file, note)
            finally:
                os.close(file)
            self._point_latest(notes, name)
        if durable:
            os.fsync(self._fd)
        self._remember()

    def _point_latest(self, private: int, name: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(LATEST, dir_fd=private)
        if self._exists(LATEST) and not self._is_link(LATEST):
            raise FileFatal(
                f"The snapshot {shown(name)} is whole, but {shown(self.place.path)}/latest is no"
                " symlink, so it was left as it is; have it removed."
            )
        os.symlink(name, LATEST, dir_fd=private)
        os.rename(LATEST, LATEST, src_dir_fd=private, dst_dir_fd=self._fd)

    def _exists(self, name: bytes) -> bool:
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            return True
        return False

    def _is_link(self, name: bytes) -> bool:
        return stat.S_ISLNK(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)

    def _move_state(self, name: bytes) -> None:
        """State is a cache: where it stays behind, the next run reads more."""
        for ending, old, new in self._states(INCOMPLETE, name):
            with contextlib.suppress(OSError):
                os.rename(old + ending, new + ending)

    def _states(self, *names: bytes) -> Iterator[tuple[bytes, ...]]:
        with contextlib.suppress(StateUnusable):
            directory = state_directory(self._environment)
            stems = [
                os.path.join(directory, file_stem(os.path.join(self.place.path, name)))
                for name in names
            ]
            for ending in _STATE_ENDINGS:
                yield (ending, *stems)

    def _remember(self) -> None:
        """That there are snapshots here, and on which file system: see `unmounted`."""
        with contextlib.suppress(StateUnusable, sqlite3.Error):
            root = self._root()
            try:
                if root.state is not None and root.root_fd is not None:
                    disk = file_system(root.root_fd)
                    place = {"root": root.path, "file_system": disk, "entries": b"1"}
                    root.state.save((), (), place)
            finally:
                root.close()

    # --- dropping -----------------------------------------------------------------------------

    def drop(self, names: Sequence[bytes]) -> list[str]:
        """Remove snapshots; what resists is told, and tried again the next time."""
        latest = b""
        with contextlib.suppress(OSError):
            latest = os.readlink(LATEST, dir_fd=self._fd)
        there = {name for name, _ in self.items()}
        problems: list[str] = []
        with self._private(_DROPPED, make=True) as dropped:
            for name in names:
                if name not in there or name == latest:
                    continue
                os.close(_opened(self._fd, name))  # so that it may be moved
                # What is half removed has no date any more.
                os.rename(name, _free(dropped), src_dir_fd=self._fd, dst_dir_fd=dropped)
                for ending, stem in self._states(name):
                    with contextlib.suppress(OSError):
                        os.unlink(stem + ending)
                with self._private(_NOTES, make=True) as notes, contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=notes)
            _remove_all(dropped, problems)
        return problems

    @contextlib.contextmanager
    def _private(self, name: bytes, make: bool) -> Iterator[int]:
        """A directory of our own in ``.syncron``; -1 where there is none."""
        fds: list[int] = []
        try:
            above = self._fd
            for each in (PRIVATE, name):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(each, 0o700, dir_fd=above)
                try:
                    above = os.open(each, OPEN_DIRECTORY, dir_fd=above)
                except FileNotFoundError:
                    if make:
                        raise
                    break
                fds.append(above)
            yield above if len(fds) == 2 else -1
        finally:
            for fd in fds:
                os.close(fd)


def _note(notes: int, name: bytes) -> bytes:
    if notes < 0:
        return b""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=notes)
    except OSError:
        return b""
    try:
        return os.read(file, NOTE_MAX)
    except OSError:
        return b""
    finally:
        os.close(file)


def _free(top: int) -> bytes:
    number = 0
    taken = set(map(os.fsencode, os.listdir(top)))
    while b"%d" % number in taken:
        number += 1
    return b"%d" % number


def _remove_all(top: int, problems: list[str]) -> None:
    """Empty ``top``, which is ours alone. Directories are brought up here before they are emptied,
    so that two descriptors are enough for a tree of any depth."""
    number = 0
    waiting = list(map(os.fsencode, os.listdir(top)))
    taken = set(waiting)
    while waiting:
        name = waiting.pop()
        try:
            fd = _opened(top, name)
        except NotADirectoryError:
            os.unlink(name, dir_fd=top)
            continue
        except OSError as error:
            problems.append(f"{shown(name)}: {error.strerror}")
            continue
        try:
            for entry in os.scandir(fd):
                below = os.fsencode(entry.name)
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(below, dir_fd=fd)
                    continue
                while b"%d" % number in taken:
                    number += 1
                place = b"%d" % number
                os.close(_opened(fd, below))  # so that it may be moved
                os.rename(below, place, src_dir_fd=fd, dst_dir_fd=top)
                taken.add(place)
                waiting.append(place)
            os.rmdir(name, dir_fd=top)
            taken.discard(name)
        except OSError as error:
            problems.append(f"{shown(name)}: {error.strerror}")
        finally:
            os.close(fd)


def _opened(above: int, name: bytes) -> int:
    """A directory, made so that its owner can empty it."""
    held = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        if os.fstat(held).st_mode & 0o700 != 0o700:
            os.chmod(b"/proc/self/fd/%d" % held, 0o700)
        return os.open(b".", OPEN_DIRECTORY, dir_fd=held)
    finally:
        os.close(held)
