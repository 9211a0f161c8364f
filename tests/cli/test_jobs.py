"""Jobs as a timer runs them: several at once, hooks, limits, tries, and what is said of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Path]:
    """Writes jobs from ``src`` to a directory of the job's name, with further lines."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").write_text("content")

    def write(**jobs: str) -> Path:
        lines = ["jobs:"]
        for name, more in jobs.items():
            lines += [f"  {name}:", "    source: src", f"    destination: {name}"]
            lines += [f"    {line}" for line in more.splitlines()]
        config = tmp_path / "config.yaml"
        config.write_text("\n".join(lines) + "\n")
        return config

    return write


def test_all_jobs_run_whatever_becomes_of_one(
    syncron: Run, configured: Callable[..., Path], tmp_path: Path
) -> None:
    config = configured(one="", two="before: exit 3", three="")
    done = syncron("--config", config, "--all-jobs")
    assert done.returncode == 3
    assert done.stderr == (
        "syncron: two: --before ended with status 3, and nothing was done; it runs: exit 3\n"
    )
    assert (tmp_path / "one/file").exists()
    assert not (tmp_path / "two").exists()
    assert (tmp_path / "three/file").exists()


def test_several_names_follow_job_and_all_are_known_before_the_first_runs(
    syncron: Run, configured: Callable[..., Path], tmp_path: Path
) -> None:
    config = configured(one="", two="", three="")
    assert syncron("--config", config, "--job", "one", "two").returncode == 0
    assert (tmp_path / "one").exists() and (tmp_path / "two").exists()
    done = syncron("--config", config, "--job", "three", "four")
    assert done.returncode == 1
    assert "there is no job 'four'; it has: one, two, three" in done.stderr
    assert not (tmp_path / "three").exists()


def test_hooks_run_around_and_learn_how_it_went(
    syncron: Run, configured: Callable[..., Path], tmp_path: Path
) -> None:
    show = (
        'echo "$SYNCRON_HOOK $SYNCRON_JOB ${SYNCRON_EXIT_CODE-none} ${SYNCRON_RESULT-none}'
        f' ${{SYNCRON_CREATED-none}}" >> {tmp_path}/heard'
    )
    hooks = f"before: '{show}'\nafter: '{show}'\non-error: '{show}'"
    config = configured(good=hooks, bad=f"max-delete: 0\ndelete: true\n{hooks}")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/extra").touch()
    assert syncron("--config", config, "--all-jobs").returncode == 25
    assert (tmp_path / "heard").read_text().splitlines() == [
        "before good none none none",
        "after good 0 success 1",
        "before bad none none none",
        "after bad 25 failure 0",
        "on-error bad 25 failure 0",
    ]


def test_a_hook_can_put_the_run_off_without_failing(
    syncron: Run, configured: Callable[..., Path], tmp_path: Path
) -> None:
    config = configured(job=f"before: exit 75\nafter: touch {tmp_path}/after")
    done = syncron("--config", config, "--job", "job")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "job").exists() and not (tmp_path / "after").exists()
    done = syncron("--config", config, "--job", "job", "-v")
    assert done.stdout == "Put off by --before (it ended with 75): exit 75\n"
    done = syncron("--config", config, "--job", "job", "--json")
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["message_type"], summary["exit_code"]) == ("summary", 0)
    assert summary["put_off"].startswith("Put off by --before")
    assert "put off" in syncron("--config", config, "--list-jobs").stdout


def test_a_hook_that_fails_afterwards_makes_the_run_fail(
    syncron: Run, configured: Callable[..., Path], tmp_path: Path
) -> None:
    config = configured(job="after: echo said; exit 4\non-error: exit 5")
    done = syncron("--config", config, "--job", "job", "--json")
    assert done.returncode == json.loads(done.stdout.splitlines()[-1])["exit_code"] == 23
    warnings = [json.loads(line) for line in done.stdout.splitlines()]
    told = [each["message"] for each in warnings if each["message_type"] == "warning"]
    assert [text.split(" ended")[0] for text in told] == ["--after", "--on-error"]
    assert done.stderr == "said\n"
    assert (tmp_path / "job/file").exists()


def test_a_dry_run_runs_no_hook_and_is_no_history(
    syncron: Run, configured: Callable[..., Path], tmp_path: Path
) -> None:
    config = configured(job=f"before: touch {tmp_path}/before\nafter: touch {tmp_path}/after")
    assert syncron("--config", config, "--job", "job", "-n").returncode == 0
    assert not (tmp_path / "before").exists() and not (tmp_path / "after").exists()
    assert "never" in syncron("--config", config, "--list-jobs").stdout


def test_a_signal_ends_the_hook_and_the_others_still_run(
    configured: Callable[..., Path], tmp_path: Path
) -> None:
    config = configured(
        job=f"before: 'touch {tmp_path}/ready; sleep 60'\nafter: touch {tmp_path}/after"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "syncron", "--config", config, "--job", "job"],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    assert "Ended by SIGTERM" in error
    assert (tmp_path / "after").exists()


