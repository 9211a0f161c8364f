"""Extended attributes and ACLs of a tree's entries, read and set by what is held.

An entry that must not be opened (a fifo, a symlink) is reached by the magic link of the directory
that is held and its own name, which is not followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Optional, Union

from syncron_lib.core import digest
from syncron_lib.core.extended import (
    ACCESS,
    ACL_NAMES,
    ATIME,
    Kinds,
    Mark,
    Set,
    ids_of,
    mark_of,
    pack_set,
    pack_time,
    renumbered,
    unpack_set,
    unpack_time,
    with_mode,
)
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import join, split
from syncron_lib.core.rules.attributes import Keeps, keeping
from syncron_lib.core.table import PROBLEM, Malformed
from syncron_lib.errors import PeerViolation, RootError
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.stats import in_range
from syncron_lib.fs.tree import Tree
from syncron_lib.record import NamedTuple

_NONE = frozenset((errno.ENOTSUP, errno.ENOENT, errno.ENODATA, errno.ELOOP, errno.EACCES))
"""What is said of an entry that has none, or is gone, or whose attributes are not for us."""
_ALGORITHM = digest.available()[-1]
"""SHA-256: they are read before it is known by which hash the root will be."""
_MOST = 256 << 20
"""Bytes of attributes that wait for their entries, each set counted once."""


class Has(NamedTuple):
    """What one entry has. ``attributes``: values, that are ACLs; digests of others."""

    mode: int
    size: int
    attributes: Mapping[bytes, bytes]


class Reading:
    """The extended attributes of one scanned tree."""

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        whole: bool,
        real_name: Callable[[bytes], bytes],
        patterns: Sequence[bytes],
    ) -> None:
        """``whole``: the root's own count. ``patterns``: filters, which may be about names of
        attributes."""
        if not hasattr(os, "listxattr"):
            raise RootError(
                "The system there, or its Python, has no extended attributes; leave out -X and -A."
                " Nothing was changed."
            )
        self._tree = tree
        self._directories = directories
        self._real_name = real_name
        self._keeps = lru_cache(lambda kinds: keeping(kinds, patterns))
        self.entries: dict[bytes, Has] = {}
        self._marks_for: Optional[Profile] = None
        self._marks: dict[bytes, Mark] = {}
        for path, mode, size in self._walk(whole):
            try:
                with self._at(path, mode) as (where, follow):
                    values = self._shown(where, follow, mode)
            except OSError:  # the directory is gone, or not for us
                continue
            if values:
                kept = {
                    name: value if name in ACL_NAMES else _ALGORITHM.of(value)
                    for name, value in values.items()
                }
                self.entries[path] = Has(mode, size, kept)

    def _walk(self, whole: bool) -> Iterator[tuple[bytes, int, int]]:
        for node in self._tree.nodes.values():
            if not node.path and whole:
                yield b"", node.attributes.mode, 0
            if node.stats:
                columns = node.columns()
                for name, mode, size in zip(columns.names, columns.modes, columns.sizes):
                    if mode != PROBLEM:
                        yield join(node.path, name), mode, size if stat.S_ISREG(mode) else 0

    @contextlib.contextmanager
    def _at(self, path: bytes, mode: int) -> Iterator[tuple[Union[int, bytes], bool]]:
        """What stands for an entry, and whether a symlink there is to be followed."""
        lens = self._directories.lens
        where = place(self._directories, path, self._real_name)
        if isinstance(where, int) or lens is None or lens.is_link(mode):
            yield where, False
            return
        parent, name = split(path)
        flags = os.O_PATH | os.O_CLOEXEC
        fd = self._directories.opener(name, flags, dir_fd=self._directories.open(parent))
        try:
            yield b"/proc/self/fd/%d" % fd, True
        finally:
            os.close(fd)

    def _shown(self, where: Union[int, bytes], follow: bool, mode: int) -> dict[bytes, bytes]:
        """All that an entry has which is shown with ``mode``. Raises OSError."""
        disk, lens = self._directories.disk, self._directories.lens
        values = _values(disk, where, _names(disk, where, follow), follow)
        if lens is not None and lens.changes_modes and ACCESS in values:
            values[ACCESS] = with_mode(values[ACCESS], mode)
        return values

    def ids(self) -> tuple[set[int], set[int]]:
        """The users and groups that ACLs name."""
        users: set[int] = set()
        groups: set[int] = set()
        for has in self.entries.values():
            for name in ACL_NAMES.intersection(has.attributes):
                named = ids_of(has.attributes[name])
                users |= named[0]
                groups |= named[1]
        return users, groups

    def marks(self, profile: Profile) -> dict[bytes, Mark]:
        """The marks of all entries that have anything to be kept."""
        if self._marks_for != profile:
            self._marks_for = profile
            if Kinds.ATIMES in Kinds(profile.extended):
                self._read_atimes()
            keeps = self._keeps(profile.extended)
            kept = {
                path: _kept(has.attributes, profile, keeps) for path, has in self.entries.items()
            }
            self._marks = {path: mark_of(_ALGORITHM, each) for path, each in kept.items() if each}
        return self._marks

    def _read_atimes(self) -> None:
        """Note the times of access of all that has one that counts."""
        for node in self._tree.nodes.values():
            columns = node.columns()
            for name, mode, size in zip(columns.names, columns.modes, columns.sizes):
                if mode == PROBLEM or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                    continue
                path = join(node.path, name)
                with contextlib.suppress(OSError):
                    real = self._real_name(path)
                    st = self._directories.stat(node.path, real, mode)
                    has = self.entries.get(path) or Has(mode, size if stat.S_ISREG(mode) else 0, {})
                    times = {ATIME: pack_time(in_range(st.st_atime_ns))}
                    self.entries[path] = has._replace(attributes={**has.attributes, **times})

    def set_of(self, path: bytes, profile: Profile) -> bytes:
        """What is to be kept of the entry at ``path``, as it is now; empty where there is none."""
        try:
            entry = self.entries[path]
            with self._at(path, entry.mode) as (where, follow):
                values = self._shown(where, follow, entry.mode)
            if ATIME in entry.attributes:  # as it was before it was read
                values[ATIME] = entry.attributes[ATIME]
            return pack_set(_kept(values, profile, self._keeps(profile.extended)))
        except OSError:
            return b""


def _kept(attributes: Set, profile: Profile, keeps: Keeps) -> dict[bytes, bytes]:
    kept = {}
    for name, value in attributes.items():
        if keeps(name):
            is_acl = name in ACL_NAMES
            kept[name] = renumbered(value, profile.users, profile.groups) if is_acl else value
    return kept


def place(
    directories: Directories, path: bytes, real_name: Callable[[bytes], bytes]
) -> Union[int, bytes]:
    """What stands for an entry in the calls below. Raises OSError."""
    if not path or path in directories.entered:
        return directories.open(path)
    return b"/proc/self/fd/%d/%s" % (directories.open(split(path)[0]), real_name(path))


def _names(disk: Any, where: Union[int, bytes], follow: bool) -> list[bytes]:
    try:
        if isinstance(where, int) or follow:
            return [os.fsencode(name) for name in disk.listxattr(where)]
        return [os.fsencode(name) for name in disk.listxattr(where, follow_symlinks=False)]
    except OSError as error:
        if error.errno in _NONE:
            return []
        raise


def _values(
    disk: Any, where: Union[int, bytes], names: list[bytes], follow: bool
) -> dict[bytes, bytes]:
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            if isinstance(where, int) or follow:
                found[name] = disk.getxattr(where, name)
            else:
                found[name] = disk.getxattr(where, name, follow_symlinks=False)
    return found


@contextlib.contextmanager
def held(directory_fd: int, name: bytes) -> Iterator[bytes]:
    """What stands for an entry of a directory, be it a symlink, whatever has its name by then.
    Raises OSError."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        yield b"/proc/self/fd/%d" % fd
    finally:
        os.close(fd)


