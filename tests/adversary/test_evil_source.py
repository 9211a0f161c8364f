"""What a malicious source can do to whoever pulls from it: nothing but end the run."""

from __future__ import annotations

import stat
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from syncron_lib.core.chunks import Step, StepKind
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.options import DeleteCap, RuleOptions
from syncron_lib.core.table import EMPTY
from syncron_lib.protocol import messages
from syncron_lib.protocol.frames import HEADER, MAX_PAYLOAD
from syncron_lib.protocol.messages import Below, Directory, IgnoreFile, Problem
from syncron_lib.protocol.pack import HEAD, Delta, End, Group, Groups, Piece
from syncron_lib.protocol.wire import BY_KIND, PACK
from tests.adversary.bends import (
    LINKS,
    MARKS,
    answer,
    attack,
    field,
    grouped,
    in_group,
    listed,
    plus,
    raw,
    row,
)
from tests.adversary.evil import HANG_UP, Attack, encoded, frame
from tests.adversary.world import OPTIONS, SOURCE, hold, hold_honest
from tests.core.tables import Row, table
from tests.trees import noise

FILE, DIRECTORY, SYMLINK, DEVICE = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFBLK
OWN = Attributes(DIRECTORY | 0o755, 0, 0, 0)
DONE, HEARTBEAT = BY_KIND[messages.Done].number, BY_KIND[messages.Heartbeat].number


def bomb(payload: bytes, method: int, raw_length: int) -> bytes:
    """A pack that says to have ``raw_length`` bytes."""
    return HEAD.pack(0, method, 1, 0, 0, raw_length, 0, raw_length) + payload


def new_group(path: bytes, *rows: Row, last: bool = True) -> Group:
    return Group(path, True, last, False, OWN, table(*rows))


def into(path: bytes, *rows: Row) -> Group:
    return Group(path, False, True, False, OWN, table(*rows))


def instead(name: str, *groups: Group, body: bytes = b"", **more: Any) -> Attack:
    """An attack by another first pack."""
    return attack(name, Groups, lambda _: Groups(groups, (), body), times=1, **more)


def behind(name: str, *groups: Group, body: bytes = b"", **more: Any) -> Attack:
    """An attack by what comes behind the honest groups of the first pack."""
    return attack(
        name,
        Groups,
        lambda pack: Groups([*pack.groups, *groups], pack.problems, bytes(pack.body) + body),
        times=1,
        **more,
    )


X = Row(b"x", FILE | 0o644, 3, digest=bytes(16))
LINK = Row(b"d", SYMLINK | 0o777, target=b"/etc")

FRAMES = [
    attack("a frame of 2^32-1 bytes", messages.Sealed, lambda _: HEADER.pack(2**32 - 1, 4, 1)),
    attack("a frame over the limit", messages.Sealed, lambda _: HEADER.pack(MAX_PAYLOAD + 1, 4, 1)),
    attack(
        "a frame that ends early",
        messages.Sealed,
        lambda _: HEADER.pack(100, 0x1B, 3) + b"1234" + HANG_UP,
        codes=(12,),
    ),
    attack("no more frames", messages.Sealed, lambda _: HANG_UP, codes=(12,)),
    attack("a header that ends early", messages.Listing, lambda _: b"\0\0" + HANG_UP, codes=(12,)),
    Attack("an unknown frame", (messages.Sealed,), lambda _, n: frame(0xEE, b"x", n)),
    Attack("another's reply", (messages.Sealed,), lambda m, n: encoded(m, n + 1)),
    Attack("a reply to nothing", (messages.Sealed,), lambda m, _: encoded(m, 0)),
    Attack("a reply twice", (messages.Listing,), lambda m, n: encoded(m, n) * 2),
    Attack("a reply of another kind", (messages.Listing,), lambda _, n: frame(DONE, b"", n)),
    Attack("content as a reply", (messages.Listing,), lambda _, n: frame(PACK, bytes(30), n)),
    Attack("a request", (messages.Sealed,), lambda _, n: encoded(messages.Delete([b"common"]), n)),
    Attack(
        "bytes behind a message",
        (messages.Sealed,),
        lambda m, n: frame(0x1B, encoded(m, n)[9:] + b"x", n),
    ),
    Attack("half a message", (messages.Listing,), lambda m, n: frame(0x21, encoded(m, n)[9:40], n)),
    Attack("a list without an end", (messages.Listing,), lambda _, n: frame(0x21, b"\xff" * 40, n)),
    Attack(
        "a nested nothing",
        (messages.Listing,),
        lambda _, n: frame(0x21, struct.pack("<I", 10**5) + bytes(10**5), n),
    ),
    Attack(
        "a heartbeat with a payload",
        (messages.Sealed,),
        lambda m, n: frame(HEARTBEAT, bytes(1 << 20)) + encoded(m, n),
    ),
    attack(
        "a second greeting",
        messages.Sealed,
        lambda _: encoded(messages.Hello(1, 1, "", "", "", 0, (), (), (), 0, 0), 0),
    ),
    Attack(
        "notices without an end",
        (messages.Sealed,),
        lambda m, n: encoded(messages.Notice("x" * 9_000), 0) * 1_001 + encoded(m, n),
    ),
    attack("a failure of code 0", messages.Sealed, lambda _: messages.Failed(0, "all is well")),
    attack("a failure of code 9", messages.Sealed, lambda _: messages.Failed(9, "it differs")),
    attack(
        "a failure of a code of no meaning",
        messages.Sealed,
        lambda _: messages.Failed(200, "\x1b[2J\u202e\n"),
    ),
]

