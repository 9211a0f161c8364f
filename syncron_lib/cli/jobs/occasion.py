"""What surrounds one run: hooks, a limit to its time, tries after the network failed, and whoever
is told how it went. A dry run has none of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from syncron_lib.cli.face import Face
from syncron_lib.cli.jobs.outcome import Outcome, Witness
from syncron_lib.cli.settings import Settings
from syncron_lib.cli.signals import Signals
from syncron_lib.cli.wording import entries
from syncron_lib.core.location import shown_text
from syncron_lib.core.report import Report
from syncron_lib.errors import (
    ConnectionLost,
    Exit,
    GuardRefused,
    Interrupted,
    SyncronError,
    TimedOut,
    Unreachable,
)

if TYPE_CHECKING:
    from syncron_lib.cli.jobs.ping import Ping

DEFAULT_RETRY_WAIT = 10.0
LONGEST_RETRY_WAIT = 600.0
"""Seconds; the wait is doubled each time up to this."""


class _PutOff(Exception):
    """The hook `before` said: not now."""


class Occasion:
    """One run of a job (an empty name: of ``SRC DST``) in its surroundings."""

    def __init__(
        self,
        job: str,
        settings: Settings,
        blank: Report,
        *,
        remote: bool,
        environ: Mapping[str, str],
        signals: Signals,
    ) -> None:
        """``blank`` names both sides; ``remote``: whether a network is between them."""
        self._job = job
        self._settings = settings
        self._blank = blank
        self._remote = remote
        self._environ = environ
        self._signals = signals
        self._ping = self._pings(settings)
        self._start = time.monotonic()
        self._began = time.time()

    @staticmethod
    def _pings(settings: Settings) -> Ping | None:
        if settings.ping is None or settings.dry_run:
            return None
        from syncron_lib.cli.jobs.ping import Ping

        return Ping(settings.ping)

    def hold(self, witness: Witness, run: Callable[[], Report]) -> int:
        """Do it all; the exit status. Raises what ended the run, after hooks have heard of it."""
        if self._settings.dry_run:
            report = run()
            witness.finished(report)
            return report.exit_code
        try:
            report = self._limited(witness, run)
        except _PutOff as put_off:
            text = str(put_off)
            self._tell(witness, self._outcome(witness, self._blank, 0, text, put_off=True))
            witness.put_off(text, self._blank)
            return Exit.OK
        except Exception as raised:
            error = self._signals.raised or unexpected(raised)
            self._signals.over()
            reached = getattr(error, "report", None)
            known = reached if isinstance(reached, Report) else self._blank
            outcome = self._outcome(witness, known, error.status, error.message)
            self._tell(witness, self._after(witness, outcome))
            if error is raised:
                raise
            raise error from raised
        outcome = self._after(witness, self._outcome(witness, report, int(report.exit_code), ""))
        self._tell(witness, outcome)
        report.exit_code = Exit(outcome.status)
        witness.finished(report)
        return outcome.status

    def _limited(self, witness: Witness, run: Callable[[], Report]) -> Report:
        settings = self._settings
        with self._signals.limit(settings.max_duration), _modest(settings, witness):
            if settings.before is not None:
                self._before(settings.before)
            if self._ping is not None:
                self._ping.start()
            return self._tried(witness, run)

    def _before(self, command: str) -> None:
        from syncron_lib.cli.jobs import hooks

        status = hooks.run_hook(command, self._environment("before"))
        if status == hooks.PUT_OFF:
            raise _PutOff(f"Put off by --before (it ended with {status}): {command}")
        if status:
            raise GuardRefused(
                f"--before ended with status {status}, and nothing was done; it runs: {command}"
            )

    def _tried(self, witness: Witness, run: Callable[[], Report]) -> Report:
        wait = self._settings.retry_wait
        wait = DEFAULT_RETRY_WAIT if wait is None else wait
        left = (self._settings.retries or 0) if self._remote else 0
        while True:
            try:
                return run()
            except (ConnectionLost, TimedOut, Unreachable) as error:
                if not left or self._signals.raised is not None:
                    raise
                tries = f"{left} more {'try' if left == 1 else 'tries'}"
                witness.warning(f"{error.message} Trying again in {wait:g} s ({tries}).")
            time.sleep(wait)
            left -= 1
            wait = min(wait * 2, LONGEST_RETRY_WAIT)

    def _after(self, witness: Witness, outcome: Outcome) -> Outcome:
        """Hooks hear how it went. If `after` fails, so has a run that was well otherwise."""
        command = self._settings.after
        if command is not None and (status := self._hook("after", command, outcome)):
            text = f"--after ended with status {status}; it runs: {command}"
            witness.warning(text)
            if not outcome.status:
                outcome = outcome._replace(
                    status=int(Exit.PARTIAL), message=text, lines=witness.lines()
                )
        command = self._settings.on_error
        failed = command is not None and outcome.status
        if failed and (status := self._hook("on-error", str(command), outcome)):
            witness.warning(f"--on-error ended with status {status}; it runs: {command}")
        return outcome

    def _hook(self, which: str, command: str, outcome: Outcome) -> int:
        from syncron_lib.cli.jobs import hooks

        return hooks.run_hook(command, {**self._environment(which), **hooks.described(outcome)})

    def _environment(self, which: str) -> dict[str, str]:
        return {
            **self._environ,
            "SYNCRON_HOOK": which,
            "SYNCRON_JOB": self._job,
            "SYNCRON_SOURCE": self._blank.source,
            "SYNCRON_DESTINATION": self._blank.destination,
        }

    def _outcome(
        self, witness: Witness, report: Report, status: int, text: str, *, put_off: bool = False
    ) -> Outcome:
        return Outcome(
            self._job,
            self._blank.source,
            self._blank.destination,
            self._began,
            time.monotonic() - self._start,
            status,
            report,
            text,
            put_off,
            witness.took(),
            witness.lines("" if put_off else text),
        )

    def _tell(self, witness: Witness, outcome: Outcome) -> None:
        """Whoever is to know how it went; none of them can make the run fail."""
        from syncron_lib.cli.jobs import history

        history.remember(outcome, self._environ)
        if self._settings.textfile is not None:
            self._write_textfile(witness, self._settings.textfile, outcome)
        if self._settings.report is not None:
            self._write_page(witness, self._settings.report, outcome)
        if self._ping is not None:
            hurry = isinstance(self._signals.raised, Interrupted)
            failure = self._ping.end(outcome, hurry=hurry)
            if failure is not None:
                witness.warning(failure)

    def _write_page(self, witness: Witness, file: str, outcome: Outcome) -> None:
        from syncron_lib.cli.jobs import history, page

        # Where nothing can be remembered, there is this run at least.
        runs = history.runs_like(outcome, self._environ) or [history.record_of(outcome)]
        try:
            page.write(file, runs)
        except OSError as error:
            witness.warning(
                f"The report cannot be written to {shown_text(file)}: {error.strerror}."
            )

    def _write_textfile(self, witness: Witness, file: str, outcome: Outcome) -> None:
        from syncron_lib.cli.jobs import textfile

        try:
            textfile.write(file, outcome)
        except OSError as error:
            witness.warning(
                f"The metrics cannot be written to {shown_text(file)}: {error.strerror}."
            )


def judged(report: Report, settings: Settings, face: Face) -> Report:
    """With what ``--expect-root`` and ``--fail-on-change`` make of a run that went well."""
    if report.exit_code:
        return report
    done = report.created + report.changed + report.moved + report.deleted + report.metadata
    done += report.linked + report.copied
    if settings.fail_on_change and done:
        were = "would be" if report.dry_run else "were"
        face.warning(f"--fail-on-change: {entries(done)} {were} changed.")
        report.exit_code = Exit.DIFFERENT
    wanted = settings.expect_root
    if wanted is not None and not (report.source_root or "").startswith(wanted):
        known = report.source_root or "not known"
        face.warning(f"--expect-root: the root is {known}, and not {wanted}.")
        report.exit_code = Exit.DIFFERENT
    return report


@contextmanager
def _modest(settings: Settings, witness: Witness) -> Iterator[None]:
    """Run with less priority; the threads and helpers of the run inherit it."""
    if settings.ionice is not None and not _set_ionice(settings.ionice):
        witness.warning("--ionice could not be set: the program ionice is not here, or refused.")
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if settings.nice is not None:
        os.setpriority(os.PRIO_PROCESS, 0, max(before, settings.nice))
    try:
        yield
    finally:
        # The next job of the command has a priority of its own, where the system lets us.
        if settings.nice is not None:
            try:
                os.setpriority(os.PRIO_PROCESS, 0, before)
            except PermissionError:
                pass
        if settings.ionice is not None:
            _set_ionice("none")


def _set_ionice(text: str) -> bool:
    import subprocess

    name, _, level = text.partition(":")
    words = ["ionice", "-c", {"none": "0", "best-effort": "2", "idle": "3"}[name]]
    words += ["-n", level] * bool(level)
    try:
        done = subprocess.run(
            [*words, "-p", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def unexpected(error: Exception) -> SyncronError:
    """What nobody foresaw, as the sentence that ends the run; what was foreseen, as it is."""
    if isinstance(error, SyncronError):
        return error
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return SyncronError(
        f"Something unexpected went wrong inside syncron ({what}); please report it, with what "
        "SYNCRON_DEBUG=1 in the environment shows.",
        exit_code=Exit.FILE_FATAL,
    )
