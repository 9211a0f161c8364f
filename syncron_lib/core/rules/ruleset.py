"""The rule set of a run, as each side sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from syncron_lib.core.options import FileList, RuleOptions
from syncron_lib.core.rules import filters, rsync
from syncron_lib.core.rules.match import RuleList, Stand
from syncron_lib.core.rules.pattern import Rule
from syncron_lib.core.rules.scope import (
    GITIGNORE_NAMES,
    PLAIN_NAMES,
    Level,
    Merge,
    Merges,
    Scope,
    Side,
    is_for,
)


def are_one_sided(patterns: Sequence[bytes]) -> bool:
    """Whether filters in canonical form may say one thing to the sender and another to the
    receiver; those of a ``dir-merge`` rule may in any case."""
    return any(not {*b"rsp:"}.isdisjoint(text.partition(b" ")[0]) for text in patterns)


class BothScopes:
    """Leaves out what two scopes both leave out: at a destination what the source hides and what is
    not to be deleted either. Everything as in `Scope`."""

    __slots__ = ("_first", "_second", "digest", "ignore_names", "trivial")

    def __init__(self, first: Scope, second: Scope) -> None:
        self._first = first
        self._second = second
        self.digest = first.digest + second.digest
        self.ignore_names = first.ignore_names
        self.trivial = first.trivial or second.trivial

    def excluded(self, name: bytes, is_directory: bool) -> bool:
        return self._first.excluded(name, is_directory) and self._second.excluded(
            name, is_directory
        )

    def child(self, name: bytes) -> BothScopes:
        return BothScopes(self._first.child(name), self._second.child(name))

    def with_files(self, files: Mapping[bytes, bytes]) -> BothScopes:
        return BothScopes(self._first.with_files(files), self._second.with_files(files))

    def with_above(self, files: Mapping[bytes, bytes]) -> BothScopes:
        return BothScopes(self._first.with_above(files), self._second.with_above(files))


class AnyScope(Protocol):
    """What a scan asks about one directory; see `Scope`."""

    digest: bytes
    ignore_names: frozenset[bytes]
    trivial: bool

    def excluded(self, name: bytes, is_directory: bool) -> bool:
        """Whether the entry ``name`` is no part of the tree."""

    def child(self, name: bytes) -> AnyScope:
        """The scope of the directory ``name`` here."""

    def with_files(self, files: Mapping[bytes, bytes]) -> AnyScope:
        """This scope and the ignore files found in its directory."""


class RuleSet:
    """The rules of one run, as one side sees them. Reads nothing: ignore files are handed to
    `Scope.with_files`.

    ``trivial``: nothing is left out as long as no ignore file is met. ``merges``: its ``dir-merge``
    rules.
    """

    def __init__(self, scope: AnyScope, merges: tuple[Merge, ...], *, trivial: bool) -> None:
        self._root = scope
        self.merges = merges
        self.trivial = trivial

    @staticmethod
    def compile(options: RuleOptions, side: Side = Side.SENDER, root: bytes = b"") -> RuleSet:
        """``root``: its real path. Raises `UsageError` for a filter that is not in canonical
        form."""
        if side is Side.BOTH and are_one_sided(options.patterns):
            first, second = (
                RuleSet.compile(options, each, root) for each in (Side.SENDER, Side.DELETING)
            )
            both = BothScopes(first._single(), second._single())
            return RuleSet(both, first.merges, trivial=first.trivial or second.trivial)
        patterns = options.patterns
        others = filters.about_attributes(patterns)
        if others:
            patterns = tuple(text for text in patterns if text not in others)
        digest = hashlib.sha256(b"%d %d " % (options.gitignore, len(patterns)))
        parts: list[list[Rule]] = [[]]
        merges: list[Merge] = []
        way = root.lstrip(b"/") + b"/" if root.strip(b"/") else b""
        for text in patterns:
            digest.update(b"%d " % len(text))
            digest.update(text)
            kind, modifiers, pattern = filters.parsed(text)
            if b"/" in modifiers:
                digest.update(root)
            if kind == filters.DIR_MERGE:
                # Parts and merges take turns: places of parts are even, those of merges odd.
                merges.append(_merge(2 * len(merges) + 1, modifiers, pattern))
                parts.append([])
            elif is_for(text, side):
                parts[-1].extend(rsync.rules(text))
        lists = [RuleList(part, git=False, stand=Stand(root=way)) for part in parts]
        levels = [
            Level(rules, rules.start, False, 2 * place)
            for place, rules in enumerate(lists)
            if place == 0 or parts[place]
        ]
        together = Merges(tuple(merges), side, way)
        names = (GITIGNORE_NAMES if options.gitignore else PLAIN_NAMES) | together.names()
        scope = Scope(tuple(levels), digest.digest()[:16], names, None, b"", together)
        trivial = not any(rule.exclude for part in parts for rule in part)
        return RuleSet(scope, together.rules, trivial=trivial)

    def over(self, chosen: FileList) -> RuleSet:
        """The same for a run over a part of the tree."""
        from syncron_lib.core.rules.chosen import top_scope

        paths = chosen.paths.split(b"\0") if chosen.paths else []
        return RuleSet(top_scope(self._root, paths, chosen.whole), self.merges, trivial=False)

    def _single(self) -> Scope:
        assert isinstance(self._root, Scope)
        return self._root

    def with_above(self, files: Mapping[bytes, bytes]) -> RuleSet:
        """The same with files found above the root; see `Scope.with_above`."""
        assert isinstance(self._root, (Scope, BothScopes))
        scope = self._root.with_above(files)
        return RuleSet(scope, self.merges, trivial=self.trivial and not files)

    def root(self) -> AnyScope:
        """The scope of the tree's root directory, before its own ignore files are read."""
        return self._root


def _merge(place: int, modifiers: bytes, pattern: bytes) -> Merge:
    name = filters.merge_name(pattern)
    above = pattern[: -len(name)] if name != pattern else None
    return Merge(place, name, filters.manner_of(modifiers), b"n" not in modifiers, above)
