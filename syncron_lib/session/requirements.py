"""What both roots must be, and how they must lie, before anything is changed."""

from __future__ import annotations

import os

from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import shown
from syncron_lib.core.options import FileList, RunOptions
from syncron_lib.core.permission import Effect
from syncron_lib.errors import Locked, RootError, SourceMissing
from syncron_lib.protocol.messages import Opened, RootKind


def require_source(opened: Opened, location: Location) -> None:
    if opened.kind == RootKind.MISSING:
        raise SourceMissing(
            f"The source {location.shown()} does not exist. Nothing was changed; check the path."
        )
    if opened.kind == RootKind.OTHER:
        raise RootError(
            f"The source {location.shown()} is neither a directory nor a file."
            " Nothing was changed; name the directory that holds it."
        )


def require_removable(opened: Opened, location: Location, options: RunOptions) -> None:
    removes = options.remove_source_files and not options.dry_run
    if removes and Effect.REMOVE not in Effect(opened.may):
        raise RootError(
            f"--remove-source-files removes files from {location.shown()}, and the account there"
            " may not. Nothing was changed; leave it out."
        )


def require_destination(opened: Opened, destination: str, parents: bool) -> None:
    if opened.kind in (RootKind.FILE, RootKind.OTHER):
        raise RootError(
            f"The destination {destination} is not a directory, but the source is."
            " Nothing was changed; name a directory."
        )
    if opened.kind == RootKind.MISSING and opened.parent_missing and not parents:
        raise RootError(
            f"The destination {destination} cannot be made, because the directory above it"
            " does not exist. Nothing was changed; make it, or say --mkpath."
        )


def require_apart(
    source: Location, destination: Location, into: bool, chosen: FileList | None = None
) -> None:
    """Refuse a tree copied into itself, where that can be seen."""
    if not (isinstance(source, Local) and isinstance(destination, Local) and is_tree(source)):
        return
    mine = os.path.realpath(source.path)
    name = os.path.basename(source.path.rstrip(b"/")) if into else b""
    theirs = os.path.realpath(os.path.join(destination.path, name))
    if theirs == mine:
        raise same_directory(mine)
    for outer, inner in ((mine, theirs), (theirs, mine)):
        if inner.startswith(outer.rstrip(b"/") + b"/"):
            require_not_within(outer, inner, chosen)


def require_not_within(outer: bytes, inner: bytes, chosen: FileList | None) -> None:
    """Refuse roots one of which lies inside the other, but where only a part is ``chosen`` with
    which it has nothing to do."""
    top = outer.rstrip(b"/") + b"/"
    if chosen is not None and not chosen.file and inner.startswith(top):
        from syncron_lib.core.rules.chosen import Listed

        if not Listed(chosen.paths.split(b"\0"), chosen.whole).has(inner[len(top) :]):
            return
    raise RootError(
        f"{shown(inner)} lies inside {shown(outer)}, and a tree cannot be copied into"
        " itself. Nothing was changed; name a directory outside."
    )


def same_directory(path: bytes) -> RootError:
    return RootError(
        f"Source and destination are the same directory, {shown(path)}. Nothing was changed."
    )


def require_free(opened: Opened, location: Location) -> None:
    if opened.held:
        whose = "" if isinstance(location, Local) else f"{location.account()}: "
        raise Locked(whose + shown(opened.held.encode("utf-8", "replace")))


def is_tree(source: Location) -> bool:
    """Whether the source is, or is likely to be, a directory."""
    return not (isinstance(source, Local) and os.path.isfile(source.path))
