"""Every page of both sides' states, flipped, zeroed and cut off: the run is right, deletes nothing,
and what was damaged is kept aside and built anew.

What a page is read as after that is `tests/fs/test_state.py`'s; here whole runs are made with it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from syncron_lib.errors import Exit, StateUnusable, SyncronError
from syncron_lib.fs.state import file_stem
from tests.deep import DEEP, part
from tests.session.test_run import Watcher, bring
from tests.trees import assert_same, make, noise

PAGE = 16384
Damage = Callable[[bytes, int], bytes]


def flipped(offset: int) -> Damage:
    """A byte of one page is another."""

    def damage(data: bytes, page: int) -> bytes:
        at = page * PAGE + offset
        return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]

    return damage


def zeroed(data: bytes, page: int) -> bytes:
    """One page is zeros."""
    return data[: page * PAGE] + bytes(PAGE) + data[(page + 1) * PAGE :]


def cut(data: bytes, page: int) -> bytes:
    """The file ends before one page."""
    return data[: page * PAGE]


def cut_within(data: bytes, page: int) -> bytes:
    """The file ends within one page."""
    return data[: page * PAGE + 100]


OFFSETS = range(0, PAGE, 2731) if DEEP else (5,)
DAMAGES: dict[str, list[Damage]] = {
    "flipped": [flipped(offset) for offset in OFFSETS],
    "zeroed": [zeroed],
    "cut": [cut, cut_within] if DEEP else [cut_within],
}
DIRECTORIES = 200 if DEEP else 60


def state_of(home: Path, root: Path) -> Path:
    """The state file of a root."""
    return home / "state/syncron" / f"{file_stem(os.fsencode(root)).decode()}.db"


@pytest.mark.parametrize("side", ["src", "dst"])
@pytest.mark.parametrize("how", DAMAGES)
def test_every_page(home: Path, tmp_path: Path, side: str, how: str) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"d{n:03}": {f"{m}": b"x%d" % n for m in range(8)} for n in range(DIRECTORIES)})
    large = bytearray(noise(300_000, seed=1))
    make(destination, {"mine": b"precious", "d000": {"mine": b"precious too"}})
    for number in range(2):
        large[number * 1000] ^= 0xFF
        (source / "large").write_bytes(large)
        bring([source], destination, whole_file=False)  # so that chunk lists are kept
    path = state_of(home, tmp_path / side)
    pages = path.stat().st_size // PAGE
    assert pages >= 5
    counts: Counter[str] = Counter()
    for damage in DAMAGES[how]:
        for page in part(range(pages)):
            whole = path.read_bytes()
            damaged = damage(whole, page) if len(whole) > page * PAGE + PAGE - 1 else whole[:-1]
            path.write_bytes(damaged)
            counts["runs"] += 1
            (source / "d001/0").write_bytes(b"new content %d" % counts["runs"])
            (source / f"d002/{counts['runs'] % 8}").unlink(missing_ok=True)
            large[counts["runs"] * 1000 % 300_000] ^= 0xFF
            (source / "large").write_bytes(large)
            watcher = Watcher()
            try:
                report = bring([source], destination, watcher, whole_file=False)
            except SyncronError as error:
                # Only what says that it is newer is left alone, and nothing is changed.
                assert error.exit_code == StateUnusable.exit_code, error.message
                assert "newer syncron" in error.message
                assert path.read_bytes() == damaged
                path.write_bytes(whole)
                counts["newer"] += 1
                continue
            assert report.exit_code == Exit.OK
            assert report.deleted == 0
            assert (destination / "mine").read_bytes() == b"precious"
            assert (destination / "d000/mine").read_bytes() == b"precious too"
            assert (destination / "large").read_bytes() == large
            aside = path.with_name(path.name + ".damaged")
            if watcher.warnings:
                (warning,) = watcher.warnings
                assert str(aside) in warning
                aside.unlink()
                counts["kept aside"] += 1
            assert not aside.exists()
    print(f"{side} {how}: {dict(counts)} of {pages} pages")
    if how != "flipped":
        assert counts["kept aside"] + 1 >= counts["runs"] // len(DAMAGES[how])
    shutil.rmtree(destination / "d002")  # the source's deletes, which were not asked for
    bring([source], destination, delete=True)
    assert_same(source, destination)
    assert bring([source], destination).bytes_hashed == 0
