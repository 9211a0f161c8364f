"""``--log-file``: what a run does, a line each, behind date and process as rsync writes them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from syncron_lib.cli.face import Face, PassingFace
from syncron_lib.cli.format import DEFAULT, Run, line, speaks_of
from syncron_lib.cli.settings import Settings
from syncron_lib.cli.told import told
from syncron_lib.cli.wording import failure_line, left_line, summary
from syncron_lib.core.report import Action, Failure, Item, Phase, Report
from syncron_lib.errors import SyncronError, UsageError


class LogFace(PassingFace):
    """Another face, and a file that what matters is written to."""

    def __init__(
        self,
        face: Face,
        name: str,
        settings: Settings,
        run: Run,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises `UsageError` where the file cannot be written."""
        super().__init__(face)
        form = settings.log_file_format
        self._form = DEFAULT if form is None else form
        self._unchanged = (settings.itemize_changes or 0) > 1
        self._told = told(settings)
        self._run = run
        self._clock = clock
        self._started = False
        try:
            self._file = open(name, "a", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"Cannot write the log {name}: {error.strerror}.") from error

    def _log(self, text: str) -> None:
        moment = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(self._clock()))
        for each in text.splitlines():
            self._write(f"{moment} [{os.getpid()}] {each}\n")

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            self._face.warning(f"The log cannot be written any more: {error.strerror}.")

    def phase(self, phase: Phase) -> None:
        """Passed on; the first is where a log begins."""
        if not self._started:
            self._started = True
            self._log("building file list")
        self._face.phase(phase)

    def item(self, item: Item) -> None:
        """A line in the log."""
        if item.action is Action.LEAVE:
            if self._told.leaves(item):
                self._log(left_line(item))
        elif item.action is Action.UNCHANGED and not self._unchanged:
            pass  # shown, but not logged
        elif self._form and speaks_of(self._form, item):
            self._log(line(self._form, item, self._run, self._clock()))
        self._face.item(item)

    def failure(self, failure: Failure) -> None:
        """A line in the log."""
        self._log(f"syncron: {failure_line(failure)}")
        self._face.failure(failure)

    def warning(self, text: str) -> None:
        """A line in the log."""
        self._log(f"syncron: warning: {text}")
        self._face.warning(text)

    def notice(self, text: str) -> None:
        """A line in the log."""
        self._log(f"syncron: {text}")
        self._face.notice(text)

    def finished(self, report: Report) -> None:
        """The last lines."""
        self._log(
            f"sent {report.bytes_sent} bytes  received {report.bytes_received} bytes"
            f"  total size {report.source_bytes}"
        )
        self._log(f"syncron: {summary(report, verify=False)}; exit status {int(report.exit_code)}")
        self._file.close()
        self._face.finished(report)

    def root(self, report: Report) -> None:
        """Passed on."""
        self._file.close()
        self._face.root(report)

    def put_off(self, text: str, report: Report) -> None:
        """The last line."""
        self._log(f"syncron: {text}")
        self._file.close()
        self._face.put_off(text, report)

    def broken_off(self, error: SyncronError, report: Report, status: int) -> None:
        """The last line."""
        self._log(f"syncron error: {error.message} (exit status {status})")
        self._file.close()
        self._face.broken_off(error, report, status)
