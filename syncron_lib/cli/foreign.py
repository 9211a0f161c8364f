"""rsync's options that syncron does not have: known by name, so that they can be refused by name,
or accepted where what they ask for always holds.

Hands and crontabs know rsync; an option of it that is passed over in silence would be a promise
not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple


class OptionRefused(UsageError):
    """An option that rsync has and syncron has not."""


class Foreign(NamedTuple):
    """One of rsync's options. ``advice`` says what to do instead."""

    long: str = ""
    short: str = ""
    advice: str = ""

    def refusal(self, written: str) -> str:
        """The sentence for someone who wrote ``written``."""
        names = (f"-{self.short}" if self.short else "", self.long)
        other = [name for name in names if name and name != written]
        called = f"{written} ({other[0]})" if other else written
        end = f": {self.advice}." if self.advice else "."
        return f"syncron does not have rsync's {called}{end}"


def _relative(value: str) -> bool:
    return bool(value) and not value.startswith("/")


def _errors(value: str) -> bool:
    return value in ("e", "errors", "c", "client")


def _nothing(value: str) -> bool:
    return value.lower() in ("none", "all0")


def _any(_value: str) -> bool:
    return True


class Held(NamedTuple):
    """What of rsync's asks for what always holds, or is another name. ``names``: of the options.
    ``holds``: for which values it does; None where there is no value. ``sets``: fields of
    `Settings`. ``advice``: said of other values."""

    names: str
    sets: Mapping[str, Any] = MappingProxyType({})
    holds: Callable[[str], bool] | None = None
    advice: str = ""


HELD: tuple[Held, ...] = (
    Held("--no-s --no-secluded-args --no-protect-args"),
    Held("--no-old-args --no-motd --no-msgs2stderr --no-iconv"),
    Held("--no-inc-recursive --no-i-r --blocking-io --no-blocking-io"),
    Held("-y --fuzzy --no-y --no-fuzzy"),
    Held("--skip-compress", holds=_any),
    Held(
        "--partial-dir",
        holds=_relative,
        advice="what an interrupted run has brought over is kept in .syncron in DST",
    ),
    Held("--no-8-bit-output --no-8 --no-crtimes --no-N"),
    Held("--no-insecure-links --no-write-devices"),
    Held("--no-U", {"atimes": False}),
    Held("--no-D", {"devices": False, "specials": False}),
    Held("--old-d", {"dirs": True}),
    Held("--old-compress --new-compress", {"compress": "zlib"}),
    Held("--no-i-d", {"implied_dirs": False}),
    Held("--i-d", {"implied_dirs": True}),
    Held("--no-v --no-verbose", {"verbose": 0}),
    Held("--no-i --no-itemize-changes", {"itemize_changes": 0}),
    Held("--no-h --no-human-readable", {"human_readable": 0}),
    Held("--no-timeout", {"timeout": 0.0}),
    Held("--no-contimeout", {"contimeout": None}),
    Held("--no-bwlimit", {"bwlimit": 0}),
    Held("--no-max-size", {"max_size": None}),
    Held("--no-min-size", {"min_size": None}),
    Held("--stderr", holds=_errors, advice="errors go to standard error, and nothing else"),
    Held("--debug", holds=_nothing, advice="SYNCRON_DEBUG=1 in the environment shows more"),
)
"""Only for command lines that were written for rsync: there is no key for them in jobs."""

_DAEMON = "rsync's daemon is not spoken with"
_BATCH = "run syncron where both trees can be reached"
_WHOLE = "the source is scanned whole before anything is changed"

FOREIGN: tuple[Foreign, ...] = (
    Foreign("--no-partial", "", "what an interrupted run has brought over is kept in .syncron"),
    Foreign("--old-args", "", "no remote shell splits or expands names; name each SRC"),
    Foreign("--inc-recursive", "", _WHOLE),
    Foreign("--i-r", "", _WHOLE),
    Foreign("--block-size", "B", "files are cut by their content; leave it out"),
    Foreign("--crtimes", "N", "Linux lets nobody set when a file was made; leave it out"),
    Foreign("--8-bit-output", "8", "names are shown as UTF-8, and what is none is escaped"),
    Foreign("--trust-sender", "", "what comes is always checked; leave it out"),
    Foreign("--max-alloc", "", "memory is bounded in any case; leave it out"),
    Foreign("--compress-threads", "", "leave it out"),
    Foreign("--checksum-seed", "", "leave it out"),
    Foreign("--iconv", "", "names are bytes, and go over as they are"),
    Foreign("--protocol", "", "both ends find a version that they share; leave it out"),
    Foreign("--copy-as", "", "run it as that user"),
    Foreign("--write-batch", "", _BATCH),
    Foreign("--only-write-batch", "", _BATCH),
    Foreign("--read-batch", "", _BATCH),
    Foreign("--daemon", "", _DAEMON),
    Foreign("--password-file", "", _DAEMON),
    Foreign("--early-input", "", _DAEMON),
    Foreign("--sockopts", "", _DAEMON),
    Foreign("--copy-devices", "", "a device has no size to compare by; use dd"),
    Foreign("--write-devices", "", "a device is no part of a tree, and cannot be replaced; use dd"),
    Foreign("--insecure-links"),
    Foreign("--confine-root"),
)
