"""A list of paths that a run is over (``--files-from``): pure.

What is listed is brought over with the directories that it lies in, which need not be listed. A
directory is brought over by itself; with a slash behind it with what is directly in it; and with
all below where that is asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from syncron_lib.core.names import NAME_MAX, shown
from syncron_lib.core.rules.ruleset import AnyScope
from syncron_lib.errors import UsageError


class Chosen:
    """What is wanted of one directory. ``below``: of entries by name. ``listed``: it was named, and
    is not only on the way. ``contents``: what is directly in it too. ``all``: with all below."""

    __slots__ = ("all", "below", "contents", "listed")

    def __init__(self) -> None:
        self.below: dict[bytes, Chosen] = {}
        self.listed = self.contents = self.all = False


def listed_paths(content: bytes, nul: bool) -> list[bytes]:
    """The paths of a list: one a line, or ended by NUL. Empty lines are left out, and comments,
    which begin with ``;`` or ``#``. In normal form, relative to the root, with a slash behind a
    directory whose contents are wanted; ``.`` is the root. Raises UsageError."""
    lines = content.split(b"\0") if nul else re.split(rb"[\r\n]", content)
    return [_normal(line) for line in lines if line and (nul or line[:1] not in (b";", b"#"))]


def _normal(line: bytes) -> bytes:
    if b"\0" in line or any(len(name) > NAME_MAX for name in line.split(b"/")):
        raise UsageError(f"The list of files names {shown(line)!r}, which no file can be called.")
    if b"/./" in line.lstrip(b"./"):
        raise UsageError(
            f"The list of files names {shown(line)!r}, and syncron does not cut paths at /./;"
            " name another root."
        )
    names: list[bytes] = []
    for name in line.split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    contents = line.endswith((b"/", b"/.")) or not names
    return (b"/".join(names) or b".") + (b"/" if contents and names else b"")


def choose(paths: Iterable[bytes], whole: bool) -> Chosen:
    """What `listed_paths` name; ``whole``: directories with all below."""
    top = Chosen()
    for path in paths:
        names = [] if path == b"." else path.rstrip(b"/").split(b"/")
        at = top
        for name in names:
            at = at.below.setdefault(name, Chosen())
        at.listed = True
        at.contents = at.contents or not names or path.endswith(b"/")
        at.all = at.all or whole
    return top


class ChosenScope:
    """The rules in one directory of which only a part is wanted. Everything as in `Scope`."""

    __slots__ = ("_chosen", "_inner", "digest", "ignore_names", "trivial")

    def __init__(self, inner: AnyScope, chosen: Chosen, digest: bytes) -> None:
        """``digest``: of the whole list."""
        self._inner = inner
        self._chosen = chosen
        self.digest = inner.digest[:-16] + hashlib.sha256(inner.digest + digest).digest()[:16]
        self.ignore_names = inner.ignore_names
        self.trivial = False

    def excluded(self, name: bytes, is_directory: bool) -> bool:
        wanted = self._chosen.below.get(name)
        if wanted is None:
            return not self._chosen.contents or self._inner.excluded(name, is_directory)
        # What is only on the way to something that is listed is there in any case.
        return wanted.listed and not wanted.below and self._inner.excluded(name, is_directory)

    def child(self, name: bytes) -> AnyScope:
        wanted = self._chosen.below.get(name)
        inner = self._inner.child(name)
        if wanted is not None and wanted.all:
            return inner
        return ChosenScope(inner, wanted or Chosen(), self.digest)

    def with_files(self, files: Mapping[bytes, bytes]) -> ChosenScope:
        return ChosenScope(self._inner.with_files(files), self._chosen, self.digest)


def top_scope(inner: AnyScope, paths: list[bytes], whole: bool) -> AnyScope:
    """The scope of the root for a list."""
    chosen = choose(paths, whole)
    if chosen.all:
        return inner
    return ChosenScope(inner, chosen, hashlib.sha256(b"\0".join(paths)).digest()[:16])