LISTINGS = [
    listed("a name that leads up", row(name=b"..")),
    listed("the name of the directory itself", row(name=b".")),
    listed("an absolute name", row(name=b"/etc/passwd")),
    listed("a name with a slash", row(name=b"link/secret")),
    listed("an empty name", row(name=b"")),
    listed("a name with a NUL", row(name=b"a\0b")),
    listed("a name of 256 bytes", row(name=b"n" * 256)),
    listed("the name of our staging", row(name=b".syncron")),
    listed("names out of order", lambda rows: rows[::-1]),
    listed("a name twice", plus(Row(b"edited", FILE | 0o644, 1))),
    listed("a file that is a directory too", plus(Row(b"edited", DIRECTORY | 0o755))),
    listed("a mode of no kind", row(mode=0o170000)),
    listed("a mode with more bits", row(mode=FILE | 1 << 20)),
    listed("a size that no file has", row(size=1 << 63)),
    listed("a problem that is none", row(mode=0, size=0)),
    listed("a problem of an unknown number", row(mode=0, size=5000)),
    listed("a target with a NUL", plus(Row(b"l", SYMLINK | 0o777, target=b"a\0b"))),
    listed("no target", plus(Row(b"l", SYMLINK | 0o777))),
    listed("a subdirectory that was not counted", plus(Row(b"d", DIRECTORY | 0o755))),
    attack("too few directories", messages.Listing, lambda _: messages.Listing(())),
    attack(
        "too many directories", messages.Listing, lambda m: messages.Listing([*m.directories] * 9)
    ),
    attack(
        "parts of a directory without an end",
        messages.Listing,
        lambda m: m._replace(directories=[m.directories[0]._replace(more=True)]),
    ),
    attack(
        "a part with nothing in it",
        messages.Listing,
        lambda m: messages.Listing([m.directories[0]._replace(table=EMPTY, below=(), more=True)]),
    ),
    attack(
        "subdirectories counted wrongly",
        messages.Listing,
        lambda m: messages.Listing([m.directories[0]._replace(below=())]),
    ),
    attack("too few digests", messages.Hashed, lambda m: m._replace(digests=m.digests[:-1])),
]

