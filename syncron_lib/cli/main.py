"""The command ``syncron``: puts the parts together; where everything ends in an exit status."""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from syncron_lib.cli.config import Config
from syncron_lib.cli.configfiles import load
from syncron_lib.cli.face import Face
from syncron_lib.cli.format import Run, prefix_of
from syncron_lib.cli.jobs.occasion import Occasion, judged, unexpected
from syncron_lib.cli.jobs.outcome import Witness
from syncron_lib.cli.output import (
    Output,
    hold_standard_descriptors,
    standard_error,
    standard_output,
)
from syncron_lib.cli.parser import Invocation, Mode, help_text, parse, version_text, wants_json
from syncron_lib.cli.prompt import Prompt
from syncron_lib.cli.settings import Settings
from syncron_lib.cli.signals import Signals, die_of, no_keyboard_interrupts
from syncron_lib.cli.text import Manner, TextFace, progress_for
from syncron_lib.core.location import Local, Location, parse_location
from syncron_lib.core.options import Conflicts
from syncron_lib.core.report import Report
from syncron_lib.errors import Exit, Interrupted, SyncronError, UsageError

if TYPE_CHECKING:
    from syncron_lib.core.parts import Part
    from syncron_lib.session.keyholder import KeyHolder
    from syncron_lib.transport.settings import Ask, ConnectOptions

