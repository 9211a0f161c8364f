"""What a scan tells of a directory: which of its entries are other versions than the records say.

Pure. One event stands for all that a scan finds: dots are compared for one path only.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Optional

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.twoway.dots import Dot
from syncron_lib.core.twoway.records import NOTHING, Record, Records
from syncron_lib.record import NamedTuple


class Observed(NamedTuple):
    """A directory's records brought up to date. ``changed``: how many are others now; ``gone``:
    how many there are no more, of those in this directory."""

    records: dict[bytes, Record]
    changed: int
    gone: int


def observe(
    known: Records,
    seen: Mapping[bytes, Optional[Record]],
    unseen: Container[bytes],
    shown: Mapping[bytes, Attributes],
    event: Dot,
    first: bool,
) -> Observed:
    """The records of one directory. ``seen``: by name, entries as `records.seen` makes them with
    ``event``, None for one that could not be looked at. ``unseen``: names that were left out.
    ``shown``: permissions and times that the disk shows of what has others by its record, because
    the file system there does not keep them: no change. ``first``: nobody has looked before."""
    records: dict[bytes, Record] = {}
    changed = 0
    for name, entry in seen.items():
        before = known.get(name)
        if entry is None:
            if before is not None:
                records[name] = before
            continue
        if before is None:
            records[name] = entry._replace(base=first)
            changed += 1
            continue
        now = _now(before, entry, shown.get(name), frozenset((event,)))
        records[name] = now
        changed += now is not before
    gone = 0
    for name, before in known.items():
        if name not in seen:
            if name in unseen:
                records[name] = before
            else:
                gone += 1
    return Observed(records, changed, gone)


def _now(
    before: Record, entry: Record, shown: Optional[Attributes], event: frozenset[Dot]
) -> Record:
    """The record of an entry that had one."""
    if before.kind != entry.kind:
        return entry
    mode, mtime = entry.mode, entry.mtime
    if shown is not None and (shown.mode, shown.mtime_ns) == (mode, mtime):
        mode, mtime = before.mode, before.mtime
    if before.fp == entry.fp:
        if (before.mode, before.mtime) == (mode, mtime):
            return before
        return before._replace(mode=mode, mtime=mtime, kept=event)
    kept = before.kept if before.mode == mode else event
    return Record(
        mode,
        entry.size,
        mtime,
        entry.fp,
        entry.target,
        event,
        before.born,
        kept,
        before.fp if before.is_file else NOTHING,
        False,
        0,
    )


class Settled(NamedTuple):
    """A directory's records after a run. ``done``, ``failed``: names that are as they were to be,
    and that are not. ``shown``: as for `observe`."""

    records: dict[bytes, Record]
    done: list[bytes]
    failed: list[bytes]
    shown: dict[bytes, Attributes]


def settle(
    known: Records,
    wanted: Mapping[bytes, Optional[Record]],
    seen: Mapping[bytes, Optional[Record]],
    shown: Mapping[bytes, Attributes],
    cut_off: bool = False,
) -> Settled:
    """The records of one directory in which entries were to become what ``wanted`` says, None for
    nothing. ``seen``: what is there now. What is not as it was to be keeps its record, and the next
    scan finds what it is instead. ``cut_off``: the run did not come to its end, so an entry that
    had its content before and has other permissions or another time has not got them yet; else
    the file system does not keep them.

    INVARIANT: a record says that an entry is there only if it was there with that content."""
    records = dict(known)
    done: list[bytes] = []
    failed: list[bytes] = []
    for name, record in wanted.items():
        entry = seen.get(name)
        if record is None:
            if name in seen:
                failed.append(name)
                continue
            records.pop(name, None)
        elif (
            entry is None
            or not entry.same_content(record)
            or (cut_off and _awaits(known.get(name), entry, record))
        ):
            failed.append(name)
            continue
        else:
            records[name] = record
        done.append(name)
    kept = records.keys() - set(done)
    shows = {name: own for name, own in shown.items() if name in kept}
    for name in done:
        record, entry = wanted[name], seen.get(name)
        if record is None or entry is None:
            continue
        if (record.mode, record.mtime) != (entry.mode, entry.mtime):
            shows[name] = Attributes(entry.mode, entry.mtime, 0, 0)
    return Settled(records, done, failed, shows)


def _awaits(before: Optional[Record], entry: Record, record: Record) -> bool:
    """Whether an entry, whose content is right, has that from before the run, and not yet the
    permissions and the time that it was to get."""
    if before is None or not before.same_content(entry):
        return False
    return (entry.mode, entry.mtime) != (record.mode, record.mtime)
