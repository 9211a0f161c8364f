"""One root: opened, locked, scanned, sealed, remembered."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import shown
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.permission import Effect
from syncron_lib.core.rules import MERGED, RuleSet, Side
from syncron_lib.errors import FileFatal, StateUnusable
from syncron_lib.fs import hot, ids, ignorefiles, lock, seal
from syncron_lib.fs.changes import Change, changes
from syncron_lib.fs.chunklists import ChunkLists
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import FileHasher
from syncron_lib.fs.identity import file_system, identities, is_unmounted
from syncron_lib.fs.ignorefiles import IgnoreFile, IgnoreFiles
from syncron_lib.fs.reach import ANYWHERE, Place, Reach
from syncron_lib.fs.scan import OnProgress, Subject
from syncron_lib.fs.staging import is_staging
from syncron_lib.fs.state import NewerState, NoRoom, State, file_stem, state_directory
from syncron_lib.fs.tree import Tree, Unread, empty
from syncron_lib.fs.walk import Walk
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.extended import Reading
    from syncron_lib.fs.lens import Lens
    from syncron_lib.fs.links import Links
    from syncron_lib.fs.view import View


class Choice(NamedTuple):
    """What of a root a run is over; as in `protocol.messages.Open`."""

    only: Optional[bytes]
    alias: Optional[bytes]
    rules: RuleOptions
    trust_state: bool
    reading: bool
    """The root is a source."""
    lens: Optional[Lens] = None
    """How its entries are shown, where that is not as they are."""
    replica: bool = False
    """It is one of several that are kept the same, and both read and written."""


class Unsaved(NamedTuple):
    """That what is known could not be kept, for people. ``grave``: it will not be next time either,
    unless somebody does something about it."""

    text: str
    grave: bool


class Root:
    """An open root. A missing destination is open too, and empty."""

    def __init__(
        self,
        place: Place,
        choice: Choice,
        environment: Mapping[str, str],
        reach: Reach = ANYWHERE,
    ) -> None:
        self.path = place.path
        self._reach = reach
        self.choice = choice
        self.missing = place.kind == 0
        self.may_share: Callable[[], bool] = lambda: True
        """Whether a second process may help to scan from now on."""
        self.not_there: Sequence[tuple[bytes, str]] = ()
        """What the list that the run is over names, and the scan has not found, and why."""
        self.implied: set[bytes] = set()
        """Directories whose own attributes do not count."""
        self.hot: Optional[Sequence[bytes]] = None  # what alone a scan looks at, if anything is
        self.prunes = False
        """Directories without anything but directories in them are no part of the tree."""
        self.view: Optional[View] = None
        """What sees some files of it sealed."""
        self.sealed_before = b""
        """Paths, joined by NUL, of files whose remembered digests are of what is sealed."""
        self.renamed = False
        """Whether remembered rows went with renamed directories."""
        self.stem = b""
        """Path, without ending, of what is kept of this root; empty where nothing can be."""
        self.state = self._open_state(environment)
        side = Side.SENDER if choice.reading else Side.BOTH
        self.rules = RuleSet.compile(choice.rules, side, place.path)
        self.directories: Optional[Directories] = None
        if not self.missing:
            self._open()
        self.tree = Tree()
        self.chunk_lists = ChunkLists()
        self.ignore_files: Sequence[IgnoreFile] = ()
        self.users: set[int] = set()
        self.groups: set[int] = set()
        self._gone: list[bytes] = []
        self._profile_key = b""
        self.profile: Optional[Profile] = None
        self._links: Optional[Links] = None
        self._extended: Optional[Reading] = None
        self._same_profile = False
        """The digests of the state are of the profile that the root is sealed for."""
        self.unmounted = False
        if self.state is not None and not choice.reading:
            self.unmounted = is_unmounted(self.path, self.root_fd, self.state)

    def _open_state(self, environment: Mapping[str, str]) -> Optional[State]:
        choice = self.choice
        state: Optional[State] = None
        try:
            directory = state_directory(environment)
            # What is known of a part of a tree is kept beside what is known of the whole, and so
            # is what is known of it as it is shown by options.
            scope = choice.only or (b"/" if choice.rules.chosen is not None else b"")
            if choice.lens is not None and choice.lens.key_for(choice.reading):
                scope = b"/" + choice.lens.key + scope
            if choice.replica:  # whose digests are by one algorithm for ever
                scope = b"//"
            self.stem = os.path.join(directory, file_stem(self.path, scope))
            # A run over a single file is quicker without: one file is hashed, no tree is.
            if choice.only is None:
                state = State(self.stem + b".db")
        except NewerState:
            raise
        except StateUnusable as error:
            if self._reach.may and not isinstance(error, NoRoom):
                raise
            # Where all is read-only, an account may have no place for it.
            if choice.only is None:
                state = State(None, error.message)
        return state

    def _open(self) -> None:
        try:
            fd = self._reach.open(self.path)
            self.directories = Directories(fd, alters=Effect.CHANGE in self._reach.may)
            if self.choice.lens is not None:
                self.choice.lens.put_before(self.directories)
        except OSError as error:
            raise FileFatal(
                f"The root {shown(self.path)} cannot be opened ({error.strerror});"
                " check its permissions."
            ) from None

    def lock(self, holder: str, alone: bool, wait: float, on_wait: Callable[[], None]) -> None:
        """Take the lock; see `fs.lock`. A missing root is locked once it is made."""
        if self.directories is not None:
            note = self.stem + b".holder" if self.stem else os.fsencode(os.devnull)
            lock.acquire(self.directories.root_fd, self.path, note, holder, alone, wait, on_wait)

    def create(self, parents: bool) -> None:
        """Make a missing destination: 0700 until the end of the run gives it its mode, which it
        does not where a single file goes into it."""
        try:
            self._reach.create(self.path, parents, 0o700 if self.whole else 0o777)
        except OSError as error:
            raise FileFatal(
                f"The destination {shown(self.path)} cannot be made ({error.strerror});"
                " check the directory above it."
            ) from None
        self._open()
        self.missing = False

    @property
    def root_fd(self) -> Optional[int]:
        """Descriptor of the root directory; None where it is missing."""
        return None if self.directories is None else self.directories.root_fd

    def identities(self) -> tuple[bytes, list[bytes]]:
        """As `identities` gives them."""
        return identities(self.path, self.root_fd)

    @property
    def whole(self) -> bool:
        """Whether the run is over the whole root, whose own attributes then belong to it."""
        return self.choice.only is None

    def real_name(self, path: bytes) -> bytes:
        """The name on disk of an entry of the tree (its last component)."""
        name = path[path.rfind(b"/") + 1 :]
        return self.choice.only or name if name == path and self.choice.alias else name

    # --- scanning -----------------------------------------------------------------------------

    def scan(self, given: Optional[Sequence[IgnoreFile]], on_progress: OnProgress) -> None:
        """Scan the tree. ``given``: the source's ignore files, for a destination."""
        self._gone = []
        self._links = self._extended = None
        self.sealed_before = b"" if self.state is None else self.state.get("sealed")
        self.renamed = False
        # What the nodes take over is for the profile of the state, not of an earlier seal.
        self._profile_key = b""
        if self.directories is None:
            self.tree = empty()
            self.ignore_files = given or ()
            return
        remembered = () if self.state is None else self._remembered("ignore_files")
        reader = IgnoreFiles(remembered)
        files = None if given is None else ignorefiles.by_directory(given)
        if files is None:
            above = ignorefiles.read_above(reader, self._reach, self.path, self.rules.merges)
        else:
            here = files.get(b"", {})
            above = {key: here[key] for key in here if key.startswith(MERGED) and b"/" in key}
        rules = self.rules.with_above(above) if above else self.rules
        chosen, there = self.choice.rules.chosen, b""
        if chosen is not None:
            from syncron_lib.fs import filelist

            there, self.not_there = filelist.divided(chosen.paths, self.directories)
            rules = rules.over(chosen._replace(paths=there))
        if self.hot is None:
            looked_at = None if files else self._changed(on_progress)
        else:
            looked_at = hot.looked_at(self.hot)
        subject = Subject(
            self.directories,
            rules,
            self.choice.rules.one_file_system,
            self.choice.only,
            self.choice.alias,
            files,
            looked_at,
            looked_at is not None and self._may_leave_unread(),
        )
        try:
            walk = Walk(subject, self.state, reader, on_progress, self.may_share)
            self.tree = walk.tree()
            self.tree.hot = self.hot is not None
            self.renamed = walk.renamed
        except OSError as error:
            raise FileFatal(
                f"The root {shown(self.path)} cannot be read ({error.strerror});"
                " check its permissions."
            ) from None
        if chosen is not None:
            from syncron_lib.core.rules.chosen import on_the_way

            # What is listed may be left out by the rules: then nothing leads to it.
            self.tree.prune(on_the_way(there.split(b"\0") if there else ()))
        if self.prunes:
            self.tree.prune()
        self._gone = walk.vanished
        if self.sealed_before and self.view is None:
            self._forget_sealed()
        own = self.tree.root.attributes
        self.users = walk.users | {own.uid}
        self.groups = walk.groups | {own.gid}
        if isinstance(self.tree.nodes, Unread):
            users, groups = self._owners() or (set(), set())
            self.users, self.groups = self.users | users, self.groups | groups
        self.ignore_files = reader.found if given is None else given
        if not self.choice.trust_state:
            seal.forget_digests(self.tree)

    def _changed(self, on_progress: OnProgress) -> Optional[frozenset[bytes]]:
        """The directories that are not as the state has them; None where a scan tells as soon."""
        choice, directories, state = self.choice, self.directories, self.state
        own = choice.reading, None, choice.replica
        plain = choice == Choice(None, None, RuleOptions(), True, *own)
        if not plain or state is None or directories is None or directories.entered:
            return None
        if not self._may_leave_unread():
            return None
        try:
            marks = state.marks()
        except sqlite3.DatabaseError:
            return None  # The scan comes to what is damaged.
        if not marks:
            return None
        from syncron_lib.fs.survey import Survey

        return Survey(directories, marks, on_progress, self.may_share).changed()

    def _may_leave_unread(self) -> bool:
        """Whether a run need not read all that it believes: not where all is asked for in any
        case, or where who owns what is not known without."""
        choice = self.choice
        asked = self.sealed_before or self.prunes or not choice.trust_state
        # A replica notes what was left out, and rules may leave out what a hot run does not read.
        asked = asked or (choice.replica and self.hot is not None)
        known = not choice.reading or self._owners() is not None
        return not asked and known and choice.rules.chosen is None

    def _owners(self) -> Optional[tuple[set[int], set[int]]]:
        """The users and groups of the tree at the last run."""
        return None if self.state is None else ids.unpacked_owners(self.state.get("owners"))

    def _forget_sealed(self) -> None:
        """Forget the digests of what another run saw sealed, and this one does not."""
        from syncron_lib.fs.view import forget

        if self.renamed:
            seal.forget_digests(self.tree)
        forget(self, self.sealed_before.split(b"\0"))

    def changes(self) -> tuple[bytes, Optional[list[Change]]]:
        """What changed since this root was remembered under the profile that it is sealed for:
        (the remembered digest of the top directory, what is another). None, and no digest, where
        nothing is remembered that could be compared with the other side's."""
        state = self.state
        if state is None or self.missing or not (self._same_profile and self.choice.trust_state):
            return digest.UNKNOWN, None
        try:
            row = state.row(b"")
        except sqlite3.DatabaseError:
            return digest.UNKNOWN, None
        if row is None or row.merkle == digest.UNKNOWN:
            return digest.UNKNOWN, None
        return row.merkle, changes(self.tree, state)

    @property
    def staging(self) -> bool:
        """Whether an interrupted run may have left something here."""
        return self.directories is not None and is_staging(self.directories.root_fd)

    def remembered_source_files(self) -> Sequence[IgnoreFile]:
        """The ignore files that the source had at the last run into this root."""
        return () if self.state is None else self._remembered("source_ignore_files")

    def _remembered(self, key: str) -> Sequence[IgnoreFile]:
        return ignorefiles.unpack(self.state.get(key)) if self.state is not None else ()

    def seal(self, algorithm: digest.Algorithm, profile: Profile) -> bytes:
        """Compute the Merkle digests; the root's, or `digest.UNKNOWN`."""
        key = algorithm.name.encode() + b" " + profile.key()
        if self._profile_key != key:
            remembered = b"" if self.state is None else self.state.get("profile")
            self._same_profile = remembered == key
            before = self._profile_key or remembered
            if before.split(b" ")[0] != algorithm.name.encode():
                seal.forget_digests(self.tree)
            elif before != key:
                seal.forget_merkle(self.tree)
            self._profile_key = key
        self.profile = profile
        links = self.links
        if links is not None:
            links.spread(self.tree)
        beside = self._beside(algorithm, profile)
        return seal.seal(self.tree, algorithm, profile, self.whole, beside)

    def _beside(
        self, algorithm: digest.Algorithm, profile: Profile, extras: Sequence[bytes] = ()
    ) -> bytes:
        """What the root covers that no directory's digest does."""
        links = b"" if self.links is None else self.links.digest(algorithm, extras)
        if not profile.extended:
            return links
        from syncron_lib.core.extended import marks_digest

        extended = self.extended()
        marks = {} if extended is None else extended.marks(profile)
        return links + marks_digest(algorithm, marks, extras, self.implied)

    def extended(self) -> Optional[Reading]:
        """Extended attributes and ACLs of all entries; None where the root is missing."""
        if self._extended is None and self.directories is not None:
            from syncron_lib.fs.extended import Reading

            names = self.real_name, self.choice.rules.patterns
            self._extended = Reading(self.tree, self.directories, self.whole, *names)
        return self._extended

    def hasher(
        self, algorithm: digest.Algorithm, on_bytes: Callable[[int], None]
    ) -> Optional[FileHasher]:
        """What reads files of this root to know their digests; None where it is missing."""
        if self.directories is None:
            return None
        hasher = FileHasher(self.tree, self.directories, algorithm, on_bytes, self.real_name)
        hasher.links, hasher.view = self.links, self.view
        return hasher

    def seal_without(
        self,
        algorithm: digest.Algorithm,
        profile: Profile,
        extras: Sequence[bytes],
        any_times: bool = False,
        by_size: bool = False,
    ) -> bytes:
        """The root's digest as it would be without the entries at ``extras``; see
        `seal.seal_without`."""
        how = self._beside(algorithm, profile, extras), any_times, by_size, self.implied
        return seal.seal_without(self.tree, algorithm, profile, self.whole, extras, *how)

    @property
    def links(self) -> Optional[Links]:
        """The hard-link groups; None where they do not count."""
        if self.profile is None or not self.profile.hard_links:
            return None
        if self._links is None:
            from syncron_lib.fs.links import Links

            known = self.directories
            self._links = Links([]) if known is None else Links.of(self.tree, known)
        return self._links

    def altered(self) -> None:
        """Names, extended attributes and ACLs are others by now."""
        self._links = self._extended = None

    def remembered_ids(self) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """How users and groups of this source were numbered at the receiver of the last run."""
        data = b"" if self.state is None else self.state.get("ids")
        return ids.unpacked(data)

    # --- remembering --------------------------------------------------------------------------

    def save(self, gone: Sequence[bytes] = (), durable: bool = False) -> Optional[Unsaved]:
        """Keep what is known for the next run, ``durable``: on the disk; what to tell where that
        failed."""
        state = self.state
        if state is None or self.directories is None:
            return None
        if state.unkept and not self._reach.may:
            return None
        key = "ignore_files" if self.choice.reading else "source_ignore_files"
        values = {
            "profile": self._profile_key,
            "root": self.path,
            "file_system": file_system(self.directories.root_fd),
            "entries": b"%d" % self.tree.root.entries,
            key: ignorefiles.pack(self.ignore_files),
        }
        values["owners"] = b""  # who writes to a root does not count whose things come into it
        if self.choice.reading:
            if self.profile is not None:
                values["ids"] = ids.packed(self.profile)
            values["owners"] = ids.packed_owners(self.users, self.groups)
            values.update(hot.more(self.tree, state))
        if self.view is not None:
            values.update(self.view.remembered())
        elif self.sealed_before:
            values["sealed"] = b""
        gone = (*self._gone, *gone)
        try:
            if state.damaged:
                self.tree.complete()  # as far as it can be read
                state.reset()
            try:
                self._save(state, gone, values, durable)
            except sqlite3.DatabaseError:
                if not state.emptied:
                    raise
                self._save(state, gone, values, durable)
        except (sqlite3.Error, StateUnusable) as error:
            where = shown(os.path.dirname(self.stem)) or "the state directory"
            return Unsaved(
                f"The state of {shown(self.path)} could not be saved ({str(error).rstrip('.')});"
                f" see that {where} has room. The files are right, and the next run will read more"
                " than it need.",
                grave=bool(self._reach.may) and "locked" not in str(error),  # who holds it saves it
            )
        self._gone = []
        return None

    def _save(
        self, state: State, gone: Sequence[bytes], values: Mapping[str, bytes], durable: bool
    ) -> None:
        if state.emptied:
            for node in self.tree.nodes.values():
                node.stored = False
            state.emptied = False
        rows, chunks = seal.rows_to_keep(self.tree), self.chunk_lists.rows(state, self.tree)
        state.save(rows, gone, values, chunks, durable)

    def close(self) -> None:
        """Let go of everything, the lock included."""
        if self.directories is not None:
            self.directories.close()
            with contextlib.suppress(OSError):
                os.close(self.directories.root_fd)
            self.directories = None
        if self.state is not None:
            self.state.close()
            self.state = None
