"""`.gitignore` against git itself: the same tree, the same files, `git check-ignore` decides."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncron_lib.core.names import join
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules import GIT, GIT_EXCLUDE, GITIGNORE, SYNCRONIGNORE, AnyScope, RuleSet

NAMES = [
    *(b"a", b"b", b"ab", b"aab", b"abc", b"A", b"-", b"]", b"[", b"[a]", b"a]", b"\\", b"a\\"),
    *(b"*", b"**", b"?", b"a*b", b"!", b"!a", b"#", b"#a", b" ", b"a ", b"a  ", b" a", b"\t"),
    *(b"a\t", b"a\r", b"\r", b"\v", b"\xff", b"\xc3\xa9", b"a\xff", b"\xef\xbb\xbfa", b"z", b"foo"),
    *(b"foobar", b"bar", b"foo.o", b".o", b".hid", b"a\nb", b"1", b"_", b"^", b":", b"[:", b"b]"),
]
"""What the patterns of the tests are about."""

DIRECTORIES = [b"", b"a", b"ab", b"a/b", b"a/b/a", b"foo", b"foo/a", b"foo/a/b", b"foox", b"\\/a"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository without a commit: every name as a file or a directory, at several depths."""
    top = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", top], check=True)
    (top / ".git/info").mkdir(exist_ok=True)
    for directory in DIRECTORIES:
        os.makedirs(os.path.join(os.fsencode(top), directory), exist_ok=True)
    for directory in DIRECTORIES:
        for index, name in enumerate(NAMES):
            path = os.path.join(os.fsencode(top), directory, name)
            if os.path.lexists(path):
                continue
            if index % 3 == len(directory) % 3:
                os.mkdir(path)
                Path(os.fsdecode(path), "a").touch()
            else:
                Path(os.fsdecode(path)).touch()
    return top


