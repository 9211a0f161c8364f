"""State is a cache and a memory, never a hostage: lost or damaged, it costs time and no file."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, MakeWay, Way, assert_copied, listing
from tests.sshd import Sshd
from tests.trees import make


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    """A flipped bit in every kilobyte."""
    content = bytearray(path.read_bytes())
    generator = random.Random(1)
    for start in range(0, len(content), 1024):
        content[start + generator.randrange(min(1024, len(content) - start))] ^= 0x10
    path.write_bytes(content)


def flip_behind_the_header(path: Path) -> None:
    """The same where only the rows are hit."""
    header = path.read_bytes()[: 1 << 14]
    flip(path)
    path.write_bytes(header + path.read_bytes()[1 << 14 :])


def other_tables(path: Path) -> None:
    version = sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0]
    path.unlink()
    database = sqlite3.connect(path)
    database.executescript(f"CREATE TABLE other(x); PRAGMA user_version={version};")
    database.close()


@pytest.mark.parametrize(
    "damage", [delete, truncate, empty, zero, flip, flip_behind_the_header, other_tables]
)
def test_damaged_state_costs_no_file(
    syncron: Command,
    home: Path,
    sshd: Sshd,
    make_way: MakeWay,
    tmp_path: Path,
    damage: Callable[[Path], None],
) -> None:
    way = make_way("push-installed")
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"d{n}": {f"{m}": b"x%d" % n for m in range(5)} for n in range(60)})
    make(destination, {"mine": b"precious"})
    shutil.rmtree(sshd.directory / "state", ignore_errors=True)
    syncron.ok(*way.words(source, destination))
    files = [*home.rglob("state/**/*.db"), *(sshd.directory / "state").rglob("*.db")]
    assert len(files) == 2
    for path in files:
        damage(path)
    (source / "d0/0").write_bytes(b"new content")
    (source / "d1/1").unlink()
    summary = syncron.ok(*way.words(source, destination))
    assert summary["deleted"] == 0
    assert (destination / "mine").read_bytes() == b"precious"
    assert (destination / "d1/1").exists()
    syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)
    assert syncron.ok(*way.words(source, destination))["bytes_hashed"] == 0


def test_state_of_a_newer_version_is_left_alone(
    syncron: Command, home: Path, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1"})
    syncron.ok(source, destination)
    for path in home.rglob("*.db"):
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version=9999")
        database.commit()
        database.close()
    (source / "a").write_bytes(b"2")
    before = listing(destination)
    contents = {path: path.read_bytes() for path in home.rglob("*.db")}
    ended = syncron("--json", source, destination)
    assert ended.code == 5
    assert "newer syncron" in ended.err
    assert listing(destination) == before
    assert {path: path.read_bytes() for path in home.rglob("*.db")} == contents


def test_a_root_that_was_put_back_from_a_backup(syncron: Command, way: Way, tmp_path: Path) -> None:
    """State that is newer than the tree it speaks of decides nothing."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1111", "d": {"b": b"2222"}})
    words = ("--delete", *way.words(source, destination))
    syncron.ok(*words)
    shutil.copytree(destination, tmp_path / "backup", symlinks=True)
    (source / "a").write_bytes(b"3333")
    make(source / "d/new", {"c": b"4"})
    syncron.ok(*words)
    shutil.rmtree(destination)
    os.rename(tmp_path / "backup", destination)
    syncron.ok(*words)
    assert_copied(source, destination)


def test_a_state_directory_that_cannot_be_written(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    (tmp_path / "state").write_bytes(b"a file is in the way")
    ended = syncron(
        "--json",
        tmp_path / "src",
        tmp_path / "dst",
        environ={"XDG_STATE_HOME": str(tmp_path / "state")},
    )
    assert ended.code == 5, ended.err
    assert not (tmp_path / "dst").exists()


def test_one_damaged_row_has_the_state_built_anew(
    syncron: Command, home: Path, tmp_path: Path
) -> None:
    """What was whole is taken over, so that only the damaged directory is read again."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"d{n}": {f"{m}": b"x%d" % n for m in range(5)} for n in range(10)})
    syncron.ok(source, destination)
    files = list(home.rglob("state/**/*.db"))
    assert len(files) == 2
    for path in files:
        with sqlite3.connect(path) as database:
            database.execute("UPDATE directory SET checksum = checksum + 1 WHERE key = x'6433'")
        database.close()
    summary = syncron.ok(source, destination)
    assert summary["bytes_hashed"] == 2 * 5 * 2
    for path in files:
        assert path.with_name(f"{path.name}.damaged").exists()
    assert syncron.ok(source, destination)["bytes_hashed"] == 0
