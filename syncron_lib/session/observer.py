"""What a session tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

from syncron_lib.core.report import Clash, Failure, Item, Phase


class Observer(Protocol):
    """Called from the session's thread, except `progress`, which may come from any."""

    def phase(self, phase: Phase) -> None:
        """The run turns to something else."""

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        """How far a phase is: scanning, entries and their bytes so far; hashing and
        transferring, bytes done and in all."""

    def item(self, item: Item) -> None:
        """One change, done or (dry run) to be done, in plan order."""

    def clash(self, clash: Clash) -> None:
        """Something that was changed on both sides of a run in both directions."""

    def failure(self, failure: Failure) -> None:
        """One file that was not done."""

    def remark(self, text: str) -> None:
        """Something that only who wants to know more is told."""

    def warning(self, text: str) -> None:
        """Something the user should know; the run goes on."""
