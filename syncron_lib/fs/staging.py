"""``.syncron/`` under a destination's root: where files are whole before they are published.

It lies in the tree's own file system, so that publishing is a rename. Whole new directories are
staged here and renamed once; changed files and pieces of large ones have a temporary each. What
an interrupted run left is offered to the next one (`Leftover`) and removed when that is done.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import Optional

from syncron_lib.core.names import PRIVATE, is_valid_path, shown
from syncron_lib.errors import FileFatal
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.record import NamedTuple

STATE_FILE = b"state.db"
"""What a replica keeps of itself (`fs.replica.store`), beside what is staged: it stays."""
OVERWRITTEN = b"overwritten"
"""What a replica that had lost its memory has had replaced (`fs.replica.overwritten`): it stays."""
_INDEX = b"index"
MANIFEST = b"secure-manifest"
"""What is known to be sealed in the tree. It stays when staging goes."""
SEALED = b"sealed"
"""That the sealed files of a replica are on its disk as they are (`fs.sealedcarried`). It stays,
too."""
_STAGED = re.compile(rb"n[0-9]{1,9}")
"""What the index may name: it is data, which somebody else may have written."""
CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE_READABLE = CREATE_FILE & ~os.O_WRONLY | os.O_RDWR
"""To read as well: to check what was copied, or to repeat it."""


class Leftover(NamedTuple):
    """A file that an interrupted run staged. ``directory``: the staged directory that holds it,
    or ``b""`` for `staging` itself; ``path``: where in the tree it was to go; ``size`` and
    ``mtime_ns``: of the source's file, where they are known (a large file's), else its own."""

    directory: bytes
    name: bytes
    path: bytes
    size: int
    mtime_ns: int


class Staging:
    """The staging directory of one root, made when first needed.

    Its index file says for each staged name what it is for: records of NUL-terminated fields,
    ``name, kind, path, size, mtime``, appended before the name is made. Kinds: ``file``, ``tree``,
    and ``mount`` for a mount point ``path`` that has a staging of its own.
    """

    def __init__(
        self,
        root_fd: int,
        own_acls: bool = False,
        name: bytes = PRIVATE,
        where: str = "the destination",
    ) -> None:
        """``own_acls``: what is staged has none but its own, whatever the root's default is.
        ``name``: its own in the directory ``root_fd``; ``where`` that is, for people."""
        self._root_fd = root_fd
        self._own_acls = own_acls
        self._name = name
        self._shown = f"{shown(name)} in {where}"
        self._fd: Optional[int] = None
        self._index_fd: Optional[int] = None
        self._count = 0
        self._was_open = False
        """Whether others could write here."""
        self.mounts: list[bytes] = []
        """Mount points below that an interrupted run staged in, as `leftovers` found them noted."""
        self.published: list[os.stat_result] = []
        """Files that an interrupted run had published, and whose second name `leftovers` took
        away from here."""

    @property
    def fd(self) -> int:
        """Descriptor of the staging directory."""
        if self._fd is None:
            self._open()
        return self._fd  # type: ignore[return-value]

    def _open(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._name, 0o700, dir_fd=self._root_fd)
        try:
            fd = os.open(self._name, OPEN_DIRECTORY, dir_fd=self._root_fd)
        except OSError as error:
            raise FileFatal(
                f"The staging directory {self._shown} cannot be opened"
                f" ({error.strerror}); remove what has that name there."
            ) from None
        st = os.fstat(fd)
        is_anothers = st.st_uid != os.geteuid()
        if is_anothers and os.geteuid() != 0:
            os.close(fd)
            raise of_another_user(self._shown)
        # Whoever could write here could swap files between the check and the rename.
        self._was_open = is_anothers or bool(st.st_mode & 0o022)
        if is_anothers:
            os.fchown(fd, os.geteuid(), -1)
        if stat.S_IMODE(st.st_mode) & 0o7077:
            os.fchmod(fd, 0o700)
        if self._own_acls:
            drop_acls(fd)
        self._fd = fd

    def leftovers(self) -> list[Leftover]:
        """What an interrupted run staged; nothing, and nothing made, if there is no staging."""
        try:
            os.stat(self._name, dir_fd=self._root_fd, follow_symlinks=False)
        except FileNotFoundError:
            return []
        records = self._records()
        taken = set(records)
        for entry in map(os.fsencode, os.listdir(self.fd)):
            st = _is_file(self.fd, entry)
            if st is not None and st.st_nlink > 1:  # killed between its link and its unlink
                self.published.append(st)
                self.remove(entry)
            elif entry.startswith(b"t"):  # of no use to anyone
                self.remove(entry)
            elif _STAGED.fullmatch(entry):  # perhaps of an index that is lost
                taken.add(entry)
        if self._was_open:
            # Nothing of it is used. Who put it here may hold it open, and write to it when it has
            # its name, or have another name for it, which would get its attributes too.
            _remove_below(self.fd)
            if staged(self.fd):
                raise of_another_user(self._shown)
            records = {name: each for name, each in records.items() if each[0] == b"mount"}
        self._count = 1 + max((int(name[1:]) for name in taken), default=0)
        left = []
        for name, (kind, path, size, mtime_ns) in records.items():
            if kind == b"mount":
                self.mounts.append(path)
                continue
            if kind == b"file":
                if _is_file(self.fd, name) is not None:
                    left.append(Leftover(b"", name, path, size, mtime_ns))
                continue
            with contextlib.suppress(OSError):
                fd = os.open(name, OPEN_DIRECTORY, dir_fd=self.fd)
                try:
                    for entry_name in map(os.fsencode, os.listdir(fd)):
                        st = _is_file(fd, entry_name)
                        if st is not None:
                            place = path + b"/" + entry_name
                            left.append(
                                Leftover(name, entry_name, place, st.st_size, st.st_mtime_ns)
                            )
                finally:
                    os.close(fd)
        return left

    def _records(self) -> dict[bytes, tuple[bytes, bytes, int, int]]:
        try:
            fd = os.open(_INDEX, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError:
            return {}
        with os.fdopen(fd, "rb") as file:
            fields = file.read().split(b"\0")
        records = {}
        for start in range(0, len(fields) - 5, 5):
            name, kind, path, size, mtime = fields[start : start + 5]
            if _STAGED.fullmatch(name) and is_valid_path(path) and path:
                with contextlib.suppress(ValueError):
                    records[name] = (kind, path, int(size), int(mtime))
        return records

    def _reserve(self, kind: bytes, path: bytes, size: int, mtime_ns: int) -> bytes:
        """A name for ``path``, written to the index before anything is made under it."""
        name = b"n%d" % self._count
        self._count += 1
        if self._index_fd is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._index_fd = os.open(_INDEX, flags, 0o600, dir_fd=self.fd)
        os.write(self._index_fd, b"%s\0%s\0%s\0%d\0%d\0" % (name, kind, path, size, mtime_ns))
        return name

    def note_mount(self, path: bytes) -> None:
        """Note that the mount point ``path`` has a staging too, for the next run to find."""
        self._reserve(b"mount", path, 0, 0)

    def new_directory(self, path: bytes) -> bytes:
        """Make a directory to stage ``path`` in; its name."""
        name = self._reserve(b"tree", path, 0, 0)
        os.mkdir(name, 0o700, dir_fd=self.fd)
        return name

    def name_for_large(self, path: bytes, size: int, mtime_ns: int) -> bytes:
        """A name for the temporary of a large file, found again by the next run."""
        return self._reserve(b"file", path, size, mtime_ns)

    def name_for_small(self) -> bytes:
        """A name for a temporary that is not worth finding again."""
        name = b"t%d" % self._count
        self._count += 1
        return name

    def remove(self, name: bytes) -> None:
        """Remove a temporary, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.fd)

    def clear(self) -> None:
        """Remove the staging directory and all in it; what resists is left for the next run."""
        if self._fd is None:
            try:
                os.stat(self._name, dir_fd=self._root_fd, follow_symlinks=False)
            except FileNotFoundError:
                return
        directory = self.fd
        self._close_index()  # what is open keeps a name on some network file systems
        with contextlib.suppress(OSError):
            _remove_below(directory)
        with contextlib.suppress(OSError):
            # While it is held: whoever waits for its lock sees that it is gone.
            os.rmdir(self._name, dir_fd=self._root_fd)
        self.close()

    def close(self) -> None:
        """Let go of the descriptors; what is staged stays."""
        self._close_index()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _close_index(self) -> None:
        if self._index_fd is not None:
            os.close(self._index_fd)
            self._index_fd = None


