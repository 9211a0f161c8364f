"""Held directory descriptors: every access to a tree goes through one.

A directory below the root is opened component by component, each with ``O_NOFOLLOW |
O_DIRECTORY`` relative to its parent's descriptor, so that no symlink inside the tree is ever
walked through, whoever puts it there and whenever.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from syncron_lib.fs.lens import Lens

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HELD = 200
"""Descriptors kept open at once. Soft limits are 1024 and more (256 on macOS)."""
_CLIMBED = 300
"""Ancestors that are looked for among them; of a deeper path all are opened anew."""


def raise_descriptor_limit() -> None:
    """Raise this process's soft limit of open files to the hard one, as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Directories:
    """Descriptors of the directories below one root, the most recently used kept open.

    Descriptors that `open` returns are borrowed: valid until some 200 other directories have
    been opened, never to be closed by the caller.
    """

    def __init__(self, root_fd: int, alters: bool = True) -> None:
        """``alters``: directories that are there may be made writable."""
        self.root_fd = root_fd
        self._alters = alters
        self.lens: Optional[Lens] = None
        """How a source shows its entries, where that is not as they are."""
        self.opener: Callable[..., Any] = os.open
        """What opens an entry: name, flags, ``dir_fd``."""
        self.disk: Any = os
        """What is called to look at entries: `os`, or what stands for it (`fs.fakesuper`)."""
        self.entered: dict[bytes, bytes] = {}
        """Symlinks that stand for directories, and the paths without symlinks of these."""
        self.entered_in: dict[bytes, set[bytes]] = {}
        """Their names, by the directory that they are in."""
        self._held: OrderedDict[bytes, int] = OrderedDict()

    def open(self, path: bytes) -> int:
        """Descriptor of the directory at ``path``. Raises OSError (ENOTDIR or ELOOP where a
        component is no directory or has become a symlink)."""
        held = self._held
        if not path:
            return self.root_fd
        fd = held.get(path)
        if fd is not None:
            held.move_to_end(path)
            return fd
        # Climb to the nearest ancestor that is held, then open downwards. A path may have half a
        # million names, all of them made up: none but those that are there are copied out of it.
        missing = [len(path)]
        while True:
            cut = path.rfind(b"/", 0, missing[-1])
            if cut < 0:
                fd = self.root_fd
                break
            if len(missing) <= _CLIMBED:
                ancestor = path[:cut]
                fd = held.get(ancestor)
                if fd is not None:
                    held.move_to_end(ancestor)
                    break
            missing.append(cut)
        for end in reversed(missing):
            step = path[:end]
            if self.entered and step in self.entered:
                fd = self.open_real(self.entered[step])
            else:
                fd = self.opener(step[step.rfind(b"/") + 1 :], OPEN_DIRECTORY, dir_fd=fd)
            held[step] = fd
            if len(held) > _HELD:
                _, oldest = held.popitem(last=False)
                os.close(oldest)
        return fd

    def open_real(self, path: bytes) -> int:
        """A descriptor of the caller's own for the directory at ``path``, in which no symlink
        stands for a directory. Raises OSError."""
        fd = os.dup(self.root_fd)
        for name in path.split(b"/") if path else ():
            try:
                below = self.opener(name, OPEN_DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def stat(self, path: bytes, name: bytes, mode: int) -> os.stat_result:
        """What is said now of the entry ``name``, scanned with ``mode``, of the directory
        ``path``. Raises OSError."""
        fd = self.open(path)
        if self.lens is not None:
            return self.lens.stat(fd, name, mode)
        st: os.stat_result = self.disk.stat(name, dir_fd=fd, follow_symlinks=False)
        return st

    def open_writable(self, path: bytes) -> int:
        """The same for a directory about to be changed, made writable if it is its owner's to
        do; the run puts its mode back at the end, with the directory's other attributes."""
        fd = self.open(path)
        if self._alters and os.geteuid() != 0:
            mode = os.fstat(fd).st_mode
            if mode & 0o300 != 0o300:
                os.fchmod(fd, mode & 0o7777 | 0o700)
        return fd

    def forget(self, path: bytes) -> None:
        """Close what is held at ``path`` and below, because it is renamed or removed."""
        held = self._held
        fd = held.pop(path, None)
        if fd is not None:
            os.close(fd)
        below = path + b"/"
        for key in [key for key in held if key.startswith(below)]:
            os.close(held.pop(key))

    def close(self) -> None:
        """Close all descriptors but the root's."""
        while self._held:
            _, fd = self._held.popitem()
            with contextlib.suppress(OSError):  # nothing was written by it
                os.close(fd)
