"""`--exclude` and its kin against rsync itself: a real local copy shows what it left out."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncron_lib.core.names import join, split
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules import AnyScope, RuleSet, add_argument, add_file
from syncron_lib.errors import UsageError

NAMES = [
    *(b"a", b"b", b"ab", b"aab", b"abc", b"A", b"-", b"]", b"[", b"[a]", b"a]", b"\\", b"a\\"),
    *(b"*", b"**", b"?", b"a*b", b"!", b"#", b" ", b"a ", b"\t", b"\v", b"\xff", b"\xc3\xa9"),
    *(b"foo", b"foobar", b"bar", b"foo.o", b".o", b"a\nb", b"1", b"_", b":", b"\\*", b"a\\b", b";"),
]
DIRECTORIES = [b"", b"a", b"ab", b"a/b", b"a/b/a", b"foo", b"foo/a", b"foo/a/b"]


def listing(top: bytes) -> list[tuple[bytes, bool]]:
    """(path, is a directory) below ``top``, parents first."""
    out = []
    for directory, directories, files in os.walk(top):
        below = os.path.relpath(directory, top)
        below = b"" if below == b"." else below
        out += [(join(below, name), True) for name in directories]
        out += [(join(below, name), False) for name in files]
    return sorted(out)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tree")
    for directory in DIRECTORIES:
        (top / os.fsdecode(directory)).mkdir(exist_ok=True)
    for directory in DIRECTORIES:
        for index, name in enumerate(NAMES):
            path = top / os.fsdecode(join(directory, name))
            if path.exists():
                continue
            if index % 3 == len(directory) % 3:
                path.mkdir()
                (path / "a").touch()
            else:
                path.touch()
    return top


def rsyncs(tree: Path, empty: Path, arguments: Sequence[bytes]) -> set[bytes]:
    """What a copy by rsync into an empty directory would hold."""
    result = subprocess.run(
        [
            *(b"rsync", b"-a", b"-n", b"--out-format=%n", *arguments),
            os.fsencode(tree) + b"/",
            os.fsencode(empty) + b"/",
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    lines = (line.rstrip(b"/") for line in result.stdout.split(b"\n"))
    shown = {line for line in lines if line and line != b"."}
    return {re.sub(rb"\\#(\d{3})", lambda m: bytes((int(m[1], 8),)), line) for line in shown}


def ours(tree: Path, filters: Sequence[bytes]) -> set[bytes]:
    """What is left of the tree."""
    scopes: dict[bytes, AnyScope] = {b"": RuleSet.compile(RuleOptions(tuple(filters))).root()}
    out = set()
    for path, is_directory in listing(os.fsencode(tree)):
        parent, name = split(path)
        scope = scopes.get(parent)
        if scope is None:
            continue
        excluded = scope.excluded(name, is_directory)
        assert not (excluded and scope.trivial)
        if not excluded:
            out.add(path)
            if is_directory:
                scopes[path] = scope.child(name)
    return out


PIECES = [
    *(b"a", b"b", b"ab", b"foo", b"bar", b"*", b"**", b"***", b"?", b"/", b"\\", b" ", b"!"),
    *(b"[ab]", b"[!a]", b"[^a]", b"[a-c]", b"[c-a]", b"[]-]", b"[]a]", b"[!]a]", b"[", b"]", b"-"),
    *(b"[[:alpha:]]", b"[[:space:]]", b"[![:alnum:]_]", b"[[:nope:]]", b"[[:", b"[\\]]", b"[a/b]"),
    *(b"[\\!a]", b"[--b]", b"\t", b"\v", b"\xff", b"\xc3\xa9", b".o", b"/**/", b"**/", b"/**"),
    *(b"/***", b"\\*", b"\\?", b"\\/", b"[a-", b"[!/]", b"[/]", b"#", b";", b":", b"_", b"1", b"A"),
]
patterns = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(b"".join)
filters = st.lists(
    st.builds(lambda sign, text: sign + text, st.sampled_from([b"- ", b"- ", b"+ "]), patterns),
    min_size=1,
    max_size=6,
)


@given(chosen=filters)
@example(chosen=[b"- foo/***"])
@example(chosen=[b"- a**b"])
@example(chosen=[b"- **/foo/***"])
@example(chosen=[b"- /foo/**/b"])
@example(chosen=[b"- **"])
@example(chosen=[b"- ***"])
@example(chosen=[b"+ */", b"+ *.o", b"- *"])
@example(chosen=[b"- a/b"])
@example(chosen=[b"- a\\b"])
@example(chosen=[b"- a\\\\b*"])
@example(chosen=[b"- *[/]b"])
@example(chosen=[b"- \\**", b"- [**]"])
@example(chosen=[b"- o**/b", b"- **o**b", b"- /f**", b"- a**?**b*"])
def test_patterns_mean_what_they_mean_to_rsync(
    tree: Path, empty: Path, chosen: list[bytes]
) -> None:
    expected = rsyncs(tree, empty, [b"--filter=" + text for text in chosen])
    got = ours(tree, chosen)
    assert (sorted(expected - got), sorted(got - expected)) == ([], [])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@given(
    content=st.lists(
        st.sampled_from([b"a", b"+ b", b"- foo", b"!", b"!a", b"#", b";", b" ;", b"", b"-a", b"+"])
        | patterns,
        min_size=1,
        max_size=8,
    ),
    end=st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    include=st.booleans(),
)
def test_files_are_read_as_rsync_reads_them(
    tree: Path, empty: Path, content: list[bytes], end: bytes, include: bool
) -> None:
    text = end.join(content)
    if re.search(rb"^[-+] $", text, re.MULTILINE):
        return
    file = empty.parent / "patterns"
    file.write_bytes(text)
    option = b"--include-from=" if include else b"--exclude-from="
    expected = rsyncs(tree, empty, [b"--exclude=ab", option + os.fsencode(file), b"--exclude=*o"])
    rules: list[bytes] = []
    add_argument(rules, b"ab", include=False)
    add_file(rules, text, include=include)
    add_argument(rules, b"*o", include=False)
    got = ours(tree, rules)
    assert (sorted(expected - got), sorted(got - expected)) == ([], [])


def test_arguments_carry_prefixes_and_clear() -> None:
    rules: list[bytes] = []
    add_argument(rules, b"gone", include=False)
    add_argument(rules, b"!", include=False)
    add_argument(rules, b"+ kept", include=False)
    add_argument(rules, b"- left out", include=True)
    add_argument(rules, b"*.c", include=True)
    add_argument(rules, b"", include=True)
    assert rules == [b"+ kept", b"- left out", b"+ *.c"]


@pytest.mark.parametrize("text", [b"- ", b"+ "])
def test_a_prefix_without_a_pattern_is_refused(text: bytes) -> None:
    with pytest.raises(UsageError, match="no pattern"):
        add_argument([], text, include=False)


@pytest.mark.parametrize("text", [b"", b"- ", b"x", b"-x", b"# x"])
def test_what_is_no_filter_is_refused(text: bytes) -> None:
    with pytest.raises(UsageError, match="is not '- PATTERN'"):
        RuleSet.compile(RuleOptions((text,)))


@pytest.mark.parametrize(
    "name",
    [
        *("alnum", "alpha", "blank", "cntrl", "digit", "graph"),
        *("lower", "print", "punct", "space", "upper", "xdigit"),
    ],
)
def test_classes_hold_the_bytes_that_rsync_says(tmp_path: Path, empty: Path, name: str) -> None:
    for byte in set(range(1, 256)) - set(b"/"):
        Path(tmp_path, "x" + os.fsdecode(bytes((byte,)))).touch()
    for pattern in (b"- x[[:%s:]]", b"- x[![:%s:]]"):
        chosen = [pattern % name.encode()]
        assert ours(tmp_path, chosen) == rsyncs(tmp_path, empty, [b"--filter=" + chosen[0]])
