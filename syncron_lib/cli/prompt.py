"""Asking a person: passphrases, passwords, host keys. Only where there is a terminal."""

from __future__ import annotations

import os
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from typing import Any

from syncron_lib.cli.output import one_line

_LINE_MAX = 4096
"""Bytes of one line, which is what a terminal hands over at most."""


class Prompt:
    """Asks on the terminal, one question at a time. ``hold`` keeps the progress away meanwhile."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self._hold = hold
        self._lock = threading.Lock()
        self._attributes: list[Any] | None = None

    @staticmethod
    def is_possible() -> bool:
        """Whether a person reads and types: both standard input and error are terminals."""
        try:
            return bool(sys.stdin and sys.stderr and sys.stdin.isatty() and sys.stderr.isatty())
        except ValueError:  # closed
            return False

    def ask(self, question: str, secret: bool, about: Sequence[str] = ()) -> str | None:
        """The answer without its line end, not echoed if ``secret``; None at end of input.
        ``about``: lines before the question."""
        with self._lock:
            self._hold(True)
            if secret:
                self._silence()
            try:
                sys.stderr.writelines(one_line(each) + "\n" for each in about)
                sys.stderr.write(one_line(question) + (" " if not question.endswith(" ") else ""))
                sys.stderr.flush()
                # Not sys.stdin: a thread that waits there would hold its lock at the end.
                line = os.read(sys.stdin.fileno(), _LINE_MAX)
            finally:
                self.restore()
                if secret:
                    sys.stderr.write("\n")
                    sys.stderr.flush()
                self._hold(False)
        return line.rstrip(b"\n").decode("utf-8", "surrogateescape") if line else None

    def restore(self) -> None:
        """Put the terminal back as it was; for when the run ends while a question is open."""
        if self._attributes is not None:
            attributes, self._attributes = self._attributes, None
            try:
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, attributes)
            except termios.error:
                return  # the terminal has gone

    def _silence(self) -> None:
        """No echo; before the question, so that nothing typed in answer to it is lost."""
        self._attributes = termios.tcgetattr(sys.stdin.fileno())
        silent = list(self._attributes)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, silent)
