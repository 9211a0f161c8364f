"""Workloads in which every system call that changes something is a place for a fault, and what
must hold after one, whatever it was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from syncron_lib.core.names import join
from tests.e2e.forking import Forked
from tests.trees import (
    MTIME_NS,
    Directory,
    Fifo,
    File,
    Link,
    Literal,
    Node,
    assert_same,
    directory,
    make,
    noise,
    read,
)

MUTATING = (
    *("openat", "write", "pwrite64", "pwritev", "ftruncate", "fallocate", "copy_file_range"),
    *("ioctl", "link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat"),
    *("rmdir", "mkdir", "mkdirat", "symlinkat", "mknodat", "chmod", "fchmod", "fchmodat"),
    *("chown", "fchown", "fchownat", "utimensat", "fsync", "fdatasync", "syncfs"),
)
"""System calls that change what is on disk; `openat` and `ioctl` only as `_CHANGES` says."""
_CHANGES = {"openat": "O_CREAT", "ioctl": "FICLONE"}

_CALL = re.compile(r"(?:(\d+) +)?(\w+)\(")
_LARGE = noise(700_000, seed=1)


@dataclass(frozen=True)
class Workload:
    """What a destination is before (``old``) and has to become (``new``). ``mixed``: the one file
    that may be neither, since it is written in place."""

    name: str
    old: Directory
    new: Directory
    options: tuple[str, ...] = ("--delete",)
    mixed: bytes = b""


def _tree(name: str, old: dict[str, Literal], new: dict[str, Literal]) -> Workload:
    return Workload(name, directory(old), directory(new, mtime_ns=MTIME_NS + 1))


def _workloads() -> Iterator[Workload]:
    some: dict[str, Literal] = {"stays": b"as it was", "e": {"stays": b"as it was"}}
    odd: dict[str, Literal] = {
        "run": File(b"x", mode=0o4751, owner=(12, 34)),
        "f": Fifo(),
        "to": Link(b"../stays"),
    }
    fresh: dict[str, Literal] = {f"{n}": noise(200 + n, seed=n) for n in range(4)}
    fresh["empty"] = b""
    yield _tree(
        "new files",
        some,
        {
            **some,
            **odd,
            **fresh,
            "e": {"stays": b"as it was", "new": b"beside", **odd},
            "d": directory({**fresh, **odd, "below": {"x": b"y"}, "none": {}}, mode=0o2750),
            "l": noise(300_000),
        },
    )
    was = {f"{n}": File(b"old %d" % n) for n in range(5)}
    now = {f"{n}": File(b"new %d!" % n, mode=0o600 + n, mtime_ns=n) for n in range(5)}
    yield _tree(
        "changed files",
        {**was, "d": was, "size": b"same", "mode": b"m", "to": Link(b"a"), "large": noise(200_000)},
        {
            **now,
            "d": directory(now, mode=0o700, owner=(5, 6)),
            "size": b"SAME",
            "mode": File(b"m", mode=0o400, owner=(1, 2), mtime_ns=5),
            "to": Link(b"b"),
            "large": noise(200_000, seed=7),
        },
    )
    full: dict[str, Literal] = {"f": b"y", "g": {"h": b"z"}, "to": Link(b"f")}
    kinds: list[Literal] = [b"", full, Link(b"stays"), Fifo()]
    pairs = [(a, b) for a in kinds for b in kinds if a is not b]
    kinds_change = _tree(
        "deletes and other kinds",
        {
            **some,
            **{f"{n}": one or b"old %d" % n for n, (one, _) in enumerate(pairs)},
            "gone": full,
            "x": b"gone",
        },
        {**some, **{f"{n}": other or b"new %d" % n for n, (_, other) in enumerate(pairs)}},
    )
    yield kinds_change
    yield replace(
        kinds_change, name="all at the end", options=(*kinds_change.options, "--delay-updates")
    )
    big = {name: noise(70_000, seed=ord(name)) for name in "abcdefg"}
    below: dict[str, Literal] = {f"{n}": b"moves %d" % n for n in range(4)}
    yield _tree(
        "moves",
        {
            "dir": {**below, "deep": below},
            "alone": b"only one",
            "one": {"a": b"1", "b": b"2"},
            "x": big["a"],
            "y": big["b"],
            "1": big["c"],
            "2": big["d"],
            "3": big["e"],
            "p": {"f": big["f"]},
            "q": {"f": big["g"]},
        },
        {
            "renamed": {**below, "deep": below},
            "in": {"alone": b"only one"},
            "two": {"a": b"1", "c": b"3"},
            "x": big["b"],
            "y": big["a"],
            "2": big["c"],
            "3": big["d"],
            "4": big["e"],
            "p": {"f": big["g"]},
            "q": {"f": big["f"]},
        },
    )
    edited = bytearray(_LARGE)
    edited[100_000:100_100] = noise(100, seed=2)
    edited[400_000:400_000] = noise(5_000, seed=3)
    chunks = _tree(
        "a large file by chunks",
        {"large": _LARGE, "e": {"stays": b"1"}},
        {"large": bytes(edited) + _LARGE[:50_000], "e": {"stays": b"1"}},
    )
    chunks = replace(chunks, options=("--delete", "--no-whole-file"))
    yield chunks
    options = (*chunks.options, "--inplace")
    yield replace(chunks, name="in place", options=options, mixed=b"large")


WORKLOADS = {workload.name: workload for workload in _workloads()}


@dataclass(frozen=True)
class Point:
    """A moment of a run: just before a thread's ``number``-th call of ``call``."""

    call: str
    number: int

    def inject(self, fault: str) -> tuple[str, ...]:
        """The options of strace that bring ``fault`` about there."""
        return ("-e", f"trace={self.call}", "-e", f"inject={self.call}:{fault}:when={self.number}")


