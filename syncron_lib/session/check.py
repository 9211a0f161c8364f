"""``--secure-check``: all that is sealed at another place, authenticated and written nowhere."""

from __future__ import annotations

import stat
from collections.abc import Mapping

from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import join, shown
from syncron_lib.core.options import RunOptions
from syncron_lib.core.report import Phase
from syncron_lib.endpoint.base import Endpoint, RawPack
from syncron_lib.errors import Exit, NotAuthentic
from syncron_lib.fs.seen import Seen, SeenFile
from syncron_lib.protocol import messages, pack
from syncron_lib.protocol.messages import Selected
from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.manifest import Entry, Manifest, hash_of
from syncron_lib.secure.naming import Naming, tops_of
from syncron_lib.secure.sealed import Feed
from syncron_lib.session.asking import Flight, batches, length_of_path, reply_of
from syncron_lib.session.conduct import with_pool
from syncron_lib.session.observer import Observer
from syncron_lib.session.opening import open_one
from syncron_lib.session.pool import Pool
from syncron_lib.session.secure import manifest_of
from syncron_lib.transport.settings import ConnectOptions

_ASKED = 6
"""Packs asked for ahead."""
_PATHS = 2000


class Checked(NamedTuple):
    """What came of it. ``problems``: a sentence each."""

    files: int
    size: int
    problems: list[str]
    exit_code: Exit


def check(
    location: Location,
    keyring: Keyring,
    options: RunOptions,
    connect: ConnectOptions,
    observer: Observer,
    environ: Mapping[str, str],
) -> Checked:
    """Read and authenticate all that is sealed in a tree. Raises `SyncronError`."""

    def work(pool: Pool) -> Checked:
        end, opened = open_one(pool, location, options, observer)
        path = shown(opened.path)
        where = path if isinstance(location, Local) else f"{location.account()}:{path}"
        content = manifest_of(end)
        manifest = Manifest.opened(content, keyring, where)
        problems = []
        seen = SeenFile(environ, keyring.root_id, where).read()
        now = Seen(manifest.counter, hash_of(content)) if content else Seen()
        forked = now.counter == seen.counter and now.hash != seen.hash
        if (now.counter < seen.counter or forked) and not options.secure.accept_rollback:
            problems.append(
                f"The manifest of {where} is not the newest that was seen: it has the number"
                f" {now.counter}, and there was {seen.counter}."
            )
        known = (*manifest.entries, *manifest.names)
        naming = Naming(keyring, manifest.names_key, known, tops_of(manifest))
        request = messages.Seal("sha256-128", True, True, False, False, (), (), False)
        reply_of(end.submit(request), messages.Sealed)
        accept = options.secure.accept_rollback
        end.names = naming
        one = _Check(end, keyring, naming, manifest.entries, where, observer, accept)
        one.run()
        reply_of(end.submit(messages.Close()), messages.Done)
        problems.extend(one.problems)
        code = Exit.PEER if one.is_bad or len(problems) > len(one.problems) else Exit.OK
        if code is Exit.OK and problems:
            code = Exit.PARTIAL
        return Checked(one.files, one.size, problems, code)

    return with_pool(connect, options, (location,), work)


class _Check:
    def __init__(
        self,
        end: Endpoint,
        keyring: Keyring,
        naming: Naming,
        entries: Mapping[bytes, Entry],
        where: str,
        observer: Observer,
        accept_old: bool,
    ) -> None:
        self._end = end
        self._keyring = keyring
        self._naming = naming
        self._entries = entries
        self._where = where
        self._observer = observer
        self._feed: Feed | None = None
        self._missing = {path for path, entry in entries.items() if not entry.deleted}
        self._accept_old = accept_old
        self._broken: set[bytes] = set()
        self.files = self.size = 0
        """Of those that are as they were sealed."""
        self.problems: list[str] = []

    @property
    def is_bad(self) -> bool:
        """Whether something is not as it was sealed."""
        return bool(self._broken)

    def run(self) -> None:
        paths = [path for path, entry in sorted(self._entries.items()) if not entry.deleted]
        flight = Flight(self._end)
        items = [Selected(path, False) for path in paths]
        for some in batches(items, _PATHS, length_of_path):
            flight.send(messages.Select(some, (), True), messages.Done)
        flight.settle()
        self._observer.phase(Phase.TRANSFER)
        asked = [self._end.submit(messages.Next()) for _ in range(_ASKED)]
        ended = False
        while asked:
            payload = reply_of(asked.pop(0), RawPack).payload
            content = pack.unpack_pack(payload)
            if isinstance(content, pack.End):
                ended = True
                continue
            if not ended:
                asked.append(self._end.submit(messages.Next()))
            named = self._naming.incoming(content)
            if named is not None:
                self._take(named)
            self._observer.progress(Phase.TRANSFER, self.size, None, self.size)
        for path in sorted(self._missing):
            if self._entries[path].generation:
                self.problems.append(f"{shown(path)} is missing, though its manifest has it.")

    def _take(self, content: pack.Pack) -> None:
        if isinstance(content, pack.Groups):
            for problem in content.problems:
                self.problems.append(f"{shown(problem.path)}: {problem.what}.")
                self._missing.discard(problem.path)
            at = 0
            body = memoryview(content.body)
            for group in content.groups:
                table = group.table
                for name, mode, size in zip(table.names, table.modes, table.sizes):
                    path = join(group.path, name)
                    if not stat.S_ISREG(mode):
                        self._broke(path, f"{shown(path)} should be a sealed file, and is none.")
                        continue
                    self._write(path, body[at : at + size])
                    at += size
                    self._end_of(path)
        elif isinstance(content, pack.Piece):
            self._write(content.path, content.body)
            if content.last:
                self._end_of(content.path)

    def _write(self, path: bytes, data: pack.Buffer) -> None:
        if path in self._broken:
            return
        if self._feed is None:
            self._feed = Feed(self._keyring, path, f"{shown(path)} at {self._where}")
        try:
            self._feed.write(data)
        except NotAuthentic as error:
            self._broke(path, error.message)

    def _broke(self, path: bytes, problem: str) -> None:
        self._missing.discard(path)
        self._broken.add(path)
        self.problems.append(problem)

    def _end_of(self, path: bytes) -> None:
        feed, self._feed = self._feed, None
        if feed is None or path in self._broken or path not in self._missing:
            return
        try:
            opener = feed.end()
        except NotAuthentic as error:
            self._broke(path, error.message)
            return
        entry, generation = self._entries[path], opener.meta.generation
        old = generation < entry.generation
        if (old or (generation == entry.generation and opener.salt != entry.salt)) and (
            not self._accept_old
        ):
            what = f"(generation {generation} of {entry.generation})"
            self._broke(path, f"{shown(path)} at {self._where} is an older version {what}.")
            return
        self._missing.discard(path)
        self.files += 1
        self.size += opener.meta.size
