"""What an option is."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from syncron_lib.record import NamedTuple


class Kind(Enum):
    """How an option takes its value."""

    SWITCH = "switch"
    """On by its name, off by ``--no-`` and its name; true or false in YAML."""
    PRESET = "preset"
    """Says what holds by default; there is no off."""
    COUNT = "count"
    """Each time it is given counts; a number in YAML, or true or false for 1 or 0."""
    NUMBER = "number"
    TEXT = "text"
    NUMBER_OR_TEXT = "number or text"
    FILES = "files"
    """Repeatable file names; one or a list in YAML."""
    TEXTS = "texts"
    """Repeatable; one or a list in YAML."""
    FLAGS = "flags"
    """Words that each add to what is there."""
    FILE = "file"
    """A file name."""
    RULES = "rules"
    """Repeatable patterns, in order with those of the other options of this kind."""
    RULE_FILES = "rule files"
    """The same, read from files."""
    FILTERS = "filters"
    """Repeatable filter rules, in one order with these."""
    LETTER = "letter"
    """Only a letter, on the command line only: a filter rule each time."""


class Option(NamedTuple):
    """One option that may stand on the command line and in the configuration."""

    group: str
    long: str
    kind: Kind
    help: str
    short: str = ""
    alias: str = ""
    """Another long name, on the command line only."""
    metavar: str = ""
    field: str = ""
    """The field of `Settings`; by default the long name."""
    on: Any = True
    off: Any = False
    convert: Callable[[str], Any] = str
    """From the text as written; raises ValueError with a phrase that says what is expected."""
    include: bool = False
    """Whether a rule keeps what it matches."""

    @property
    def target(self) -> str:
        """The field of `Settings` that this option sets."""
        return self.field or self.long.replace("-", "_")

    @property
    def takes_value(self) -> bool:
        """Whether a value follows on the command line."""
        return self.kind not in (Kind.SWITCH, Kind.PRESET, Kind.COUNT, Kind.LETTER)
