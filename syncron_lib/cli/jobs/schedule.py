"""When a job runs by itself: the same schedule for systemd's timers and for cron."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Sequence

from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple

_MINUTE, _HOUR, _DAY, _WEEK = 60, 3600, 86400, 7 * 86400
_EVERY = re.compile(r"(?P<number>[0-9]{1,3})(?P<unit>min|h|d|w)")
_UNITS = {"min": (_MINUTE, _HOUR), "h": (_HOUR, _DAY), "d": (_DAY, _DAY), "w": (_WEEK, _WEEK)}
"""Of each unit, what it is and what it must divide: so that every hour, or day, is the same."""

_WORDS = {
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
}
_CALENDAR = re.compile(
    r"((?P<weekdays>[A-Za-z,]+(\.\.[A-Za-z]+)?) )?"
    r"(\*-\*-(?P<day>\*|[0-9]{1,2}) )?"
    r"(?P<hour>\*|[0-9]{1,2}):(?P<minute>[0-9]{1,2})(:00)?"
)
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")

_LEAST_SPREAD = 5
_LONGEST_SPREAD = 1800
"""Seconds by which machines with the same schedule are spread."""


class Schedule(NamedTuple):
    """When a job runs. ``calendar``: systemd's ``OnCalendar``. ``cron``: crontab's five fields, or
    None where cron cannot say it. ``spread``: seconds of delay that systemd chooses from."""

    calendar: str
    cron: str | None
    spread: int


def every(text: str, seed: str) -> Schedule:
    """``15min``, ``1h``, ``1d``, ``1w``. ``seed`` spreads jobs that cron would start together.
    Raises `UsageError`."""
    found = _EVERY.fullmatch(text)
    number = int(found["number"]) if found else 0
    unit, whole = _UNITS[found["unit"]] if found else (1, 1)
    seconds = number * unit
    if not seconds or whole % seconds:
        raise UsageError(
            f"--every={text}: expected a time that divides an hour or a day evenly, such as 15min,"
            " 6h, 1d or 1w; --on-calendar can say more."
        )
    chosen = zlib.crc32(seed.encode("utf-8", "surrogateescape"))
    minute, hour = chosen % 60, chosen // 60 % 24
    step = number if unit in (_MINUTE, _HOUR) else 0
    if unit == _MINUTE and step < 60:
        calendar = f"*-*-* *:00/{step}:00"
        cron = f"{_steps(minute % step, step, 60)} * * * *"
    elif seconds < _DAY:
        hours = max(1, seconds // _HOUR)
        calendar = f"*-*-* 00/{hours}:00:00"
        cron = f"{minute} {_steps(hour % hours, hours, 24)} * * *"
    else:
        weekly = seconds == _WEEK
        calendar = f"{'Mon ' * weekly}*-*-* 00:00:00"
        # At night: what runs once a day should not run at noon.
        cron = f"{minute} {hour % 6} * * {'1' if weekly else '*'}"
    return Schedule(calendar, cron, _spread(seconds))


def _steps(first: int, step: int, whole: int) -> str:
    if step == 1:
        return "*"
    return ",".join(map(str, range(first, whole, step)))


def _spread(seconds: int) -> int:
    return max(_LEAST_SPREAD, min(_LONGEST_SPREAD, seconds // 10))


def on_calendar(text: str) -> Schedule:
    """systemd's calendar events; those that cron can say too are said to it. Raises `UsageError`
    for what could break out of a unit's line."""
    if not text or not text.isprintable():
        raise UsageError(f"--on-calendar={text!r}: expected a calendar event, see systemd.time(7).")
    return Schedule(text, _for_cron(_WORDS.get(text.lower(), text)), _LEAST_SPREAD)


def _for_cron(text: str) -> str | None:
    found = _CALENDAR.fullmatch(text)
    if found is None:
        return None
    hour, day, minute = found["hour"], found["day"] or "*", int(found["minute"])
    weekdays = _weekdays(found["weekdays"])
    # Where both are given, cron takes either, and systemd both.
    if weekdays is None or (weekdays != "*" and day != "*"):
        return None
    if minute > 59 or (hour != "*" and int(hour) > 23) or (day != "*" and not 1 <= int(day) <= 31):
        return None
    hour, day = (each if each == "*" else str(int(each)) for each in (hour, day))
    return f"{minute} {hour} {day} * {weekdays}"


def _weekdays(text: str | None) -> str | None:
    """As cron has them; None for what is no list of days."""
    if text is None:
        return "*"
    known = [name.lower() for name in _WEEKDAYS]
    days = [[each[:3].lower() for each in part.split("..")] for part in text.split(",")]
    if any(day not in known for part in days for day in part):
        return None
    return ",".join("-".join(str(known.index(day)) for day in part) for part in days)


def next_by_cron(
    fields: str, now: float, local: Callable[[float], time.struct_time] = time.localtime
) -> float | None:
    """When a line of ours in a crontab is due next; None within a year."""
    minutes, hours, days, _, weekdays = (_set_of(field) for field in fields.split())
    moment = now - now % _MINUTE + _MINUTE
    end = now + 366 * _DAY
    while moment < end:
        at = local(moment)
        day_fits = _fits(at.tm_mday, days) and _fits((at.tm_wday + 1) % 7, weekdays)
        if not day_fits:
            moment += (24 - at.tm_hour) * _HOUR - at.tm_min * _MINUTE
        elif not _fits(at.tm_hour, hours):
            moment += _HOUR - at.tm_min * _MINUTE
        elif not _fits(at.tm_min, minutes):
            moment += _MINUTE
        else:
            return moment
    return None


def _set_of(field: str) -> Sequence[int] | None:
    if field == "*":
        return None
    found: list[int] = []
    for part in field.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        found += range(low, high + 1) if low <= high else [*range(low, 7), *range(high + 1)]
    return found


def _fits(value: int, wanted: Sequence[int] | None) -> bool:
    return wanted is None or value in wanted
