"""Names and paths: bytes everywhere, text only where a person reads it.

A *name* is one path component. A *path* is names joined by ``b"/"``, relative to the root;
``b""`` is the root itself. The joined form loses nothing, because no name holds a slash, and
it is what dictionaries, frames and the state are keyed by.
"""

from __future__ import annotations

import re
import unicodedata

NAME_MAX = 255
"""Longest name, in bytes, that any file system syncron meets accepts (POSIX NAME_MAX)."""

PRIVATE = b".syncron"
"""Name kept for syncron's own staging in a destination. Never part of a tree, at any depth."""

SCRATCH = re.compile(rb"\.syncron-[0-9a-f]{16}")
"""What the staging of a run is called in a scratch directory."""


def is_valid_name(name: bytes) -> bool:
    """Whether ``name`` can be one component of a path inside a tree."""
    return (
        0 < len(name) <= NAME_MAX
        and name != b"."
        and name != b".."
        and b"/" not in name
        and b"\0" not in name
    )


def is_valid_path(path: bytes) -> bool:
    """Whether ``path`` is the root (``b""``) or names of a tree joined by single slashes."""
    if path == b"":
        return True
    return all(is_valid_name(name) and name != PRIVATE for name in path.split(b"/"))


def join(parent: bytes, name: bytes) -> bytes:
    """The path of ``name`` in the directory ``parent``."""
    return parent + b"/" + name if parent else name


def split(path: bytes) -> tuple[bytes, bytes]:
    """(parent, name) of a path that is not the root."""
    parent, _, name = path.rpartition(b"/")
    return parent, name


def is_below(path: bytes, top: bytes) -> bool:
    """Whether ``path`` is ``top`` itself or lies below it."""
    return not top or path == top or path.startswith(top + b"/")


def shown(name: bytes) -> str:
    """A name or path for a terminal or a log: one line, nothing that acts on the terminal.

    Bytes that are not UTF-8, control characters, and characters that reorder or hide text
    (Unicode categories Cc, Cf, Cs, Co, Cn, Zl, Zp) become ``\\#ooo``, three octal digits a
    byte, which is how rsync shows them.
    """
    text = name.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    for char in text:
        if unicodedata.category(char) in _HIDDEN_CATEGORIES:
            out.extend("\\#%03o" % byte for byte in char.encode("utf-8", "surrogateescape"))
        else:
            out.append(char)
    return "".join(out)


_HIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
