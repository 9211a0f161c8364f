"""The rows: which work, on which tree, by which tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from benchmarks import data
from benchmarks.tools import Direction


class Start(Enum):
    """What the destination is before each run."""

    ABSENT = "absent"
    """A first copy: no destination, and no tool remembers anything."""
    EQUAL = "equal"
    """As the tool itself left it, all it remembers kept."""


class Reference(Enum):
    """What is shown beside the tools, for scale."""

    FIND = "find"
    TAR = "tar"


@dataclass(frozen=True)
class Row:
    """``generate(top, scale)`` makes the source; ``change(top, turn)`` alters it every turn."""

    name: str
    says: str
    generate: Callable[[Path, float], None]
    direction: Direction
    start: Start
    change: Callable[[Path, int], None] | None = None
    rsync_options: tuple[str, ...] = ()
    reference: Reference | None = None
    memory: bool = False
    inodes: int = 110_000
    """Files and directories of one copy of the tree at scale 1."""


ROWS: tuple[Row, ...] = (
    Row(
        "nothing-100k",
        "nothing to do, push: 100,000 files in 8,300 directories, 450 MB",
        data.documents,
        Direction.PUSH,
        Start.EQUAL,
        reference=Reference.FIND,
    ),
    Row(
        "first-100k-push",
        "first copy, push: 100,000 files in 8,300 directories, 450 MB",
        data.documents,
        Direction.PUSH,
        Start.ABSENT,
        reference=Reference.TAR,
    ),
    Row(
        "first-100k-pull",
        "first copy, pull: the same tree",
        data.documents,
        Direction.PULL,
        Start.ABSENT,
        reference=Reference.TAR,
    ),
    Row(
        "changed-100",
        "push: 100 of the 100,000 files changed, half of them at the same size",
        data.documents,
        Direction.PUSH,
        Start.EQUAL,
        change=data.edit,
    ),
    Row(
        "noise-1g-push",
        "first copy, push: one file of 1 GiB that does not compress",
        data.noise,
        Direction.PUSH,
        Start.ABSENT,
        reference=Reference.TAR,
    ),
    Row(
        "noise-1g-pull",
        "first copy, pull: the same file",
        data.noise,
        Direction.PULL,
        Start.ABSENT,
        reference=Reference.TAR,
    ),
    Row(
        "text-450m",
        "first copy, push: 450 MB of text in 900 files; rsync -z, syncron's own choice",
        data.texts,
        Direction.PUSH,
        Start.ABSENT,
        rsync_options=("-z",),
    ),
    Row("tiny", "first copy, push: 10 files", data.handful, Direction.PUSH, Start.ABSENT),
    Row("tiny-nothing", "nothing to do, push: 10 files", data.handful, Direction.PUSH, Start.EQUAL),
    Row(
        "nothing-1m",
        "nothing to do, push: 1,000,000 files in 83,000 directories",
        data.crowd,
        Direction.PUSH,
        Start.EQUAL,
        reference=Reference.FIND,
        memory=True,
        inodes=1_100_000,
    ),
)
