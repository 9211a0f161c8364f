"""What the session tells, and what is told at the end: one interface, text and JSON behind it."""

from __future__ import annotations

from typing import Protocol

from syncron_lib.core.report import Clash, Failure, Item, Phase, Report
from syncron_lib.errors import SyncronError


class Face(Protocol):
    """Shows one run. The first seven are the session's observer; any thread may call."""

    def phase(self, phase: Phase) -> None:
        """A phase begins."""

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """Scan: entries so far and their bytes; hash and transfer: bytes done and in all."""

    def item(self, item: Item) -> None:
        """One change, in the order of the plan; in a dry run too."""

    def clash(self, clash: Clash) -> None:
        """Something that two replicas had changed, each in its way."""

    def failure(self, failure: Failure) -> None:
        """One file that was not done."""

    def remark(self, text: str) -> None:
        """Something that is told under ``-v``."""

    def warning(self, text: str) -> None:
        """Something a person should know; the run goes on."""

    def notice(self, text: str) -> None:
        """What connecting has to say: a host key was recorded, an external ssh complains."""

    def hold(self, held: bool) -> None:
        """Leave the terminal alone while a person is being asked something."""

    def finished(self, report: Report) -> None:
        """The run was carried out."""

    def root(self, report: Report) -> None:
        """The Merkle root that ``--root`` asked for, as the source's."""

    def put_off(self, text: str, report: Report) -> None:
        """A hook put the run off, so that nothing was done; ``text`` says which and why."""

    def broken_off(self, error: SyncronError, report: Report, status: int) -> None:
        """The run ended early; ``report`` says how far it came, ``status`` is the exit status."""


class PassingFace:
    """Passes everything on to another face; what watches a run overrides what it wants to see."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def phase(self, phase: Phase) -> None:
        """Passed on."""
        self._face.phase(phase)

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """Passed on."""
        self._face.progress(phase, done, total, size)

    def item(self, item: Item) -> None:
        """Passed on."""
        self._face.item(item)

    def clash(self, clash: Clash) -> None:
        """Passed on."""
        self._face.clash(clash)

    def failure(self, failure: Failure) -> None:
        """Passed on."""
        self._face.failure(failure)

    def remark(self, text: str) -> None:
        """Passed on."""
        self._face.remark(text)

    def warning(self, text: str) -> None:
        """Passed on."""
        self._face.warning(text)

    def notice(self, text: str) -> None:
        """Passed on."""
        self._face.notice(text)

    def hold(self, held: bool) -> None:
        """Passed on."""
        self._face.hold(held)

    def finished(self, report: Report) -> None:
        """Passed on."""
        self._face.finished(report)

    def root(self, report: Report) -> None:
        """Passed on."""
        self._face.root(report)

    def put_off(self, text: str, report: Report) -> None:
        """Passed on."""
        self._face.put_off(text, report)

    def broken_off(self, error: SyncronError, report: Report, status: int) -> None:
        """Passed on."""
        self._face.broken_off(error, report, status)
