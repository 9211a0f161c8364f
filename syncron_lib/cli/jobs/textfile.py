"""``--textfile``: how the last run went, for node_exporter's textfile collector."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator

from syncron_lib.cli.jobs.outcome import Outcome

_METRICS = {
    "syncron_last_run_timestamp_seconds": "When the last run began.",
    "syncron_last_success_timestamp_seconds": "When the last run that went well began.",
    "syncron_duration_seconds": "How long the last run took.",
    "syncron_exit_code": "What the last run ended with.",
    "syncron_entries": "Entries by what the last run did with them.",
    "syncron_failures": "Files that the last run could not do.",
    "syncron_bytes_sent": "Bytes sent by the last run.",
    "syncron_bytes_received": "Bytes received by the last run.",
    "syncron_source_entries": "Entries of the source.",
    "syncron_source_bytes": "Sizes of all files of the source.",
}
_SAMPLE = re.compile(r"(?P<name>syncron_[a-z_]+)(?P<labels>\{.*\}) (?P<value>[-+.e0-9]+)")
_READ_MAX = 1 << 20

Samples = dict[tuple[str, str], str]
"""By metric and labels; the values as written."""


def write(file: str, outcome: Outcome) -> None:
    """Write ``file`` anew, atomically; what it says of other jobs stays. A run that was put off
    is not told: what grows old is then seen. Raises OSError."""
    if outcome.put_off:
        return
    directory = os.path.dirname(os.path.abspath(file))
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Two jobs that end together must not lose each other's samples.
        fcntl.flock(held, fcntl.LOCK_EX)
        samples = {**_read(file), **dict(_samples(outcome))}
        # node_exporter reads *.prom only, so that it never sees this one.
        temporary = f"{file}.{os.getpid()}.new"
        new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with open(new, "w", encoding="utf-8", errors="backslashreplace") as opened:
                opened.write(_text(samples))
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    finally:
        os.close(held)


def _samples(outcome: Outcome) -> Iterator[tuple[tuple[str, str], str]]:
    report = outcome.report
    sides = (
        ("job", outcome.job),
        ("source", outcome.source),
        ("destination", outcome.destination),
    )
    own = ",".join(f'{name}="{_escaped(value)}"' for name, value in sides)

    def sample(name: str, value: int | float, more: str = "") -> tuple[tuple[str, str], str]:
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        return (f"syncron_{name}", f"{{{own}{more}}}"), text

    yield sample("last_run_timestamp_seconds", outcome.began)
    if not outcome.status:
        yield sample("last_success_timestamp_seconds", outcome.began)
    yield sample("duration_seconds", outcome.duration)
    yield sample("exit_code", outcome.status)
    for what in ("created", "changed", "moved", "deleted", "metadata", "unchanged"):
        yield sample("entries", getattr(report, what), f',what="{what}"')
    yield sample("failures", len(report.failures))
    yield sample("bytes_sent", report.bytes_sent)
    yield sample("bytes_received", report.bytes_received)
    if report.source_entries:
        yield sample("source_entries", report.source_entries)
        yield sample("source_bytes", report.bytes_scanned)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _read(file: str) -> Samples:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            lines = opened.read(_READ_MAX).splitlines()
    except FileNotFoundError:
        return {}
    found = (_SAMPLE.fullmatch(line) for line in lines)
    return {(each["name"], each["labels"]): each["value"] for each in found if each is not None}


def _text(samples: Samples) -> str:
    lines = []
    for name, about in _METRICS.items():
        lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        lines += [
            f"{name}{labels} {value}" for (of, labels), value in samples.items() if of == name
        ]
    return "\n".join(lines) + "\n"
