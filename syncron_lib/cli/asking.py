"""``--conflicts=ask``: a person says what becomes of each file that was changed on both sides.

Asked while the run is planned, before anything is written. What changes while somebody thinks is
found out when it is carried out, as any change after the scan is.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Optional

from syncron_lib.cli.prompt import Prompt
from syncron_lib.core.names import shown
from syncron_lib.core.twoway.reconcile import Choice
from syncron_lib.core.twoway.records import Record
from syncron_lib.errors import UsageError

if TYPE_CHECKING:
    from syncron_lib.session.twoway.run import Versions

Ask = Callable[[str, bool, Sequence[str]], Optional[str]]
"""As `Prompt.ask`."""
_QUESTION = (
    "Keep both [b], the first [1] or the second [2] under this name, or skip [s];"
    " with ! for all the rest, as in 2! [b]:"
)
_MOST_LINES = 200
"""Lines of a difference that are shown."""
_SLOW = 20_000
"""Lines beyond which finding a difference takes longer than a person waits."""
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

    def __init__(self, ask: Ask, first: str, second: str, versions: Versions) -> None:
        """``first``, ``second``: the replicas, for people."""
        self._ask = ask
        self._versions = versions
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
        about += self._difference(path, first, second)
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

    def _difference(self, path: bytes, first: Record, second: Record) -> list[str]:
        """How the two differ, if both are text."""
        if not (first.is_file and second.is_file):
            return []
        one, other = self._versions(path, first, second)
        if one is None or other is None or b"\0" in one or b"\0" in other:
            return []
        lines = [each.decode("utf-8", "surrogateescape").split("\n") for each in (one, other)]
        if sum(map(len, lines)) > _SLOW:
            return []
        found = difflib.unified_diff(lines[0], lines[1], *self._names, lineterm="")
        # A byte of a file must not be an order to the terminal, nor end a line that is shown.
        shown_lines = [f"    {line_shown(line)}" for line in islice(found, _MOST_LINES + 1)]
        if len(shown_lines) > _MOST_LINES:
            shown_lines[_MOST_LINES:] = ["    ... and more"]
        return shown_lines


def line_shown(line: str) -> str:
    """One line of a file, harmless to a terminal."""
    parts = line.encode("utf-8", "surrogateescape").split(b"\t")
    return "\t".join(shown(part) for part in parts)


def described(record: Record) -> str:
    """A version, for people."""
    if record.target is not None:
        return f"a symlink to {shown(record.target)}"
    if not record.is_file:
        return "a device, a FIFO or a socket"
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.mtime // 1_000_000_000))
    return f"a file of {record.size:,} bytes, {moment}, digest {record.fp.hex()[:10]}"
