"""The rule set of a run, and the rules in force in one directory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from syncron_lib.core.names import shown
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules import gitignore, rsync
from syncron_lib.core.rules.match import Progress, RuleList, Run, Runs
from syncron_lib.core.rules.pattern import Component, Rule
from syncron_lib.errors import GuardRefused

SYNCRONIGNORE = b".syncronignore"
GITIGNORE = b".gitignore"
GIT_EXCLUDE = b".git/info/exclude"
GIT = b".git"
"""As a key among the ignore files: "an entry of this name is here", whatever its content."""

MAX_IGNORE_FILE = 1 << 20
"""Bytes; the largest ignore file that is read. The largest published ones stay under 100 KiB;
more is no list that a person keeps, and patterns cost memory and time for every name."""


MAX_WILDCARDS = 50_000
"""Elements (bytes, sets, stars) in all patterns of one ignore file that need an expression.
Each may be tried for each name; the largest published files have a few hundred."""


class IgnoreFileRefused(GuardRefused):
    """An ignore file is larger than `MAX_IGNORE_FILE`, or needs more than `MAX_WILDCARDS`.

    Neither honouring a part of it nor ignoring it would be safe: with ``--delete`` both could
    take away what it protects at the destination.
    """


class _Level(NamedTuple):
    """One source of rules, and how far its rules have come."""

    rules: RuleList
    progress: Progress
    git: bool


class Scope:
    """The rules in force in one directory. Immutable; one a directory, made from its parent's.

    ``digest``: 16 bytes; with the same path and the same digest, every answer here and below
    is the same (as far as the ignore files below are the same).
    ``ignore_names``: which names, where they occur in this directory, must be given to
    `with_files` before the first question: ignore files with their content, `GIT` with any
    content (b"" will do), and with `GIT` also `GIT_EXCLUDE` if that file can be read.
    ``trivial``: nothing directly in this directory is excluded; `excluded` need not be called.
    """

    __slots__ = (
        "_depth",
        "_for_directories",
        "_for_files",
        "_levels",
        "_name",
        "_parent",
        "_path",
        "digest",
        "ignore_names",
        "trivial",
    )

    def __init__(
        self,
        levels: tuple[_Level, ...],
        digest: bytes,
        ignore_names: frozenset[bytes],
        parent: Optional[Scope],
        name: bytes,
        *,
        arranged: Optional[Scope] = None,
    ) -> None:
        """``arranged`` is a scope whose rules have come as far as those of this one."""
        self._levels = levels
        self._parent = parent
        self._name = name
        self._path: Optional[bytes] = None
        self._depth: int = 0 if parent is None else parent._depth + 1
        self.digest = digest
        self.ignore_names = ignore_names
        self._for_directories: Runs
        self._for_files: Runs
        if arranged is not None:
            self._for_directories = arranged._for_directories
            self._for_files = arranged._for_files
        else:
            self._for_directories, self._for_files = _arrange(levels)
        self.trivial = not (self._for_directories or self._for_files)

    def excluded(self, name: bytes, is_directory: bool) -> bool:
        """Whether the entry ``name`` of this directory is no part of the tree.

        ``is_directory`` is False for a symbolic link, whatever it points to. Whoever asks
        never descends into what is excluded.
        """
        # Hot: once for every entry of a tree.
        for exclude, literals, suffixes, prefixes, by_name, by_path, git in (
            self._for_directories if is_directory else self._for_files
        ):
            if (
                name in literals
                or name.endswith(suffixes)
                or name.startswith(prefixes)
                or (by_name is not None and by_name(name))
                or (by_path is not None and by_path(self._below() + name))
            ):
                if git and name == GIT:
                    continue
                return exclude
        return False

    def child(self, name: bytes) -> Scope:
        """The scope of the directory ``name`` here, before its own ignore files are read."""
        levels = self._levels
        ignore_names = self.ignore_names
        same = True
        if name == GIT and GITIGNORE in ignore_names:
            # Git's own files are no part of what its ignore files speak about.
            levels = tuple(level for level in levels if not level.git)
            ignore_names = _WITHOUT_GIT
            same = False
        if any(level.progress for level in levels):
            levels = tuple(
                level._replace(progress=level.rules.below(level.progress, name))
                if level.progress
                else level
                for level in levels
            )
            same = False
        return Scope(levels, self.digest, ignore_names, self, name, arranged=self if same else None)

    def with_files(self, files: Mapping[bytes, bytes]) -> Scope:
        """This scope and the ignore files found in its directory, keyed as `ignore_names` says.

        Keys that `ignore_names` does not ask for are passed over. Raises `IgnoreFileRefused`.
        """
        wanted = [
            (key, files[key])
            for key in (SYNCRONIGNORE, GITIGNORE, GIT_EXCLUDE)
            if key in files and (GIT if key is GIT_EXCLUDE else key) in self.ignore_names
        ]
        repository = GIT in self.ignore_names and (GIT in files or GIT_EXCLUDE in files)
        if not wanted and not repository:
            return self
        digest = hashlib.sha256(self.digest)
        digest.update(b"%d %d " % (self._depth, repository))
        own = []
        for key, content in wanted:
            rules = _ignore_rules(content)
            if rules is None:
                raise IgnoreFileRefused(
                    "%s holds too many patterns for an ignore file; shorten it, or rename it "
                    "if it is none." % shown(self._below() + key)
                )
            digest.update(b"%s %d " % (key, len(content)))
            digest.update(content)
            git = key is not SYNCRONIGNORE
            filters = RuleList(rules, git=git)
            own.append(_Level(filters, filters.start, git))
        # The command line's rules stay in front; the rest comes from outer directories.
        outer = tuple(level for level in self._levels[1:] if not (repository and level.git))
        return Scope(
            (self._levels[0], *own, *outer),
            digest.digest()[:16],
            self.ignore_names,
            self._parent,
            self._name,
        )

    def _below(self) -> bytes:
        """What comes before a name of this directory in its path: empty, or ends in a slash."""
        if self._path is None:
            names = []
            scope: Optional[Scope] = self
            while scope is not None and scope._parent is not None:
                names.append(scope._name + b"/")
                scope = scope._parent
            self._path = b"".join(reversed(names))
        return self._path


def _arrange(levels: tuple[_Level, ...]) -> tuple[Runs, Runs]:
    for_directories: list[Run] = []
    for_files: list[Run] = []
    for level in levels:
        directories, files = level.rules.runs(level.progress)
        for_directories.extend(directories)
        for_files.extend(files)
    return _without_vain(for_directories), _without_vain(for_files)


def _without_vain(runs: Sequence[Run]) -> Runs:
    """``runs`` without those at the end that only say what holds anyway: included."""
    end = len(runs)
    while end and not runs[end - 1].exclude:
        end -= 1
    return tuple(runs[:end])


def _ignore_rules(content: bytes) -> Optional[list[Rule]]:
    """The rules of an ignore file, the deciding one first; None if they are too many."""
    if len(content) > MAX_IGNORE_FILE:
        return None
    out: list[Rule] = []
    wildcards = 0
    for line in reversed(gitignore.lines(content)):
        for rule in gitignore.rules(line):
            out.append(rule)
            for component in rule.components or ():
                if isinstance(component, Component):
                    wildcards += len(component.tokens)
        if wildcards > MAX_WILDCARDS:
            return None
    return out


_WITHOUT_GIT = frozenset((SYNCRONIGNORE,))
_WITH_GIT = frozenset((SYNCRONIGNORE, GITIGNORE, GIT))


class RuleSet:
    """The rules of one run. Reads nothing: ignore files are handed to `Scope.with_files`.

    ``trivial``: no rule of the command line excludes anything.
    """

    def __init__(self, filters: RuleList, digest: bytes, *, gitignore: bool, trivial: bool) -> None:
        self._root = Scope(
            (_Level(filters, filters.start, False),),
            digest,
            _WITH_GIT if gitignore else _WITHOUT_GIT,
            None,
            b"",
        )
        self.trivial = trivial

    @staticmethod
    def compile(options: RuleOptions) -> RuleSet:
        """Raises `UsageError` for a filter that is not ``b"- PATTERN"`` or ``b"+ PATTERN"``."""
        digest = hashlib.sha256(b"%d %d " % (options.gitignore, len(options.patterns)))
        filters: list[Rule] = []
        for text in options.patterns:
            digest.update(b"%d " % len(text))
            digest.update(text)
            filters.extend(rsync.rules(text))
        return RuleSet(
            RuleList(filters, git=False),
            digest.digest()[:16],
            gitignore=options.gitignore,
            trivial=not any(rule.exclude for rule in filters),
        )

    def root(self) -> Scope:
        """The scope of the tree's root directory, before its own ignore files are read."""
        return self._root
