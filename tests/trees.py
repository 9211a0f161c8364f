"""A small vocabulary of trees: literals that are made on disk, read back and compared.

    make(path, {"a.txt": b"hello", "sub": {"run": File(b"x", mode=0o755), "to": Link(b"../a.txt")}})
    assert_same(path, other)

In a literal, ``bytes`` is a `File`, a mapping is a `Directory`, and names are text or bytes.
An attribute that is None is unspecified: `make` gives it a fixed value, comparing passes it by.
"""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from hypothesis import strategies as st

from syncron_lib.core import names

MTIME_NS = 1_600_000_000_123_456_789
"""What `make` gives to everything that names no time: long ago, and not a round number."""


@dataclass(frozen=True)
class File:
    """A regular file."""

    content: bytes = b""
    mode: Optional[int] = None
    mtime_ns: Optional[int] = None
    owner: Optional[tuple[int, int]] = None


@dataclass(frozen=True)
class Link:
    """A symbolic link; its mode says nothing."""

    target: bytes
    mtime_ns: Optional[int] = None
    owner: Optional[tuple[int, int]] = None


@dataclass(frozen=True)
class Fifo:
    """A named pipe."""

    mode: Optional[int] = None
    mtime_ns: Optional[int] = None
    owner: Optional[tuple[int, int]] = None


@dataclass(frozen=True)
class Socket:
    """A socket's name, nobody listening."""

    mode: Optional[int] = None
    mtime_ns: Optional[int] = None
    owner: Optional[tuple[int, int]] = None


@dataclass(frozen=True)
class Directory:
    """A directory; ``entries`` by name."""

    entries: Mapping[bytes, Node] = field(default_factory=dict)
    mode: Optional[int] = None
    mtime_ns: Optional[int] = None
    owner: Optional[tuple[int, int]] = None


Node = Union[File, Link, Fifo, Socket, Directory]
Literal = Union[Node, bytes, Mapping[Any, "Literal"]]
"""A mapping's keys are ``str`` or ``bytes``; a type that says so refuses a mix of them."""
Place = Union[str, bytes, "os.PathLike[str]"]


def directory(
    entries: Mapping[Any, Literal],
    *,
    mode: Optional[int] = None,
    mtime_ns: Optional[int] = None,
    owner: Optional[tuple[int, int]] = None,
) -> Directory:
    """A `Directory` whose entries are literals."""
    by_name = {os.fsencode(name): node(entry) for name, entry in entries.items()}
    return Directory(by_name, mode, mtime_ns, owner)


def node(literal: Literal) -> Node:
    """The literal in its long form."""
    if isinstance(literal, bytes):
        return File(literal)
    if isinstance(literal, Mapping):
        return directory(literal)
    return literal


def make(path: Place, literal: Literal) -> None:
    """Make the literal at ``path``, which must not exist, or be a directory if it is one.

    Modes are 0644 and 0755, and times `MTIME_NS`, where nothing is said. Attributes of
    directories are set last, so a directory may be read-only.
    """
    top = os.fsencode(path)
    todo: list[tuple[bytes, Node]] = [(top, node(literal))]
    directories: list[tuple[bytes, Directory]] = []
    while todo:
        where, what = todo.pop()
        if isinstance(what, Directory):
            os.makedirs(where, exist_ok=where == top)
            directories.append((where, what))
            todo.extend((os.path.join(where, name), below) for name, below in what.entries.items())
            continue
        if isinstance(what, File):
            with open(where, "xb") as out:
                out.write(what.content)
        elif isinstance(what, Link):
            os.symlink(what.target, where)
        elif isinstance(what, Fifo):
            os.mkfifo(where)
        else:
            # Not bind(): a socket's address has no more than 107 bytes.
            os.mknod(where, stat.S_IFSOCK | 0o600)
        _set_attributes(where, what)
    for where, what in reversed(directories):
        _set_attributes(where, what)


def _set_attributes(path: bytes, what: Node) -> None:
    if what.owner is not None:
        os.chown(path, *what.owner, follow_symlinks=False)
    if not isinstance(what, Link):
        default = 0o755 if isinstance(what, Directory) else 0o644
        os.chmod(path, default if what.mode is None else what.mode)
    mtime_ns = MTIME_NS if what.mtime_ns is None else what.mtime_ns
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def read(path: Place, *, owner: bool = False) -> Node:
    """What is at ``path``, with every attribute filled in, the owner only if asked for.

    syncron's own ``.syncron`` is no part of a tree and is left out.
    """
    top = os.fsencode(path)
    below: dict[bytes, dict[bytes, Node]] = {}
    found: Optional[Node] = None
    # Directories are met twice: to list them, and when all below them is read.
    todo: list[tuple[bytes, bool]] = [(top, False)]
    while todo:
        where, listed = todo.pop()
        status = os.lstat(where)
        if stat.S_ISDIR(status.st_mode) and not listed:
            below[where] = {}
            todo.append((where, True))
            inside = (name for name in os.listdir(where) if name != names.PRIVATE)
            todo.extend((os.path.join(where, name), False) for name in inside)
            continue
        found = _read_one(where, status, below.pop(where, {}), owner)
        if where != top:
            parent, name = os.path.split(where)
            below[parent][name] = found
    assert found is not None
    return found


