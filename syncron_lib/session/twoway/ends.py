"""One side of a run in both directions: its endpoint, and what it tells of its replica."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import join, shown
from syncron_lib.core.options import RunOptions
from syncron_lib.core.role import Role
from syncron_lib.core.table import Malformed, Reader
from syncron_lib.core.twoway.dots import unpack_vector
from syncron_lib.core.twoway.identity import Known, Ticks, read_ticks
from syncron_lib.core.twoway.knowledge import (
    Knowledge,
    fresh,
    read_knowledge,
    read_untouched,
)
from syncron_lib.core.twoway.records import Record, unpack_records
from syncron_lib.core.twoway.roster import NOBODY, Roster, read_replicas, read_roster
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import Locked, PeerViolation, RootError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Opened, RootKind
from syncron_lib.session.asking import ignore_files, reply_of
from syncron_lib.session.holder import holder
from syncron_lib.session.twoway.plans import ALGORITHM, PROFILE

_PATHS_A_REQUEST = 2000
_MOST_KNOWN = 1 << 30
"""Bytes of knowledge or of one directory's records that a peer may send."""
_DEEPEST = 10_000


@dataclass
class End:
    """One replica of a run."""

    location: Location
    reach: Callable[[], RemoteEndpoint]
    """Waits for its endpoint."""
    asked: list[Future[Any]] = field(default_factory=list)
    knowledge: Knowledge = field(default_factory=fresh)
    ticks: Ticks = Ticks({})
    roster: Roster = NOBODY
    unseen: frozenset[bytes] = frozenset()
    observed: messages.Observed = messages.Observed(bytes(16), 0, bytes(16), 0)
    entries: int = 0
    size: int = 0
    staging: bool = False
    writes: bool = False
    """It was told to begin."""
    guarded: bool = False
    """What is to be sealed must not leave it in clear; see `fs.sealedreplica`."""
    keyed: bool = False
    """It sees its tree as it is sealed, by the key."""
    seals: bool = False
    """Something there is sealed, or on the other side."""
    kept: bytes | None = None
    """The manifest that this run has had it keep."""

    @cached_property
    def endpoint(self) -> RemoteEndpoint:
        """What is asked; connected by now."""
        return self.reach()

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return isinstance(self.location, Local)

    @property
    def shown(self) -> str:
        """For people."""
        return self.location.shown()

    @property
    def place(self) -> str:
        """The same, of an open one, however it was named."""
        path = shown(reply_of(self.asked[0], messages.Opened).path)
        return path if isinstance(self.location, Local) else f"{self.location.account()}:{path}"

    def opening(self, options: RunOptions) -> messages.Open:
        """What opens it."""
        path = self.location.path
        if self.is_local:
            path = os.path.join(os.getcwdb(), path)
        rules = options.rules
        return messages.Open(
            path,
            Role.REPLICA,
            None,
            None,
            rules.patterns,
            rules.gitignore,
            rules.one_file_system,
            True,
            not options.dry_run,
            False,
            int(options.lock_wait * 1000),
            holder(),
        )

    def ask(self, options: RunOptions) -> None:
        """Open and scan the root, on one processor until more is asked for."""
        self.writes, self.seals, self.kept = False, False, None
        requests = self.opening(options), messages.GetManifest(), messages.Scan(alone=True)
        self.asked = [self.endpoint.submit(request) for request in requests]

    def ask_who(self) -> None:
        """Seal it too, and hear who it is; both ends are connected."""
        guards = self.guarded and not self.keyed
        self.asked += [
            self.endpoint.submit(request)
            for request in (
                messages.Seal(
                    ALGORITHM,
                    PROFILE.permissions,
                    PROFILE.times,
                    PROFILE.owner,
                    PROFILE.group,
                    (),
                    (),
                    complete=True,
                    omit_dir_times=PROFILE.omit_dir_times,
                    omit_link_times=PROFILE.omit_link_times,
                ),
                messages.Introduce(),
                *([messages.UseManifest(self.shown, b"")] if guards else []),
            )
        ]

    def require(self, opened: Opened) -> None:
        """Raise where the root is none that can be synchronised."""
        if opened.kind == RootKind.MISSING:
            raise RootError(
                f"{self.shown} does not exist. Nothing was changed; if it is to be a new replica,"
                " make an empty directory, and if it is one, see where it is."
            )
        if opened.kind != RootKind.DIRECTORY:
            raise RootError(f"{self.shown} is no directory. Nothing was changed; name directories.")
        if opened.held:
            whose = "" if isinstance(self.location, Local) else f"{self.location.account()}: "
            raise Locked(whose + shown(opened.held.encode("utf-8", "replace")))
        self.staging = opened.staging

    def manifest(self) -> bytes:
        """Await what it keeps for those that have the key."""
        if self.kept is not None:
            return self.kept
        first = reply_of(self.asked[1], messages.Manifest)
        self.kept = first.content
        if first.more:
            from syncron_lib.session.secure import manifest_of

            self.kept = manifest_of(self.endpoint, first)
        return self.kept

    def scanned(self) -> messages.Scanned:
        """Await the scan."""
        scanned = reply_of(self.asked[2], messages.Scanned)
        self.entries, self.size = scanned.entries, scanned.size
        return scanned

    def sealed(self) -> messages.Sealed:
        """Await the digests of all files."""
        return reply_of(self.asked[3], messages.Sealed)

    def introduced(self) -> Known:
        """Await who it is."""
        said = reply_of(self.asked[4], messages.Introduced)
        for each in self.asked[5:]:
            reply_of(each, messages.Viewed)
        reader = Reader(said.known)
        with _understood():
            latest, ticks = unpack_vector(reader), read_ticks(reader)
            retired = read_replicas(reader)
            reader.finish()
        return Known(said.replica, said.counter, latest, ticks, retired)

    def ignore_files(self) -> dict[bytes, bytes]:
        """The ignore files that its scan has found, by path."""
        found = {}
        for part in ignore_files(self.endpoint):
            for file in part.files:
                name = file.name[1:] if file.name.startswith(b":") else file.name
                if name not in (b".git", b"mounts") and not name.startswith(b"../"):
                    found[join(file.directory, name)] = file.content
        return found

    def hear(self) -> None:
        """Ask for its knowledge."""
        data = bytearray()
        more = True
        while more:
            part = reply_of(
                self.endpoint.submit(messages.GetKnowledge(len(data))), messages.KnowledgePart
            )
            data += part.data
            more = part.more
            if len(data) > _MOST_KNOWN or (more and not part.data):
                raise PeerViolation(f"{self.shown} told of knowledge without an end.")
        reader = Reader(bytes(data))
        with _understood():
            self.knowledge, self.ticks = read_knowledge(reader), read_ticks(reader)
            self.unseen = read_untouched(reader).trees
            self.roster = read_roster(reader)
            reader.finish()

    def records(
        self, paths: Sequence[bytes]
    ) -> Iterator[tuple[dict[bytes, Record], dict[bytes, bytes]]]:
        """The records of these directories, each with the digests of those below; asked for now."""
        return self._records(paths, self._asked_for(paths, 0, 0) if paths else None)

    def _asked_for(self, paths: Sequence[bytes], position: int, begun: int) -> Future[Any]:
        some = paths[position : position + _PATHS_A_REQUEST]
        return self.endpoint.submit(messages.GetRecords(some, begun))

    def _records(
        self, paths: Sequence[bytes], waiting: Future[Any] | None
    ) -> Iterator[tuple[dict[bytes, Record], dict[bytes, bytes]]]:
        position = 0
        begun = bytearray()
        while position < len(paths):
            asked = paths[position : position + _PATHS_A_REQUEST]
            waiting = waiting or self._asked_for(paths, position, len(begun))
            part = reply_of(waiting, messages.RecordsPart)
            waiting = None
            if not part.directories or len(part.directories) > len(asked):
                raise PeerViolation(f"{self.shown} answered with other records than asked for.")
            for index, packed in enumerate(part.directories):
                begun += packed
                if part.more and index == len(part.directories) - 1:
                    if not packed or len(begun) > _MOST_KNOWN:
                        raise PeerViolation(f"{self.shown} told of records without an end.")
                    break
                with _understood():
                    yield unpack_records(bytes(begun))
                begun = bytearray()
                position += 1

    def close(self) -> None:
        """Let go of the root."""
        reply_of(self.endpoint.submit(messages.Close()), messages.Done)


