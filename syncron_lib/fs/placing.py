"""What has come whole gets its name: at once, once it is on the disk, or when all else has come."""

from __future__ import annotations

import contextlib
import errno
import os
from functools import partial
from typing import NoReturn

from syncron_lib.core.names import split
from syncron_lib.errors import FileFatal
from syncron_lib.fs import attributes
from syncron_lib.fs.attributes import Applied
from syncron_lib.fs.contents import Contents
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.durable import Waiting
from syncron_lib.fs.ledger import Ledger, Written
from syncron_lib.fs.mounts import ScratchRefuses, Stagings
from syncron_lib.fs.publish import Publisher
from syncron_lib.fs.references import REPEATED
from syncron_lib.fs.staged import StagedDirectory
from syncron_lib.fs.staging import Staging
from syncron_lib.protocol.messages import Problem

_FATAL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS))
"""After one of these no further file can succeed."""


class Placing:
    """Gives names, and keeps what waits for them."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        stagings: Stagings,
        publisher: Publisher,
        contents: Contents,
        keep: Applied,
        durable: bool,
        delays: bool,
    ) -> None:
        """``durable``: nothing gets its name before it is on the disk. ``delays``: nor before
        `release`, which is then called once all has come."""
        self._directories = directories
        self._ledger = ledger
        self._stagings = stagings
        self._publisher = publisher
        self._contents = contents
        self._keep = keep
        self._durable = durable
        self.delays = delays
        self.waiting = Waiting(durable)
        self._delayed: dict[bytes, StagedDirectory] = {}
        """Directories that wait, closed, by path."""
        self.problems: list[Problem] = []
        self.published = 0

    # --- files ------------------------------------------------------------------------------------

    def place(
        self, path: bytes, staging: Staging, temporary: bytes, replace: bool, written: Written
    ) -> None:
        """An entry of a directory that is there is whole. Raises OSError."""
        publish = partial(self._publish, path, staging, temporary, replace, written)
        if self.delays:
            self.waiting.add(path, staging, publish, _stays)
        elif self._durable:
            self.waiting.add(path, staging, publish, partial(staging.remove, temporary))
        else:
            publish()

    def _publish(
        self, path: bytes, staging: Staging, temporary: bytes, replace: bool, written: Written
    ) -> None:
        try:
            self._publisher.publish(path, staging, temporary, replace, written)
        except OSError:
            staging.remove(temporary)
            raise
        self.published += 1
        if written.size >= REPEATED:
            self._contents.published(written.digest, *split(path))

    # --- directories ------------------------------------------------------------------------------

    def place_directory(self, staged: StagedDirectory, closed: bool, replace: bool) -> None:
        """All that goes into a staged directory is there. ``closed``: see `StagedDirectory`."""
        add = partial(self.waiting.add, staged.path, staged.staging)
        if self.delays:
            # So many may wait that they cannot all be open.
            os.close(staged.fd)
            self._delayed[staged.path] = staged
            add(partial(self._publish_delayed, staged.path, closed, replace), _stays)
        elif self._durable:
            publish = partial(self._publish_directory, staged, closed, replace)
            add(publish, partial(os.close, staged.fd))
        else:
            self._publish_directory(staged, closed, replace)

    def _publish_delayed(self, path: bytes, closed: bool, replace: bool) -> None:
        staged = self._delayed.pop(path)
        self._publish_directory(staged._replace(fd=staged.open()), closed, replace)

    def _publish_directory(self, staged: StagedDirectory, closed: bool, replace: bool) -> None:
        try:
            how = self._keep, closed, replace
            self.published += staged.publish(self._publisher, self._ledger, *how)
        except OSError as error:
            self.failed(staged.path, error)
        finally:
            os.close(staged.fd)

    def inherit_group(self, parent: bytes, fd: int) -> None:
        """Give what is new the group of the directory that it will be in, where that is so."""
        delayed = self._delayed.get(parent)
        with contextlib.suppress(OSError):
            if delayed is None:
                attributes.inherit_group(self._directories.open(parent), fd)
                return
            if self._keep.permissions:
                return  # it has that bit, if at all, only at the end of the run
            above = delayed.open()
            try:
                attributes.inherit_group(above, fd)
            finally:
                os.close(above)

    # --- what waits -------------------------------------------------------------------------------

    def staging_for(self, directory: bytes) -> Staging:
        """Where what goes into a directory is made. Raises OSError."""
        # The directory may be waiting.
        waits = self.delays or self.waiting
        return (self._stagings.nearest if waits else self._stagings.beside)(directory)

    def release(self) -> None:
        """Publish what waits. Raises OSError where nothing further can succeed."""
        if self.waiting:
            self.waiting.release(self.failed)

    def failed(self, path: bytes, error: OSError) -> None:
        """Note one entry that could not be written; what stops everything is raised on."""
        if is_fatal(error):
            raise error
        self.problems.append(Problem(path, f"cannot be written: {error.strerror}", False))

    def give_up(self, error: OSError) -> NoReturn:
        """Leave nothing behind, because nothing further can succeed."""
        where = self._stagings.give_up(isinstance(error, ScratchRefuses))
        see = "mount it writable" if error.errno == errno.EROFS else "make room"
        raise FileFatal(
            f"{where} cannot be written to any more: {error.strerror};"
            f" {see} and run the same command again."
        ) from None

    def said(self) -> tuple[int, list[Problem]]:
        """How much was published since the last time, and what was not."""
        published, self.published = self.published, 0
        problems, self.problems = self.problems, []
        return published, problems


def is_fatal(error: OSError) -> bool:
    """Whether no further file can succeed."""
    return error.errno in _FATAL


def _stays() -> None:
    """What is staged is found by the next run."""
