"""What one command is over, part by part: a root each, and what of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import FileList
from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple


class Part(NamedTuple):
    """A root, and what of it is brought over; None for all of it. ``into``: it goes into the
    destination under its own name. ``entry``: it is no directory, and if it is a symlink, that
    itself is meant."""

    source: Location
    chosen: Optional[FileList] = None
    into: bool = False
    entry: bool = False


def relative(sources: Sequence[Location], whole: bool) -> list[Part]:
    """Sources under their paths as written (``--relative``), those of one root together. A path
    begins behind ``/./``, if that is in it. ``whole``: directories with all below."""
    from syncron_lib.core.rules.chosen import normal  # few runs are over lists

    found: dict[Location, list[bytes]] = {}
    for source in sources:
        before, path = _cut_source(source)
        if b".." in path.split(b"/"):
            raise UsageError(
                f"--relative cannot give {source.shown()} a path in DST, because of its '..'; write"
                " /./ behind the part that is not to count."
            )
        found.setdefault(source._replace(path=before), []).append(normal(path))
    return _apart([Part(root, _list(paths, whole)) for root, paths in found.items()], sources)


def _cut_source(source: Location) -> tuple[bytes, bytes]:
    """(root, path below it)."""
    before, mark, path = source.path.partition(b"/./")
    if mark and before != b".":
        return before or b"/", path.lstrip(b"/") or b"."
    if source.path.startswith(b"/"):
        return b"/", source.path.lstrip(b"/") or b"."
    if source.path.startswith(b"~"):  # another account's home
        home, _, path = source.path.partition(b"/")
        return home, path or b"."
    return b"." if isinstance(source, Local) else b"", source.path or b"."


def listed(
    source: Location, paths: dict[bytes, list[bytes]], whole: bool, flat: bool
) -> list[Part]:
    """What a list names below ``source``, as of `core.rules.chosen.cut_paths`. ``flat``: each
    under its last name only."""
    if flat:
        paths = _flat(paths)
    found = []
    for before, some in paths.items():
        if some or not before:
            above = source.path if source.path.endswith(b"/") else source.path + b"/"
            path = above + before if source.path else before
            root = source._replace(path=path) if before else source
            found.append(Part(root, _list(some, whole)))
    if len(found) > 1 and not paths[b""]:
        del found[0]
    return _apart(found, [source])


def _flat(paths: dict[bytes, list[bytes]]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {b"": []}
    for before, some in paths.items():
        for path in some:
            bare, contents = path.rstrip(b"/"), path.endswith(b"/")
            above, name = (bare, b".") if contents else split(bare)
            above = join(before, above) if above else before
            found.setdefault(above, []).append(name)
    return found


def _list(paths: Iterable[bytes], whole: bool) -> Optional[FileList]:
    paths = list(paths)
    return None if whole and set(paths) == {b"."} else FileList(b"\0".join(paths), whole)


def _apart(parts: list[Part], sources: Sequence[Location]) -> list[Part]:
    """Refuse what would come to one place from two roots."""
    taken: set[bytes] = set()
    above: set[bytes] = set()
    for part in parts if len(parts) > 1 else ():
        paths = {b"" if path == b"." else path.rstrip(b"/") for path in _paths(part)}
        for path in sorted(paths):
            if path in above or not taken.isdisjoint(_with_those_above(path)):
                place = shown(path) if path else "the root"
                raise UsageError(
                    f"{' and '.join(each.shown() for each in sources)} would bring {place} of the"
                    " destination from two places; copy them by commands of their own."
                )
        taken.update(paths)
        above.update(each for path in paths for each in _with_those_above(path))
    return parts


def _with_those_above(path: bytes) -> Iterable[bytes]:
    while path:
        yield path
        path = path.rpartition(b"/")[0]
    yield b""


def _paths(part: Part) -> Iterable[bytes]:
    return [b"."] if part.chosen is None else part.chosen.paths.split(b"\0")