NAMES = [
    messages.IdName(n, name) for n, name in enumerate([b"", b"a\0b", b"\xff", b"n" * (1 << 20)])
]
EARLIER = [
    raw("a root of an unknown kind", messages.Opened, b"\1\0\0", b"\7\0\0"),
    raw("a root with a NUL in its path", messages.Opened, b"/source", b"/sour\0e"),
    field("a root that is a file", messages.Opened, kind=2, path=b"/..", codes=(3, 7)),
    field("a root that somebody holds", messages.Opened, held="\x1b[31mme\n", codes=(6,)),
    field("names of users that are none", messages.Scanned, users=NAMES, codes=(0,)),
    field(
        "counts beyond all measure", messages.Scanned, entries=2**64 - 1, size=2**64 - 1, codes=(0,)
    ),
    field("an empty tree that is full", messages.Scanned, entries=0, codes=(3,)),
    field("problems that are none", messages.Scanned, problems=2**64 - 1, codes=(0, 23)),
    answer(
        "no ignore files and more",
        messages.GetIgnoreFiles,
        lambda _: messages.IgnoreFiles((), True),
    ),
    answer(
        "ignore files without an end",
        messages.GetIgnoreFiles,
        lambda _: messages.IgnoreFiles(
            [IgnoreFile(b"d", b".syncronignore", b"*.o\n" * (1 << 18))] * 7, True
        ),
        codes=(3,),
    ),
    answer(
        "small ignore files without an end",
        messages.GetIgnoreFiles,
        lambda _: messages.IgnoreFiles([IgnoreFile(b"d", b"x", b"")] * 60_000, True),
        codes=(3,),
    ),
    answer(
        "ignore files without an end for who protects",
        messages.GetIgnoreFiles,
        lambda _: messages.IgnoreFiles([IgnoreFile(b"d", b"x", b"*.o\n" * 4096)] * 400, True),
        codes=(3,),
        options=OPTIONS._replace(rules=RuleOptions(patterns=(b"-s *.x",))),
    ),
    answer(
        "an ignore file that is too large",
        messages.GetIgnoreFiles,
        lambda _: messages.IgnoreFiles(
            [IgnoreFile(b"", b".syncronignore", b"*" * (1 << 21))], False
        ),
        codes=(3,),
    ),
    answer(
        "an ignore file of too many patterns",
        messages.GetIgnoreFiles,
        lambda _: messages.IgnoreFiles(
            [IgnoreFile(b"", b".syncronignore", b"*a*b\n" * 50_000)], False
        ),
        codes=(3,),
    ),
    raw(
        "an ignore file outside",
        messages.IgnoreFiles,
        b"\0\0\0\0\x0e\0\0\0.sync",
        b"\2\0\0\0..\x0e\0\0\0.sync",
    ),
    field("pairs of users", messages.Sealed, users=[messages.IdPair(0, 7)] * 9, codes=(0, 23)),
    field("a root that is not", messages.Sealed, root=b"r" * 16, codes=(0,)),
    field("the root of nothing", messages.Finished, root=b"r" * 16, codes=(23,)),
    field(
        "a problem at the end",
        messages.Finished,
        problems=[Problem(b"\x1b", "\x1b[2J", False)],
        codes=(23,),
    ),
]

NOWHERE = messages.Changed(b"common/nowhere", bytes(16), Below(1, 1, False), None, False)
ALL_GONE = Directory(DIRECTORY | 0o755, 0, 0, 0, 0, EMPTY, ())


def changed(name: str, *changes: messages.Changed, **more: Any) -> Attack:
    """An attack by what changed, as the source says, since an earlier run."""
    fields = {key: more.pop(key) for key in ("complete", "basis") if key in more}
    return attack(
        f"changes: {name}",
        messages.Changes,
        lambda m: m._replace(changed=[*m.changed, *changes], **fields),
        again=True,
        **more,
    )


CHANGES = [
    changed("a directory that is not there", NOWHERE, codes=(0, 7)),
    changed("a path outside", NOWHERE._replace(path=b"../outside")),
    changed("a part of a directory", NOWHERE._replace(directory=ALL_GONE._replace(more=True))),
    changed(
        "everything is gone",
        NOWHERE._replace(path=b"", directory=ALL_GONE, own=True),
        codes=(25,),
        options=OPTIONS._replace(max_delete=DeleteCap(entries=3)),
    ),
    changed(
        "subdirectories that do not count",
        NOWHERE._replace(
            path=b"",
            directory=ALL_GONE._replace(table=table(Row(b"common", DIRECTORY | 0o755))),
            own=True,
        ),
    ),
    changed("a path twice", *[NOWHERE._replace(path=b"common", own=True)] * 2, codes=(0, 23)),
    changed("a basis that is not", basis=b"b" * 16, codes=(0,)),
    changed("all that there is not", complete=True, codes=(0,)),
]

