"""Publishing: a finished temporary gets its name, if its target is still what was scanned."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from syncron_lib.core.names import split
from syncron_lib.core.permission import EVERYTHING, IN_ITS_PLACE, THERE_ALREADY, Effect
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.fs import stats
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import Finder
from syncron_lib.fs.ledger import Ledger, Written
from syncron_lib.fs.removal import Removal
from syncron_lib.fs.staging import Staging
from syncron_lib.fs.stats import StatRow

_NEVER_SURE = "the file system there cannot give a name without perhaps replacing what has it"
_NOREPLACE = 1
"""``RENAME_NOREPLACE`` of renameat2(2)."""
_NO_HARD_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS))


class Publisher:
    """Moves entries from staging to their places. Raises OSError where one must stay."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        removal: Removal,
        before_replacing: Callable[[bytes, int, Staging], None],
        may: Effect = EVERYTHING,
    ) -> None:
        """``before_replacing``: called with an entry's path, its directory's descriptor and the
        staging there, just before something else gets its name."""
        self._may = may
        self._before_replacing = before_replacing
        self._directories = directories
        self._ledger = ledger
        self._finder = Finder(ledger.tree)
        self._removal = removal

    def scanned(self, path: bytes) -> StatRow | None:
        """The destination's entry at ``path`` as it was scanned."""
        found = self._finder.find(path)
        return None if found is None else found.stats

    def require_allowed(self, path: bytes, replace: bool) -> None:
        """Raise OSError where what is at ``path`` may not give way, or become another."""
        if replace and Effect.REMOVE not in self._may and self.scanned(path) is not None:
            raise FileExistsError(errno.EEXIST, IN_ITS_PLACE)
        if Effect.CHANGE not in self._may and self.scanned(path) is not None:
            raise FileExistsError(errno.EEXIST, THERE_ALREADY)

    def _place(self, path: bytes) -> tuple[bytes, bytes]:
        """The directory of ``path`` and the name in it. Raises OSError where the directory is not
        one of the tree: what has its name there is another's, or another directory whose name a
        file system takes for its own."""
        parent, name = split(path)
        if parent not in self._ledger.tree.nodes:
            raise FileNotFoundError(errno.ENOENT, "its directory could not be made")
        return parent, name

    def publish(
        self, path: bytes, staging: Staging, temporary: bytes, replace: bool, written: Written
    ) -> None:
        """Give the entry ``temporary`` its name. ``replace``: one of another kind may go."""
        self.require_allowed(path, replace)
        parent, name = self._place(path)
        parent_fd = self._directories.open_writable(parent)
        scanned = self.scanned(path)
        if scanned is not None and (replace or scanned[1] & TYPE_MASK == stat.S_IFDIR):
            self.make_way(path, parent_fd, name, replace)
            # Removing a deep directory may have closed what was borrowed before.
            parent_fd = self._directories.open_writable(parent)
            scanned = None
        if scanned is None:
            link_new(staging.fd, temporary, parent_fd, name, Effect.CHANGE not in self._may)
        else:
            current = self._directories.disk.stat(name, dir_fd=parent_fd, follow_symlinks=False)
            if not self._ledger.is_as_scanned(scanned, stats.row(name, current)):
                raise _edited()
            self._ledger.disturb(current)
            self._before_replacing(path, parent_fd, staging)
            if self._removal.backup is not None:
                self._removal.backup.keep(path, current)
                parent_fd = self._directories.open_writable(parent)
            # RACE: an edit between this stat and the rename is lost; microseconds apart.
            os.rename(temporary, name, src_dir_fd=staging.fd, dst_dir_fd=parent_fd)
        self._ledger.wrote(parent, name, written)

    def publish_directory(
        self, path: bytes, staging: Staging, staged: bytes, replace: bool
    ) -> None:
        """Give the staged directory its name; what appeared there since the scan is kept."""
        self.require_allowed(path, replace)
        parent, name = self._place(path)
        parent_fd = self._directories.open_writable(parent)
        self.make_way(path, parent_fd, name, replace)
        parent_fd = self._directories.open_writable(parent)
        if Effect.CHANGE not in self._may and rename_new(staging.fd, staged, parent_fd, name):
            return
        # rename(2) replaces nothing but an empty directory here.
        os.rename(staged, name, src_dir_fd=staging.fd, dst_dir_fd=parent_fd)

    def make_way(self, path: bytes, parent_fd: int, name: bytes, replace: bool) -> None:
        """See that nothing is at ``path``, removing what was scanned there if it may go."""
        scanned = self.scanned(path)
        try:
            current = self._directories.disk.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if scanned is None:
            raise taken(parent_fd, name)
        if not replace:
            raise FileExistsError(errno.EEXIST, "an entry of another kind is in its place")
        if stat.S_ISDIR(current.st_mode):
            self._removal.remove(path)
        elif not self._ledger.is_as_scanned(scanned, stats.row(name, current)):
            raise _edited()
        else:
            self._ledger.disturb(current)
            self._removal.discard(path, current)

    def keep_copy(self, path: bytes, st: os.stat_result) -> None:
        """Keep a copy of the file at ``path``, which is about to be written to, if that is asked
        for."""
        if self._removal.backup is not None:
            self._removal.backup.copy(path, st)


def link_new(source: int, old: bytes, target: int, new: bytes, never_replace: bool = False) -> None:
    """Move a file to a name that nothing has. A link fails where a rename would replace what
    appeared meanwhile. ``never_replace``: fail where that cannot be ruled out."""
    try:
        os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        raise taken(target, new) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if rename_new(source, old, target, new):
            return
        if never_replace:
            raise OSError(errno.EOPNOTSUPP, _NEVER_SURE) from None
        # RACE: with neither hard links nor such a rename, what appears at this very moment is
        # replaced.
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
    else:
        try:
            os.unlink(old, dir_fd=source)
        except OSError:
            os.unlink(new, dir_fd=target)
            raise


def rename_new(source: int, old: bytes, target: int, new: bytes) -> bool:
    """Rename to a name that nothing has; False where the system or file system has no such call.
    Raises OSError."""
    try:
        import ctypes

        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, OSError, AttributeError):
        return False
    if call(source, ctypes.c_char_p(old), target, ctypes.c_char_p(new), _NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    if number == errno.EEXIST:
        raise taken(target, new)
    raise OSError(number, os.strerror(number))


def _edited() -> OSError:
    return FileExistsError(errno.EEXIST, "it was changed at the destination during the run")


def taken(directory: int, name: bytes) -> OSError:
    """Why nothing can get a name that nothing had when the tree was scanned."""
    what = "it was made at the destination during the run"
    with contextlib.suppress(OSError):
        if os.fsdecode(name) not in os.listdir(directory):
            what = "the file system there takes it for another name that is there"
    return FileExistsError(errno.EEXIST, what)
