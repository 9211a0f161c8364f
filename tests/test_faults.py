"""The table of faults names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROWS = [
    line
    for line in (TESTS.parent / "docs/faults.md").read_text().splitlines()
    if line.startswith("|") and ".py`" in line
]


def what(row: str) -> str:
    return row.split("|")[1].strip()


def test_there_are_rows() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=what)
def test_every_row_names_tests(row: str) -> None:
    named = re.findall(r"`(?:([a-z0-9]+/test_\w+\.py)|(test_\w+))`", row.split("|")[-2])
    there: set[str] = set()
    count = 0
    for file, name in named:
        if file:
            tree = ast.parse((TESTS / file).read_text())
            there = {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
        else:
            assert name in there, name
            count += 1
    assert count
