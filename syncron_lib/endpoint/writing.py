"""The writing side of a destination, from `Begin` to `Finish`."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes, Profile
from syncron_lib.core.names import shown, split
from syncron_lib.core.permission import EVERYTHING, THERE_ALREADY, Effect
from syncron_lib.endpoint.base import Buffer
from syncron_lib.endpoint.parts import bounded
from syncron_lib.errors import FileFatal, PeerViolation
from syncron_lib.fs import attributes, sealedreceive, stats
from syncron_lib.fs.allocation import manner
from syncron_lib.fs.attributes import Applied
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.durable import write_through
from syncron_lib.fs.hashing import FileHasher, Finder
from syncron_lib.fs.incoming import Earlier
from syncron_lib.fs.ledger import Ledger, Written
from syncron_lib.fs.mounts import Stagings
from syncron_lib.fs.receive import Receiver
from syncron_lib.fs.removal import Removal
from syncron_lib.fs.tree import Tree, is_directory
from syncron_lib.protocol import messages, pack
from syncron_lib.protocol.contents import pack_contents, unpack_sizes
from syncron_lib.protocol.messages import Arrived, Expected, Linking, Problem, SetAttributes

if TYPE_CHECKING:  # few runs keep backups
    from syncron_lib.core.rules.attributes import Keeps
    from syncron_lib.endpoint.keeping import Kept
    from syncron_lib.fs.alternates import Linker
    from syncron_lib.fs.relocation import Relocation
    from syncron_lib.fs.scratch import Scratch
    from syncron_lib.fs.view import View


class Writing:
    """Carries out on one tree what a plan says. Raises OSError and `SyncronError`."""

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        algorithm: digest.Algorithm,
        profile: Profile,
        request: messages.Begin,
        umask: int,
        earlier: Earlier,
        may: Effect = EVERYTHING,
        made: bool = False,
        kept: Optional[Kept] = None,
        view: Optional[View] = None,
        scratch: Optional[Scratch] = None,
        keeps: Optional[Keeps] = None,
    ) -> None:
        """``umask``: the process's, which has none until `close`. ``may``: what may be done to the
        tree; it is kept here and below, entry by entry. ``made``: the root itself is new.
        ``kept``: what is replaced or deleted is kept so. ``view``: what opens sealed files.
        ``scratch``: where what comes is put together. ``keeps``: which extended attributes are
        kept, if any are."""
        self._may = may
        self._made = made
        self._directories = directories
        self._algorithm = algorithm
        self._umask = umask
        self._hard_links = profile.hard_links
        self._keep = attributes.applied(
            profile,
            dict(request.users),
            dict(request.groups),
            self._umask,
            directories.lens is not None and directories.lens.leads_nowhere(),
            directories.disk,
        )
        self._ledger = Ledger(tree, directories)
        self._keeps = keeps
        own_acls = False
        if profile.extended:
            from syncron_lib.core.extended import Kinds

            own_acls = Kinds.ACLS in Kinds(profile.extended)
        self._own_acls = own_acls
        self._stagings = Stagings(directories, self._ledger, own_acls, scratch)
        self._backup = None
        if kept is not None:
            self._backup = kept.backup(directories, umask, request.durable, profile.extended)
        self._removal = Removal(directories, self._ledger, may, self._backup)
        self._receiver = Receiver(
            directories,
            self._ledger,
            self._stagings,
            self._removal,
            algorithm,
            self._keep,
            earlier,
            request.in_place and Effect.CHANGE in may,
            request.durable,
            manner(request.sparse, request.preallocate),
            request.delay,
            may,
            view if view is not None and view.active else None,
        )
        self.durable = request.durable
        # What is created gets exactly the mode that it is created with.
        os.umask(0)

    def leftovers(self) -> list[Arrived]:
        """What an interrupted run left here."""
        return self._receiver.leftovers()

    def expect(self, items: Sequence[Expected]) -> None:
        """Allow content for these paths."""
        self._receiver.expect(items)

    def store(self, payload: Buffer) -> messages.Stored:
        """Take a pack."""
        began = time.perf_counter()
        content = pack.unpack_pack(payload)
        view = self._receiver.view
        if view is not None and view.naming is not None:
            named = view.naming.incoming(content)
            if named is None:
                return messages.Stored(0, 0, (), ())
            content = named
        if isinstance(content, pack.End):
            raise PeerViolation("The client stored the end of a transfer.")
        published, problems, again = self._receiver.store(content)
        passed_on = content.problems if isinstance(content, pack.Groups) else ()
        busy = int((time.perf_counter() - began) * 1e6)
        return messages.Stored(published, busy, bounded(problems), bounded(passed_on), again)

    def release(self) -> messages.Stored:
        """Give what was to wait its name."""
        began = time.perf_counter()
        published, problems = self._receiver.release()
        busy = int((time.perf_counter() - began) * 1e6)
        return messages.Stored(published, busy, bounded(problems), ())

    def find(self, request: messages.Find, hasher: FileHasher) -> messages.Found:
        """What is here of the sizes in question."""
        sizes = set(unpack_sizes(request.sizes))
        return messages.Found(pack_contents(self._receiver.contents.find(sizes, hasher)))

    def keep(self, request: messages.Keep) -> messages.Done:
        """Keep these contents until the end, even where their files are replaced."""
        self._receiver.contents.keep(request.digests)
        return messages.Done()

    def move(self, request: messages.Move) -> messages.Stored:
        """Make directories and move entries; what cannot be moved is to be sent."""
        from syncron_lib.fs.relocation import Relocation

        relocation = Relocation(self._directories, self._ledger, self._keep)
        view = self._receiver.view
        problems = []
        again = []
        for item in request.directories:
            try:
                if self._receiver.may_replace(item.path):
                    self._make_way(relocation, item.path)
                relocation.make(item.path, Attributes(*item[1:]))
            except OSError as error:
                problems.append(Problem(item.path, f"cannot be made: {error.strerror}", False))
        relocation.apply()
        for old, new in request.items:
            try:
                if view is not None:
                    sealedreceive.require_plain(view, self._ledger.tree, old, new)
                relocation.move(old, new)
            except OSError:
                again.append(new)
        relocation.apply()
        done = len(request.items) - len(again)
        return messages.Stored(done, 0, bounded(problems), (), again)

    def make_implied(self, paths: Sequence[bytes]) -> messages.Stored:
        """Make directories as anyone makes them here; the root, if that is new, is made so too."""
        from syncron_lib.fs.relocation import Relocation

        mode = 0o777 & ~self._umask
        if b"" in paths and self._made:
            os.fchmod(self._directories.root_fd, mode | 0o700)
        paths = [path for path in paths if path]
        relocation = Relocation(self._directories, self._ledger, self._keep)
        problems = []
        for path in paths:
            try:
                relocation.make(path, Attributes(stat.S_IFDIR | mode, 0, 0, 0))
            except OSError as error:
                problems.append(Problem(path, f"cannot be made: {error.strerror}", False))
        relocation.apply()
        for path in paths:
            self._ledger.directory_attributes.pop(path, None)
        return messages.Stored(0, 0, bounded(problems), (), ())

    def _make_way(self, relocation: Relocation, path: bytes) -> None:
        """Remove what is no directory where one is to be. Raises OSError."""
        parent, name = split(path)
        fd = self._directories.open_writable(parent)
        self._receiver.publisher.make_way(path, fd, name, True)
        relocation.gave_way(path)

    def preserve(self, request: messages.Preserve) -> messages.Stored:
        """Copy what is about to lose its name; what could not be is said again."""
        from syncron_lib.fs.relocation import Relocation

        relocation = Relocation(self._directories, self._ledger, self._keep)
        problems = []
        again = []
        for old, new in request.items:
            try:
                relocation.copy(old, new, self._stagings.beside(split(old)[0]))
            except OSError as error:
                what = f"cannot be kept as {shown(new)}: {error.strerror}"
                problems.append(Problem(old, what, False))
                again.append(new)
        relocation.apply()
        return messages.Stored(len(request.items) - len(again), 0, bounded(problems), (), again)

    def link(self, items: Sequence[Linking]) -> messages.Stored:
        """Make hard links; what cannot be one is to be sent."""
        from syncron_lib.fs.linking import NO_LINK, Linker

        receiver = self._receiver
        linker = Linker(self._directories, self._ledger, self._stagings, receiver.publisher)
        problems = []
        again = []
        done = 0
        for path, leader, replace in items:
            try:
                done += linker.link(path, leader, replace)
            except OSError as error:
                what = f"cannot be linked to {shown(leader)}: {error.strerror}"
                problems.append(Problem(path, what, False))
                if error.errno in NO_LINK:
                    again.append(path)
        return messages.Stored(done, 0, bounded(problems), (), again)

    def extend(self, request: messages.Extend) -> messages.Stored:
        """Give entries extended attributes: those that will come then, directories at the end."""
        from syncron_lib.fs.extended import Waiting, give, held

        if self._keeps is None:
            raise PeerViolation("The client sent extended attributes, which the run does not keep.")
        waiting = self._receiver.extended
        if waiting is None:
            waiting = self._receiver.extended = Waiting(self._keeps, self._keep.disk)
        problems = []
        finder = Finder(self._ledger.tree)
        done = 0
        for path, packed in request.items:
            if request.coming or path in self._ledger.tree.nodes or not path:
                waiting.add(path, packed)
                continue
            wanted = waiting.unpack(packed)
            try:
                if Effect.CHANGE not in self._may:
                    raise OSError(errno.EEXIST, THERE_ALREADY)
                parent, name = split(path)
                with held(self._directories.open(parent), name) as where:
                    written = self._unchanged(finder, path, self._keep.disk.stat(where))
                    give(where, wanted, waiting.keeps, self._keep.disk)
                self._ledger.wrote(parent, name, written)
                done += 1
            except OSError as error:
                problems.append(_unset(path, error))
        return messages.Stored(done, 0, bounded(problems), (), ())

    def _unchanged(self, finder: Finder, path: bytes, st: os.stat_result) -> Written:
        """What is known of an entry about to get other attributes. Raises OSError where it is not
        as it was scanned, or as this run wrote it."""
        parent, name = split(path)
        size, mtime = _size_and_time(st)
        written = self._ledger.written(parent, name)
        if written is not None and (written.size, written.mtime_ns) == (size, mtime):
            return written
        found = finder.find(path)
        if found is None or not self._ledger.is_as_scanned(found.stats, stats.row(name, st)):
            raise OSError(errno.EEXIST, "it was changed at the destination during the run")
        self._ledger.adjust(st)
        return Written(size, mtime, found.digest)

    def linker(self) -> Linker:
        """What takes entries from alternates."""
        from syncron_lib.fs.alternates import Linker

        return Linker(
            self._directories,
            self._ledger,
            self._stagings,
            self._receiver.publisher,
            self._algorithm,
            self._keep,
            self._receiver.may_replace,
            self._may,
            self.durable,
            self._own_acls,
        )

    def adjust(self, items: Sequence[SetAttributes]) -> messages.Stored:
        """Set attributes of entries whose content stays; a directory's at the end."""
        finder = Finder(self._ledger.tree)
        problems = []
        now = time.time_ns()
        done = 0
        for item in items:
            if is_directory(item.mode) and item.path in self._ledger.tree.nodes:
                wanted = Attributes(item.mode, item.mtime_ns, item.uid, item.gid)
                self._ledger.directory_attributes[item.path] = wanted
                continue
            if Effect.CHANGE not in self._may:
                problems.append(Problem(item.path, THERE_ALREADY, False))
                continue
            try:
                self._adjust(item, finder, now)
                done += 1
            except OSError as error:
                problems.append(_unset(item.path, error))
        return messages.Stored(done, 0, bounded(problems), (), ())

    def _adjust(self, item: SetAttributes, finder: Finder, now: int) -> None:
        ledger, keep = self._ledger, self._keep
        parent, name = split(item.path)
        found = finder.find(item.path)
        if found is None:
            raise OSError(errno.ENOENT, "it is not there")
        scanned = found.stats

        written = ledger.written(parent, name)

        def approve(current: os.stat_result) -> None:
            if written is None:
                if not ledger.is_as_scanned(scanned, stats.row(name, current)):
                    raise OSError(errno.EEXIST, "it was changed at the destination during the run")
                ledger.adjust(current)
            elif (written.size, written.mtime_ns) != _size_and_time(current):
                raise OSError(errno.EEXIST, "it was changed at the destination during the run")

        wanted = Attributes(item.mode, item.mtime_ns, item.uid, item.gid)
        attributes.change(self._directories.open(parent), name, wanted, keep, now, approve)
        if written is None:
            size = found.stats[2] if stat.S_ISREG(item.mode) else 0
            written = Written(size, found.stats[3], found.digest)
        mtime = item.mtime_ns if keep.sets_time(item.mode) else written.mtime_ns
        ledger.wrote(parent, name, written._replace(mtime_ns=mtime))

    def delete(self, paths: Sequence[bytes]) -> messages.Stored:
        """Remove entries with all below."""
        removal = self._removal
        before = removal.removed
        for path in paths:
            removal.remove(path)
        problems, removal.problems = removal.problems, []
        return messages.Stored(removal.removed - before, 0, bounded(problems), (), ())

    def finish(
        self, complete: bool, whole: bool, bare: bool = False
    ) -> tuple[list[Problem], list[bytes], list[bytes]]:
        """Give directories their attributes and bring the tree up to date: (what failed,
        directories that are gone, directories that stay though they were to be deleted).
        ``complete``: staging may go. ``whole``: the root's own attributes are the run's;
        ``bare``: but in this one they do not count.
        """
        self._receiver.abandon()
        if complete:
            self._stagings.clear()
        else:
            self._stagings.close()
        problems = self._extend_directories(whole)
        problems += self._set_directory_attributes(whole)
        if bare and not (self._made or self._ledger.is_touched(b"")):
            # Only staging came and went in it.
            fd, own = self._directories.root_fd, self._ledger.tree.root.attributes
            with contextlib.suppress(OSError):
                os.utime(fd, ns=(os.fstat(fd).st_atime_ns, own.mtime_ns))
        if self.durable:
            self._write_through()
        return problems, self._ledger.update(self._hard_links), self._removal.kept

    def _set_directory_attributes(self, whole: bool) -> list[Problem]:
        """Give directories their attributes, the deepest first: setting a mode can take away
        the way to what is below."""
        problems = []
        now = time.time_ns()
        wanted = self._ledger.directory_attributes
        for path in sorted(wanted, key=lambda path: path.count(b"/") + bool(path), reverse=True):
            if path or whole:
                try:
                    fd = self._directories.open(path)
                    keep = self._keep
                    if path in self._ledger.own_numbers:
                        keep = keep._replace(users={}, groups={})
                    is_new = self._ledger.is_new(path) if path else self._made
                    if Effect.CHANGE not in self._may and not is_new:
                        keep = self._kept_of_old(path, fd, wanted[path])
                    if not path and self._made and not keep.permissions:
                        keep.disk.fchmod(fd, keep.mode_of(wanted[path]))
                    attributes.change_directory(fd, wanted[path], keep, now)
                    if is_new and not keep.permissions:
                        attributes.set_mode_of_new(fd, wanted[path], keep)
                except OSError as error:
                    problems.append(_unset(path, error))
        return problems

    def _extend_directories(self, whole: bool) -> list[Problem]:
        """Give directories their extended attributes, before their modes can take away the way."""
        waiting = self._receiver.extended
        problems: list[Problem] = []
        if waiting is None:
            return problems
        for path in filter(self._ledger.has_directory, waiting.paths()):
            is_new = self._ledger.is_new(path) if path else self._made
            if path or whole:
                try:
                    if Effect.CHANGE not in self._may and not is_new:
                        raise OSError(errno.EEXIST, THERE_ALREADY)
                    waiting.give(path, self._directories.open(path))
                    self._ledger.touched(path)
                except OSError as error:
                    problems.append(_unset(path, error))
        return problems

    def _write_through(self) -> None:
        """See that all is on the disk. Raises FileFatal: what the disk refused once, nobody can
        ask for again."""
        places: dict[int, int] = {}
        for path in self._ledger.places():
            with contextlib.suppress(OSError):  # it is gone, or cannot be opened any more
                fd = self._directories.open(path)
                device = os.fstat(fd).st_dev
                if device not in places:
                    places[device] = os.dup(fd)
        if self._backup is not None and self._backup.root_fd is not None:
            places[-1] = os.dup(self._backup.root_fd)
        try:
            write_through(places.values())
        except OSError as error:
            raise FileFatal(
                f"The destination's disk does not take what was written ({error.strerror});"
                " check the disk, then run again with --verify."
            ) from None
        finally:
            for fd in places.values():
                os.close(fd)

    def _kept_of_old(self, path: bytes, fd: int, wanted: Attributes) -> Applied:
        """What a directory that was there before may be given, where nothing there may be changed:
        another time, if it has got one by what this run added to it. Raises OSError where more is
        wanted than that."""
        keep = self._keep
        st = keep.disk.fstat(fd)
        uid, gid = keep.owner_of(wanted)
        added_to = self._ledger.is_touched(path)
        if not path:  # staging came and went in it
            added_to = added_to or st.st_mtime_ns != self._ledger.tree.root.attributes.mtime_ns
        if (
            (keep.permissions and stat.S_IMODE(st.st_mode) != keep.mode_of(wanted))
            or uid not in (-1, st.st_uid)
            or gid not in (-1, st.st_gid)
            or (keep.sets_time(st.st_mode) and not added_to and st.st_mtime_ns != wanted.mtime_ns)
        ):
            raise FileExistsError(errno.EEXIST, "only new names may be added there")
        return keep._replace(
            permissions=False, owner=False, group=False, times=keep.times and added_to
        )

    def close(self) -> None:
        """Let go of what is half done; it stays staged."""
        self._receiver.abandon()
        self._stagings.close()
        if self._backup is not None:
            self._backup.close()
        os.umask(self._umask)


def _size_and_time(st: os.stat_result) -> tuple[int, int]:
    """As the ledger has them."""
    size = st.st_size if stat.S_ISREG(st.st_mode) else 0
    return size, stats.in_range(st.st_mtime_ns)


def _unset(path: bytes, error: OSError) -> Problem:
    return Problem(path, f"its attributes cannot be set: {error.strerror}", False)
