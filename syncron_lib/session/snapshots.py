"""Dated snapshots of a source: one run into ``incomplete``, linked to the last, then named."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from syncron_lib.core import retention
from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import join
from syncron_lib.core.options import Alternates, RunOptions, Use
from syncron_lib.core.parts import Part
from syncron_lib.core.report import Report
from syncron_lib.core.retention import INCOMPLETE, Retention
from syncron_lib.errors import Exit, GuardRefused, RootError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import RootKind
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import reply_of
from syncron_lib.session.conduct import with_pool
from syncron_lib.session.observer import Observer
from syncron_lib.session.pool import Pool
from syncron_lib.transport.settings import ConnectOptions

if TYPE_CHECKING:
    from syncron_lib.session.keyholder import KeyHolder

_KEPT = (Exit.OK, Exit.PARTIAL, Exit.VANISHED)
"""What leaves a snapshot that is worth its name: all that could be read is in it."""


class Listed(NamedTuple):
    """One snapshot, and what the run that made it said; empty where that is lost."""

    name: str
    note: dict[str, Any]


def run_snapshot(
    source: Location,
    destination: Location,
    options: RunOptions,
    connect: ConnectOptions,
    observer: Observer,
    wanted: str,
    keep: Retention | None,
    key: KeyHolder | None = None,
) -> Report:
    """Make a snapshot called ``wanted``, or a little later where that is taken, and then drop
    what ``keep`` does not keep. Raises as `run.run_many` does."""
    place = destination._replace(path=join(destination.path.rstrip(b"/") or b"/", INCOMPLETE))

    def work(pool: Pool) -> Report:
        from syncron_lib.session.single import SingleRun

        there = _ask(pool, destination, messages.GetSnapshots(_path(destination)))
        _require_usable(there, destination, options)
        names = [item.name for item in there.items]
        secure = options.secure._replace(excluded_by="--snapshot")
        chosen = options._replace(delete=True, secure=secure)
        if options.scratch is not None:  # relative to what the user named
            chosen = chosen._replace(scratch=os.path.join(b"..", options.scratch))
        if names:
            last = Alternates("--snapshot", (b"../" + names[-1],), Use.LINK)
            chosen = chosen._replace(alternates=last)
        elif there.kind == RootKind.MISSING:
            chosen = chosen._replace(mkpath=True)
        report = SingleRun(Part(source), place, chosen, observer, pool).run()
        if options.dry_run or report.exit_code not in _KEPT:
            return report
        if not report.source_entries and names and not options.allow_empty_source:
            raise GuardRefused(
                f"The source {source.shown()} is empty, and earlier snapshots are not: no snapshot"
                " was made of it. If that is right, say --allow-empty-source."
            )
        return _named(pool, destination, report, wanted, names, options, keep, observer)

    return with_pool(connect, options, (source, destination), work, key)


def _named(
    pool: Pool,
    destination: Location,
    report: Report,
    wanted: str,
    names: list[bytes],
    options: RunOptions,
    keep: Retention | None,
    observer: Observer,
) -> Report:
    name = retention.free_name(wanted.encode("ascii"), names)
    if name is None:
        raise GuardRefused("There are snapshots of every second of this minute; try again.")
    path = _path(destination)
    note = json.dumps(_note(report)).encode()
    there = _ask(pool, destination, messages.KeepSnapshot(path, name, note, options.fsync))
    if keep is not None and report.exit_code == Exit.OK:
        dropped = keep.dropped(item.name for item in there.items)
        if dropped:
            there = _ask(pool, destination, messages.DropSnapshots(path, dropped))
            observer.remark(f"dropped {len(dropped)} of {len(names) + 1} snapshots")
            for problem in there.problems:
                text = f"A snapshot could not be removed: {problem}"
                report.warnings.append(text)
                observer.warning(text)
    report.destination = destination._replace(path=join(destination.path, name)).shown()
    return report


def _note(report: Report) -> dict[str, Any]:
    return {
        "root": report.destination_root,
        "algorithm": report.algorithm,
        "entries": report.source_entries,
        "size": report.source_bytes,
        "new": report.created + report.changed + report.copied,
        "new_bytes": report.bytes_transferred,
        "exit_code": int(report.exit_code),
    }


def list_snapshots(
    location: Location, options: RunOptions, connect: ConnectOptions
) -> list[Listed]:
    """The snapshots in a directory, the oldest first. Raises `RootError` where there is none."""

    def work(pool: Pool) -> list[Listed]:
        there = _ask(pool, location, messages.GetSnapshots(_path(location)), side=0)
        if there.kind != RootKind.DIRECTORY:
            raise RootError(f"{location.shown()} is no directory that could hold snapshots.")
        return [Listed(item.name.decode("ascii"), _read(item.note)) for item in there.items]

    return with_pool(connect, options, (location,), work)


def _read(note: bytes) -> dict[str, Any]:
    """A note, as far as it is one of ours: it comes from the other side."""
    try:
        found = json.loads(note)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    numbers = ("entries", "size", "new", "new_bytes", "exit_code")
    kept = {key: found[key] for key in numbers if isinstance(found.get(key), int)}
    texts = ("root", "algorithm")
    return {**kept, **{key: found[key] for key in texts if isinstance(found.get(key), str)}}


def _require_usable(there: messages.Snapshots, destination: Location, options: RunOptions) -> None:
    if there.kind not in (RootKind.DIRECTORY, RootKind.MISSING):
        raise RootError(
            f"The destination {destination.shown()} is not a directory, so that it cannot hold"
            " snapshots. Nothing was changed; name a directory."
        )
    if there.parent_missing and not options.mkpath:
        raise RootError(
            f"The destination {destination.shown()} cannot be made, because the directory above it"
            " does not exist. Nothing was changed; make it, or say --mkpath."
        )
    if there.unmounted and not options.allow_unmounted:
        raise GuardRefused(
            f"{destination.shown()} held snapshots on another file system at the last run, and"
            " holds none now: it seems not to be mounted. Nothing was changed; mount it, or say"
            " --allow-unmounted."
        )


def _path(location: Location) -> bytes:
    return (
        os.path.join(os.getcwdb(), location.path) if isinstance(location, Local) else location.path
    )


def _ask(pool: Pool, location: Location, request: Any, side: int = 1) -> messages.Snapshots:
    return reply_of(pool.endpoint(location, side).submit(request), messages.Snapshots)
