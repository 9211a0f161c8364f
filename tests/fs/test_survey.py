"""A tree of which little changed: what was looked at is known to be so, and the rest is as if it
had been read."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core import digest
from syncron_lib.core.options import RuleOptions
from syncron_lib.fs.arrivals import Arrivals
from syncron_lib.fs.contents import Contents
from syncron_lib.fs.hashing import FileHasher
from syncron_lib.fs.ledger import Ledger
from syncron_lib.fs.mounts import Stagings
from syncron_lib.fs.root import Root
from syncron_lib.fs.survey import Survey
from syncron_lib.fs.tree import Node, Unread
from tests.core.tables import ALL
from tests.fs.roots import (
    XXH3,
    as_user,
    hash_all,
    killed_children,
    opened,
    public_directory,
    remember,
    scanned,
    settle,
    state_of,
)
from tests.trees import make, noise

_WIDE: dict[str, Any] = {
    f"d{one}": {f"e{two}": {f"f{three}": b"%d" % three for three in range(4)} for two in range(9)}
    for one in range(12)
} | {
    "empty": {"in": {"it": {}}},
    "odd\n\xff!": {"d": {"f": b"x"}},
    "kept": {"file": b"one", "deep": {"er": {"file": b"two"}}},
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make(tmp_path / "tree", _WIDE)
    (tmp_path / "tree" / "link").symlink_to("kept/file")
    remember(tmp_path / "tree")
    return tmp_path / "tree"


def _forget_marks(root: Root) -> None:
    """Have the next scan look at everything."""
    with contextlib.closing(sqlite3.connect(os.fsdecode(state_of(root).path))) as db, db:
        db.execute("UPDATE directory SET mark=x''")


def _shown(root: Root) -> list[tuple[object, ...]]:
    def fields(node: Node) -> tuple[object, ...]:
        return (
            *(node.path, node.stats, bytes(node.digests), node.targets, node.excluded, node.scope),
            *(node.merkle, node.attributes, node.identity, node.problem, node.row),
            *(node.own_entries, node.own_size, node.entries, node.size, node.holds, node.plain),
            node.parent and node.parent.path,
        )

    return sorted(fields(node) for node in root.tree.nodes.values())


def _seen(path: Path, **choice: Any) -> tuple[bytes, list[tuple[object, ...]], bool]:
    """The root's digest, the nodes, and whether some of them were left unread at first."""
    with scanned(path, **choice) as root:
        unread = isinstance(root.tree.nodes, Unread)
        value = root.seal(XXH3, ALL)
        owners = root.users, root.groups
        shown = _shown(root)
        assert owners == (root.users, root.groups)
        return value, shown, unread


def _require_same(path: Path, unread: bool = True, **choice: Any) -> None:
    """See that a scan that may leave something unread sees what one sees that reads all."""
    value, shown, was_unread = _seen(path, **choice)
    with opened(path, **choice) as root:
        _forget_marks(root)
    plain, others, never = _seen(path, **choice)
    assert not never
    assert shown == others
    assert value == plain
    assert was_unread == unread


def test_of_an_unchanged_tree_only_the_top_is_read(tree: Path) -> None:
    with scanned(tree) as root:
        assert len(root.tree.present()) == 1 + len(_WIDE)
        assert root.tree.root.merkle != digest.UNKNOWN
        assert root.tree.root.entries == sum(len(d) + len(f) for _, d, f in os.walk(tree))
        assert root.changes()[1] == []
    _require_same(tree)


def _swap(tree: Path) -> None:
    (tree / "d1").rename(tree / "x")
    (tree / "d2").rename(tree / "d1")
    (tree / "x").rename(tree / "d2")


def _replace_directory(tree: Path) -> None:
    shutil.rmtree(tree / "d3" / "e3")
    make(tree / "d3" / "e3", {"f0": b"0", "other": {"below": b"1"}})


def _put_file(tree: Path) -> None:
    shutil.rmtree(tree / "d1")
    (tree / "d1").touch()


def _put_link(tree: Path) -> None:
    (tree / "d1").rename(tree.parent / "d1")
    (tree / "d1").symlink_to(tree.parent / "d1")


def _turn_link(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("empty")


def _put_back(tree: Path) -> None:
    st = os.stat(tree / "d4/e4/f1")
    (tree / "d4/e4/f1").write_bytes(b"!")
    os.utime(tree / "d4/e4/f1", ns=(st.st_atime_ns, st.st_mtime_ns))


_CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda tree: (tree / "d0/e0/f0").write_bytes(b"more than before"),
    "edited at the same size and time": _put_back,
    "touched": lambda tree: os.utime(tree / "kept/deep/er/file"),
    "mode": lambda tree: (tree / "d5/e1/f2").chmod(0o600),
    "mode of a directory": lambda tree: (tree / "d5/e1").chmod(0o700),
    "mode of the root": lambda tree: tree.chmod(0o700),
    "new file": lambda tree: (tree / "d6/new").write_bytes(b"new"),
    "new file at the top": lambda tree: (tree / "new").write_bytes(b"new"),
    "new directories": lambda tree: make(tree / "d6/new", {"a": {"b": {"c": b"d"}}}),
    "deleted": lambda tree: (tree / "d7/e7/f3").unlink(),
    "deleted directory": lambda tree: shutil.rmtree(tree / "d7"),
    "renamed": lambda tree: (tree / "d8/e0").rename(tree / "d9/other"),
    "swapped": _swap,
    "another directory": _replace_directory,
    "file for a directory": _put_file,
    "link for a directory": _put_link,
    "other target": _turn_link,
    "special": lambda tree: os.mkfifo(tree / "d2/fifo"),
    "rules": lambda tree: (tree / "d2/.syncronignore").write_text("f1\n"),
    "rules at the top": lambda tree: (tree / ".syncronignore").write_text("f1\n"),
    "what is ours": lambda tree: (tree / ".syncron").mkdir(),
}


