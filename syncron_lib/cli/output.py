"""Writing that cannot end a run: what nobody reads any more, or cannot be written, is dropped."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from syncron_lib.core.names import shown


class Output:
    """One of the standard streams. A reader that has gone (``| head``) is no error: the run goes
    on and what it says is dropped. Any other failed write is kept in ``failure``."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.failure: str | None = None
        self._at_once = False
        self.is_terminal = False
        if stream is not None:
            try:
                self.is_terminal = stream.isatty()
            except ValueError:  # closed
                self._stream = None
        if self._stream is not None and hasattr(self._stream, "reconfigure"):
            # Any name and any locale: what the encoding lacks is shown escaped.
            self._stream.reconfigure(errors="backslashreplace")

    @property
    def stream(self) -> TextIO | None:
        """The stream underneath, None when there is nobody to write to."""
        return self._stream

    def buffer(self, mode: str | None) -> None:
        """Hand over what is written at once (``none``), by lines (``line``) or not before there is
        much of it (``block``); None: as it is."""
        if mode is not None and self._stream is not None and hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(line_buffering=mode == "line")
            self._at_once = mode == "none"

    def write(self, text: str) -> None:
        """Write ``text``; buffered where it is not a terminal."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                if self._at_once:
                    self._stream.flush()
            except OSError as error:
                self._drop(error)

    def flush(self) -> None:
        """Hand over what is buffered."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._drop(error)

    def _drop(self, error: OSError) -> None:
        stream, self._stream = self._stream, None
        if not isinstance(error, BrokenPipeError):
            self.failure = error.strerror or str(error)
        if stream is None:
            return
        try:
            # What is left in its buffer must go somewhere when the interpreter ends.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            return


def hold_standard_descriptors() -> None:
    """Make sure that 0, 1 and 2 are open, so that no file of the run gets one of these numbers
    and then whatever is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)


def standard_output() -> Output:
    """The standard output as it is now."""
    return Output(sys.stdout)


def standard_error() -> Output:
    """The standard error as it is now."""
    return Output(sys.stderr)


def one_line(text: str) -> str:
    """A sentence that may quote somebody else's bytes, safe for a terminal. Line breaks stay,
    indented, because some explanations show what a remote shell said."""
    lines = [shown(line.encode("utf-8", "surrogateescape")) for line in text.splitlines()]
    return "\n    ".join(lines)
