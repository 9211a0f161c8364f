"""The face for people: itemized lines, errors as sentences, one line at the end."""

from __future__ import annotations

import threading
import time

from syncron_lib.cli.format import SENDING, Run, has, line, speaks_of
from syncron_lib.cli.output import Output, one_line
from syncron_lib.cli.progress import BarProgress, Clock, LineProgress, NoProgress, Progress
from syncron_lib.cli.settings import Settings
from syncron_lib.cli.told import Told, told
from syncron_lib.cli.wording import (
    clash_line,
    did_something,
    duration,
    failure_line,
    item_line,
    item_name,
    left_line,
    stats,
    summary,
    verbose_line,
)
from syncron_lib.core.names import shown
from syncron_lib.core.report import Action, Cause, Clash, Failure, Item, Phase, Report
from syncron_lib.errors import Exit, SyncronError
from syncron_lib.record import NamedTuple


class Manner(NamedTuple):
    """How much is said, decided once from the settings and from what the streams are."""

    itemize: bool
    """rsync's itemized lines, for every change."""
    names: bool
    """Only the names."""
    told: Told
    """What else of single entries is told."""
    form: str | None
    """A line for each change in this format instead."""
    summary: bool
    stats: bool
    human: int
    """How ``--stats`` writes numbers: see `cli.format.human_number`; 1 is our own way."""
    warnings: bool
    remarks: bool
    phases: bool
    verify: bool
    algorithm: bool
    """By which algorithm a root is."""

    @staticmethod
    def of(settings: Settings, *, terminal: bool) -> Manner:
        """``terminal``: whether standard output is one."""
        quiet = bool(settings.quiet)
        verbose = settings.verbose or 0
        of_each = told(settings)
        sums_up = of_each.stats > 0 if "stats" in settings.info else terminal or verbose > 0
        names_will_do = bool(verbose or of_each.name) and not settings.itemize_changes
        names_will_do = names_will_do and not settings.verify
        return Manner(
            itemize=settings.shows_changes and not names_will_do,
            names=settings.shows_changes and names_will_do and of_each.name > 0,
            told=Told() if quiet else of_each,
            form=settings.out_format if settings.shows_changes else None,
            summary=sums_up and not quiet,
            stats=of_each.stats > 1 and not quiet,
            human=min(3, 1 + (settings.human_readable or 0)),
            warnings=not quiet,
            remarks=bool(verbose) and not quiet,
            phases=(verbose > 1 or settings.info.get("flist", 0) > 0) and not quiet,
            verify=bool(settings.verify),
            algorithm=bool(verbose) and not quiet,
        )


def progress_for(settings: Settings, error: Output) -> Progress:
    """The progress that settings and standard error ask for."""
    wanted = settings.info.get("progress", settings.progress)
    if wanted is None:
        wanted = error.is_terminal
    if settings.quiet or not wanted:
        return NoProgress()
    return _bar(settings, error) if error.is_terminal else LineProgress(error)


def _bar(settings: Settings, error: Output) -> BarProgress:
    return BarProgress(error, announce_connecting=settings.rsh is None)


