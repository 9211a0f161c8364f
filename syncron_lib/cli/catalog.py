"""Every option, once: the parser, the configuration and the tests of both read this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from syncron_lib.cli import values
from syncron_lib.cli.settings import Ownership
from syncron_lib.core.ids import parse_chown, parse_map


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
    RULES = "rules"
    """Repeatable patterns, in order with those of the other options of this kind."""
    RULE_FILES = "rule files"
    """The same, read from files."""
    FILTERS = "filters"
    """Repeatable filter rules, in one order with these."""
    LETTER = "letter"
    """Only a letter, on the command line only: a filter rule each time."""


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
        return self.kind not in (Kind.SWITCH, Kind.PRESET, Kind.COUNT, Kind.LETTER)


_WHAT = "What is carried over"
_RULES = "What belongs to the tree"
_CHOICE = "What is brought over"
_SAFETY = "Deleting, and guards"
_HOW = "How"
_REMOTE = "The remote side"
_OUTPUT = "Output"

_AS_BY_DEFAULT = {
    "links": True,
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
    Option(
        _WHAT,
        "recursive",
        Kind.PRESET,
        "with all that is below (always, but for --files-from)",
        "r",
        on={"recursive": True},
    ),
    Option(_WHAT, "links", Kind.SWITCH, "symlinks as symlinks (default)", "l"),
    Option(_WHAT, "safe-links", Kind.SWITCH, "leave symlinks that point out of the tree"),
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
    Option(_WHAT, "omit-dir-times", Kind.SWITCH, "times, but not those of directories", "O"),
    Option(_WHAT, "omit-link-times", Kind.SWITCH, "times, but not those of symlinks", "J"),
    Option(
        _WHAT,
        "devices",
        Kind.PRESET,
        "device nodes where the receiver is root (always); -D: and --specials",
        "D",
        on={},
    ),
    Option(_WHAT, "specials", Kind.PRESET, "fifos and sockets (always)", on={}),
    Option(_WHAT, "numeric-ids", Kind.SWITCH, "keep numbers of users and groups, not names"),
    Option(
        _WHAT,
        "usermap",
        Kind.TEXT,
        "give what is one user's to another; implies -o",
        metavar="FROM:TO,...",
        convert=parse_map,
    ),
    Option(
        _WHAT,
        "groupmap",
        Kind.TEXT,
        "the same for groups; implies -g",
        metavar="FROM:TO,...",
        convert=parse_map,
    ),
    Option(
        _WHAT,
        "chown",
        Kind.TEXT,
        "give all to this user and group",
        metavar="USER:GROUP",
        convert=parse_chown,
    ),
    Option(_WHAT, "hard-links", Kind.SWITCH, "which names are names of one file", "H"),
    Option(_WHAT, "xattrs", Kind.SWITCH, "extended attributes", "X"),
    Option(_WHAT, "acls", Kind.SWITCH, "access control lists; implies -p", "A"),
    Option(
        _RULES,
        "exclude",
        Kind.RULES,
        "leave out what matches",
        metavar="PATTERN",
        field="patterns",
        convert=values.not_empty,
    ),
    Option(
        _RULES,
        "include",
        Kind.RULES,
        "keep what matches, against later excludes",
        metavar="PATTERN",
        field="patterns",
        convert=values.not_empty,
        include=True,
    ),
    Option(
        _RULES,
        "exclude-from",
        Kind.RULE_FILES,
        "excludes from a file, one a line (- is standard input)",
        metavar="FILE",
        field="patterns",
        convert=values.not_empty,
    ),
    Option(
        _RULES,
        "include-from",
        Kind.RULE_FILES,
        "includes from a file",
        metavar="FILE",
        field="patterns",
        convert=values.not_empty,
        include=True,
    ),
    Option(
        _RULES,
        "filter",
        Kind.FILTERS,
        "a filter rule, as rsync has them",
        "f",
        metavar="RULE",
        field="patterns",
        convert=values.not_empty,
    ),
    Option(
        _RULES,
        "",
        Kind.LETTER,
        "rules from .rsync-filter files; -FF leaves these files out",
        "F",
        on=("dir-merge /.rsync-filter", "exclude .rsync-filter"),
    ),
    Option(_RULES, "cvs-exclude", Kind.SWITCH, "leave out what CVS ignores", "C"),
    Option(
        _RULES,
        "delete-excluded",
        Kind.SWITCH,
        "delete from DST also what is left out; implies --delete",
    ),
    Option(
        _RULES,
        "files-from",
        Kind.TEXT,
        "only what FILE lists, a path a line (- is standard input)",
        metavar="FILE",
        convert=values.not_empty,
    ),
    Option(_RULES, "from0", Kind.SWITCH, "what FILE lists is ended by NUL", "0"),
    Option(
        _RULES,
        "prune-empty-dirs",
        Kind.SWITCH,
        "leave out directories that hold no file",
        "m",
    ),
    Option(_RULES, "gitignore", Kind.SWITCH, "leave out what git ignores"),
    Option(_RULES, "one-file-system", Kind.SWITCH, "stay on the file system of SRC", "x"),
    Option(
        _CHOICE,
        "existing",
        Kind.SWITCH,
        "create nothing that DST does not have",
        alias="ignore-non-existing",
    ),
    Option(_CHOICE, "ignore-existing", Kind.SWITCH, "leave what DST has as it is there"),
    Option(_CHOICE, "update", Kind.SWITCH, "leave files that are newer in DST", "u"),
    Option(
        _CHOICE,
        "max-size",
        Kind.NUMBER_OR_TEXT,
        "leave files that are larger than SIZE",
        metavar="SIZE",
        convert=values.size,
    ),
    Option(
        _CHOICE,
        "min-size",
        Kind.NUMBER_OR_TEXT,
        "leave files that are smaller than SIZE",
        metavar="SIZE",
        convert=values.size,
    ),
    Option(_CHOICE, "size-only", Kind.SWITCH, "take files of one size to be the same"),
    Option(_CHOICE, "ignore-times", Kind.SWITCH, "bring every file over, equal or not", "I"),
    Option(
        _CHOICE,
        "modify-window",
        Kind.NUMBER,
        "let times differ by so many seconds (0: within one)",
        "@",
        metavar="N",
        convert=values.window,
    ),
    Option(_SAFETY, "dry-run", Kind.SWITCH, "show what would happen, change nothing", "n"),
    Option(_SAFETY, "delete", Kind.SWITCH, "delete from DST what SRC does not have"),
    Option(_SAFETY, "force", Kind.SWITCH, "let a file replace a directory that is not empty"),
    Option(
        _SAFETY,
        "max-delete",
        Kind.NUMBER_OR_TEXT,
        "refuse to delete more than N, or N%% of DST",
        metavar="N[%]",
        convert=values.delete_cap,
    ),
    Option(
        _SAFETY,
        "allow-empty-source",
        Kind.SWITCH,
        "go on although SRC is empty and DST would become so",
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
        convert=values.compression,
    ),
    Option(
        _HOW,
        "compress-level",
        Kind.NUMBER,
        "how thoroughly: 1 to 22 (zlib: to 9); implies -z",
        alias="zl",
        metavar="N",
        convert=values.compression_level,
    ),
    Option(
        _HOW,
        "bwlimit",
        Kind.NUMBER_OR_TEXT,
        "send no faster, in KiB a second or e.g. 1.5m",
        metavar="RATE",
        convert=values.rate,
    ),
    Option(
        _HOW,
        "whole-file",
        Kind.SWITCH,
        "send changed files whole (default between two local roots)",
        "W",
    ),
    Option(_HOW, "inplace", Kind.SWITCH, "write what changed into the files of DST; not atomic"),
    Option(_HOW, "sparse", Kind.SWITCH, "have holes where new files have zeros", "S"),
    Option(_HOW, "fsync", Kind.SWITCH, "end when all is on the disk of DST, safe from power cuts"),
    Option(
        _HOW,
        "timeout",
        Kind.NUMBER,
        "give up when nothing is heard for so long (default 60, 0 never)",
        metavar="SECONDS",
        convert=values.seconds,
    ),
    Option(
        _HOW,
        "lock-wait",
        Kind.NUMBER,
        "wait so long for another run to end (default 0)",
        metavar="SECONDS",
        convert=values.seconds,
    ),
    Option(
        _REMOTE,
        "port",
        Kind.NUMBER,
        "SSH port (-p is --perms, as in rsync)",
        metavar="PORT",
        convert=values.port,
    ),
    Option(
        _REMOTE,
        "identity",
        Kind.FILES,
        "SSH key file; repeatable (-i is --itemize-changes)",
        metavar="FILE",
        convert=values.not_empty,
    ),
    Option(
        _REMOTE,
        "rsh",
        Kind.TEXT,
        "run an external ssh, e.g. -e 'ssh -p 2222'",
        "e",
        metavar="COMMAND",
        convert=values.not_empty,
    ),
    Option(
        _REMOTE,
        "remote-python",
        Kind.TEXT,
        "Python to use there",
        metavar="PATH",
        convert=values.not_empty,
    ),
    Option(
        _REMOTE,
        "remote-syncron",
        Kind.TEXT,
        "syncron to use there",
        metavar="PATH",
        convert=values.not_empty,
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
    Option(_OUTPUT, "stats", Kind.SWITCH, "counts, bytes and roots at the end"),
    Option(_OUTPUT, "progress", Kind.SWITCH, "show progress (default on a terminal)"),
    Option(_OUTPUT, "json", Kind.SWITCH, "one JSON object a line, the summary last"),
)
"""Options for the command line and for jobs alike."""

VERIFY = Option("Run", "verify", Kind.SWITCH, "compare only, by content: exit 0 equal, 9 different")
"""A way to run rather than an option, but a job may say it too."""

CONFIGURABLE: dict[str, Option] = {each.long: each for each in (*OPTIONS, VERIFY) if each.long}
"""What a job or the defaults may say, by key."""