def give(where: Union[int, bytes], wanted: Set, keeps: Keeps, disk: Any) -> None:
    """Have what is open at ``where``, or is `held`, have ``wanted`` and nothing else that a run
    ``keeps``. ``disk``: see `Applied`. Raises OSError."""
    atime = wanted.get(ATIME)
    wanted = {name: value for name, value in wanted.items() if name != ATIME}
    has = _kept_of(where, keeps, disk)
    users = disk is not os or any(name.startswith(b"user.") for name in (*has, *wanted))
    with _writable(where, users):
        for name in has.keys() - wanted.keys():
            disk.removexattr(where, name)
        for name, value in wanted.items():
            if has.get(name) != value:
                disk.setxattr(where, name, value)
    if atime is not None:
        os.utime(where, ns=(unpack_time(atime), os.stat(where).st_mtime_ns))


def _kept_of(where: Union[int, bytes], keeps: Keeps, disk: Any) -> dict[bytes, bytes]:
    names = [name for name in _names(disk, where, True) if keeps(name)]
    return _values(disk, where, names, True)


def carry(old: Union[int, bytes], new: Union[int, bytes], keeps: Keeps, disk: Any) -> None:
    """Give what is open at ``new``, or is `held`, what ``old`` has. Raises OSError."""
    give(new, _kept_of(old, keeps, disk), keeps, disk)


