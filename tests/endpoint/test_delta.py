"""Changed large files between two endpoints: what crosses, and what a bad peer is refused."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.chunks import FASTCDC, FIXED, Step, StepKind
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.state import ChunkRow
from syncron_lib.protocol import messages
from syncron_lib.protocol.compression import Method
from syncron_lib.protocol.pack import PLAIN, Delta, Packer
from syncron_lib.session.compression import Chosen, Compression
from syncron_lib.session.delta import DeltaChoice
from syncron_lib.session.transfer import Transfer
from tests.core.edits import EDITS, Edit, edited, noise
from tests.endpoint.driving import (
    OWN,
    XXH3,
    ask,
    begin,
    compared,
    expected,
    local,
    start_writing,
)
from tests.fs.roots import settle

OLD = noise(700_000) + bytes(200_000) + noise(400_000, 2)


class Run:
    """One run between two endpoints in this process, from a source to a destination."""

    def __init__(self, top: Path, choice: DeltaChoice) -> None:
        self.source, self.destination = top / "source", top / "destination"
        self.ends = local(), local()
        self.choice = choice
        self.failures: list[Any] = []

    def __call__(self) -> Transfer:
        for end, path, role in zip(self.ends, (self.source, self.destination), Role):
            begin(end, path, role)
        plan = compared(*self.ends)
        compression = Compression(Chosen(Method.NONE, (0,), adaptive=False))
        transfer = Transfer(
            *self.ends, self.failures.append, lambda _: None, compression, self.choice
        )
        transfer.run(plan, messages.Begin((), ()), lambda: None)
        transfer.settle()
        finished = [ask(end, messages.Finish((), not self.failures)) for end in self.ends]
        for end in self.ends:
            ask(end, messages.Close())
        if not self.failures:
            assert finished[0].root == finished[1].root
            assert not (self.destination / ".syncron").exists()
        return transfer


def put(path: Path, data: bytes, mtime: int) -> None:
    """Make or replace the file at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (mtime, mtime))


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    with contextlib.ExitStack() as stack:

        def make(
            old: bytes, new: bytes, chunker: str | None = FASTCDC, in_place: bool = False
        ) -> Run:
            put(tmp_path / "source/file", new, 2_000_000)
            put(tmp_path / "destination/file", old, 1_000_000)
            run = Run(tmp_path, DeltaChoice(chunker, in_place))
            for end in run.ends:
                stack.callback(end.close)
            return run

        yield make


def literal(transfer: Transfer) -> int:
    return transfer.content - transfer.matched


@given(EDITS, st.sampled_from([FASTCDC, FIXED]), st.booleans())
def test_every_edit_arrives_exactly(edits: list[Edit], chunker: str, in_place: bool) -> None:
    with tempfile.TemporaryDirectory() as top:
        put(Path(top) / "source/file", edited(OLD, edits), 2_000_000)
        put(Path(top) / "destination/file", OLD, 1_000_000)
        run = Run(Path(top), DeltaChoice(chunker, in_place))
        inode = (run.destination / "file").stat().st_ino
        run()
        assert not run.failures
        assert (run.destination / "file").read_bytes() == edited(OLD, edits)
        if in_place:
            assert (run.destination / "file").stat().st_ino == inode


@pytest.mark.parametrize(
    ("edit", "most"),
    [
        (("insert", 0.3, 0.3, 5), 40_000),
        (("delete", 0.3, 0.3, 5), 40_000),
        (("prepend", 0, 0, 5), 40_000),
        (("append", 0, 0, 5), 40_000),
        (("move", 0.2, 0.4, 1), 40_000),
        (("zeros", 0.4, 0.4, 1), 60_000),
        (("repeat", 0.2, 0.4, 1), 40_000),
        (("truncate", 0.5, 0.6, 1), 20_000),
    ],
)
def test_only_what_is_missing_crosses(make_run: Callable[..., Run], edit: Edit, most: int) -> None:
    new = edited(OLD, [edit])
    run = make_run(OLD, new)
    transfer = run()
    assert not run.failures
    assert transfer.content == len(new)
    assert literal(transfer) <= most
    assert (run.destination / "file").read_bytes() == new


