"""``--conflicts=ask``: a person says what becomes of each file that was changed on both sides.

Asked while the run is planned, before anything is written. What changes while somebody thinks is
found out when it is carried out, as any change after the scan is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Optional

from syncron_lib.cli.prompt import Prompt
from syncron_lib.core.names import shown
from syncron_lib.core.twoway.reconcile import Choice
from syncron_lib.core.twoway.records import Record
from syncron_lib.errors import UsageError

Ask = Callable[[str, bool, Sequence[str]], Optional[str]]
"""As `Prompt.ask`."""
_QUESTION = (
    "Keep both [b], the first [1] or the second [2] under this name, or skip [s];"
    " with ! for all the rest, as in 2! [b]:"
)
_CHOICES = {"": Choice.BY_ORDER, "b": Choice.BY_ORDER, "s": Choice.SKIP}
_CHOICES |= {"1": Choice.FIRST, "2": Choice.SECOND}


def require_terminal() -> None:
    """Raise UsageError where there is nobody to ask."""
    if not Prompt.is_possible():
        raise UsageError(
            "--conflicts=ask needs a terminal to ask on. Nothing was changed; without one, choose"
            " keep-both, prefer-first, prefer-second, newer or skip."
        )


class Asking:
    """A policy for two replicas: what a person says."""

    def __init__(self, ask: Ask, first: str, second: str) -> None:
        """``first``, ``second``: the replicas, for people."""
        self._ask = ask
        self._names = first, second
        self._rest: Choice | None = None

    def __call__(self, path: bytes, first: Record, second: Record) -> Choice:
        """What is to become of one path."""
        if self._rest is not None:
            return self._rest
        about = [f"{shown(path)} was changed on both sides:"]
        about += [
            f"  [{number}] {name}: {described(record)}"
            for number, name, record in zip("12", self._names, (first, second))
        ]
        while True:
            answer = self._ask(_QUESTION, False, about)
            if answer is None:  # nobody answers any more: nothing is done that nobody wanted
                self._rest = Choice.SKIP
                return self._rest
            word = answer.strip().lower()
            choice = _CHOICES.get(word.rstrip("!").rstrip())
            if choice is not None:
                if word.endswith("!"):
                    self._rest = choice
                return choice
            about = []


def described(record: Record) -> str:
    """A version, for people."""
    if record.target is not None:
        return f"a symlink to {shown(record.target)}"
    if not record.is_file:
        return "a device, a FIFO or a socket"
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.mtime // 1_000_000_000))
    return f"a file of {record.size:,} bytes, {moment}, digest {record.fp.hex()[:10]}"
