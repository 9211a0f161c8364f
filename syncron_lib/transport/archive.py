"""The helper's own source, packed to be sent to a machine that has no syncron."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from pathlib import Path

import syncron_lib
from syncron_lib.record import NamedTuple

ENTRY = "syncron_lib.helper.main:main_shipped"
"""The helper's entry point."""

_PACKAGE = syncron_lib.__name__

_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+({_PACKAGE}[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)"
    rf"|import[ \t]+({_PACKAGE}[\w.]*))",
    re.MULTILINE,
)
"""Absolute imports, at any depth of indentation; the project has no others. Far faster than
parsing, and held by a test to find what parsing finds."""


class Archive(NamedTuple):
    """``digest`` is the SHA-256 of ``text``, hexadecimal; ``entry`` is what the first stage
    calls, as ``module:function``."""

    digest: str
    text: bytes
    """The modules, as JSON."""
    entry: str

    def packed(self) -> bytes:
        """What is sent. Not kept, because mostly the other side has it in its cache."""
        data = zlib.compress(self.text, 6)
        return len(data).to_bytes(8, "big") + data


def build(entry: str = ENTRY) -> Archive:
    """The module of ``entry`` and all of syncron that it imports. The same sources give the same
    digest on every machine."""
    return pack(closure(entry.partition(":")[0], Path(syncron_lib.__file__).parent), entry)


def pack(sources: dict[str, str], entry: str) -> Archive:
    """An archive of ``sources``, by module name; a package's name ends in a dot."""
    text = json.dumps(sources, sort_keys=True).encode("ascii")
    return Archive(hashlib.sha256(text).hexdigest(), text, entry)


def closure(module: str, root: Path) -> dict[str, str]:
    """The sources of ``module`` and everything it imports from the package in ``root``, by
    module name; a package's name ends in a dot."""
    sources: dict[str, str] = {}
    done: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        found = _source(name, root)
        if found is None:
            continue  # A name inside a module, not a module.
        key, text = found
        sources[key] = text
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        waiting.extend(_imported(text))
    return sources


def _source(name: str, root: Path) -> tuple[str, str] | None:
    stem = root.joinpath(*name.split(".")[1:])
    for key, path in (
        (name, stem.with_name(stem.name + ".py")),
        (name + ".", stem / "__init__.py"),
    ):
        if key == _PACKAGE:
            continue
        try:
            return key, path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None


def _imported(text: str) -> list[str]:
    names = []
    for source, imported, plain in _IMPORT.findall(text):
        names.append(source or plain)
        for item in imported.partition("#")[0].strip("()").split(",") if source else ():
            words = item.split()
            if words:
                names.append(f"{source}.{words[0]}")
    return names


def first_stage() -> bytes:
    """The text of `first_stage`, compressed."""
    path = Path(__file__).with_name("first_stage.py")
    return zlib.compress(path.read_bytes(), 9)
