"""The benchmarks run: every row at a tiny scale. What they measure here means nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import data
from benchmarks.rows import ROWS
from tests import trees

TOP = Path(__file__).parent.parent


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_row_runs_and_is_checked() -> None:
    done = bench("--scale", "0.001", "--runs", "1")
    assert done.returncode == 0, done.stderr
    for row in ROWS:
        assert f"| {row.name} | syncron | " in done.stdout
        assert f"| {row.name} | {' '.join(('rsync', *row.rsync_options))} | " in done.stdout
    assert "Peak memory, nothing-1m" in done.stdout


def test_a_shipped_helper_is_measured_too() -> None:
    done = bench("tiny", "--runs", "1", "--shipped")
    assert done.returncode == 0, done.stderr
    assert "| tiny | syncron, shipped | " in done.stdout


def test_a_tool_that_does_nothing_is_found_out() -> None:
    done = bench("tiny", "--runs", "1", "--syncron", "true")
    assert done.returncode == 1
    assert "tiny FAILED" in done.stderr
    assert "| tiny |" not in done.stdout


def test_an_unknown_row_is_named() -> None:
    done = bench("tiny", "minuscule")
    assert done.returncode == 1
    assert "minuscule" in done.stderr


@pytest.mark.parametrize("generate", dict.fromkeys(row.generate for row in ROWS))
def test_trees_are_the_same_for_everyone(
    tmp_path: Path, generate: Callable[[Path, float], None]
) -> None:
    generate(tmp_path / "a", 0.001)
    generate(tmp_path / "b", 0.001)
    trees.assert_same(tmp_path / "a", tmp_path / "b")


def test_documents_are_as_large_as_they_say(tmp_path: Path) -> None:
    data.documents(tmp_path / "top", 0.01)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.txt")]
    assert len(sizes) == 1000
    assert 4_000 < sum(sizes) / len(sizes) < 5_000


def test_edits_change_a_hundred_files_each_turn(tmp_path: Path) -> None:
    data.documents(tmp_path / "top", 0.002)
    before = trees.read(tmp_path / "top")
    data.edit(tmp_path / "top", 0)
    once = trees.read(tmp_path / "top")
    data.edit(tmp_path / "top", 1)
    twice = trees.read(tmp_path / "top")
    for old, new in ((before, once), (once, twice)):
        changed = [line for line in trees.differences(old, new) if ": content" in line]
        assert len(changed) == 100
