"""The command as a process: exit statuses, hostile surroundings, signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from syncron_lib.cli.jobs.occasion import unexpected
from syncron_lib.cli.main import gravest, home_directory
from syncron_lib.cli.output import Output
from syncron_lib.errors import Exit

Run = Callable[..., "subprocess.CompletedProcess[str]"]

CHECKOUT = Path(__file__).parents[2]


def in_shell(line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``line`` with ``$S`` as the command."""
    return subprocess.run(
        ["/bin/sh", "-c", line],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "S": f"{sys.executable} -m syncron",
             **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip


def test_a_usage_error_is_one_sentence_and_exit_1(syncron: Run) -> None:
    done = syncron("--frobnicate", "a", "b")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("syncron: Unknown option '--frobnicate'")
    assert done.stderr.count("\n") == 1


def test_a_usage_error_after_json_is_a_summary_too(syncron: Run) -> None:
    done = syncron("--json", "--frobnicate", "a", "b")
    summary = json.loads(done.stdout)
    assert done.returncode == summary["exit_code"] == 1
    assert summary["message_type"] == "summary"
    assert "--frobnicate" in summary["errors"][0]["message"]


def test_a_broken_configuration_is_exit_1_with_its_line(syncron: Run, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("jobs:\n  j:\n    sorce: x\n")
    done = syncron("--config", str(config), "--job", "j")
    assert done.returncode == 1
    assert done.stderr == (
        f'syncron: {config}:3: jobs.j.sorce: unknown key; did you mean "source"?\n'
    )


def test_an_escape_in_an_option_does_not_reach_the_terminal(syncron: Run) -> None:
    done = syncron("--x\x1b[2J\udcff", "a", "b")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr


def test_version_and_help_go_to_standard_output(syncron: Run) -> None:
    assert syncron("--version").stdout.startswith("syncron 0.")
    done = syncron("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: syncron [OPTIONS] SRC... DST")


@pytest.mark.parametrize(
    "line",
    [
        "$S --help | head -n 1",
        "$S --help >&-",
        "$S --help >&- 2>&- <&-",
        "$S --help >/dev/null 2>&-",
        "env -u HOME $S --help >/dev/null",
        "env -u HOME -u XDG_CONFIG_HOME -u LC_ALL LANG=C $S --help >/dev/null",
        "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $S --help >/dev/null",
        "TERM=dumb $S --help >/dev/null",
    ],
)
def test_surroundings_that_are_no_reason_to_fail(line: str, tmp_path: Path) -> None:
    done = in_shell(f"cd {tmp_path} && {line}")
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []


def test_an_error_in_an_ascii_locale_is_still_a_sentence() -> None:
    done = in_shell("$S --jöb", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 1
    assert done.stderr.startswith("syncron: Unknown option '--j")


def test_a_full_disk_under_the_output_is_told(tmp_path: Path) -> None:
    done = in_shell("$S --help >/dev/full")
    assert done.stderr == "syncron: cannot write the output: No space left on device.\n"


def test_no_home_and_no_account_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home_directory({"HOME": "/h"}) == "/h"
    assert home_directory({"HOME": "~"}) not in ("~", None)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert home_directory({}) is None


def test_the_gravest_of_several_jobs_decides() -> None:
    assert gravest([]) == 0
    assert gravest([0, 24, 0]) == 24
    assert gravest([24, 23]) == 23
    assert gravest([23, 12, 11]) == 11
    assert gravest([7, 130]) == 130
    assert gravest([0, 6]) == 6
    assert {gravest([each, each]) for each in Exit} == set(Exit)


def test_what_nobody_foresaw_is_a_sentence_that_names_it() -> None:
    error = unexpected(KeyError("x"))
    assert error.exit_code == Exit.FILE_FATAL
    assert "KeyError: 'x'" in error.message
    assert "SYNCRON_DEBUG=1" in error.message


def test_a_reader_that_goes_away_takes_nothing_but_the_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(os.fdopen(writing, "w"))
    for _ in range(3):
        output.write("x" * 100_000)
        output.flush()
    assert output.failure is None
    assert output.stream is None
