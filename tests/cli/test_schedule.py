"""When a job runs by itself, for systemd and for cron alike."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from syncron_lib.cli.jobs import hotpaths
from syncron_lib.cli.jobs.schedule import every, next_by_cron, on_calendar
from syncron_lib.errors import UsageError

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("text", "calendar", "cron", "spread"),
    [
        ("15min", "*-*-* *:00/15:00", r"(\d+),\d+,\d+,\d+ \* \* \* \*", 90),
        ("1min", "*-*-* *:00/1:00", r"\* \* \* \* \*", 6),
        ("60min", "*-*-* 00/1:00:00", r"(\d+) \* \* \* \*", 360),
        ("1h", "*-*-* 00/1:00:00", r"(\d+) \* \* \* \*", 360),
        ("6h", "*-*-* 00/6:00:00", r"(\d+) \d,\d+,\d+,\d+ \* \* \*", 1800),
        ("24h", "*-*-* 00:00:00", r"(\d+) [0-5] \* \* \*", 1800),
        ("1d", "*-*-* 00:00:00", r"(\d+) [0-5] \* \* \*", 1800),
        ("1w", "Mon *-*-* 00:00:00", r"(\d+) [0-5] \* \* 1", 1800),
    ],
)
def test_every(text: str, calendar: str, cron: str, spread: int) -> None:
    for seed in ("a", "b", "c"):
        found = every(text, seed)
        assert (found.calendar, found.spread) == (calendar, spread)
        assert found.cron is not None and re.fullmatch(cron, found.cron)
    done = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize("text", ["", "0min", "7min", "5h", "2d", "15", "15 min", "1y", "90min"])
def test_a_time_that_divides_nothing_evenly_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--every=.*divides an hour or a day evenly"):
        every(text, "")


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("daily", "0 0 * * *"),
        ("hourly", "0 * * * *"),
        ("weekly", "0 0 * * 1"),
        ("monthly", "0 0 1 * *"),
        ("03:15", "15 3 * * *"),
        ("*-*-* 03:05:00", "5 3 * * *"),
        ("Mon..Fri *-*-* 22:00", "0 22 * * 1-5"),
        ("Sat,Sun 08:30", "30 8 * * 6,0"),
        ("*-*-15 04:00", "0 4 15 * *"),
        ("Mon *-*-15 04:00", None),
        ("*-*-* 25:00", None),
        ("2027-01-01 00:00", None),
        ("*:0/15", None),
        ("Someday 08:30", None),
    ],
)
def test_calendar_events_as_cron_has_them(text: str, cron: str | None) -> None:
    assert on_calendar(text).cron == cron


def test_nothing_breaks_out_of_a_units_line() -> None:
    with pytest.raises(UsageError):
        on_calendar("daily\nExecStart=/bin/sh")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("15 3 * * *", "2026-11-29 03:15"),
        ("* * * * *", "2026-11-28 12:31"),
        ("0,30 * * * *", "2026-11-28 13:00"),
        ("0 12 * * *", "2026-11-29 12:00"),
        ("0 4 1 * *", "2026-12-01 04:00"),
        ("0 22 * * 1-5", "2026-11-30 22:00"),
        ("30 8 * * 6,0", "2026-11-29 08:30"),
        ("45 12 * * 6", "2026-11-28 12:45"),
        ("0 0 31 2 *", "2026-12-31 00:00"),
    ],
)
def test_when_a_line_is_due_next(fields: str, expected: str) -> None:
    now = datetime(2026, 11, 28, 12, 30, 20, tzinfo=timezone.utc).timestamp()
    found = next_by_cron(fields, now, time.gmtime)
    assert found is not None
    assert time.strftime("%Y-%m-%d %H:%M", time.gmtime(found)) == expected


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").write_text("content")
    (tmp_path / "there").mkdir()
    file = tmp_path / "con fig%.yaml"
    file.write_text(
        "jobs:\n"
        "  push: {source: src, destination: 'host:x', ping: 'https://hc.example/x'}\n"
        "  local: {source: src, destination: there, log-file: x.log}\n"
        "  missing: {source: src, destination: not/there/yet}\n"
        "  dated: {source: src, destination: there/today, link-dest: ../yesterday}\n"
        "  hooked: {source: src, destination: there, before: 'true'}\n"
        '  "odd name": {source: src, destination: there}\n'
    )
    return file


def units(syncron: Run, config: Path, job: str, *more: str) -> tuple[str, str, str]:
    """What would be installed: service, timer, crontab."""
    done = syncron("--config", config, "--print-schedule", job, *(more or ["--every=1d"]))
    assert done.returncode == 0, done.stderr
    service, timer, crontab = re.split(r"\n(?=# /|# crontab)", done.stdout)
    return service, timer, crontab


@pytest.mark.parametrize("job", ["push", "local", "missing", "dated", "hooked"])
def test_systemd_understands_the_units(
    syncron: Run, config: Path, tmp_path: Path, job: str
) -> None:
    service, timer, crontab = units(syncron, config, job)
    names = []
    for text in (service, timer):
        name = text.split("\n", 1)[0].rpartition("/")[2]
        (tmp_path / name).write_text(text)
        names.append(str(tmp_path / name))
    command = ["systemd-analyze", *["--user"] * (os.geteuid() != 0), "verify", "--man=no"]
    environ = {**os.environ, "SYSTEMD_LOG_LEVEL": "info", "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run([*command, *names], capture_output=True, text=True, env=environ)
    ours = [line for line in done.stderr.splitlines() if "syncron-" in line]
    assert (done.returncode, ours) == (0, []), done.stderr
    assert "Persistent=true" in timer and "RandomizedDelaySec=1800" in timer
    assert crontab.startswith(f"# crontab:\n# syncron job {job}\n")


def test_a_job_may_do_what_it_needs_and_no_more(syncron: Run, config: Path, tmp_path: Path) -> None:
    text = {job: units(syncron, config, job)[0] for job in ("push", "local", "hooked", "dated")}
    for job in ("push", "local", "dated"):
        assert "NoNewPrivileges=yes" in text[job] and "SystemCallFilter=" in text[job]
    assert "AF_INET6" in text["push"] and "AF_INET" not in text["local"]
    assert "NoNewPrivileges" not in text["hooked"]
    if os.geteuid() == 0:
        assert "CapabilityBoundingSet=CAP_DAC_READ_SEARCH\n" in text["push"]
        assert "CAP_CHOWN" in text["local"]
        writable = re.findall(r'ReadWritePaths="?([^"\n]*)', text["local"])
        assert {f"{tmp_path}", f"{tmp_path}/there"} <= set(writable)
        missing = re.findall(r'ReadWritePaths="?([^"\n]*)', units(syncron, config, "missing")[0])
        assert str(tmp_path) in missing
        # Links between two mounts of one file system cannot be made.
        assert f"{tmp_path}/there" in re.findall(r'ReadWritePaths="?([^"\n]*)', text["dated"])


NAMES = [
    "a b",
    "50%",
    "end\\",
    "trailing ",
    "$HOME 'x' \"y\"",
    "#c",
    "line\nbreak",
    os.fsdecode(b"\xff"),
]
"""The last two no unit can hold."""


@pytest.fixture
def hot(syncron: Run, config: Path, tmp_path: Path) -> Path:
    """``config``, when something has changed in each of those directories."""
    for name in NAMES:
        (tmp_path / "src" / name).mkdir()
    for number in range(2):
        for name in NAMES:
            (tmp_path / "src" / name / f"{number}").touch()
        time.sleep(0.06)
        done = syncron("--config", config, "--job", "local")
        assert done.returncode == 0, done.stderr
    return config


def test_systemd_understands_the_units_for_hot_directories(
    syncron: Run, hot: Path, tmp_path: Path
) -> None:
    done = syncron("--config", hot, "--print-schedule", "local", "--every=1d", "--hot")
    assert done.returncode == 0, done.stderr
    parts = re.split(r"\n(?=# /|# crontab)", done.stdout)
    texts = {text.split("\n", 1)[0].rpartition("/")[2]: text for text in parts[:-1]}
    ends = (".service", ".timer", "-hot.service", "-hot.path")
    assert list(texts) == [f"syncron-local{end}" for end in ends]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", *["--user"] * (os.geteuid() != 0), "verify", "--man=no"]
    environ = {**os.environ, "SYSTEMD_LOG_LEVEL": "info", "XDG_RUNTIME_DIR": str(tmp_path)}
    files = [str(tmp_path / name) for name in texts]
    verified = subprocess.run([*command, *files], capture_output=True, text=True, env=environ)
    ours = [line for line in verified.stderr.splitlines() if "syncron-" in line]
    assert (verified.returncode, ours) == (0, []), verified.stderr
    watched = re.findall(r"PathChanged=(.*)", texts["syncron-local-hot.path"])
    top = f"{tmp_path}/src"
    expected = [f"{top}/{name}" for name in ("50%%", "a b", "#c", "$HOME 'x' \"y\"")]
    assert watched == sorted([*expected, f"{top}/end\\/", f"{top}/trailing /"])
    service, hot_service = texts["syncron-local.service"], texts["syncron-local-hot.service"]
    plus = "+" * (os.geteuid() == 0)
    assert re.search(
        rf"ExecStartPost=-{re.escape(plus)}[^-+].* \"?--refresh-hot\"? local\n", service
    )
    assert len(re.findall(r"ExecStart=.*--hot.*--job.* local\n", hot_service)) == 2
    (tmp_path / "src/a b/later").touch()
    line = re.findall(r"ExecStart=(.*)", hot_service)[0].replace("%%", "%")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(shlex.split(line), env=environ, cwd="/").returncode == 0
    assert (tmp_path / "there/a b/later").exists()
    held = [text[text.index("NoNewPrivileges") :] for text in (service, hot_service)]
    assert held[0] == held[1]
    assert "# Hot directories need systemd, or --watch." in parts[-1]


def test_no_more_is_watched_than_inotify_allows(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    few.write_text("128\n")
    many.write_text("1000000\n")
    assert hotpaths.most(str(few), str(many)) == 16
    assert hotpaths.most(str(many), str(few)) == 0
    assert hotpaths.most(str(many), str(tmp_path / "none")) == hotpaths.MOST == 32
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "file").touch()
    hottest = [b"c", b"gone", b"link", b"file", b"a", b"b"]
    top = os.fsencode(tmp_path)
    assert hotpaths.watched(top, hottest, 2) == [f"{tmp_path}/a", f"{tmp_path}/c"]
    assert hotpaths.watched(top, [b""], 2) == [str(tmp_path)]
    assert hotpaths.watched(top, hottest, 3, own=f"{tmp_path}/a") == [
        f"{tmp_path}/{x}" for x in "bc"
    ]


def test_hot_directories_are_for_one_source_on_this_machine(
    syncron: Run, config: Path, tmp_path: Path
) -> None:
    more = (
        "  pull: {source: 'host:x', destination: there}\n"
        "  two: {sources: [src, there], destination: both}\n"
        "  dates: {source: src, destination: there, snapshot: true}\n"
        "  local-hot: {source: src, destination: there}\n"
    )
    config.write_text(config.read_text() + more)
    for job, named in (
        ("pull", "for one SRC that is a directory on this machine"),
        ("two", "for one SRC that is a directory on this machine"),
        ("dates", "--snapshot"),
        ("local-hot", "does not end in -hot"),
    ):
        done = syncron("--config", config, "--print-schedule", job, "--every=1d", "--hot")
        assert (done.returncode, named in done.stderr) == (1, True), done.stderr
    done = syncron("--config", config, "--refresh-hot", "local", "--every=1d")
    assert done.returncode == 1 and "--refresh-hot needs no --every" in done.stderr


def test_what_cannot_be_scheduled_is_refused(syncron: Run, config: Path) -> None:
    for words, named in (
        (["push"], "--every or --on-calendar"),
        (["push", "--every=7min"], "--every=7min"),
        (["push", "--on-calendar=sometimes"], "systemd does not understand it"),
        (["push", "--every=1h", "--on-calendar=daily"], "exclude each other"),
        (["nobody", "--every=1h"], "there is no job 'nobody'"),
        (["odd name", "--every=1h"], "give it a name of letters"),
    ):
        done = syncron("--config", config, "--print-schedule", *words)
        assert (done.returncode, named in done.stderr) == (1, True), done.stderr
    done = syncron("--every=1h", "a", "b")
    assert done.returncode == 1 and "--every" in done.stderr


def test_what_cron_cannot_say_is_shown_for_systemd_alone(syncron: Run, config: Path) -> None:
    _, timer, crontab = units(syncron, config, "push", "--on-calendar=Mon *-*-15 04:00")
    assert "OnCalendar=Mon *-*-15 04:00\n" in timer
    assert crontab == "# crontab: cron cannot say when this is.\n"
