"""Replicas on disk: what a run does to them, and what it refuses."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.options import Conflicts, DeleteCap, RuleOptions, RunOptions
from syncron_lib.core.report import Action, Phase
from syncron_lib.core.twoway.reconcile import Choice
from syncron_lib.core.twoway.records import Record, seen
from syncron_lib.errors import (
    ConnectionLost,
    DeleteCapRefused,
    Exit,
    GuardRefused,
    RootError,
    StateUnusable,
    SyncronError,
)
from syncron_lib.protocol import messages
from syncron_lib.session.twoway.exchange import Scratch, fingerprint_of
from syncron_lib.session.twoway.progress import watching
from tests.deep import DEEP
from tests.session.twoway import Met, Near, Told, end_of, files
from tests.trees import Fifo, Link, make


@pytest.fixture
def memory(home: Path) -> Iterator[Path]:
    """A directory where waiting for the disk takes no time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture
def pair(memory: Path) -> tuple[Path, Path]:
    """Two replicas that are the same."""
    one, other = memory / "one", memory / "other"
    make(one, {"f": b"f", "g": b"g", "d": {"x": b"x", "e": {"z": b"z"}}})
    make(other, {})
    assert Met(one, other).report.match
    return one, other


TREE = {"f": b"f", "g": b"g", "d": None, "d/x": b"x", "d/e": None, "d/e/z": b"z"}


def assert_settled(*roots: Path, expected: Mapping[str, object] | None = None) -> None:
    """All have the same, and another run does nothing."""
    for root in roots:
        assert files(root) == (files(roots[0]) if expected is None else expected)
    for one, other in itertools.pairwise(roots):
        met = Met(one, other)
        assert not met.run.written
        assert not met.clashes
        assert met.report.exit_code == Exit.OK


# --- what is done ---------------------------------------------------------------------------------


def test_a_first_run_brings_everything_and_a_second_one_nothing(pair: tuple[Path, Path]) -> None:
    assert_settled(*pair, expected=dict(TREE))
    assert stat.S_IMODE((pair[1] / ".syncron").stat().st_mode) == 0o700
    assert os.listdir(pair[1] / ".syncron") == ["state.db"]


def test_what_a_killed_run_left_is_removed_where_nothing_comes_any_more(
    pair: tuple[Path, Path],
) -> None:
    for root in pair:
        make(root / ".syncron", {"index": b"", "1": b"half"})
    assert Met(*pair, dry_run=True).report.match
    assert len(os.listdir(pair[0] / ".syncron")) == 3
    assert Met(*pair).report.match
    for root in pair:
        assert os.listdir(root / ".syncron") == ["state.db"]


def test_both_sides_changes_go_over_at_once(pair: tuple[Path, Path]) -> None:
    one, other = pair
    (one / "f").write_bytes(b"new f")
    shutil.rmtree(one / "d/e")
    (other / "new").mkdir()
    (other / "new/n").write_bytes(b"n")
    os.symlink("f", other / "new/link")
    (other / "g").unlink()
    (other / "d/x").chmod(0o755)
    met = Met(one, other)
    assert not met.clashes
    assert not met.failures
    expected = {"f": b"new f", "d": None, "d/x": b"x", "new": None, "new/n": b"n", "new/link": "f"}
    assert_settled(one, other, expected=expected)
    assert stat.S_IMODE((one / "d/x").stat().st_mode) == 0o755
    assert met.report.deleted == 3
    where = {item.path: item.at for item in met.items if item.path != b"d/e/z"}
    assert where == {b"f": 1, b"d/e": 1, b"new": 0, b"new/n": 0, b"new/link": 0, b"g": 0, b"d/x": 0}


def test_a_file_keeps_its_time_and_a_touch_goes_over(pair: tuple[Path, Path]) -> None:
    one, other = pair
    os.utime(one / "f", ns=(5, 7_000_000_001))
    met = Met(one, other)
    assert (other / "f").stat().st_mtime_ns == 7_000_000_001
    assert [item.action for item in met.items] == [Action.METADATA]
    assert_settled(one, other)


