"""``--ping``: telling a monitor of runs, as healthchecks.io and servers like it want to be told."""

from __future__ import annotations

import threading
import urllib.error
import urllib.parse
import urllib.request

from syncron_lib.cli.jobs.outcome import Outcome
from syncron_lib.core.location import shown_text

_TIMEOUT = 10.0
_IN_A_HURRY = 1.0
"""Seconds that a monitor has to answer; the second where somebody waits for the end."""
_ANSWER_MAX = 1 << 16


class Ping:
    """The pings of one run. Each returns a sentence if it failed."""

    def __init__(self, url: str) -> None:
        self._url = urllib.parse.urlsplit(url)
        self._start: threading.Thread | None = None
        self._failure: str | None = None

    def start(self) -> None:
        """The run begins; nothing waits for the answer."""

        def send() -> None:
            self._failure = self._send("/start", "", _TIMEOUT)

        self._start = threading.Thread(target=send, daemon=True, name="ping")
        self._start.start()

    def end(self, outcome: Outcome, *, hurry: bool) -> str | None:
        """The run has ended; a run that was put off is none."""
        limit = _IN_A_HURRY if hurry else _TIMEOUT
        if self._start is not None:
            self._start.join(limit)  # or the monitor could hear of the end first
        if outcome.put_off:
            return self._failure
        way = "/fail" if outcome.status else ""
        return self._send(way, told(outcome), limit) or self._failure

    def _send(self, way: str, text: str, timeout: float) -> str | None:
        # Only http and https get this far, see `periodic.url`.
        url = self._url._replace(path=self._url.path.rstrip("/") + way)
        request = urllib.request.Request(  # noqa: S310
            url.geturl(),
            data=text.encode("utf-8", "surrogateescape"),
            headers={"User-Agent": "syncron", "Content-Type": "text/plain; charset=utf-8"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                answer.read(_ANSWER_MAX)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            return f"The ping to {shown_text(self._url.netloc)} failed: {shown_text(str(reason))}."
        except Exception as error:  # http.client's, for what is no HTTP
            return f"The ping to {shown_text(self._url.netloc)} failed: {type(error).__name__}."
        return None


def told(outcome: Outcome) -> str:
    """What a monitor shows beside a ping."""
    report = outcome.report
    counts = (
        f"created {report.created}, changed {report.changed}, moved {report.moved},"
        f" deleted {report.deleted}; sent {report.bytes_sent} bytes"
    )
    first = f"exit status {outcome.status} after {outcome.duration:.1f} s"
    return "\n".join([first, counts, *outcome.lines]) + "\n"
