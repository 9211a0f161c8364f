"""What a run said, less what rsync and syncron are known to say otherwise."""

from __future__ import annotations

import re

from tests.e2e.differential.cases import Case

_ITEM = re.compile(r"(\*deleting  |[<>ch.][fdLDS].{9}) .*")
_QUIET = re.compile(
    # What syncron does not say: see docs/rsync.md.
    r"skipping non-regular file .*|cannot delete non-empty directory: .*|"
    r"ignoring unsafe symlink .*"
    r"|sent .* bytes/sec|total size is .*|total: matches=.*"
    r"|\[(sender|generator)\] (hiding|protecting|showing|risking) .*"
    r"|building file list \.\.\. (done)?|done|deleting in .*"
    r"|\(new\) backup_dir is .*|backed up .* to .*"
)


_SAME_FILE, _SAME_DIRECTORY = ".f" + 10 * " ", ".d" + 10 * " "
_ANY_TIME = ("*deleting", "deleting ", "skipping directory", "created directory")


def lines(output: str, case: Case, linked: set[str]) -> tuple[list[str], list[str]]:
    """What a run said, in order; and what it said to delete, which comes when it happens to.
    ``linked``: names of files that have several, which of them comes first is left open."""
    said = [line for line in output.split("\n") if line and not _QUIET.fullmatch(line)]
    if case.has("H"):
        said = [line for line in said if _named(line) not in linked]
    if case.has("vv") and case.has("X"):  # attributes do not count where rsync says that of a file
        said = [line.removesuffix(" is uptodate") for line in said]
    if case.has("delete"):
        # By deleting rsync changes a directory's time before it compares it.
        said = [re.sub(r"^\.d\.\.t", ".d...", line) for line in said]
        said = [line for line in said if not line.startswith((".d......... ", _SAME_DIRECTORY))]
        said = [line for line in said if case.has("-i") or not line.endswith("/")]
    if case.has("-R"):  # where all is left out there is no root to be told of
        said = [line for line in said if line != f"{_SAME_DIRECTORY}./"]
    if loses_backups(case):
        said = [line for line in said if line[:9] != "*deleting" or not is_lost(line[12:], case)]
    deleted = sorted(line for line in said if line.startswith(_ANY_TIME))
    rest = [line for line in said if line not in deleted]
    if not case.has("t") and not case.has("c"):
        rest = [each for each in map(_without_time, rest) if each]
    if case.has("A"):  # when it tells of permissions, rsync has set them with the ACL
        rest = [re.sub(r"^\.([fdSD])(...)p(...)a", r".\1\2.\3a", line) for line in rest]
    if case.has("prev"):
        # Made a link anew; copied and told as unchanged; made anew for other attributes.
        rest = [re.sub(r"^[hc](?=[fLSD] {9} |f\.\.[t.][pog.]{3})", ".", each) for each in rest]
    return rest, deleted


def loses_backups(case: Case) -> bool:
    """Whether rsync deletes backups, even those that it has just made."""
    return case.has("b") and case.has("--delete-excluded") and not case.has("--backup-dir")


def is_lost(path: str, case: Case) -> bool:
    """Whether that is done to it."""
    return any(name.endswith(suffix(case)) for name in path.split("/"))


def suffix(case: Case) -> str:
    """How backups are called."""
    return ".old" if case.has("--suffix=.old") else "~"


def _named(line: str) -> str:
    name = line[12:] if _ITEM.fullmatch(line) else line
    return name.partition(" => ")[0].removeprefix("src/")


def _without_time(line: str) -> str:
    """Without times rsync brings over whatever has another one, each time anew; syncron looks at
    what is in it."""
    if not re.match(r">f\.\.T|\.f {10}", line):
        return line
    return "" if line.startswith((">f..T...... ", _SAME_FILE)) else f".f...{line[5:]}"
