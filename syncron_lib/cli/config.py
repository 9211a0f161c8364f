"""The configuration: YAML in, frozen values out; every error names the file, line and key.

YAML is read as nodes and never constructed: each scalar is parsed by the option it belongs to,
the same way as on the command line, so nothing depends on what YAML thinks ``no`` or ``022`` is
beyond the type it has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from syncron_lib.cli.catalog import CONFIGURABLE
from syncron_lib.cli.draft import Draft
from syncron_lib.cli.option import Kind, Option
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import Local, Location, parse_location
from syncron_lib.core.names import shown
from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from yaml.nodes import Node


class Job(NamedTuple):
    """One job: what to make like what, and how. Local paths are absolute. Of replicas the last one
    stands for the destination, and ``settings`` say that it is a run in both directions."""

    name: str
    sources: tuple[Location, ...]
    destination: Location
    settings: Settings
    file: str = ""
    """Where it is written."""


class Config(NamedTuple):
    """One configuration file, or what several say together; empty where there is none."""

    files: tuple[str, ...] = ()
    defaults: Settings = Settings()
    jobs: Mapping[str, Job] = MappingProxyType({})
    includes: tuple[str, ...] = ()
    """Patterns of further files, absolute; none once they are read."""

    def job(self, name: str) -> Job:
        """The job called ``name``; UsageError with the names there are."""
        self.require_some(f"There is no job {name!r}")
        if name in self.jobs:
            return self.jobs[name]
        known = ", ".join(self.jobs) or "none"
        where = ", ".join(map(shown_file, self.files))
        raise UsageError(f"{where}: there is no job {name!r}; it has: {known}.")

    def require_some(self, because: str) -> None:
        """UsageError where there is no configuration at all."""
        if not self.files:
            raise UsageError(
                f"{because}, because there is no configuration: write one to "
                "~/.config/syncron/config.yaml, or name it with --config."
            )


def parse(data: bytes, *, file: str, home: str | None) -> Config:
    """The configuration in ``data``. UsageError names the line and the key's path."""
    return _Reader(file, home).config(data)


