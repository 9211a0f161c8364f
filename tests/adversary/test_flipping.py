"""Somebody flips a directory of the tree between itself and a symlink to another, as fast as a
machine can, while it is written, moved, deleted, given attributes, scanned and read."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import SyncronError
from syncron_lib.protocol import messages
from syncron_lib.protocol.pack import Group, Groups, Piece
from tests.adversary.evil import packed
from tests.adversary.world import stats
from tests.core.tables import Row, table
from tests.deep import DEEP
from tests.endpoint.driving import SEAL, XXH3, expected, opening, selected
from tests.trees import make

SECONDS = 5.0 if DEEP else 1.0
_EXCHANGE = 2
FILE, DIRECTORY = 0o100644, 0o040755
SECRET = b"nobody is to read this"
INSIDE: dict[str, Any] = {"d": {"f": b"in the tree", "g": b"there too", "e": {"h": b"and there"}}}
OUTSIDE: dict[str, Any] = {"d": {"f": SECRET, "g": SECRET, "e": {"h": SECRET}, "secret": SECRET}}


class Flipper:
    """Another process that exchanges two names all the time, but for while it is held."""

    def __init__(self, one: Path, other: Path) -> None:
        exchange = ctypes.CDLL(None).renameat2
        paths = bytes(one), bytes(other)
        here = -100  # AT_FDCWD
        self._child = os.fork()
        if self._child == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            while not exchange(here, paths[0], here, paths[1], _EXCHANGE):
                pass
            os._exit(1)
        self._await_stop()

    def _await_stop(self) -> None:
        _, status = os.waitpid(self._child, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "this file system cannot exchange names"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """It flips in here."""
        os.kill(self._child, signal.SIGCONT)
        try:
            yield
        finally:
            os.kill(self._child, signal.SIGSTOP)
            self._await_stop()

    def close(self) -> None:
        """End it."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


Talk = Callable[[Any], Any]


def write(ask: Talk) -> list[Any]:
    """New files and a new directory, and a new version of one."""
    data = b"new"
    own = Attributes(DIRECTORY, 0, 0, 0)
    row = Row(b"new", FILE, 3, digest=XXH3.of(data))
    entries = table(row, row._replace(name=b"f"))
    groups = [
        Group(b"p/d", False, True, False, own, entries),
        Group(b"p/d/n", True, True, False, own, table(row)),
    ]
    piece = Piece(b"p/d/l", Attributes(FILE, 0, 0, 0), 3, 0, True, False, XXH3.of(data), data)
    names = (b"new", b"f", b"l")
    ask(messages.Expect([expected(b"p/d/" + name) for name in names]))
    ask(messages.Expect([expected(b"p/d/n", tree=True)]))
    return [ask(RawPack(packed(each))) for each in (Groups(groups, (), data * 3), piece)]


def move(ask: Talk) -> list[Any]:
    """A file and a directory get other names, and a directory is made."""
    made = [messages.SetAttributes(b"p/d/made", DIRECTORY, 0, 0, 0)]
    moved = [messages.Moved(b"p/d/f", b"p/d/made/f"), messages.Moved(b"p/d/e", b"p/d/made/e")]
    return [ask(messages.Move(made, ())), ask(messages.Move((), moved))]


def link(ask: Talk) -> list[Any]:
    """New names for a file, and one in place of another."""
    names = [(b"p/d/new", b"p/d/f"), (b"new", b"p/d/f"), (b"p/d/g", b"p/d/f")]
    items = [messages.Linking(path, leader, False) for path, leader in names]
    return [ask(messages.Link(items))]


def delete(ask: Talk) -> list[Any]:
    """All below goes."""
    return [ask(messages.Delete([b"p/d"]))]


def adjust(ask: Talk) -> list[Any]:
    """Other attributes for a file, and at the end for a directory."""
    attributes = [(b"p/d/f", 0o100666), (b"p/d/g", 0o104711), (b"p/d/e", 0o041777)]
    items = [messages.SetAttributes(path, mode, 1, 7, 7) for path, mode in attributes]
    return [ask(messages.Adjust(items)), ask(messages.Finish((), True))]


def scan(ask: Talk) -> list[Any]:
    """What is there, listed as far as it was seen."""
    listing: list[Any] = ask(messages.List([b"p/d"])).directories
    for directory in listing:
        assert set(directory.table.names) <= {b"d", b"f", b"g", b"e"}
    return listing


def read(ask: Talk) -> list[Any]:
    """Digests and content."""
    hashed = ask(messages.Hash([b"p/d/f", b"p/d/e/h"]))
    assert XXH3.of(SECRET) not in (hashed.digests[:16], hashed.digests[16:])
    ask(messages.Select([selected(b"p/d/g"), selected(b"p", tree=True)], ()))
    content = b"".join(ask(messages.Next()))
    assert SECRET not in content
    return [hashed]


@pytest.mark.parametrize("do", [write, move, link, delete, adjust, scan, read])
def test_a_directory_that_flips(tmp_path: Path, do: Callable[[Talk], list[Any]]) -> None:
    top, aside, outside = tmp_path / "root", tmp_path / "aside", tmp_path / "outside"
    make(outside, OUTSIDE)
    for path in (outside, *outside.rglob("*")):
        os.utime(path, ns=(1_000_000_000, 2_000_000_000))
    before = stats(outside)
    aside.symlink_to(outside)
    make(top / "p", INSIDE)
    role = Role.SOURCE if do in (scan, read) else Role.DESTINATION
    rounds = done = failed = 0
    flipper = Flipper(top / "p", aside)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        renewed(top / "p", aside)
        endpoint = LocalEndpoint(os.environ, 0o022)
        with ExitStack() as flips:
            if rounds % 2:
                flips.enter_context(flipper.at_work())
            begin(endpoint, top, role)
            if not rounds % 2:
                flips.enter_context(flipper.at_work())
            try:
                for reply in do(endpoint.handle):
                    problems = getattr(reply, "problems", ()) or getattr(reply, "again", ())
                    done, failed = done + (not problems), failed + bool(problems)
            except SyncronError:
                failed += 1
        endpoint.close()
        rounds += 1
    flipper.close()
    os.umask(0o022)
    print(f"{do.__name__}: {rounds} rounds, {done} done, {failed} refused")
    assert stats(outside) == before, f"something outside was touched after {rounds} rounds"
    assert done
    assert failed or do is delete  # what is not there need not be deleted


def renewed(inside: Path, aside: Path) -> None:
    """The directory is in its place again, and as it was."""
    if inside.is_symlink():
        os.rename(inside, aside.with_suffix(".link"))
        os.rename(aside, inside)
        os.rename(aside.with_suffix(".link"), aside)
    shutil.rmtree(inside)
    make(inside, INSIDE)


def begin(endpoint: LocalEndpoint, top: Path, role: Role) -> None:
    requests: list[Any] = [opening(top, role), messages.Scan(), SEAL]
    if role is Role.DESTINATION:
        requests.append(messages.Begin((), ()))
    for request in requests:
        endpoint.handle(request)