def paths(top: Path) -> Iterator[tuple[bytes, bytes, bool]]:
    """(directory, name, is a directory) for everything below ``top``, without ``.git``."""
    pending = [b""]
    while pending:
        directory = pending.pop()
        with os.scandir(os.path.join(os.fsencode(top), directory)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name == GIT:
                    continue
                is_directory = entry.is_dir(follow_symlinks=False)
                yield directory, entry.name, is_directory
                if is_directory:
                    pending.append(join(directory, entry.name))


def ours(
    top: Path, files: Mapping[bytes, Mapping[bytes, bytes]], options: RuleOptions
) -> set[bytes]:
    """Paths below ``top`` that are excluded, or lie in an excluded directory."""
    scopes: dict[bytes, AnyScope] = {}
    out: set[bytes] = set()
    scopes[b""] = RuleSet.compile(options).root().with_files(files.get(b"", {}))
    for directory, name, is_directory in paths(top):
        path = join(directory, name)
        if directory in out:
            out.add(path)
            continue
        scope = scopes[directory]
        excluded = scope.excluded(name, is_directory)
        assert not (excluded and scope.trivial)
        if excluded:
            out.add(path)
        elif is_directory:
            scopes[path] = scope.child(name).with_files(files.get(path, {}))
    return out


def gits(top: Path, files: Mapping[bytes, Mapping[bytes, bytes]]) -> set[bytes]:
    """The same by ``git check-ignore``, with ``files`` written for the while."""
    written = []
    try:
        for directory, content in files.items():
            for name, text in content.items():
                path = os.path.join(os.fsencode(top), directory, name)
                Path(os.fsdecode(path)).write_bytes(text)
                written.append(path)
        ignored = {GITIGNORE, SYNCRONIGNORE}
        asked = [join(d, name) for d, name, _ in paths(top) if name not in ignored]
        result = subprocess.run(
            ["git", "check-ignore", "--no-index", "-z", "--stdin"],
            cwd=top,
            input=b"".join(b"./" + path + b"\0" for path in asked),
            stdout=subprocess.PIPE,
            check=False,
        )
        assert result.returncode in (0, 1)
        return {path[2:] for path in result.stdout.split(b"\0") if path}
    finally:
        for path in written:
            os.unlink(path)


def agree(top: Path, files: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
    expected = gits(top, files)
    got = ours(top, files, RuleOptions(gitignore=True))
    assert (sorted(got - expected), sorted(expected - got)) == ([], [])


PIECES = [
    *(b"a", b"b", b"c", b"ab", b"foo", b"bar", b"*", b"**", b"***", b"?", b"/", b"\\", b" ", b"!"),
    *(b"#", b"[ab]", b"[!a]", b"[^a]", b"[a-c]", b"[c-a]", b"[]-]", b"[]a]", b"[!]a]", b"["),
    *(b"]", b"[[:alpha:]]", b"[[:space:]]", b"[![:alnum:]_]", b"[[:nope:]]", b"[[:", b"[[:]]"),
    *(
        b"[\\]]",
        b"[a\\-z]",
        b"[\\!a]",
        b"[a/b]",
        b"[--b]",
        b"\t",
        b"\r",
        b"\v",
        b"\xff",
        b"\xc3\xa9",
    ),
    *(b".", b".o", b"-", b"/**/", b"**/", b"/**", b"\\ ", b"\\!", b"\\#", b"\\*", b"\\/", b"\0"),
    *(b"[a-", b"[!", b"[^", b"[\xf0-\xff]", b"\xef\xbb\xbf", b":", b"_", b"1", b"A"),
]

patterns = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(b"".join)
negated = st.builds(lambda sign, text: sign + text, st.sampled_from([b"", b"", b"!"]), patterns)
contents = st.builds(
    lambda start, rows, end: start + end.join(rows) + end,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    st.lists(negated, min_size=1, max_size=8),
    st.sampled_from([b"\n", b"\n", b"\r\n", b" \n"]),
)


@given(content=contents)
@example(content=b"foo**/bar\n")
@example(content=b"a**/**/b\n")
@example(content=b"a/**\\/b\n/**\\/a\n")
@example(content=b"foo**//\n")
@example(content=b"a\\ \nz  \n\\!\n\\#a\n")
@example(content=b"foo\\")
@example(content=b"*\n!*/\n!*.o\n")
@example(content=b"a/\n!a/b\n")
def test_one_file_means_what_it_means_to_git(repository: Path, content: bytes) -> None:
    agree(repository, {b"": {GITIGNORE: content}})


@given(
    content=st.dictionaries(
        st.sampled_from([b"", b"a", b"a/b", b"foo", b"foo/a"]), contents, min_size=1
    ),
    exclude=st.none() | contents,
)
def test_files_at_several_depths_mean_what_they_mean_to_git(
    repository: Path, content: dict[bytes, bytes], exclude: bytes | None
) -> None:
    files = {directory: {GITIGNORE: text} for directory, text in content.items()}
    if exclude is not None:
        files.setdefault(b"", {})[GIT_EXCLUDE] = exclude
    agree(repository, files)


CLASSES = ["alnum", "alpha", "blank", "cntrl", "digit", "graph"]
CLASSES += ["lower", "print", "punct", "space", "upper", "xdigit"]


@pytest.fixture(scope="module")
def every_byte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a file named by each byte that a name can hold."""
    top = tmp_path_factory.mktemp("bytes")
    subprocess.run(["git", "init", "-q", top], check=True)
    for byte in set(range(1, 256)) - set(b"/"):
        Path(top, "x" + os.fsdecode(bytes((byte,)))).touch()
    return top


@pytest.mark.parametrize("name", CLASSES)
def test_classes_hold_the_bytes_that_git_says(every_byte: Path, name: str) -> None:
    agree(every_byte, {b"": {GITIGNORE: b"x[[:%s:]]" % name.encode()}})
    agree(every_byte, {b"": {GITIGNORE: b"x[![:%s:]]" % name.encode()}})


def test_a_repository_inside_has_rules_of_its_own(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    for top in (tmp_path, inner):
        subprocess.run(["git", "init", "-q", top], check=True)
    (tmp_path / ".gitignore").write_bytes(b"*.o\nout/\n")
    (inner / ".gitignore").write_bytes(b"*.log\n")
    (inner / ".git/info").mkdir(exist_ok=True)
    (inner / ".git/info/exclude").write_bytes(b"*.tmp\n!kept.log\n*.gone\n!z.gone\n")
    asked = [b"a.o", b"a.log", b"kept.log", b"a.tmp", b"a.gone", b"z.gone", b"out"]
    for name in asked:
        (inner / os.fsdecode(name)).touch()
    answer = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin"],
        cwd=inner,
        input=b"\0".join(asked),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    scope = RuleSet.compile(RuleOptions(gitignore=True)).root()
    scope = scope.with_files({GIT: b"", GITIGNORE: b"*.o\nout/\n"}).child(b"inner")
    assert scope.excluded(b"a.o", False)
    scope = scope.with_files(
        {
            GIT: b"",
            GITIGNORE: (inner / ".gitignore").read_bytes(),
            GIT_EXCLUDE: (inner / ".git/info/exclude").read_bytes(),
        }
    )
    assert [name for name in asked if scope.excluded(name, False)] == answer.split(b"\0")[:-1]


def test_an_outer_rule_can_leave_out_a_whole_repository() -> None:
    scope = RuleSet.compile(RuleOptions(gitignore=True)).root()
    scope = scope.with_files({GIT: b"", GITIGNORE: b"vendor/\n"})
    assert scope.excluded(b"vendor", True)
