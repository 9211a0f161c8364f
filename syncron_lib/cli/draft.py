"""Settings in the making: what argv and YAML both do with an option and its value."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from syncron_lib.cli.option import Kind, Option
from syncron_lib.cli.settings import Settings
from syncron_lib.errors import UsageError

if TYPE_CHECKING:
    from syncron_lib.core.rules.filters import Reader

PATTERN_FILE_MAX = 64 << 20
"""Bytes of one file of patterns; more is a mistake (a device, a wrong file), not a rule set."""
LIST_MAX = 8 << 20
"""Bytes of a list of files: what a message holds."""


class Draft:
    """Collects options in the order they are written. ``base`` is what relative file names are
    relative to, ``home`` what ``~/`` stands for; each None where there is none."""

    def __init__(self, *, base: str | None, home: str | None) -> None:
        self._base = base
        self._home = home
        self._values: dict[str, Any] = {}
        self._patterns: list[bytes] = []
        self._letters = 0
        self._rule_files = False

    def switch(self, option: Option, on: bool) -> None:
        """A yes or no option was given."""
        if option.kind is Kind.PRESET:
            self._values.update(option.on)
        elif option.kind is Kind.LETTER:
            for rule in option.on[self._letters : self._letters + 1]:
                self._add_filter(os.fsencode(rule))
            self._letters += 1
        else:
            self._values[option.target] = option.on if on else option.off
            if option.target == "cvs_exclude" and on:
                self._values["cvs_patterns"] = self._cvs_patterns()

    def preset(self, fields: Mapping[str, Any]) -> None:
        """Something was given that stands for fields of `Settings`."""
        self._values.update(fields)

    def count(self, option: Option, times: int) -> None:
        """A counting option was given ``times`` more often."""
        self._values[option.target] = self._values.get(option.target, 0) + times

    def value(self, option: Option, text: str) -> None:
        """An option was given with a value. ValueError says what is wrong with it."""
        converted = option.convert(text)
        if option.kind in (Kind.RULES, Kind.RULE_FILES):
            self._add_patterns(option, converted)
        elif option.kind is Kind.FILTERS:
            self._add_filter(os.fsencode(converted))
        elif option.kind is Kind.FILES:
            name = self.file_name(converted)
            self._values[option.target] = (*self._values.get(option.target, ()), name)
        elif option.kind is Kind.FLAGS:
            self._values[option.target] = {**self._values.get(option.target, {}), **converted}
        elif option.kind is Kind.FILE:
            self._values[option.target] = self.file_name(converted)
        elif option.kind is Kind.TEXTS:
            texts = self._values.get(option.target, ())
            self._values[option.target] = (*texts, converted)
        else:
            self._values[option.target] = converted

    def settings(self) -> Settings:
        """What was collected. Raises UsageError for a list of files that cannot be read."""
        if self._rule_files and self._values.get("from0"):
            raise UsageError(
                "--from0 is about the list that --files-from names; in files of rules each rule is"
                " a line: leave one of them out."
            )
        name = self._values.get("files_from")
        if name is not None and not name.startswith(":"):
            self._values["listed"] = self._listed(name)
        return Settings(**self._values, patterns=tuple(self._patterns))

    def _listed(self, name: str) -> dict[bytes, list[bytes]]:
        from syncron_lib.core.rules.chosen import cut_paths

        try:
            content = self._pattern_file(name)
        except ValueError as error:
            raise UsageError(f"--files-from: {error}.") from error
        listed = cut_paths(content, bool(self._values.get("from0")))
        if sum(len(path) + 1 for paths in listed.values() for path in paths) > LIST_MAX:
            raise UsageError(
                f"--files-from: {name} lists more than {LIST_MAX >> 20} MiB; divide it, or use"
                " filters."
            )
        return listed

    def file_name(self, text: str) -> str:
        """A file name as written, with ``~/`` and the base put in. ValueError without a home."""
        if text == "~" or text.startswith("~/"):
            if self._home is None:
                raise ValueError('"~" needs a home directory, and this user has none: set HOME')
            return self._home + text[1:]
        return text if self._base is None else os.path.join(self._base, text)

    def _add_patterns(self, option: Option, text: str) -> None:
        from syncron_lib.core.rules import add_argument, add_file  # most runs have no patterns

        try:
            if option.kind is Kind.RULES:
                add_argument(self._patterns, os.fsencode(text), include=option.include)
            else:
                add_file(self._patterns, self._rule_file(text), include=option.include)
        except UsageError as error:
            raise ValueError(error.message.rstrip(".")) from error

    def _add_filter(self, rule: bytes) -> None:
        from syncron_lib.core.rules import filters

        try:
            filters.add(self._patterns, rule, filters.PLAIN, self._reader())
        except UsageError as error:
            raise ValueError(error.message.rstrip(".")) from error

    def _reader(self) -> Reader:
        from syncron_lib.core.rules.filters import Reader

        def merged(name: bytes) -> bytes:
            return self._rule_file(os.fsdecode(name))

        def cvs() -> list[bytes]:
            found = []
            if self._home is not None and os.path.isfile(f"{self._home}/.cvsignore"):
                found.append(self._pattern_file(f"{self._home}/.cvsignore"))
            return [*found, os.environb.get(b"CVSIGNORE", b"")]

        return Reader(merged, cvs)

    def _cvs_patterns(self) -> tuple[bytes, ...]:
        """What ``--cvs-exclude`` adds behind all other rules."""
        from syncron_lib.core.rules import filters

        rules: list[bytes] = []
        try:
            for rule in (b":C", b"-C"):
                filters.add(rules, rule, filters.PLAIN, self._reader())
        except UsageError as error:
            raise ValueError(error.message.rstrip(".")) from error
        return tuple(rules)

    def _rule_file(self, name: str) -> bytes:
        self._rule_files = True
        return self._pattern_file(name)

    def _pattern_file(self, name: str) -> bytes:
        try:
            if name == "-" and self._base is None:
                data = sys.stdin.buffer.read(PATTERN_FILE_MAX + 1) if sys.stdin else b""
            else:
                with open(self.file_name(name), "rb") as file:
                    data = file.read(PATTERN_FILE_MAX + 1)
        except OSError as error:
            raise ValueError(f"cannot read {name}: {error.strerror or error}") from error
        if len(data) > PATTERN_FILE_MAX:
            raise ValueError(f"{name} is too large for a file of patterns")
        return data
