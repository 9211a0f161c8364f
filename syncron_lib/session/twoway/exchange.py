"""Content from one side of a run in both directions to another, or to this process."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from syncron_lib.core import digest
from syncron_lib.core.location import Local
from syncron_lib.core.names import join, split
from syncron_lib.core.options import RuleOptions, RunOptions
from syncron_lib.core.plan import Create, Plan
from syncron_lib.core.report import Failure
from syncron_lib.core.twoway.merging import MOST, Merged
from syncron_lib.core.twoway.records import Record
from syncron_lib.endpoint.base import Endpoint, RawPack
from syncron_lib.protocol import messages
from syncron_lib.protocol.pack import Delta, Groups, Pack, Piece, unpack_pack
from syncron_lib.session.asking import reply_of
from syncron_lib.session.compression import Compression, choose_way
from syncron_lib.session.delta import choose
from syncron_lib.session.transfer import Transfer
from syncron_lib.session.twoway.ends import End

if TYPE_CHECKING:
    from syncron_lib.endpoint.remote import RemoteEndpoint


def transfer_between(
    source: End,
    destination: End,
    options: RunOptions,
    on_failure: Callable[[Failure], None],
    on_progress: Callable[[int], None],
) -> Transfer:
    """What carries out plans for ``destination``."""
    both_here = source.is_local and destination.is_local
    hellos = source.endpoint.hello, destination.endpoint.hello
    abilities = hellos[0].compressions, hellos[1].compressions
    compression = choose_way(options, *abilities, both_here)
    whole = both_here if options.whole_file is None else options.whole_file

    def fail(failure: Failure) -> None:
        place = source if failure.side == "source" else destination
        on_failure(failure._replace(side=place.shown))

    return Transfer(
        source.endpoint,
        destination.endpoint,
        fail,
        on_progress,
        Compression(compression),
        choose(*hellos, not whole, False),
        reuse=destination.entries > 0,
    )


def transfer(
    source: End,
    destination: End,
    plan: Plan,
    options: RunOptions,
    on_failure: Callable[[Failure], None],
    on_progress: Callable[[int], None],
    begun: tuple[messages.Arrived, ...] | None = None,
) -> Transfer:
    """Carry out a plan, all but the end."""
    moving = transfer_between(source, destination, options, on_failure, on_progress)
    if not plan.is_empty or begun:
        staging = destination.staging
        moving.run(plan, messages.Begin((), ()), lambda: None, staging=staging, begun=begun)
        moving.settle()
    return moving


class Scratch:
    """Private temporary directories that take part in a run: what is looked at on this machine is
    fetched into one, and what was made on it is sent from one."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options._replace(rules=RuleOptions(), dry_run=False, fsync=False)
        self._top = b""
        self._count = 0
        self._last: tuple[object, tuple[bytes | None, bytes | None]] | None = None
        self.opens: Callable[[bytes, bytes], bytes] | None = None
        """What opens the content of a path that is sealed."""
        self.merged: dict[bytes, bytes] = {}
        """What was merged, by path."""

    def directory(self) -> bytes:
        """A new one, that nobody else may enter."""
        if not self._top:
            self._top = os.fsencode(tempfile.mkdtemp(prefix="syncron-"))
        self._count += 1
        path = os.path.join(self._top, b"%d" % self._count)
        os.mkdir(path, 0o700)
        return path

    def _end(self, path: bytes, sizes: Mapping[bytes, int] = MappingProxyType({})) -> End:
        from syncron_lib.endpoint.local import LocalEndpoint

        # What is remembered of it goes with it.
        environment = {**os.environ, "XDG_STATE_HOME": os.fsdecode(self._top + b"/state")}
        endpoint = _Bounded(LocalEndpoint(environment, 0o077, lambda _: None), sizes)
        end = End(Local(path), lambda: cast("RemoteEndpoint", endpoint))
        end.ask(self._options)
        end.ask_who()
        reply_of(end.asked[0], messages.Opened)
        end.scanned()
        end.sealed()
        return end

    def fetched(self, end: End, records: Mapping[bytes, Record]) -> bytes:
        """A directory with files as an end sends them; without those that cannot be had, and
        perhaps with some that are not as their records say any more."""
        top = self.directory()
        for parent in {split(path)[0] for path in records}:
            os.makedirs(os.path.join(top, parent), 0o700, exist_ok=True)
        place = self._end(top, {path: record.size for path, record in records.items()})
        try:
            plan = Plan(creates=[_create(path, record) for path, record in records.items()])
            transfer(end, place, plan, self._options, lambda _: None, lambda _: None)
            reply_of(place.endpoint.submit(messages.Finish((), True)), messages.Finished)
        finally:
            place.endpoint.close()
        return top

    def fetch(self, end: End, records: Mapping[bytes, Record]) -> dict[bytes, bytes]:
        """The contents of files as their records say, by path, opened if they are sealed; without
        those that are not so any more, or cannot be had."""
        top = self.fetched(end, records)
        try:
            found = {}
            for path, record in records.items():
                content = read_bounded(os.path.join(top, path))
                if content is not None and fingerprint_of(content) == record.fp:
                    found[path] = self.opens(path, content) if self.opens else content
            return found
        finally:
            shutil.rmtree(top, ignore_errors=True)

    def versions(
        self, ends: tuple[End, End], path: bytes, first: Record, second: Record
    ) -> tuple[bytes | None, bytes | None]:
        """Both versions of a file, None of what is none, is too large, or cannot be had."""
        key = path, first.fp, second.fp
        if self._last is None or self._last[0] != key:
            one, other = (
                self.fetch(end, {path: record}).get(path)
                if record.is_file and record.size <= MOST
                else None
                for end, record in zip(ends, (first, second))
            )
            self._last = key, (one, other)
        return self._last[1]

    def source_of(self, top: bytes) -> End:
        """An end that has what is in a directory; to be closed."""
        return self._end(top)

    def source(self, contents: Mapping[bytes, tuple[bytes, Merged]]) -> End:
        """An end that has these files; to be closed."""
        top = self.directory()
        for path, (content, merged) in contents.items():
            place = os.path.join(top, path)
            os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
            write_private(place, content)
            os.utime(place, ns=(merged.mtime, merged.mtime))
        return self._end(top)

    def close(self) -> None:
        """Remove them all."""
        if self._top:
            shutil.rmtree(self._top, ignore_errors=True)
            self._top = b""


