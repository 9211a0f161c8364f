"""A helper as a process, where nobody is at its other end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import syncron_lib.transport.first_stage as first_stage
from syncron_lib.errors import Exit

_CHECKOUT = Path(__file__).parents[2]
_MARKER = "0123456789abcdef"
_INSTALLED = [sys.executable, str(_CHECKOUT / "syncron.py"), "--serve"]
_SHIPPED = [sys.executable, "-I", "-c", Path(first_stage.__file__).read_text(), _MARKER]


@pytest.mark.parametrize(
    "words",
    [_INSTALLED, [*_SHIPPED, "0" * 64, "any:thing"]],
    ids=["installed", "shipped"],
)
def test_a_client_that_has_gone_is_told_nothing(words: list[str], tmp_path: Path) -> None:
    assert first_stage.GONE == Exit.CONNECTION
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=subprocess.PIPE,
            env={"SYNCRON_MARKER": _MARKER, "XDG_CACHE_HOME": str(tmp_path)},
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (Exit.CONNECTION, b"")