def tracing(trace: Path, calls: Sequence[str] = MUTATING) -> tuple[str, ...]:
    """The options of strace that write down all calls of these kinds."""
    # Some of them do not exist on every processor.
    return ("-o", str(trace), "-e", "trace=" + ",".join(f"?{call}" for call in calls))


def points(trace: Path, calls: Sequence[str] = MUTATING) -> list[Point]:
    """The moments of a traced run at which one of ``calls`` changes something."""
    seen: Counter[tuple[Optional[str], str]] = Counter()
    found: dict[Point, None] = {}
    for line in trace.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match and match[2] in calls:
            call = match[2]
            seen[match[1], call] += 1
            if _CHANGES.get(call, "") in line:
                found[Point(call, seen[match[1], call])] = None
    return list(found)


# --- what must hold -------------------------------------------------------------------------------


def leaves(tree: Directory) -> dict[bytes, Node]:
    """Everything but directories, by path."""
    found: dict[bytes, Node] = {}
    todo: list[tuple[bytes, Node]] = [(b"", tree)]
    while todo:
        path, node = todo.pop()
        if isinstance(node, Directory):
            todo.extend((join(path, name), below) for name, below in node.entries.items())
        else:
            found[path] = node
    return found


def assert_old_or_new(destination: Path, old: Directory, new: Directory, mixed: bytes) -> None:
    """Each entry is the old one or the new one, with all that belongs to it; what both have is
    there, and nothing else is. ``old`` and ``new`` were read from disk, with owners."""
    now = read(destination, owner=True)
    assert isinstance(now, Directory)
    found, before, after = leaves(now), leaves(old), leaves(new)
    for path, node in found.items():
        if path == mixed:
            assert isinstance(node, File)
            continue
        possible = [each for each in (before.get(path), after.get(path)) if each is not None]
        same = [each for each in possible if _content(each) == _content(node)]
        assert same, (path, node, possible)
        # Attributes of what stays are set one by one; what is new has them before its name.
        assert node in same or len(possible) == len(same) == 2, (path, node, same)
    for path in before.keys() & after.keys():
        if isinstance(before[path], type(after[path])):
            assert path in found, path
    there = {_content(node) for node in found.values()}
    for path in before.keys() - after.keys():  # moved, or of no use any more
        moved = isinstance(before[path], File) and _content(before[path]) in {
            _content(node) for other, node in after.items() if other not in before
        }
        assert not moved or _content(before[path]) in there, path


def assert_nothing_deleted(destination: Path, old: Directory, new: Directory) -> None:
    """What only the destination had is there still, unless it was moved, or made way."""
    now = read(destination, owner=True)
    assert isinstance(now, Directory)
    found, before, after = leaves(now), leaves(old), leaves(new)
    there = {_content(node) for node in found.values()}
    for path in before.keys() - after.keys() - found.keys():
        above = {path[: -len(tail) - 1] for tail in _tails(path)} | {path}
        made_way = above & after.keys() or any(other.startswith(path + b"/") for other in after)
        assert made_way or _content(before[path]) in there, path


def _tails(path: bytes) -> Iterator[bytes]:
    names = path.split(b"/")
    for start in range(1, len(names)):
        yield b"/".join(names[start:])


def _content(node: Node) -> object:
    return (type(node), getattr(node, "content", None), getattr(node, "target", None))


class Bench:
    """One workload on disk, brought back to where it begins for each point."""

    def __init__(
        self, forked: Forked, workload: Workload, top: Path, destination: Optional[Path] = None
    ) -> None:
        self.run = forked
        self.workload = workload
        self.old, self.new, self.destination = top / "old", top / "new", destination or top / "dst"
        make(self.old, workload.old)
        make(self.new, workload.new)
        self.before, self.after = _read(self.old), _read(self.new)

    def words(self, host: str = "") -> tuple[str | Path, ...]:
        """The run that is hit."""
        return (*self.workload.options, self.new, f"{host}{self.destination}")

    def points(self, who: int, calls: Sequence[str] = MUTATING, *options: str) -> list[Point]:
        """Where ``who`` can be hit: the calls of a run that nothing happens to."""
        trace = self.old.parent / "trace"
        for _ in range(2):  # once all is remembered, each run is like the one before
            self.reset()
            ended = self.run(*options, *self.words(), who=who, strace=tracing(trace, calls))
            assert ended.code == 0, ended.err
        return points(trace, calls)

    def reset(self) -> None:
        """The destination as a run has left it, remembered as it is."""
        ended = self.run("--delete", self.old, self.destination)
        assert ended.code == 0, ended.err

    def assert_survived(self, point: object) -> None:
        """What holds after any end, and after the run that follows it."""
        assert self.run.left() == [], point
        try:
            assert_old_or_new(self.destination, self.before, self.after, self.workload.mixed)
        except AssertionError as error:
            raise AssertionError(f"after {point}: {error}") from None
        self.assert_goes_on(point)

    def assert_goes_on(self, point: object) -> None:
        """The next run makes both sides the same, and what is remembered is true."""
        ended = self.run("--json", *self.words())
        assert ended.code == 0, (point, ended.err)
        assert ended.summary["source_root"] == ended.summary["destination_root"], point
        assert_same(self.destination, self.new, owner=True)
        assert not (self.destination / ".syncron").exists(), point
        ended = self.run("--verify", self.new, self.destination)
        assert ended.code == 0, (point, ended.err)


def _read(path: Path) -> Directory:
    node = read(path, owner=True)
    assert isinstance(node, Directory)
    return node
