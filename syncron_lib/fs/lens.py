"""How a source shows its entries: with other permissions, or as what symlinks lead to.

What a lens shows is what is scanned, remembered and told. Whether an entry is still as scanned is
seen by what the file system says of it, its inode and its times.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib.core.choosing import is_unsafe
from syncron_lib.core.names import join, shown
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.core.view import MUNGED, NOWHERE, OUT_OF_REACH, Follow, Munge, View, munged
from syncron_lib.errors import FileFatal, PeerViolation
from syncron_lib.fs import stats
from syncron_lib.fs.listing import Listing
from syncron_lib.fs.reach import Reach
from syncron_lib.fs.stats import FIELDS, PackedRow, StatRow

if TYPE_CHECKING:
    from syncron_lib.core.chmod import Step
    from syncron_lib.fs.directories import Directories


class Lens:
    """What entries of one root are taken to be."""

    def __init__(self, view: View, reading: bool, reach: Reach, umask: int) -> None:
        """``reading``: the root is a source; a destination is shown as it is. ``umask``: counts
        where ``--chmod`` names nobody. Raises ValueError where ``view`` cannot be understood."""
        self._reach = reach
        self._umask = umask
        self._steps: tuple[Step, ...] = ()
        if view.chmod:
            from syncron_lib.core.chmod import changed, parse

            self._steps = parse(view.chmod)
            self._changed = changed
        self.follow = Follow(view.follow)
        self._above = int(Follow.NAMED in self.follow)
        self._munge = view.munge if reading else Munge.NOTHING
        self.munges = Munge.ADD in Munge(view.munge)
        """A destination gets no symlinks but such that lead nowhere."""
        self._no_atime = view.no_atime
        self.disk: Any = os
        """What tells of entries."""
        if view.fake_super:
            from syncron_lib.fs.fakesuper import FakeSuper

            self.disk = FakeSuper(not reading)
        self.key = view.key()
        """Identifies what is shown; empty where that is what there is."""

    def key_for(self, reading: bool) -> bytes:
        """The same where it says something of what is kept of the root."""
        return self.key if reading or self.disk is not os else b""

    def leads_nowhere(self) -> bool:
        """Whether symlinks are to lead nowhere. Raises FileFatal where they would lead
        somewhere."""
        if self.munges and os.path.isdir(MUNGED):
            raise FileFatal(
                f"Symlinks cannot be munged, because the directory {shown(MUNGED)} exists there;"
                " remove it, or leave out --munge-links. Nothing was changed."
            )
        return self.munges

    def put_before(self, directories: Directories) -> None:
        """Have what is opened there be what is shown."""
        directories.lens = self
        directories.disk = self.disk
        if self.follow or self._no_atime:
            directories.opener = self._open

    def target(self, target: bytes) -> bytes:
        """The target of a symlink."""
        return munged(target, self._munge)

    @property
    def changes_modes(self) -> bool:
        """Whether entries are shown with other permissions."""
        return bool(self._steps)

    def row(self, name: bytes, st: os.stat_result) -> StatRow:
        """The row of an entry."""
        row = stats.row(name, st)
        mode = self.mode(row[1])
        return row if mode == row[1] else (row[0], mode, *row[2:])

    def mode(self, mode: int) -> int:
        """The mode of an entry."""
        if not self._steps or mode & TYPE_MASK in (0, stat.S_IFLNK):
            return mode
        return self._changed(mode, self._steps, self._umask)

    def is_link(self, mode: int) -> bool:
        """Whether what has the name is what is shown, and not what that leads to."""
        return not self.follow or stat.S_ISLNK(mode)

    def shown(self, fd: int, path: bytes, listing: Listing, only: Optional[bytes]) -> Listing:
        """The entries of the directory ``path``, open at ``fd``. ``only``: the name on disk of the
        one entry that is looked at."""
        if self.disk is not os:
            listing = self.disk.shown(fd, listing, only)
        if self.follow:
            listing = self._followed(fd, path, listing)
        if self._steps:
            listing = listing._replace(rows=list(map(self._with_mode, listing.rows)))
        return listing

    def _with_mode(self, packed: PackedRow) -> PackedRow:
        row = stats.unpack_row(packed)
        mode = self.mode(row[1])
        return packed if mode == row[1] else (row[0], FIELDS.pack(mode, *row[2:]))

    def _followed(self, fd: int, path: bytes, listing: Listing) -> Listing:
        rows = list(listing.rows)
        directories = dict(listing.directories)
        owners = set(listing.owners)
        size = listing.size
        for index, packed in enumerate(rows):
            name = packed[0]
            if not stat.S_ISLNK(FIELDS.unpack(packed[1])[0]):
                continue
            found = self._behind(fd, join(path, name))
            if found is None:
                continue
            if isinstance(found, int):
                rows[index] = (name, stats.pack_fields(stats.problem_row(name, found)))
                continue
            row = stats.row(name, found)
            rows[index] = (name, stats.pack_fields(row))
            owners.add((found.st_uid, found.st_gid))
            if stat.S_ISDIR(found.st_mode):
                directories[name] = found.st_dev
            elif stat.S_ISREG(found.st_mode):
                size += found.st_size
        return Listing(rows, directories, size, owners)

    def _behind(self, fd: int, path: bytes) -> Optional[os.stat_result | int]:
        """What stands for the symlink at ``path``: what it leads to, or why that cannot be; None
        where it stands for itself."""
        name = path[path.rfind(b"/") + 1 :]
        wanted = Follow.ALL in self.follow
        if not wanted and Follow.UNSAFE in self.follow:
            try:
                wanted = is_unsafe(path, os.readlink(name, dir_fd=fd), self._above)
            except OSError:  # it is another by now
                return None
        if not (wanted or Follow.DIRECTORIES in self.follow):
            return None
        try:
            found = self._reach.stat(fd, name)
        except FileNotFoundError:
            return NOWHERE if wanted else None
        except OSError as error:
            # What leads out of the reach of a restricted account is not passed over.
            return error.errno if wanted or error.errno == OUT_OF_REACH else None
        return found if wanted or stat.S_ISDIR(found.st_mode) else None

    def stat(self, fd: int, name: bytes, mode: int) -> os.stat_result:
        """What the file system says now of an entry that was shown with ``mode``. Raises
        OSError."""
        if self.is_link(mode):
            st: os.stat_result = self.disk.stat(name, dir_fd=fd, follow_symlinks=False)
            return st
        return self._reach.stat(fd, name)

    def _open(self, name: bytes, flags: int, *, dir_fd: int) -> int:
        if self._no_atime and not flags & os.O_DIRECTORY:
            try:
                return self._opened(name, flags | os.O_NOATIME, dir_fd)
            except PermissionError:  # it is another's
                pass
        return self._opened(name, flags, dir_fd)

    def _opened(self, name: bytes, flags: int, fd: int) -> int:
        if self.follow:
            return self._reach.follow(fd, name, flags)
        return os.open(name, flags, dir_fd=fd)


def lens_of(view: View, reading: bool, reach: Reach, umask: int) -> Lens:
    """How a root is shown: as the client says, if it is a source. Raises PeerViolation."""
    if not reading:
        add = view.munge & Munge.ADD
        view = View(munge=add, no_atime=view.no_atime, fake_super=view.fake_super)
    try:
        return Lens(view, reading, reach, umask)
    except ValueError:
        raise PeerViolation("The client asked for permissions that are none.") from None
