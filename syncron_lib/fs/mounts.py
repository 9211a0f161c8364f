"""Staging for a destination that has other file systems mounted in it.

Publishing is a rename, which cannot lead from one mount to another, even of the same file system
(``mount --bind``). So what is to go below a mount point is staged in a ``.syncron`` directory at
the top of that mount.

Where there is a scratch directory, what can be renamed from there is staged there instead; and what
comes in parts is put together there wherever it goes to.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Optional

from syncron_lib.core.names import shown, split
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.ledger import Ledger
from syncron_lib.fs.staging import Leftover, Staging, staged
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:  # few runs have one
    from syncron_lib.fs.scratch import Scratch

_ESCAPED = re.compile(rb"\\([0-7]{3})")
"""How the kernel writes blanks, tabs, newlines and backslashes in a path."""


class NotBrought(OSError):
    """What is whole in a scratch directory could not be copied to its place."""


class ScratchRefuses(OSError):
    """Something could not be written in a scratch directory."""


class _Mounted(NamedTuple):
    """The staging in one mount. ``before``: its top as it was before there was any."""

    staging: Staging
    fd: int
    before: os.stat_result


class Stagings:
    """The stagings of one destination: the root's, and one for each mount that is written to."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        own_acls: bool = False,
        scratch: Optional[Scratch] = None,
    ) -> None:
        """``own_acls``: see `Staging`. ``scratch``: what comes is put together there. Raises
        RootError and Locked where it cannot be."""
        self._own_acls = own_acls
        self._directories = directories
        self._ledger = ledger
        self._device = os.fstat(directories.root_fd).st_dev
        self._points = _mount_points(directories.root_fd)
        self._mounted: dict[bytes, _Mounted] = {}
        self.main = Staging(directories.root_fd, own_acls)
        self._scratch = scratch
        self._apart: Optional[Staging] = None
        """The staging in the scratch directory."""
        self._leads: dict[bytes, bool] = {}
        """Whether a rename leads from there to what is mounted at these directories."""
        if scratch is not None and scratch.inside is None:
            self._apart = scratch.staging(directories.root_fd, own_acls)

    def beside(self, directory: bytes) -> Staging:
        """The staging from which can be published into the directory at this path. Raises
        OSError."""
        if self._apart is not None and self._is_led_to(directory):
            return self._apart
        return self._home(directory)

    def _home(self, directory: bytes) -> Staging:
        """The same in the tree itself."""
        top = self._top(directory)
        if not top:
            return self.main
        if top not in self._mounted:
            # An interrupted run may have left something there that nobody noted.
            self._leftovers_in(self._begin(top))
        return self._mounted[top].staging

    def _is_led_to(self, directory: bytes) -> bool:
        """Whether what lies in the scratch directory can be renamed into this one."""
        from syncron_lib.fs.scratch import mount_of

        assert self._apart is not None
        top = self._top(directory)
        if top not in self._leads:
            there = mount_of(self._directories.open(top))
            self._leads[top] = mount_of(self._apart.fd) == there
        return self._leads[top]

    def nearest(self, directory: bytes) -> Staging:
        """The same as `beside` for a directory that may not be there yet."""
        return _nearest(self.beside, directory)

    @property
    def scratch(self) -> Optional[Staging]:
        """Where what comes in parts is put together, if that is not where it is published from."""
        if self._apart is None and self._scratch is not None and self._scratch.inside:
            return self.nearest(self._scratch.inside)
        return self._apart

    def leads(self, staging: Optional[Staging], directory: bytes) -> bool:
        """Whether what lies in this one can be published into a directory, which may not be there
        yet."""
        return any(staging is _nearest(each, directory) for each in (self.beside, self._home))

    def refusal(self, staging: Optional[Staging], error: OSError) -> OSError:
        """``error`` as one of the staging that it was met in."""
        if staging is None or staging is not self._apart:
            return error
        return ScratchRefuses(error.errno, error.strerror)

    def _top(self, directory: bytes) -> bytes:
        """The directory that what holds ``directory`` is mounted at; empty for what holds the
        root. A file system that shows as several devices (subvolumes) has no mount points."""
        device = os.fstat(self._directories.open(directory)).st_dev
        if device == self._device and not self._points:
            return b""
        while directory and directory not in self._points:
            parent = split(directory)[0]
            if os.fstat(self._directories.open(parent)).st_dev != device:
                break
            directory = parent
        return directory

    def _begin(self, top: bytes) -> Staging:
        fd = os.dup(self._directories.open(top))
        try:
            before = os.fstat(fd)
            self._directories.open_writable(top)
            self.main.note_mount(top)
        except BaseException:
            os.close(fd)
            raise
        staging = Staging(fd, self._own_acls)
        self._mounted[top] = _Mounted(staging, fd, before)
        return staging

    def leftovers(self) -> Iterator[tuple[Staging, Leftover]]:
        """What an interrupted run staged, wherever it can still be published from."""
        found = [(self.main, left) for left in self._leftovers_in(self.main)]
        for top in dict.fromkeys(self.main.mounts):
            with contextlib.suppress(OSError):
                if top and self._top(top) == top:
                    staging = self._begin(top)
                    found.extend((staging, left) for left in self._leftovers_in(staging))
        for staging, left in found:
            if _nearest(self._home, split(left.path)[0]) is staging:
                yield staging, left
        if self._apart is not None:  # what no rename leads from there to is copied
            for left in self._leftovers_in(self._apart):
                yield self._apart, left

    def _leftovers_in(self, staging: Staging) -> list[Leftover]:
        left = staging.leftovers()
        for st in staging.published:
            self._ledger.disturb(st)
        return left

    def clear(self, apart: bool = True) -> None:
        """Remove all staging directories; ``apart``: what lies in a scratch directory too."""
        if self._apart is not None:
            self._let_go(apart)
        for top, mounted in self._mounted.items():
            mounted.staging.clear()
            self._restore(top, mounted)
        self._mounted.clear()
        self.main.clear()

    def give_up(self, of_scratch: bool) -> str:
        """Remove what there was no room for, in the scratch directory or beside its place; which of
        the two, for people. What lies elsewhere stays for the next run."""
        apart, scratch = self._apart, self._scratch
        self.clear(apart is None or of_scratch or self._is_led_to(b""))
        if scratch is not None and of_scratch:
            return f"The scratch directory {shown(scratch.path)}"
        return "The destination"

    def _let_go(self, clear: bool) -> None:
        assert self._apart is not None
        if clear or not staged(self._apart.fd):
            self._apart.clear()
        self._apart.close()
        self._apart = None

    def close(self) -> None:
        """Let go of the descriptors; what is staged stays."""
        if self._apart is not None:
            self._let_go(False)
        for top, mounted in self._mounted.items():
            mounted.staging.close()
            self._restore(top, mounted)
        self._mounted.clear()
        self.main.close()

    def _restore(self, top: bytes, mounted: _Mounted) -> None:
        """Put back what staging did to the top of a mount; what the run itself did to it, if
        anything, gives it other attributes after this."""
        with contextlib.suppress(OSError):
            before = mounted.before
            if os.fstat(mounted.fd).st_mode != before.st_mode:
                os.fchmod(mounted.fd, before.st_mode & 0o7777)
            os.utime(mounted.fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.close(mounted.fd)
        self._ledger.touched(split(top)[0])


def _nearest(staging: Callable[[bytes], Staging], directory: bytes) -> Staging:
    while directory:
        with contextlib.suppress(OSError):
            return staging(directory)
        directory = split(directory)[0]
    return staging(b"")


def _mount_points(root_fd: int) -> frozenset[bytes]:
    """The mount points below a root, as paths in its tree; none where the system does not tell."""
    try:
        root = os.readlink(b"/proc/self/fd/%d" % root_fd).rstrip(b"/") + b"/"
        with open("/proc/self/mountinfo", "rb") as file:
            places = [line.split(b" ")[4] for line in file]
    except (OSError, IndexError):
        return frozenset()
    shown = (_ESCAPED.sub(lambda match: bytes((int(match[1], 8),)), place) for place in places)
    return frozenset(place[len(root) :] for place in shown if place.startswith(root))