class _understood:
    """What a peer has packed is what it must be."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, _trace: object) -> None:
        if isinstance(error, (Malformed, ValueError)):
            raise PeerViolation(f"The other side's records are malformed: {error}.") from None


def unsettled_ignore_files(first: End, second: End) -> frozenset[bytes]:
    """Ignore files that the two do not have alike."""
    if first.scanned().ignore_digest == second.scanned().ignore_digest:
        return frozenset()
    mine, theirs = first.ignore_files(), second.ignore_files()
    return frozenset(path for path in {*mine, *theirs} if mine.get(path) != theirs.get(path))


def differing(first: End, second: End) -> tuple[dict[bytes, Record], dict[bytes, Record]]:
    """The records of both sides, of all directories whose records are not the same."""
    found: tuple[dict[bytes, Record], dict[bytes, Record]] = {}, {}
    frontier: tuple[list[bytes], list[bytes]] = [b""], [b""]
    for _ in range(_DEEPEST):
        if not (frontier[0] or frontier[1]):
            return found
        below: list[dict[bytes, bytes]] = []
        both = [end.records(paths) for end, paths in zip((first, second), frontier)]
        for paths, answers, records in zip(frontier, both, found):
            inner: dict[bytes, bytes] = {}
            for path, (rows, digests) in zip(paths, answers):
                records.update((join(path, name), record) for name, record in rows.items())
                inner.update((join(path, name), value) for name, value in digests.items())
            below.append(inner)
        frontier = (
            [path for path, value in below[0].items() if below[1].get(path) != value],
            [path for path, value in below[1].items() if below[0].get(path) != value],
        )
    raise PeerViolation("The other side has directories in each other without an end.")
