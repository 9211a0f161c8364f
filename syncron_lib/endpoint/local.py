"""The endpoint that touches a tree: what a helper serves, and what a test may call directly."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from syncron_lib import __version__
from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes, Profile
from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.table import PROBLEM, TYPE_MASK
from syncron_lib.endpoint.base import RawPack
from syncron_lib.errors import FileFatal, PeerViolation, SyncronError
from syncron_lib.fs import attributes, ignorefiles, seal, stats
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import Changed, FileHasher, Finder
from syncron_lib.fs.ledger import Ledger, Written
from syncron_lib.fs.receive import Receiver
from syncron_lib.fs.removal import Removal
from syncron_lib.fs.root import Choice, Root, look
from syncron_lib.fs.send import Sender
from syncron_lib.fs.staging import Staging
from syncron_lib.fs.tree import Node, is_directory
from syncron_lib.protocol import messages, pack, wire
from syncron_lib.protocol.frames import MAX_PAYLOAD
from syncron_lib.protocol.messages import Message, Problem, Role, RootKind
from syncron_lib.protocol.order import Phase, may_come

if TYPE_CHECKING:  # a helper has no use for futures, and they are slow to import
    from concurrent.futures import Future

OnProgress = Callable[[messages.Progress], None]
_LISTING_LIMIT = MAX_PAYLOAD // 2
"""Bytes after which a listing is cut; the rest is asked for again."""
_PROGRESS_INTERVAL = 0.1
"""Seconds between two progress frames."""


def greeting(timeout_ms: int = 0) -> messages.Hello:
    """What this program can do."""
    return messages.Hello(
        messages.VERSION,
        messages.VERSION,
        f"syncron {__version__}",
        ".".join(map(str, sys.version_info[:3])),
        os.uname().nodename,
        os.geteuid(),
        [algorithm.name for algorithm in digest.available()],
        ["zstd"] if pack.can_compress() else [],
        timeout_ms,
    )


class LocalEndpoint:
    """Carries out requests on one root at a time, in the calling thread."""

    def __init__(
        self, environment: Mapping[str, str], umask: int, on_progress: OnProgress = lambda _: None
    ) -> None:
        """``umask``: the process's; it has none while it writes (see `fs.attributes`)."""
        self.hello = greeting()
        self._environment = environment
        self._umask = umask
        self._on_progress = on_progress
        self._reported = 0.0
        self._handlers: dict[Any, Callable[[Any], Any]] = {
            messages.Open: self._open,
            messages.Scan: self._scan,
            messages.GetIgnoreFiles: self._get_ignore_files,
            messages.UseIgnoreFiles: self._use_ignore_files,
            messages.MapIds: self._map_ids,
            messages.Seal: self._seal,
            messages.List: self._list,
            messages.Hash: self._hash,
            messages.Select: self._select,
            messages.Next: self._next,
            messages.Begin: self._begin,
            messages.Expect: self._expect,
            messages.Adjust: self._adjust,
            messages.Delete: self._delete,
            messages.Finish: self._finish,
            messages.Close: self._close,
        }
        self._reset()

    def _reset(self) -> None:
        self._phase = Phase.CLOSED
        self._role: Optional[Role] = None
        self._root: Optional[Root] = None
        self._opened: Optional[messages.Open] = None
        self._algorithm: digest.Algorithm = digest.available()[-1]
        self._profile: Optional[Profile] = None
        self._hasher: Optional[FileHasher] = None
        self._sender: Optional[Sender] = None
        self._receiver: Optional[Receiver] = None
        self._staging: Optional[Staging] = None
        self._removal: Optional[Removal] = None
        self._ledger: Optional[Ledger] = None

    # --- the endpoint's interface ---------------------------------------------------------------

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
        if not may_come(kind, self._phase, self._role):
            name = "Store" if isinstance(request, RawPack) else type(request).__name__
            raise PeerViolation(f"The client sent {name} out of turn.")
        try:
            if isinstance(request, RawPack):
                return self._store(request)
            return self._handlers[kind](request)
        except OSError as error:
            where = "" if error.filename is None else f" {shown(os.fsencode(error.filename))}"
            raise FileFatal(
                f"The operating system refused{where or ' an access'}: {error.strerror}."
            ) from None

    def close(self) -> None:
        """Let go of the root."""
        if self._receiver is not None:
            self._receiver.abandon()
            os.umask(self._umask)
        if self._staging is not None:
            self._staging.close()
        if self._root is not None:
            self._root.close()
        self._reset()

    @property
    def root(self) -> Root:
        """The open root."""
        if self._root is None:
            raise PeerViolation("The client asked about a root before opening one.")
        return self._root

    # --- opening and knowing --------------------------------------------------------------------

    def _open(self, request: messages.Open) -> messages.Opened:
        place = look(request.path)
        kinds = {0: RootKind.MISSING, stat.S_IFDIR: RootKind.DIRECTORY, stat.S_IFREG: RootKind.FILE}
        kind = kinds.get(place.kind, RootKind.OTHER)
        usable = kind == RootKind.DIRECTORY or (
            kind == RootKind.MISSING and request.role == Role.DESTINATION
        )
        if not usable:
            return messages.Opened(place.path, kind, place.parent_missing, False)
        rules = RuleOptions(tuple(request.patterns), request.gitignore, request.one_file_system)
        reading = request.role == Role.SOURCE
        choice = Choice(request.only, request.alias, rules, request.trust_state, reading)
        root = Root(place, choice, self._environment)
        try:
            # A single file is read from under nobody's lock: it may stand beside what is written.
            if request.writing or request.only is None:
                root.lock(request.holder, alone=request.writing, wait=request.lock_wait_ms / 1000)
        except BaseException:
            root.close()
            raise
        self._root = root
        self._opened = request
        self._role = Role(request.role)
        self._phase = Phase.OPEN
        return messages.Opened(place.path, kind, place.parent_missing, root.unmounted)

    def _scan(self, _request: messages.Scan) -> messages.Scanned:
        if self._root is None:
            return messages.Scanned(0, 0, 0, digest.UNKNOWN, (), ())
        given = None if self._role == Role.SOURCE else self._root.remembered_source_files()
        return self._scanned(given)

    def _use_ignore_files(self, request: messages.UseIgnoreFiles) -> messages.Scanned:
        return self._scanned(
            [
                ignorefiles.IgnoreFile(file.directory, file.name, file.content, (0, 0, 0, 0))
                for file in request.files
            ]
        )

    def _scanned(self, given: Optional[Sequence[ignorefiles.IgnoreFile]]) -> messages.Scanned:
        root = self.root
        root.scan(given, lambda entries, size: self._progress(True, entries, size))
        self._phase = Phase.SCANNED
        reading = self._role == Role.SOURCE
        return messages.Scanned(
            root.tree.root.entries,
            root.tree.root.size,
            sum(1 for node in root.tree.nodes.values() if node.problem),
            ignorefiles.identity(root.ignore_files),
            _named(root.users, _name_of_uid) if reading else (),
            _named(root.groups, _name_of_gid) if reading else (),
        )

    def _get_ignore_files(self, _request: messages.GetIgnoreFiles) -> messages.IgnoreFiles:
        files = self.root.ignore_files
        return messages.IgnoreFiles(
            [messages.IgnoreFile(file.directory, file.name, file.content) for file in files]
        )

    def _map_ids(self, request: messages.MapIds) -> messages.MappedIds:
        return messages.MappedIds(
            _pairs(request.users, _uid_of_name), _pairs(request.groups, _gid_of_name)
        )

    def _seal(self, request: messages.Seal) -> messages.Sealed:
        algorithm = digest.by_name(request.algorithm)
        if algorithm is None:
            raise PeerViolation(f"The client asked for the hash {request.algorithm!r}.")
        self._algorithm = algorithm
        self._profile = Profile(
            request.permissions,
            request.times,
            request.owner,
            request.group,
            dict(request.users),
            dict(request.groups),
        )
        root = self.root
        value = root.seal(algorithm, self._profile)
        self._hasher = (
            FileHasher(root.tree, self._directories(), algorithm, self._hashed_some, root.real_name)
            if root.directories is not None
            else None
        )
        self._phase = Phase.SEALED
        problems: list[Problem] = []
        hashed = 0
        if request.complete and self._hasher is not None:
            problems = self._hash_all(self._hasher)
            hashed = self._hasher.size
            value = root.seal(algorithm, self._profile)
        return messages.Sealed(value, hashed, problems)

    def _hash_all(self, hasher: FileHasher) -> list[Problem]:
        """Hash every file whose digest is unknown."""
        problems = []
        for node in list(self.root.tree.nodes.values()):
            if node.problem:
                problems.append(_problem_of(node))
            unknown = list(seal.unknown_rows(node, (stat.S_IFREG, PROBLEM)))
            if not unknown:
                continue
            columns = node.columns()
            for row in unknown:
                path = join(node.path, columns.names[row])
                if columns.modes[row] == PROBLEM:
                    reason = os.strerror(columns.sizes[row])
                    problems.append(Problem(path, f"cannot be read: {reason}", False))
                else:
                    _, problem = self._hash_one(hasher, path)
                    problems.extend(problem)
        return problems

    def _hash_one(self, hasher: FileHasher, path: bytes) -> tuple[bytes, list[Problem]]:
        try:
            return hasher.hash(path), []
        except (Changed, FileNotFoundError) as error:
            what = str(error) if isinstance(error, Changed) else "vanished"
            return digest.UNKNOWN, [Problem(path, what, True)]
        except OSError as error:
            return digest.UNKNOWN, [Problem(path, f"cannot be read: {error.strerror}", False)]

    def _hashed_some(self, _count: int) -> None:
        if self._hasher is not None:
            self._progress(False, 0, self._hasher.size)

    def _progress(self, scanning: bool, done: int, size: int) -> None:
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_INTERVAL:
            self._reported = now
            self._on_progress(messages.Progress(scanning, done, size))

    def _directories(self) -> Directories:
        directories = self.root.directories
        if directories is None:
            raise PeerViolation("The client asked for the content of a root that is missing.")
        return directories

    # --- comparing ------------------------------------------------------------------------------

    def _list(self, request: messages.List) -> messages.Listing:
        nodes = self.root.tree.nodes
        listed: list[messages.Directory] = []
        size = 0
        for path in request.paths:
            node = nodes.get(path)
            if node is None:
                raise PeerViolation(f"The client asked about {shown(path)}, which is no directory.")
            listed.append(_listed(node, nodes))
            size += len(node.stats) + 24 * node.own_entries + 64
            if size > _LISTING_LIMIT:
                break
        return messages.Listing(listed)

    def _hash(self, request: messages.Hash) -> messages.Hashed:
        hasher = self._hasher
        if hasher is None:
            raise PeerViolation("The client asked for digests of a root that is missing.")
        before = hasher.size
        digests = []
        problems: list[Problem] = []
        for path in request.paths:
            value, problem = self._hash_one(hasher, path)
            digests.append(value)
            problems.extend(problem)
        return messages.Hashed(b"".join(digests), hasher.size - before, problems)

    # --- sending --------------------------------------------------------------------------------

    def _select(self, request: messages.Select) -> messages.Done:
        if self._sender is None:
            root = self.root
            self._sender = Sender(root.tree, self._directories(), self._algorithm, root.real_name)
        self._sender.select(request.items, request.arrived)
        return messages.Done()

    def _next(self, request: messages.Next) -> list[pack.Buffer]:
        if self._sender is None:
            raise PeerViolation("The client asked for content before selecting any.")
        return self._sender.next(request.level)

    # --- receiving ------------------------------------------------------------------------------

    def _begin(self, request: messages.Begin) -> messages.Leftovers:
        root, opened, profile = self.root, self._opened, self._profile
        if opened is None or profile is None or not opened.writing:
            raise PeerViolation("The client began to write without having said that it would.")
        if root.missing:
            root.create(opened.parents)
            root.lock(opened.holder, alone=True, wait=opened.lock_wait_ms / 1000)
        directories = self._directories()
        self._ledger = Ledger(root.tree, directories)
        self._staging = Staging(directories.root_fd)
        self._removal = Removal(directories, self._ledger)
        self._keep = attributes.applied(
            profile, dict(request.users), dict(request.groups), self._umask
        )
        self._receiver = Receiver(
            directories, self._ledger, self._staging, self._removal, self._algorithm, self._keep
        )
        # What is created gets exactly the mode that it is created with.
        os.umask(0)
        self._phase = Phase.WRITING
        arrived = self._receiver.leftovers()
        for st in self._staging.published:
            self._ledger.disturb(st)
        return messages.Leftovers(arrived)

    def _writing(self) -> tuple[Receiver, Ledger, Staging, Removal]:
        parts = (self._receiver, self._ledger, self._staging, self._removal)
        receiver, ledger, staging, removal = parts
        if receiver is None or ledger is None or staging is None or removal is None:
            raise PeerViolation("The client wrote before it began to.")
        return receiver, ledger, staging, removal

    def _expect(self, request: messages.Expect) -> messages.Done:
        self._writing()[0].expect(request.items)
        return messages.Done()

    def _store(self, request: RawPack) -> messages.Stored:
        receiver = self._writing()[0]
        began = time.perf_counter()
        content = pack.unpack_pack(request.payload)
        if isinstance(content, pack.End):
            raise PeerViolation("The client stored the end of a transfer.")
        published, problems = receiver.store(content)
        passed_on = content.problems if isinstance(content, pack.Groups) else ()
        busy = int((time.perf_counter() - began) * 1e6)
        return messages.Stored(published, busy, problems, passed_on)

    def _adjust(self, request: messages.Adjust) -> messages.Stored:
        _, ledger, _, _ = self._writing()
        directories = self._directories()
        finder = Finder(ledger.tree)
        problems = []
        now = time.time_ns()
        done = 0
        for item in request.items:
            wanted = Attributes(item.mode, item.mtime_ns, item.uid, item.gid)
            if is_directory(item.mode):
                ledger.directory_attributes[item.path] = wanted
                continue
            parent, name = split(item.path)
            found = finder.find(item.path)
            try:
                if found is None:
                    raise OSError(2, "it is not there")
                fd = directories.open(parent)
                current = os.stat(name, dir_fd=fd, follow_symlinks=False)
                # Whoever edits it just now must not get the source's time on the new content.
                if not ledger.is_as_scanned(found.stats, stats.row(name, current)):
                    raise OSError(errno.EEXIST, "it was changed at the destination during the run")
                ledger.adjust(current)
                attributes.change(fd, name, wanted, self._keep, now)
                row = found.row * digest.SIZE
                value = bytes(found.node.digests[row : row + digest.SIZE])
                size = found.stats[2] if stat.S_ISREG(item.mode) else 0
                mtime = item.mtime_ns if self._keep.times else found.stats[3]
                ledger.wrote(parent, name, Written(size, mtime, value))
                done += 1
            except OSError as error:
                what = f"its attributes cannot be set: {error.strerror}"
                problems.append(Problem(item.path, what, False))
        return messages.Stored(done, 0, problems, ())

    def _delete(self, request: messages.Delete) -> messages.Stored:
        removal = self._writing()[3]
        before = removal.removed
        for path in request.paths:
            removal.remove(path)
        problems, removal.problems = removal.problems, []
        return messages.Stored(removal.removed - before, 0, problems, ())

    # --- the end --------------------------------------------------------------------------------

    def _finish(self, request: messages.Finish) -> messages.Finished:
        root, profile = self.root, self._profile
        if profile is None:
            raise PeerViolation("The client finished before it began.")
        problems: list[Problem] = []
        gone: list[bytes] = []
        if self._phase == Phase.WRITING:
            receiver, ledger, staging, removal = self._writing()
            receiver.abandon()
            if request.complete:
                staging.clear()
            else:
                staging.close()
            problems = self._set_directory_attributes(ledger)
            gone = ledger.update()
            request = request._replace(extras=[*request.extras, *removal.kept])
        value = root.seal(self._algorithm, profile)
        warning = root.save(gone)
        if warning is not None:
            problems.append(Problem(b"", warning, False))
        if request.extras:
            value = seal.seal_without(
                root.tree, self._algorithm, profile, root.whole, request.extras
            )
        return messages.Finished(value, problems)

    def _set_directory_attributes(self, ledger: Ledger) -> list[Problem]:
        """Give directories their attributes, the deepest first: setting a mode can take away
        the way to what is below."""
        problems = []
        directories = self._directories()
        now = time.time_ns()
        wanted = ledger.directory_attributes
        for path in sorted(wanted, key=lambda path: path.count(b"/"), reverse=True):
            if path or self.root.whole:
                try:
                    fd = directories.open(path)
                    attributes.change_directory(fd, wanted[path], self._keep, now)
                except OSError as error:
                    what = f"its attributes cannot be set: {error.strerror}"
                    problems.append(Problem(path, what, False))
        return problems

    def _close(self, _request: messages.Close) -> messages.Done:
        # A run that found nothing to do, or only looked, ends here; what it learned is kept.
        if self._phase == Phase.SEALED and self._root is not None:
            self._root.save()
        self.close()
        return messages.Done()


