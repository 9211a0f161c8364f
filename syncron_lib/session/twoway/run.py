"""Two replicas made the same, or several, in as few runs between two as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Optional

from syncron_lib.core.location import Local, Location
from syncron_lib.core.options import RunOptions
from syncron_lib.core.report import Cause, Report
from syncron_lib.core.twoway.reconcile import Policy
from syncron_lib.core.twoway.records import Record
from syncron_lib.errors import Exit, SyncronError
from syncron_lib.session.conduct import with_pool
from syncron_lib.session.observer import Observer
from syncron_lib.session.pool import Pool
from syncron_lib.session.twoway.ends import End
from syncron_lib.session.twoway.exchange import Scratch
from syncron_lib.session.twoway.pair import PairRun
from syncron_lib.session.twoway.plans import ALGORITHM
from syncron_lib.session.twoway.policies import policy_of
from syncron_lib.transport.settings import ConnectOptions

if TYPE_CHECKING:
    from syncron_lib.secure.keys import Keyring
    from syncron_lib.session.keyholder import KeyHolder

Versions = Callable[[bytes, Record, Record], tuple[Optional[bytes], Optional[bytes]]]
"""Both contents of a path; None of what is no file, is too large, or cannot be had."""
Asking = Callable[[str, str, Versions], Policy]


def synchronise(
    locations: Sequence[Location],
    options: RunOptions,
    connect: ConnectOptions,
    observer: Observer,
    key: KeyHolder | None = None,
    asking: Asking | None = None,
) -> Report:
    """Bring what changed on any of the replicas to all others. ``asking``: makes the policy of two
    replicas, by what they are called and with what fetches versions, if a person is asked. Raises
    `SyncronError` for what ends the run, with the report so far as its ``report``."""
    report = Report(
        locations[0].shown(),
        " ".join(location.shown() for location in locations[1:]),
        dry_run=options.dry_run,
    )
    report.algorithm = ALGORITHM
    began = time.monotonic()

    def work(pool: Pool) -> None:
        try:
            _synchronise(pool, locations, options, observer, report, asking)
        except SyncronError as error:
            error.report = report  # type: ignore[attr-defined]
            raise
        finally:
            report.duration = time.monotonic() - began
            report.bytes_sent, report.bytes_received = pool.bytes_on_the_wire()

    with_pool(connect, options, locations, work, key)
    _decide_exit(report)
    return report


def _synchronise(
    pool: Pool,
    locations: Sequence[Location],
    options: RunOptions,
    observer: Observer,
    report: Report,
    asking: Asking | None,
) -> None:
    """One replica meets each of the others: so it has everything in the end, and those that it met
    before that meet it once more. It is the first, or the first that has the key, without which
    nobody else can tell what may be believed."""

    def met(number: int) -> bool:
        both = []
        for side in sorted((middle, number)):
            end = End(locations[side], partial(pool.endpoint, locations[side], side))
            end.guarded = pool.key is not None and end.is_local
            end.keyed = side in keyed
            both.append(end)
        return _met(both[0], both[1], options, observer, report, asking, keyring)

    key = pool.key
    keyring = None if key is None else key.keyring
    here = [side for side, location in enumerate(locations) if isinstance(location, Local)]
    keyed = set() if key is None or keyring is None else set(here) - key.carried
    middle = min(keyed, default=0)
    others = [number for number in range(len(locations)) if number != middle]
    wrote = [met(number) for number in others]
    if options.dry_run:
        return
    for index, number in enumerate(others[:-1]):
        if any(wrote[index + 1 :]):
            met(number)


def _met(
    one: End,
    other: End,
    options: RunOptions,
    observer: Observer,
    report: Report,
    asking: Asking | None,
    keyring: Callable[[], Keyring] | None,
) -> bool:
    """Make two the same; whether anything was done to a tree."""
    policy = policy_of(options.conflicts)
    scratch = Scratch(options)
    merger = None
    try:
        if asking is not None and not options.dry_run:
            policy = asking(one.shown, other.shown, partial(scratch.versions, (one, other)))
        if options.merges and not options.dry_run:
            from syncron_lib.session.twoway.merging import Merger

            merger = Merger((one, other), options, policy, scratch, observer)
        run = PairRun(one, other, options, policy, observer, report, merger, scratch, keyring)
        run.run()
        return run.written
    finally:
        if merger is not None:
            merger.close()
        scratch.close()


def _decide_exit(report: Report) -> None:
    if report.unsaved:
        report.exit_code = Exit.FILE_FATAL
    elif any(failure.cause is Cause.ERROR for failure in report.failures):
        report.exit_code = Exit.PARTIAL
    elif report.failures and report.exit_code == Exit.OK:
        report.exit_code = Exit.VANISHED