PIECES = [
    attack("a piece outside of its file", Piece, lambda p: p._replace(offset=p.size)),
    attack(
        "a piece out of its place",
        Piece,
        lambda p: p._replace(offset=p.offset + 1) if p.offset else p,
    ),
    attack("a piece twice", Piece, lambda p: [p, p]),
    attack(
        "a piece of a smaller file", Piece, lambda p: p._replace(size=p.size - 1) if p.last else p
    ),
    attack(
        "a piece of another file", Piece, lambda p: p._replace(path=b"edited") if p.offset else p
    ),
    attack("a piece of what nobody wants", Piece, lambda p: p._replace(path=b"common/same")),
    attack("a piece through a symlink", Piece, lambda p: p._replace(path=b"link/secret")),
    raw("a piece outside of the tree", Piece, b"\4\0\0\0huge", b"\7\0\0\0../huge"),
    attack(
        "a piece with another's digest",
        Piece,
        lambda p: p._replace(digest=b"x" * 16) if p.last else p,
    ),
    attack("a piece with other bytes", Piece, lambda p: p._replace(body=bytes(len(p.body)))),
    attack("a file that fails at its end", Piece, lambda p: p._replace(failed=p.last), codes=(23,)),
    attack("a size that no file has", Piece, lambda p: p._replace(size=1 << 63)),
    attack(
        "a beginning that is not here",
        Piece,
        lambda p: p._replace(offset=9, body=p.body[:9], digest=b"x" * 16),
    ),
]
REST = (Step(StepKind.LITERAL, 0, 3),)
DELTAS = [
    attack(
        "a copy from behind the end",
        Delta,
        lambda d: d._replace(steps=[Step(1, 1 << 40, d.size)], body=b""),
    ),
    attack(
        "a repetition of what is not there",
        Delta,
        lambda d: d._replace(steps=[Step(2, 0, 9)], body=b""),
    ),
    attack("a step of no kind", Delta, lambda d: d._replace(steps=[Step(9, 0, d.size)], body=b"")),
    attack("a step of no length", Delta, lambda d: d._replace(steps=[*d.steps, Step(0, 0, 0)])),
    attack(
        "a literal that is not there",
        Delta,
        lambda d: d._replace(steps=[Step(0, 0, d.size)], body=b""),
    ),
    attack(
        "more steps than there may be",
        Delta,
        lambda d: d._replace(steps=[Step(1, 0, 1)] * 70_000, body=b"", size=1 << 40),
    ),
    attack(
        "a delta without an end",
        Delta,
        lambda d: d._replace(steps=[Step(1, 0, 300_000)] * 60_000, body=b"", size=1 << 60),
    ),
    attack(
        "steps that make something else",
        Delta,
        lambda d: d._replace(steps=[Step(1, 0, 9), Step(1, 0, 9)], body=b"", size=18),
        codes=(0, 7),
    ),
    attack("a delta of a new file", Delta, lambda d: d._replace(path=b"fresh/a")),
    attack("a delta of a symlink", Delta, lambda d: d._replace(path=b"link")),
]
PACKS = [
    instead("what was not asked for", into(b"common", X), body=b"abc"),
    instead("what is there and stays", into(b"common", X._replace(name=b"same")), body=b"abc"),
    instead("a file through a symlink", into(b"link", X._replace(name=b"secret")), body=b"abc"),
    instead("a directory through a symlink", new_group(b"link/d")),
    instead("a directory that was not asked for", new_group(b"other")),
    instead("the root as a new directory", new_group(b"")),
    instead(
        "the staging as a new directory",
        new_group(b".syncron", X._replace(name=b"index")),
        body=b"abc",
    ),
    instead("a file in the staging", into(b".syncron", X._replace(name=b"t1")), body=b"abc"),
    instead(
        "a directory in a symlink that came before",
        new_group(b"fresh", LINK),
        new_group(b"fresh/d"),
        codes=(23,),
    ),
    instead(
        "kept files in a symlink that came before",
        new_group(b"fresh", LINK),
        new_group(b"fresh/d"),
        Group(b"fresh/d", False, True, True, OWN, table(X)),
        codes=(23,),
    ),
    instead(
        "a directory before another's end",
        new_group(b"fresh", last=False),
        new_group(b"fresh/deep"),
    ),
    instead("a directory twice", new_group(b"fresh"), new_group(b"fresh")),
    instead("a directory in one that did not come", new_group(b"fresh/deep/other")),
    instead("an entry that is a directory", new_group(b"fresh", Row(b"d", DIRECTORY | 0o755))),
    instead("an entry that is a problem", new_group(b"fresh", Row(b"d", 0, 5))),
    instead("a file shorter than announced", new_group(b"fresh", X), body=b"ab"),
    instead("a file of no end", new_group(b"fresh", X._replace(size=(1 << 63) - 1)), body=b"ab"),
    instead("bytes of no file", new_group(b"fresh"), body=b"abc"),
    instead(
        "content that nobody has",
        Group(b"", False, True, True, OWN, table(X._replace(name=b"edited", digest=b"z" * 16))),
        codes=(0, 7, 23),
    ),
    behind("an entry a second time", into(b"", X._replace(name=b"edited")), body=b"abc"),
    in_group("a name that leads up", row(name=b"..")),
    in_group("a name with a slash", row(name=b"../x")),
    in_group("a digest of something else", row(digest=b"d" * 16)),
    in_group("another size", row(size=1)),
    grouped("a group that leads up", lambda group: group._replace(path=b"..")),
    grouped("an absolute group", lambda group: group._replace(path=b"/etc")),
    grouped("a group with an empty name", lambda group: group._replace(path=b"common//x")),
    attack(
        "doubts that the head does not tell",
        Groups,
        lambda p: frame(
            PACK,
            HEAD.pack(0, 0, 0, 0, 0, 0, 27, 27)
            + struct.pack("<III", 0, 1, 6)
            + b"edited"
            + struct.pack("<I", 4)
            + b"what\0",
        ),
    ),
    attack(
        "problems without an end",
        Groups,
        lambda p: p._replace(problems=[Problem(b"edited", "x", False)] * 200_000),
        codes=(23,),
    ),
    attack(
        "a problem outside", Groups, lambda p: p._replace(problems=[Problem(b"../x", "x", False)])
    ),
    attack(
        "a problem that acts on the terminal",
        Groups,
        lambda p: p._replace(problems=[Problem(b"\x1b[2J", "\x1b[2J\n", False)]),
        codes=(23,),
    ),
    Attack(
        "a bomb of zlib",
        (Groups,),
        lambda _, n: frame(PACK, bomb(zlib.compress(bytes(1 << 27), 9), 2, 1 << 20), n),
    ),
    Attack(
        "a bomb of zlib that says so",
        (Groups,),
        lambda _, n: frame(PACK, bomb(zlib.compress(bytes(1 << 27), 9), 2, 1 << 27), n),
    ),
    Attack(
        "a bomb of zstd", (Groups,), lambda _, n: frame(PACK, bomb(zstd(1 << 27), 1, 1 << 20), n)
    ),
    Attack(
        "a bomb of zstd that says so",
        (Groups,),
        lambda _, n: frame(PACK, bomb(zstd(1 << 27), 1, 1 << 27), n),
    ),
    Attack("a compression of no kind", (Groups,), lambda _, n: frame(PACK, bomb(b"x", 3, 1), n)),
    Attack(
        "a pack of no kind",
        (Groups,),
        lambda _, n: frame(PACK, HEAD.pack(9, 0, 0, 0, 0, 0, 0, 0), n),
    ),
    Attack("a pack with half a head", (Groups,), lambda _, n: frame(PACK, b"x" * 12, n)),
    Attack(
        "a header longer than its pack",
        (Groups,),
        lambda _, n: frame(PACK, HEAD.pack(0, 0, 0, 0, 0, 0, 9, 8), n),
    ),
    Attack(
        "noise as a pack",
        (Groups,),
        lambda _, n: frame(PACK, HEAD.pack(0, 0, 0, 0, 0, 0, 999, 999) + noise(999), n),
    ),
    attack("an end at once", Groups, lambda _: End(), times=1, codes=(0, 23)),
    field("sizes that are cut off", messages.Sizes, sizes=b"1234567"),
    field("other files that are there", messages.Wanted, here=[b"edited"]),
    field("digests that are cut off", messages.Wanted, digests=b"1234567"),
]


def zstd(length: int) -> bytes:
    """So many zeros, compressed."""
    packed: bytes = zstandard.ZstdCompressor(level=3).compress(bytes(length))
    return packed


ATTACKS = [*LINKS, *MARKS, *FRAMES, *LISTINGS, *EARLIER, *CHANGES, *PIECES, *DELTAS, *PACKS]


@pytest.mark.parametrize("again", [False, True])
def test_the_honest_conversation(tmp_path: Path, again: bool) -> None:
    hold_honest(tmp_path, SOURCE, again)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_an_evil_source(tmp_path: Path, attack: Attack) -> None:
    world = hold(tmp_path, SOURCE, attack)
    # What it left behind is in nobody's way.
    again = world.run(SOURCE, None)
    assert again.code == 0, (again.error, again.report)
    world.require_equal()
