"""``--syslog``: what is amiss and how a run ended, for the system's log."""

from __future__ import annotations

import os
import socket

from syncron_lib.cli.face import Face, PassingFace
from syncron_lib.cli.output import one_line
from syncron_lib.cli.wording import failure_line, summary
from syncron_lib.core.report import Failure, Report
from syncron_lib.errors import SyncronError

SOCKET = "/dev/log"

_DAEMON = 3 << 3
_ERROR, _WARNING, _INFO = 3, 4, 6
_LINE_MAX = 1000
"""Bytes: what every syslog takes."""


class SyslogFace(PassingFace):
    """Another face, and the system's log. What cannot be written there is a warning, once."""

    def __init__(self, face: Face, label: str, address: str = SOCKET) -> None:
        """``label``: what a line names the run by."""
        super().__init__(face)
        self._label = label
        self._address = address
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def failure(self, failure: Failure) -> None:
        """A line of its own."""
        self._log(_ERROR, failure_line(failure))
        super().failure(failure)

    def warning(self, text: str) -> None:
        """A line of its own."""
        self._log(_WARNING, text)
        super().warning(text)

    def finished(self, report: Report) -> None:
        """The last line."""
        level = _ERROR if report.exit_code else _INFO
        self._log(level, f"{summary(report, verify=False)}; exit status {int(report.exit_code)}")
        super().finished(report)

    def put_off(self, text: str, report: Report) -> None:
        """The last line."""
        self._log(_INFO, text)
        super().put_off(text, report)

    def broken_off(self, error: SyncronError, report: Report, status: int) -> None:
        """The last line."""
        self._log(_ERROR, f"{error.message} (exit status {status})")
        super().broken_off(error, report, status)

    def _log(self, level: int, text: str) -> None:
        if self._socket is None:
            return
        line = " ".join(one_line(text).split())
        head = f"<{_DAEMON | level}>syncron[{os.getpid()}]: {self._label}"
        try:
            self._socket.connect(self._address)
            self._socket.send(f"{head}: {line}".encode("utf-8", "backslashreplace")[:_LINE_MAX])
        except OSError as error:
            self._socket = None
            super().warning(f"The system's log cannot be written to: {error.strerror}.")
