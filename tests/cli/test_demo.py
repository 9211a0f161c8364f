"""The demo: the whole story against a real SSH server, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_demo_shows_every_kind_of_run_and_leaves_nothing(
    syncron: Run, tmp_path: Path, home: Path
) -> None:
    done = syncron("--demo", environ={"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    commands = [line for line in done.stdout.splitlines() if line.startswith("$ syncron ")]
    assert len(commands) == 8
    assert "\n*deleting   2024/blurred.raw\n" in done.stdout
    assert "\nNothing to do for 9 entries" in done.stdout
    assert "\nEqual: 9 entries" in done.stdout
    assert "(exit 9)" in done.stdout
    assert '"message_type": "summary"' in done.stdout
    assert os.listdir(tmp_path) == []
    assert os.listdir(home) == []


def test_without_a_server_program_it_says_what_to_install(syncron: Run, tmp_path: Path) -> None:
    done = syncron("--demo", environ={"PATH": str(tmp_path), "TMPDIR": str(tmp_path)})
    if done.returncode == 0:  # found where systems keep it
        assert "Done;" in done.stdout
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert "apt install openssh-server" in done.stderr