@pytest.mark.parametrize("policy", [each for each in Conflicts if each is not Conflicts.ASK])
def test_a_conflict_keeps_both_versions(pair: tuple[Path, Path], policy: Conflicts) -> None:
    one, other = pair
    (one / "f").write_bytes(b"by one")
    (other / "f").write_bytes(b"by other")
    os.utime(one / "f", ns=(1, 2_000_000_000))
    met = Met(one, other, conflicts=policy)
    assert [clash.path for clash in met.clashes] == [b"f"]
    if policy is Conflicts.SKIP:
        assert (files(one)["f"], files(other)["f"]) == (b"by one", b"by other")
        assert met.report.exit_code == Exit.CONFLICTS
        return
    kept = {path: value for path, value in files(one).items() if path.startswith("f")}
    assert len(kept) == 2
    assert set(kept.values()) == {b"by one", b"by other"}
    assert_settled(one, other)
    expected = {Conflicts.PREFER_FIRST: b"by one", Conflicts.PREFER_SECOND: b"by other"}
    expected[Conflicts.NEWER] = b"by other"
    assert kept["f"] == expected.get(policy, kept["f"])
    by_hand = policy is Conflicts.KEEP_BOTH
    assert met.report.exit_code == (Exit.CONFLICTS if by_hand else Exit.OK)


def test_what_changes_while_somebody_thinks_is_not_replaced(pair: tuple[Path, Path]) -> None:
    one, other = pair
    (one / "f").write_bytes(b"by one")
    (other / "f").write_bytes(b"by other")

    def thinks(_path: bytes, _first: Record, _second: Record) -> Choice:
        (other / "f").write_bytes(b"by other, and later")
        return Choice.FIRST

    met = Met(one, other, thinks, conflicts=Conflicts.ASK)
    assert [failure.path for failure in met.failures] == [b"f"]
    assert b"by other, and later" in files(other).values()
    for _ in range(2):
        Met(one, other)
    assert {b"by one", b"by other, and later"} <= set(files(one).values())
    assert_settled(one, other)


def test_a_person_is_asked_once_though_ignore_files_are_settled_first(
    pair: tuple[Path, Path],
) -> None:
    one, other = pair
    for root, text in ((one, b"one"), (other, b"the other")):
        (root / ".syncronignore").write_bytes(text)
        (root / "f").write_bytes(text)
    asked = []

    def thinks(path: bytes, _first: Record, _second: Record) -> Choice:
        asked.append(path)
        return Choice.SECOND

    Met(one, other, thinks, conflicts=Conflicts.ASK, rules=RuleOptions(gitignore=True))
    assert sorted(asked) == [b".syncronignore", b"f"]
    assert files(one)["f"] == b"the other"
    assert_settled(one, other)


def test_a_conflict_is_resolved_once_for_all(memory: Path, pair: tuple[Path, Path]) -> None:
    one, other = pair
    third = memory / "third"
    third.mkdir()
    Met(other, third)
    (one / "f").write_bytes(b"by one")
    (third / "f").write_bytes(b"by third")
    assert Met(one, third).clashes
    for first, second in ((third, other), (other, one), (one, third)):
        assert not Met(first, second).clashes
    assert_settled(one, other, third)


def test_a_directory_and_a_file_of_one_name(pair: tuple[Path, Path]) -> None:
    one, other = pair
    (one / "n").write_bytes(b"file")
    make(other / "n", {"in": {"deep": b"deep"}})
    met = Met(one, other)
    assert [clash.what for clash in met.clashes] == ["kind"]
    assert files(one)["n/in/deep"] == b"deep"
    assert b"file" in files(one).values()
    assert_settled(one, other)