class _Reader:
    def __init__(self, file: str, home: str | None) -> None:
        self._file = file
        self._home = home
        self._base = os.path.dirname(os.path.abspath(file))

    def config(self, data: bytes) -> Config:
        root = self._compose(data)
        defaults, jobs, includes = Settings(), {}, []
        if root is None:
            return Config((self._file,))
        for key, _, value in self._pairs(root, ""):
            if key == "defaults":
                defaults = self._defaults(value)
            elif key == "jobs":
                for name, at, node in self._pairs(value, "jobs"):
                    if not name:
                        raise self._error(at, "jobs", "a job needs a name")
                    jobs[name] = self._job(name, node)
            elif key == "include":
                includes = [self._included(text, at) for text, at in self._texts(value, key)]
            else:
                raise self._unknown(value, key, "", ("defaults", "include", "jobs"))
        return Config((self._file,), defaults, jobs, tuple(includes))

    def _included(self, text: str, node: Node) -> str:
        try:
            return Draft(base=self._base, home=self._home).file_name(text)
        except ValueError as error:
            raise self._error(node, "include", str(error)) from error

    def _compose(self, data: bytes) -> Node | None:
        import yaml  # here, because most runs have no configuration to read

        try:
            node: Node | None = yaml.compose(data, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f":{mark.line + 1}" if mark else ""
            raise UsageError(
                f"{shown_file(self._file)}{place}: not YAML: {error.problem}."
            ) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            what = str(error).splitlines()[0] if str(error) else "nested too deeply"
            raise UsageError(f"{shown_file(self._file)}: not YAML: {what}.") from error
        return node

    def _defaults(self, node: Node) -> Settings:
        draft = Draft(base=self._base, home=self._home)
        for key, _, value in self._pairs(node, "defaults"):
            self._option(draft, key, value, "defaults", ())
        return draft.settings()

    def _job(self, name: str, node: Node) -> Job:
        where = f"jobs.{name}"
        draft = Draft(base=self._base, home=self._home)
        sources: tuple[Location, ...] | None = None
        destination: Location | None = None
        replicas: list[Location] = []
        for key, at, value in self._pairs(node, where):
            path = f"{where}.{key}"
            if key in ("source", "sources"):
                if sources is not None:
                    raise self._error(at, path, 'give "source" or "sources", not both')
                texts = self._texts(value, path) if key == "sources" else [self._text(value, path)]
                sources = tuple(self._location(text, item, path) for text, item in texts)
                if not sources:
                    raise self._error(value, path, "expected at least one path")
            elif key == "destination":
                destination = self._location(*self._text(value, path), path)
            elif key == "replicas":
                replicas = [self._location(*each, path) for each in self._texts(value, path)]
                if len(replicas) < 2:
                    raise self._error(value, path, "expected at least two paths")
            else:
                beside = ("source", "sources", "destination", "replicas")
                self._option(draft, key, value, where, beside)
        if replicas:
            if sources is not None or destination is not None:
                what = 'give "replicas", or "source" and "destination", not both'
                raise self._error(node, f"{where}.replicas", what)
            settings = draft.settings()._replace(two_way=True)
            return Job(name, tuple(replicas[:-1]), replicas[-1], settings, self._file)
        if sources is None or destination is None:
            missing = "source" if sources is None else "destination"
            raise self._error(node, where, f'"{missing}" is missing')
        return Job(name, sources, destination, draft.settings(), self._file)

    def _option(
        self, draft: Draft, key: str, node: Node, where: str, beside: tuple[str, ...]
    ) -> None:
        path = f"{where}.{key}"
        option = CONFIGURABLE.get(key)
        if option is None:
            raise self._unknown(node, key, where, (*CONFIGURABLE, *beside))
        if option.kind in (Kind.SWITCH, Kind.PRESET):
            on = self._truth(node, path)
            if option.kind is Kind.PRESET and not on:
                raise self._error(node, path, "this always holds and cannot be false")
            draft.switch(option, on)
        elif option.kind is Kind.COUNT:
            draft.count(option, self._times(node, path))
        else:
            for text, item in self._values(option, node, path):
                try:
                    draft.value(option, text)
                except ValueError as error:
                    raise self._error(item, path, str(error)) from error

    def _values(self, option: Option, node: Node, path: str) -> list[tuple[str, Node]]:
        several = (Kind.RULES, Kind.RULE_FILES, Kind.FILTERS, Kind.FILES, Kind.TEXTS)
        if option.kind in several:
            return self._texts(node, path)
        if option.kind in (Kind.TEXT, Kind.FILE, Kind.FLAGS):
            return [self._text(node, path)]
        allowed = ("int", "float") if option.kind is Kind.NUMBER else ("int", "float", "str")
        if self._type(node) not in allowed:
            wanted = "a number" if option.kind is Kind.NUMBER else "a number or a text"
            raise self._error(node, path, f"expected {wanted}, found {self._found(node)}")
        return [(str(node.value), node)]

    def _truth(self, node: Node, path: str) -> bool:
        if self._type(node) != "bool":
            raise self._error(node, path, f"expected true or false, found {self._found(node)}")
        return str(node.value).lower() in ("true", "yes", "on")

    def _times(self, node: Node, path: str) -> int:
        if self._type(node) == "bool":
            return int(self._truth(node, path))
        if self._type(node) != "int" or not re.fullmatch("[0-9]", str(node.value)):
            raise self._error(node, path, "expected a number from 0 to 9, or true or false")
        return int(node.value)

    def _texts(self, node: Node, path: str) -> list[tuple[str, Node]]:
        if self._type(node) != "seq":
            return [self._text(node, path)]
        return [self._text(item, f"{path}[{at}]") for at, item in enumerate(node.value)]

    def _text(self, node: Node, path: str) -> tuple[str, Node]:
        kind = self._type(node)
        if kind == "str":
            return str(node.value), node
        if kind == "null" and node.value == "~":
            hint = 'a bare ~ is YAML for "nothing": write "~/" for the home directory'
        elif kind in ("seq", "map"):
            hint = f"expected a text, found {self._found(node)}"
        else:
            hint = f"expected a text, found {self._found(node)}: put it in quotes"
        raise self._error(node, path, hint)

    def _location(self, text: str, node: Node, path: str) -> Location:
        """A path of a job; a local one is made absolute, so that a job means the same wherever
        it is started."""
        try:
            location = parse_location(text)
            if isinstance(location, Local):
                absolute = Draft(base=self._base, home=self._home).file_name(text)
                return Local(os.fsencode(absolute))
        except UsageError as error:
            raise self._error(node, path, error.message) from error
        except ValueError as error:
            raise self._error(node, path, str(error)) from error
        return location

    def _pairs(self, node: Node, where: str) -> Iterator[tuple[str, Node, Node]]:
        """The (key, its node, value) of a mapping, in order, each key a text and only once."""
        if self._type(node) == "null" and where:
            return
        if self._type(node) != "map":
            raise self._error(node, where, f"expected keys and values, found {self._found(node)}")
        seen: set[str] = set()
        for key_node, value in node.value:
            if key_node.id != "scalar":
                raise self._error(key_node, where, "a key must be a text")
            key = str(key_node.value)
            if key in seen:
                raise self._error(key_node, _join(where, key), "the key is there twice")
            seen.add(key)
            yield key, key_node, value

    def _type(self, node: Node) -> str:
        return str(node.tag).rpartition(":")[2]

    def _found(self, node: Node) -> str:
        kind = self._type(node)
        names = {"seq": "a list", "map": "keys and values", "null": "nothing"}
        return names.get(kind, f'"{shown(os.fsencode(str(node.value)))}" ({kind})')

    def _unknown(self, node: Node, key: str, where: str, known: tuple[str, ...]) -> UsageError:
        import difflib

        if key.startswith("no-") and key[3:] in known:
            hint = f'; write "{key[3:]}: false"'
        else:
            near = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
        return self._error(node, _join(where, key), f"unknown key{hint}")

    def _error(self, node: Node, path: str, what: str) -> UsageError:
        place = f"{shown_file(self._file)}:{node.start_mark.line + 1}"
        named = f" {shown(os.fsencode(path))}:" if path else ""
        return UsageError(f"{place}:{named} {what}{'' if what[-1:] in '?.' else '.'}")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def shown_file(file: str) -> str:
    """A file's name in a sentence."""
    return shown(os.fsencode(file))
