"""``--out-format`` and ``--log-file-format``: one line for each change, by rsync's escapes."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Sequence

from syncron_lib.core.names import shown
from syncron_lib.core.report import Action, Item
from syncron_lib.record import NamedTuple

_ESCAPE = re.compile(r"%('{0,3})(-?)([0-9]{0,4})([A-Za-z%])")
_UNKNOWN_HERE = {
    "b": "how many bytes each file took is not counted",
    "c": "how many bytes of checksums each file took is not counted",
    "C": "digests are not rsync's checksums; --json has roots",
}
_NUMERIC = frozenset("lUGp")
DEFAULT = "%i %n%L"
"""rsync's for a log."""


class Run(NamedTuple):
    """What the lines of one run have in common. ``sends``: ``%o``. ``prefix``: what goes before a
    path in ``%f``. ``owner``, ``group``: these are kept; else there is none for ``%U`` and
    ``%G``."""

    sends: bool
    prefix: bytes
    owner: bool = True
    group: bool = True


SENDING = Run(True, b"")
"""Where nothing is said."""


def speaks_of(text: str, item: Item) -> bool:
    """Whether there is a line for ``item``: as with rsync, one of which only attributes change is
    spoken of where the line says that."""
    if has(text, "i"):
        return True
    return item.action is not Action.UNCHANGED and (
        item.action is not Action.METADATA or item.is_directory
    )


def has(text: str, letters: str) -> bool:
    """Whether any of these escapes is in a format."""
    return any(found[4] in letters for found in _ESCAPE.finditer(text))


def tells_attributes(text: str) -> bool:
    """Whether a line tells an entry's permissions, time, owner or group."""
    return has(text, "BGMU")


def require_known(text: str) -> str:
    """``text``, if every escape in it can be filled in; ValueError with a phrase otherwise. What
    rsync leaves as it is, because it says nothing outside of its daemon, is left here too."""
    for found in _ESCAPE.finditer(text):
        why = _UNKNOWN_HERE.get(found[4])
        if why is not None:
            raise ValueError(f"%{found[4]} cannot be filled in: {why}")
    return text


def line(text: str, item: Item, run: Run, now: float) -> str:
    """One change in the format ``text``. ``now``: seconds since 1970."""

    def filled(found: re.Match[str]) -> str:
        human, left, width, letter = found.groups()
        fill = _FILL.get(letter)
        if fill is None:
            return found[0]
        value = fill(item, run, now)
        if letter == "L" and width:  # what is filled up is the name
            return value[:4].ljust(4) + _filled_up(value[4:], left, width)
        if human and letter in _NUMERIC and value.isdecimal():
            value = human_number(int(value), len(human))
        return _filled_up(value, left, width)

    if item.action is Action.DELETE and not has(text, "io"):
        text = "deleting %n"  # or nothing would tell it from what is brought over
    return _ESCAPE.sub(filled, text)


def _filled_up(value: str, left: str, width: str) -> str:
    if not width:
        return value
    return value.ljust(int(width)) if left else value.rjust(int(width))


_UNITS = "KMGTP"


def human_number(number: int, level: int) -> str:
    """A number as rsync's ``--human-readable`` shows it at a level: 1 with separators, 2 in units
    of 1000, 3 in units of 1024."""
    base = 1000 if level == 2 else 1024
    if level <= 0:
        return str(number)
    if level == 1 or number < base:
        return f"{number:,}"
    power = 1
    while power < len(_UNITS) and number >= base ** (power + 1):
        power += 1
    return f"{number / base**power:.2f}{_UNITS[power - 1]}"


def permissions(mode: int) -> str:
    """The nine letters of ``ls``, without the one for the kind."""
    return stat.filemode(mode)[1:]


def _moment(seconds: float, between: str) -> str:
    return time.strftime(f"%Y/%m/%d{between}%H:%M:%S", time.localtime(seconds))


def _name(item: Item, _run: Run, _now: float) -> str:
    if item.old is not None:
        return f"{shown(item.old)} -> {shown(item.path)}"
    if not item.path:
        return "./"
    return shown(item.path) + ("/" if item.is_directory else "")


def _long_name(item: Item, run: Run, _now: float) -> str:
    prefix = b"" if item.action is Action.DELETE else run.prefix
    return shown((prefix + b"/" + (item.path or b".") if prefix else item.path).strip(b"/")) or "."


def _target(item: Item, _run: Run, _now: float) -> str:
    if item.target is None or item.action is Action.DELETE:
        return ""
    return f" {'=>' if item.action is Action.LINK else '->'} {shown(item.target)}"


def _operation(item: Item, run: Run, _now: float) -> str:
    if item.action is Action.DELETE:
        return "del."
    return "send" if run.sends else "recv"


def _length(item: Item, _run: Run, _now: float) -> str:
    if item.action is Action.DELETE:
        return "0"
    is_symlink = item.target is not None and item.action is not Action.LINK
    return str(len(item.target or b"") if is_symlink else item.size)


def _permissions(item: Item, _run: Run, _now: float) -> str:
    return permissions(0 if item.attributes is None else item.attributes.mode)


def _modified(item: Item, _run: Run, _now: float) -> str:
    seconds = 0 if item.attributes is None else item.attributes.mtime_ns // 10**9
    return _moment(seconds, "-")


def _owner(item: Item, run: Run, _now: float) -> str:
    return str(0 if item.attributes is None or not run.owner else item.attributes.uid)


def _group(item: Item, run: Run, _now: float) -> str:
    if not run.group:
        return "DEFAULT"
    return str(0 if item.attributes is None else item.attributes.gid)


_FILL: dict[str, Callable[[Item, Run, float], str]] = {
    "B": _permissions,
    "f": _long_name,
    "G": _group,
    "i": lambda item, run, now: item.flags,
    "l": _length,
    "L": _target,
    "m": lambda item, run, now: "",  # of a daemon
    "M": _modified,
    "n": _name,
    "o": _operation,
    "p": lambda item, run, now: str(os.getpid()),
    "t": lambda item, run, now: _moment(now, " "),
    "U": _owner,
    "%": lambda item, run, now: "%",
}


def prefix_of(sources: Sequence[bytes]) -> bytes:
    """What goes before a path of one local source in ``%f``."""
    return sources[0].strip(b"/") if len(sources) == 1 and sources[0] not in (b".", b"./") else b""
