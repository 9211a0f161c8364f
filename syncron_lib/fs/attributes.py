"""Owner, permissions and times, set on what is held and never through a symlink."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib.core.merkle import Attributes, Profile
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.core.view import MUNGED
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.stats import StatRow, in_range
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.extended import Waiting as Sets

PERMISSIONS = 0o7777
_EXECUTABLE = 0o111
_NO_ID = 0xFFFFFFFF
"""To chown(2) this says "leave it as it is", so nobody can have it."""


class Applied(NamedTuple):
    """Which attributes a run gives to what it writes, and how ids are mapped.

    ``umask``: the user's, for new entries where permissions are not kept. The process itself has
    umask 0 while it writes, so that what is created has the mode that it is created with.
    """

    permissions: bool
    times: bool
    owner: bool
    group: bool
    users: Mapping[int, int]
    groups: Mapping[int, int]
    umask: int
    omit_dir_times: bool = False
    omit_link_times: bool = False
    executability: bool = False
    munged: bool = False
    """No symlink is to lead anywhere."""
    disk: Any = os
    """What is called to look at entries and to change them: `os`, or what stands for it
    (`fs.fakesuper`)."""

    def owner_of(self, attributes: Attributes) -> tuple[int, int]:
        """(uid, gid) for `os.chown`; -1 for what is not kept. Raises OSError where it says an id
        that there is not: the file would stay ours, with permissions meant for another."""
        uid = self.users.get(attributes.uid, attributes.uid) if self.owner else -1
        gid = self.groups.get(attributes.gid, attributes.gid) if self.group else -1
        if _NO_ID in (uid, gid):
            raise OSError(errno.EINVAL, "nobody can have such an owner or group")
        return uid, gid

    def sets_time(self, mode: int) -> bool:
        """Whether an entry of this kind gets the source's time."""
        if self.omit_link_times and stat.S_ISLNK(mode):
            return False
        return self.times and not (self.omit_dir_times and stat.S_ISDIR(mode))

    def mode_of(self, attributes: Attributes) -> int:
        """Permission bits of a new entry."""
        bits = attributes.mode & PERMISSIONS
        if self.permissions:
            return bits
        return self.executable(bits & 0o777 & ~self.umask, attributes.mode)

    def executable(self, bits: int, mode: int) -> int:
        """Permission ``bits`` that are not kept, such that a file may be executed as ``mode``
        says, where that is."""
        if not (self.executability and stat.S_ISREG(mode)):
            return bits
        if not mode & _EXECUTABLE:
            return bits & ~_EXECUTABLE
        return bits if bits & _EXECUTABLE else bits | (bits & 0o444) >> 2


def applied(
    profile: Profile,
    users: Mapping[int, int],
    groups: Mapping[int, int],
    umask: int,
    munged: bool,
    disk: Any,
) -> Applied:
    """What a run with ``profile`` applies at its receiver."""
    return Applied(
        profile.permissions,
        profile.times,
        profile.owner,
        profile.group,
        users,
        groups,
        umask,
        profile.omit_dir_times,
        profile.omit_link_times,
        profile.executability,
        munged,
        disk,
    )


def set_on_new(fd: int, attributes: Attributes, keep: Applied, now_ns: int) -> None:
    """Finish a file or directory that we created and hold open; permissions are set too."""
    uid, gid = keep.owner_of(attributes)
    if uid != -1 or gid != -1:
        st = keep.disk.fstat(fd)
        if (uid not in (-1, st.st_uid)) or (gid not in (-1, st.st_gid)):
            keep.disk.fchown(fd, uid, gid)
    keep.disk.fchmod(fd, keep.mode_of(attributes))
    if keep.times:
        os.utime(fd, ns=(now_ns, attributes.mtime_ns))


def set_on_replacement(
    fd: int, old: StatRow, attributes: Attributes, keep: Applied, now_ns: int
) -> None:
    """The same for a file that takes the place of ``old``, whose permissions stay. Not so a set-id
    bit that would now work for another: its owner gave it to a program of its own."""
    uid, gid = keep.owner_of(attributes)
    st = keep.disk.fstat(fd)
    mode = keep.executable(old[1], attributes.mode)
    if (st.st_uid if uid == -1 else uid) != old[6]:
        mode &= ~stat.S_ISUID
    if (st.st_gid if gid == -1 else gid) != old[7]:
        mode &= ~stat.S_ISGID
    set_on_new(fd, attributes._replace(mode=mode), keep._replace(permissions=True), now_ns)


def set_mode_of_new(fd: int, attributes: Attributes, keep: Applied) -> None:
    """Give a new directory its mode at the end where permissions are not kept: a setgid bit that it
    has of the directory that it is in stays."""
    keep.disk.fchmod(fd, keep.mode_of(attributes) | keep.disk.fstat(fd).st_mode & stat.S_ISGID)


def finish(
    fd: int,
    attributes: Attributes,
    keep: Applied,
    now_ns: int,
    scanned: Optional[StatRow],
    extended: Optional[Sets],
    path: bytes,
) -> int:
    """Finish a file about to be published at ``path``; without kept permissions, those of the file
    that was ``scanned`` there stay. Its time, which is the source's only where times are kept."""
    if not keep.permissions and scanned is not None and stat.S_ISREG(scanned[1]):
        set_on_replacement(fd, scanned, attributes, keep, now_ns)
    else:
        set_on_new(fd, attributes, keep, now_ns)
    if extended is not None:
        extended.give(path, fd)
    return in_range(keep.disk.fstat(fd).st_mtime_ns)


