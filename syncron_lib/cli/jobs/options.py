"""The options of runs that nobody watches: hooks, limits, and who is told how it went."""

from __future__ import annotations

import re

from syncron_lib.cli import values
from syncron_lib.cli.option import Kind, Option

_PERIODIC = "Hooks and limits"
_TOLD = "Who is told"

_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,3})?)(?P<unit>s|min|h|d)?")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_IONICE = re.compile(r"idle|best-effort(:[0-7])?")


def duration(text: str) -> float:
    """Seconds where no unit is said."""
    found = _DURATION.fullmatch(text)
    if found is None or not float(found["number"]):
        raise ValueError("expected a duration such as 90, 15min, 2h or 1d")
    return float(found["number"]) * _SECONDS[found["unit"] or "s"]


def _minutes(text: str) -> float:
    if not re.fullmatch("[0-9]{1,7}", text) or not int(text):
        raise ValueError("expected a number of minutes such as 90")
    return int(text) * 60.0


_MOMENT = re.compile(
    r"(?:(?:(?P<year>[0-9]{2}|[0-9]{4})[-/])?(?:(?P<month>[0-9]{1,2})[-/])?(?P<day>[0-9]{1,2}))?"
    r"(?:(?:^|T)(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{1,2}))?)?"
)


def _until(text: str) -> float:
    """Seconds from now to a moment, of which what is not said is the next that there is."""
    import datetime

    found = _MOMENT.fullmatch(text)
    now = datetime.datetime.now().astimezone()
    parts = {} if found is None else found.groupdict()
    said = {name: int(value) for name, value in parts.items() if value}
    year = said.get("year", now.year)
    try:
        if not set("-/T:") & set(text) or found is None:
            raise ValueError
        moment = now.replace(
            year=year + 2000 if year < 100 else year,
            month=said.get("month", now.month),
            day=said.get("day", now.day),
            hour=said.get("hour", 0),
            minute=said.get("minute", 0),
            second=0,
            microsecond=0,
        )
    except ValueError:
        raise ValueError("expected a time such as 23:30 or 2027-01-31T6:00") from None
    if moment <= now and "day" not in said:
        moment += datetime.timedelta(days=1)
    if moment <= now:
        raise ValueError("it is over already")
    return (moment - now).total_seconds()


def _retries(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text):
        raise ValueError("expected a number of tries such as 3")
    return int(text)


def _nice(text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text) or int(text) > 19:
        raise ValueError("expected a number from 0 to 19")
    return int(text)


def url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", text):
        raise ValueError("expected an address that begins with http:// or https://")
    return text


def root(text: str) -> str:
    """A Merkle root, or as much of its beginning as is shown."""
    if not re.fullmatch("[0-9a-fA-F]{12,32}", text):
        raise ValueError("expected a root, or its first 12 hexadecimal digits or more")
    return text.lower()


def _ionice(text: str) -> str:
    if not _IONICE.fullmatch(text):
        raise ValueError("expected idle, best-effort, or best-effort:0 to best-effort:7")
    return text


PERIODIC: tuple[Option, ...] = (
    Option(
        _PERIODIC,
        "before",
        Kind.TEXT,
        "run this first; if it ends with 75, the run is put off",
        metavar="COMMAND",
        convert=values.not_empty,
    ),
    Option(
        _PERIODIC,
        "after",
        Kind.TEXT,
        "run this last, whatever came of it",
        metavar="COMMAND",
        convert=values.not_empty,
    ),
    Option(
        _PERIODIC,
        "on-error",
        Kind.TEXT,
        "run this where the exit status is not 0",
        metavar="COMMAND",
        convert=values.not_empty,
    ),
    Option(
        _PERIODIC,
        "retries",
        Kind.NUMBER,
        "try so often again where the network fails (default 0)",
        metavar="N",
        convert=_retries,
    ),
    Option(
        _PERIODIC,
        "retry-wait",
        Kind.NUMBER,
        "first wait so long, then twice that (default 10)",
        metavar="SECONDS",
        convert=values.seconds,
    ),
    Option(
        _PERIODIC,
        "max-duration",
        Kind.NUMBER_OR_TEXT,
        "end the run after so long, e.g. 2h; the next goes on",
        metavar="TIME",
        convert=duration,
    ),
    Option(
        _PERIODIC,
        "stop-after",
        Kind.NUMBER,
        "the same in minutes",
        alias="time-limit",
        metavar="MINS",
        field="max_duration",
        convert=_minutes,
    ),
    Option(
        _PERIODIC,
        "stop-at",
        Kind.TEXT,
        "the same at a time such as 23:30 or 2027-01-31T6:00",
        metavar="TIME",
        field="max_duration",
        convert=_until,
    ),
    Option(
        _PERIODIC,
        "nice",
        Kind.NUMBER,
        "run with less priority: 0 to 19",
        metavar="N",
        convert=_nice,
    ),
    Option(
        _PERIODIC,
        "ionice",
        Kind.TEXT,
        "idle, or best-effort[:0-7], for disks",
        metavar="CLASS",
        convert=_ionice,
    ),
    Option(
        _PERIODIC,
        "hot",
        Kind.SWITCH,
        "look only at directories that changed often; believe the rest",
    ),
    Option(
        _PERIODIC,
        "expect-root",
        Kind.TEXT,
        "fail, with 9, if the root in the end is another",
        metavar="ROOT",
        convert=root,
    ),
    Option(
        _PERIODIC,
        "fail-on-change",
        Kind.SWITCH,
        "fail, with 9, if anything was changed, or would be with -n",
    ),
    Option(_TOLD, "syslog", Kind.SWITCH, "tell the system's log what is amiss, and the end"),
    Option(
        _TOLD,
        "textfile",
        Kind.FILE,
        "write metrics for node_exporter, e.g. to syncron.prom",
        metavar="FILE",
        convert=values.not_empty,
    ),
    Option(
        _TOLD,
        "report",
        Kind.FILE,
        "write a page about this run and those before it",
        metavar="FILE.html",
        convert=values.not_empty,
    ),
    Option(
        _TOLD,
        "ping",
        Kind.TEXT,
        "tell a monitor of start, success and failure, as healthchecks does",
        metavar="URL",
        convert=url,
    ),
)
"""Options for the command line and for jobs alike; `cli.catalog` has the others."""
