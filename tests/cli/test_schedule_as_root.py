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
# Only what systemd is told; test_schedule_by_systemd.py has it carried out.
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


HOT = """\
set -e
mount -t tmpfs tmpfs /run
"$@" --install-schedule local --every=1h --hot || echo "without systemd: $?" > told
mkdir -p /run/systemd/system /run/bin
mount -t tmpfs tmpfs /etc/systemd/system
# A stand-in for systemd, which notes what it is told and can fail.
printf '%s\\n' '#!/bin/sh' 'echo "$*" >> told' '[ "$1" != "$(cat fails)" ]' > /run/bin/systemctl
chmod +x /run/bin/systemctl
PATH=/run/bin:$PATH
touch fails
units=/etc/systemd/system
path=$units/syncron-local-hot.path
step() { echo "-- $1" >> told; }
run() { sleep 0.06; "$@" --job local; }
step refused; "$@" --refresh-hot local || echo "refused: $?" >> told
mkdir src/a src/b
run "$@"
step 'nothing hot'; "$@" --install-schedule local --every=1h --hot
ls $units >> told
step 'still nothing'; "$@" --refresh-hot local
touch src/a/1; run "$@"
step 'one'; "$@" --refresh-hot local
grep PathChanged $path >> told
step 'the same'; "$@" --refresh-hot local
touch src/b/1; run "$@"; touch src/b/2; run "$@"
step 'another'; "$@" --refresh-hot local
grep PathChanged $path >> told
touch src/a/2; run "$@"; touch src/a/3; run "$@"; touch src/a/4; run "$@"
step 'another order'; "$@" --refresh-hot local
rm -r src/b
echo restart > fails
step 'fails'; "$@" --refresh-hot local || echo "failed: $?" >> told
echo > fails
step 'again'; "$@" --refresh-hot local
grep PathChanged $path >> told
rm -r src/a
step 'gone'; "$@" --refresh-hot local
ls $units >> told
mkdir src/a
step 'installed'; "$@" --install-schedule local --every=1h --hot
ls $units >> told
step 'without'; "$@" --install-schedule local --every=1h
ls $units >> told
step 'back'; "$@" --install-schedule local --every=1h --hot
step 'removed'; "$@" --remove-schedule local
ls $units >> told
"""

TOLD = """\
without systemd: 1
-- refused
refused: 1
-- nothing hot
daemon-reload
enable --now syncron-local.timer
syncron-local-hot.service
syncron-local.service
syncron-local.timer
-- still nothing
-- one
daemon-reload
enable syncron-local-hot.path
restart syncron-local-hot.path
PathChanged=TOP/src/a
-- the same
-- another
daemon-reload
enable syncron-local-hot.path
restart syncron-local-hot.path
PathChanged=TOP/src/a
PathChanged=TOP/src/b
-- another order
-- fails
daemon-reload
enable syncron-local-hot.path
restart syncron-local-hot.path
failed: 1
-- again
daemon-reload
enable syncron-local-hot.path
restart syncron-local-hot.path
PathChanged=TOP/src/a
-- gone
disable --now syncron-local-hot.path
daemon-reload
syncron-local-hot.service
syncron-local.service
syncron-local.timer
-- installed
daemon-reload
enable --now syncron-local.timer
enable syncron-local-hot.path
restart syncron-local-hot.path
syncron-local-hot.path
syncron-local-hot.service
syncron-local.service
syncron-local.timer
-- without
disable --now syncron-local-hot.path
daemon-reload
enable --now syncron-local.timer
syncron-local.service
syncron-local.timer
-- back
daemon-reload
enable --now syncron-local.timer
enable syncron-local-hot.path
restart syncron-local-hot.path
-- removed
disable --now syncron-local.timer
disable --now syncron-local-hot.path
daemon-reload
"""


def test_systemd_is_told_of_hot_directories_only_where_they_are_others(
    config: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "syncron", "--config", str(config)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", HOT, "sh", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Hot directories need systemd" in done.stderr.splitlines()[0]
    told = (tmp_path / "told").read_text()
    assert told.replace(str(tmp_path), "TOP") == TOLD, done.stderr