def inherit_group(directory_fd: int, fd: int) -> None:
    """Give what is new the group of a setgid directory that it will be in, as new entries of such a
    one have it where groups are not kept; a directory that bit too. Raises OSError."""
    st = os.fstat(directory_fd)
    if st.st_mode & stat.S_ISGID:
        os.fchown(fd, -1, st.st_gid)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.fchmod(fd, 0o2700)


def set_on_unopenable(
    directory_fd: int, name: bytes, attributes: Attributes, keep: Applied, now_ns: int
) -> None:
    """The same for a symlink, fifo, socket or device that we created in ``directory_fd``."""
    uid, gid = keep.owner_of(attributes)
    if uid != -1 or gid != -1:
        keep.disk.chown(name, uid, gid, dir_fd=directory_fd, follow_symlinks=False)
        if keep.mode_of(attributes) & 0o7000 and not stat.S_ISLNK(attributes.mode):
            # Which `chown` has taken away. Nobody but us reaches what is staged.
            keep.disk.chmod(name, keep.mode_of(attributes), dir_fd=directory_fd)
    if keep.sets_time(attributes.mode):
        os.utime(name, ns=(now_ns, attributes.mtime_ns), dir_fd=directory_fd, follow_symlinks=False)


def make_special(
    directory_fd: int,
    name: bytes,
    attributes: Attributes,
    device: int,
    target: bytes,
    keep: Applied,
    now_ns: int,
) -> None:
    """Make a symlink, fifo, socket or device with its attributes. Raises OSError, and
    PeerViolation where they say another kind."""
    kind = attributes.mode & TYPE_MASK
    if kind == stat.S_IFLNK:
        if keep.munged and not target.startswith(MUNGED):
            raise PeerViolation("The other side sent a symlink that could be followed.")
        keep.disk.symlink(target, name, dir_fd=directory_fd)
    elif kind in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
        bits = keep.mode_of(attributes)
        is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
        if is_device and not keep.permissions:
            bits &= 0o600  # what it leads to is the machine's, whatever a umask lets others read
        keep.disk.mknod(name, kind | bits, device if is_device else 0, dir_fd=directory_fd)
        if bits & 0o6000:
            set_on_unopenable(directory_fd, name, attributes, keep, now_ns)
            keep.disk.chmod(name, bits, dir_fd=directory_fd)  # a new owner takes set-id bits away
            return
    else:
        raise PeerViolation("The other side sent an entry of no known kind.")
    set_on_unopenable(directory_fd, name, attributes, keep, now_ns)


def change(
    directory_fd: int,
    name: bytes,
    attributes: Attributes,
    keep: Applied,
    now_ns: int,
    approve: Callable[[os.stat_result], None],
) -> None:
    """Give an existing entry new attributes; its kind is ``attributes.mode``'s. ``approve``: is
    given what is there just before anything is set, and raises OSError where nothing is to be.

    Raises OSError; ENOTDIR or ELOOP where the entry is of another kind by now, EEXIST where it is
    edited meanwhile: an edit must not get the source's time, by which nobody would see it.
    """
    uid, gid = keep.owner_of(attributes)
    is_link = stat.S_ISLNK(attributes.mode)
    held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        st = keep.disk.fstat(held)
        if st.st_mode & TYPE_MASK != attributes.mode & TYPE_MASK:
            raise NotADirectoryError(20, "it is of another kind by now")
        approve(st)
        # The magic link leads to what we hold, be it a symlink, and not to whatever has the name
        # by now.
        magic = b"/proc/self/fd/%d" % held
        bits = wanted = st.st_mode & PERMISSIONS
        if keep.permissions and not is_link:
            wanted = attributes.mode & PERMISSIONS
        elif keep.executability:
            wanted = keep.executable(bits, attributes.mode)
        is_given_away = (uid not in (-1, st.st_uid)) or (gid not in (-1, st.st_gid))
        if is_given_away:
            keep.disk.chown(magic, uid, gid)
        # A new owner takes set-id bits away.
        if wanted != bits or (is_given_away and keep.permissions and not is_link):
            keep.disk.chmod(magic, wanted)
        if keep.sets_time(attributes.mode) and st.st_mtime_ns != attributes.mtime_ns:
            now = keep.disk.fstat(held)
            if (now.st_mtime_ns, now.st_size) != (st.st_mtime_ns, st.st_size):
                raise FileExistsError(17, "it was changed at the destination during the run")
            # RACE: an edit in this moment gets the source's time; it stays, and --verify sees it.
            os.utime(magic, ns=(now_ns, attributes.mtime_ns))
    finally:
        os.close(held)


def change_directory(fd: int, attributes: Attributes, keep: Applied, now_ns: int) -> None:
    """Give the directory open at ``fd`` its attributes."""
    uid, gid = keep.owner_of(attributes)
    if uid != -1 or gid != -1:
        st = keep.disk.fstat(fd)
        if (uid not in (-1, st.st_uid)) or (gid not in (-1, st.st_gid)):
            keep.disk.fchown(fd, uid, gid)
    if keep.permissions:
        keep.disk.fchmod(fd, attributes.mode & PERMISSIONS)
    if keep.sets_time(stat.S_IFDIR):
        os.utime(fd, ns=(now_ns, attributes.mtime_ns))
