"""Rules in force in one directory, arranged so that one name costs about a microsecond.

A `RuleList` holds the rules of one source (the command line, or one ignore file) in the
order in which they decide. A `Progress` says how far each of them has come in one directory.
From both come `Run`s: what is left of the rules there, for a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Optional

from syncron_lib.core.rules.pattern import ANY_DEPTH, Component, Rule, Shape
from syncron_lib.core.rules.wildmatch import expression
from syncron_lib.record import NamedTuple

Matcher = Callable[[bytes], object]
"""What it returns is true if the name (or path) matches."""

_KEPT = 64
"""Arrangements remembered per rule list. Most directories of a tree share one or two."""


class Run(NamedTuple):
    """Consecutive rules with one verdict: a name that any of them matches is decided.

    ``name`` and ``path`` decide where no set can, each None if there is nothing of its kind.
    ``git``: says nothing about the name ``.git``. ``negated``: a name that none of them matches is.
    """

    exclude: bool
    literals: frozenset[bytes]
    suffixes: tuple[bytes, ...]
    prefixes: tuple[bytes, ...]
    name: Optional[Matcher]
    path: Optional[Matcher]
    git: bool
    negated: bool


Runs = tuple[Run, ...]
Progress = tuple[tuple[int, int], ...]
"""(index of a rule, bit set of the components that the next name may be) for every rule that
can still match here or below, rules for any name at any depth left out."""


class Stand(NamedTuple):
    """Where rules were written. ``directory``: in the tree. ``below``: the way down from there to
    the root, if it lies above that. ``root``: the root's path in the file system, without the
    first slash. Each is empty or ends in a slash."""

    directory: bytes = b""
    below: bytes = b""
    root: bytes = b""


_TOP = Stand()


class RuleList:
    """The rules of one source, first one that matches decides."""

    def __init__(self, rules: Sequence[Rule], *, git: bool, stand: Stand = _TOP) -> None:
        self._rules = tuple(rules)
        self._git = git
        self._stand = stand
        self._everywhere = []
        """Rules that hold in every directory alike."""
        anchored: list[tuple[int, int]] = []
        floating: list[tuple[int, int]] = []
        for index, rule in enumerate(self._rules):
            components = rule.components
            if components is None or (len(components) == 2 and components[0] is ANY_DEPTH):
                self._everywhere.append(index)
            else:
                start = anchored if rule.anchored else floating
                start.append((index, _settle(components, 1)))
        # git's rules are all relative to their directory.
        way = b"" if git else stand.directory
        come = (*self._along(anchored, stand.below), *self._along(floating, way))
        self.start: Progress = tuple(sorted(come))
        self._arranged: dict[tuple[int, ...], tuple[Runs, Runs]] = {}

    def _along(self, start: Sequence[tuple[int, int]], way: bytes) -> Progress:
        progress = tuple(start)
        for name in way.split(b"/")[:-1]:
            progress = self.below(progress, name)
        return progress

    def below(self, progress: Progress, name: bytes) -> Progress:
        """How far the rules are in the directory ``name`` of a directory at ``progress``."""
        out = []
        for index, places in progress:
            components = self._rules[index].components
            if components is None:
                continue
            after = 0
            place = 0
            while places >> place:
                if places >> place & 1:
                    component = components[place]
                    if component is ANY_DEPTH:
                        after |= 1 << place
                    elif place + 1 < len(components) and component.matches(name):
                        after |= 1 << (place + 1)
                place += 1
            if after:
                out.append((index, _settle(components, after)))
        return tuple(out)

    def runs(self, progress: Progress) -> tuple[Runs, Runs]:
        """What decides about names here: for directories, and for everything else."""
        active = [
            index
            for index, places in progress
            if places >> (len(self._rules[index].components or ()) - 1)
        ]
        key = tuple(active)
        known = self._arranged.get(key)
        if known is None:
            if len(self._arranged) >= _KEPT:
                self._arranged.clear()
            indexes = sorted((*self._everywhere, *active)) if active else self._everywhere
            rules = [self._rules[index] for index in indexes]
            files = [rule for rule in rules if not rule.directory_only]
            known = (
                _arrange(rules, self._git, self._stand, True),
                _arrange(files, self._git, self._stand, False),
            )
            self._arranged[key] = known
        return known


def _settle(components: tuple[object, ...], places: int) -> int:
    """``places`` and those reached from them by letting any depth be no depth."""
    for place, component in enumerate(components):
        if component is ANY_DEPTH and places >> place & 1:
            places |= 1 << (place + 1)
    return places


def _arrange(rules: Sequence[Rule], git: bool, stand: Stand, directories: bool) -> Runs:
    runs = []
    at = 0
    while at < len(rules):
        exclude, none_of = rules[at].exclude, rules[at].none_of
        first = at
        at += 1
        if none_of is not None:
            inner = [rule for rule in none_of if directories or not rule.directory_only]
            runs.append(_run(inner, exclude, git, stand, negated=True))
            continue
        while at < len(rules) and rules[at].exclude is exclude and rules[at].none_of is None:
            at += 1
        runs.append(_run(rules[first:at], exclude, git, stand))
    return tuple(runs)


def _run(
    rules: Sequence[Rule], exclude: bool, git: bool, stand: Stand, negated: bool = False
) -> Run:
    texts: dict[Shape, dict[bytes, None]] = {shape: {} for shape in Shape}
    expressions = []
    paths: list[bytes] = []
    anchored: list[bytes] = []
    absolute: list[bytes] = []
    for number, rule in enumerate(rules):
        group = "g%d_" % number
        if rule.path is not None:
            which = absolute if rule.absolute else anchored if rule.anchored else paths
            which.append(rule.path.expression(group))
        component = rule.components[-1] if rule.components else None
        if not isinstance(component, Component):
            continue
        if component.shape is Shape.EXPRESSION:
            expressions.append(expression(component.tokens, group))
        else:
            texts[component.shape][component.text] = None
    by_path = [_any_of(paths), _from(stand, _any_of(anchored)), _behind(stand.root, absolute)]
    return Run(
        exclude,
        frozenset(texts[Shape.LITERAL]),
        tuple(texts[Shape.SUFFIX]),
        tuple(texts[Shape.PREFIX]),
        _by_name(tuple(texts[Shape.INFIX]), _any_of(expressions)),
        _either([each for each in by_path if each is not None]),
        git,
        negated,
    )


def _from(stand: Stand, matcher: Optional[Matcher]) -> Optional[Matcher]:
    """For paths as they are seen from where the rules were written."""
    if matcher is None or not (stand.directory or stand.below):
        return matcher
    inside, below = len(stand.directory), stand.below
    return lambda path: matcher(below + path[inside:])


def _behind(root: bytes, expressions: Sequence[bytes]) -> Optional[Matcher]:
    matcher = _any_of(expressions)
    return None if matcher is None else lambda path: matcher(root + path)


def _either(matchers: Sequence[Matcher]) -> Optional[Matcher]:
    if len(matchers) < 2:
        return matchers[0] if matchers else None
    return lambda path: any(matcher(path) for matcher in matchers)


def _any_of(expressions: Sequence[bytes]) -> Optional[Matcher]:
    if not expressions:
        return None
    return re.compile(b"|".join(expressions), re.DOTALL).fullmatch


def _by_name(infixes: tuple[bytes, ...], by_expression: Optional[Matcher]) -> Optional[Matcher]:
    if not infixes:
        return by_expression
    if by_expression is None:
        return lambda name: any(map(name.__contains__, infixes))
    return lambda name: any(map(name.__contains__, infixes)) or by_expression(name)
