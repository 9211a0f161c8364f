"""The benchmarks run, at a tiny scale. What they measure here means nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import data
from benchmarks.rows import ROWS, SLOW, Row
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


def traits(row: Row) -> set[object]:
    """What a row does, its tree apart: trees have tests of their own."""
    first: set[object] = {row.direction, row.start, row.change, row.link, row.options}
    first |= {row.rsync_options, ("sealed", row.sealed)}
    return first | set(row.references)


def telling_rows() -> list[Row]:
    """Few rows that do together all that any row does."""
    found: list[Row] = []
    missing = set[object]().union(*map(traits, ROWS))
    while missing:
        row = max(ROWS, key=lambda row: len(traits(row) & missing))
        found.append(row)
        missing -= traits(row)
    return found


def test_every_row_and_program_is_listed() -> None:
    said = bench("--list").stdout
    assert re.findall(r"^([a-z0-9-]+) ", said, re.MULTILINE)[: len(ROWS)] == [
        row.name for row in ROWS
    ]
    programs = {
        f"benchmarks.{path.stem}"
        for path in (TOP / "benchmarks").glob("[a-z]*.py")
        if "__main__" in path.read_text()
    }
    assert set(re.findall(r"^python -m (\S+)", said, re.MULTILINE)) == programs
    assert "Unison" in said


def test_both_ways_are_measured_against_unison() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.two_way", "--scale", "0.002", "--runs", "1"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()[2:]] == [
        "| first synchronisation",
        "| nothing to do",
        "| 100 changes on each side",
    ]


def test_rows_of_every_kind_run_and_are_checked(tmp_path: Path) -> None:
    rows = telling_rows()
    names = [row.name for row in rows]
    figures = tmp_path / "figures.json"
    done = bench(*names, "--scale", "0.001", "--runs", "1", "--bare-shell", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text())
    assert [each["row"] for each in result["rows"]] == names
    for row, each in zip(rows, result["rows"], strict=True):
        by_tool = {tool["tool"]: tool for tool in each["tools"]}
        rsync = " ".join(("rsync", *row.options, *row.rsync_options))
        assert {"syncron", rsync} <= by_tool.keys()
        assert len(by_tool) == 2 + len(row.references) + row.sealed
        assert f"| {row.name} | syncron | " in done.stdout
        for tool in ("syncron", rsync):
            # What the tools say of content fits what was counted on the wire.
            sent = by_tool[tool]["bytes_up"] + by_tool[tool]["bytes_down"]
            assert by_tool[tool]["literal"] < 20 * sent
            assert sent > 4_000
            assert by_tool[tool]["loads"]["client"]["peak"] > 1_000_000
            assert by_tool[tool]["loads"]["ssh"]["cpu"] < 10


def test_runs_make_one_table_in_a_document(tmp_path: Path) -> None:
    names = ("tiny-nothing", "tiny", "tiny")
    files = [tmp_path / str(number) for number in range(len(names))]
    document = tmp_path / "document.md"
    document.write_text(
        "before\n<!-- benchmarks: begin -->\nold\n<!-- benchmarks: end -->\nafter\n"
    )
    for number, (name, file) in enumerate(zip(names, files, strict=True)):
        seen = {"bytes_up": 5_000, "bytes_down": 49_990_000, "literal": 999}
        kinds = ("client", "local_helper", "remote", "ssh")
        loads = {kind: {"peak": 1e7 * at, "cpu": 0.5 * at} for at, kind in enumerate(kinds)}
        tools = [
            {"tool": tool, "seconds": seconds, "loads": loads, **seen}
            for tool, seconds in (("syncron", [number + 1, 0.5, 9]), ("rsync", [4, 4, 4]))
        ]
        row = {"row": name, "at_most": 1.0, "literal_at_most": None, "tools": tools}
        around = {"syncron": "S", "rsync": "R", "python": "3", "cores": 2, "cipher": "C"}
        options = {"runs": 3, "scale": 1, "place": "memory"}
        file.write_text(json.dumps({**around, **options, "rows": [row]}))
    done = bench(*(f"--from={file}" for file in files), f"--into={document}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rest = "5.00 kB + 50.0 MB | 999 B | 0 / 10 / 20 MB | 0.00 / 0.50 / 1.00 / 1.50 |"
    assert [line for line in lines if line.startswith("| tiny")] == [
        f"| tiny | syncron | 3.00 (0.50 to 9.00) | 0.75 | ≤ 1.0 | {rest}",
        f"| tiny | rsync | 4.00 (4.00 to 4.00) | 1.00 |  | {rest}",
        f"| tiny-nothing | syncron | 1.00 (0.50 to 9.00) | 0.25 | ≤ 1.0 | {rest}",
        f"| tiny-nothing | rsync | 4.00 (4.00 to 4.00) | 1.00 |  | {rest}",
    ]
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert done.stdout in text
    assert "old" not in text


def test_a_slow_link_is_slow(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = bench("tiny-slow", "--runs", "1", "--tools", "ssh", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    (session,) = json.loads(figures.read_text())["rows"][0]["tools"]
    # Connecting, versions, two exchanges for keys, two to log in, one to run a command.
    assert session["seconds"][0] > 6 * 2 * SLOW.delay


def test_a_shipped_helper_is_measured_too() -> None:
    done = bench("tiny", "--runs", "1", "--shipped", "--bare-shell", "--tools", "syncron")
    assert done.returncode == 0, done.stderr
    assert "| tiny | syncron, shipped | " in done.stdout


def test_a_tool_that_does_nothing_is_found_out() -> None:
    done = bench("tiny", "--runs", "1", "--syncron", "true", "--tools", "syncron")
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


def test_an_edited_file_keeps_what_lies_between_the_edits(tmp_path: Path) -> None:
    top = tmp_path / "top"
    data.noise(top, 0.002)
    before = (top / "noise").read_bytes()
    data.scatter(top, 0)
    after = (top / "noise").read_bytes()
    assert len(before) < len(after) <= len(before) + 10 * 2000
    # A block of an edit or insertion is lost, one that moved is found again.
    blocks = [before[at : at + 1000] for at in range(0, len(before), 1000)]
    lost = sum(block not in after for block in blocks)
    assert 90 < lost < 230


def test_a_renamed_archive_is_the_same_below(tmp_path: Path) -> None:
    data.archive(tmp_path / "top", 0.001)
    before = trees.read(tmp_path / "top/archive")
    data.rename(tmp_path / "top", 0)
    data.rename(tmp_path / "top", 1)
    assert [each.name for each in (tmp_path / "top").iterdir()] == ["archive-1"]
    assert trees.differences(before, trees.read(tmp_path / "top/archive-1")) == []


def test_the_latency_of_hot_runs_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hot", "--files", "500", "--runs", "1"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("|")[1].strip() for line in lines[3:]] == ["full", "--hot"]
