"""Several sources of one command, each with options of its own, brought over one after the other:
what is not there is one failure, and the others are brought over all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core.location import Location
from syncron_lib.core.options import FileList, Missing, RunOptions
from syncron_lib.core.parts import Part
from syncron_lib.core.report import Cause, Failure, Report
from syncron_lib.errors import Exit, SourceMissing, SyncronError
from syncron_lib.protocol.messages import RootKind
from syncron_lib.record import NamedTuple
from syncron_lib.session.conduct import with_pool
from syncron_lib.session.observer import Observer
from syncron_lib.session.pool import Pool
from syncron_lib.session.run import merged
from syncron_lib.transport.settings import ConnectOptions

if TYPE_CHECKING:
    from syncron_lib.session.keyholder import KeyHolder


class Given(NamedTuple):
    """A source. ``chosen``: what of it is brought over; None for all. ``into``: it goes into the
    destination under its own name; None: a directory does, and a file where a single file goes.
    ``trees``: directories are wanted; else they are skipped. ``excluded``: the options leave it out
    where it is a directory. ``kind``: the `RootKind` of what is there, if that is known: then a
    symlink is no directory."""

    source: Location
    options: RunOptions
    chosen: Optional[FileList] = None
    into: Optional[bool] = None
    trees: bool = True
    excluded: bool = False
    kind: Optional[int] = None

    @property
    def is_entry(self) -> bool:
        """Whether it is known to be no directory."""
        return self.kind in (RootKind.FILE, RootKind.OTHER)


def run_each(
    sources: Sequence[Given],
    destination: Location,
    connect: ConnectOptions,
    observer: Observer,
    *,
    begin: Callable[[Given], None],
    skip: Callable[[Given], None],
    key: KeyHolder | None = None,
) -> Report:
    """Bring each of ``sources`` into ``destination``. ``begin`` is called before each, ``skip``
    for each directory that is not wanted."""
    reports: list[Report] = []

    def work(pool: Pool) -> None:
        from syncron_lib.core.choosing import Why
        from syncron_lib.session.single import SingleRun
        from syncron_lib.session.unchanged import left_directory

        found = [_looked_at(pool, given, observer) for given in sources]
        missing = [each for each in found if each.kind == RootKind.MISSING]
        if missing and missing[0].options.rules.missing is Missing.IGNORE:
            missing = []
        if missing:
            reports.append(_missing(missing, destination, observer))
        for given in found:
            if given.kind == RootKind.MISSING or (
                given.excluded and given.kind in (None, RootKind.DIRECTORY)
            ):
                continue
            if given.kind == RootKind.DIRECTORY and not given.trees:
                skip(given)
                continue
            options = given.options
            if missing and not options.ignore_errors:
                # Nobody knows what of it is to stay.
                options = options._replace(delete=False)
            into = bool(given.into)
            if given.into is None:
                into = given.kind in (None, RootKind.DIRECTORY)
            begin(given._replace(into=into))
            if into and options.transfer.existing and _is_new(pool, given, destination, observer):
                observer.item(left_directory(b"", Why.NEW))
                continue
            part = Part(given.source, given.chosen, into, given.is_entry)
            one = SingleRun(part, destination, options, observer, pool)
            try:
                reports.append(one.run())
            except SourceMissing:
                reports.append(_missing([given], destination, observer))
            except SyncronError as error:
                error.report = merged([*reports, one.report], destination)  # type: ignore[attr-defined]
                raise

    options = sources[0].options
    with_pool(connect, options, (sources[0].source, destination), work, key)
    if not reports:
        return Report("", destination.shown(), dry_run=options.dry_run)
    return merged(reports, destination)


def _looked_at(pool: Pool, given: Given, observer: Observer) -> Given:
    """The same with what is there, where something depends on it."""
    if given.kind is not None or (given.into is False and given.trees):
        return given
    from syncron_lib.session.opening import kind_of

    return given._replace(kind=kind_of(pool, given.source, given.options, observer))


def _is_new(pool: Pool, given: Given, destination: Location, observer: Observer) -> bool:
    """Whether a directory would be made for a source."""
    from syncron_lib.session.opening import inside, kind_of

    if given.is_entry:
        return False
    place = inside(destination, given.source)
    return kind_of(pool, place, given.options, observer, 1) == RootKind.MISSING


def _missing(missing: Sequence[Given], destination: Location, observer: Observer) -> Report:
    report = Report("", destination.shown(), dry_run=missing[0].options.dry_run)
    report.exit_code = Exit.PARTIAL
    for given in missing:
        failure = Failure(given.source.path, "source", "does not exist", Cause.ERROR)
        report.failures.append(failure)
        observer.failure(failure)
    return report
