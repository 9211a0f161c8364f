"""What became of earlier runs: a file of JSON lines a job, or a pair of SRC and DST, in the state
directory. It is bounded, and nothing depends on it: where it cannot be written, it is not."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from syncron_lib.cli.jobs.outcome import Outcome
from syncron_lib.cli.json_lines import summary
from syncron_lib.core.names import shown
from syncron_lib.core.places import MOST
from syncron_lib.fs.stateplace import state_place

FILE_MAX = 1 << 20
"""Bytes of one file: some 500 runs with much to tell, thousands with little."""
FILES_MAX = 500
"""Jobs and pairs that are remembered; of more, those that ran last."""
_ERRORS_MAX = 50
"""Errors of one run that are kept; the log has them all."""

Record = dict[str, Any]
"""The summary of ``--json``, and: ``job``, ``began`` (seconds since 1970), ``result``, ``message``,
``phases`` (name to seconds)."""


def remember(outcome: Outcome, environ: Mapping[str, str]) -> None:
    """Keep how a run went."""
    with contextlib.suppress(OSError):
        directory = _directory(environ)
        if directory is not None:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            _append(directory, _key(outcome.job, outcome.source, outcome.destination), outcome)


def last_of(job: str, environ: Mapping[str, str]) -> Record | None:
    """The last run of a job."""
    return next(iter(deque(runs_of(job, environ), maxlen=1)), None)


def runs_of(job: str, environ: Mapping[str, str]) -> Iterator[Record]:
    """The runs of a job that are remembered, the oldest first."""
    directory = _directory(environ)
    if directory is not None:
        for record in _read(f"{directory}/{_key(job, '', '')}"):
            if record["job"] == job:
                yield record


def runs_like(outcome: Outcome, environ: Mapping[str, str]) -> list[Record]:
    """The runs of the same job, or the same pair of sides, the oldest first."""
    directory = _directory(environ)
    if directory is None:
        return []
    name = _key(outcome.job, outcome.source, outcome.destination)
    sides = outcome.job, outcome.source, outcome.destination
    return [
        record
        for record in _read(f"{directory}/{name}")
        if record["job"] == outcome.job
        and (outcome.job or (record["job"], record["source"], record["destination"]) == sides)
    ]


def all_runs(environ: Mapping[str, str]) -> list[Record]:
    """All runs that are remembered, the oldest first."""
    directory = _directory(environ)
    names: list[str] = []
    if directory is not None:
        with contextlib.suppress(OSError):
            names = os.listdir(directory)
    found = [record for name in names for record in _read(f"{directory}/{name}")]
    return sorted(found, key=lambda record: float(record["began"]))


def record_of(outcome: Outcome) -> Record:
    """What is kept of a run."""
    kept = summary(outcome.report)
    for name in ("message_type", "dry_run"):
        del kept[name]
    errors = kept["errors"]
    return {
        **kept,
        "job": outcome.job,
        "source": outcome.source,
        "destination": outcome.destination,
        "began": round(outcome.began, 3),
        "duration": round(outcome.duration, 3),
        "exit_code": outcome.status,
        "result": outcome.result,
        "message": outcome.message,
        "phases": {name: round(seconds, 4) for name, seconds in outcome.phases},
        "directories": [
            [shown(place.path), place.entries, place.size] for place in outcome.report.places[:MOST]
        ],
        "errors": errors[:_ERRORS_MAX],
        "errors_in_all": len(errors),
    }


def _directory(environ: Mapping[str, str]) -> str | None:
    place = state_place(environ)
    return None if place is None else os.path.join(place, "history")


def _key(job: str, source: str, destination: str) -> str:
    """A file's name. Two jobs may share a file: each record says whose it is."""
    name = f"job {job}" if job else f"run {source}\0{destination}"
    return f"{zlib.crc32(name.encode('utf-8', 'surrogateescape')):08x}.jsonl"


def _append(directory: str, name: str, outcome: Outcome) -> None:
    path = os.path.join(directory, name)
    line = json.dumps(record_of(outcome)).encode() + b"\n"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    new = not os.path.exists(path)
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        if size + len(line) > FILE_MAX:
            kept = os.pread(file, FILE_MAX, max(0, size - FILE_MAX // 2))
            kept = kept[kept.find(b"\n") + 1 :]
            # Cut before it is written again: killed in between, history is lost, and only that.
            os.ftruncate(file, 0)
            line = kept + line
        os.write(file, line)
    finally:
        os.close(file)
    if new:
        _forget_oldest(directory)


def _forget_oldest(directory: str) -> None:
    files = [entry for entry in os.scandir(directory) if entry.name.endswith(".jsonl")]
    files.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
    for entry in files[: max(0, len(files) - FILES_MAX)]:
        os.unlink(entry.path)


def _read(path: str) -> Iterator[Record]:
    """The records of a file; a line that is damaged, or of another version, is passed over."""
    try:
        with open(path, "rb") as file:
            lines = file.read(2 * FILE_MAX).splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and _is_record(record):
            yield record


_FIELDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    *((name, str) for name in ("job", "source", "destination", "result", "message")),
    *((name, (int, float)) for name in ("began", "duration")),
    *(
        (name, int)
        for name in (
            "exit_code created changed moved deleted metadata bytes_sent bytes_received"
            " bytes_scanned source_entries errors_in_all"
        ).split()
    ),
    ("phases", dict),
    ("errors", list),
)


def _is_record(record: Record) -> bool:
    places = record.get("directories", [])
    return all(isinstance(record.get(name), kind) for name, kind in _FIELDS) and (
        isinstance(places, list)
        and all(
            isinstance(place, list)
            and len(place) == 3
            and isinstance(place[0], str)
            and all(isinstance(number, int) and number >= 0 for number in place[1:])
            for place in places
        )
    )
