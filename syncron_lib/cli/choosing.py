"""Options about what belongs to a tree, and what of it is brought over."""

from __future__ import annotations

from syncron_lib.cli import values
from syncron_lib.cli.option import Kind, Option
from syncron_lib.core.options import Missing

_RULES = "What belongs to the tree"
_CHOICE = "What is brought over"

CHOOSING: tuple[Option, ...] = (
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
    Option(
        _RULES,
        "relative",
        Kind.SWITCH,
        "bring each SRC under its path as written, or what follows /./ in it",
        "R",
    ),
    Option(
        _RULES,
        "implied-dirs",
        Kind.SWITCH,
        "with the attributes of the directories on the way (default with -R)",
    ),
    Option(
        _RULES,
        "ignore-missing-args",
        Kind.PRESET,
        "leave out sources and listed paths that do not exist",
        on={"missing": Missing.IGNORE},
    ),
    Option(
        _RULES,
        "delete-missing-args",
        Kind.PRESET,
        "delete them from DST",
        on={"missing": Missing.DELETE},
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
)
"""A part of `syncron_lib.cli.catalog.OPTIONS`."""
