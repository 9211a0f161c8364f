"""The order in which rules decide, what ``.git`` is spared, digests, and limits."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import pytest

from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules import (
    GIT,
    GIT_EXCLUDE,
    GITIGNORE,
    MAX_IGNORE_FILE,
    SYNCRONIGNORE,
    IgnoreFileRefused,
    RuleSet,
    Scope,
)
from syncron_lib.errors import Exit


def root(*patterns: bytes, gitignore: bool = True) -> Scope:
    scope = RuleSet.compile(RuleOptions(patterns, gitignore=gitignore)).root()
    assert isinstance(scope, Scope)
    return scope


def descend(scope: Scope, *steps: Mapping[bytes, bytes] | bytes) -> Scope:
    """``scope`` after going into directories (names) and reading files (mappings)."""
    for step in steps:
        scope = scope.child(step) if isinstance(step, bytes) else scope.with_files(step)
    return scope


def test_the_command_line_decides_before_any_file() -> None:
    scope = descend(root(b"+ keep.o", b"- *.c"), {SYNCRONIGNORE: b"*.o\n!a.c\n"})
    assert not scope.excluded(b"keep.o", False)
    assert scope.excluded(b"other.o", False)
    assert scope.excluded(b"a.c", False)


def test_deeper_files_override_and_syncronignore_overrides_gitignore() -> None:
    scope = descend(
        root(),
        {SYNCRONIGNORE: b"!a\nb\n", GITIGNORE: b"a\n!b\nc\n", GIT_EXCLUDE: b"!c\nd\n"},
    )
    assert [n for n in (b"a", b"b", b"c", b"d") if scope.excluded(n, False)] == [b"b", b"c", b"d"]
    scope = descend(scope, b"sub", {GITIGNORE: b"!b\na\n"})
    assert [n for n in (b"a", b"b", b"c", b"d") if scope.excluded(n, False)] == [b"a", b"c", b"d"]


def test_files_that_were_not_asked_for_say_nothing() -> None:
    scope = root(gitignore=False)
    assert scope.ignore_names == {SYNCRONIGNORE}
    files = {GITIGNORE: b"a\n", GIT_EXCLUDE: b"a\n", GIT: b"", b"other": b"a\n"}
    assert scope.with_files(files) is scope
    assert descend(scope, {SYNCRONIGNORE: b"a\n"}).excluded(b"a", False)


def test_git_itself_is_never_ignored_by_gits_files() -> None:
    scope = descend(root(), {GIT: b"", GITIGNORE: b".*\n*\n", GIT_EXCLUDE: b"*\n"})
    assert scope.excluded(b".hidden", True)
    assert not scope.excluded(GIT, True)
    assert not scope.excluded(GIT, False)
    inside = scope.child(GIT)
    assert inside.trivial
    assert inside.ignore_names == {SYNCRONIGNORE}
    assert inside.with_files({GITIGNORE: b"*\n"}) is inside
    assert not inside.child(b"logs").excluded(b"HEAD", False)


def test_git_itself_can_be_left_out_on_purpose() -> None:
    assert root(b"- .git").excluded(GIT, True)
    scope = descend(root(), {SYNCRONIGNORE: b".git/\n"}, b"sub", {GITIGNORE: b"*\n!.git\n"})
    assert scope.excluded(GIT, True)
    assert descend(root(), {SYNCRONIGNORE: b"*.log\n"}, GIT).excluded(b"a.log", False)


def test_a_repository_inside_keeps_syncronignore() -> None:
    scope = descend(root(), {SYNCRONIGNORE: b"*.iso\n", GITIGNORE: b"*.o\n"}, b"x", {GIT: b""})
    assert scope.excluded(b"a.iso", False)
    assert not scope.excluded(b"a.o", False)


def test_rules_follow_the_path() -> None:
    scope = descend(root(b"- /a/*/c", b"- x/**/y", b"- p**q"), {GITIGNORE: b"/a/b/d\n**/m/n\n"})
    assert scope.child(b"a").child(b"b").excluded(b"c", False)
    assert scope.child(b"a").child(b"b").excluded(b"d", False)
    assert not scope.child(b"b").child(b"b").excluded(b"d", False)
    assert descend(scope, b"k", b"x", b"z", b"z").excluded(b"y", True)
    assert not descend(scope, b"k", b"x").excluded(b"y", True)
    assert descend(scope, b"k", b"m").excluded(b"n", True)
    assert descend(scope, b"k", b"p", b"z").excluded(b"q", True)


def test_a_file_below_is_anchored_where_it_lies() -> None:
    scope = descend(root(), b"a", {GITIGNORE: b"/x\nb/y\n"})
    assert scope.excluded(b"x", False)
    assert not scope.child(b"a").excluded(b"x", False)
    assert scope.child(b"b").excluded(b"y", False)


def test_trivial_says_that_nobody_need_ask() -> None:
    assert RuleSet.compile(RuleOptions()).trivial
    assert RuleSet.compile(RuleOptions((b"+ *.c",))).trivial
    assert not RuleSet.compile(RuleOptions((b"- /proc",))).trivial
    assert root(b"+ *").trivial
    assert descend(root(), {GITIGNORE: b"# nothing\n!x\n"}).trivial
    assert not root(b"- /proc").trivial
    assert root(b"- /proc").child(b"home").trivial
    assert not root(b"- a/b").child(b"x").child(b"a").trivial
    assert not root(b"- */").trivial


def test_digest_says_what_can_influence_answers() -> None:
    digests = [
        root(),
        root(gitignore=False),
        root(b"- a"),
        root(b"+ a"),
        root(b"- a", b"- b"),
        root(b"- b", b"- a"),
        descend(root(), {GITIGNORE: b"a\n"}),
        descend(root(), {SYNCRONIGNORE: b"a\n"}),
        descend(root(), {GIT_EXCLUDE: b"a\n"}),
        descend(root(), {GIT: b""}),
        descend(root(), {SYNCRONIGNORE: b"a\n", GITIGNORE: b""}),
        descend(root(), {SYNCRONIGNORE: b"a\n"}, b"x", {SYNCRONIGNORE: b"b\n"}),
        descend(root(), b"x", {SYNCRONIGNORE: b"a\n"}),
        descend(root(), b"x", {SYNCRONIGNORE: b"b\n"}),
    ]
    assert len({scope.digest for scope in digests}) == len(digests)
    assert {len(scope.digest) for scope in digests} == {16}
    assert root(b"- a").digest == root(b"- a").digest
    assert root(b"- a").child(b"x").digest == root(b"- a").digest


@pytest.mark.parametrize(
    "content", [b"a\n" * (MAX_IGNORE_FILE // 2 + 1), b"a*b?\n" * 20_000], ids=["large", "wild"]
)
def test_what_is_no_list_a_person_keeps_is_refused(content: bytes) -> None:
    scope = root().child(b"dir").child(b"new\nline")
    with pytest.raises(IgnoreFileRefused) as caught:
        scope.with_files({SYNCRONIGNORE: content})
    assert "dir/new\\#012line/.syncronignore" in caught.value.message
    assert caught.value.exit_code is Exit.REFUSED


@pytest.mark.parametrize(
    "pattern",
    [
        b"a*" * 60 + b"b",
        b"*a" * 60 + b"b",
        b"[ab]*" * 60 + b"c",
        b"?*" * 60 + b"b",
        b"**/a*" * 60 + b"/b",
        b"*a*" * 60 + b"/b",
        b"a*" * 500_000 + b"b",
        b"**/" * 300_000 + b"b",
        b"**/a/" * 200_000 + b"b",
        b"[" * 1_000_000,
        b"[[:" * 300_000,
        b"foo" + b"**/" * 300_000 + b"b",
    ],
    ids=range(12),
)
def test_no_pattern_hangs(pattern: bytes) -> None:
    began = time.process_time()
    scope = root().with_files({GITIGNORE: pattern})
    for _ in range(20):
        assert not scope.excluded(b"a" * 255, False)
        scope = scope.child(b"a" * 255)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "pattern", [b"a**" * 40 + b"b", b"a**c*a" * 20 + b"b", b"**a*" * 40 + b"/b"]
)
def test_no_filter_hangs_on_a_long_path(pattern: bytes) -> None:
    began = time.process_time()
    scope = root(b"- " + pattern)
    for _ in range(16):
        assert not scope.excluded(b"a" * 255, False)
        scope = scope.child(b"a" * 255)
    assert time.process_time() - began < 10


def test_many_plain_patterns_cost_little() -> None:
    content = b"".join(b"*.%06d\nname%06d\n!/path/%06d\n" % (i, i, i) for i in range(20_000))
    scope = root().with_files({GITIGNORE: content})
    assert scope.excluded(b"x.019999", False)
    assert scope.excluded(b"name000000", False)
    began = time.process_time()
    for index in range(20):
        assert not scope.excluded(b"other%d" % index, False)
    assert time.process_time() - began < 2


def test_a_scope_3000_levels_deep_knows_its_path() -> None:
    scope = root(b"- a**z")
    for _ in range(3000):
        scope = scope.child(b"a")
    assert scope.excluded(b"z", False)
    assert not scope.excluded(os.fsencode("é"), False)
