"""What the tests of the command line share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]

collect_ignore = [] if os.geteuid() == 0 else ["test_schedule_as_root.py"]
"""What only root can bring about is no test for anyone else."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def rsync_options() -> set[str]:
    """The long options that the installed rsync prints, without aliases that begin with --no-."""
    text = subprocess.run(["rsync", "--help"], capture_output=True, text=True, check=True).stdout
    found = {line.split()[0].rstrip(",") for line in text.splitlines() if line.startswith("--")}
    return {each.partition("=")[0] for each in found if not re.match("--(no-|NO)", each)}


@pytest.fixture
def syncron() -> Run:
    """Runs the command in a process of its own, as a shell would."""

    def run(*words: str | bytes, **more: Any) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), **more.pop("environ", {})}
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **more}
        return subprocess.run(
            [sys.executable, "-m", "syncron", *words],
            env={name: value for name, value in environ.items() if value is not None},
            stderr=given.pop("stderr", subprocess.PIPE),
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
            **given,
        )

    return run
