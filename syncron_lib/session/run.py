"""What can be run: a copy, a comparison, a look at one root.

Little is imported here: connecting takes longest, so it is begun first, and the steps of a run
are imported while the other machine is waited for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from syncron_lib.core.location import Location
from syncron_lib.core.names import shown
from syncron_lib.core.options import Missing, RunOptions
from syncron_lib.core.parts import Part
from syncron_lib.core.report import Report
from syncron_lib.errors import Exit, SyncronError, UsageError
from syncron_lib.session.conduct import with_pool
from syncron_lib.session.observer import Observer
from syncron_lib.session.pool import Pool
from syncron_lib.transport.settings import ConnectOptions

if TYPE_CHECKING:
    from syncron_lib.session.keyholder import KeyHolder

__all__ = ["Observer", "hot", "merged", "root", "run", "run_many", "verify"]


def run(
    source: Location,
    destination: Location,
    options: RunOptions,
    connect: ConnectOptions,
    observer: Observer,
) -> Report:
    """Make ``destination`` like ``source``. Raises `SyncronError` for what ends the run, with the
    report so far as its ``report``."""
    return run_many([Part(source)], destination, options, connect, observer)


def run_many(
    parts: Sequence[Part],
    destination: Location,
    options: RunOptions,
    connect: ConnectOptions,
    observer: Observer,
    key: KeyHolder | None = None,
) -> Report:
    """Bring the parts of several sources into ``destination``, one after the other."""
    _require_names([part.source for part in parts if part.into])
    reports: list[Report] = []

    def work(pool: Pool) -> None:
        from syncron_lib.session.opening import require_all
        from syncron_lib.session.single import SingleRun

        there = list(parts)
        if options.rules.missing is not Missing.FAIL:
            from syncron_lib.session.missing import parts_there

            there = list(parts_there(pool, parts, options, observer))
        sources = [part.source for part in there if part.into]
        if sources:
            require_all(pool, sources, destination, options, observer)
        for part in there:
            one = SingleRun(part, destination, options, observer, pool)
            try:
                reports.append(one.run())
            except SyncronError as error:
                # What was brought over before it is done all the same.
                error.report = merged([*reports, one.report], destination)  # type: ignore[attr-defined]
                raise

    with_pool(connect, options, (parts[0].source, destination), work, key)
    if not reports:
        shown_sources = " ".join(part.source.shown() for part in parts)
        return Report(shown_sources, destination.shown(), dry_run=options.dry_run)
    return merged(reports, destination)


def _require_names(sources: Sequence[Location]) -> None:
    """Refuse sources that would share one place in the destination, or be in none."""
    taken: dict[bytes, Location] = {}
    for source in sources:
        name = os.path.basename(source.path.rstrip(b"/"))
        if name in (b"", b".", b"..", b"~"):
            raise UsageError(
                f"Several sources go into the destination under their own names, and"
                f" {source.shown()} has none; name the directory."
            )
        if name in taken:
            raise UsageError(
                f"The sources {taken[name].shown()} and {source.shown()} would both become"
                f" {shown(name)} in the destination; copy them to different ones."
            )
        taken[name] = source


def verify(
    part: Part,
    destination: Location,
    options: RunOptions,
    connect: ConnectOptions,
    observer: Observer,
    key: KeyHolder | None = None,
) -> Report:
    """Compare by content, reading every file on both sides; exit code 0, or 9 with the
    differences as items."""
    options = options._replace(verify=True, dry_run=True, itemize=True)
    # What a list does not name is no difference; nobody here knows one that is read there.
    options = options._replace(delete=part.chosen is None or not part.chosen.file)

    def work(pool: Pool) -> Report:
        from syncron_lib.session.single import SingleRun

        return SingleRun(part, destination, options, observer, pool).run()

    return with_pool(connect, options, (part.source, destination), work, key)


def hot(
    location: Location, options: RunOptions, connect: ConnectOptions, observer: Observer
) -> list[tuple[bytes, float]]:
    """The hot directories of a source: see `session.look.hot_in`."""

    def work(pool: Pool) -> list[tuple[bytes, float]]:
        from syncron_lib.session.look import hot_in

        return hot_in(pool, location, options, observer)

    return with_pool(connect, options, (location,), work)


def root(
    location: Location, options: RunOptions, connect: ConnectOptions, observer: Observer
) -> Report:
    """The Merkle root of a tree, as the source's; what is not known is read."""

    def work(pool: Pool) -> Report:
        from syncron_lib.session.look import root_of

        return root_of(pool, location, options, observer)

    return with_pool(connect, options, (location,), work)


def merged(reports: Sequence[Report], destination: Location) -> Report:
    """One report for several sources; roots are those of a single one only."""
    if len(reports) == 1:
        return reports[0]
    merged = Report(" ".join(report.source for report in reports), destination.shown())
    merged.algorithm = reports[0].algorithm
    for report in reports:
        merged.dry_run = report.dry_run
        for field in (
            "duration",
            "created",
            "changed",
            "moved",
            "linked",
            "copied",
            "deleted",
            "removed",
            "metadata",
            "unchanged",
            "source_entries",
            "source_bytes",
            "bytes_transferred",
            "bytes_matched",
            "bytes_scanned",
            "bytes_hashed",
            "conflicts",
        ):
            setattr(merged, field, getattr(merged, field) + getattr(report, field))
        kinds = zip_longest(merged.source_kinds, report.source_kinds, fillvalue=0)
        merged.source_kinds = [one + other for one, other in kinds]
        merged.places.extend(report.places)
        merged.failures.extend(report.failures)
        merged.warnings.extend(report.warnings)
        merged.unsaved.extend(report.unsaved)
        # Counted over all runs of the command by the pool they share.
        merged.bytes_sent = report.bytes_sent
        merged.bytes_received = report.bytes_received
    codes = [report.exit_code for report in reports]
    for code in (Exit.FILE_FATAL, Exit.PARTIAL, Exit.VANISHED):
        if code in codes:
            merged.exit_code = code
            break
    matches = [report.match for report in reports]
    merged.match = None if None in matches else all(matches)
    return merged
