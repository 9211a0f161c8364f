"""The demo: the whole story against a real SSH server, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from syncron_lib.cli.demo import program
from syncron_lib.errors import UsageError

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


def test_without_a_server_program_it_says_what_to_install() -> None:
    with pytest.raises(UsageError, match="no sshd-nowhere here: install OpenSSH"):
        program("sshd-nowhere")
    assert os.access(program("sshd"), os.X_OK)