def test_a_file_in_the_place_of_a_directory_that_holds_something_new(
    pair: tuple[Path, Path],
) -> None:
    one, other = pair
    shutil.rmtree(one / "d")
    (one / "d").write_bytes(b"file")
    (other / "d/new").write_bytes(b"new")
    Met(one, other)
    found = files(one)
    assert found["d/new"] == b"new"
    assert "d/x" not in found
    assert b"file" in found.values()
    assert_settled(one, other)


def test_a_directory_that_was_deleted_stays_with_what_is_new_in_it(pair: tuple[Path, Path]) -> None:
    one, other = pair
    shutil.rmtree(other / "d")
    (one / "d/e/new").write_bytes(b"new")
    met = Met(one, other)
    assert {clash.what for clash in met.clashes} == {"revived"}
    expected = {"f": b"f", "g": b"g", "d": None, "d/e": None, "d/e/new": b"new"}
    assert_settled(one, other, expected=expected)


def test_links_and_fifos_go_over_and_conflict_like_files(memory: Path) -> None:
    one, other = memory / "one", memory / "other"
    make(one, {"l": Link(b"here"), "p": Fifo(), "same": Link(b"x")})
    make(other, {"l": Link(b"there"), "same": Link(b"x")})
    met = Met(one, other)
    assert [clash.path for clash in met.clashes] == [b"l"]
    assert not met.failures
    assert sorted(files(one).values()) == sorted(["here", "there", "special", "x"])
    assert stat.S_ISFIFO((other / "p").lstat().st_mode)
    assert_settled(one, other)


def test_many_levels_and_names_that_are_no_text(memory: Path) -> None:
    one, other = memory / "one", memory / "other"
    tree: dict[bytes, object] = {b"\xff\n": b"deep"}
    for level in range(40):
        tree = {b"d%d" % level: tree, b"f\x1b": b"%d" % level}
    make(one, tree)  # type: ignore[arg-type]
    make(other, {})
    Met(one, other)
    assert_settled(one, other)


def test_three_replicas_in_any_pairs(memory: Path) -> None:
    roots = [memory / name for name in "abc"]
    for index, root in enumerate(roots):
        make(root, {f"of-{index}": b"%d" % index, "same": b"same"})
    for one, other in ((0, 1), (1, 2), (2, 0), (0, 1)):
        Met(roots[one], roots[other])
    (roots[1] / "same").unlink()
    for one, other in ((1, 2), (2, 0)):
        assert not Met(roots[one], roots[other]).clashes
    assert_settled(*roots, expected={f"of-{index}": b"%d" % index for index in range(3)})


def test_progress_counts_both_directions_as_one(pair: tuple[Path, Path]) -> None:
    one, other = pair
    for root, name in ((one, "a"), (one, "f"), (other, "b"), (other, "g")):
        (root / name).write_bytes(os.urandom(700_000))
    (one / "d/x").unlink()
    told = [each[1:] for each in Met(one, other).progresses if each[0] is Phase.TRANSFER]
    assert {total for _, total in told} == {4 * 700_000}
    assert told == sorted(told)
    assert told[-1] == (4 * 700_000, 4 * 700_000)
    assert any(0 < done < 1_400_000 for done, _ in told)


def test_both_scan_and_hash_as_one() -> None:
    told = Told()
    one, other = watching(told)
    one(messages.Progress(True, 30, 300))
    other(messages.Progress(True, 50, 500))
    one(messages.Progress(False, 1, 200))
    one(messages.Progress(True, 40, 400))
    other(messages.Progress(False, 2, 600))
    scanned, hashed = (
        [each[1] for each in told.progresses if each[0] is phase]
        for phase in (Phase.SCAN, Phase.HASH)
    )
    assert (scanned, hashed) == ([30, 80, 90], [200, 800])


# --- contents that are looked at here -------------------------------------------------------------


class Watching(Near):
    """A side that sees what comes of its files elsewhere."""

    def __init__(self, elsewhere: Path) -> None:
        super().__init__()
        self._elsewhere = elsewhere
        self.most = 0

    def handle(self, request: Any) -> Any:
        there = (path for path in self._elsewhere.rglob("*") if path.is_file())
        sizes = [path.stat().st_size for path in there if "state" not in path.parts]
        self.most = max([self.most, *sizes])
        return super().handle(request)