def _listed(node: Node, nodes: Mapping[bytes, Node]) -> messages.Directory:
    table = node.table()
    below = []
    for name, mode in zip(table.names, table.modes):
        if mode & TYPE_MASK == stat.S_IFDIR:
            child = nodes.get(join(node.path, name))
            below.append(messages.Below(child.entries if child else 0, child.size if child else 0))
    own = node.attributes
    return messages.Directory(own.mode, own.mtime_ns, own.uid, own.gid, node.problem, table, below)


def _problem_of(node: Node) -> Problem:
    return Problem(node.path, f"cannot be read: {os.strerror(node.problem)}", False)


def _named(ids: Iterable[int], name_of: Callable[[int], bytes]) -> list[messages.IdName]:
    return [messages.IdName(number, name_of(number)) for number in sorted(ids)]


def _name_of_uid(number: int) -> bytes:
    try:
        return os.fsencode(pwd.getpwuid(number).pw_name)
    except (KeyError, OverflowError):
        return b""


def _name_of_gid(number: int) -> bytes:
    try:
        return os.fsencode(grp.getgrgid(number).gr_name)
    except (KeyError, OverflowError):
        return b""


def _uid_of_name(name: bytes) -> int:
    return pwd.getpwnam(os.fsdecode(name)).pw_uid


def _gid_of_name(name: bytes) -> int:
    return grp.getgrnam(os.fsdecode(name)).gr_gid


def _pairs(
    ids: Iterable[messages.IdName], number_of: Callable[[bytes], int]
) -> list[messages.IdPair]:
    """Ids that have another number here. As rsync does, root stays root, and a name that is not
    known here leaves the number as it is."""
    pairs = []
    for number, name in ids:
        if number == 0 or not name:
            continue
        try:
            here = number_of(name)
        except (KeyError, ValueError):
            continue
        if here != number:
            pairs.append(messages.IdPair(number, here))
    return pairs