class TextFace:
    """Changes and the summary on standard output; progress, warnings, errors on standard error."""

    def __init__(
        self,
        manner: Manner,
        progress: Progress,
        output: Output,
        error: Output,
        *,
        label: str = "",
        clock: Clock = time.monotonic,
        run: Run = SENDING,
    ) -> None:
        """``label``: the job's name, where there are several. ``run``: see `cli.format`."""
        self._run = run
        self._manner = manner
        self._progress = progress
        self._output = output
        self._error = error
        self._label = f"{label}: " if label else ""
        self._clock = clock
        self._start = clock()
        self._lock = threading.RLock()

    def phase(self, phase: Phase) -> None:
        """Show it; under ``-vv`` as a line."""
        if self._manner.phases:
            self._complain(f"{duration(self._clock() - self._start)}: {phase.value}")
        with self._lock:
            self._progress.phase(phase)

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """Show it."""
        with self._lock:
            self._progress.progress(phase, done, total, size)

    def item(self, item: Item) -> None:
        """Show it, if changes are asked for."""
        said = self._line(item)
        if said is not None:
            self.say(said)

    def _line(self, item: Item) -> str | None:
        """What is said of an entry; None for nothing."""
        manner = self._manner
        if item.action is Action.LEAVE:
            return left_line(item) if manner.told.leaves(item) else None
        flags = manner.itemize if manner.form is None else has(manner.form, "i")
        if item.action is Action.UNCHANGED and not flags:
            return None if item.is_directory else f"{shown(item.path)} is uptodate"
        if manner.form is not None:
            if speaks_of(manner.form, item):
                return line(manner.form, item, self._run, time.time())
            return item_name(item._replace(target=None)) if manner.told.name > 1 else None
        if manner.itemize:
            return item_line(item)
        if manner.names or (manner.told.delete and item.action is Action.DELETE):
            return verbose_line(item)
        return None

    def clash(self, clash: Clash) -> None:
        """Always shown: a person may have to look."""
        self._complain(clash_line(clash))

    def failure(self, failure: Failure) -> None:
        """Always shown."""
        self._complain(failure_line(failure))

    def remark(self, text: str) -> None:
        """Shown under ``-v``."""
        if self._manner.remarks:
            self._complain(text)

    def warning(self, text: str) -> None:
        """Shown unless quiet."""
        if self._manner.warnings:
            self._complain(f"warning: {text}")

    def notice(self, text: str) -> None:
        """Shown unless quiet."""
        if self._manner.warnings:
            self._complain(text)

    def hold(self, held: bool) -> None:
        """Keep the progress away."""
        with self._lock:
            self._progress.hold(held)

    def finished(self, report: Report) -> None:
        """What came of it: on standard output where it is wanted, what is amiss always."""
        with self._lock:
            self._progress.close()
        if self._manner.stats:
            self._output.write(stats(report, self._manner.human))
        if self._manner.summary:
            self.say(self._label + summary(report, verify=self._manner.verify))
        self._output.flush()
        for sentence in (_amiss(report), *report.unsaved):
            if sentence is not None:
                self._complain(sentence)

    def root(self, report: Report) -> None:
        """The digest alone on a line, for scripts; what it is by beside it, if more is asked."""
        with self._lock:
            self._progress.close()
        self.say(report.source_root or "")
        self._output.flush()
        if self._manner.algorithm:
            self._complain(f"the root is by {report.algorithm}")
        for sentence in report.unsaved:
            self._complain(sentence)

    def put_off(self, text: str, report: Report) -> None:
        """A line where the summary would be."""
        with self._lock:
            self._progress.close()
        if self._manner.summary:
            self.say(self._label + text)
        self._output.flush()

    def broken_off(self, error: SyncronError, report: Report, status: int) -> None:
        """The sentence, and what was done before."""
        with self._lock:
            self._progress.close()
        self._output.flush()
        if did_something(report) and not report.dry_run and self._manner.warnings:
            self._complain(f"done before that: {summary(report, verify=False)}")
        self._complain(error.message)

    def say(self, line: str) -> None:
        """A line on standard output."""
        with self._lock:
            self._progress.hide()
            self._output.write(f"{line}\n")

    def _complain(self, sentence: str) -> None:
        with self._lock:
            self._progress.hide()
            self._output.flush()
            self._error.write(f"syncron: {one_line(self._label + sentence)}\n")
            self._error.flush()


def _amiss(report: Report) -> str | None:
    """What a run that was carried out left undone."""
    count = len(report.failures)
    files = f"{count:,} {'file' if count == 1 else 'files'}"
    if report.dry_run and count:
        return f"{files} could not be looked at (see above); a real run would leave them out."
    code = report.exit_code
    if report.unsaved:  # that is said besides
        undone = any(each.cause is Cause.ERROR for each in report.failures)
        undone = undone or report.match is False
        code = Exit.PARTIAL if undone else Exit.VANISHED if count else Exit.OK
    if code == Exit.PARTIAL and not count:
        return "finished, but the two trees are not equal; run it again to see what differs."
    if code == Exit.PARTIAL:
        return f"finished, but {files} could not be done (see above); the rest was."
    if code == Exit.VANISHED:
        return (
            f"finished, but {files} vanished or changed while being read; run it again to catch up."
        )
    return None
