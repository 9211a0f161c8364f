"""Content from one side of a run in both directions to another, or to this process."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from syncron_lib.core import digest
from syncron_lib.core.location import Local
from syncron_lib.core.names import split
from syncron_lib.core.options import RuleOptions, RunOptions
from syncron_lib.core.plan import Create, Plan
from syncron_lib.core.report import Failure, Phase
from syncron_lib.core.twoway.merging import MOST, Merged
from syncron_lib.core.twoway.records import Record
from syncron_lib.protocol import messages
from syncron_lib.session.asking import reply_of
from syncron_lib.session.compression import Compression, choose_way
from syncron_lib.session.delta import choose
from syncron_lib.session.observer import Observer
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
    both_here = isinstance(source.location, Local) and isinstance(destination.location, Local)
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
    observer: Observer,
    on_failure: Callable[[Failure], None],
    begun: tuple[messages.Arrived, ...] | None = None,
) -> Transfer:
    """Carry out a plan, all but the end."""

    def on_progress(done: int) -> None:
        observer.progress(Phase.TRANSFER, done, plan.size, done)

    moving = transfer_between(source, destination, options, on_failure, on_progress)
    if not plan.is_empty or begun:
        staging = destination.staging
        moving.run(plan, messages.Begin((), ()), lambda: None, staging=staging, begun=begun)
        moving.settle()
    return moving


class Scratch:
    """Private temporary directories that take part in a run: what is looked at on this machine is
    fetched into one, and what was made on it is sent from one."""

    def __init__(self, options: RunOptions, observer: Observer) -> None:
        self._options = options._replace(rules=RuleOptions(), dry_run=False, fsync=False)
        self._observer = observer
        self._top = b""
        self._count = 0
        self._last: tuple[object, tuple[bytes | None, bytes | None]] | None = None

    def directory(self) -> bytes:
        """A new one, that nobody else may enter."""
        if not self._top:
            self._top = os.fsencode(tempfile.mkdtemp(prefix="syncron-"))
        self._count += 1
        path = os.path.join(self._top, b"%d" % self._count)
        os.mkdir(path, 0o700)
        return path

    def _end(self, path: bytes) -> End:
        from syncron_lib.endpoint.local import LocalEndpoint

        # What is remembered of it goes with it.
        environment = {**os.environ, "XDG_STATE_HOME": os.fsdecode(self._top + b"/state")}
        endpoint = LocalEndpoint(environment, 0o077, lambda _: None)
        end = End(Local(path), cast("RemoteEndpoint", endpoint))
        end.ask(self._options)
        reply_of(end.asked[0], messages.Opened)
        end.scanned()
        end.sealed()
        return end

    def fetch(self, end: End, records: Mapping[bytes, Record]) -> dict[bytes, bytes]:
        """The contents of files as their records say, by path; without those that are not so any
        more, or cannot be had."""
        top = self.directory()
        try:
            for parent in {split(path)[0] for path in records}:
                os.makedirs(os.path.join(top, parent), 0o700, exist_ok=True)
            place = self._end(top)
            try:
                plan = Plan(creates=[_create(path, record) for path, record in records.items()])
                transfer(end, place, plan, self._options, self._observer, lambda _: None)
                reply_of(place.endpoint.submit(messages.Finish((), True)), messages.Finished)
            finally:
                place.endpoint.close()
            found = {}
            for path, record in records.items():
                content = read_bounded(os.path.join(top, path))
                if content is not None and fingerprint_of(content) == record.fp:
                    found[path] = content
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
