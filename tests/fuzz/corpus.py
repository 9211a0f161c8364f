"""Well-formed bytes of every kind, for noise to begin with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from syncron_lib.core.chunks import Step, StepKind
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.role import Role
from syncron_lib.core.table import EMPTY
from syncron_lib.core.table import pack as pack_table
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs import ignorefiles
from syncron_lib.fs.ignorefiles import IgnoreFile
from syncron_lib.protocol import messages, wire
from syncron_lib.protocol.messages import Expected, Moved, Next, Selected, SetAttributes
from syncron_lib.protocol.pack import Delta, Group, Groups, Packer, Piece
from syncron_lib.protocol.wire import PACK, STORE, Sender
from tests.core.tables import Row, table
from tests.endpoint.driving import SEAL, XXH3, opening
from tests.protocol.golden import MESSAGES
from tests.trees import Link, make, noise

Frame = tuple[int, bytes]
"""Number of a message, and its payload."""

_OWN = Attributes(0o040755, 0, 0, 0)
_FILE = 0o100644
TREE: dict[str, Any] = {
    ".syncronignore": b"*.tmp\n",
    "a": {"b": {"file": b"in b"}, "file": b"in a"},
    "file": b"content",
    "large": noise(200_000),
    "link": Link(b"/etc"),
}
"""What the helper's root holds."""


def tree(root: Path) -> None:
    """Make the root."""
    make(root, TREE)


def _file(name: bytes, data: bytes) -> Row:
    return Row(name, _FILE, len(data), digest=XXH3.of(data))


def packs() -> list[bytes]:
    """Packs of each kind."""
    groups = [
        Group(
            b"new",
            True,
            True,
            False,
            _OWN,
            table(_file(b"x", b"abc"), Row(b"l", 0o120777, target=b"x")),
        ),
        Group(b"", False, True, False, _OWN, table(_file(b"file", b"other"))),
        Group(b"new", False, True, True, _OWN, table(_file(b"y", b"abc"))),
    ]
    problems = [messages.Problem(b"p", "gone", True)]
    own = Attributes(_FILE, 0, 0, 0)
    steps = [Step(StepKind.COPY, 0, 9), Step(StepKind.LITERAL, 0, 3), Step(StepKind.REPEAT, 0, 4)]
    packer = Packer()
    made = [
        packer.groups(Groups(groups, problems, b"abcother"), Next()),
        packer.groups(Groups([], [], b""), Next()),
        packer.groups(Groups(groups[:1], [], b"abc"), Next(2, 1)),
        packer.piece(Piece(b"large", own, 6, 0, False, False, bytes(16), b"abc"), Next()),
        packer.piece(Piece(b"large", own, 6, 3, True, False, XXH3.of(b"abcdef"), b"def"), Next()),
        packer.delta(
            Delta(b"large", own, 16, 0, True, False, bytes(16), 16, steps, b"abc"), Next()
        ),
        packer.end(),
    ]
    return [b"".join(parts) for parts in made]


def tables() -> list[bytes]:
    """Tables, packed."""
    some = table(
        _file(b"a", b"1"), Row(b"d", 0o040755), Row(b"l", 0o120777, target=b"a"), Row(b"p", 0, 13)
    )
    return [pack_table(EMPTY), pack_table(some)]


def requests(root: Path) -> list[Frame]:
    """What a client says, in all phases."""
    asked: list[Any] = [
        *(opening(root, Role.SOURCE), opening(root, Role.DESTINATION), messages.Scan(), SEAL),
        *(messages.List([b"", b"a"]), messages.Hash([b"file", b"large"])),
        *(messages.GetIgnoreFiles(0), messages.GetChanges(True, 1 << 20, 1 << 20)),
        messages.UseIgnoreFiles([messages.IgnoreFile(b"", b".syncronignore", b"*.o")], False),
        messages.MapIds([messages.IdName(1, b"daemon")], [messages.IdName(1, b"daemon")]),
        messages.Select(
            [Selected(b"file", False), Selected(b"a", True), Selected(b"large", False)], ()
        ),
        *(messages.Next(), messages.Next(2, 1), messages.GetSizes(), messages.Find(bytes(8))),
        messages.Offer(bytes(24), [b"large"]),
        *(messages.Keep(bytes(16)), messages.GetChunks(b"large", "fixed", 0, 1 << 20)),
        messages.Basis(b"large", "fixed", 4096, b"\0\x10\0\0", bytes(8), False, False),
        messages.Begin((), ()),
        messages.Expect(
            [
                Expected(b"new", True, False),
                Expected(b"file", False, True),
                Expected(b"large", False, False),
            ]
        ),
        messages.Adjust(
            [SetAttributes(b"file", 0o100600, 5, 0, 0), SetAttributes(b"a", 0o040700, 5, 0, 0)]
        ),
        messages.Move(
            [SetAttributes(b"made", 0o040700, 5, 0, 0)], [Moved(b"a/file", b"made/file")]
        ),
        *(
            messages.Delete([b"a/b"]),
            messages.LeaveOut([b"a"]),
            messages.Imply([b"a"]),
            messages.MakeImplied([b"a/c"]),
            messages.RemoveSource(),
            messages.Finish([b"a"], True),
        ),
        messages.Close(),
    ]
    frames = [wire.encode(message) for message in asked]
    frames.extend((STORE, pack) for pack in packs())
    return frames + _golden(Sender.CLIENT)


def replies(root: Path) -> list[Frame]:
    """What a helper says."""
    endpoint = LocalEndpoint(os.environ, 0o022)
    asked = (opening(root, Role.SOURCE), messages.Scan(), SEAL, messages.List([b"", b"a"]))
    frames = [wire.encode(endpoint.handle(request)) for request in asked]
    endpoint.close()
    frames.extend((PACK, pack) for pack in packs())
    return frames + _golden(Sender.HELPER)


def _golden(sender: Sender) -> list[Frame]:
    senders = (sender, Sender.BOTH)
    return [
        wire.encode(message)
        for message in MESSAGES
        if wire.BY_KIND[type(message)].sender in senders
    ]


RULES = [
    b"- *.o\n+ /a/**/b\n- /x/\0*.tmp\n!keep.tmp\n/build/\0**/x/**\n[a-z[:digit:]]?\\*\0f.tmp\0a/b",
    b"\0a**b*c?[!x-z]\n# no\n\\#yes\n trailing \\ \n\0*/\n!*/\n\0name\0",
]
COLUMNS = [
    ignorefiles.pack([IgnoreFile(b"d", b".gitignore", b"*.o", (1, 2, 3, 4))]),
    b"\2\0\0\0\3\0\0\0a\0b" + bytes(88),
]
CONFIGURATION = (Path(__file__).parents[2] / "config.example.yaml").read_bytes()
