"""What a malicious destination can do to whoever pushes to it: it gets what it is sent, and no
more, and harms nothing."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.protocol import messages
from syncron_lib.protocol.contents import Content, pack_contents
from syncron_lib.protocol.messages import Arrived, Below, Directory, IdPair, Problem
from syncron_lib.protocol.pack import End
from tests.adversary.bends import LINKS, MARKS, answer, attack, field, listed, plus, row
from tests.adversary.evil import HANG_UP, Attack, encoded
from tests.adversary.world import DESTINATION, hold, hold_honest
from tests.core.tables import Row, table
from tests.trees import MTIME_NS

DIRECTORY = stat.S_IFDIR | 0o755
LARGEST = 2**63 - 1


def deep(holds: bool) -> Callable[[messages.List], messages.Listing | None]:
    """Directories in each other without an end."""

    def listing(request: messages.List) -> messages.Listing | None:
        if not any(path.startswith(b"gone") for path in request.paths):
            return None
        one = Directory(
            DIRECTORY, 0, 0, 0, 0, table(Row(b"d" * 9, DIRECTORY)), [Below(9, 9, holds)]
        )
        return messages.Listing([one] * len(request.paths))

    return listing


def held(listing: messages.Listing) -> messages.Listing:
    """Something that is left out is in every directory."""
    directories = [
        one._replace(below=[below._replace(holds=True) for below in one.below])
        for one in listing.directories
    ]
    return messages.Listing(directories)


def begun(what: messages.Opened | messages.Leftovers, _request: int) -> Any:
    """A hundred thousand beginnings of one large file, each of which could be the right one."""
    if isinstance(what, messages.Opened):
        return what._replace(staging=True)
    size = 1_700_000
    digests = [number.to_bytes(16, "little") for number in range(100_000)]
    return messages.Leftovers([Arrived(b"x", size, MTIME_NS, size - 1, each) for each in digests])


ATTACKS = [
    *LINKS,
    *MARKS,
    Attack(
        "beginnings that are all to be compared",
        (messages.Opened, messages.Leftovers),
        begun,
        codes=(0,),
    ),
    listed("a name that leads up", row(name=b"..")),
    listed("a name with a slash", row(name=b"a/b")),
    listed("a size that no file has", row(size=1 << 63)),
    listed("names out of order", lambda rows: rows[::-1]),
    listed("what it does not have", plus(Row(b"x", stat.S_IFREG, LARGEST)), codes=(0,)),
    attack("no directories", messages.Listing, lambda _: messages.Listing(())),
    answer("directories in each other without an end", messages.List, deep(False), codes=(0, 7)),
    Attack(
        "directories that hold something without an end",
        (messages.Listing,),
        lambda m, _: held(m),
        answers=lambda request: deep(True)(request) if isinstance(request, messages.List) else None,
        codes=(0,),
    ),
    field(
        "leftovers that it does not have",
        messages.Leftovers,
        codes=(0,),
        arrived=[Arrived(b"edited", 11, 0, 11, b"d" * 16)],
    ),
    field("a leftover outside", messages.Leftovers, arrived=[Arrived(b"../x", 1, 1, 1, b"d" * 16)]),
    field(
        "leftovers of no length",
        messages.Leftovers,
        arrived=[Arrived(b"x", LARGEST, 0, LARGEST, bytes(16))] * 9,
        codes=(0, 23),
    ),
    field("chunks without marks", messages.Chunks, marks=b""),
    field("half a chunk", messages.Chunks, sizes=b"12345"),
    field("chunks of no size", messages.Chunks, sizes=bytes(400), marks=bytes(800)),
    field("a chunk beyond all measure", messages.Chunks, sizes=b"\xff" * 4, marks=bytes(8)),
    field("an average of no cutter", messages.Chunks, average=5000),
    field("an average beyond all measure", messages.Chunks, average=2**31),
    field(
        "chunks of another file",
        messages.Chunks,
        marks=bytes(8 * 90),
        sizes=struct.pack("<I", 4096) * 90,
        codes=(0, 7, 23),
    ),
    field("sizes and digests that are cut off", messages.Found, contents=b"1234567"),
    field(
        "content that it does not have",
        messages.Found,
        codes=(0, 7, 23),
        contents=pack_contents([Content(200_000, b"d" * 16)] * 9),
    ),
    attack(
        "asks again for what it was not sent",
        messages.Stored,
        lambda m: m._replace(again=[b"common/same"]),
    ),
    attack(
        "asks again for what is left out",
        messages.Stored,
        lambda m: m._replace(again=[b"skipped.tmp"]),
    ),
    attack(
        "asks again for what lies outside",
        messages.Stored,
        lambda m: m._replace(again=[b"../outside/secret"]),
    ),
    attack(
        "asks again for what a symlink leads to",
        messages.Stored,
        lambda m: m._replace(again=[b"link/secret"]),
    ),
    attack(
        "asks again for all",
        messages.Stored,
        lambda m: m._replace(again=[b"edited", b"huge", b"fresh/a"]),
        codes=(0, 7, 23),
    ),
    attack(
        "has stored beyond all measure",
        messages.Stored,
        lambda m: m._replace(entries=2**64 - 1, busy=2**64 - 1),
        codes=(0,),
    ),
    attack(
        "problems without an end",
        messages.Stored,
        lambda m: m._replace(problems=[Problem(b"x", "x", False)] * 200_000),
    ),
    attack(
        "a problem that acts on the terminal",
        messages.Stored,
        lambda m: m._replace(passed_on=[Problem(b"\x1b[2J", "\x1b[2J", False)]),
        codes=(23,),
    ),
    attack("an early end", messages.Stored, lambda _: HANG_UP, codes=(12,)),
    Attack("content in return", (messages.Stored,), lambda _, n: encoded(End(), n)),
    field(
        "pairs of users that are none",
        messages.MappedIds,
        users=[IdPair(0, 2**32 - 1)] * 9,
        codes=(0, 23),
    ),
    field("a root that is not", messages.Sealed, root=b"r" * 16, codes=(0,)),
    field("a root that is not, at the end", messages.Finished, root=b"r" * 16, codes=(23,)),
    field("our own identity", messages.Opened, identity=b"i" * 16, codes=(0,)),
    field("a disk that is not mounted", messages.Opened, unmounted=True, codes=(3,)),
    attack(
        "changes without a basis",
        messages.Changes,
        lambda m: m._replace(basis=b"b" * 16, complete=True),
        codes=(0,),
        again=True,
    ),
    attack(
        "other changes",
        messages.Changes,
        lambda m: m._replace(complete=True, changed=()),
        codes=(0, 23),
        again=True,
    ),
    attack(
        "changes where nothing is",
        messages.Changes,
        lambda m: m._replace(
            changed=[messages.Changed(b"common/x/y", bytes(16), Below(1, 1, True), None, False)]
        ),
        codes=(0, 7, 23),
        again=True,
    ),
    field("another scan", messages.Scanned, ignore_digest=b"d" * 16, entries=2**64 - 1, codes=(0,)),
    answer(
        "a move that did not succeed",
        messages.Move,
        lambda m: messages.Stored(
            0, 0, (), (), [b"common/same", *[moved.new for moved in m.items]]
        ),
        codes=(0, 23),
    ),
    answer("no reply to a move", messages.Move, lambda _: messages.Done()),
    answer("content without a place", messages.Find, lambda _: messages.Stored(0, 0, (), (), ())),
]


@pytest.mark.parametrize("again", [False, True])
def test_the_honest_conversation(tmp_path: Path, again: bool) -> None:
    hold_honest(tmp_path, DESTINATION, again)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_an_evil_destination(tmp_path: Path, attack: Attack) -> None:
    hold(tmp_path, DESTINATION, attack)