# Imports that only some runs need are made where they are needed: a run over a tiny tree takes
# about as long as importing everything would.


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (by default the process's) and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    kind = Command
    if words[:1] == ["--rsync"] or (argv is None and os.path.basename(sys.argv[0]) == "rsync"):
        from syncron_lib.cli.rsync.command import RsyncCommand as kind

        words = words[words[:1] == ["--rsync"] :]
    no_keyboard_interrupts()
    hold_standard_descriptors()
    signals = Signals()
    command = kind(words, os.environ, standard_output(), standard_error(), signals)
    try:
        with signals:
            status = command.run()
    except Interrupted as interruption:  # so late that nothing was left to clean up
        status = 128 + interruption.signal_number
    command.finish()
    if status > 128 and status != Exit.SSH:
        die_of(status - 128)
    return status


class Command:
    """One command line and the surroundings it runs in."""

    def __init__(
        self,
        words: Sequence[str],
        environ: Mapping[str, str],
        output: Output,
        error: Output,
        signals: Signals,
    ) -> None:
        self._words = words
        self._environ = environ
        self._output = output
        self._error = error
        self._signals = signals
        self._home = home_directory(environ)
        self._prompt: Prompt | None = None

    def run(self) -> int:
        """Carry it out; every error ends here, as a sentence and an exit status."""
        face = self._face(Settings(json=wants_json(self._words)), "")
        return self._shielded(face, Report("", ""), self._understood)

    def finish(self) -> None:
        """Hand over what is still buffered; say so where nobody could be told."""
        if self._prompt is not None:
            self._prompt.restore()
        self._output.flush()
        if self._output.failure is not None:
            self._error.write(f"syncron: cannot write the output: {self._output.failure}.\n")
        self._error.flush()

    def _understood(self) -> int:
        invocation = parse(self._words, home=self._home)
        if invocation.mode in (Mode.HELP, Mode.HELP_ALL):
            self._output.write(help_text(whole=invocation.mode is Mode.HELP_ALL))
            return Exit.OK
        if invocation.mode is Mode.VERSION:
            self._output.write(version_text())
            return Exit.OK
        if invocation.mode is Mode.DEMO:
            from syncron_lib.cli.demo import demonstrate

            return demonstrate(self._output)
        config = load(invocation.config, environ=self._environ, home=self._home)
        if invocation.mode is Mode.JOBS:
            return self._jobs(invocation, config)
        if invocation.mode in (Mode.LIST_JOBS, Mode.CHECK_CONFIG):
            from syncron_lib.cli.jobs import overview

            if invocation.mode is Mode.LIST_JOBS:
                text = overview.list_jobs(config, self._environ, self._home)
            else:
                text = overview.check(config)
            self._output.write(text)
            return Exit.OK
        if invocation.schedule is not None:
            from syncron_lib.cli.jobs.install import Installer

            installer = Installer(self._environ, self._home, self._hot_in)
            self._output.write(installer.carry_out(invocation.schedule, config))
            return Exit.OK
        settings = invocation.settings.over(config.defaults)
        if invocation.history is not None:
            from syncron_lib.cli.jobs.overview import history_of

            self._output.write(history_of(invocation.history, settings, self._environ))
            return Exit.OK
        if invocation.hot is not None:
            return self._list_hot(settings, parse_location(invocation.hot))
        if invocation.snapshots is not None:
            return self._list_snapshots(settings, parse_location(invocation.snapshots))
        if invocation.mode in (Mode.KEYGEN, Mode.REWRAP, Mode.SECURE_CHECK, Mode.REPLICAS):
            if invocation.mode is Mode.REPLICAS:
                from syncron_lib.cli.replicas import carry_out
            else:
                from syncron_lib.cli.secrets.modes import carry_out

            face = self._face(settings, "")
            connect = self._connect_options(settings, face)
            about = (invocation, settings, connect, face, self._output.write)
            return self._shielded(face, Report("", ""), lambda: carry_out(*about))
        if invocation.root is not None:
            return self._root(settings, parse_location(invocation.root))
        if invocation.mode is Mode.LIST:
            return self._list(settings, [parse_location(each) for each in invocation.operands])
        sources = [parse_location(each) for each in invocation.operands[:-1]]
        destination = parse_location(invocation.operands[-1])
        if invocation.rescan is not None:
            return self._watch(settings, sources, destination, "", invocation.rescan)
        return self._copy(settings, sources, destination, "", mode=invocation.mode)

    def _jobs(self, invocation: Invocation, config: Config) -> int:
        if invocation.all_jobs:
            config.require_some("There are no jobs to run")
        # Those there are, before the first of them runs.
        names = config.jobs if invocation.all_jobs else invocation.jobs
        jobs = [config.job(name) for name in names]
        statuses = []
        for job in jobs:
            settings = invocation.settings.over(job.settings).over(config.defaults)
            label = job.name if len(jobs) > 1 else ""
            if invocation.rescan is not None:
                rescan = invocation.rescan
                return self._watch(settings, job.sources, job.destination, job.name, rescan)
            status = self._copy(settings, job.sources, job.destination, label, job.name)
            statuses.append(status)
            if status > 128 and status != Exit.SSH:
                break  # a signal ends the whole command, not one job of it
        return gravest(statuses)

    def _watch(
        self,
        settings: Settings,
        sources: Sequence[Location],
        destination: Location,
        job: str,
        rescan: float,
    ) -> int:
        from syncron_lib.cli.jobs.watch import Watch

        if len(sources) > 1:
            raise UsageError(f"--watch is of one tree, but there are {len(sources)} sources.")
        settings._replace(hot=True).run_options()  # what does not go with it is refused now

        def run(directories: tuple[bytes, ...]) -> int:
            hot = settings._replace(hot=bool(directories), hot_paths=directories)
            return self._copy(hot, sources, destination, "", job)

        return Watch(sources[0], rescan, self._environ).run(run, self._signals)

    def _copy(
        self,
        settings: Settings,
        sources: Sequence[Location],
        destination: Location,
        label: str,
        job: str = "",
        mode: Mode = Mode.COPY,
    ) -> int:
        """``label``: how output names the job; ``job``: its name, empty for ``SRC DST``."""
        if settings.list_only:
            return self._list(settings, sources)
        sides = *sources, destination
        shown = " ".join(each.shown() for each in sources)
        blank = Report(shown, destination.shown(), dry_run=bool(settings.dry_run))
        witness = Witness(self._face(settings, label, sources, destination, job))
        occasion = Occasion(
            job,
            settings,
            replace(blank, source=_absolute(*sources), destination=_absolute(destination)),
            remote=not all(isinstance(side, Local) for side in sides),
            environ=self._environ,
            signals=self._signals,
        )

        asks = bool(settings.two_way) and settings.conflicts is Conflicts.ASK
        if asks:
            from syncron_lib.cli.asking import Asking, require_terminal

        def attempt() -> Report:
            from syncron_lib.session.run import run_many, verify

            parts = settings.parts(sources)
            options, connect = settings.run_options(), self._connect_options(settings, witness)
            if settings.two_way:
                from syncron_lib.session.twoway.run import synchronise

                holder = self._key(settings, mode, sides, None, connect.ask)
                asking = partial(Asking, Prompt(witness.hold).ask) if asks else None
                return synchronise(sides, options, connect, witness, holder, asking)
            if settings.verify and len(parts) > 1:
                raise UsageError("--verify compares two trees: give one SRC and one DST.")
            key = self._key(settings, mode, sources, destination, connect.ask)
            if settings.verify:
                report = verify(parts[0], destination, options, connect, witness, key)
            elif settings.snapshot:
                report = self._snapshot(settings, parts, destination, connect, witness, key)
            else:
                report = run_many(parts, destination, options, connect, witness, key)
            return judged(report, settings, witness)

        def carried_out() -> int:
            if asks:
                require_terminal()
            return occasion.hold(witness, attempt)

        return self._shielded(witness, blank, carried_out)

    @staticmethod
    def _snapshot(
        settings: Settings,
        parts: Sequence[Part],
        destination: Location,
        connect: ConnectOptions,
        face: Face,
        key: KeyHolder | None,
    ) -> Report:
        from syncron_lib.core.retention import NAME_FORMAT
        from syncron_lib.session.snapshots import run_snapshot

        if len(parts) > 1 or parts[0].chosen is not None:
            raise UsageError("--snapshot is of one whole tree: give one SRC, and no list.")
        name = time.strftime(NAME_FORMAT, time.gmtime())
        options = settings.run_options()
        return run_snapshot(
            parts[0].source, destination, options, connect, face, name, settings.keep, key
        )

    def _hot_in(
        self, settings: Settings, location: Location, face: Face | None = None
    ) -> list[tuple[bytes, float]]:
        from syncron_lib.session.run import hot

        face = face or self._face(settings, "")
        connect = self._connect_options(settings, face)
        return hot(location, settings.run_options(), connect, face)

    def _list_hot(self, settings: Settings, location: Location) -> int:
        face = self._face(settings, "")

        def carry_out() -> int:
            from syncron_lib.cli.jobs.overview import hot_directories

            found = self._hot_in(settings, location, face)
            self._output.write(hot_directories(found, json=bool(settings.json)))
            return Exit.OK

        return self._shielded(face, Report(location.shown(), ""), carry_out)

    def _list_snapshots(self, settings: Settings, location: Location) -> int:
        face = self._face(settings, "")

        def carry_out() -> int:
            from syncron_lib.cli.jobs.overview import snapshots
            from syncron_lib.session.snapshots import list_snapshots

            connect = self._connect_options(settings, face)
            found = list_snapshots(location, settings.run_options(), connect)
            self._output.write(snapshots(found, json=bool(settings.json)))
            return Exit.OK

        return self._shielded(face, Report(location.shown(), ""), carry_out)

    def _listed(self, settings: Settings, sources: Sequence[Location]) -> list[Part]:
        """What is to be listed."""
        return settings.parts(sources)

    def _list(self, settings: Settings, sources: Sequence[Location]) -> int:
        face = self._face(settings, "")
        start = time.monotonic()
        blank = Report(" ".join(each.shown() for each in sources), "")

        def carry_out() -> int:
            from syncron_lib.cli.listing import line
            from syncron_lib.session.listonly import entries

            parts = self._listed(settings._replace(list_only=True), sources)
            options, connect = settings.run_options(), self._connect_options(settings, face)
            found = entries(parts, options, connect, face)
            for entry in found if settings.json or not settings.quiet else ():
                self._output.write(line(entry, settings))
            status = Exit.PARTIAL if any(entry.problem for entry in found) else Exit.OK
            if settings.json:
                duration = time.monotonic() - start
                report = replace(blank, source_entries=len(found), duration=duration)
                report.exit_code = status
                face.root(report)
            return status

        return self._shielded(face, blank, carry_out)

    def _key(
        self,
        settings: Settings,
        mode: Mode,
        sources: Sequence[Location],
        destination: Location | None,
        ask: Ask | None,
    ) -> KeyHolder | None:
        """Which side of a run has a key. ``destination``: None where ``sources`` are replicas."""
        from syncron_lib.cli.secrets import keys

        around = keys.Surroundings(self._environ, self._home, ask)
        if destination is None:
            return keys.replicas(settings, sources, around)
        return keys.holder(settings, mode, sources, destination, around)

    def _root(self, settings: Settings, location: Location) -> int:
        face = self._face(settings, "")
        start = time.monotonic()

        def carry_out() -> int:
            from syncron_lib.session.run import root

            options, connect = settings.run_options(), self._connect_options(settings, face)
            report = judged(root(location, options, connect, face), settings, face)
            face.root(replace(report, duration=time.monotonic() - start))
            return report.exit_code

        return self._shielded(face, Report(location.shown(), ""), carry_out)

    def _shielded(self, face: Face, blank: Report, carry_out: Callable[[], int]) -> int:
        """The exit status of ``carry_out``; what it raises becomes a sentence. ``blank`` is the
        report of a run that never began."""
        start = time.monotonic()
        try:
            return carry_out()
        except SyncronError as raised:
            error, report = self._signals.raised or raised, getattr(raised, "report", None)
            self._trace()
        except Exception as raised:
            error, report = self._signals.raised or unexpected(raised), None
            self._trace()
        status = error.status
        if not isinstance(report, Report):
            report = blank
        report = replace(report, duration=report.duration or time.monotonic() - start)
        face.broken_off(error, report, status)
        return status

    def _trace(self) -> None:
        """Show where the exception that is being handled comes from, if that is asked for."""
        if self._environ.get("SYNCRON_DEBUG") == "1":
            import traceback

            self._error.write(traceback.format_exc())

    def _face(
        self,
        settings: Settings,
        label: str,
        sources: Sequence[Location] = (),
        destination: Location | None = None,
        job: str = "",
    ) -> Face:
        run = _format_run(sources, destination)
        self._output.buffer(settings.outbuf)
        face: Face
        if settings.json:
            from syncron_lib.cli.json_lines import JsonFace

            face = JsonFace(self._output, self._error)
        else:
            face = TextFace(
                Manner.of(settings, terminal=self._output.is_terminal),
                progress_for(settings, self._error),
                self._output,
                self._error,
                label=label,
                run=run,
            )
        if settings.log_file is not None and sources:
            from syncron_lib.cli.logfile import LogFace

            face = LogFace(face, settings.log_file, settings, run)
        if settings.syslog and sources and not settings.dry_run:
            from syncron_lib.cli.jobs.syslog import SyslogFace

            shown = " ".join(each.shown() for each in sources)
            named = f"{shown} -> {destination.shown()}" if destination else shown
            face = SyslogFace(face, job or named)
        return face

    def _connect_options(self, settings: Settings, face: Face) -> ConnectOptions:
        from syncron_lib.transport.settings import ConnectOptions

        self._prompt = Prompt(face.hold)
        defaults = settings.run_options()
        return ConnectOptions(
            rsh=settings.rsh,
            port=settings.port,
            identity=settings.identity,
            family=settings.family,
            address=settings.address,
            contimeout=settings.contimeout,
            rsync_path=settings.rsync_path,
            remote_python=settings.remote_python,
            remote_syncron=settings.remote_syncron,
            timeout=defaults.timeout,
            ask=self._prompt.ask if Prompt.is_possible() else None,
            notice=face.notice,
            home=self._home,
            environment=dict(self._environ),
        )


def home_directory(environ: Mapping[str, str]) -> str | None:
    """This user's home directory, or None for a user that has none."""
    if os.path.isabs(home := environ.get("HOME", "")):
        return home
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None


def _absolute(*locations: Location) -> str:
    """Locations in a form that means the same wherever it is read."""
    return " ".join(
        (Local(os.path.abspath(each.path)) if isinstance(each, Local) else each).shown()
        for each in locations
    )


def _format_run(sources: Sequence[Location], destination: Location | None) -> Run:
    """What `cli.format` needs to know of a run."""
    receives = isinstance(destination, Local) and not all(isinstance(s, Local) for s in sources)
    paths = [source.path for source in sources if isinstance(source, Local)]
    return Run(not receives, prefix_of(paths))


_GRAVITY = (
    *(Exit.PEER, Exit.FILE_FATAL, Exit.CONNECTION, Exit.TIMEOUT),
    *(Exit.SSH, Exit.NO_PYTHON, Exit.NOT_EXECUTABLE, Exit.PROTOCOL, Exit.STATE),
    *(Exit.REFUSED, Exit.DELETE_CAP, Exit.LOCKED, Exit.USAGE),
    *(Exit.PARTIAL, Exit.DIFFERENT, Exit.CONFLICTS, Exit.VANISHED, Exit.OK),
)
"""Exit statuses of several jobs in one command: the first of these that occurs is the command's."""


def gravest(statuses: Sequence[int]) -> int:
    """The exit status that stands for several jobs: a signal before anything else."""
    signals = [each for each in statuses if each not in _GRAVITY]
    return signals[0] if signals else min(statuses, key=_GRAVITY.index, default=int(Exit.OK))
