"""The end of what a remote command wrote to its standard error."""

from __future__ import annotations

import threading
from collections.abc import Callable

from syncron_lib.core.names import shown

_LIMIT = 8192
"""Bytes kept: enough for the last lines of a traceback, whatever the other side sends."""

_LINES_SHOWN = 5


class StderrTail:
    """Fed from one thread, read from any. ``on_line`` gets every line as it comes, escaped."""

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._kept = bytearray()
        self._on_line = on_line
        self._partial = b""

    def feed(self, data: bytes) -> None:
        with self._lock:
            self._kept += data
            del self._kept[:-_LIMIT]
        if self._on_line is not None:
            *lines, rest = (self._partial + data).split(b"\n")
            self._partial = rest[-_LIMIT:]
            for line in lines:
                self._on_line(shown(line.rstrip(b"\r")))

    def finish(self) -> None:
        """Nothing more comes: pass on a last line without an end."""
        if self._on_line is not None and self._partial:
            self._on_line(shown(self._partial))
            self._partial = b""

    def text(self) -> str:
        """The last lines, escaped and joined by `` / ``; empty if there were none."""
        with self._lock:
            lines = [line.strip() for line in bytes(self._kept).splitlines() if line.strip()]
        return " / ".join(shown(line) for line in lines[-_LINES_SHOWN:])
