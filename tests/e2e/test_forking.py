"""The command forked for each run: an answer belongs to the run that it was asked of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.forking import Forked
from tests.trees import make


def test_a_run_that_hangs_answers_for_no_other(tmp_path: Path) -> None:
    make(tmp_path / "src", {"f": b"f"})
    forked = Forked(tmp_path, patience=2)
    try:
        with pytest.raises(AssertionError, match="it hangs"):
            forked("--before", "sleep 2.5; exit 7", tmp_path / "src", tmp_path / "dst")
        for code, option in ((0, "--version"), (1, "--no-such-option")):
            assert forked(option).code == code
    finally:
        forked.close()
