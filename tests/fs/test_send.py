"""Sending: each file as it was read, once, and what the other side has is not sent again."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.names import join
from syncron_lib.core.role import Role
from syncron_lib.core.table import Table
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs.send import LARGE, PACK_HEADER, PACK_SIZE
from syncron_lib.protocol import messages
from syncron_lib.protocol.frames import MAX_PAYLOAD
from syncron_lib.protocol.messages import Arrived
from syncron_lib.protocol.pack import End, Groups, Pack, Piece, unpack_pack
from tests.core.tables import rows_of
from tests.endpoint.driving import (
    XXH3,
    ask,
    begin,
    expected,
    local,
    selected,
    start_writing,
)
from tests.fs.roots import file_digests
from tests.trees import Fifo, Link, make, noise


@pytest.fixture
def endpoint() -> Iterator[LocalEndpoint]:
    found = local()
    yield found
    found.close()


def _select(endpoint: LocalEndpoint, *items: messages.Selected, arrived: Any = ()) -> None:
    ask(endpoint, messages.Select(items, arrived))


def _packs(endpoint: LocalEndpoint, level: int = 0) -> Iterator[Pack]:
    while True:
        reply = ask(endpoint, messages.Next(1 if level else 0, level))
        assert isinstance(reply, RawPack)
        pack = unpack_pack(bytes(reply.payload))
        if isinstance(pack, End):
            return
        yield pack


def _contents(packs: list[Pack]) -> dict[bytes, bytes]:
    """Path to content of every file in the packs."""
    found: dict[bytes, bytes] = {}
    for pack in packs:
        if isinstance(pack, Piece):
            so_far = found.setdefault(pack.path, b"")
            assert len(so_far) == pack.offset
            found[pack.path] = so_far + bytes(pack.body)
            continue
        assert isinstance(pack, Groups)
        position = 0
        for each in pack.groups:
            for row in rows_of(Table(*each.table)):
                if row.mode & 0o170000 == 0o100000 and not each.kept:
                    content = bytes(pack.body[position : position + row.size])
                    assert XXH3.of(content) == row.digest
                    found[join(each.path, row.name)] = content
                    position += row.size
    return found


def _problems(packs: list[Pack]) -> list[tuple[bytes, bool]]:
    return [
        (problem.path, problem.vanished)
        for pack in packs
        if isinstance(pack, Groups)
        for problem in pack.problems
    ]


TREE: dict[str, Any] = {"a": b"A", "d": {"b": b"BB", "l": Link(b"b"), "e": {"c": b"CCC"}}}


def test_only_what_was_selected_is_sent(endpoint, tmp_path):
    make(tmp_path, TREE)
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"a"), selected(b"d/b"))
    assert _contents(list(_packs(endpoint))) == {b"a": b"A", b"d/b": b"BB"}


def test_a_tree_is_sent_whole_each_directory_before_those_below(endpoint, tmp_path):
    make(tmp_path, TREE)
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"d", tree=True))
    (pack,) = _packs(endpoint)
    assert isinstance(pack, Groups)
    assert [(each.path, each.new, each.last) for each in pack.groups] == [
        (b"d", True, True),
        (b"d/e", True, True),
    ]
    assert [list(each.table.names) for each in pack.groups] == [[b"b", b"l"], [b"c"]]
    assert pack.groups[0].table.targets == [b"b"]


@pytest.mark.parametrize("path", [b"never", b"d/never", b"never/x", b""])
def test_what_was_not_scanned_is_not_sent(endpoint, tmp_path, path):
    make(tmp_path, TREE)
    begin(endpoint, tmp_path, Role.SOURCE)
    (tmp_path / "never").write_bytes(b"new")
    _select(endpoint, selected(path), selected(b"a"))
    assert _contents(list(_packs(endpoint))) == {b"a": b"A"}


def test_packs_are_cut_and_nothing_is_lost(endpoint, tmp_path):
    size = 150_000
    contents = {b"d/%02d" % i: noise(size, i) for i in range(20)}
    make(tmp_path, {"d": {path[2:]: content for path, content in contents.items()}})
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"d", tree=True))
    packs = list(_packs(endpoint))
    assert len(packs) >= 3
    assert all(isinstance(p, Groups) and len(p.body) <= PACK_SIZE + LARGE for p in packs)
    lasts = [each.last for p in packs if isinstance(p, Groups) for each in p.groups]
    assert lasts == [False] * (len(lasts) - 1) + [True]
    assert _contents(packs) == contents
    # What was read is known from then on.
    known = {path: XXH3.of(content) for path, content in contents.items()}
    assert file_digests(endpoint.root.tree) == known


def _frames(endpoint: LocalEndpoint) -> int:
    """The number of packs, each of which must fit a frame."""
    count = 0
    while True:
        payload = ask(endpoint, messages.Next(0)).payload
        assert len(payload) <= MAX_PAYLOAD
        if isinstance(unpack_pack(bytes(payload)), End):
            return count
        count += 1


def test_packs_of_directories_only_fit_a_frame(endpoint, tmp_path):
    deep = tmp_path / "top" / ("p" * 255) / ("q" * 255) / ("r" * 255) / ("s" * 255)
    deep.mkdir(parents=True)
    fd = os.open(deep, os.O_RDONLY)
    for number in range(7000):
        os.mkdir(b"%05d%s" % (number, b"x" * 245), dir_fd=fd)
    os.close(fd)
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"top", tree=True))
    assert 2 < _frames(endpoint) < 10


def test_packs_of_symlinks_only_fit_a_frame(endpoint, tmp_path):
    (tmp_path / "top").mkdir()
    fd = os.open(tmp_path / "top", os.O_RDONLY)
    for number in range(5000):
        os.symlink(b"t" * 4000, b"%d" % number, dir_fd=fd)
    os.close(fd)
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"top", tree=True))
    assert 2 < _frames(endpoint) < 10


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, PACK_SIZE, 2 * PACK_SIZE + 1])
def test_large_files_come_in_pieces(endpoint, tmp_path, size):
    content = noise(size)
    make(tmp_path, {"big": content})
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"big"))
    packs = list(_packs(endpoint))
    assert _contents(packs) == {b"big": content}
    if size >= LARGE:
        assert all(isinstance(pack, Piece) for pack in packs)
        last = packs[-1]
        assert isinstance(last, Piece)
        assert (last.last, last.failed, last.digest) == (True, False, XXH3.of(content))


# --- a source that changes ------------------------------------------------------------------


def _gone(path: Path) -> None:
    os.unlink(path)


def _fifo(path: Path) -> None:
    os.unlink(path)
    make(path, Fifo())


def _symlink(path: Path) -> None:
    os.unlink(path)
    make(path, Link(b"/etc/passwd"))


def _directory(path: Path) -> None:
    os.unlink(path)
    path.mkdir()


@pytest.mark.parametrize("size", [0, 5, LARGE])
@pytest.mark.parametrize("change", [_gone, _fifo, _symlink, _directory])
def test_what_is_no_file_any_more_is_a_vanished_file(endpoint, tmp_path, change, size):
    make(tmp_path, {"changed": noise(size), "same": b"S"})
    begin(endpoint, tmp_path, Role.SOURCE)
    change(tmp_path / "changed")
    _select(endpoint, selected(b"changed"), selected(b"same"))
    packs = list(_packs(endpoint))
    assert _contents(packs) == {b"same": b"S"}
    assert _problems(packs) == [(b"changed", True)]


@pytest.mark.parametrize("content", [b"", b"edit!", b"much longer than before", noise(LARGE - 1)])
def test_a_small_file_that_changed_is_sent_as_it_is_now(endpoint, tmp_path, content):
    make(tmp_path, {"f": b"before"[:5]})
    begin(endpoint, tmp_path, Role.SOURCE)
    (tmp_path / "f").write_bytes(content)
    _select(endpoint, selected(b"f"))
    packs = list(_packs(endpoint))
    assert _contents(packs) == {b"f": content}
    (row,) = rows_of(packs[0].groups[0].table)  # type: ignore[union-attr]
    assert row.mtime_ns == os.stat(tmp_path / "f").st_mtime_ns


def test_a_large_file_that_changes_while_it_is_sent_is_not_published(endpoint, tmp_path):
    make(tmp_path, {"big": noise(3 * PACK_SIZE)})
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"big"))
    packs = []
    for pack in _packs(endpoint):
        packs.append(pack)
        with open(tmp_path / "big", "r+b") as file:
            file.seek(2 * PACK_SIZE)
            file.write(b"changed")
    pieces = [pack for pack in packs if isinstance(pack, Piece)]
    assert pieces[-1].failed
    assert _problems(packs) == [(b"big", True)]


def test_a_large_file_that_shrinks_while_it_is_sent_ends(endpoint, tmp_path):
    make(tmp_path, {"big": noise(3 * PACK_SIZE)})
    begin(endpoint, tmp_path, Role.SOURCE)
    _select(endpoint, selected(b"big"))
    packs = []
    for pack in _packs(endpoint):
        packs.append(pack)
        os.truncate(tmp_path / "big", PACK_SIZE)
    pieces = [pack for pack in packs if isinstance(pack, Piece)]
    assert pieces[-1].failed
    assert _problems(packs) == [(b"big", True)]


def test_a_directory_that_vanished_is_a_problem_and_the_rest_is_sent(endpoint, tmp_path):
    make(tmp_path, {"t": {"d": {"f": b"1", "e": {"g": b"2"}}, "h": b"3"}})
    begin(endpoint, tmp_path, Role.SOURCE)
    assert endpoint.root.directories is not None
    endpoint.root.directories.close()
    shutil.rmtree(tmp_path / "t" / "d")
    _select(endpoint, selected(b"t", tree=True))
    packs = list(_packs(endpoint))
    assert _contents(packs) == {b"t/h": b"3"}
    assert (b"t/d", True) in _problems(packs)


# --- resuming -------------------------------------------------------------------------------


def _big_source(tmp_path: Path) -> tuple[bytes, int]:
    content = noise(2 * PACK_SIZE + 1000)
    make(tmp_path / "source", {"big": content})
    return content, os.stat(tmp_path / "source" / "big").st_mtime_ns


@pytest.mark.parametrize("path", [b"big", b"what it was called then"])
@pytest.mark.parametrize("length", [1, 100_000, PACK_SIZE])
def test_a_large_file_goes_on_where_it_was(endpoint, tmp_path, length, path):
    content, mtime = _big_source(tmp_path)
    begin(endpoint, tmp_path / "source", Role.SOURCE)
    there = Arrived(path, len(content), mtime, length, XXH3.of(content[:length]))
    other = there._replace(path=b"other", length=length + 1)
    _select(endpoint, selected(b"big"), arrived=[other, there])
    pieces = [pack for pack in _packs(endpoint) if isinstance(pack, Piece)]
    assert (pieces[0].offset, bytes(pieces[0].body)) == (length, b"")
    assert pieces[0].digest == there.digest
    assert b"".join(bytes(piece.body) for piece in pieces) == content[length:]
    assert pieces[-1].digest == XXH3.of(content)


def test_a_large_file_that_arrived_whole_is_not_sent(endpoint, tmp_path):
    content, _ = _big_source(tmp_path)
    begin(endpoint, tmp_path / "source", Role.SOURCE)
    there = Arrived(b"other", len(content), 5, len(content), XXH3.of(content))
    _select(endpoint, selected(b"big"), arrived=[there])
    (pack,) = _packs(endpoint)
    assert isinstance(pack, Groups)
    (group,) = pack.groups
    assert (group.kept, list(group.table.names), len(pack.body)) == (True, [b"big"], 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda there: there._replace(digest=b"x" * 16),
        lambda there: there._replace(mtime_ns=there.mtime_ns + 1),
        lambda there: there._replace(size=there.size + 1),
        lambda there: there._replace(length=there.size + 1),
        lambda there: there._replace(length=there.length + 1),
    ],
)
def test_what_arrived_of_another_file_is_not_gone_on_with(endpoint, tmp_path, change):
    content, mtime = _big_source(tmp_path)
    begin(endpoint, tmp_path / "source", Role.SOURCE)
    there = Arrived(b"big", len(content), mtime, 5000, XXH3.of(content[:5000]))
    _select(endpoint, selected(b"big"), arrived=[change(there)])
    assert _contents(list(_packs(endpoint))) == {b"big": content}


def test_small_files_that_arrived_are_not_sent_again(endpoint, tmp_path):
    make(tmp_path, {"d": {"have": b"here", "lack": b"not", "other": b"what"}})
    begin(endpoint, tmp_path, Role.SOURCE)
    arrived = [
        Arrived(b"d/have", 4, 0, 4, XXH3.of(b"here")),
        Arrived(b"d/other", 4, 0, 4, XXH3.of(b"else")),
    ]
    _select(endpoint, selected(b"d", tree=True), arrived=arrived)
    packs = list(_packs(endpoint))
    assert _contents(packs) == {b"d/lack": b"not", b"d/other": b"what"}
    kept = [each for p in packs if isinstance(p, Groups) for each in p.groups if each.kept]
    assert [list(each.table.names) for each in kept] == [[b"have"]]


def test_a_pack_ends_before_its_frame_does(endpoint, tmp_path):
    """All files of one directory with a long path vanish: each is told with its whole path."""
    place = tmp_path
    for number in range(14):
        place = place / f"{number:x}".ljust(250, "d")
    place.mkdir(parents=True)
    files = [place / f"{number}" for number in range(2 * PACK_HEADER // 3500)]
    for file in files:
        file.touch()
    begin(endpoint, tmp_path, Role.SOURCE)
    for file in files:
        file.unlink()
    _select(endpoint, selected(f"{0:x}".ljust(250, "d").encode(), tree=True))
    told = 0
    while True:
        payload = bytes(ask(endpoint, messages.Next(0)).payload)
        assert len(payload) < PACK_HEADER + (64 << 10)
        pack = unpack_pack(payload)
        if isinstance(pack, End):
            break
        assert isinstance(pack, Groups)
        told += len(pack.problems)
    assert told == len(files)


def _interrupted(source: LocalEndpoint, root: Path, packs: int) -> None:
    """A run of which only the first packs came."""
    destination = local()
    leftovers = start_writing(
        destination, root, [expected(b"new", tree=True), expected(b"big", replace=False)]
    )
    _select(source, selected(b"new", tree=True), selected(b"big"), arrived=leftovers.arrived)
    for _ in range(packs):
        ask(destination, ask(source, messages.Next(0)))
    destination.close()


@pytest.mark.parametrize("packs", [1, 3, 4])
def test_an_interrupted_run_is_gone_on_with(endpoint, tmp_path, packs):
    """Small files of a directory that was not finished, then a large one."""
    small = {f"{i}": noise(200_000, i) for i in range(8)}
    big = noise(3 * PACK_SIZE)
    make(tmp_path / "source", {"new": small, "big": big})
    (tmp_path / "root").mkdir()
    first = local()
    begin(first, tmp_path / "source", Role.SOURCE)
    _interrupted(first, tmp_path / "root", packs)
    first.close()

    destination = local()
    done = (tmp_path / "root" / "new").exists()
    wanted = [b"big"] if done else [b"new", b"big"]
    leftovers = start_writing(
        destination, tmp_path / "root", [expected(path, tree=path == b"new") for path in wanted]
    )
    assert leftovers.arrived
    begin(endpoint, tmp_path / "source", Role.SOURCE)
    _select(
        endpoint,
        *(selected(path, tree=path == b"new") for path in wanted),
        arrived=leftovers.arrived,
    )
    sent = 0
    for _ in range(100):
        pack = ask(endpoint, messages.Next(0))
        content = unpack_pack(bytes(pack.payload))
        if isinstance(content, End):
            break
        sent += len(content.body)
        assert ask(destination, pack).problems == []
    ask(destination, messages.Finish((), True))
    destination.close()
    for name, data in small.items():
        assert (tmp_path / "root" / "new" / name).read_bytes() == data
    assert (tmp_path / "root" / "big").read_bytes() == big
    assert not (tmp_path / "root" / ".syncron").exists()
    total = len(big) + sum(map(len, small.values()))
    assert sent <= total - (packs - 1) * PACK_SIZE // 2


def test_content_that_is_not_here_is_asked_for_again(endpoint, tmp_path):
    make(tmp_path / "root", {})
    make(tmp_path / "source", {"f": b"content"})
    begin(endpoint, tmp_path / "source", Role.SOURCE)
    _select(endpoint, selected(b"f"), arrived=[Arrived(b"f", 7, 0, 7, XXH3.of(b"content"))])
    destination = local()
    start_writing(destination, tmp_path / "root", [expected(b"f")])
    stored = ask(destination, ask(endpoint, messages.Next(0)))
    assert (stored.entries, stored.problems, stored.again) == (0, [], [b"f"])
    assert isinstance(unpack_pack(bytes(ask(endpoint, messages.Next(0)).payload)), End)
    # Another round, in which all content comes.
    assert ask(endpoint, messages.Select([selected(b"f")], (), True)) == messages.Done()
    assert ask(destination, messages.Expect([expected(b"f")])) == messages.Done()
    stored = ask(destination, ask(endpoint, messages.Next(0)))
    assert (stored.entries, stored.again) == (1, [])
    destination.close()
    assert (tmp_path / "root/f").read_bytes() == b"content"
