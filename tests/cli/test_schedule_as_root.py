"""Schedules installed for real, in a mount namespace: cron runs the job, systemd is told of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").write_text("content")
    (tmp_path / "there").mkdir()
    file = tmp_path / "con fig%.yaml"
    file.write_text(
        "jobs:\n"
        "  push: {source: src, destination: 'host:x'}\n"
        "  local: {source: src, destination: there}\n"
    )
    return file


CRON = """\
set -e
mount -t tmpfs tmpfs /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
mount -t tmpfs tmpfs /run
echo '5 5 * * 1 true' | crontab -
"$@" --install-schedule local --every=1min
crontab -l
"$@" --list-jobs
cron -f &
for i in $(seq 650); do [ -e there/file ] && break; sleep 0.1; done
kill $!
"$@" --remove-schedule local
crontab -l
"$@" --remove-schedule local || echo "refused: $?"
"""


@pytest.mark.timeout(150)
def test_a_real_cron_daemon_runs_the_job(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "syncron", "--config", str(config)]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environ["PATH"] += ":/usr/sbin:/sbin"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", CRON, "sh", *command],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (tmp_path / "there/file").exists(), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Added to the crontab: * * * * * ")
    assert lines[1:3] == ["5 5 * * 1 true", "# syncron job local"]
    assert lines[3].startswith("* * * * * ") and r"con fig\%.yaml" in lines[3]
    listed = next(line for line in lines if line.startswith("local "))
    assert time.strftime("%Y-%m-%d") in listed
    assert lines[-3:] == ["The schedule of local is removed.", "5 5 * * 1 true", "refused: 1"]


SYSTEMD = """\
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/bin
mount -t tmpfs tmpfs /etc/systemd/system
# systemd itself cannot run here; what it would be told is.
printf '%s\\n' '#!/bin/sh' 'echo "$*" >> told' \
    '[ "$1" = show ] && echo "Sat 2030-01-05 04:00:00 UTC"; exit 0' > /run/bin/systemctl
chmod +x /run/bin/systemctl
PATH=/run/bin:$PATH
"$@" --install-schedule push --every=1h
ls /etc/systemd/system
"$@" --list-jobs | grep '^push '
"$@" --remove-schedule push
ls /etc/systemd/system
"""


def test_systemd_is_told_of_what_is_installed_and_removed(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "syncron", "--config", str(config)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", SYSTEMD, "sh", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "Wrote /etc/systemd/system/syncron-push.service",
        "Wrote /etc/systemd/system/syncron-push.timer",
        "syncron-push.service",
        "syncron-push.timer",
    ]
    assert "2030-01-05 04:00" in lines[4]
    assert lines[5:] == ["The schedule of push is removed."]
    assert (tmp_path / "told").read_text().splitlines() == [
        "daemon-reload",
        "enable --now syncron-push.timer",
        "show --value -p NextElapseUSecRealtime syncron-push.timer",
        "disable --now syncron-push.timer",
        "daemon-reload",
    ]
