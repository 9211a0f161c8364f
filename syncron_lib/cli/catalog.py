"""Every option, once: the parser, the configuration and the tests of both read this table."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from syncron_lib.cli.settings import Ownership
from syncron_lib.core.options import DeleteCap


class Kind(Enum):
    """How an option takes its value."""

    SWITCH = "switch"
    """On by its name, off by ``--no-`` and its name; true or false in YAML."""
    PRESET = "preset"
    """Says what holds by default; there is no off."""
    COUNT = "count"
    """Each time it is given counts; a number in YAML."""
    NUMBER = "number"
    TEXT = "text"
    NUMBER_OR_TEXT = "number or text"
    FILES = "files"
    """Repeatable file names; one or a list in YAML."""
    TEXTS = "texts"
    """Repeatable; one or a list in YAML."""
    FLAGS = "flags"
    """Words that each set fields of their own."""
    FILE = "file"
    """A file name."""
    RULES = "rules"
    """Repeatable patterns, in order with those of the other options of this kind."""
    RULE_FILES = "rule files"
    """The same, read from files."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option that may stand on the command line and in the configuration."""

    group: str
    long: str
    kind: Kind
    help: str
    short: str = ""
    alias: str = ""
    """Another long name, on the command line only."""
    metavar: str = ""
    field: str = ""
    """The field of `Settings`; by default the long name."""
    on: Any = True
    off: Any = False
    convert: Callable[[str], Any] = str
    """From the text as written; raises ValueError with a phrase that says what is expected."""
    include: bool = False
    """Whether a rule keeps what it matches."""

    @property
    def target(self) -> str:
        """The field of `Settings` that this option sets."""
        return self.field or self.long.replace("-", "_")

    @property
    def takes_value(self) -> bool:
        """Whether a value follows on the command line."""
        return self.kind not in (Kind.SWITCH, Kind.PRESET, Kind.COUNT)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ValueError("expected a number of seconds such as 30 or 0.5")
    return float(text)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("expected a port number from 1 to 65535")
    return int(text)


def _delete_cap(text: str) -> DeleteCap:
    if re.fullmatch(r"[0-9]{1,18}", text):
        return DeleteCap(entries=int(text))
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?%", text) and float(text[:-1]) <= 100:
        return DeleteCap(percent=float(text[:-1]))
    raise ValueError("expected a number of deletes such as 100, or a share such as 10%")


def _compression(text: str) -> str:
    if text not in ("auto", "zstd", "zlib", "none"):
        raise ValueError("expected auto, zstd, zlib or none")
    return text


