"""What a malicious client can do to a helper: what its account may do to the root that it opened,
and nothing outside of it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from syncron_lib.core.chunks import Step
from syncron_lib.core.extended import pack_set
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.greeting import greeting
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import SyncronError
from syncron_lib.protocol import messages
from syncron_lib.protocol.frames import HEADER, MAX_PAYLOAD
from syncron_lib.protocol.messages import IgnoreFile
from syncron_lib.protocol.pack import Delta, End, Group, Groups, Piece
from syncron_lib.protocol.wire import STORE, encode
from syncron_lib.transport.pipes import SocketStream
from tests.adversary.evil import encoded, frame, packed, resident
from tests.adversary.world import CPU, MEMORY, contents, stats
from tests.core.tables import Row, table
from tests.endpoint.driving import SEAL, XXH3, expected, opening, selected
from tests.endpoint.ends import fork
from tests.trees import Link, make, noise

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
OWN = Attributes(DIRECTORY, 0, 0, 0)
SECRET = b"nobody is to read this"
REFUSED = 7


class Place(NamedTuple):
    """A root, and what is beside it."""

    root: Path
    outside: Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    outside = tmp_path / "outside"
    make(outside, {"secret": SECRET, "d": {"secret": SECRET}})
    for path in (outside, *outside.rglob("*")):
        os.utime(path, ns=(1_000_000_000, 2_000_000_000))
    tree: dict[str, Any] = {
        ".gitignore": b"left out\n",
        "a": {"b": {"file": b"in b"}, "file": b"in a"},
        "file": b"content",
        "large": noise(300_000),
        "left out": {"mine": b"not the run's"},
        "link": Link(os.fsencode(outside)),
        "secret": Link(os.fsencode(outside / "secret")),
    }
    make(tmp_path / "root", tree)
    return Place(tmp_path / "root", outside)


class Case(NamedTuple):
    """``requests``: what comes behind the honest beginning of a source's or a destination's run.
    ``last``: what the reply to the last one must be: an exit code, or what this accepts."""

    name: str
    role: Role
    requests: Sequence[Any]
    last: Any = REFUSED


def source(name: str, *requests: Any, last: Any = REFUSED) -> Case:
    return Case(name, Role.SOURCE, requests, last)


def destination(name: str, *requests: Any, last: Any = REFUSED) -> Case:
    return Case(name, Role.DESTINATION, requests, last)


def writing(name: str, *requests: Any, last: Any = REFUSED) -> Case:
    return destination(name, messages.Begin((), ()), *requests, last=last)


def anything(_reply: Any) -> bool:
    return True


def failed(reply: Any) -> bool:
    """One file was not done, or it is to be sent again."""
    return bool(reply.problems or reply.again) and not reply.entries


def nothing(reply: Any) -> bool:
    """Nothing was done, and nothing is wrong."""
    return not (reply.problems or reply.again or reply.entries)


def unknown(reply: Any) -> bool:
    """A digest that is none."""
    return reply.digests == bytes(16) and len(reply.problems) == 1


def no_secret(reply: Any) -> bool:
    return SECRET not in bytes(reply.payload)


def store(*groups: Group, body: bytes = b"") -> Groups:
    return Groups(groups, (), body)


def into(path: bytes, name: bytes, data: bytes = b"abc", mode: int = FILE) -> Group:
    return Group(
        path, False, True, False, OWN, table(Row(name, mode, len(data), digest=XXH3.of(data)))
    )


def adjust(path: bytes, mode: int = FILE) -> messages.Adjust:
    return messages.Adjust([messages.SetAttributes(path, mode | 0o7777, 5, 7, 7)])


def move(old: bytes, new: bytes) -> messages.Move:
    return messages.Move((), [messages.Moved(old, new)])


def link(path: bytes, leader: bytes) -> messages.Link:
    return messages.Link([messages.Linking(path, leader, False)])


def extend(path: bytes, name: bytes = b"user.x", value: bytes = b"v") -> messages.Extend:
    packed = pack_set({name: value})
    return messages.Extend([messages.Extended(path, packed)], False)


EXTENDED = SEAL._replace(extended=1)


def extending(name: str, *requests: Any, last: Any = REFUSED) -> Case:
    return destination(name, EXTENDED, messages.Begin((), ()), *requests, last=last)


def made(path: bytes) -> messages.Move:
    return messages.Move([messages.SetAttributes(path, DIRECTORY, 0, 0, 0)], ())


def piece(path: bytes, data: bytes = b"abc") -> Piece:
    return Piece(path, Attributes(FILE, 0, 0, 0), len(data), 0, True, False, XXH3.of(data), data)


def delta(path: bytes) -> Delta:
    """Three bytes that are to be copied from the file that is there."""
    own, steps = Attributes(FILE, 0, 0, 0), [Step(1, 0, 3)]
    return Delta(path, own, 3, 0, True, False, bytes(16), 3, steps, b"")


def basis(**changes: Any) -> messages.Basis:
    told = messages.Basis(b"large", "fixed", 4096, struct.pack("<I", 4096), bytes(8), False, False)
    return told._replace(**changes)


def raw(message: Any, old: bytes, new: bytes) -> bytes:
    """A message as a frame with other bytes in it."""
    sent = encoded(message, 0)
    assert old in sent
    payload = sent[HEADER.size :].replace(old, new)
    return frame(sent[4], payload)


DEEP = b"/".join([b"a"] * 500_000)
CASES = [
    # Paths
    source("a listing of what is not there", messages.List([b"nowhere"])),
    source("a listing through a symlink", messages.List([b"link"])),
    source("a listing of what is left out", messages.List([b"left out"]), last=anything),
    source("a listing outside", raw(messages.List([b"aa/outside"]), b"aa/", b"../")),
    source("an absolute listing", raw(messages.List([b"-etc"]), b"-etc", b"/etc")),
    source("a digest through a symlink", messages.Hash([b"link/secret"]), last=unknown),
    source("a digest of a symlink", messages.Hash([b"secret"]), last=unknown),
    source("a digest of what is not there", messages.Hash([DEEP]), last=unknown),
    source(
        "content through a symlink",
        messages.Select([selected(b"link/secret")], ()),
        messages.Next(),
        last=no_secret,
    ),
    source(
        "a tree through a symlink",
        messages.Select([selected(b"link", tree=True)], ()),
        messages.Next(),
        last=no_secret,
    ),
    source(
        "content of what a symlink names",
        messages.Select([selected(b"secret")], ()),
        messages.Next(),
        last=no_secret,
    ),
    source(
        "content of what lies deep",
        messages.Select([selected(DEEP), selected(DEEP, tree=True)], ()),
        messages.Next(),
        last=no_secret,
    ),
    source(
        "content outside",
        raw(messages.Select([selected(b"aa/outside/secret")], ()), b"aa/", b"../"),
    ),
    source(
        "later content outside",
        messages.Offer(struct.pack("<Q16s", 1 << 20, b"x" * 16), [b"link/secret"]),
        last=anything,
    ),
    # Turns and roles
    source("writing to a source", messages.Begin((), ())),
    source("a delete at a source", messages.Delete([b"file"])),
    source("content for a source", store(into(b"", b"file"))),
    source("a second root", opening("/", Role.SOURCE)),
    destination("content before the beginning", store(into(b"", b"file"))),
    destination("a delete before the beginning", messages.Delete([b"file"])),
    destination("a move before the beginning", move(b"file", b"other")),
    destination("attributes before the beginning", adjust(b"file")),
    destination("content from a destination", messages.Next()),
    destination("reading a destination", messages.Select([selected(b"file")], ())),
    source("content that was not selected", messages.Next()),
    writing("a second beginning", messages.Begin((), ())),
    destination("an alternate that was not named", messages.ListAlternate(0, [b""], None)),
    destination(
        "a directory that the alternate does not have",
        messages.UseAlternates([b"a"]),
        messages.ListAlternate(0, [b"../outside"], None),
    ),
    destination(
        "links from an alternate that is not there",
        messages.UseAlternates([b"nowhere"]),
        messages.Begin((), ()),
        messages.TakeEntries((), 0, [messages.TakenEntry(b"x", False, False, FILE, 0, 0, 0)]),
    ),
    destination(
        "what an alternate has behind a symlink",
        messages.UseAlternates([b"a"]),
        messages.Begin((), ()),
        messages.TakeEntries(
            (), 0, [messages.TakenEntry(b"link/secret", False, True, FILE, 0, 0, 0)]
        ),
        last=failed,
    ),
    destination("backups in another directory", messages.Backup(None, b"", b"/../../outside/x")),
    destination("backups without another name", messages.Backup(None, b"", b"")),
    destination("backups below what is no path", messages.Backup(b"k", b"../outside", b"~")),
    writing("backups, after the beginning", messages.Backup(None, b"", b"~")),
    writing("another seal", SEAL),
    writing("a reply", messages.Done()),
    writing("a greeting", greeting()),
    # Wrong fields
    source("a role of no kind", raw(opening("/", Role.SOURCE), b"\1\0\0\0/\0", b"\1\0\0\0/\7")),
    source("a hash of no kind", SEAL._replace(algorithm="crc32")),
    source(
        "a compression of no kind", messages.Select([selected(b"file")], ()), messages.Next(7, 1)
    ),
    source("a level of no kind", messages.Select([selected(b"file")], ()), messages.Next(2, 99)),
    source("chunks of no size", basis(sizes=bytes(4))),
    source("chunks beyond all measure", basis(sizes=b"\xff" * 4)),
    source("chunks without marks", basis(marks=b"")),
    source("half a chunk", basis(sizes=b"12345")),
    source("an average of no cutter", basis(average=5000)),
    source("a cutter of no kind", basis(chunker="scissors")),
    source(
        "more chunks than may be told",
        *[
            basis(
                path=b"p%d" % n,
                sizes=struct.pack("<I", 4096) * 1_000_000,
                marks=bytes(8_000_000),
                more=False,
            )
            for n in range(6)
        ],
    ),
    source("chunks of a symlink", basis(path=b"secret", more=True), last=anything),
    source("contents that are cut off", messages.Offer(b"12345", ())),
    destination("chunks of too much", messages.GetChunks(b"large", "fixed", 0, 1 << 40)),
    destination("chunks of less than nothing", messages.GetChunks(b"large", "fixed", 9, 5)),
    destination("chunks by no kind", messages.GetChunks(b"large", "scissors", 0, 1 << 20)),
    destination(
        "chunks through a symlink",
        messages.GetChunks(b"link/secret", "fixed", 0, 1 << 20),
        last=lambda reply: not reply.average,
    ),
    destination(
        "chunks of what a symlink names",
        messages.GetChunks(b"secret", "fixed", 0, 1 << 20),
        last=lambda reply: not reply.average,
    ),
    writing("sizes that are cut off", messages.Find(b"12345")),
    writing("digests that are cut off", messages.Keep(b"12345")),
    destination(
        "an ignore file that is too large",
        messages.UseIgnoreFiles([IgnoreFile(b"", b".syncronignore", b"*" * (1 << 21))], False),
        last=3,
    ),
    destination(
        "ignore files without an end",
        *[messages.UseIgnoreFiles([IgnoreFile(b"", b".syncronignore", bytes(4 << 20))] * 3, True)]
        * 7,
        last=3,
    ),
    destination(
        "mounts that are none",
        messages.UseIgnoreFiles([IgnoreFile(b"", b"mounts", b"..\0/\0" + b"x" * 999)], False),
        last=anything,
    ),
    # Writing
    writing("content for what was not expected", store(into(b"", b"file"))),
    writing(
        "content through a symlink",
        messages.Expect([expected(b"link/secret")]),
        store(into(b"link", b"secret"), body=b"abc"),
        last=failed,
    ),
    writing(
        "new content through a symlink",
        messages.Expect([expected(b"link/new")]),
        store(into(b"link", b"new"), body=b"abc"),
        last=failed,
    ),
    writing(
        "a piece through a symlink",
        messages.Expect([expected(b"link/secret")]),
        piece(b"link/secret"),
        last=failed,
    ),
    writing("a piece far below", messages.Expect([expected(DEEP)]), piece(DEEP), last=failed),
    writing(
        "a tree through a symlink",
        messages.Expect([expected(b"link/new", tree=True)]),
        store(Group(b"link/new", True, True, False, OWN, table())),
        last=failed,
    ),
    writing(
        "a tree over a directory",
        messages.Expect([expected(b"a", tree=True)]),
        store(Group(b"a", True, True, False, OWN, table())),
        last=failed,
    ),
    writing(
        "a tree over what is left out",
        messages.Expect([expected(b"left out", tree=True, replace=True)]),
        store(Group(b"left out", True, True, False, OWN, table())),
        last=anything,
    ),
    writing(
        "content for the staging",
        raw(messages.Expect([expected(b"-syncron/t1")]), b"-syncron", b".syncron"),
    ),
    writing("content outside", raw(messages.Expect([expected(b"aa/outside/new")]), b"aa/", b"../")),
    writing("the end of a transfer", End()),
    writing(
        "a delta through a symlink",
        messages.Expect([expected(b"link/secret")]),
        delta(b"link/secret"),
        last=failed,
    ),
    writing(
        "a delta of what a symlink names",
        messages.Expect([expected(b"secret")]),
        delta(b"secret"),
        last=failed,
    ),
    writing("a delete through a symlink", messages.Delete([b"link/secret"]), last=nothing),
    writing(
        "a delete of what is left out",
        messages.Delete([b"left out", b"left out/mine"]),
        last=anything,
    ),
    writing("a delete of the root", messages.Delete([b""]), last=nothing),
    writing("a delete far below", messages.Delete([DEEP]), last=nothing),
    extending("attributes through a symlink", extend(b"link/secret"), last=failed),
    extending("attributes of a symlink", extend(b"secret"), last=failed),
    extending("attributes of what is left out", extend(b"left out/mine"), last=failed),
    extending("attributes of nothing", extend(b"nowhere"), last=failed),
    extending("attributes of the system", extend(b"file", b"security.capability")),
    extending("an ACL", extend(b"file", b"system.posix_acl_access")),
    extending("an attribute beyond all measure", extend(b"file", value=bytes(70_000))),
    extending("an attribute of a name", extend(b"file", b"user." + b"x" * 300)),
    extending(
        "half an attribute", messages.Extend([messages.Extended(b"file", b"\6\0\0\0user")], True)
    ),
    writing("attributes that nobody asked for", extend(b"file")),
    source("attributes that are not kept", messages.GetSets([b"file"])),
    writing("a link through a symlink", link(b"here", b"link/secret"), last=failed),
    writing("a link into a symlink", link(b"link/there", b"file"), last=failed),
    writing("a link to the root", link(b"here", b""), last=failed),
    writing("a link to a directory", link(b"here", b"a"), last=failed),
    writing("a link to what is left out", link(b"here", b"left out/mine"), last=failed),
    writing("a link that is the root", link(b"", b"file"), last=failed),
    writing("a link in place of a directory", link(b"a", b"file"), last=failed),
    writing("a link to itself", link(b"file", b"file"), last=nothing),
    writing("a link to what is outside", raw(link(b"x", b"aa/outside/secret"), b"aa/", b"../")),
    writing("a move through a symlink", move(b"link/secret", b"here"), last=failed),
    writing("a move into a symlink", move(b"file", b"link/there"), last=failed),
    writing("a move of a symlink", move(b"secret", b"here"), last=failed),
    writing("a move of the root", move(b"", b"a/root"), last=failed),
    writing("a move into itself", move(b"a", b"a/b/a"), last=failed),
    writing("a move onto something", move(b"file", b"a/file"), last=failed),
    writing("a move outside", raw(move(b"file", b"aa/outside/there"), b"aa/", b"../")),
    writing(
        "a move into the staging", raw(move(b"file", b"-syncron/t1"), b"-syncron", b".syncron")
    ),
    writing("a directory in a symlink", made(b"link/new"), last=failed),
    writing("a directory where one is", made(b"a"), last=failed),
    writing("attributes through a symlink", adjust(b"link/secret"), last=failed),
    writing("attributes of what a symlink names", adjust(b"secret"), last=failed),
    writing(
        "attributes of a directory through a symlink", adjust(b"link/d", DIRECTORY), last=failed
    ),
    writing(
        "attributes of what a symlink names, a directory",
        adjust(b"link", DIRECTORY),
        messages.Finish((), True),
        last=anything,
    ),
    writing("attributes of a directory far below", adjust(DEEP, DIRECTORY), last=failed),
    writing(
        "attributes of the staging", raw(adjust(b"-syncron", DIRECTORY), b"-syncron", b".syncron")
    ),
    writing("to leave out what lies outside", raw(messages.LeaveOut([b"aa/x"]), b"aa/", b"../")),
    writing(
        "to leave out what is not there",
        messages.Finish([b"nowhere", b"link/secret", DEEP], True),
        last=anything,
    ),
    # Frames
    source("a frame over the limit", HEADER.pack(MAX_PAYLOAD + 1, 0x20, 9)),
    source("an unknown frame", frame(0xEE, b"x")),
    source("noise as a request", frame(0x20, noise(999))),
    source("an unnumbered request", encoded(messages.List([b""]), 0), last=anything),
    writing("noise as content", frame(STORE, noise(999))),
    writing("nothing as content", frame(STORE, b"")),
]


class Talk:
    """A conversation with a helper of its own."""

    def __init__(self) -> None:
        self._socket, self.helper = fork()
        self._before = resident(self.helper, "VmRSS")
        self.end = RemoteEndpoint(SocketStream(self._socket, self.helper), "The helper", 20)

    def ask(self, request: Any) -> Any:
        """The reply, or the exit code that the conversation ended with."""
        try:
            if isinstance(request, bytes):
                # Number 0, so that a refusal is taken for one of the whole conversation.
                self._socket.sendall(request)
                self._socket.shutdown(socket.SHUT_WR)
                self.end._receiver.join(10)
                assert self.end._failure is not None
                raise self.end._failure
            if isinstance(request, (Groups, Piece, Delta, End)):
                request = RawPack(packed(request))
            return self.end.submit(request).result(20)
        except SyncronError as error:
            assert "internal error" not in error.message, error.message
            assert error.message.isprintable()
            return int(error.exit_code)

    def growth(self) -> int:
        """Bytes by which the helper has grown at most; 0 where it has ended."""
        try:
            return resident(self.helper, "VmHWM") - self._before
        except OSError:
            return 0


def spent() -> float:
    """Seconds of processor time that we and all helpers that have ended used."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