def _read_one(
    path: bytes, status: os.stat_result, entries: dict[bytes, Node], with_owner: bool
) -> Node:
    mode = stat.S_IMODE(status.st_mode)
    mtime_ns = status.st_mtime_ns
    owner = (status.st_uid, status.st_gid) if with_owner else None
    if stat.S_ISDIR(status.st_mode):
        return Directory(entries, mode, mtime_ns, owner)
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as source:
            return File(source.read(), mode, mtime_ns, owner)
    if stat.S_ISLNK(status.st_mode):
        return Link(os.readlink(path), mtime_ns, owner)
    if stat.S_ISFIFO(status.st_mode):
        return Fifo(mode, mtime_ns, owner)
    if stat.S_ISSOCK(status.st_mode):
        return Socket(mode, mtime_ns, owner)
    raise ValueError(f"{os.fsdecode(path)!r} is of a kind that trees here do not hold")


def differences(left: Node, right: Node) -> list[str]:
    """What differs, a line each, in order of path; unspecified attributes never do."""
    return list(_differences(left, right))


def _differences(left: Node, right: Node) -> Iterator[str]:
    todo: list[tuple[bytes, Optional[Node], Optional[Node]]] = [(b"", left, right)]
    while todo:
        path, one, other = todo.pop()
        shown = names.shown(path) or "."
        if one is None or other is None:
            yield f"{shown}: only on the {'right' if one is None else 'left'}"
        elif type(one) is not type(other):
            yield f"{shown}: {type(one).__name__} against {type(other).__name__}"
        else:
            for attribute in ("mode", "mtime_ns", "owner", "content", "target"):
                mine, its = getattr(one, attribute, None), getattr(other, attribute, None)
                if mine is not None and its is not None and mine != its:
                    yield f"{shown}: {attribute} {_brief(mine)} against {_brief(its)}"
            if isinstance(one, Directory) and isinstance(other, Directory):
                for name in sorted(set(one.entries) | set(other.entries), reverse=True):
                    both = one.entries.get(name), other.entries.get(name)
                    todo.append((names.join(path, name), *both))


def _brief(value: object) -> str:
    if isinstance(value, bytes) and len(value) > 60:
        return f"{value[:50]!r}... ({len(value)} bytes)"
    return repr(value)


def assert_same(
    left: Union[Literal, str, os.PathLike[str]],
    right: Union[Literal, str, os.PathLike[str]],
    *,
    owner: bool = False,
) -> None:
    """Two trees, each a path (text or `Path`) or a literal, are the same; else say where not."""
    both = [
        read(tree, owner=owner) if isinstance(tree, (str, os.PathLike)) else node(tree)
        for tree in (left, right)
    ]
    found = differences(*both)
    if found:
        shown = "\n  ".join(found[:20])
        raise AssertionError(f"the trees differ in {len(found)} places:\n  {shown}")


def rsync_differences(left: Place, right: Place, *options: str) -> list[str]:
    """The changes that rsync, the independent judge, would make to make ``right`` like ``left``.

    Empty if they are the same by content, kind, mode, time to the nanosecond, and owner.
    """
    command = ["rsync", "-rlptgoDHn", "--checksum", "--delete", "-i", "--modify-window=-1"]
    trees = [os.fsdecode(path).rstrip("/") + "/" for path in (left, right)]
    done = subprocess.run(
        [*command, f"--exclude={os.fsdecode(names.PRIVATE)}", *options, *trees],
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()


ODD_NAMES: tuple[bytes, ...] = (
    b" ",
    b"...",
    b"-rf",
    b"--delete",
    b"a b ",
    b"a\nb",
    b"\x1b[31mred",
    b"\xff\xfe",
    b"\xe2\x80\xae.txt",
    "é".encode(),
    "e\u0301".encode(),
    b"*?[a-z]",
    b"\\",
    b"~",
    b"$(echo x)",
    b"'\"",
    b"x" * names.NAME_MAX,
)
"""Legal names that are easily handled wrongly."""


def valid_names() -> st.SearchStrategy[bytes]:
    """Names that may occur in a tree, odd ones among them, syncron's own left out."""
    reserved = (names.PRIVATE, b".syncronignore")
    return st.one_of(
        st.sampled_from([b"a", b"b", b"c", b"d.txt"]),
        st.sampled_from(ODD_NAMES),
        st.binary(min_size=1, max_size=8),
    ).filter(lambda name: names.is_valid_name(name) and name not in reserved)


def random_trees(*, max_entries: int = 12, specials: bool = True) -> st.SearchStrategy[Directory]:
    """Trees with every attribute but the owner given. Files stay readable to their owner."""
    mtimes = st.integers(min_value=0, max_value=2**33 * 10**9)
    modes = st.integers(min_value=0, max_value=0o777)
    leaves: list[st.SearchStrategy[Node]] = [
        st.builds(File, st.binary(max_size=40), modes.map(lambda mode: mode | 0o400), mtimes),
        st.builds(Link, st.binary(min_size=1, max_size=12).filter(lambda t: 0 not in t), mtimes),
    ]
    if specials:
        leaves += [st.builds(Fifo, modes, mtimes), st.builds(Socket, modes, mtimes)]

    def directories(below: st.SearchStrategy[Node]) -> st.SearchStrategy[Directory]:
        entries = st.dictionaries(valid_names(), below, max_size=4)
        return st.builds(Directory, entries, modes.map(lambda mode: mode | 0o700), mtimes)

    return directories(st.recursive(st.one_of(leaves), directories, max_leaves=max_entries))


def noise(size: int, seed: int = 0) -> bytes:
    """``size`` bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)
