"""A job as systemd's units: a service that may do what the job needs and no more, and its timer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from syncron_lib.cli.config import Job
from syncron_lib.cli.jobs.schedule import Schedule
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import Local
from syncron_lib.fs.stateplace import state_place
from syncron_lib.record import NamedTuple

_ALWAYS = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
"""
_CALLS = """\
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
_SYSTEM = """\
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
"""
_GATHERS = 0.5
"""Seconds from the first change of a burst to the run."""
_READS = "CAP_DAC_READ_SEARCH"
_WRITES = f"{_READS} CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP"
_ALL_ATTRIBUTES = " CAP_SYS_ADMIN"
"""Without it the attributes of some namespaces can be neither read nor set."""


class Setting(NamedTuple):
    """Where the units are for, and by whom."""

    system: bool
    """For the machine, run by root; else for a user's own systemd."""
    command: Sequence[str]
    """How syncron is started, with the job."""
    environ: Mapping[str, str]


def places(environ: Mapping[str, str]) -> list[str]:
    """Where configuration and state are, if that is not where everybody's are."""
    names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
    return [f"{name}={environ[name]}" for name in names if environ.get(name)]


def service(job: Job, settings: Settings, setting: Setting, refresh: Sequence[str] = ()) -> str:
    """The unit that runs a job once. ``settings``: the job's, over the defaults. ``refresh``: the
    command that has the hot directories watched, after a run that went well."""
    lines = _head(f"syncron job {job.name}", job, settings, setting)
    lines += ["", "[Service]", "Type=oneshot", f"ExecStart={_line(setting.command)}"]
    if refresh:
        # Units are written outside of what holds the run; and a run that went well stays one.
        lines.append(f"ExecStartPost=-{'+' * setting.system}{_line(refresh)}")
    return _run_by(lines, job, settings, setting)


def hot_service(job: Job, settings: Settings, setting: Setting) -> str:
    """The unit that a change in a hot directory starts, after a while in which a burst gathers.
    systemd does not watch while it runs: what changed during the first run is the second's."""
    lines = _head(f"syncron job {job.name}, its hot directories", job, settings, setting)
    # After: a whole run that is going on is not disturbed. No limit: starts are by nature many.
    lines += [f"After=syncron-{job.name}.service", "StartLimitIntervalSec=0"]
    lines += ["", "[Service]", "Type=oneshot", f"ExecStartPre=sleep {_GATHERS}"]
    lines += [f"ExecStart={_line(setting.command)}"] * 2
    return _run_by(lines, job, settings, setting)


def path(job: Job, directories: Sequence[str]) -> str:
    """The unit that watches hot directories, at least one of them, see `hotpaths.watched`."""
    lines = [
        "# Written by syncron, with what is hot: each run of the job may write it anew.",
        "[Unit]",
        f"Description=The hot directories of the syncron job {job.name}",
        "Documentation=man:syncron(1)",
        "",
        "[Path]",
        *(f"PathChanged={directory}" for directory in directories),
        # The service is slow to start again; a limit would end the watching for good.
        "TriggerLimitIntervalSec=0",
        "",
        "[Install]",
        "WantedBy=paths.target",
    ]
    return "\n".join(lines) + "\n"


def _head(description: str, job: Job, settings: Settings, setting: Setting) -> list[str]:
    lines = [
        "# Written by syncron --install-schedule; it will be written anew by the next.",
        "[Unit]",
        f"Description={description}",
        "Documentation=man:syncron(1)",
    ]
    if _network(job, settings) and setting.system:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    return lines


def _run_by(lines: list[str], job: Job, settings: Settings, setting: Setting) -> str:
    lines += [f"Environment={_quoted(each)}" for each in places(setting.environ)]
    # Room for an orderly end, and for the hook that follows it.
    lines += ["TimeoutStartSec=infinity", "TimeoutStopSec=90", "KillMode=mixed"]
    return "\n".join(lines) + "\n" + _hardening(job, settings, setting)


def timer(job: Job, schedule: Schedule) -> str:
    """The unit that says when."""
    return (
        "# Written by syncron --install-schedule; it will be written anew by the next.\n"
        f"[Unit]\nDescription=When syncron runs the job {job.name}\n\n"
        f"[Timer]\nOnCalendar={schedule.calendar}\nPersistent=true\n"
        f"RandomizedDelaySec={schedule.spread}\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )


def _hardening(job: Job, settings: Settings, setting: Setting) -> str:
    hooks = settings.before or settings.after or settings.on_error
    if hooks:
        # A hook may mount a disk, dump a database, start a service.
        return "# The job has hooks, which may need anything: it is not held to less.\n"
    text = _ALWAYS + _CALLS
    if _network(job, settings):
        text += "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
    else:
        text += "RestrictAddressFamilies=AF_UNIX\n"
    if not setting.system:
        # A user's systemd can mount nothing without renumbering all other users to nobody.
        return text
    text += _SYSTEM
    writes = isinstance(job.destination, Local)
    bounds = (_WRITES if writes else _READS) + (_ALL_ATTRIBUTES if settings.xattrs else "")
    text += f"CapabilityBoundingSet={bounds}\n"
    if not _network(job, settings):
        text += "PrivateNetwork=yes\n"
    text += "ProtectSystem=strict\nProtectHome=read-only\n"
    for path in written(job, settings, setting.environ):
        text += f"ReadWritePaths={_quoted(path)}\n"
    return text


def _network(job: Job, settings: Settings) -> bool:
    sides = (*job.sources, job.destination)
    return settings.ping is not None or not all(isinstance(side, Local) for side in sides)


def written(job: Job, settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """What the job writes to on this machine; all of it is there."""
    found = [state_place(environ)]
    files = filter(None, (settings.log_file, settings.textfile))
    found += [os.path.dirname(os.path.abspath(file)) for file in files]
    if isinstance(job.destination, Local):
        destination = os.path.abspath(os.fsdecode(job.destination.path))
        # One path above them all: what lies under two of them could not be linked.
        single = settings.backup_dir, settings.temp_dir
        beside = [*settings.link_dest, *settings.copy_dest, *filter(None, single)]
        paths = [os.path.normpath(os.path.join(destination, each)) for each in beside]
        found.append(os.path.commonpath([destination, *paths]))
    return sorted({_there(place) for place in found if place is not None})


def _there(path: str) -> str:
    """``path``, or what of it is there: only that can be mounted."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _line(words: Sequence[str]) -> str:
    return " ".join(map(_quoted, words))


def _quoted(text: str) -> str:
    """A word as systemd reads it: no specifier, no variable, one word."""
    text = text.replace("%", "%%")
    if text.replace("/", "").replace("-", "").replace(".", "").replace("_", "").isalnum():
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"'
