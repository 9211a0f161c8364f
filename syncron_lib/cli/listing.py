"""Lines of ``--list-only``, as rsync writes them."""

from __future__ import annotations

import json
import os
import stat
import time
from typing import Any

from syncron_lib.cli.format import human_number
from syncron_lib.cli.json_lines import named
from syncron_lib.cli.settings import Settings
from syncron_lib.core.names import shown
from syncron_lib.errors import UsageError
from syncron_lib.session.listonly import Entry

_OF_A_RUN = ("two_way", "snapshot", "hot", "before", "after", "on_error", "report")
"""Options that would be silently without effect where nothing is carried out."""


def require_no_run(settings: Settings, *, watches: bool) -> None:
    """Raise UsageError for options that are about a run, where all that there will be is a list."""
    given = ["--watch"] if watches else []
    given += [f"--{name.replace('_', '-')}" for name in _OF_A_RUN if getattr(settings, name)]
    if given:
        raise UsageError(
            f"{given[0]} is about a run, and one path alone, or --list-only, asks for a list: give"
            " two paths or more."
        )


def line(entry: Entry, settings: Settings) -> str:
    """One entry, with the end of its line."""
    name = shown(entry.path or b".")
    if settings.json:
        said: dict[str, Any] = {
            "message_type": "entry",
            **named("path", entry.path or b"."),
            "mode": entry.mode,
            "size": entry.size,
            "mtime_ns": entry.mtime_ns,
            **({"target": None} if entry.target is None else named("target", entry.target)),
        }
        if entry.problem:
            said["problem"] = os.strerror(entry.problem)
        return json.dumps(said) + "\n"
    if entry.problem and not entry.mode:
        return f"{name}: cannot be read: {os.strerror(entry.problem)}\n"
    level = settings.human_readable
    size = human_number(entry.size, 1 if level is None else level + (level > 0))
    width = 11 if level == 0 else 14
    moment = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(entry.mtime_ns // 1_000_000_000))
    target = ""
    if entry.target is not None and settings.links is not False:
        target = f" -> {shown(entry.target)}"
    return f"{stat.filemode(entry.mode)} {size:>{width}} {moment} {name}{target}\n"