def test_fixed_blocks_find_what_stayed_in_its_place(make_run: Callable[..., Run]) -> None:
    new = OLD[:500_000] + b"edit" + OLD[500_004:] + noise(3_000, 9)
    transfer = make_run(OLD, new, FIXED)()
    assert literal(transfer) <= 3 * 4096


def test_the_list_of_what_was_put_together_is_kept(make_run: Callable[..., Run]) -> None:
    new = edited(OLD, [("insert", 0.5, 0.5, 1), ("zeros", 0.7, 0.7, 1), ("repeat", 0.1, 0.2, 1)])
    run = make_run(OLD, new)
    settle()
    run()
    for end, path in zip(run.ends, (run.source, run.destination)):  # whoever is asked next time
        begin(end, path, Role.DESTINATION)
        # One that has to be cut is told as far as was asked for.
        first = ask(end, messages.GetChunks(b"file", FASTCDC, 0, 1))
        assert sum(memoryview(first.sizes).cast("I")) == len(new)
        assert ask(end, messages.GetChunks(b"file", FASTCDC, 1, 2)).sizes == b""
        ask(end, messages.Close())


def test_a_list_is_of_one_content_only(make_run: Callable[..., Run]) -> None:
    run = make_run(OLD, edited(OLD, [("insert", 0.5, 0.5, 1)]))
    run()
    put(run.destination / "file", noise(len(OLD), 3), 2_000_000)
    destination = run.ends[1]
    begin(destination, run.destination, Role.DESTINATION)
    first = ask(destination, messages.GetChunks(b"file", FASTCDC, 0, 1))
    assert sum(memoryview(first.sizes).cast("I")) < 20_000
    ask(destination, messages.Close())


def test_a_wrong_list_costs_sending_the_file_whole(
    make_run: Callable[..., Run], state: Path
) -> None:
    run = make_run(OLD, edited(OLD, [("insert", 0.5, 0.5, 1)]))
    run()
    settle()
    _spoil_lists(state)
    now = edited((run.source / "file").read_bytes(), [("insert", 0.1, 0.1, 2)])
    put(run.source / "file", now, 3_000_000)
    transfer = run()
    assert not run.failures
    assert (run.destination / "file").read_bytes() == now
    assert transfer.content > len(now)


def _spoil_lists(state: Path) -> None:
    """Swap the first two chunks of every list that is kept, with checksums to match."""
    done = 0
    for path in state.rglob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as db:
            for key, *columns, _ in db.execute("SELECT * FROM chunks").fetchall():
                row = ChunkRow(*columns)
                sizes = row.sizes[4:8] + row.sizes[:4] + row.sizes[8:]
                marks = row.marks[8:16] + row.marks[:8] + row.marks[16:]
                row = row._replace(sizes=sizes, marks=marks)
                values = (row.sizes, row.marks, row.checksum(), key)
                db.execute("UPDATE chunks SET sizes=?, marks=?, checksum=? WHERE key=?", values)
                done += 1
            db.commit()
    assert done


@pytest.fixture
def state() -> Path:
    """Where lists are kept."""
    return Path(os.environ["XDG_STATE_HOME"])


# --- files that change meanwhile ---------------------------------------------------------------


@pytest.mark.parametrize("change", ["grows", "shrinks", "is edited"])
def test_a_source_that_changes_while_it_is_read_is_reported(
    make_run: Callable[..., Run], change: str
) -> None:
    run = make_run(OLD, edited(OLD, [("insert", 0.5, 0.5, 1)]))
    source = run.ends[0]
    told = source.handle

    def handle(request: Any) -> Any:
        if isinstance(request, messages.Next):
            with open(run.source / "file", "r+b") as file:
                file.seek(0, 2 if change == "grows" else 0)
                file.write(b"more")
                if change == "shrinks":
                    file.truncate(300_000)
        return told(request)

    source.handle = handle  # type: ignore[method-assign]
    run()
    assert [failure.side for failure in run.failures] == ["source"]
    assert (run.destination / "file").read_bytes() == OLD


