"""A list of paths that a run is over (``--files-from``): pure.

What is listed is brought over with the directories that it lies in, which need not be listed. A
directory is brought over by itself; with a slash behind it with what is directly in it; and with
all below where that is asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Optional

from syncron_lib.core.names import NAME_MAX, shown
from syncron_lib.core.rules.ruleset import AnyScope
from syncron_lib.errors import UsageError

_SLASH = 47


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
    return [normal(line) for line in lines if line and (nul or line[:1] not in (b";", b"#"))]


def cut_paths(content: bytes, nul: bool) -> dict[bytes, list[bytes]]:
    """The same by what stands before ``/./`` in each, the directory below which the rest is the
    path at the destination; the root's own are under the empty path, which comes first."""
    lines = content.split(b"\0") if nul else re.split(rb"[\r\n]", content)
    found: dict[bytes, list[bytes]] = {b"": []}
    for line in lines:
        if line and (nul or line[:1] not in (b";", b"#")):
            before, path = cut(line)
            found.setdefault(before, []).append(normal(path))
    return found


def cut(path: bytes) -> tuple[bytes, bytes]:
    """What stands before ``/./`` in a path, in normal form and empty where nothing does; and what
    is its path at the destination."""
    before, mark, rest = path.partition(b"/./")
    if not mark or not before.strip(b"./"):
        return b"", path
    return normal(before).rstrip(b"/"), rest or b"."


def normal(line: bytes) -> bytes:
    """One path of a list in normal form, as of `listed_paths`."""
    if b"\0" in line or any(len(name) > NAME_MAX for name in line.split(b"/")):
        raise UsageError(f"The list of files names {shown(line)!r}, which no file can be called.")
    if cut(line)[0]:
        raise UsageError(
            f"The list of files names {shown(line)!r}, and a list that is read at the source is not"
            " cut at /./: give a list of this machine, or name another root."
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


def on_the_way(paths: Sequence[bytes]) -> Set[bytes]:
    """The directories below the root that what is listed lies in, and that are not."""
    bare = {path.rstrip(b"/") for path in paths}
    found: set[bytes] = set()
    for path in bare:
        above = path.rpartition(b"/")[0]
        while above and above not in found:
            found.add(above)
            above = above.rpartition(b"/")[0]
    return found - bare


class Listed:
    """A list as the client sees it."""

    def __init__(
        self,
        paths: Iterable[bytes],
        whole: bool,
        missing: Iterable[bytes] = (),
        implied_dirs: bool = True,
    ) -> None:
        """``missing``: what is listed and not there, and is to go at the destination too.
        ``implied_dirs``: attributes of directories that are only on the way count."""
        self._implied_dirs = implied_dirs
        self._top = choose(paths, whole)
        self.missing = frozenset(missing)
        self._above_missing = {
            path[:at] for path in self.missing for at, byte in enumerate(path) if byte == _SLASH
        }

    def _at(self, path: bytes) -> Optional[Chosen]:
        """What is wanted at ``path``; the topmost one that is wanted with all below."""
        at = self._top
        for name in path.split(b"/") if path else ():
            if at.all:
                break
            below = at.below.get(name)
            if below is None:
                return None
            at = below
        return at

    def holds(self, directory: bytes) -> bool:
        """Whether all that is directly in a directory is listed."""
        at = self._at(directory)
        return at is not None and (at.all or at.contents)

    def has(self, path: bytes) -> bool:
        """Whether something at, in or on the way to ``path`` is listed."""
        at = self._at(path)
        return at is not None or self.holds(path.rpartition(b"/")[0])

    def is_bare(self, directory: bytes) -> bool:
        """Whether its own attributes do not count: those of the root, unless it is listed, and of
        all that are only on the way if that is not wanted."""
        if directory and self._implied_dirs:
            return False
        at = self._at(directory)
        return at is not None and not at.listed and not at.all

    def is_above_missing(self, directory: bytes) -> bool:
        """Whether something below it is missing."""
        return directory in self._above_missing


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
