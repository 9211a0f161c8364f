"""The rows: which work, on which tree, over which link, by which tools."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from benchmarks import data
from benchmarks.data import Change, Generate
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
    SSH = "ssh"


@dataclass(frozen=True)
class Link:
    """What lies between the two machines: seconds one way, bytes a second each way."""

    delay: float = 0.0
    rate: float | None = None


LOOPBACK = Link()
SLOW = Link(delay=0.05, rate=10e6 / 8)
"""A round trip of 100 ms, 10 Mbit/s: a home line to a server on another continent."""


@dataclass(frozen=True)
class Row:
    """``generate(top, scale)`` makes the source; ``change(top, turn)`` alters it every turn.

    ``options`` are given to both tools. ``at_most`` is the ratio to rsync's time that is aimed at,
    ``literal_at_most`` that to its literal data; None where nothing was promised.
    """

    name: str
    says: str
    generate: Generate
    direction: Direction
    start: Start
    change: Change | None = None
    options: tuple[str, ...] = ()
    rsync_options: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    link: Link = LOOPBACK
    at_most: float | None = None
    literal_at_most: float | None = None
    sealed: bool = False
    """All of it is sealed; first copies are sent in clear beside that, too."""
    inodes: int = 110_000
    """Files and directories of one copy of the tree at scale 1."""


ROWS: tuple[Row, ...] = (
    Row(
        "tiny",
        "first copy, push: 10 files",
        data.handful,
        Direction.PUSH,
        Start.ABSENT,
        references=(Reference.SSH,),
        at_most=1.0,
    ),
    Row(
        "tiny-nothing",
        "nothing to do, push: 10 files",
        data.handful,
        Direction.PUSH,
        Start.EQUAL,
        references=(Reference.SSH,),
        at_most=1.0,
    ),
    Row(
        "tiny-slow",
        "the same over a link of 100 ms (round trip) and 10 Mbit/s: what exchanges cost",
        data.handful,
        Direction.PUSH,
        Start.EQUAL,
        references=(Reference.SSH,),
        link=SLOW,
    ),
    Row(
        "nothing-10k",
        "nothing to do, push: 10,000 files in 830 directories, 45 MB",
        data.tenth,
        Direction.PUSH,
        Start.EQUAL,
        references=(Reference.FIND,),
    ),
    Row(
        "first-10k-push",
        "first copy, push: the same tree",
        data.tenth,
        Direction.PUSH,
        Start.ABSENT,
        references=(Reference.TAR,),
    ),
    Row(
        "nothing-100k",
        "nothing to do, push: 100,000 files in 8,300 directories, 450 MB",
        data.documents,
        Direction.PUSH,
        Start.EQUAL,
        references=(Reference.FIND,),
        at_most=0.5,
    ),
    Row(
        "checksum-100k",
        "the same with --checksum; what both trees contained is remembered",
        data.documents,
        Direction.PUSH,
        Start.EQUAL,
        options=("--checksum",),
        at_most=0.5,
    ),
    Row(
        "nothing-slow",
        "nothing-100k over the slow link",
        data.documents,
        Direction.PUSH,
        Start.EQUAL,
        references=(Reference.SSH,),
        link=SLOW,
        at_most=0.25,
    ),
    Row(
        "first-100k-push",
        "first copy, push: 100,000 files in 8,300 directories, 450 MB",
        data.documents,
        Direction.PUSH,
        Start.ABSENT,
        references=(Reference.TAR,),
        at_most=0.6,
    ),
    Row(
        "first-100k-pull",
        "first copy, pull: the same tree",
        data.documents,
        Direction.PULL,
        Start.ABSENT,
        references=(Reference.TAR,),
        at_most=0.6,
    ),
    Row(
        "changed-100",
        "push: 100 of the 100,000 files changed, half of them at the same size",
        data.documents,
        Direction.PUSH,
        Start.EQUAL,
        change=data.edit,
        at_most=0.5,
    ),
    Row(
        "changed-slow",
        "changed-100 over the slow link",
        data.documents,
        Direction.PUSH,
        Start.EQUAL,
        change=data.edit,
        references=(Reference.SSH,),
        link=SLOW,
    ),
    Row(
        "clone-20k",
        "push: 20,000 files, cloned anew: the same content, with other inodes and times",
        data.fifth,
        Direction.PUSH,
        Start.EQUAL,
        change=data.clone,
    ),
    Row(
        "noise-1g-push",
        "first copy, push: one file of 1 GiB that does not compress",
        data.noise,
        Direction.PUSH,
        Start.ABSENT,
        references=(Reference.TAR,),
        at_most=0.6,
    ),
    Row(
        "noise-1g-pull",
        "first copy, pull: the same file",
        data.noise,
        Direction.PULL,
        Start.ABSENT,
        references=(Reference.TAR,),
        at_most=0.6,
    ),
    Row(
        "delta-1g",
        "push: the same file with 100 edits and 10 insertions",
        data.noise,
        Direction.PUSH,
        Start.EQUAL,
        change=data.scatter,
        at_most=0.6,
        literal_at_most=1.2,
    ),
    Row(
        "renamed-1g",
        "push with --delete: the top directory of 10,000 files and 1 GiB has another name",
        data.archive,
        Direction.PUSH,
        Start.EQUAL,
        change=data.rename,
        options=("--delete",),
        at_most=0.15,
    ),
    Row(
        "text-450m",
        "first copy, push: 450 MB of text in 900 files; rsync -z, syncron's own choice",
        data.texts,
        Direction.PUSH,
        Start.ABSENT,
        rsync_options=("-z",),
        at_most=0.5,
    ),
    Row(
        "text-slow",
        "the same of 20 MB in 40 files over the slow link",
        data.pages,
        Direction.PUSH,
        Start.ABSENT,
        rsync_options=("-z",),
        references=(Reference.SSH,),
        link=SLOW,
    ),
    Row(
        "sealed-1g",
        "first copy, push: 1 GiB that does not compress, sealed; rsync in clear",
        data.noise,
        Direction.PUSH,
        Start.ABSENT,
        sealed=True,
    ),
    Row(
        "sealed-10k",
        "first copy, push: 10,000 small files, sealed; rsync in clear",
        data.tenth,
        Direction.PUSH,
        Start.ABSENT,
        sealed=True,
    ),
    Row(
        "sealed-10k-nothing",
        "nothing to do, push: the same",
        data.tenth,
        Direction.PUSH,
        Start.EQUAL,
        sealed=True,
    ),
    Row(
        "nothing-1m",
        "nothing to do, push: 1,000,000 files in 83,000 directories",
        data.crowd,
        Direction.PUSH,
        Start.EQUAL,
        references=(Reference.FIND,),
        at_most=0.5,
        inodes=1_100_000,
    ),
    Row(
        "first-1m-push",
        "first copy, push: the same tree",
        data.crowd,
        Direction.PUSH,
        Start.ABSENT,
        inodes=1_100_000,
    ),
)