class _Bounded:
    """An endpoint that takes no file that is larger than it is to be, whatever the other side sends
    in its place."""

    def __init__(self, endpoint: Endpoint, sizes: Mapping[bytes, int]) -> None:
        self._endpoint = endpoint
        self._sizes = sizes

    @property
    def hello(self) -> messages.Hello:
        """As an `Endpoint`."""
        return self._endpoint.hello

    def submit(self, request: messages.Message | RawPack) -> Future[Any]:
        """The same, but for content that is too much: none of the pack is stored."""
        if isinstance(request, RawPack) and self._is_too_much(unpack_pack(request.payload)):
            stored: Future[Any] = Future()
            stored.set_result(messages.Stored(0, 0, (), ()))
            return stored
        return self._endpoint.submit(request)

    def _is_too_much(self, pack: Pack) -> bool:
        if isinstance(pack, (Piece, Delta)):
            return pack.size > self._sizes.get(pack.path, pack.size)
        return isinstance(pack, Groups) and any(
            size > self._sizes.get(join(group.path, name), size)
            for group in pack.groups
            for name, size in zip(group.table.names, group.table.sizes)
        )

    def close(self) -> None:
        """Let go of it."""
        self._endpoint.close()


def _create(path: bytes, record: Record) -> Create:
    return Create(path, record.mode, 1, record.size, None, 0, record.attributes, record.fp)


def fingerprint_of(content: bytes) -> bytes:
    """As in records."""
    return hashlib.sha256(content).digest()[: digest.SIZE]


def merged_of(content: bytes) -> Merged:
    """What was merged to this content, now."""
    return Merged(fingerprint_of(content), len(content), time.time_ns())


def read_bounded(path: bytes) -> bytes | None:
    """The content of a regular file that is not too large, or None."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(path, flags), "rb") as file:
            content = file.read(MOST + 1)
    except OSError:
        return None
    return content if len(content) <= MOST else None


def write_private(path: bytes, content: bytes) -> None:
    """A new file that nobody else may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
