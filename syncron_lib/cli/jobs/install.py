"""``--install-schedule`` and its like: units for systemd where it runs, else lines in a crontab."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncron_lib.cli.config import Config, Job
from syncron_lib.cli.jobs import units
from syncron_lib.cli.jobs.schedule import Schedule, every, next_by_cron, on_calendar
from syncron_lib.cli.jobs.units import Setting
from syncron_lib.cli.parser import Scheduling
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import shown_text
from syncron_lib.errors import SyncronError, UsageError
from syncron_lib.fs.state import state_directory

BOOTED = "/run/systemd/system"
"""There where systemd runs the machine, see sd_booted(3)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Installer:
    """Schedules of this user on this machine."""

    environ: Mapping[str, str]
    home: str | None
    booted: str = BOOTED

    @property
    def _system(self) -> bool:
        return os.geteuid() == 0

    @property
    def _by_systemd(self) -> bool:
        return os.path.isdir(self.booted) and shutil.which("systemctl") is not None

    def carry_out(self, asked: Scheduling, config: Config) -> str:
        """What was done or is to be looked at, as lines for a person."""
        if asked.action == "install-schedule":
            return self._install(asked, config)
        if asked.action == "print-schedule":
            return self._show(asked, config)
        return self._remove(asked.job)

    def _install(self, asked: Scheduling, config: Config) -> str:
        """Write and enable it."""
        job, schedule = self._asked(asked, config)
        if self._by_systemd:
            return self._install_units(job, self._units(job, schedule, asked, config))
        if shutil.which("crontab") is None:
            raise UsageError(
                "There is neither systemd nor cron here to run the job: --print-schedule shows"
                " what they would need."
            )
        line = self._cron_line(job, schedule, asked)
        _write_crontab([*_without(_crontab(), job.name), _marker(job.name), line])
        return f"Added to the crontab: {line}\n"

    def _show(self, asked: Scheduling, config: Config) -> str:
        """All of it, for systemd and for cron, to be looked at or installed by hand."""
        job, schedule = self._asked(asked, config)
        parts = []
        for name, text in self._units(job, schedule, asked, config).items():
            parts.append(f"# {os.path.join(self._directory(), name)}\n{text}")
        if schedule.cron is None:
            parts.append("# crontab: cron cannot say when this is.\n")
        else:
            line = self._cron_line(job, schedule, asked)
            parts.append(f"# crontab:\n{_marker(job.name)}\n{line}\n")
        return "\n".join(parts)

    def _remove(self, name: str) -> str:
        """Take it away, wherever it is. `UsageError` where there is none."""
        files = [os.path.join(self._directory(), unit) for unit in _names(name)]
        there = [file for file in files if os.path.lexists(file)]
        if there:
            if self._by_systemd:
                with contextlib.suppress(SyncronError):  # it may have been disabled by hand
                    self._systemctl("disable", "--now", _names(name)[1])
            for file in there:
                os.unlink(file)
            if self._by_systemd:
                self._systemctl("daemon-reload")
        lines = _crontab()
        kept = _without(lines, name)
        if kept != lines:
            _write_crontab(kept)
        elif not there:
            raise UsageError(f"There is no schedule of the job {name!r} to remove.")
        return f"The schedule of {shown_text(name)} is removed.\n"

    def next_times(self, names: Iterable[str], now: float) -> dict[str, float | str | None]:
        """When jobs run next, as seconds or in systemd's words; None without a schedule."""
        crontab = _crontab()
        return {name: self._next_of(name, crontab, now) for name in names}

    def _next_of(self, name: str, crontab: Sequence[str], now: float) -> float | str | None:
        timer = _names(name)[1]
        if os.path.exists(os.path.join(self._directory(), timer)) and self._by_systemd:
            words = ("show", "--value", "-p", "NextElapseUSecRealtime", timer)
            with contextlib.suppress(SyncronError):
                return self._systemctl(*words).strip() or None
        for at, line in enumerate(crontab[1:]):
            if crontab[at] == _marker(name):
                with contextlib.suppress(ValueError):
                    return next_by_cron(" ".join(line.split()[:5]), now)
        return None

    def _asked(self, asked: Scheduling, config: Config) -> tuple[Job, Schedule]:
        name = asked.job
        job = config.job(name)
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"The job {name!r} cannot have a schedule: give it a name of letters, digits,"
                " '_', '-' and '.'."
            )
        if asked.on_calendar is not None:
            self._require_calendar(asked.on_calendar)
            return job, on_calendar(asked.on_calendar)
        seed = f"{socket.gethostname()} {os.geteuid()} {name}"
        return job, every(asked.every or "", seed)

    def _require_calendar(self, text: str) -> None:
        """As far as systemd is here to ask."""
        if shutil.which("systemd-analyze") is not None and on_calendar(text):
            done = _run(["systemd-analyze", "calendar", "--", text])
            if done.returncode:
                raise UsageError(
                    f"--on-calendar={text}: systemd does not understand it, see systemd.time(7)."
                )

    def _command(self, job: Job, asked: Scheduling) -> list[str]:
        started = os.path.abspath(sys.argv[0])
        python = [sys.executable] * (not os.access(started, os.X_OK) or started.endswith(".py"))
        named = [] if asked.config is None else ["--config", _full(asked.config)]
        return [*python, started, *named, "--job", job.name]

    def _units(
        self, job: Job, schedule: Schedule, asked: Scheduling, config: Config
    ) -> dict[str, str]:
        settings: Settings = job.settings.over(config.defaults)
        setting = Setting(self._system, self._command(job, asked), self.environ)
        state_directory(self.environ)  # so that it is there to be written to
        service, timer = _names(job.name)
        return {
            service: units.service(job, settings, setting),
            timer: units.timer(job, schedule),
        }

    def _install_units(self, job: Job, texts: Mapping[str, str]) -> str:
        directory = self._directory()
        try:
            os.makedirs(directory, exist_ok=True)
            for name, text in texts.items():
                with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                    file.write(text)
        except OSError as error:
            raise UsageError(
                f"Cannot write the units to {shown_text(directory)}: {error.strerror}."
            ) from error
        self._systemctl("daemon-reload")
        self._systemctl("enable", "--now", _names(job.name)[1])
        text = "".join(f"Wrote {shown_text(os.path.join(directory, name))}\n" for name in texts)
        if not self._system:
            text += "It runs while you are logged in; always, after: loginctl enable-linger\n"
        return text

    def _directory(self) -> str:
        """Where units of this user's or of the machine's go."""
        if self._system:
            return "/etc/systemd/system"
        base = self.environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(base):
            if self.home is None:
                raise UsageError("A schedule needs a home directory, and this user has none.")
            base = os.path.join(self.home, ".config")
        return os.path.join(base, "systemd", "user")

    def _systemctl(self, *words: str) -> str:
        done = _run(["systemctl", *["--user"] * (not self._system), *words])
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
            raise UsageError(f"systemctl {words[0]} failed: {shown_text(said[0])}")
        return done.stdout

    def _cron_line(self, job: Job, schedule: Schedule, asked: Scheduling) -> str:
        if schedule.cron is None:
            raise UsageError(
                f"cron cannot say {schedule.calendar!r}: give --every, or write the line by hand."
            )
        words = self._command(job, asked)
        if where := units.places(self.environ):
            words = ["env", *where, *words]
        return f"{schedule.cron} {shlex.join(words)}".replace("%", r"\%")


def _names(job: str) -> tuple[str, str]:
    return f"syncron-{job}.service", f"syncron-{job}.timer"


def _full(path: str) -> str:
    return os.path.abspath(path)


def _marker(name: str) -> str:
    return f"# syncron job {name}"


def _crontab() -> list[str]:
    """The lines of this user's crontab; none where there is no cron."""
    if shutil.which("crontab") is None:
        return []
    done = _run(["crontab", "-l"])
    return done.stdout.splitlines() if done.returncode == 0 else []


def _without(lines: Sequence[str], name: str) -> list[str]:
    """Without a job's marker and the line below it."""
    kept: list[str] = []
    left_out = False
    for line in lines:
        if left_out or line == _marker(name):
            left_out = not left_out
            continue
        kept.append(line)
    return kept


def _write_crontab(lines: Sequence[str]) -> None:
    done = _run(["crontab", "-"], "".join(f"{line}\n" for line in lines))
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise UsageError(f"The crontab could not be written: {shown_text(said[0])}")


def _run(words: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, input=given, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise UsageError(f"{words[0]} cannot be run: {error.strerror}.") from error
