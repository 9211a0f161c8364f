"""Which hot directories systemd watches for a job, and in what words a unit has them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

MOST = 32
_SHARE = 8
"""What part of the kernel's limits is ours: others watch things too."""
_INSTANCES = "/proc/sys/fs/inotify/max_user_instances"
"""systemd takes one for each path that a unit watches."""
_WATCHES, _DEPTH = "/proc/sys/fs/inotify/max_user_watches", 32
"""It watches all that a path goes through, too."""


def most(instances: str = _INSTANCES, watches: str = _WATCHES) -> int:
    """How many may be watched, within inotify's limits."""
    limits = (_limit(instances, _SHARE), _limit(watches, _SHARE * _DEPTH))
    return min(MOST, *limits)


def _limit(file: str, part: int) -> int:
    try:
        with open(file, encoding="ascii") as opened:
            return int(opened.read()) // part
    except (OSError, ValueError):  # it is not told here
        return MOST


def watched(top: bytes, hottest: Iterable[bytes], count: int, own: str | None = None) -> list[str]:
    """The first ``count`` of the directories ``hottest`` below ``top`` that are there and have
    words, sorted: which are watched matters, and not which is the hottest of them. Not ``own``,
    where state is: each run writes there, and would be the reason for the next."""
    skipped = None if own is None else os.fsencode(os.path.realpath(own)) + b"/"
    found: list[str] = []
    for below in hottest:
        if len(found) >= count:
            break
        path = os.path.join(top, below) if below else top
        if skipped is not None and (path + b"/").startswith(skipped):
            continue
        words = _words(path)
        if words is not None and _is_directory(path):
            found.append(words)
    return sorted(found)


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _words(path: bytes) -> str | None:
    """As the value of ``PathChanged``, which runs to the end of the line and is not unquoted; None
    for what no line of a unit can hold."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return None
    if any(ord(each) < 32 or 127 <= ord(each) < 160 for each in text):
        return None
    text = text.replace("%", "%%")
    # Space at the end of a line is dropped, and a backslash there joins the next line to it.
    return text + "/" if text[-1] in "\\ " else text