def _compression_level(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 22:
        raise ValueError(
            "expected a level from 1 to 22, for zlib to 9 (--no-compress is not to compress)"
        )
    return int(text)


_RATE = re.compile(
    r"(?P<number>[0-9]{1,12}(\.[0-9]{0,9})?)(?P<unit>[kmgtp]?)(?P<form>b|ib)?", re.IGNORECASE
)
_LEAST_RATE = 512


def _rate(text: str) -> int:
    """rsync's units: KiB where none is said, KB and so on are thousands, B is bytes."""
    found = _RATE.fullmatch(text)
    form = ((found and found["form"]) or "").lower()
    if found is None or (form == "ib" and not found["unit"]):
        raise ValueError("expected a rate such as 500 (KiB a second), 1.5m or 2MB; 0 is no limit")
    power = "kmgtp".index(found["unit"].lower()) + 1 if found["unit"] else int(not form)
    rate = int(float(found["number"]) * (1000 if form == "b" else 1024) ** power)
    if rate < _LEAST_RATE and float(found["number"]):
        raise ValueError(f"expected at least {_LEAST_RATE} bytes a second, or 0 for no limit")
    return rate


def _not_empty(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("expected a text that is not empty")
    return text


def _suffix(text: str) -> str:
    if "/" in text or "\0" in text:
        raise ValueError("expected the end of a name, without a slash")
    return text


_TOLD = {
    "name": ("names", (False, True)),
    "progress": ("progress", (False, True, True)),
    "stats": ("stats", (False, True, True, True)),
}
"""rsync's flags that are told here: the field, and its value at each level."""
_SILENT = "backup copy del flist misc mount nonreg remove skip symsafe".split()
"""Those that are not: nothing need be done to silence them."""


def _info(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in text.lower().split(","):
        parts = re.fullmatch("([a-z]+)([0-9]?)", word)
        name, level = (parts[1], int(parts[2] or 1)) if parts is not None else ("", 0)
        if name == "none" or (name == "all" and level == 0):
            found.update((field, False) for field, _ in _TOLD.values())
        elif name in _TOLD:
            field, values = _TOLD[name]
            found[field] = values[min(level, len(values) - 1)]
        elif name not in _SILENT or level:
            raise ValueError(
                f"{word!r} is none of {', '.join(_TOLD)}, each with 0 behind it to silence it"
            )
    return found


def _format(text: str) -> str:
    from syncron_lib.cli.format import require_known  # most runs have no format

    return require_known(text)


_WHAT = "What is carried over"
_RULES = "What belongs to the tree"
_SAFETY = "Deleting, and guards"
_HOW = "How"
_REMOTE = "The remote side"
_OUTPUT = "Output"

_PROGRESS = {"progress": True}
_AS_BY_DEFAULT = {
    "perms": True,
    "times": True,
    "owner": Ownership.WHERE_ROOT,
    "group": Ownership.WHERE_ROOT,
}

OPTIONS: tuple[Option, ...] = (
    Option(
        _WHAT,
        "archive",
        Kind.PRESET,
        "what holds by default: -rlpt, and -og where the receiver is root",
        "a",
        on=_AS_BY_DEFAULT,
    ),
    Option(_WHAT, "recursive", Kind.PRESET, "with all that is below (always)", "r", on={}),
    Option(_WHAT, "links", Kind.PRESET, "symlinks as symlinks (always)", "l", on={}),
    Option(_WHAT, "perms", Kind.SWITCH, "permissions (default)", "p"),
    Option(_WHAT, "times", Kind.SWITCH, "modification times (default)", "t"),
    Option(
        _WHAT,
        "owner",
        Kind.SWITCH,
        "owner (default where the receiver is root)",
        "o",
        on=Ownership.ALWAYS,
        off=Ownership.NEVER,
    ),
    Option(
        _WHAT,
        "group",
        Kind.SWITCH,
        "group (default where the receiver is root)",
        "g",
        on=Ownership.ALWAYS,
        off=Ownership.NEVER,
    ),
    Option(
        _RULES,
        "exclude",
        Kind.RULES,
        "leave out what matches",
        metavar="PATTERN",
        field="patterns",
        convert=_not_empty,
    ),
    Option(
        _RULES,
        "include",
        Kind.RULES,
        "keep what matches, against later excludes",
        metavar="PATTERN",
        field="patterns",
        convert=_not_empty,
        include=True,
    ),
    Option(
        _RULES,
        "exclude-from",
        Kind.RULE_FILES,
        "excludes from a file, one a line (- is standard input)",
        metavar="FILE",
        field="patterns",
        convert=_not_empty,
    ),
    Option(
        _RULES,
        "include-from",
        Kind.RULE_FILES,
        "includes from a file",
        metavar="FILE",
        field="patterns",
        convert=_not_empty,
        include=True,
    ),
    Option(_RULES, "gitignore", Kind.SWITCH, "leave out what git ignores"),
    Option(_RULES, "one-file-system", Kind.SWITCH, "stay on the file system of SRC", "x"),
    Option(_SAFETY, "dry-run", Kind.SWITCH, "show what would happen, change nothing", "n"),
    Option(_SAFETY, "delete", Kind.SWITCH, "delete from DST what SRC does not have"),
    *(
        Option(_SAFETY, name, Kind.PRESET, text, alias=alias, on={"delete": True})
        for name, alias, text in (
            ("delete-before", "", "the same: deletes come last in any case"),
            ("delete-during", "del", "the same"),
            ("delete-delay", "", "the same"),
            ("delete-after", "", "the same"),
        )
    ),
    Option(
        _SAFETY,
        "ignore-errors",
        Kind.SWITCH,
        "delete although a part of SRC could not be read (but not below that)",
    ),
    Option(_SAFETY, "force", Kind.SWITCH, "let a file replace a directory that is not empty"),
    Option(
        _SAFETY,
        "max-delete",
        Kind.NUMBER_OR_TEXT,
        "refuse to delete more than N, or N%% of DST",
        metavar="N[%]",
        convert=_delete_cap,
    ),
    Option(
        _SAFETY,
        "allow-empty-source",
        Kind.SWITCH,
        "go on although SRC is empty and DST would become so",
    ),
    Option(_SAFETY, "backup", Kind.SWITCH, "keep what is replaced or deleted, as NAME~", "b"),
    Option(
        _SAFETY,
        "backup-dir",
        Kind.TEXT,
        "... in DIR, relative to DST, under its own name; implies -b",
        metavar="DIR",
        convert=_not_empty,
    ),
    Option(
        _SAFETY,
        "suffix",
        Kind.TEXT,
        "end of a backup's name (default ~, with --backup-dir none)",
        metavar="SUFFIX",
        convert=_suffix,
    ),
    Option(_SAFETY, "allow-unmounted", Kind.SWITCH, "go on although DST seems not to be mounted"),
    Option(_SAFETY, "mkpath", Kind.SWITCH, "create the missing parents of DST too"),
    Option(_HOW, "checksum", Kind.SWITCH, "accepted: content is what is compared anyway", "c"),
    Option(
        _HOW,
        "compress",
        Kind.SWITCH,
        "compress everything that shrinks by it",
        "z",
        on="always",
        off="none",
    ),
    Option(
        _HOW,
        "compress-choice",
        Kind.TEXT,
        "auto (where it helps; default), zstd, zlib or none",
        alias="zc",
        metavar="WAY",
        field="compress",
        convert=_compression,
    ),
    Option(
        _HOW,
        "compress-level",
        Kind.NUMBER,
        "how thoroughly: 1 to 22 (zlib: to 9); implies -z",
        alias="zl",
        metavar="N",
        convert=_compression_level,
    ),
    Option(
        _HOW,
        "bwlimit",
        Kind.NUMBER_OR_TEXT,
        "send no faster, in KiB a second or e.g. 1.5m",
        metavar="RATE",
        convert=_rate,
    ),
    Option(
        _HOW,
        "whole-file",
        Kind.SWITCH,
        "send changed files whole (default between two local roots)",
        "W",
    ),
    Option(_HOW, "inplace", Kind.SWITCH, "write what changed into the files of DST; not atomic"),
    Option(
        _HOW,
        "partial",
        Kind.PRESET,
        "keep what an interrupted run has brought over (always)",
        on={},
    ),
    Option(
        _HOW,
        "link-dest",
        Kind.TEXTS,
        "hard-link what did not change from DIR, relative to DST; repeatable",
        metavar="DIR",
        convert=_not_empty,
    ),
    Option(
        _HOW,
        "copy-dest",
        Kind.TEXTS,
        "the same, but copy it",
        metavar="DIR",
        convert=_not_empty,
    ),
    Option(_HOW, "fsync", Kind.SWITCH, "end when all is on the disk of DST, safe from power cuts"),
    Option(
        _HOW,
        "timeout",
        Kind.NUMBER,
        "give up when nothing is heard for so long (default 60, 0 never)",
        metavar="SECONDS",
        convert=_seconds,
    ),
    Option(
        _HOW,
        "lock-wait",
        Kind.NUMBER,
        "wait so long for another run to end (default 0)",
        metavar="SECONDS",
        convert=_seconds,
    ),
    Option(
        _REMOTE,
        "port",
        Kind.NUMBER,
        "SSH port (-p is --perms, as in rsync)",
        metavar="PORT",
        convert=_port,
    ),
    Option(
        _REMOTE,
        "identity",
        Kind.FILES,
        "SSH key file; repeatable (-i is --itemize-changes)",
        metavar="FILE",
        convert=_not_empty,
    ),
    Option(
        _REMOTE,
        "rsh",
        Kind.TEXT,
        "run an external ssh, e.g. -e 'ssh -p 2222'",
        "e",
        metavar="COMMAND",
        convert=_not_empty,
    ),
    Option(
        _REMOTE,
        "remote-python",
        Kind.TEXT,
        "Python to use there",
        metavar="PATH",
        convert=_not_empty,
    ),
    Option(
        _REMOTE,
        "remote-syncron",
        Kind.TEXT,
        "syncron to use there",
        metavar="PATH",
        convert=_not_empty,
    ),
    Option(_OUTPUT, "verbose", Kind.COUNT, "name what is changed; -vv tells the phases too", "v"),
    Option(_OUTPUT, "quiet", Kind.SWITCH, "errors only", "q"),
    Option(
        _OUTPUT,
        "itemize-changes",
        Kind.SWITCH,
        "say of every change what it is, as rsync does",
        "i",
    ),
    Option(
        _OUTPUT,
        "out-format",
        Kind.TEXT,
        "a line for each change, by rsync's escapes such as %%i %%n%%L",
        metavar="FORMAT",
        convert=_format,
    ),
    Option(
        _OUTPUT,
        "log-file",
        Kind.FILE,
        "write what is done to FILE too",
        metavar="FILE",
        convert=_not_empty,
    ),
    Option(
        _OUTPUT,
        "log-file-format",
        Kind.TEXT,
        "the same for its lines (default %%i %%n%%L; empty: none)",
        metavar="FORMAT",
        convert=_format,
    ),
    Option(_OUTPUT, "stats", Kind.SWITCH, "counts, bytes and roots at the end"),
    Option(
        _OUTPUT,
        "human-readable",
        Kind.COUNT,
        "numbers of --stats in units of 1000; -hh of 1024",
        "h",
    ),
    Option(_OUTPUT, "progress", Kind.SWITCH, "show progress (default on a terminal)"),
    Option(_OUTPUT, "", Kind.PRESET, "the same as --partial --progress", "P", on=_PROGRESS),
    Option(
        _OUTPUT,
        "info",
        Kind.FLAGS,
        "what is told: name, progress, stats, each with 0 for not",
        metavar="FLAGS",
        convert=_info,
    ),
    Option(_OUTPUT, "json", Kind.SWITCH, "one JSON object a line, the summary last"),
)
"""Options for the command line and for jobs alike."""

VERIFY = Option("Run", "verify", Kind.SWITCH, "compare only, by content: exit 0 equal, 9 different")
"""A way to run rather than an option, but a job may say it too."""

CONFIGURABLE: dict[str, Option] = {each.long: each for each in (*OPTIONS, VERIFY) if each.long}
"""What a job or the defaults may say, by key."""
