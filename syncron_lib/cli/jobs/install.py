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
from collections.abc import Callable, Iterable, Mapping, Sequence

from syncron_lib.cli.config import Config, Job
from syncron_lib.cli.jobs import hotpaths, units
from syncron_lib.cli.jobs.schedule import Schedule, every, next_by_cron, on_calendar
from syncron_lib.cli.jobs.units import Setting
from syncron_lib.cli.parser import Scheduling
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import Local, Location, shown_text
from syncron_lib.errors import SyncronError, UsageError
from syncron_lib.fs.state import state_directory
from syncron_lib.fs.stateplace import state_place
from syncron_lib.record import NamedTuple

BOOTED = "/run/systemd/system"
"""There where systemd runs the machine, see sd_booted(3)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}(?<!-hot)")
"""Not ``home-hot``: those are the names of the units for what is hot in ``home``."""

_LOCK_WAIT = 600.0
"""Seconds that whole and hot runs wait for each other."""

HotIn = Callable[[Settings, Location], Sequence[tuple[bytes, float]]]
"""The hot directories of a source, the hottest first."""


class Installer(NamedTuple):
    """Schedules of this user on this machine."""

    environ: Mapping[str, str]
    home: str | None
    hot_in: HotIn = lambda settings, source: ()
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
        if asked.action == "refresh-hot":
            return self._refresh(asked, config)
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
        if asked.hot:
            raise UsageError(
                "Hot directories need systemd, which does not run here: install the schedule"
                " without --hot, and have --watch stay."
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
            need = "# Hot directories need systemd, or --watch.\n" * asked.hot
            parts.append(f"# crontab:\n{need}{_marker(job.name)}\n{line}\n")
        return "\n".join(parts)

    def _remove(self, name: str) -> str:
        """Take it away, wherever it is. `UsageError` where there is none."""
        files = [os.path.join(self._directory(), unit) for unit in _names(name)]
        there = [file for file in files if os.path.lexists(file)]
        if there:
            if self._by_systemd:
                self._disable(_names(name)[1])
                if files[-1] in there:
                    self._disable(_names(name)[-1])
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

    def _disable(self, unit: str) -> None:
        with contextlib.suppress(SyncronError):  # it may have been disabled by hand
            self._systemctl("disable", "--now", unit)

    def _refresh(self, asked: Scheduling, config: Config) -> str:
        """Have systemd watch what is hot by now; it hears of it only where that is another."""
        job = self._named(asked.job, config)
        service, unit = (os.path.join(self._directory(), each) for each in _names(job.name)[2:])
        if not os.path.lexists(service):
            raise UsageError(
                f"The schedule of {shown_text(job.name)} watches no hot directories: install it"
                " with --install-schedule and --hot."
            )
        directories = self._hot(job, config)
        before = _text(unit)
        after = units.path(job, directories) if directories else None
        if after == before:
            return ""
        if after is None:
            self._disable(_names(job.name)[-1])
            os.unlink(unit)
        else:
            self._write({_names(job.name)[-1]: after})
        try:
            self._systemctl("daemon-reload")
            if after is not None:
                self._watch(_names(job.name)[-1])
        except SyncronError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unit)  # so that the next run tries again
            raise
        return f"Of {shown_text(job.name)}, {_counted(len(directories))} watched now.\n"

    def _watch(self, unit: str) -> None:
        """Have the directories watched that the unit has by now."""
        self._systemctl("enable", unit)
        self._systemctl("restart", unit)

    def _hot(self, job: Job, config: Config) -> list[str]:
        """What is to be watched. Raises `UsageError` where the job is none for it."""
        source = job.sources[0]
        if len(job.sources) != 1 or not isinstance(source, Local) or not os.path.isdir(source.path):
            raise UsageError(
                f"The job {shown_text(job.name)} cannot have its hot directories watched: that is"
                " for one SRC that is a directory on this machine."
            )
        settings = job.settings.over(config.defaults)
        settings._replace(hot=True).run_options()  # what does not go with it is refused now
        found = [path for path, _ in self.hot_in(settings, source)]
        top, own = os.path.realpath(source.path), state_place(self.environ)
        return hotpaths.watched(top, found, hotpaths.most(), own)

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
        job = self._named(asked.job, config)
        if asked.on_calendar is not None:
            self._require_calendar(asked.on_calendar)
            return job, on_calendar(asked.on_calendar)
        seed = f"{socket.gethostname()} {os.geteuid()} {job.name}"
        return job, every(asked.every or "", seed)

    @staticmethod
    def _named(name: str, config: Config) -> Job:
        job = config.job(name)
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"The job {name!r} cannot have a schedule: give it a name of letters, digits,"
                " '_', '-' and '.' that does not end in -hot."
            )
        return job

    def _require_calendar(self, text: str) -> None:
        """As far as systemd is here to ask."""
        if shutil.which("systemd-analyze") is not None and on_calendar(text):
            done = _run(["systemd-analyze", "calendar", "--", text])
            if done.returncode:
                raise UsageError(
                    f"--on-calendar={text}: systemd does not understand it, see systemd.time(7)."
                )

    def _command(self, asked: Scheduling, *words: str) -> list[str]:
        started = os.path.abspath(sys.argv[0])
        python = [sys.executable] * (not os.access(started, os.X_OK) or started.endswith(".py"))
        named = [] if asked.config is None else ["--config", _full(asked.config)]
        return [*python, started, *named, *words]

    def _units(
        self, job: Job, schedule: Schedule, asked: Scheduling, config: Config
    ) -> dict[str, str]:
        settings: Settings = job.settings.over(config.defaults)
        state_directory(self.environ)  # so that it is there to be written to
        service, timer, hot_service, hot_path = _names(job.name)
        wait = [f"--lock-wait={max(_LOCK_WAIT, settings.lock_wait or 0):g}"] * asked.hot
        command = self._command(asked, *wait, "--job", job.name)
        setting = Setting(self._system, command, self.environ)
        refresh = self._command(asked, "--refresh-hot", job.name) if asked.hot else ()
        texts = {
            service: units.service(job, settings, setting, refresh),
            timer: units.timer(job, schedule),
        }
        if asked.hot:
            command = self._command(asked, "--hot", *wait, "--job", job.name)
            texts[hot_service] = units.hot_service(job, settings, setting._replace(command=command))
            if directories := self._hot(job, config):
                texts[hot_path] = units.path(job, directories)
        return texts

    def _install_units(self, job: Job, texts: Mapping[str, str]) -> str:
        directory = self._directory()
        timer, hot_path = _names(job.name)[1], _names(job.name)[-1]
        for name in _names(job.name):
            if name not in texts and os.path.lexists(os.path.join(directory, name)):
                if name == hot_path:
                    self._disable(name)
                os.unlink(os.path.join(directory, name))
        self._write(texts)
        self._systemctl("daemon-reload")
        self._systemctl("enable", "--now", timer)
        if hot_path in texts:
            self._watch(hot_path)
        text = "".join(f"Wrote {shown_text(os.path.join(directory, name))}\n" for name in texts)
        if _names(job.name)[2] in texts and hot_path not in texts:
            text += "No directory is known to be hot yet; runs find out, and have them watched.\n"
        if not self._system:
            text += "It runs while you are logged in; always, after: loginctl enable-linger\n"
        return text

    def _write(self, texts: Mapping[str, str]) -> None:
        """Units, each of which systemd sees whole."""
        directory = self._directory()
        try:
            os.makedirs(directory, exist_ok=True)
            for name, text in texts.items():
                # systemd reads no unit whose name ends so.
                new = os.path.join(directory, f".{name}.{os.getpid()}.new")
                with open(new, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(new, os.path.join(directory, name))
        except OSError as error:
            raise UsageError(
                f"Cannot write the units to {shown_text(directory)}: {error.strerror}."
            ) from error

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
        words = self._command(asked, "--job", job.name)
        if where := units.places(self.environ):
            words = ["env", *where, *words]
        return f"{schedule.cron} {shlex.join(words)}".replace("%", r"\%")


def _names(job: str) -> tuple[str, ...]:
    """Service and timer; service and path unit for what is hot."""
    stem = f"syncron-{job}"
    return f"{stem}.service", f"{stem}.timer", f"{stem}-hot.service", f"{stem}-hot.path"


def _text(file: str) -> str | None:
    """What is in a unit; None where it is not there."""
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"Cannot read {shown_text(file)}: {error.strerror}.") from error


def _counted(count: int) -> str:
    return f"{count} hot {'directory is' if count == 1 else 'directories are'}"


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