@pytest.mark.parametrize("size", [400_000, 700_000])  # in a pack with others, in pieces
def test_no_more_is_fetched_than_was_said(
    memory: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    elsewhere = memory / "elsewhere"
    make(memory, {"one": {"f": os.urandom(size)}, "elsewhere": {}})
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    content = (memory / "one/f").read_bytes()
    record = seen(stat.S_IFREG | 0o644, size, 0, fingerprint_of(content), None)
    side = Watching(elsewhere)
    end = end_of(memory / "one", side)
    end.ask(RunOptions())
    end.ask_who()
    scratch = Scratch(RunOptions())
    try:
        assert scratch.fetch(end, {b"f": record._replace(size=9)}) == {}
        assert side.most <= 9
        assert scratch.fetch(end, {b"f": record}) == {b"f": content}
        assert side.most == size
    finally:
        scratch.close()
        side.close()


# --- what is not looked at ------------------------------------------------------------------------


def test_what_rules_leave_out_is_left_alone_and_found_again(pair: tuple[Path, Path]) -> None:
    one, other = pair
    without = RuleOptions((b"- g", b"- d/"))
    (one / "g").unlink()
    (one / "d/x").unlink()
    (other / "d/new").write_bytes(b"new")
    (one / "f").write_bytes(b"f2")
    Met(one, other, rules=without)
    assert files(other) == {**TREE, "f": b"f2", "d/new": b"new"}
    met = Met(one, other)
    assert not met.clashes
    expected = {"f": b"f2", "d": None, "d/e": None, "d/e/z": b"z", "d/new": b"new"}
    assert_settled(one, other, expected=expected)


def test_a_directory_stays_where_something_in_it_is_left_out(pair: tuple[Path, Path]) -> None:
    one, other = pair
    (other / "d/mine.tmp").write_bytes(b"mine")
    shutil.rmtree(one / "d")
    rules = RuleOptions((b"- *.tmp",))
    Met(one, other, rules=rules)
    assert files(other) == {"f": b"f", "g": b"g", "d": None, "d/mine.tmp": b"mine"}
    assert files(one) == {"f": b"f", "g": b"g"}
    assert not Met(one, other, rules=rules).run.written


def test_ignore_files_are_settled_before_all_else(pair: tuple[Path, Path]) -> None:
    one, other = pair
    (one / ".syncronignore").write_bytes(b"*.tmp\n")
    (other / "x.tmp").write_bytes(b"not wanted there")
    (other / "y").write_bytes(b"y")
    Met(one, other)
    assert files(one) == {**TREE, ".syncronignore": b"*.tmp\n", "y": b"y"}
    assert files(other) == {**files(one), "x.tmp": b"not wanted there"}


# --- guards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("emptied", [0, 1])
def test_an_emptied_root_never_empties_the_other(pair: tuple[Path, Path], emptied: int) -> None:
    root = pair[emptied]
    for entry in root.iterdir():
        if entry.name != ".syncron":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    with pytest.raises(SyncronError) as refused:
        Met(*pair)
    assert refused.value.exit_code == Exit.REFUSED
    assert files(pair[1 - emptied]) == TREE
    Met(*pair, allow_empty_source=True)
    assert files(pair[1 - emptied]) == {}


@pytest.mark.parametrize("unmounted", [0, 1])
def test_a_root_that_is_not_mounted_is_refused(pair: tuple[Path, Path], unmounted: int) -> None:
    root = pair[unmounted]
    root.rename(root.with_name("disk"))
    root.mkdir()
    with pytest.raises(GuardRefused, match="not mounted"):
        Met(*pair)
    assert files(pair[1 - unmounted]) == TREE
    root.rmdir()
    root.with_name("disk").rename(root)
    assert_settled(*pair, expected=dict(TREE))


def test_no_more_is_deleted_than_is_allowed(pair: tuple[Path, Path]) -> None:
    one, other = pair
    shutil.rmtree(one / "d")
    with pytest.raises(DeleteCapRefused):
        Met(one, other, max_delete=DeleteCap(entries=3))
    assert files(other) == TREE
    Met(one, other, max_delete=DeleteCap(entries=4))
    assert_settled(one, other, expected={"f": b"f", "g": b"g"})


def test_a_dry_run_changes_nothing_and_remembers_nothing(memory: Path) -> None:
    one, other = memory / "one", memory / "other"
    make(one, {"f": b"f"})
    make(other, {"g": b"g"})
    met = Met(one, other, dry_run=True)
    assert {(item.path, item.at) for item in met.items} == {(b"f", 1), (b"g", 0)}
    assert sorted(os.listdir(one)) == ["f"]
    assert sorted(os.listdir(other)) == ["g"]


@pytest.mark.parametrize("place", ["missing", "f", "d", "."])
def test_roots_that_cannot_be_replicas_are_refused(pair: tuple[Path, Path], place: str) -> None:
    with pytest.raises(RootError, match="Nothing was changed"):
        Met(pair[0], pair[0] / place)
    assert files(pair[0]) == TREE


# --- lost, restored and copied --------------------------------------------------------------------


def test_a_replica_that_lost_its_state_deletes_nothing(pair: tuple[Path, Path]) -> None:
    one, other = pair
    (one / "f").unlink()
    (other / "g").write_bytes(b"edited")
    shutil.rmtree(one / ".syncron")
    met = Met(one, other)
    assert any("lost" in warning for warning in met.warnings)
    assert files(one)["f"] == b"f"  # comes back
    # It went forward by its content: nobody knows whether that was meant.
    assert files(one)["g"] == b"edited"
    assert files(one / ".syncron/overwritten/1") == {"g": TREE["g"]}
    assert any("1 files that are replaced" in warning for warning in met.warnings)
    assert not (other / ".syncron/overwritten").exists()
    assert_settled(one, other)
    (one / "g").write_bytes(b"again")
    Met(one, other)
    assert os.listdir(one / ".syncron/overwritten") == ["1"]


def test_a_replica_that_comes_back_from_a_backup_loses_nothing(
    memory: Path, pair: tuple[Path, Path]
) -> None:
    one, other = pair
    backup = memory / "backup"
    shutil.copytree(one, backup, symlinks=True)
    (one / "n").write_bytes(b"since the backup")
    Met(one, other)
    shutil.rmtree(one)
    shutil.copytree(backup, one, symlinks=True)
    (one / "f").write_bytes(b"edited after it")
    met = Met(one, other)
    assert any("restored" in warning for warning in met.warnings)
    assert not met.clashes
    expected = {**TREE, "n": b"since the backup", "f": b"edited after it"}
    assert_settled(one, other, expected=expected)


def test_a_copy_of_a_replica_is_another_one(memory: Path, pair: tuple[Path, Path]) -> None:
    one, other = pair
    copy = memory / "copy"
    shutil.copytree(one, copy, symlinks=True)
    (one / "f").write_bytes(b"by one")
    (copy / "f").write_bytes(b"by the copy")
    Met(one, other)
    met = Met(copy, other)
    assert [clash.path for clash in met.clashes] == [b"f"]
    Met(one, other)
    assert_settled(one, other, copy)


def test_a_whole_machine_that_is_there_twice_is_found_out(
    memory: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root and witness are both copied, as with a virtual machine, and both count on."""
    one, other = pair
    third = memory / "third"
    make(third, {})
    Met(other, third)
    here = memory / "machine"
    shutil.copytree(one, here / "one", symlinks=True)
    saved = Path(os.environ["XDG_STATE_HOME"])
    shutil.copytree(saved, here / "state")
    (one / "f").write_bytes(b"by one")
    Met(one, other)
    # The other machine: the same path, the same file, as far as it can tell.
    shutil.rmtree(one)
    (here / "one").rename(one)
    inode = (one / ".syncron/state.db").stat()
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
    for witness in (here / "state/syncron").glob("*.replica"):
        words = witness.read_text().split()
        words[3:] = [str(inode.st_dev), str(inode.st_ino)]
        witness.write_text(" ".join(words) + "\n")
    (one / "f").write_bytes(b"by the copy")
    Met(one, third)
    met = Met(other, third)
    kept = set(files(other).values())
    assert {b"by one", b"by the copy"} <= kept, met.warnings
    assert_settled(other, third)


@pytest.mark.parametrize("damage", ["noise", "cut", "flipped"])
def test_damaged_state_is_kept_aside_and_deletes_nothing(
    pair: tuple[Path, Path], damage: str
) -> None:
    one, other = pair
    path = one / ".syncron/state.db"
    content = bytearray(path.read_bytes())
    if damage == "noise":
        content[:] = random.Random(1).randbytes(len(content))
    elif damage == "cut":
        del content[len(content) // 2 :]
    else:
        at = content.index(b"\x00g") if b"\x00g" in content else len(content) // 2
        for place in range(at, min(at + 400, len(content)), 7):
            content[place] ^= 0x55
    path.write_bytes(content)
    (other / "f").unlink()
    met = Met(one, other)
    assert set(files(one)) >= {"g", "d/x", "d/e/z"}
    assert_settled(one, other)
    assert met.warnings


def test_state_of_a_newer_version_is_left_alone(pair: tuple[Path, Path]) -> None:
    path = pair[0] / ".syncron/state.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StateUnusable, match="newer"):
        Met(*pair)
    assert files(pair[1]) == TREE


def test_a_run_in_one_direction_leaves_what_a_replica_knows(
    memory: Path, pair: tuple[Path, Path]
) -> None:
    from tests.session.test_run import bring

    source = memory / "source"
    make(source, {"from-elsewhere": b"x"})
    bring([source], pair[1])
    assert (pair[1] / ".syncron/state.db").exists()
    Met(*pair)
    assert_settled(*pair, expected={**TREE, "from-elsewhere": b"x"})


# --- killed ---------------------------------------------------------------------------------------


class _Killed(Exception):
    pass


# The second goes other ways in few places, and takes as long again.
@pytest.mark.parametrize(
    "policy", [Conflicts.KEEP_BOTH, *([Conflicts.PREFER_FIRST] if DEEP else [])]
)
def test_a_run_that_ends_at_any_request_loses_nothing(
    memory: Path, monkeypatch: pytest.MonkeyPatch, policy: Conflicts
) -> None:
    """All of one run's requests, and the end after each of them."""
    handle = Near.handle
    counted = [0]

    def build(root: Path) -> tuple[Path, Path]:
        one, other = root / "one", root / "other"
        make(one, {"f": b"f", "c": b"c", "d": {"x": b"x"}, "gone": b"gone"})
        make(other, {})
        Met(one, other)
        (one / "c").write_bytes(b"c by one")
        (other / "c").write_bytes(b"c by other")
        (one / "n").write_bytes(b"n")
        make(other / "m", {"m": b"m"})
        (one / "gone").unlink()
        (one / "d/x").unlink()
        (other / "d/x").write_bytes(b"edited")
        (other / "f").chmod(0o751)
        return one, other

    def counting(end: Near, request: object) -> object:
        counted[0] -= 1
        if counted[0] < 0:
            raise ConnectionLost("Killed.")
        return handle(end, request)

    counted[0] = 10_000
    monkeypatch.setattr(Near, "handle", counting)
    Met(*build(memory / "whole"), conflicts=policy)
    counted[0] = 10_000
    one, other = build(memory / "measured")
    before = counted[0]
    Met(one, other, conflicts=policy)
    requests = before - counted[0]
    assert requests > 25
    for count in range(5, requests):
        counted[0] = 10_000
        one, other = build(memory / f"{count}")
        counted[0] = count
        with pytest.raises(ConnectionLost):
            Met(one, other, conflicts=policy)
        counted[0] = 10_000
        Met(one, other, conflicts=policy)
        found = set(files(one).values())
        assert {b"c by one", b"c by other", b"n", b"m", b"edited"} <= found, count
        assert "gone" not in files(one), count
        assert [(root / "f").stat().st_mode & 0o777 for root in (one, other)] == [0o751] * 2, count
        assert_settled(one, other)
        shutil.rmtree(memory / f"{count}")


# --- histories ------------------------------------------------------------------------------------

PATHS = ["f", "g", "d", "d/x", "d/y", "d/e", "d/e/z"]


class _History:
    """Random edits of some replicas, and runs between them."""

    def __init__(self, base: Path, chance: random.Random) -> None:
        self.roots = [base / f"r{number}" for number in range(chance.randint(2, 3))]
        for root in self.roots:
            root.mkdir(parents=True)
        self._chance = chance
        self.written: set[bytes] = set()
        self.replaced: set[bytes] = set()

    def _remove(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            self.replaced.update(each for each in files(path).values() if isinstance(each, bytes))
            shutil.rmtree(path)
        elif path.exists():
            self.replaced.add(path.read_bytes())
            path.unlink()

    def edit(self) -> None:
        root = self._chance.choice(self.roots)
        path = root / self._chance.choice(PATHS)
        if self._chance.random() < 0.3:
            self._remove(path)
            return
        for above in reversed(path.relative_to(root).parents[:-1]):
            if not (root / above).is_dir():
                self._remove(root / above)
                (root / above).mkdir()
        self._remove(path)
        content = b"%d " % len(self.written) * self._chance.choice([1, 1, 50_000])
        self.written.add(content)
        path.write_bytes(content)
        if self._chance.random() < 0.2:
            path.chmod(0o755)

    def move(self) -> None:
        root = self._chance.choice(self.roots)
        old, new = root / self._chance.choice(PATHS), root / self._chance.choice(PATHS)
        free = not new.exists() and new.parent.is_dir() and not new.is_relative_to(old)
        if old.exists() and free:
            old.rename(new)

    def lose(self) -> None:
        root = self._chance.choice(self.roots)
        if any(entry.name != ".syncron" for entry in root.iterdir()):
            shutil.rmtree(root / ".syncron", ignore_errors=True)

    def meet(self) -> None:
        one, other = self._chance.sample(self.roots, 2)
        policy = self._chance.choice([Conflicts.KEEP_BOTH, *Conflicts])
        rules = RuleOptions((b"- " + self._chance.choice([b"g", b"d/e", b"x"]),))
        if self._chance.random() < 0.85:
            rules = RuleOptions()
        met = Met(one, other, conflicts=policy, rules=rules, allow_empty_source=True)
        assert not met.failures, met.failures

    def end(self) -> None:
        for _ in range(6):
            wrote = False
            for one, other in zip(self.roots, self.roots[1:] + self.roots[:1]):
                met = Met(one, other, allow_empty_source=True)
                assert not met.failures, met.failures
                wrote = wrote or met.run.written
            if not wrote:
                break
        else:
            raise AssertionError("there is no end to it")
        trees = [files(root) for root in self.roots]
        assert all(tree == trees[0] for tree in trees), trees
        lost = self.written - self.replaced - set(trees[0].values())
        assert not lost, lost


@pytest.mark.parametrize("part", range(4))
def test_histories_on_disk_come_out_right(memory: Path, part: int) -> None:
    most = 2000 if DEEP else 200
    for seed in range(part * most // 4, (part + 1) * most // 4):
        chance = random.Random(seed)
        history = _History(memory / str(seed), chance)
        steps: list[Callable[[], None]] = [history.edit, history.move, history.lose, history.meet]
        try:
            for step in chance.choices(steps, [8, 2, 0.3, 6], k=chance.randint(4, 14)):
                step()
            history.end()
        except (AssertionError, SyncronError) as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        shutil.rmtree(memory / str(seed))
