"""A schedule that a real systemd carries out: pid 1 of namespaces of its own, with its own cgroup.

Nothing of the machine's is within its reach: its root is read-only but for the test's directory,
it has no network, and it starts no unit but those it is asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deep import DEEP

CHECKOUT = Path(__file__).parents[2]

OUTER = """\
set -e
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount -t cgroup2 none /run/cgroup
mkdir "/run/cgroup/$1"
echo $$ > "/run/cgroup/$1/cgroup.procs"
exec unshare -n -m -p -f -C -u -i --mount-proc --kill-child sh -c "$3" sh "$2"
"""

INNER = """\
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /run
mkdir /run/lock
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /etc/systemd/system
# Else a timer waits for all that belongs to a machine that boots.
mount -t tmpfs tmpfs /lib/systemd/system
for target in nothing sysinit basic timers paths sockets shutdown; do
    printf '[Unit]\\nDefaultDependencies=no\\n' > "/lib/systemd/system/$target.target"
done
exec env -i container=test PATH="$PATH" /lib/systemd/systemd --system --unit=nothing.target \
    --log-target=console --show-status=no
"""

REMOVE = """\
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount -t cgroup2 none /run/cgroup
# What was killed is a moment in going.
for i in $(seq 100); do
    find "/run/cgroup/$1" -depth -type d -exec rmdir {} + 2> /dev/null
    [ -e "/run/cgroup/$1" ] || exit 0
    sleep 0.1
done
exit 1
"""

Told = Callable[..., str]
"""Run a command beside systemd; what it wrote."""


def _until(there: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not there() and time.monotonic() < end:
        time.sleep(0.1)
    return there()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """Commands in the namespaces of a systemd that runs."""
    cgroup = f"syncron-test-{os.getpid()}"
    state = tmp_path / "state"
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "XDG_STATE_HOME": str(state)}
    command = ["unshare", "-m", "sh", "-c", OUTER, "sh", cgroup, str(tmp_path), INNER]
    with (tmp_path / "systemd.log").open("wb") as log:
        outer = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")

    def in_it(*argv: str) -> str:
        pid = children.read_text().split()[0]
        enter = ["nsenter", "-t", pid, "-m", "-p", "-n", "-u", "-i", "-C", *argv]
        done = subprocess.run(
            enter, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs() -> bool:
        try:
            return "nothing.target" in in_it("systemctl", "list-units", "--state=active")
        except (AssertionError, IndexError, FileNotFoundError):
            return False

    try:
        assert _until(runs), (tmp_path / "systemd.log").read_text()
        yield in_it
    finally:
        for pid in children.read_text().split() if children.exists() else ():
            os.kill(int(pid), 9)  # pid 1 of its namespace: all in it goes too
        outer.kill()
        outer.wait()
        gone = subprocess.run(
            ["unshare", "-m", "sh", "-c", REMOVE, "sh", cgroup], capture_output=True
        )
        assert gone.returncode == 0, gone.stderr


if DEEP:  # it needs more rights than some containers' root has

    @pytest.mark.timeout(180)
    def test_a_real_systemd_runs_the_job_and_is_told_what_is_hot(
        told: Told, tmp_path: Path
    ) -> None:
        (tmp_path / "src/often").mkdir(parents=True)
        (tmp_path / "src/file").write_text("content")
        (tmp_path / "there").mkdir()
        config = tmp_path / "config.yaml"
        config.write_text("jobs:\n  local: {source: src, destination: there}\n")
        syncron = [sys.executable, "-m", "syncron", "--config", str(config)]
        unit = "syncron-local.service"

        def log() -> str:
            return (tmp_path / "systemd.log").read_text()

        # By time, every second.
        told(*syncron, "--install-schedule", "local", "--on-calendar=*:*:*", "--hot")
        dropin = (
            "mkdir -p $0.d && printf '[Timer]\\nRandomizedDelaySec=0\\nAccuracySec=1ms\\n' > $0.d/a"
        )
        timer = "/run/systemd/system/syncron-local.timer"
        told("sh", "-c", dropin + ".conf && systemctl daemon-reload", timer)
        told("systemctl", "restart", "syncron-local.timer")
        assert _until((tmp_path / "there/file").exists), log()
        told("systemctl", "stop", "syncron-local.timer")
        # A start while the service runs would be that of the run that is going on.
        show = ("systemctl", "show", "--value", "-p", "ActiveState", unit)
        assert _until(lambda: told(*show).strip() == "inactive"), log()
        # What changes becomes hot, and a path unit watches it.
        for content in ("first", "second, longer"):
            (tmp_path / "src/often/log").write_text(content)
            told("systemctl", "start", unit)
            assert (tmp_path / "there/often/log").read_text() == content
        assert str(tmp_path / "src/often") in told("systemctl", "cat", "syncron-local-hot.path")
        # A hot run starts by itself.
        (tmp_path / "src/often/new").write_text("new")
        assert _until((tmp_path / "there/often/new").exists), log()
        told(*syncron, "--remove-schedule", "local")
        assert "syncron" not in told("systemctl", "list-unit-files", "--no-pager")
