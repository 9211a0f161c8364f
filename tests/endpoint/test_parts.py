"""What a tree can make larger than a frame: in parts, or cut; never an internal error."""

from __future__ import annotations

import os
import shutil
import sqlite3
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.role import Role
from syncron_lib.endpoint import parts
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.ignorefiles import IgnoreFile
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Directory, Listing, Problem
from syncron_lib.session.listings import listings
from tests.core.tables import Row, table
from tests.endpoint.driving import ask, begin, carry_out, local, opening
from tests.trees import Link, make

TREE: dict[str, Any] = {
    "d": {
        **{f"f{n:03}": b"%d" % n for n in range(50)},
        **{f"l{n:03}": Link(b"to%d" % n) for n in range(20)},
        **{f"s{n:03}": {"x": b"1"} for n in range(30)},
    },
    "e": {"only": b"1"},
    "z": {},
}


def _endpoint(limit: int) -> LocalEndpoint:
    return LocalEndpoint(os.environ, 0o022, listing_limit=limit)


@pytest.mark.parametrize("limit", [1, 100, 700, 2000, 5000])
def test_directories_in_parts_are_the_whole_ones(tmp_path: Path, limit: int) -> None:
    make(tmp_path, TREE)
    paths = [b"", b"d", b"e", b"z", b"d/s007"]
    whole, cut = local(), _endpoint(limit)
    begin(whole, tmp_path, Role.SOURCE)
    begin(cut, tmp_path, Role.SOURCE)
    (first,) = ask(cut, messages.List([b"d"])).directories
    assert first.more
    assert 0 < len(first.table.names) < 100
    expected, found = list(listings(whole, paths)), list(listings(cut, paths))
    assert [_plain(each) for each in found] == [_plain(each) for each in expected]
    whole.close()
    cut.close()


def _plain(directory: Directory) -> tuple[object, ...]:
    columns = [bytes(c) if isinstance(c, bytes) else list(c) for c in directory.table]
    return (*directory[:5], columns, list(directory.below), directory.more)


def test_a_run_over_directories_in_parts(tmp_path: Path) -> None:
    make(tmp_path / "source", TREE)
    make(tmp_path / "destination", {"d": {"f003": b"3", "f030": b"other", "gone": b""}})
    ends = _endpoint(300), _endpoint(200)
    begin(ends[0], tmp_path / "source", Role.SOURCE)
    begin(ends[1], tmp_path / "destination", Role.DESTINATION)
    outcome = carry_out(*ends)
    assert outcome.failures == []
    assert outcome.roots[0] == outcome.roots[1] != bytes(16)
    for end in ends:
        end.close()


class _Listing:
    """An end that answers `List` with these, whatever was asked for."""

    def __init__(self, *replies: Listing) -> None:
        self._replies = list(replies)

    def submit(self, _request: object) -> object:
        future: Future[Listing] = Future()
        future.set_result(self._replies.pop(0))
        return future


def _rows(names: list[bytes], more: bool) -> Directory:
    rows = table(*[Row(name, 0o100644) for name in names])
    return Directory(0o40755, 0, 0, 0, 0, rows, [], more)


@pytest.mark.parametrize(
    "replies",
    [
        [Listing([_rows([], True)])],
        [Listing([_rows([b"b"], True)]), Listing([_rows([b"b"], True)])],
        [Listing([_rows([b"b"], True)]), Listing([_rows([b"a"], False)])],
        [Listing([_rows([b"a"], True), _rows([b"a"], False)])],
    ],
)
def test_parts_that_do_not_go_on_are_refused(replies: list[Listing]) -> None:
    with pytest.raises(PeerViolation):
        list(listings(_Listing(*replies), [b"a", b"b"]))  # type: ignore[arg-type]


def test_ignore_files_go_in_parts() -> None:
    files = [IgnoreFile(b"d%d" % n, b".gitignore", b"x" * 100, (0, 0, 0, 0)) for n in range(10)]
    known = 0
    got: list[messages.IgnoreFile] = []
    while True:
        part = parts.ignore_files(files, known, limit=250)
        assert 0 < len(part.files) < 5
        got += part.files
        known += len(part.files)
        if not part.more:
            break
    assert [(file.directory, file.name, file.content) for file in got] == [
        file[:3] for file in files
    ]


