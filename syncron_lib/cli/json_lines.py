"""The face for programs: one JSON object a line on standard output, the summary always last.

Names are lossless: one that is UTF-8 stands in ``path`` as it is; any other has its escaped form
there and its bytes in ``path_base64``.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from syncron_lib.cli.output import Output, one_line
from syncron_lib.cli.progress import Clock
from syncron_lib.core.names import shown
from syncron_lib.core.report import Clash, Failure, Item, Phase, Report
from syncron_lib.errors import SyncronError

SCHEMA = 1
"""Grows when a field changes its meaning or goes away, not when one is added."""

_STATUS_EVERY = 1.0
"""Seconds between two objects that only say how far a run is."""

_FLUSH_EVERY = 0.2
"""Seconds that an object may wait for more to come."""


class JsonFace:
    """One run as JSON lines."""

    def __init__(self, output: Output, error: Output, *, clock: Clock = time.monotonic) -> None:
        self._output = output
        self._error = error
        self._clock = clock
        self._flushed = clock()
        self._status = self._flushed
        self._lock = threading.Lock()

    def phase(self, phase: Phase) -> None:
        """One status object."""
        self._status = self._clock()
        self._write({"message_type": "status", "phase": phase.value})
        self._output.flush()

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """A status object now and then."""
        now = self._clock()
        if now - self._status < _STATUS_EVERY:
            return
        self._status = now
        status = {"message_type": "status", "phase": phase.value, "done": done, "total": total}
        self._write({**status, "bytes": size} if phase is Phase.SCAN else status)

    def item(self, item: Item) -> None:
        """One item object."""
        message = {
            "message_type": "item",
            "action": item.action.value,
            "flags": item.flags,
            **({"sealed": True} if item.sealed else {}),
            **named("path", item.path),
            "is_directory": item.is_directory,
            "size": item.size,
        }
        if item.target is not None:
            message.update(named("target", item.target))
        if item.old is not None:
            message.update(named("old", item.old))
        if item.why is not None:
            message["why"] = item.why.value
        if item.at is not None:
            message["at"] = ("first", "second")[item.at]
        self._write(message)

    def clash(self, clash: Clash) -> None:
        """One conflict object."""
        first, second = (None if value is None else value.hex() for value in clash.digests)
        message: dict[str, Any] = {
            "message_type": "conflict",
            **named("path", clash.path),
            "what": clash.what,
            "first_digest": first,
            "second_digest": second,
            "winner": None if clash.winner is None else ("first", "second")[clash.winner],
        }
        if clash.kept is not None:
            message.update(named("kept", clash.kept))
        self._write(message)

    def failure(self, failure: Failure) -> None:
        """One failure object."""
        self._write({"message_type": "failure", **_failure(failure)})

    def remark(self, text: str) -> None:
        """Nothing: programs find what matters to them in the summary."""

    def warning(self, text: str) -> None:
        """One warning object."""
        self._write({"message_type": "warning", "message": text})

    def notice(self, text: str) -> None:
        """One warning object."""
        self.warning(text)

    def hold(self, held: bool) -> None:
        """Nothing: there is no progress on a terminal."""

    def finished(self, report: Report) -> None:
        """The summary."""
        self._last(summary(report))

    def root(self, report: Report) -> None:
        """The summary."""
        self._last(summary(report))

    def put_off(self, text: str, report: Report) -> None:
        """The summary, which says why nothing was done."""
        self._last({**summary(report), "put_off": text})

    def broken_off(self, error: SyncronError, report: Report, status: int) -> None:
        """The sentence for people, then the summary, last even where both go to one file."""
        self._output.flush()
        self._error.write(f"syncron: {one_line(error.message)}\n")
        self._error.flush()
        self._last({**summary(report, [{"message": error.message}]), "exit_code": status})

    def _write(self, message: dict[str, Any]) -> None:
        line = json.dumps(message) + "\n"
        with self._lock:
            self._output.write(line)
            now = self._clock()
            if now - self._flushed >= _FLUSH_EVERY:
                self._flushed = now
                self._output.flush()

    def _last(self, message: dict[str, Any]) -> None:
        line = json.dumps(message) + "\n"
        with self._lock:
            self._output.write(line)
            self._output.flush()


def named(key: str, name: bytes) -> dict[str, str]:
    """A name under ``key``, and its bytes beside it where it is not UTF-8."""
    try:
        return {key: name.decode("utf-8")}
    except UnicodeDecodeError:
        return {key: shown(name), f"{key}_base64": base64.b64encode(name).decode("ascii")}


def summary(report: Report, errors: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The last object: what a run did; ``errors`` are what ended it early."""
    return {
        "message_type": "summary",
        "schema": SCHEMA,
        "source": report.source or None,
        "destination": report.destination or None,
        "dry_run": report.dry_run,
        "duration": round(report.duration, 6),
        "created": report.created,
        "changed": report.changed,
        "moved": report.moved,
        "linked": report.linked,
        "copied": report.copied,
        "deleted": report.deleted,
        "metadata": report.metadata,
        "unchanged": report.unchanged,
        "left_out": report.left_out,
        "removed": report.removed,
        "source_entries": report.source_entries,
        "bytes_scanned": report.bytes_scanned,
        "bytes_hashed": report.bytes_hashed,
        "bytes_transferred": report.bytes_transferred,
        "bytes_matched": report.bytes_matched,
        "bytes_sent": report.bytes_sent,
        "bytes_received": report.bytes_received,
        "source_root": report.source_root,
        "destination_root": report.destination_root,
        "algorithm": report.algorithm,
        "match": report.match,
        "conflicts": report.conflicts,
        "warnings": report.warnings,
        "errors": [
            *map(_failure, report.failures),
            *({"message": text} for text in report.unsaved),
            *errors,
        ],
        "exit_code": int(report.exit_code),
    }


def _failure(failure: Failure) -> dict[str, Any]:
    path = named("path", failure.path)
    return {
        "message": f"{path['path'] or '.'}: {failure.what}",
        **path,
        "side": failure.side,
        "what": failure.what,
        "cause": failure.cause.value,
    }