def test_a_run_that_takes_too_long_is_ended_and_the_next_job_has_its_own_time(
    syncron: Run, configured: Callable[..., Path], tmp_path: Path
) -> None:
    config = configured(
        slow=f"before: sleep 30\nmax-duration: 0.3\non-error: 'touch {tmp_path}/heard'",
        quick="max-duration: 1h",
    )
    start = time.monotonic()
    done = syncron("--config", config, "--all-jobs")
    assert time.monotonic() - start < 10
    assert done.returncode == 30
    assert "slow: Ended after 0.3 s, as --max-duration says" in done.stderr
    assert (tmp_path / "heard").exists()
    assert (tmp_path / "quick/file").exists()


def test_a_transfer_that_takes_too_long_is_ended_in_order(syncron: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/large").write_bytes(os.urandom(4 << 20))
    done = syncron(
        *("--bwlimit=100", "--max-duration=1.5", "--remote-python", sys.executable),
        *("-e", f"{tmp_path}/sh", tmp_path / "src", f"host:{tmp_path}/dst"),
        environ={"PATH": os.environ["PATH"], "SH": _no_ssh(tmp_path)},
    )
    assert done.returncode == 30, done.stderr
    assert "as --max-duration says" in done.stderr
    done = syncron(tmp_path / "src", tmp_path / "dst")
    assert (done.returncode, done.stderr) == (0, "")


def _no_ssh(tmp_path: Path) -> str:
    """A program for ``-e`` that runs the command here."""
    program = tmp_path / "sh"
    program.write_text(
        '#!/bin/sh\nwhile [ "$1" != host ]; do shift; done; shift; exec sh -c "$*"\n'
    )
    program.chmod(0o755)
    return str(program)


def test_the_network_is_tried_again_and_nothing_else_is(syncron: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    start = time.monotonic()
    done = syncron(
        *("--retries=2", "--retry-wait=0.2", tmp_path / "src", f"ssh://127.0.0.1:{port}/x")
    )
    assert time.monotonic() - start > 0.6
    assert done.returncode == 255
    assert done.stderr.count("refuses connections") == 3
    assert "Trying again in 0.2 s (2 more tries)." in done.stderr
    assert "Trying again in 0.4 s (1 more try)." in done.stderr
    done = syncron("--retries=2", tmp_path / "nowhere", tmp_path / "dst")
    assert done.returncode == 3
    assert "Trying again" not in done.stderr


def test_a_connection_that_works_at_the_second_try_is_a_success(
    syncron: Run, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").write_text("content")
    real = _no_ssh(tmp_path)
    flaky = tmp_path / "flaky"
    flaky.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/tried ] && exec {real} "$@"\n'
        f"touch {tmp_path}/tried\nexit 255\n"
    )
    flaky.chmod(0o755)
    words = ("-e", flaky, "--remote-python", sys.executable)
    done = syncron(
        *words, "--retries=1", "--retry-wait=0", tmp_path / "src", f"host:{tmp_path}/dst"
    )
    assert (done.returncode, done.stderr.count("Trying again")) == (0, 1), done.stderr
    assert (tmp_path / "dst/file").exists()


def test_a_refused_key_is_not_tried_again(syncron: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    program = tmp_path / "refuse"
    program.write_text(
        f"#!/bin/sh\necho tried >> {tmp_path}/tried\n"
        "echo 'host: Permission denied (publickey).' >&2; exit 255\n"
    )
    program.chmod(0o755)
    done = syncron("-e", program, "--retries=3", "--retry-wait=0", tmp_path / "src", "host:x")
    assert done.returncode == 255
    assert (tmp_path / "tried").read_text() == "tried\n"


def test_priority_is_that_of_the_hook_and_of_helpers(syncron: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    nice = max(7, os.getpriority(os.PRIO_PROCESS, 0))
    show = f"{{ nice; ionice; }} > {tmp_path}/shown"
    done = syncron(
        *(
            "--nice=7",
            "--ionice=best-effort:6",
            "--before",
            show,
            tmp_path / "src",
            tmp_path / "dst",
        )
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "shown").read_text() == f"{nice}\nbest-effort: prio 6\n"


def test_jobs_are_listed_with_their_last_result(
    syncron: Run, configured: Callable[..., Path]
) -> None:
    config = configured(good="", bad="before: exit 1", new="")
    syncron("--config", config, "--job", "good", "bad")
    lines = syncron("--config", config, "--list-jobs").stdout.splitlines()
    assert lines[0].split() == "JOB LAST RUN RESULT NEXT RUN SOURCE DESTINATION".split()
    good, bad, new = (line.split() for line in lines[1:])
    assert good[0] == "good" and good[3] == "ok,"
    assert bad[0] == "bad" and bad[3:5] == ["failed", "(3)"]
    assert new[:3] == ["new", "never", "-"]


def test_the_configuration_is_checked(syncron: Run, configured: Callable[..., Path]) -> None:
    config = configured(one="", two="")
    done = syncron("--config", config, "--check-config")
    assert (done.returncode, done.stdout) == (0, f"{config}: ok\n2 jobs: one, two\n")
    config = configured(one="", two="copy-dest: a\nlink-dest: b")
    done = syncron("--config", config, "--check-config")
    assert done.returncode == 1
    assert f"{config}: jobs.two: --link-dest and --copy-dest exclude each other" in done.stderr
    done = syncron("--check-config")
    assert done.returncode == 1 and "there is no configuration" in done.stderr
    done = syncron("--check-config", "--all-jobs")
    assert done.returncode == 1 and "exclude each other" in done.stderr
