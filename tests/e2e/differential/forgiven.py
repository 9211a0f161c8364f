"""What rsync makes of a tree and syncron does not, of which docs/rsync.md speaks: that is not
compared, and nothing else is left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from syncron_lib.core.choosing import is_unsafe
from tests.e2e.differential.cases import Case
from tests.e2e.differential.lines import is_lost, loses_backups, suffix
from tests.e2e.differential.trees import NOTE, Facts

_NOW = 1_700_000_000 * 10**9
"""Earlier than any run, and later than any time in the trees."""
_DIRECTORY, _LINK = oct(stat.S_IFDIR), oct(stat.S_IFLNK)
_LINKS = "hard links"
_ACLS = (f"{NOTE}aacl", f"{NOTE}dacl")


def forgive(theirs: Facts, ours: Facts, case: Case, top: Path, said: str) -> None:
    """Leave out of both what rsync is known to do otherwise. ``top``: where the source's names are
    below, as they are below the destination. ``said``: by syncron, of what went wrong."""
    only_ours = [name for name in ours if name not in theirs]
    if case.has("delete"):
        _times_of_deleting(theirs, ours)
    if case.has("b"):
        _without(ours, only_ours, lambda name: _is_not_backed_up(name, ours[name], case))
    if loses_backups(case):
        for facts, others in ((theirs, ours), (ours, theirs)):
            alone = [name for name in facts if name not in others]
            _without(facts, alone, lambda name: is_lost(name, case))
    if "Nothing is deleted" in said:
        # rsync does not delete any more once it has found that out.
        _without(ours, only_ours, lambda name: not _is_there(top, name))
    if "its backups would stay there" in said:
        # rsync makes the backups, and then finds that the directory is not empty.
        _without_what_is_kept(theirs, ours, top)
    if case.has("fake") and case.has("A") and case.has("X"):
        _without_acls_that_are_lost(theirs, ours)
    if case.has("H") and not case.has("delete"):
        _without_links_to_others(theirs, ours, top)


def _times_of_deleting(theirs: Facts, ours: Facts) -> None:
    """rsync leaves some directories that it deletes from with the time at which it did that."""
    for name, fact in theirs.items():
        time = fact[2]
        if isinstance(time, int) and time > _NOW and fact[0] == _DIRECTORY and name in ours:
            theirs[name] = (*fact[:2], *ours[name][2:3], *fact[3:])


def _without(facts: Facts, names: list[str], wanted: Callable[[str], bool]) -> None:
    for name in names:
        if name in facts and wanted(name):
            del facts[name]


def _is_not_backed_up(name: str, fact: tuple[object, ...], case: Case) -> bool:
    """rsync keeps no backup of a symlink that may lead out of the tree, and none of what is called
    like a backup where another kind comes in its place."""
    beside = not case.has("--backup-dir")
    if not (name.endswith(suffix(case)) if beside else name.startswith("old/")):
        return False
    if beside and name.endswith(2 * suffix(case)):
        return True
    target, path = fact[5], os.fsencode(name.partition("/")[2])
    unsafe = isinstance(target, bytes) and fact[0] == _LINK and is_unsafe(path, target)
    return unsafe and case.has("--safe-links")


def _is_there(top: Path, name: str) -> bool:
    return os.path.lexists(top / name.partition("/")[2])


def _without_what_is_kept(theirs: Facts, ours: Facts, top: Path) -> None:
    places = [
        f"{name}/"
        for name, fact in ours.items()
        if fact[0] == _DIRECTORY and _is_there(top, name) and _is_no_directory(top, name)
    ]
    for facts in (theirs, ours):
        _without(facts, [*facts], lambda name: name.startswith(tuple(places)))


def _is_no_directory(top: Path, name: str) -> bool:
    path = top / name.partition("/")[2]
    return path.is_symlink() or not path.is_dir()


def _without_links_to_others(theirs: Facts, ours: Facts, top: Path) -> None:
    """A file that only has another time is brought over by rsync, and gets that from syncron: then
    so do names that it has beside those of the source."""
    apart: set[object] = set()
    for facts in (theirs, ours):
        for group in facts[_LINKS][3:]:
            assert isinstance(group, tuple)
            if len(group) > 1 and not all(_is_there(top, name) for name in group):
                apart.update(group)
    for facts in (theirs, ours):
        _without(facts, [*facts], lambda name: name in apart)
        groups = facts[_LINKS][3:]
        facts[_LINKS] = (None, None, None, *(group for group in groups if apart.isdisjoint(group)))  # type: ignore[arg-type]


def _without_acls_that_are_lost(theirs: Facts, ours: Facts) -> None:
    """rsync takes its own note of an ACL for an attribute too many when another one changes."""
    for name, fact in theirs.items():
        kept, mine = fact[-1], ours.get(name, (None,))[-1]
        if isinstance(kept, list) and isinstance(mine, list):
            there = {each for each, _ in kept}
            left = [each for each in mine if each[0] in there or each[0] not in _ACLS]
            ours[name] = (*ours[name][:-1], left)
