"""Receiving content: staged, checked, published.

Publishing rules: a file is whole and its digest checked before it has its name; its target must
still be what was scanned; nothing is published that was not expected.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Optional, Union

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, shown, split
from syncron_lib.core.permission import EVERYTHING, Effect
from syncron_lib.core.table import TYPE_MASK, Table, link_targets
from syncron_lib.errors import PeerViolation
from syncron_lib.fs import attributes, sealedreceive, stats
from syncron_lib.fs.allocation import Manner
from syncron_lib.fs.arrivals import Arrivals
from syncron_lib.fs.attributes import Applied
from syncron_lib.fs.contents import Contents, Missing
from syncron_lib.fs.directories import OPEN_DIRECTORY, Directories
from syncron_lib.fs.incoming import Earlier, Incoming, not_asked_for, wrong_content
from syncron_lib.fs.largefile import write_all
from syncron_lib.fs.ledger import Ledger, Written
from syncron_lib.fs.mounts import Stagings
from syncron_lib.fs.placing import Placing, is_fatal
from syncron_lib.fs.publish import Publisher, taken
from syncron_lib.fs.references import REPEATED
from syncron_lib.fs.removal import Removal
from syncron_lib.fs.staged import StagedDirectory
from syncron_lib.fs.staging import CREATE_FILE
from syncron_lib.protocol.contents import Content
from syncron_lib.protocol.messages import Arrived, Expected, Problem
from syncron_lib.protocol.pack import Delta, Group, Groups, Piece

if TYPE_CHECKING:
    from syncron_lib.fs.extended import Waiting as Sets
    from syncron_lib.fs.view import View

_S_IFREG = stat.S_IFREG


class Receiver:
    """The writing end of one run on one root."""

    def __init__(
        self,
        directories: Directories,
        ledger: Ledger,
        stagings: Stagings,
        removal: Removal,
        algorithm: digest.Algorithm,
        keep: Applied,
        earlier: Earlier,
        in_place: bool,
        durable: bool,
        manner: Manner,
        delays: bool,
        may: Effect = EVERYTHING,
        view: Optional[View] = None,
    ) -> None:
        """``in_place``: files that are there are written to, not replaced. ``durable``: nothing
        gets its name before it is on the disk. ``manner``: how new files are written.
        ``delays``: nothing gets its name before `release`.
        ``may``: what may be done to the tree. ``view``: what opens sealed files."""
        self.view = view
        self._directories = directories
        self._ledger = ledger
        self._stagings = stagings
        self._arrivals = Arrivals(stagings, algorithm)
        self.contents = Contents(directories, ledger, self._arrivals, algorithm)
        self.publisher = Publisher(directories, ledger, removal, self.contents.set_aside, may)
        self._algorithm = algorithm
        self._keep = keep
        self._files: dict[bytes, bool] = {}
        """Expected single entries, and whether one of another kind may make way."""
        self._trees: dict[bytes, bool] = {}
        """The same for whole new directories."""
        self._created: set[bytes] = set()
        self._failed_trees: set[bytes] = set()
        self.extended: Optional[Sets] = None
        """Extended attributes of what will come, where they are kept."""
        self._staged: Optional[StagedDirectory] = None
        self._fill_file = manner.fill
        places = self.publisher, self.contents, keep
        self._placing = Placing(directories, ledger, stagings, *places, durable, delays)
        where = directories, ledger, stagings, self._arrivals, self.publisher
        how = in_place, durable, manner
        self._incoming = Incoming(*where, algorithm, earlier, *how, self._finish_file)
        if delays:
            self._incoming.place = self._placing.place
        if view is not None:
            opening = sealedreceive.Opening(view, self.publisher, self._finish_file, durable)
            self._incoming.opening = opening
        self._again: list[bytes] = []

    def leftovers(self) -> list[Arrived]:
        """Content that an interrupted run staged, to be offered to the source."""
        return self._arrivals.offer()

    def expect(self, items: Iterable[Expected]) -> None:
        """Allow content for these paths, and no others."""
        for item in items:
            if item.tree:
                self._trees[item.path] = item.replace
            elif item.path:
                self._files[item.path] = item.replace

    def may_replace(self, path: bytes) -> bool:
        """Whether an entry of another kind may make way for what comes without a pack."""
        return self._files.pop(path, False) or self._trees.pop(path, False)

    def store(self, pack: Groups | Piece | Delta) -> tuple[int, list[Problem], list[bytes]]:
        """Take a pack; how many entries were published, which were not, and which are to be sent
        again, whole.

        Raises FileFatal where nothing further can succeed, PeerViolation where the pack holds
        what was not asked for.
        """
        try:
            if isinstance(pack, (Piece, Delta)):
                self._piece(pack)
            else:
                position = 0
                body = memoryview(pack.body)
                for group in pack.groups:
                    position = self._group(group, body, position)
                if position != len(body):
                    raise PeerViolation("The other side sent content that belongs to no file.")
                if not self._placing.delays:
                    self._placing.release()
        except OSError as error:
            self._require_room(error)
            raise
        again, self._again = [*self._again, *self._incoming.again], []
        self._incoming.again = []
        return (*self._placing.said(), again)

    def release(self) -> tuple[int, list[Problem]]:
        """Give what was to wait its name, one after the other; how many entries were published,
        which were not. Raises FileFatal."""
        try:
            self._placing.release()
        except OSError as error:
            self._require_room(error)
            raise
        return self._placing.said()

    def _require_room(self, error: OSError) -> None:
        if is_fatal(error):
            self.abandon()
            self._placing.give_up(error)

    def _group(self, group: Group, body: memoryview, position: int) -> int:
        table = group.table
        if not group.new and group.path in self._created and not self._placing.delays:
            self._placing.release()  # the directory itself may be waiting
        if group.new:
            staged = self._staged_directory(group)
            if staged is not None:
                position = self._fill(staged, group, body, position)
                if group.last:
                    self._end_directory(staged)
                return position
        targets = link_targets(table)
        for row, (name, mode) in enumerate(zip(table.names, table.modes)):
            path = join(group.path, name)
            data = None
            if mode & TYPE_MASK == _S_IFREG and not group.kept:
                size = table.sizes[row]
                data = body[position : position + size]
                if len(data) != size:
                    raise PeerViolation("The other side sent a file shorter than announced.")
                position += size
            if group.new:  # its directory could not be staged
                continue
            replace = self._files.pop(path, None)
            if replace is None and group.kept and group.path in self._created:
                replace = False  # a large file of a new directory
            if replace is None:
                raise not_asked_for(path)
            try:
                self._entry(path, table, row, data, targets.get(row, b""), replace)
            except Missing:
                self._again.append(path)
            except OSError as error:
                self._placing.failed(path, error)
        return position

    def _staged_directory(self, group: Group) -> Optional[StagedDirectory]:
        """The staged directory for a group's path, begun if this is its first group."""
        staged = self._staged
        if staged is not None:
            if staged.path == group.path:
                return staged
            raise PeerViolation("The other side began a directory before ending another.")
        path = group.path
        if path in self._failed_trees:
            return None
        parent = split(path)[0] if path else b""
        if path not in self._trees and not (path and parent in self._created):
            raise not_asked_for(path)
        if path in self._created or not path:
            raise PeerViolation(f"The other side sent the directory {shown(path)} twice.")
        self._created.add(path)
        name = b""
        try:
            inherits = not (self._keep.group and self._keep.permissions)
            if (inherits or self._placing.waiting.is_full) and not self._placing.delays:
                self._placing.release()
            staging = self._placing.staging_for(parent)
            name = staging.new_directory(path)
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=staging.fd)
            if inherits:
                self._placing.inherit_group(parent, fd)
        except OSError as error:
            self._failed_trees.add(path)
            self._placing.failed(path, error)
            return None
        self._staged = StagedDirectory(path, staging, name, fd, group.attributes, [])
        self.contents.staged = path, fd
        return self._staged

    def _fill(self, staged: StagedDirectory, group: Group, body: memoryview, position: int) -> int:
        """Create a group's entries in a staged directory. Hot: most files of a first copy."""
        directory = staged.fd
        made = staged.entries.append
        published = self.contents.published
        keep = self._keep
        # Where they are noted, none comes right by being created so.
        permissions, times = keep.permissions and keep.disk is os, keep.times
        chowns = keep.owner or keep.group
        of = self._algorithm.of
        open_, write, close, utime = os.open, os.write, os.close, os.utime
        fstat = keep.disk.fstat
        now = time.time_ns()
        table = group.table
        targets = iter(table.targets)
        digests = table.digests
        own = os.geteuid(), os.fstat(directory).st_gid
        extended, fill = self.extended, self._fill_file
        view = self.view
        sealed = None if view is None else view.sealed_in(group.path)
        start = 0
        for name, mode, size, mtime, uid, gid in zip(
            table.names, table.modes, table.sizes, table.mtimes, table.uids, table.gids
        ):
            value = digests[start : start + 16]
            start += 16
            try:
                if view is not None and sealed is not None and sealed(name):
                    sealedreceive.require_sealed(view, join(group.path, name), mode, group.kept)
                if mode & TYPE_MASK != _S_IFREG:
                    target = next(targets, b"") if mode & TYPE_MASK == stat.S_IFLNK else b""
                    own_attributes = Attributes(mode, mtime, uid, gid)
                    attributes.make_special(
                        directory, name, own_attributes, size, target, keep, now
                    )
                    if extended is not None:
                        extended.give_special(join(group.path, name), directory, name)
                    st = self._directories.disk.stat(name, dir_fd=directory, follow_symlinks=False)
                    made((stats.row(name, st), digest.UNKNOWN, target))
                    continue
                if group.kept:
                    fd = self._take(Content(size, value), directory, name)
                    data = None
                else:
                    data = body[position : position + size]
                    position += size
                    if len(data) != size:
                        raise PeerViolation("The other side sent a file shorter than announced.")
                    if of(data) != value:
                        raise wrong_content(join(group.path, name))
                    if view is not None and sealed is not None and sealed(name):
                        path = join(group.path, name)
                        data, mode, mtime = sealedreceive.opened(view, path, data, mode, mtime)
                        size = len(data)
                    fd = open_(
                        name,
                        CREATE_FILE,
                        (mode & 0o777) if permissions else 0o600,
                        dir_fd=directory,
                    )
                try:
                    if fill is not None:
                        fill(fd, data)
                    elif data is not None:
                        count = write(fd, data)
                        while count < size:
                            count += write(fd, data[count:])
                    if (
                        (chowns and (keep.users.get(uid, uid), keep.groups.get(gid, gid)) != own)
                        or not permissions
                        or mode & 0o7000
                        or data is None
                    ):
                        attributes.set_on_new(fd, Attributes(mode, mtime, uid, gid), keep, now)
                    elif times:
                        utime(fd, ns=(now, mtime))
                    if extended is not None:
                        extended.give(join(group.path, name), fd)
                    st = fstat(fd)
                finally:
                    close(fd)
                if size >= REPEATED:
                    published(value, staged.path, name)
                made(
                    (
                        (
                            name,
                            st.st_mode,
                            st.st_size,
                            st.st_mtime_ns,
                            st.st_ctime_ns,
                            st.st_ino,
                            st.st_uid,
                            st.st_gid,
                        ),
                        value,
                        b"",
                    )
                )
            except Missing:
                self._again.append(join(group.path, name))
            except FileExistsError:
                self._placing.failed(join(group.path, name), taken(directory, name))
            except OSError as error:
                # Half a file must not be published with its directory.
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=directory)
                self._placing.failed(join(group.path, name), error)
        return position

    def _take(self, content: Content, directory: int, name: bytes) -> int:
        """As `Contents.take`; what is needed may be waiting for its name."""
        try:
            return self.contents.take(content, directory, name)
        except Missing:
            if self._placing.delays or not self._placing.waiting:
                raise
        self._placing.release()
        return self.contents.take(content, directory, name)

    def _end_directory(self, staged: StagedDirectory) -> None:
        """All that goes into a staged directory is there."""
        self._staged = self.contents.staged = None
        # An ACL may allow less than the mode that goes with it.
        closed = self.extended is not None and staged.path in self.extended
        self._placing.place_directory(staged, closed, self._trees.get(staged.path, False))

    def _entry(
        self,
        path: bytes,
        table: Table,
        row: int,
        data: Optional[memoryview],
        target: bytes,
        replace: bool,
    ) -> None:
        """Publish one entry of a directory that is there already. ``target``: a symlink's."""
        self.publisher.require_allowed(path, replace)
        attributes_ = Attributes(
            table.modes[row], table.mtimes[row], table.uids[row], table.gids[row]
        )
        value = table.digests[row * digest.SIZE : (row + 1) * digest.SIZE]
        size = table.sizes[row]
        staging = self._placing.staging_for(split(path)[0])
        now = time.time_ns()
        view = self.view
        sealed = view is not None and view.is_sealed(path)
        if sealed and view is not None:
            sealedreceive.require_sealed(view, path, attributes_.mode, data is None)
        is_file = attributes_.mode & TYPE_MASK == _S_IFREG
        if self._placing.delays and is_file:  # for so long that it is worth finding again
            temporary = staging.name_for_large(path, size, attributes_.mtime_ns)
        else:
            temporary = staging.name_for_small()
        try:
            if is_file:
                if data is None:
                    if self._incoming.overwrites(path, replace):
                        raise Missing  # what is copied would get another inode
                    fd = self._take(Content(size, value), staging.fd, temporary)
                else:
                    if self._algorithm.of(data) != value:
                        raise wrong_content(path)
                    if sealed and view is not None:
                        opened = sealedreceive.opened(view, path, data, *attributes_[:2])
                        data, size = opened.data, len(opened.data)
                        attributes_ = Attributes(*opened[1:], *attributes_[2:])
                    if self._incoming.overwrite(path, attributes_, data, value, replace):
                        self._placing.published += 1
                        return
                    fd = os.open(temporary, CREATE_FILE, 0o600, dir_fd=staging.fd)
                try:
                    if self._fill_file is not None:
                        self._fill_file(fd, data)
                    elif data is not None:
                        write_all(fd, data)
                    mtime = self._finish_file(fd, path, attributes_, now)
                finally:
                    os.close(fd)
                written = Written(size, mtime, value)
            else:
                attributes.make_special(
                    staging.fd, temporary, attributes_, size, target, self._keep, now
                )
                if self.extended is not None:
                    self.extended.give_special(path, staging.fd, temporary)
                written = Written(0, attributes_.mtime_ns, value)
        except OSError:
            staging.remove(temporary)
            raise
        self._placing.place(path, staging, temporary, replace, written)

    def _finish_file(self, fd: int, path: bytes, attributes_: Attributes, now: int) -> int:
        """Attributes of a file about to be published; without kept permissions, an existing
        target's stay. Returns its time, which is the source's only where times are kept."""
        if not self._keep.group:
            self._placing.inherit_group(split(path)[0], fd)
        return attributes.finish(
            fd, attributes_, self._keep, now, self.publisher.scanned(path), self.extended, path
        )

    def _piece(self, piece: Union[Piece, Delta]) -> None:
        path = piece.path
        # What is put together replaces a file; one that is new has nothing to be put together from.
        inside = isinstance(piece, Piece) and split(path)[0] in self._created
        if path not in self._files and not inside:
            raise not_asked_for(path)
        incoming = self._incoming
        try:
            incoming.take(piece, self._files)
        except OSError as error:
            self._placing.failed(path, error)
            return
        if incoming.whole:
            self._files.pop(path, None)
            if not self._placing.delays:
                self._placing.published += incoming.whole
                self.contents.published(piece.digest, *split(path))
            incoming.whole = 0

    def abandon(self) -> None:
        """Let go of what is half done; it stays staged for the next run."""
        if self._staged is not None:
            os.close(self._staged.fd)
            self._staged = self.contents.staged = None
        self._placing.waiting.clear()
        self._incoming.abandon()