@pytest.fixture
def talk() -> Iterator[Talk]:
    talk = Talk()
    yield talk
    talk.end.close()


def prepare(talk: Talk, place: Place, role: Role) -> None:
    requests: list[Any] = [opening(place.root, role, gitignore=True), messages.Scan(), SEAL]
    if role is Role.DESTINATION:
        rules = [IgnoreFile(b"", b".gitignore", b"left out\n")]
        requests += [messages.UseIgnoreFiles(rules, False), SEAL]
    for request in requests:
        assert not isinstance(talk.ask(request), int)


def test_the_honest_conversations(talk: Talk, place: Place) -> None:
    """What the attacks bend, unbent."""
    prepare(talk, place, Role.SOURCE)
    assert len(talk.ask(messages.List([b"", b"a/b"])).directories) == 2
    assert talk.ask(messages.Hash([b"a/file"])).digests == XXH3.of(b"in a")
    chosen = [selected(b"file"), selected(b"a", tree=True)]
    assert talk.ask(messages.Select(chosen, ())) == messages.Done()
    content = talk.ask(messages.Next()).payload
    assert b"content" in content
    assert b"in b" in content
    assert talk.ask(messages.Close()) == messages.Done()
    prepare(talk, place, Role.DESTINATION)
    assert talk.ask(messages.GetChunks(b"large", "fixed", 0, 1 << 20)).average
    talk.ask(messages.Begin((), ()))
    talk.ask(messages.Expect([expected(b"file"), expected(b"a/new"), expected(b"t", tree=True)]))
    for group in (
        into(b"", b"file"),
        into(b"a", b"new"),
        Group(b"t", True, True, False, OWN, table()),
    ):
        assert talk.ask(store(group, body=b"" if group.new else b"abc")).entries == 1
    assert talk.ask(move(b"a/file", b"moved")).entries == 1
    assert talk.ask(made(b"d")) == messages.Stored(0, 0, [], [], [])
    assert talk.ask(adjust(b"secret", stat.S_IFLNK)).entries == 1
    assert talk.ask(messages.Delete([b"a/b"])).entries == 2
    assert talk.ask(messages.Finish([], True)).problems == []
    assert contents(place.root) | {"large": b""} == {
        ".gitignore": b"left out\n",
        "left out/mine": b"not the run's",
        "large": b"",
        "a/new": b"abc",
        "file": b"abc",
        "moved": b"in a",
        "link": bytes(place.outside),
        "secret": bytes(place.outside / "secret"),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_an_evil_client(talk: Talk, place: Place, case: Case) -> None:
    outside = stats(place.outside)
    before = contents(place.root)
    prepare(talk, place, case.role)
    began = spent()
    *others, last = case.requests
    for request in others:
        reply = talk.ask(request)
        assert not isinstance(reply, int) or case.last == reply, request
    reply = talk.ask(last) if not others or not isinstance(reply, int) else reply
    if callable(case.last):
        assert case.last is anything or not isinstance(reply, int), reply
        assert case.last(reply), reply
    else:
        assert reply == case.last
    assert talk.growth() < MEMORY
    talk.end.close()
    assert spent() - began < CPU
    assert stats(place.outside) == outside
    now = contents(place.root)
    now.pop("left out/mine", None)
    assert all(now[name] == before[name] for name in now), "something was written"
    assert os.path.islink(place.root / "link")
    assert os.path.islink(place.root / "secret")


def test_a_flood_of_frames(talk: Talk, place: Place) -> None:
    """What is sent ahead waits outside of the helper's memory while it is busy."""
    with open(place.root / "sparse", "wb") as file:
        file.truncate(200 << 30)
    prepare(talk, place, Role.SOURCE)
    request = frame(*encode(messages.Hash([b"sparse"])), 3)
    talk._socket.sendall(request)
    talk._socket.settimeout(1)
    sent = 0
    flood = frame(STORE, bytes(MAX_PAYLOAD), 4)
    try:
        while sent < 64:
            talk._socket.sendall(flood)
            sent += 1
    except TimeoutError:
        pass
    assert 4 < sent < 16
    assert talk.growth() < MEMORY
    os.kill(talk.helper, signal.SIGKILL)