@contextlib.contextmanager
def _writable(where: Union[int, bytes], needed: bool) -> Iterator[None]:
    """A file that its owner may not write to takes no attributes of the user's; it does in here."""
    if not needed or os.geteuid() == 0:
        yield
        return
    st = os.stat(where)
    mode = stat.S_IMODE(st.st_mode)
    if mode & stat.S_IWUSR or st.st_uid != os.geteuid() or stat.S_ISLNK(st.st_mode):
        yield
        return
    os.chmod(where, mode | stat.S_IWUSR)
    try:
        yield
    finally:
        os.chmod(where, mode)


class Waiting:
    """Sets that entries get when they come."""

    def __init__(self, keeps: Keeps, disk: Any) -> None:
        self.keeps = keeps
        self._disk = disk
        self._sets: dict[bytes, bytes] = {}
        self._distinct: dict[bytes, bytes] = {}
        self._size = 0

    def add(self, path: bytes, packed: bytes) -> None:
        """Note what the entry at ``path`` is to have. Raises PeerViolation."""
        self.unpack(packed)
        if packed not in self._distinct:
            self._size += len(packed)
            if self._size > _MOST:
                raise PeerViolation("The client sent more extended attributes than can be held.")
        self._sets[path] = self._distinct.setdefault(packed, packed)

    def unpack(self, packed: bytes) -> dict[bytes, bytes]:
        """A set that came. Raises PeerViolation."""
        try:
            return unpack_set(packed, self.keeps)
        except Malformed as error:
            raise PeerViolation(f"The client sent {error}.") from None

    def __bool__(self) -> bool:
        return bool(self._sets)

    def __contains__(self, path: bytes) -> bool:
        return path in self._sets

    def give(self, path: bytes, where: Union[int, bytes]) -> None:
        """Give the entry what it is to have, if anything is known of it. Raises OSError."""
        packed = self._sets.get(path)
        if packed is not None:
            give(where, self.unpack(packed), self.keeps, self._disk)

    def give_special(self, path: bytes, directory_fd: int, name: bytes) -> None:
        """The same for an entry that cannot be opened."""
        if path in self._sets:
            with held(directory_fd, name) as where:
                self.give(path, where)

    def paths(self) -> Iterable[bytes]:
        """Those that are to have any."""
        return self._sets
