"""``--chmod``: rsync's changes of permissions, parsed and applied."""

from __future__ import annotations

import stat
from collections.abc import Sequence

from syncron_lib.core.table import TYPE_MASK
from syncron_lib.record import NamedTuple

_EVERYONE = 0o111
_CLASSES = {"u": 0o100, "g": 0o010, "o": 0o001, "a": _EVERYONE}
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_LETTERS = {"r": 4, "w": 2, "x": 1, "X": 1}
_SPECIAL = {"u": stat.S_ISUID, "g": stat.S_ISGID, "a": stat.S_ISUID | stat.S_ISGID}
_OWN_SPECIAL = {0o100: stat.S_ISUID, 0o010: stat.S_ISGID, 0o001: stat.S_ISVTX}


class Step(NamedTuple):
    """One item of the list. ``who``: a bit for each class, 0 where none was named; ``what``: bits
    of one class, or all of a number's. ``special``: set-id and sticky bits; ``cleared``: those that
    ``=`` takes away. ``copied``: the class whose bits are meant."""

    operator: str
    who: int
    what: int
    special: int
    cleared: int
    if_executable: bool
    copied: str
    directories: bool
    files: bool


def parse(text: str) -> tuple[Step, ...]:
    """The steps that ``text`` says. Raises ValueError with a phrase that says what is expected."""
    return tuple(map(_step, text.split(",")))


def _step(item: str) -> Step:
    rest = item.lstrip("DF")
    kinds = set(item[: len(item) - len(rest)])
    if len(kinds) > 1 or not rest:
        raise _unknown(item)
    directories, files = "D" in kinds, "F" in kinds
    if rest[0] in "01234567":
        if rest.strip("01234567") or int(rest, 8) > 0o7777:
            raise _unknown(item)
        return Step("#", 0, int(rest, 8), 0, 0, False, "", directories, files)
    end = next((index for index, each in enumerate(rest) if each in "+-="), None)
    if end is None:
        raise _unknown(item)
    who = special = 0
    # Whether it is for directories or files may also stand behind whom it is for.
    for each in rest[:end]:
        if each in "DF":
            directories, files = directories or each == "D", files or each == "F"
        elif each in _CLASSES:
            who |= _CLASSES[each]
            special |= _SPECIAL.get(each, 0)
        else:
            raise _unknown(item)
    if directories and files:
        raise _unknown(item)
    operator, letters = rest[end], rest[end + 1 :]
    if letters in _SHIFTS:
        cleared = sum(bit for each, bit in _OWN_SPECIAL.items() if each & (who or _EVERYONE))
        return Step(operator, who, 0, 0, cleared, False, letters, directories, files)
    what = given = 0
    for each in letters:
        if each in _LETTERS:
            what |= _LETTERS[each]
        elif each == "s":
            # A set-id bit for others is taken for the owner's, and takes a sticky bit back.
            given = given | special if special else stat.S_ISUID
        elif each == "t":
            given |= stat.S_ISVTX
        else:
            raise _unknown(item)
    cleared = special if given else 0
    return Step(operator, who, what, given, cleared, "X" in letters, "", directories, files)


def _unknown(item: str) -> ValueError:
    return ValueError(
        f"{item!r} is not understood; expected items such as u+rwX, Dg+s, F644 or g=u, with commas"
        " between them"
    )


def changed(mode: int, steps: Sequence[Step], umask: int) -> int:
    """``mode`` (``st_mode``, not a symlink's) with all ``steps`` applied. ``umask`` counts where
    nobody is named."""
    is_directory = mode & TYPE_MASK == stat.S_IFDIR
    keeps_x = is_directory or bool(mode & _EVERYONE)
    bits = mode & 0o7777
    for step in steps:
        if (step.directories and not is_directory) or (step.files and is_directory):
            continue
        if step.operator == "#":
            bits = step.what
            continue
        who = step.who or _EVERYONE
        what = bits >> _SHIFTS[step.copied] & 7 if step.copied else step.what
        given = who * what
        if not step.who:
            given &= ~umask
        given |= step.special
        if step.operator == "-":
            bits &= ~given
            continue
        if step.operator == "=":
            bits &= ~(who * 7 | step.cleared)
        if step.if_executable and not keeps_x:
            given &= ~_EVERYONE
        bits |= given
    return mode & TYPE_MASK | bits
