"""What only root may do, noted instead (``--fake-super``): in rsync's extended attribute.

An entry's mode, owner, group and device stand in ``user.rsync.%stat`` where the entry itself does
not have them; it is a file or directory of whoever runs this, who can read and write it. Symlinks
and special files are plain files; a symlink's target is what is in it. ACLs, and attributes that
are not the user's, are noted beside that (`core.notes`).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Any, Optional, Union

from syncron_lib.core import notes
from syncron_lib.core.extended import ACCESS, ACL_NAMES
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.core.view import DAMAGED, REASONS
from syncron_lib.errors import RootError
from syncron_lib.fs import stats
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.fs.largefile import write_all
from syncron_lib.fs.listing import Listing
from syncron_lib.fs.staging import CREATE_FILE
from syncron_lib.fs.stats import FIELDS, PackedRow
from syncron_lib.record import NamedTuple

_STAT = "user.rsync.%stat"
_PATTERN = re.compile(rb"([0-7]{1,7}) ([0-9]{1,10}),([0-9]{1,10}) ([0-9]{1,10}):([0-9]{1,10})\s*")
"""Mode, device (major, minor), owner and group."""
_NOTHING = frozenset((errno.ENODATA, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM))
"""Nothing is noted, or nothing that whoever runs this may read: then it did not write it either."""
_DEVICES = (stat.S_IFCHR, stat.S_IFBLK)
_STANDS_FOR = {
    stat.S_IFREG: (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, *_DEVICES),
    stat.S_IFDIR: (stat.S_IFDIR,),
}
"""What an entry of a kind may be noted to be."""
_NO_ID = 0xFFFFFFFF
"""Nobody can have it."""
_REPLACEABLE = stat.S_IFIFO | 0o7007
"""What a symlink is shown as of which nothing can be noted, with an owner that there is not: equal
to nothing that a source has."""
_DEVICE_MAX = 0xFFFFFF
_TARGET_MAX = 4096
_NO_ACL = b"\0"
_BITS = 0o7777


class _Noted(NamedTuple):
    mode: int
    device: int
    uid: int
    gid: int


class FakeSuper:
    """Stands for `os` in what is asked about entries of a tree, and done to them."""

    def __init__(self, writing: bool) -> None:
        """``writing``: symlinks that are none by note only are shown as something else, because
        nothing can be noted of them: they have to be replaced. Raises RootError."""
        if not os.path.isdir("/proc/self/fd"):  # by which what is held is reached
            raise RootError(
                "--fake-super needs /proc on that machine, which is not mounted."
                " Nothing was changed."
            )
        self._writing = writing

    # --- reading ----------------------------------------------------------------------------------

    def stat(
        self, name: bytes, *, dir_fd: Optional[int] = None, follow_symlinks: bool = False
    ) -> os.stat_result:
        """As `os.stat`, of the entry itself, or of what `held` leads to."""
        if dir_fd is None:
            return self._as_noted(os.stat(name), name, True)
        st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return self._as_noted(st, _place(dir_fd, name), False)

    def fstat(self, fd: int) -> os.stat_result:
        """As `os.fstat`, also of what was opened by its path only."""
        return self._as_noted(os.fstat(fd), _held(fd), True)

    def readlink(self, name: bytes, *, dir_fd: int) -> bytes:
        """As `os.readlink`."""
        try:
            fd = os.open(name, OPEN_FILE, dir_fd=dir_fd)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return os.readlink(name, dir_fd=dir_fd)
        try:
            target = os.read(fd, _TARGET_MAX)
        finally:
            os.close(fd)
        if not 0 < len(target) < _TARGET_MAX or b"\0" in target:
            raise OSError(DAMAGED, REASONS[DAMAGED])
        return target

    def listxattr(self, where: Union[int, bytes], *, follow_symlinks: bool = True) -> list[str]:
        """As `os.listxattr`. The file's own attributes of other namespaces are the copy's."""
        found = []
        for note in map(os.fsencode, os.listxattr(where, follow_symlinks=follow_symlinks)):
            name = notes.named(note)
            if name is not None and (
                name != ACCESS or self.getxattr(where, name, follow_symlinks=follow_symlinks)
            ):
                found.append(os.fsdecode(name))
        return found

    def getxattr(
        self, where: Union[int, bytes], name: bytes, *, follow_symlinks: bool = True
    ) -> bytes:
        """As `os.getxattr`. A damaged ACL is one that nobody can be given."""
        where = _held(where) if isinstance(where, int) else where
        value = os.getxattr(where, notes.noted_name(name), follow_symlinks=follow_symlinks)
        if name not in ACL_NAMES:
            return value
        mode = os.stat(where, follow_symlinks=follow_symlinks).st_mode
        of_it = _noted(where, mode, follow_symlinks)
        try:
            return notes.acl_of(name, value, mode if of_it is None else of_it.mode)
        except notes.Garbled:
            return _NO_ACL

    def shown(self, fd: int, listing: Listing, only: Optional[bytes]) -> Listing:
        """The entries of a directory as they are noted. ``only``: the name on disk of the one entry
        that is looked at."""
        rows: list[PackedRow] = []
        directories = dict(listing.directories)
        owners = set()
        size = 0
        for name, fields in listing.rows:
            mode, length, *times, uid, gid = FIELDS.unpack(fields)
            packed = name, fields
            if mode & TYPE_MASK in _STANDS_FOR:
                try:
                    noted = _noted(_place(fd, only or name), mode, False)
                    if noted is not None and stat.S_ISLNK(noted.mode):
                        # One whose target cannot be read later has vanished, for all that is known.
                        self.readlink(only or name, dir_fd=fd)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    row = stats.problem_row(name, error.errno or errno.EIO)
                    rows.append((name, stats.pack_fields(row)))
                    directories.pop(name, None)
                    continue
                if noted is not None:
                    mode, uid, gid = noted.mode, noted.uid, noted.gid
                    kind = mode & TYPE_MASK
                    if kind not in _STANDS_FOR:
                        length = noted.device if kind in _DEVICES else 0
                    packed = name, FIELDS.pack(mode, length, *times, uid, gid)
            elif self._writing and stat.S_ISLNK(mode):
                mode, uid = _REPLACEABLE, _NO_ID
                packed = name, FIELDS.pack(mode, length, *times, uid, gid)
            owners.add((uid, gid))
            size += length if stat.S_ISREG(mode) else 0
            rows.append(packed)
        return Listing(rows, directories, size, owners)

    def _as_noted(self, st: os.stat_result, where: bytes, follow: bool) -> os.stat_result:
        if st.st_mode & TYPE_MASK not in _STANDS_FOR:
            if not (self._writing and stat.S_ISLNK(st.st_mode)):
                return st
            noted: Optional[_Noted] = _Noted(_REPLACEABLE, 0, _NO_ID, st.st_gid)
        else:
            noted = _noted(where, st.st_mode, follow)
        if noted is None:
            return st
        reduced: Any = st.__reduce__()
        _, (values, more) = reduced
        values = (noted.mode, *values[1:4], noted.uid, noted.gid, *values[6:])
        return os.stat_result(values, {**more, "st_rdev": noted.device})

    # --- writing ----------------------------------------------------------------------------------

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """As `os.fchown`."""
        _note(_held(fd), uid=uid, gid=gid)

    def fchmod(self, fd: int, mode: int) -> None:
        """As `os.fchmod`."""
        _note(_held(fd), bits=mode)

    def chown(
        self,
        path: bytes,
        uid: int,
        gid: int,
        *,
        dir_fd: Optional[int] = None,
        follow_symlinks: bool = True,
    ) -> None:
        """As `os.chown`, of what `held` leads to, or of an entry."""
        if dir_fd is None:
            _note(path, uid=uid, gid=gid)
            return
        with _Held(path, dir_fd) as where:
            _note(where, uid=uid, gid=gid)

    def chmod(self, path: bytes, mode: int, *, dir_fd: Optional[int] = None) -> None:
        """As `os.chmod`, likewise."""
        if dir_fd is None:
            _note(path, bits=mode)
            return
        with _Held(path, dir_fd) as where:
            _note(where, bits=mode)

    def setxattr(self, where: Union[int, bytes], name: bytes, value: bytes) -> None:
        """As `os.setxattr`, of what is held."""
        where = _held(where) if isinstance(where, int) else where
        if name in ACL_NAMES:
            try:
                bits, value = notes.note_of(name, value)
            except notes.Garbled:
                raise OSError(errno.EINVAL, "it is no ACL") from None
            if name == ACCESS:
                st = self._as_noted(os.stat(where), where, True)
                _note(where, bits=st.st_mode & 0o7000 | bits)
            if not value:
                self.removexattr(where, name)
                return
        os.setxattr(where, notes.noted_name(name), value)

    def removexattr(self, where: Union[int, bytes], name: bytes) -> None:
        """As `os.removexattr`, likewise."""
        try:
            os.removexattr(where, notes.noted_name(name))
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise

    def symlink(self, target: bytes, name: bytes, *, dir_fd: int) -> None:
        """As `os.symlink`."""
        if not 0 < len(target) < _TARGET_MAX:  # it could not be read back
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        self._make(name, dir_fd, stat.S_IFLNK | 0o777, 0, target)

    def mknod(self, name: bytes, mode: int, device: int, *, dir_fd: int) -> None:
        """As `os.mknod`."""
        self._make(name, dir_fd, mode, device, b"")

    def _make(self, name: bytes, dir_fd: int, mode: int, device: int, content: bytes) -> None:
        fd = os.open(name, CREATE_FILE, 0o600, dir_fd=dir_fd)
        try:
            write_all(fd, memoryview(content))
            _note(_held(fd), kind=mode & TYPE_MASK, bits=mode & _BITS, device=device)
        except BaseException:
            os.unlink(name, dir_fd=dir_fd)
            raise
        finally:
            os.close(fd)


def _place(dir_fd: int, name: bytes) -> bytes:
    return b"/proc/self/fd/%d/%s" % (dir_fd, name)


def _held(fd: int) -> bytes:
    """A path that leads to what is held, whatever has its name by now."""
    return b"/proc/self/fd/%d" % fd


class _Held:
    """An entry, held so that nothing done to it is done to another."""

    def __init__(self, name: bytes, dir_fd: int) -> None:
        self._fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)

    def __enter__(self) -> bytes:
        return _held(self._fd)

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)


def _noted(where: bytes, mode: int, follow: bool) -> Optional[_Noted]:
    """What is noted of an entry, whose own mode is ``mode``. Raises OSError where that cannot be
    read, or is nothing that could be. ``follow``: what is held is reached through a link; an entry
    never is."""
    try:
        value = os.getxattr(where, _STAT, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise
    found = _PATTERN.fullmatch(value)
    if found is not None:
        kinds = int(found[1], 8)
        major, minor, uid, gid = map(int, found.groups()[1:])
        is_kind = kinds & TYPE_MASK in _STANDS_FOR[mode & TYPE_MASK] and kinds <= TYPE_MASK | _BITS
        if is_kind and max(uid, gid) < _NO_ID and max(major, minor) <= _DEVICE_MAX:
            return _Noted(kinds, os.makedev(major, minor), uid, gid)
    raise OSError(DAMAGED, REASONS[DAMAGED])


def _note(
    where: bytes,
    *,
    kind: Optional[int] = None,
    bits: Optional[int] = None,
    device: Optional[int] = None,
    uid: int = -1,
    gid: int = -1,
) -> None:
    """Note what is given and keep the rest, as rsync does: where the entry itself has all of it,
    nothing is noted."""
    real = os.stat(where)
    if real.st_mode & TYPE_MASK not in _STANDS_FOR:
        raise OSError(errno.EPERM, "nothing can be noted of it")
    if real.st_mode & 0o600 != 0o600:  # else it could not be read whether something is noted
        os.chmod(where, real.st_mode & _BITS | 0o600)
        real = os.stat(where)
    noted = _noted(where, real.st_mode, True)
    old = noted or _Noted(real.st_mode, 0, real.st_uid, real.st_gid)
    mode = (old.mode & TYPE_MASK if kind is None else kind) | (
        old.mode & _BITS if bits is None else bits & _BITS
    )
    new = _Noted(
        mode,
        old.device if device is None else device,
        old.uid if uid == -1 else uid,
        old.gid if gid == -1 else gid,
    )
    # Whoever keeps it can always read and change it.
    own = mode & 0o777 | (0o700 if stat.S_ISDIR(real.st_mode) else 0o600)
    if real.st_mode & _BITS != own:
        os.chmod(where, own)
    if new == (real.st_mode & TYPE_MASK | own, 0, real.st_uid, real.st_gid):
        if noted is not None:
            os.removexattr(where, _STAT)
    elif new != noted:
        major, minor = os.major(new.device), os.minor(new.device)
        value = b"%o %d,%d %d:%d" % (mode, major, minor, new.uid, new.gid)
        os.setxattr(where, _STAT, value)