def test_an_old_file_that_changes_is_left_alone(make_run: Callable[..., Run]) -> None:
    run = make_run(OLD, edited(OLD, [("insert", 0.5, 0.5, 1)]))
    destination = run.ends[1]
    told = destination.handle

    def handle(request: Any) -> Any:
        if isinstance(request, RawPack):
            put(run.destination / "file", b"mine", 3_000_000)
        return told(request)

    destination.handle = handle  # type: ignore[method-assign]
    run()
    assert [failure.side for failure in run.failures] == ["destination"]
    assert (run.destination / "file").read_bytes() == b"mine"


# --- in place ------------------------------------------------------------------------------------


def test_in_place_writes_only_the_pages_that_differ(make_run: Callable[..., Run]) -> None:
    new = bytearray(OLD)
    new[300_000:300_010] = b"0123456789"
    assert _written(make_run(OLD, bytes(new), in_place=True)) == [(299_008, 4096)]


def test_in_place_what_is_alike_wherever_it_is_is_not_written(
    make_run: Callable[..., Run],
) -> None:
    """Behind an edit zeros are cut elsewhere: they are copied from other zeros."""
    old = bytes(3_000_000)
    new = old[:299_008] + noise(100 * 4096) + old[299_008 + 100 * 4096 :]
    written = _written(make_run(old, new, in_place=True))
    assert sum(size for _, size in written) == 100 * 4096


def _written(run: Run) -> list[tuple[int, int]]:
    """Places and lengths of all that a run writes to the file."""
    written: list[tuple[int, int]] = []
    real = os.pwrite

    def pwrite(fd: int, data: Any, place: int) -> int:
        written.append((place, len(data)))
        return real(fd, data, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        run()
    assert not run.failures
    assert (run.destination / "file").read_bytes() == (run.source / "file").read_bytes()
    return written


def test_a_small_file_is_written_in_place_too(make_run: Callable[..., Run]) -> None:
    run = make_run(b"old content", b"new", in_place=True)
    before = (run.destination / "file").stat()
    run()
    after = (run.destination / "file").stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, 3)
    assert after.st_mtime == 2_000_000


