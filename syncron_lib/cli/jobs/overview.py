"""``--list-jobs`` and ``--check-config``: the configuration as a person looks at it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from syncron_lib.cli.config import Config, Job, shown_file
from syncron_lib.cli.jobs import history
from syncron_lib.cli.jobs.install import Installer
from syncron_lib.cli.settings import Settings
from syncron_lib.cli.wording import duration, in_units
from syncron_lib.core.location import shown_text
from syncron_lib.core.names import shown
from syncron_lib.errors import UsageError

if TYPE_CHECKING:
    from syncron_lib.session.snapshots import Listed


_RUNS_SHOWN = 100
"""The last ones; --json has them all."""


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns beside each other, the last one as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths)]
        lines.append("  ".join([*cells, row[-1]]).rstrip() + "\n")
    return "".join(lines)


def moment(seconds: float) -> str:
    """A time of day as a person reads it, in this machine's zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def list_jobs(config: Config, environ: Mapping[str, str], home: str | None) -> str:
    """Every job, how it went last, and when it runs next."""
    config.require_some("There are no jobs")
    upcoming = Installer(environ, home).next_times(config.jobs, time.time())
    rows = [["JOB", "LAST RUN", "RESULT", "NEXT RUN", "SOURCE", "DESTINATION"]]
    for job in config.jobs.values():
        last = history.last_of(job.name, environ)
        rows.append(
            [
                shown_text(job.name),
                moment(last["began"]) if last else "never",
                _result(last) if last else "-",
                _next(upcoming[job.name]),
                " ".join(source.shown() for source in job.sources),
                job.destination.shown(),
            ]
        )
    return table(rows)


def _next(upcoming: float | str | None) -> str:
    if upcoming is None:
        return "-"
    return moment(upcoming) if isinstance(upcoming, float) else upcoming


def _result(record: history.Record) -> str:
    if record["result"] == "success":
        return f"ok, {duration(record['duration'])}"
    if record["result"] == "put-off":
        return "put off"
    return f"failed ({record['exit_code']})"


def history_of(job: str, settings: Settings, environ: Mapping[str, str]) -> str:
    """How earlier runs went, of one job or of all: a table, JSON lines, or a page in a file."""
    runs = list(history.runs_of(job, environ)) if job else history.all_runs(environ)
    if not runs:
        raise UsageError(f"{f'No run of {job!r}' if job else 'No run'} is remembered here yet.")
    if settings.report is not None:
        from syncron_lib.cli.jobs import page

        try:
            page.write(settings.report, runs)
        except OSError as error:
            raise UsageError(
                f"Cannot write the report {shown_text(settings.report)}: {error.strerror}."
            ) from error
        return ""
    if settings.json:
        from json import dumps

        return "".join(dumps(run) + "\n" for run in runs)
    rows = [["WHEN", "RESULT", "TOOK", "CREATED", "CHANGED", "DELETED", "SENT", "RECEIVED"]]
    rows += [
        [
            moment(run["began"]),
            _result(run).split(",")[0],
            duration(run["duration"]),
            *(f"{run[name]:,}" for name in ("created", "changed", "deleted")),
            *(in_units(run[name]) for name in ("bytes_sent", "bytes_received")),
        ]
        for run in runs[-_RUNS_SHOWN:]
    ]
    if not job:
        names = (
            shown_text(run["job"] or f"{run['source']} -> {run['destination']}")
            for run in runs[-_RUNS_SHOWN:]
        )
        for row, name in zip(rows, ("JOB", *names)):
            row.insert(1, name)
    return table(rows)


def hot_directories(found: Sequence[tuple[bytes, float]], *, json: bool) -> str:
    """Directories that changed often, as a table or as JSON lines."""
    if json:
        from json import dumps

        from syncron_lib.cli.json_lines import named

        lines = ({**named("path", path), "score": score} for path, score in found)
        return "".join(dumps(line) + "\n" for line in lines)
    rows = [
        ["SCORE", "DIRECTORY"],
        *([f"{score:.1f}", shown(path) or "."] for path, score in found),
    ]
    return table(rows) if found else ""


def snapshots(found: Sequence[Listed], *, json: bool) -> str:
    """The snapshots in a directory, as a table or as JSON lines."""
    if json:
        from json import dumps

        return "".join(dumps({"snapshot": each.name, **each.note}) + "\n" for each in found)
    rows = [["SNAPSHOT", "ROOT", "ENTRIES", "SIZE", "NEW", "NEW BYTES", "STATUS"]]
    for name, note in found:
        code = note.get("exit_code")
        rows.append(
            [
                name,
                shown_text(note["root"][:12]) if "root" in note else "-",
                f"{note['entries']:,}" if "entries" in note else "-",
                in_units(note["size"]) if "size" in note else "-",
                f"{note['new']:,}" if "new" in note else "-",
                in_units(note["new_bytes"]) if "new_bytes" in note else "-",
                "-" if code is None else "ok" if code == 0 else f"partial ({code})",
            ]
        )
    return table(rows) if found else ""


def check(config: Config) -> str:
    """What is there. Raises `UsageError` for options of a job that do not go together."""
    config.require_some("There is nothing to check")
    for job in config.jobs.values():
        _require_sound(job, config)
    count = len(config.jobs)
    jobs = f"{count} {'job' if count == 1 else 'jobs'}"
    names = ", ".join(map(shown_text, config.jobs)) or "none"
    lines = [f"{shown_file(file)}: ok\n" for file in config.files]
    return "".join([*lines, f"{jobs}: {names}\n"])


def _require_sound(job: Job, config: Config) -> None:
    try:
        settings = job.settings.over(config.defaults)
        settings.run_options()
        if settings.verify and len(job.sources) > 1:
            raise UsageError(
                f"Verifying compares two trees, but there are {len(job.sources)} sources."
            )
    except UsageError as error:
        where = f"{shown_file(job.file)}: jobs.{shown_text(job.name)}"
        raise UsageError(f"{where}: {error.message}") from error