@pytest.mark.parametrize("what", _CHANGES)
@pytest.mark.parametrize("reading", [True, False])
def test_each_change_is_seen(tree: Path, what: str, reading: bool) -> None:
    _CHANGES[what](tree)
    settle()
    _require_same(tree, unread=what != "rules at the top", reading=reading)


@pytest.mark.parametrize("seed", range(6))
def test_many_changes_are_seen_run_after_run(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    for turn in range(4):
        for what in chance.sample(sorted(_CHANGES), 5):
            with contextlib.suppress(OSError):
                _CHANGES[what](tree)
        value = remember(tree)
        with opened(tree) as root:
            rows = list(state_of(root).rows())
            assert state_of(root).marks() == {row.path: row.mark() for row in rows if row.mark()}
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / f"other{turn}"))
            assert remember(tree) == value


_OTHERWISE: dict[str, dict[str, Any]] = {
    "excludes": {"rules": RuleOptions(patterns=(b"- f1",))},
    "git": {"rules": RuleOptions(gitignore=True)},
    "one file system": {"rules": RuleOptions(one_file_system=True)},
    "nothing is believed": {"trust_state": False},
}


@pytest.mark.parametrize("how", _OTHERWISE)
def test_what_more_than_columns_decides_is_read(tree: Path, how: str) -> None:
    (tree / "d2/.gitignore").write_text("f1\n")
    remember(tree)
    _require_same(tree, unread=False, **_OTHERWISE[how])


@pytest.mark.parametrize("how", ["excludes", "git"])
def test_what_rules_left_out_is_there_without_them(tree: Path, how: str) -> None:
    (tree / "d2/.gitignore").write_text("f1\n")
    remember(tree, **_OTHERWISE[how])
    _require_same(tree, unread=how == "git")


def test_where_much_changed_all_is_scanned(tree: Path) -> None:
    for path in tree.rglob("f2"):
        os.utime(path)
    settle()
    _require_same(tree, unread=False)


@pytest.mark.parametrize("shared", [True, False])
def test_two_see_what_one_sees(tree: Path, shared: bool) -> None:
    for what in ("edited", "new directories", "deleted"):
        _CHANGES[what](tree)
    with opened(tree) as root:
        assert root.directories is not None
        marks = state_of(root).marks()
        told: list[int] = []
        survey = Survey(root.directories, marks, lambda done, _: told.append(done), lambda: shared)
        changed = frozenset({b"d0/e0", b"d6", b"d6/new", b"d6/new/a", b"d6/new/a/b", b"d7/e7"})
        # The top shows other times of what is in it, and so on.
        assert survey.changed() == changed | {b"", b"d7"}


def test_a_second_process_that_is_killed_costs_nothing(tree: Path) -> None:
    (tree / "d11/e8/f0").write_bytes(b"edited")
    settle()
    with killed_children():
        _require_same(tree)


def test_what_cannot_be_read_is_a_problem_as_ever() -> None:
    with public_directory() as top:
        make(top / "tree", _WIDE)
        for path in (top / "tree", *(top / "tree").rglob("*")):
            path.chmod(0o777)

        def look() -> None:
            os.environ["XDG_STATE_HOME"] = str(top / "state")
            os.environ["HOME"] = str(top)
            remember(top / "tree")

        def look_again() -> None:
            os.environ["XDG_STATE_HOME"] = str(top / "state")
            _require_same(top / "tree")
            with scanned(top / "tree") as root:
                assert [node.path for node in root.tree.present() if node.problem] == [b"d3"]

        as_user(look)
        (top / "tree/d3").chmod(0)
        as_user(look_again)


@contextlib.contextmanager
def _damaged(tree: Path, statement: str) -> Iterator[None]:
    with opened(tree) as root:
        path = os.fsdecode(state_of(root).path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
    yield


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE directory SET mark=x'00' WHERE key=CAST('d1' AS BLOB)",
        "UPDATE directory SET mark='text' WHERE key=CAST('d1' AS BLOB)",
        "UPDATE directory SET key='text' WHERE key=CAST('d1' AS BLOB)",
        "DELETE FROM directory WHERE key=CAST('d1' AS BLOB)",
    ],
)
def test_a_mark_that_is_lost_is_looked_for(tree: Path, statement: str) -> None:
    with _damaged(tree, statement):
        with scanned(tree) as root:
            assert hash_all(root) != digest.UNKNOWN
            first = _shown(root)
        with scanned(tree) as root:
            _forget_marks(root)
        with scanned(tree) as root:
            hash_all(root)
            assert _shown(root) == first


def test_content_is_found_in_what_was_left_unread(tmp_path: Path) -> None:
    make(tmp_path / "tree", {f"d{n}": {"below": {"file": noise(500 + n)}} for n in range(20)})
    remember(tmp_path / "tree", reading=False)
    with scanned(tmp_path / "tree", reading=False) as root:
        assert len(root.tree.present()) < 30
        directories = root.directories
        assert directories is not None
        hasher = FileHasher(root.tree, directories, XXH3, lambda _: None, root.real_name)
        ledger = Ledger(root.tree, directories)
        arrivals = Arrivals(Stagings(directories, ledger), XXH3)
        contents = Contents(directories, ledger, arrivals, XXH3)
        (found,) = contents.find({507}, hasher)
        assert found.size == 507