def test_in_place_does_not_reach_other_names(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(OLD, OLD[::-1], in_place=True)
    os.link(run.destination / "file", tmp_path / "snapshot")
    run()
    assert (run.destination / "file").read_bytes() == OLD[::-1]
    assert (tmp_path / "snapshot").read_bytes() == OLD


# --- peers that break the rules ------------------------------------------------------------------


def delta(steps: Sequence[Step], body: bytes = b"", **changes: Any) -> Delta:
    """A whole new file of 200,000 bytes, or what is said of it."""
    length = sum(step.length for step in steps)
    made = Delta(b"file", OWN, 200_000, 0, True, False, b"x" * 16, length, steps, body)
    return made._replace(**changes)


def store(end: LocalEndpoint, pack: Delta) -> messages.Stored:
    stored: messages.Stored = ask(end, RawPack(b"".join(Packer().delta(pack, PLAIN))))
    return stored


@pytest.mark.parametrize(
    "bad",
    [
        delta([Step(StepKind.COPY, len(OLD) - 10, 11)]),
        delta([Step(StepKind.COPY, (1 << 62), 11)]),
        delta([Step(StepKind.COPY, (1 << 63), 11)]),
        delta([Step(StepKind.REPEAT, 0, 1)]),
        delta([Step(StepKind.LITERAL, 0, 5), Step(StepKind.REPEAT, 1, 5)], b"12345"),
        delta([Step(StepKind.LITERAL, 0, 5)], b"1234"),
        delta([Step(StepKind.LITERAL, 0, 5)], b"123456"),
        delta([Step(StepKind.COPY, 0, 0)]),
        delta([Step(3, 0, 10)]),
        delta([Step(StepKind.COPY, 0, 200_001)]),
        delta([Step(StepKind.COPY, 0, 10)], offset=5),
        delta([Step(StepKind.COPY, 0, 10)], path=b"other"),
        delta([Step(StepKind.COPY, 0, 1)] * ((1 << 16) + 1)),
        delta([Step(StepKind.LITERAL, 0, 5)], b"12345"),
    ],
)
def test_a_bad_delta_is_refused(tmp_path: Path, bad: Delta) -> None:
    put(tmp_path / "d/file", OLD, 1_000_000)
    end = local()
    try:
        start_writing(end, tmp_path / "d", [expected(b"file")])
        with pytest.raises(PeerViolation):
            store(end, bad)
    finally:
        end.close()
    assert (tmp_path / "d/file").read_bytes() == OLD


def test_in_place_what_is_overwritten_cannot_be_copied(tmp_path: Path) -> None:
    put(tmp_path / "d/file", OLD, 1_000_000)
    end = local()
    try:
        begin(end, tmp_path / "d", Role.DESTINATION)
        ask(end, messages.Begin((), (), True))
        ask(end, messages.Expect([expected(b"file")]))
        with pytest.raises(PeerViolation, match="overwritten"):
            store(end, delta([Step(StepKind.COPY, 10, 10), Step(StepKind.COPY, 5, 10)]))
    finally:
        end.close()


def test_a_file_put_together_wrongly_is_asked_for_again(tmp_path: Path) -> None:
    put(tmp_path / "d/file", OLD, 1_000_000)
    end = local()
    try:
        start_writing(end, tmp_path / "d", [expected(b"file")])
        stored = store(end, delta([Step(StepKind.COPY, 0, 200_000)]))
        assert (stored.entries, stored.again) == (0, [b"file"])
        value = XXH3.of(OLD[:200_000])
        stored = store(end, delta([Step(StepKind.COPY, 0, 200_000)], digest=value))
        assert (stored.entries, stored.again) == (1, [])
    finally:
        end.close()
    assert (tmp_path / "d/file").read_bytes() == OLD[:200_000]


@pytest.mark.parametrize(
    "bad",
    [
        messages.Basis(b"file", "other", 4096, b"", b"", False, False),
        messages.Basis(b"file", FASTCDC, 4097, b"", b"", False, False),
        messages.Basis(b"file", FASTCDC, 4096, b"\1", b"", False, False),
        messages.Basis(b"file", FASTCDC, 4096, b"\1\0\0\0", b"", False, False),
        messages.Basis(b"file", FASTCDC, 4096, b"\0\0\0\0", b"8 bytes.", False, False),
        messages.Basis(b"file", FASTCDC, 4096, b"\0\0\1\0", b"8 bytes.", False, False),
    ],
)
def test_a_bad_list_is_refused(tmp_path: Path, bad: messages.Basis) -> None:
    put(tmp_path / "s/file", OLD, 1_000_000)
    end = local()
    try:
        begin(end, tmp_path / "s", Role.SOURCE)
        with pytest.raises(PeerViolation):
            ask(end, bad)
    finally:
        end.close()


@pytest.mark.parametrize(
    "bad",
    [
        messages.GetChunks(b"file", "other", 0, 10),
        messages.GetChunks(b"file", FASTCDC, 10, 5),
        messages.GetChunks(b"file", FASTCDC, 0, 1 << 40),
    ],
)
def test_a_bad_question_about_chunks_is_refused(tmp_path: Path, bad: messages.GetChunks) -> None:
    put(tmp_path / "d/file", OLD, 1_000_000)
    end = local()
    try:
        begin(end, tmp_path / "d", Role.DESTINATION)
        with pytest.raises(PeerViolation):
            ask(end, bad)
    finally:
        end.close()


@pytest.mark.parametrize("path", [b"none", b"link", b"directory", b""])
def test_what_is_no_file_has_no_chunks(tmp_path: Path, path: bytes) -> None:
    put(tmp_path / "d/file", OLD, 1_000_000)
    (tmp_path / "d/link").symlink_to("file")
    (tmp_path / "d/directory").mkdir()
    end = local()
    try:
        begin(end, tmp_path / "d", Role.DESTINATION)
        assert not ask(end, messages.GetChunks(path, FASTCDC, 0, 10)).average
        assert not ask(end, messages.GetChunks(path, FASTCDC, 10, 20)).average
    finally:
        end.close()
