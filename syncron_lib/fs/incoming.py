"""Large files of one run as they come in: begun, gone on with, checked, published.

Also small ones that are written in place: what an interrupted run must leave whole everywhere
else, the user has given up for these.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Optional, Union

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import shown, split
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.errors import PeerViolation
from syncron_lib.fs import stats
from syncron_lib.fs.allocation import Manner, reserve
from syncron_lib.fs.arrivals import Arrivals
from syncron_lib.fs.basis import OldFiles
from syncron_lib.fs.chunklists import ChunkLists
from syncron_lib.fs.copying import copied
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.fs.largefile import LargeFile, Old, Place
from syncron_lib.fs.ledger import Ledger, Written
from syncron_lib.fs.mounts import NotBrought, Stagings
from syncron_lib.fs.publish import Publisher
from syncron_lib.fs.sparse import dig
from syncron_lib.fs.staging import CREATE_READABLE, Staging
from syncron_lib.protocol.pack import Delta, Piece
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.sealedreceive import Opening

FinishFile = Callable[[int, bytes, Attributes, int], int]
"""Gives a file its attributes: descriptor, path, attributes, now; returns its time."""

TakeWhole = Callable[[bytes, Staging, bytes, bool, Written], None]
"""Takes a whole file: path, staging and name there, whether another kind may go, what it is."""

_READ_WRITE = OPEN_FILE & ~os.O_RDONLY | os.O_RDWR


def _nowhere(_path: bytes) -> Optional[Old]:
    return None


class Earlier(NamedTuple):
    """What is known of the files that are replaced: lists that were told, lists to be kept.
    ``elsewhere``: opens the file that a new one is put together from, where that is no part of the
    tree."""

    files: OldFiles
    lists: ChunkLists
    elsewhere: Callable[[bytes], Optional[Old]] = _nowhere


class Incoming:
    """The large files of one receiver, one after the other."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        stagings: Stagings,
        arrivals: Arrivals,
        publisher: Publisher,
        algorithm: digest.Algorithm,
        old: Earlier,
        in_place: bool,
        durable: bool,
        manner: Manner,
        finish_file: FinishFile,
    ) -> None:
        """``in_place``: write into files that are there. ``durable``: wait until each is on the
        disk. ``manner``: how new files are written."""
        self._directories = directories
        self._ledger = ledger
        self._stagings = stagings
        self._arrivals = arrivals
        self._publisher = publisher
        self._algorithm = algorithm
        self._old = old
        self._in_place = in_place
        self._durable = durable
        self._manner = manner
        self._finish_file = finish_file
        self._large: Optional[LargeFile] = None
        self._skipped = b""
        """A file that cannot be written; the rest of its pieces is passed over."""
        self.opening: Optional[Opening] = None
        """What opens the sealed ones."""
        self.whole = 0
        """Files that have come whole."""
        self.place: Optional[TakeWhole] = None
        """Takes those that are not to be published at once."""
        self.again: list[bytes] = []
        """Files that could not be put together, to be sent whole."""

    def take(self, pack: Union[Piece, Delta], expected: Mapping[bytes, bool]) -> bool:
        """Take a part of a file; True where that was the end of it, well or not. Raises OSError
        where it cannot be written, and then passes over the rest of it."""
        path = pack.path
        if self._large is None and self._skipped == path:
            if pack.last:
                self._skipped = b""
            return pack.last
        first = self._large is None
        whole = False
        try:
            if self._large is None:
                self._large = self._begin(pack, expected.get(path, False))
            if self._large is None:
                self.again.append(path)
                self._skipped = b"" if pack.last else path
                return pack.last
            if first and self._manner.reserves:
                self._large.reserve()
            self._large.write(pack)
            if pack.last:
                whole = pack.failed or self._large.is_whole(pack.digest)
                self._end(self._large, pack, expected.get(path, False), whole)
        except OSError as error:
            large = self._large
            self._skipped = b"" if pack.last else path
            if large is not None:
                # What is whole in a scratch directory is there for the next run.
                if not isinstance(error, NotBrought):
                    large.remove()
                self._drop(large)
                if not whole:
                    raise self._stagings.refusal(large.place.staging, error) from None
            raise
        return pack.last

    def _begin(self, pack: Union[Piece, Delta], replace: bool) -> Optional[LargeFile]:
        """Begin a file with its first part, or go on where an interrupted run was. None where
        what it is to be put together from is not as it was."""
        path = pack.path
        self._publisher.require_allowed(path, replace)
        old = None
        target = None if pack.offset else self._target(path, replace)
        if isinstance(pack, Delta) and target is None:
            old = self._old.elsewhere(path)
        if old is None and (isinstance(pack, Delta) or target is not None):
            chunks = self._old.files.take(path)
            fd = target if target is not None else self._open(path, OPEN_FILE)
            if fd is None:
                return None
            old = Old(fd, os.fstat(fd).st_size, chunks)
        try:
            return self._placed(pack, target, old)
        except BaseException:
            if old is not None:
                os.close(old.fd)
            raise

    def _placed(
        self, pack: Union[Piece, Delta], target: Optional[int], old: Optional[Old]
    ) -> LargeFile:
        path, algorithm = pack.path, self._algorithm
        if target is not None:
            self._ledger.touched(split(path)[0])
            return LargeFile(path, pack.size, Place(None, b"", target), algorithm, old)
        if pack.offset:
            hasher = algorithm.new()
            staging, name, fd = self._arrivals.go_on(path, pack.offset, pack.digest, hasher)
            place = Place(staging, name, fd)
            large = LargeFile(path, pack.size, place, algorithm, old, self._manner)
            large.go_on(hasher, pack.offset)
            return large
        beside = self._beside(path)
        staging = self._stagings.scratch or beside
        try:
            name = staging.name_for_large(path, pack.size, pack.attributes.mtime_ns)
            fd = os.open(name, CREATE_READABLE, 0o600, dir_fd=staging.fd)
        except OSError as error:
            raise self._stagings.refusal(staging, error) from None
        return LargeFile(path, pack.size, Place(staging, name, fd), algorithm, old, self._manner)

    def _beside(self, path: bytes) -> Staging:
        """The staging that what goes to ``path`` is published from. Raises OSError."""
        # Where it waits for its name, its directory may be waiting too.
        stagings = self._stagings
        return (stagings.beside if self.place is None else stagings.nearest)(split(path)[0])

    def _open(self, path: bytes, flags: int) -> Optional[int]:
        """Open the file that is replaced; None where it is not as it was scanned."""
        scanned = self._publisher.scanned(path)
        if scanned is None or not stat.S_ISREG(scanned[1]):
            return None
        parent, name = split(path)
        fd = os.open(name, flags, dir_fd=self._directories.open(parent))
        if self._ledger.is_as_scanned(scanned, stats.row(name, self._directories.disk.fstat(fd))):
            return fd
        os.close(fd)
        return None

    def _target(self, path: bytes, replace: bool) -> Optional[int]:
        """The file to be written in place, open; None where it is to be made anew."""
        if not self.overwrites(path, replace):
            return None
        fd = self._open(path, _READ_WRITE)
        if fd is None:
            raise FileExistsError(errno.EEXIST, "it was changed at the destination during the run")
        # Its other names were not asked for; they keep the content that they have.
        st = self._directories.disk.fstat(fd)
        if st.st_nlink > 1:
            os.close(fd)
            return None
        try:
            self._publisher.keep_copy(path, st)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def overwrites(self, path: bytes, replace: bool) -> bool:
        """Whether the file at ``path`` is to be written in place."""
        scanned = self._publisher.scanned(path) if self._in_place and not replace else None
        return scanned is not None and scanned[1] & TYPE_MASK == stat.S_IFREG

    def overwrite(
        self, path: bytes, attributes: Attributes, data: memoryview, value: bytes, replace: bool
    ) -> bool:
        """Write a small file in place, whose ``data`` has been checked; False where that is not
        to be. Raises OSError."""
        target = self._target(path, replace)
        if target is None:
            return False
        place = Place(None, b"", target)
        large = LargeFile(path, len(data), place, self._algorithm)
        self._ledger.touched(split(path)[0])
        try:
            large.write(Piece(path, attributes, len(data), 0, True, False, value, data))
            self._finish_in_place(large, attributes, value)
        finally:
            large.close()
        return True

    # --- the end ----------------------------------------------------------------------------------

    def _end(self, large: LargeFile, pack: Union[Piece, Delta], replace: bool, whole: bool) -> None:
        path = large.path
        if not pack.failed:
            if not whole:
                self._refuse(large)
                return
            if self.opening is not None and self.opening.publish(large, pack, replace):
                pass
            elif large.in_place:
                self._finish_in_place(large, pack.attributes, pack.digest)
            else:
                self._bring(large, pack)
                now = time.time_ns()
                mtime = self._finish_file(large.place.fd, path, pack.attributes, now)
                written = Written(large.size, mtime, pack.digest)
                if self._durable:
                    os.fsync(large.place.fd)
                assert large.place.staging is not None
                publish = self.place or self._publisher.publish
                publish(path, large.place.staging, large.place.name, replace, written)
            chunks = large.chunks()
            if chunks is not None:
                self._old.lists.note(path, pack.digest, chunks)
            self.whole += 1
        self._drop(large)

    def _bring(self, large: LargeFile, pack: Union[Piece, Delta]) -> None:
        """Copy a file that is whole to where it can get its name from, if no rename leads there
        from where it is. Raises NotBrought."""
        path, manner = large.path, self._manner
        beside = self._beside(path)
        staging = large.place.staging
        if staging is beside or self._stagings.leads(staging, split(path)[0]):
            return
        try:
            name = beside.name_for_large(path, large.size, pack.attributes.mtime_ns)
            fd = os.open(name, CREATE_READABLE, 0o600, dir_fd=beside.fd)
            try:
                if manner.reserves:
                    reserve(fd, large.size)
                if copied(large.place.fd, fd, large.size, self._algorithm) != pack.digest:
                    raise OSError(errno.EIO, "it was not the same when it was copied to its place")
                if manner.sparse:
                    dig(fd)
            except BaseException:
                os.close(fd)
                beside.remove(name)
                raise
        except OSError as error:
            raise NotBrought(error.errno, error.strerror) from None
        large.move(Place(beside, name, fd))

    def _refuse(self, large: LargeFile) -> None:
        """The content is not what its digest says."""
        path = large.path
        large.remove()
        self._drop(large)
        if not large.put_together:
            raise wrong_content(path)
        # Two chunks may share a mark, and a list that was kept may be wrong.
        self._old.lists.forget(path)
        if large.in_place:
            raise OSError(
                errno.EIO,
                "what it was put together from is not what it was; it is repaired by the next run",
            )
        self.again.append(path)

    def _finish_in_place(self, large: LargeFile, attributes: Attributes, value: bytes) -> None:
        fd = large.place.fd
        os.ftruncate(fd, large.size)
        mtime = self._finish_file(fd, large.path, attributes, time.time_ns())
        if self._durable:
            os.fsync(fd)
        parent, name = split(large.path)
        # RACE: what somebody else wrote to it meanwhile is mixed with ours, and its time is gone;
        # that the digest is not kept has the next run read it.
        written = Written(large.size, mtime, value, lasting=False)
        self._ledger.wrote(parent, name, written)

    def _drop(self, large: LargeFile) -> None:
        self._large = None
        large.close()

    def abandon(self) -> None:
        """Let go of what is half done; it stays staged for the next run."""
        if self._large is not None:
            self._drop(self._large)


def wrong_content(path: bytes) -> PeerViolation:
    """The refusal of content that is not what its digest says."""
    return PeerViolation(
        f"The content of {shown(path)} is not what its digest says; nothing of it was kept."
    )


def not_asked_for(path: bytes) -> PeerViolation:
    """The refusal of content that nobody wanted."""
    return PeerViolation(f"The other side sent {shown(path)}, which it was not asked for.")
