"""The endpoint that touches a tree: what a helper serves, and what a test may call directly."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, Union

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import shown
from syncron_lib.core.role import Role
from syncron_lib.endpoint import changed, entering, hashes, ids, parts
from syncron_lib.endpoint.alternates import Alternates
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.beside import Beside
from syncron_lib.endpoint.greeting import greeting
from syncron_lib.endpoint.opening import choice_of, scratch_of
from syncron_lib.endpoint.replicas import Replicas, require_allowed
from syncron_lib.endpoint.sealing import Manifests
from syncron_lib.endpoint.sending import Sending
from syncron_lib.endpoint.writing import Writing
from syncron_lib.errors import FileFatal, Locked, PeerViolation, SyncronError
from syncron_lib.fs import ignorefiles
from syncron_lib.fs.basis import OldFiles
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import FileHasher
from syncron_lib.fs.incoming import Earlier
from syncron_lib.fs.reach import ANYWHERE, Reach
from syncron_lib.fs.root import Root
from syncron_lib.protocol import messages, pack, wire
from syncron_lib.protocol.messages import Message, Problem, RootKind
from syncron_lib.protocol.order import Phase, may_come

if TYPE_CHECKING:  # a helper has no use for futures, and they are slow to import
    from concurrent.futures import Future

    from syncron_lib.endpoint.keeping import Kept
    from syncron_lib.fs.alternates import Alternate
    from syncron_lib.fs.scratch import Scratch
    from syncron_lib.fs.view import View

Tell = Callable[[Union[messages.Progress, messages.Notice]], None]
"""Takes what a request has to say before its reply."""
_MOST_HASHED = 64 << 20
"""Bytes of files that are read to say what changed, whatever the client allows."""
_PROGRESS_INTERVAL = 0.1
"""Seconds between two progress frames."""


class LocalEndpoint:
    """Carries out requests on one root at a time, in the calling thread."""

    def __init__(
        self,
        environment: Mapping[str, str],
        umask: int,
        tell: Tell = lambda _: None,
        listing_limit: int = parts.LIMIT,
        reach: Reach = ANYWHERE,
        view: Optional[View] = None,
        is_waited_for: Callable[[], bool] = lambda: False,
    ) -> None:
        """``umask``: the process's; it has none while it writes (see `fs.attributes`).
        ``listing_limit``: bytes after which a listing is cut. ``view``: what sees files sealed.
        ``is_waited_for``: whether there is a request behind the one that is carried out."""
        self._reach = reach
        self.hello = greeting()
        self._environment = environment
        self._umask = umask
        self._tell = tell
        self._listing_limit = listing_limit
        self._is_waited_for = is_waited_for
        self._reported = 0.0
        self._sending = Sending(self)
        self._alternates = Alternates(self, reach, environment)
        beside = Beside(lambda: self.root, self._alternates.root, self.writes, self.noted)
        self._replicas = Replicas(self, tell)
        self._view, self._manifests = view, Manifests(self, view, self._replicas.opened)
        self._handlers: dict[Any, Callable[[Any], Any]] = {
            messages.Open: self._open,
            messages.Scan: self._scan,
            messages.GetHot: self._get_hot,
            messages.GetIgnoreFiles: self._get_ignore_files,
            messages.UseIgnoreFiles: self._use_ignore_files,
            messages.Enter: self._enter,
            messages.MapIds: ids.mapped,
            messages.Seal: self._seal,
            messages.List: self._list,
            messages.Hash: self._hash,
            messages.GetChunks: self._get_chunks,
            messages.Basis: self._sending.basis,
            messages.GetChanges: self._get_changes,
            messages.Select: self._sending.select,
            messages.GetSizes: self._sending.get_sizes,
            messages.Offer: self._sending.offer,
            messages.Next: self._sending.next,
            **self._alternates.handlers(),
            **beside.handlers(),
            messages.Backup: self._backup,
            messages.Begin: self._begin,
            messages.Expect: self._expect,
            messages.Find: self._find,
            messages.Release: beside.release,
            messages.Keep: beside.keep,
            messages.Move: beside.move,
            messages.Adjust: beside.adjust,
            messages.Delete: beside.delete,
            **self._replicas.handlers(),
            messages.LeaveOut: self._leave_out,
            messages.Imply: beside.imply,
            messages.MakeImplied: beside.make_implied,
            messages.Finish: self._finish,
            messages.RemoveSource: self._sending.remove_source,
            messages.Close: self._close,
            **dict.fromkeys(messages.ABOUT_SNAPSHOTS, self._alternates.snapshots),
            **self._manifests.handlers(),
        }
        self._reset()

    def _reset(self) -> None:
        self._phase = Phase.CLOSED
        self.role: Optional[Role] = None
        self._root: Optional[Root] = None
        self._opened: Optional[messages.Open] = None
        self.algorithm: digest.Algorithm = digest.available()[-1]
        self._profile: Optional[Profile] = None
        self._hasher: Optional[FileHasher] = None
        self._old_files: Optional[OldFiles] = None
        self._kept: Optional[Kept] = None
        self._scratch: Optional[Scratch] = None
        self._writing: Optional[Writing] = None
        self._given = parts.GivenFiles()
        self._extras: list[bytes] = []
        self._warned = 0
        self._failures = 0

    def submit(self, request: Message | RawPack) -> Future[Any]:
        """Carry out ``request`` now."""
        from concurrent.futures import Future

        future: Future[Any] = Future()
        try:
            reply = self.handle(request)
            if isinstance(reply, list):
                reply = RawPack(b"".join(reply))
            future.set_result(reply)
        except SyncronError as error:
            future.set_exception(error)
        return future

    def handle(self, request: Message | RawPack) -> Message | list[pack.Buffer]:
        """The reply to ``request``; a pack as parts that are valid until the next call."""
        kind = wire.STORE if isinstance(request, RawPack) else type(request)
        name = "Store" if isinstance(request, RawPack) else type(request).__name__
        if not may_come(kind, self._phase, self.role):
            raise PeerViolation(f"The client sent {name} out of turn.")
        if wire.NEEDS[kind] & ~self._reach.may:
            raise PeerViolation(f"The client sent {name}, which is not allowed to this account.")
        try:
            if isinstance(request, RawPack):
                return self._store(request)
            return self._handlers[kind](request)
        except OSError as error:
            # What was held open has a number for a name.
            named = isinstance(error.filename, (str, bytes))
            where = f" {shown(os.fsencode(error.filename))}" if named else ""
            if not where and self._root is not None:
                where = f" an access below {shown(self._root.path)}"
            raise FileFatal(
                f"The operating system refused{where or ' an access'} ({error.strerror});"
                " check the disk and its permissions, and run again."
            ) from None

    def close(self) -> None:
        """Let go of the root."""
        if self._writing is not None:
            self._writing.close()
        self._sending.close()
        if self._old_files is not None:
            self._old_files.close()
        self._alternates.close()
        self._replicas.close()
        self._manifests.close()
        if self._scratch is not None:
            self._scratch.close()
        if self._root is not None:
            self._root.close()
        self._reset()

    @property
    def root(self) -> Root:
        """The open root."""
        if self._root is None:
            raise PeerViolation("The client asked about a root before opening one.")
        return self._root

    @property
    def is_open(self) -> bool:
        """Whether a root is open."""
        return self._root is not None

    @property
    def left_out(self) -> frozenset[bytes]:
        """What is not wanted of the tree."""
        return frozenset(self._extras)

    @property
    def holder(self) -> str:
        """Whose run this is, for whoever finds something locked."""
        return "" if self._opened is None else self._opened.holder

    def seal_alternate(self, alternate: Alternate) -> None:
        """Prepare another directory to be compared as the root is."""
        root, profile = self.root, self._profile
        if profile is None:
            raise PeerViolation("The client asked for a comparison before it said of what.")
        alternate.seal(self.algorithm, profile, root.ignore_files, self._hashed_some)

    # --- opening and knowing --------------------------------------------------------------------

    def _open(self, request: messages.Open) -> messages.Opened:
        reach = self._reach
        place = reach.look(request.path)
        kinds = {0: RootKind.MISSING, stat.S_IFDIR: RootKind.DIRECTORY, stat.S_IFREG: RootKind.FILE}
        kind = kinds.get(place.kind, RootKind.OTHER)
        usable = kind == RootKind.DIRECTORY or (
            kind == RootKind.MISSING and request.role == Role.DESTINATION
        )
        opened = messages.Opened(place.path, kind, place.parent_missing, False, may=int(reach.may))
        if not usable:
            return opened
        require_allowed(request, reach)
        root = Root(place, choice_of(request, reach, self._umask), self._environment, reach)
        try:
            # A single file is read from under nobody's lock: it may stand beside what is written.
            if request.writing or request.only is None:
                self._lock(root, request)
            self._scratch = scratch_of(request, place.path, reach)
        except Locked as error:
            identity, above = root.identities()
            root.close()
            return opened._replace(identity=identity, held=error.message, above=above)
        except BaseException:
            root.close()
            raise
        if self._view is not None:
            self._view.begin()
            root.view = self._view
        self._root = root
        self._opened = request
        self.role = Role(request.role)
        self._phase = Phase.OPEN
        identity, above = root.identities()
        staging = root.staging or (self._scratch is not None and self._scratch.is_used)
        return opened._replace(
            unmounted=root.unmounted, identity=identity, staging=staging, above=above
        )

    def _lock(self, root: Root, request: messages.Open) -> None:
        def on_wait() -> None:
            # Whoever goes away meanwhile must not be waited for.
            self._progress(True, 0, 0)

        root.lock(request.holder, request.writing, request.lock_wait_ms / 1000, on_wait)

    def _scan(self, request: messages.Scan) -> messages.Scanned:
        if self._root is None:
            return messages.Scanned(0, 0, 0, digest.UNKNOWN, (), ())
        self._root.prunes, self._root.hot = request.prune, request.hot
        if request.alone:
            self._root.may_share = self._is_waited_for
        given = None if self.role != Role.DESTINATION else self._root.remembered_source_files()
        scanned = self._scanned(given)
        return ids.with_acls(scanned, self._root.extended()) if request.acls else scanned

    def _get_hot(self, request: messages.GetHot) -> messages.HotDirectories:
        return changed.hottest(self._root, request.most)

    def _use_ignore_files(self, request: messages.UseIgnoreFiles) -> messages.Scanned:
        self._given.add(request.files)
        if request.more:
            return messages.Scanned(0, 0, 0, digest.UNKNOWN, (), ())
        return self._scanned(self._given.taken())

    def _scanned(self, given: Optional[Sequence[ignorefiles.IgnoreFile]]) -> messages.Scanned:
        root = self.root
        root.scan(given, lambda entries, size: self._progress(True, entries, size))
        self._warn()
        self._phase = Phase.SCANNED
        reading = self.role != Role.DESTINATION
        return messages.Scanned(
            root.tree.root.entries,
            root.tree.root.size,
            sum(1 for node in root.tree.present() if node.problem),
            ignorefiles.identity(root.ignore_files),
            ids.named_users(root.users) if reading else (),
            ids.named_groups(root.groups) if reading else (),
        )

    def _warn(self) -> None:
        """Pass on what the state had to say since the last time."""
        state = self.root.state
        warnings = [] if state is None else state.warnings
        for warning in warnings[self._warned :]:
            self._tell(messages.Notice(warning))
        self._warned = len(warnings)

    def _get_ignore_files(self, request: messages.GetIgnoreFiles) -> messages.IgnoreFiles:
        return parts.ignore_files(self.root.ignore_files, request.known)

    def _enter(self, request: messages.Enter) -> messages.Entered:
        return entering.enter(self.root, request, self._scanned)

    def _seal(self, request: messages.Seal) -> messages.Sealed:
        if self._root is None:
            return messages.Sealed(digest.UNKNOWN, 0, ())
        algorithm = digest.by_name(request.algorithm)
        if algorithm is None:
            raise PeerViolation(f"The client asked for the hash {request.algorithm!r}.")
        self.algorithm = algorithm
        root = self.root
        users, groups = dict(request.users), dict(request.groups)
        if request.same_ids:
            users, groups = map(dict, root.remembered_ids())
        keep = request.permissions, request.times, request.owner, request.group
        more = request.hard_links, request.extended, request.omit_dir_times, request.omit_link_times
        self._profile = Profile(*keep, users, groups, *more, request.executability)
        value = root.seal(algorithm, self._profile)
        self._hasher = root.hasher(algorithm, self._hashed_some)
        self._phase = Phase.SEALED
        problems = [Problem(path, what, False) for path, what in root.not_there]
        hashed = 0
        if request.complete and self._hasher is not None:
            problems += hashes.hash_all(root.tree, self._hasher)
            hashed = self._hasher.size
            value = root.seal(algorithm, self._profile)
        return messages.Sealed(
            value,
            hashed,
            parts.bounded(problems),
            [messages.IdPair(*pair) for pair in users.items()],
            [messages.IdPair(*pair) for pair in groups.items()],
        )

    def _hashed_some(self, _count: int) -> None:
        if self._hasher is not None:
            self._progress(False, 0, self._hasher.size)

    def _progress(self, scanning: bool, done: int, size: int) -> None:
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_INTERVAL:
            self._reported = now
            self._tell(messages.Progress(scanning, done, size))

    def directories(self) -> Directories:
        """Descriptors of the root's directories."""
        directories = self.root.directories
        if directories is None:
            raise PeerViolation("The client asked for the content of a root that is missing.")
        return directories

    def _list(self, request: messages.List) -> messages.Listing:
        nodes = self.root.tree.nodes
        return parts.listing(nodes, request.paths, request.after, self._listing_limit)

    def _get_changes(self, request: messages.GetChanges) -> messages.Changes:
        if self._root is None or (self._view is not None and self._view.active):
            return changed.NOTHING
        hasher = self._hasher
        most = min(request.hash, _MOST_HASHED) if hasher is not None else 0
        return changed.since_last_run(
            self._root,
            request._replace(hash=most),
            lambda path: hasher is not None and hashes.hash_one(hasher, path),
        )

    def _hash(self, request: messages.Hash) -> messages.Hashed:
        hasher = self._hasher
        if hasher is None:
            raise PeerViolation("The client asked for digests of a root that is missing.")
        return hashes.hashed(hasher, request.paths)

    def _olds(self) -> OldFiles:
        if self._old_files is None:
            root = self.root
            self._old_files = OldFiles(
                root.tree, self.directories(), self.algorithm, root.chunk_lists, root.state
            )
        return self._old_files

    def _get_chunks(self, request: messages.GetChunks) -> messages.Chunks:
        if self._view is not None and self._view.is_sealed(request.path):
            return messages.Chunks(0, b"", b"")  # what is here is not what will come
        return (self._alternates.old_files(request.path) or self._olds()).part(*request)

    def _backup(self, request: messages.Backup) -> messages.Done:
        from syncron_lib.endpoint.keeping import kept

        self._kept = kept(request, self.root, self._reach)
        return messages.Done()

    def _begin(self, request: messages.Begin) -> messages.Leftovers:
        root, opened, profile = self.root, self._opened, self._profile
        if opened is None or profile is None or not opened.writing:
            raise PeerViolation("The client began to write without having said that it would.")
        made = root.missing
        if made:
            root.create(opened.parents)
            self._lock(root, opened)
        keeps = None
        if profile.extended:
            from syncron_lib.core.rules.attributes import keeping

            keeps = keeping(profile.extended, root.choice.rules.patterns)
        self._writing = Writing(
            root.tree,
            self.directories(),
            self.algorithm,
            profile,
            request,
            self._umask,
            Earlier(self._olds(), root.chunk_lists, self._alternates.old),
            self._reach.may,
            made,
            self._kept,
            self._view,
            self._scratch,
            keeps,
        )
        self._phase = Phase.WRITING
        return messages.Leftovers(self._writing.leftovers())

    def writes(self) -> Writing:
        """What carries out requests that write."""
        if self._writing is None:
            raise PeerViolation("The client wrote before it began to.")
        return self._writing

    def _expect(self, request: messages.Expect) -> messages.Done:
        self.writes().expect(request.items)
        return messages.Done()

    def _store(self, request: RawPack) -> messages.Stored:
        return self.noted(self.writes().store(request.payload))

    def _find(self, request: messages.Find) -> messages.Found:
        if self._hasher is None:  # it was missing, and has just been made
            return messages.Found(b"")
        return self.writes().find(request, self._hasher)

    def noted(self, stored: messages.Stored) -> messages.Stored:
        """Note failures: the client may say that all is done before it has heard of them."""
        self._failures += len(stored.problems) + len(stored.passed_on)
        return stored

    def _leave_out(self, request: messages.LeaveOut) -> messages.Done:
        self._extras.extend(request.extras)
        return messages.Done()

    def _finish(self, request: messages.Finish) -> messages.Finished:
        root, profile = self.root, self._profile
        if profile is None:
            raise PeerViolation("The client finished before it began.")
        problems: list[Problem] = []
        gone: list[bytes] = []
        extras = [*self._extras, *request.extras]
        if self._writing is not None:
            complete = request.complete and not self._failures
            problems, gone, kept = self._writing.finish(complete, root.whole, b"" in root.implied)
            extras.extend(kept)
            root.altered()
            self._manifests.mark()
        value = root.seal(self.algorithm, profile)
        self._alternates.save()
        self._save(gone, self._writing is not None and self._writing.durable)
        if extras or root.implied or request.any_times or request.by_size:
            how = request.any_times, request.by_size
            value = root.seal_without(self.algorithm, profile, extras, *how)
        closed = request.close and self._sending.is_done
        if closed:
            self.close()
        return messages.Finished(value, parts.bounded(problems), closed)

    def _save(self, gone: Sequence[bytes] = (), durable: bool = False) -> None:
        """Keep what is known. That it cannot be kept costs the next run time, and no file."""
        unsaved = self.root.save(gone, durable)
        if unsaved is not None:
            self._tell(messages.Notice(*unsaved))
        self._warn()

    def _close(self, _request: messages.Close) -> messages.Done:
        # A run that found nothing to do, or only looked, ends here; what it learned is kept.
        if self._phase == Phase.SEALED and self._root is not None:
            self._save()
        self.close()
        return messages.Done()
