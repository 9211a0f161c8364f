"""The rules in force in one directory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Optional

from syncron_lib.core.names import shown
from syncron_lib.core.rules import filters, gitignore, rsync
from syncron_lib.core.rules.match import Progress, RuleList, Run, Runs, Stand
from syncron_lib.core.rules.pattern import Component, Rule
from syncron_lib.errors import GuardRefused, UsageError
from syncron_lib.record import NamedTuple

SYNCRONIGNORE = b".syncronignore"
GITIGNORE = b".gitignore"
GIT_EXCLUDE = b".git/info/exclude"
GIT = b".git"
"""As a key among the ignore files: "an entry of this name is here", whatever its content."""

IGNORE_FILES = frozenset((SYNCRONIGNORE, GITIGNORE))
"""Names of files that are read for what they exclude, whatever the filters say."""

MERGED = b":"
"""Begins the keys of files that ``dir-merge`` names. The part up to the last slash, if any, is the
way from where the file is down to the root."""


class Side(Enum):
    """Whose rules: what the sender hides, what the receiver protects, what it protects in a
    directory that is deleted, or what both of the first and the last leave out."""

    SENDER = "sender"
    RECEIVER = "receiver"
    DELETING = "deleting"
    BOTH = "both"


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


_IGNORE_FILES = 1 << 30
"""The place of ignore files: behind all filters."""


class Level(NamedTuple):
    """One source of rules, and how far its rules have come. ``place``: of the filter rule that it
    comes from. ``inherited``: holds in subdirectories too."""

    rules: RuleList
    progress: Progress
    git: bool
    place: int = 0
    inherited: bool = True


class Merge(NamedTuple):
    """A ``dir-merge`` rule. ``name``: of its file in every directory. ``manner``: how that is read.
    ``above``: from where on it is looked for in the directories that the root lies in, relative to
    the root or absolute; None where it is not."""

    place: int
    name: bytes
    manner: filters.Manner
    inherited: bool
    above: Optional[bytes]

    @property
    def key(self) -> bytes:
        """What stands for its file among the ignore files of a directory."""
        return MERGED + self.name


class Merges(NamedTuple):
    """The ``dir-merge`` rules of a run, for one ``side``, and the ``root`` of `Stand`."""

    rules: tuple[Merge, ...] = ()
    side: Side = Side.BOTH
    root: bytes = b""

    def names(self) -> frozenset[bytes]:
        """The names of their files."""
        return frozenset(merge.name for merge in self.rules)


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
        "_merges",
        "_name",
        "_parent",
        "_path",
        "digest",
        "ignore_names",
        "trivial",
    )

    def __init__(
        self,
        levels: tuple[Level, ...],
        digest: bytes,
        ignore_names: frozenset[bytes],
        parent: Optional[Scope],
        name: bytes,
        merges: Merges,
        *,
        arranged: Optional[Scope] = None,
    ) -> None:
        """``arranged`` is a scope whose rules have come as far as those of this one."""
        self._levels = levels
        self._merges = merges
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
        for exclude, literals, suffixes, prefixes, by_name, by_path, git, negated in (
            self._for_directories if is_directory else self._for_files
        ):
            if (
                name in literals
                or name.endswith(suffixes)
                or name.startswith(prefixes)
                or (by_name is not None and by_name(name))
                or (by_path is not None and by_path(self._below() + name))
            ):
                if negated or (git and name == GIT):
                    continue
                return exclude
            if negated:
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
            ignore_names = PLAIN_NAMES | self._merges.names()
            same = False
        if not all(level.inherited for level in levels):
            levels = tuple(level for level in levels if level.inherited)
            same = False
        if any(level.progress for level in levels):
            levels = tuple(
                level._replace(progress=level.rules.below(level.progress, name))
                if level.progress
                else level
                for level in levels
            )
            same = False
        arranged = self if same else None
        merges = self._merges
        return Scope(levels, self.digest, ignore_names, self, name, merges, arranged=arranged)

    def with_files(self, files: Mapping[bytes, bytes]) -> Scope:
        """This scope and the ignore files found in its directory, keyed as `ignore_names` says.

        Keys that `ignore_names` does not ask for are passed over. Raises `IgnoreFileRefused`.
        """
        levels, digest = self._levels, hashlib.sha256(self.digest)
        for merge in self._merges.rules:
            if merge.key in files:
                digest.update(b"%d %d %s" % (self._depth, merge.place, files[merge.key]))
                levels = self._merged(levels, merge, files[merge.key], self._below(), b"")
        wanted = [
            (key, files[key])
            for key in (SYNCRONIGNORE, GITIGNORE, GIT_EXCLUDE)
            if key in files and (GIT if key is GIT_EXCLUDE else key) in self.ignore_names
        ]
        repository = GIT in self.ignore_names and (GIT in files or GIT_EXCLUDE in files)
        if levels is self._levels and not wanted and not repository:
            return self
        digest.update(b"%d %d " % (self._depth, repository))
        own = []
        for key, content in wanted:
            rules = _ignore_rules(content)
            if rules is None:
                raise _refused(self._below() + key)
            digest.update(b"%s %d " % (key, len(content)))
            digest.update(content)
            git = key is not SYNCRONIGNORE
            listed = RuleList(rules, git=git)
            own.append(Level(listed, listed.start, git, _IGNORE_FILES))
        outer = [level for level in levels if not (repository and level.git)]
        first = sum(1 for level in outer if level.place < _IGNORE_FILES)
        outer[first:first] = own
        return self._with(tuple(outer), digest)

    def with_above(self, files: Mapping[bytes, bytes]) -> Scope:
        """The scope of the root, with the files of ``dir-merge`` rules found above it; keys as
        `Merge.key`, with the way down to the root in the name. Raises `IgnoreFileRefused`."""
        levels, digest = self._levels, hashlib.sha256(self.digest)
        # The nearest one decides first, so it comes last.
        for key in sorted(files, key=lambda key: -key.count(b"/")):
            below, name = key[len(MERGED) : key.rfind(b"/") + 1], key[key.rfind(b"/") + 1 :]
            for merge in self._merges.rules:
                if merge.name == name and below and merge.inherited:
                    digest.update(b"%s %d %s" % (key, merge.place, files[key]))
                    levels = self._merged(levels, merge, files[key], b"", below)
        return self if levels is self._levels else self._with(levels, digest)

    def _with(self, levels: tuple[Level, ...], digest: hashlib._Hash) -> Scope:
        known = digest.digest()[:16]
        return Scope(levels, known, self.ignore_names, self._parent, self._name, self._merges)

    def _merged(
        self,
        levels: tuple[Level, ...],
        merge: Merge,
        content: bytes,
        directory: bytes,
        below: bytes,
    ) -> tuple[Level, ...]:
        """``levels`` with what the file of a ``dir-merge`` rule says: before what is inherited."""
        inherited = [_INHERITED]
        rules = _of_merged(inherited, content, merge, self._merges.side)
        if rules is None:
            raise _refused(directory + merge.name)
        stand = Stand(directory, below, self._merges.root)
        listed = RuleList(rules, git=False, stand=stand)
        own = Level(listed, listed.start, False, merge.place, merge.inherited)
        if not inherited:  # cleared
            levels = tuple(level for level in levels if level.place != merge.place)
        at = sum(1 for level in levels if level.place < merge.place)
        return (*levels[:at], own, *levels[at:])

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


def _arrange(levels: tuple[Level, ...]) -> tuple[Runs, Runs]:
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


PLAIN_NAMES = frozenset((SYNCRONIGNORE,))
GITIGNORE_NAMES = frozenset((SYNCRONIGNORE, GITIGNORE, GIT))


def _refused(path: bytes) -> IgnoreFileRefused:
    return IgnoreFileRefused(
        "%s holds too many patterns for an ignore file; shorten it, or rename it "
        "if it is none." % shown(path)
    )


_INHERITED = b""
"""Stands for the rules that a file of a ``dir-merge`` rule inherits, until it clears them."""


def _of_merged(
    inherited: list[bytes], content: bytes, merge: Merge, side: Side
) -> Optional[list[Rule]]:
    """The rules of a ``dir-merge`` file; None if they are too many. ``inherited`` is emptied if
    they clear what is inherited."""
    if len(content) > MAX_IGNORE_FILE:
        return None
    texts = list(inherited)
    try:
        filters.add_lines(texts, content, merge.manner)
    except UsageError as error:
        raise IgnoreFileRefused(f"{shown(merge.name)}: {error.message}") from None
    if not (texts and texts[0] == _INHERITED):
        inherited.clear()
    out = [rule for text in texts if text and is_for(text, side) for rule in rsync.rules(text)]
    return None if sum(map(_wildcards, out)) > MAX_WILDCARDS else out


def _wildcards(rule: Rule) -> int:
    inner = sum(map(_wildcards, rule.none_of or ()))
    own = rule.path.tokens if rule.path is not None else ()
    parts = [part for part in rule.components or () if isinstance(part, Component)]
    return inner + len(own) + sum(len(part.tokens) for part in parts)


def is_for(text: bytes, side: Side) -> bool:
    """Whether a rule in canonical form is one of ``side``'s."""
    modifiers = filters.parsed(text)[1]
    if b"p" in modifiers and side is Side.DELETING:
        return False
    other = b"r" if side is Side.SENDER else b"s"
    return other not in modifiers or (b"r" in modifiers and b"s" in modifiers)