def test_ignore_files_are_used_when_all_have_come(tmp_path: Path) -> None:
    make(tmp_path, {"a": {"x": b"", "y": b""}, "b": {"x": b"", "y": b""}})
    end = local()
    begin(end, tmp_path, Role.SOURCE)
    ask(end, messages.Close())
    ask(end, opening(tmp_path, Role.DESTINATION, gitignore=True))
    ask(end, messages.Scan())
    first, second = (messages.IgnoreFile(each, b".gitignore", b"x") for each in (b"a", b"b"))
    assert ask(end, messages.UseIgnoreFiles([first], True)).entries == 0
    assert ask(end, messages.UseIgnoreFiles([second], False)).entries == 4
    end.close()


def test_problems_are_counted_where_there_are_too_many() -> None:
    problems = [Problem(b"p%d" % n, "no", n >= 5) for n in range(20)]
    assert parts.bounded(problems) == problems
    assert parts.bounded(problems, 7) == [
        *problems[:7],
        Problem(b"", "and 13 more like the ones before", True),
    ]
    assert parts.bounded(problems, 3)[-1].vanished is False
    long = [Problem(b"x" * (1 << 20), "no", False)] * 40
    assert sum(len(each.path) for each in parts.bounded(long)) <= 3 << 20


def test_extras_may_come_in_parts(tmp_path: Path) -> None:
    make(tmp_path / "source", {"a": b"1"})
    make(tmp_path / "destination", {"a": b"1", "b": b"2", "c": b"3"})
    source, destination = local(), local()
    begin(source, tmp_path / "source", Role.SOURCE)
    begin(destination, tmp_path / "destination", Role.DESTINATION)
    for end in (source, destination):
        ask(end, messages.Hash([b"a"]))
    plan = carry_out(source, destination, delete=False).plan
    assert sorted(plan.extras) == [b"b", b"c"]
    at_once = ask(destination, messages.Finish([b"b", b"c"], True)).root
    assert ask(destination, messages.LeaveOut([b"b"])) == messages.Done()
    assert ask(destination, messages.Finish([b"c"], True)).root == at_once != bytes(16)
    source.close()
    destination.close()


@pytest.mark.parametrize(("method", "level"), [(0, 1), (1, 23), (2, 10), (3, 1)])
def test_compression_that_does_not_exist_is_refused(
    tmp_path: Path, method: int, level: int
) -> None:
    make(tmp_path, {"a": b"1" * 1000})
    end = local()
    begin(end, tmp_path, Role.SOURCE)
    ask(end, messages.Select([messages.Selected(b"a", False)], ()))
    with pytest.raises(PeerViolation, match=f"compression {method} of level {level}"):
        ask(end, messages.Next(method, level))
    end.close()


def _notices(told: list[object]) -> str:
    return " ".join(each.text for each in told if isinstance(each, messages.Notice))


def test_state_that_was_damaged_or_cannot_be_saved_is_told(home: Path, tmp_path: Path) -> None:
    told: list[object] = []
    make(tmp_path / "root", {"a": b"1"})
    end = LocalEndpoint(os.environ, 0o022, tell=told.append)
    begin(end, tmp_path / "root", Role.SOURCE)
    ask(end, messages.Close())
    assert [each for each in told if isinstance(each, messages.Notice)] == []
    (state,) = home.rglob("*.db")
    state.write_bytes(b"damaged" * 1000)
    begin(end, tmp_path / "root", Role.SOURCE)
    (notice,) = [each for each in told if isinstance(each, messages.Notice)]
    assert "was damaged" in notice.text
    told.clear()
    with sqlite3.connect(state) as other:
        other.execute("DROP TABLE directory")
    finished = ask(end, messages.Finish((), True))
    assert finished.problems == []
    assert "was damaged" in _notices(told)
    with sqlite3.connect(state) as other:
        assert other.execute("SELECT count(*) FROM directory").fetchone() == (1,)
    ask(end, messages.Close())
    told.clear()
    begin(end, tmp_path / "root", Role.SOURCE)
    shutil.rmtree(state.parent)
    assert ask(end, messages.Finish((), True)).problems == []
    assert "could not be saved" in _notices(told)
    end.close()