def of_another_user(where: str = f"{shown(PRIVATE)} in the destination") -> FileFatal:
    """The refusal of a staging that another user could write to."""
    return FileFatal(
        f"The staging directory {where} belongs to another"
        " user, whose interrupted run left it; have it removed."
    )


def _is_file(directory_fd: int, name: bytes) -> Optional[os.stat_result]:
    try:
        st = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except OSError:
        return None
    return st if stat.S_ISREG(st.st_mode) else None


def is_staging(root_fd: int, called: bytes = PRIVATE) -> bool:
    """Whether an interrupted run may have left something in a root."""
    try:
        fd = os.open(called, OPEN_DIRECTORY, dir_fd=root_fd)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return bool(staged(fd))
    except OSError:
        return True
    finally:
        os.close(fd)


def staged(fd: int) -> list[str]:
    """What is in a staging directory, but for what is kept there."""
    kept = tuple(map(os.fsdecode, (STATE_FILE, MANIFEST, OVERWRITTEN, SEALED)))
    return [entry for entry in os.listdir(fd) if not entry.startswith(kept)]


def _remove_below(fd: int) -> None:
    """Empty a staging directory. Staged directories hold no directories."""
    for entry in staged(fd):
        with contextlib.suppress(OSError):
            try:
                os.unlink(entry, dir_fd=fd)
            except (IsADirectoryError, PermissionError):
                below = os.open(entry, OPEN_DIRECTORY, dir_fd=fd)
                try:
                    for name in os.listdir(below):
                        os.unlink(name, dir_fd=below)
                finally:
                    os.close(below)
                os.rmdir(entry, dir_fd=fd)


def drop_acls(fd: int) -> None:
    """Take from a directory that was just made what it got of the one that it is in."""
    from syncron_lib.core.extended import ACL_NAMES  # few runs are about them

    for name in ACL_NAMES:
        with contextlib.suppress(OSError):  # it has none, or there are none
            os.removexattr(fd, name)
