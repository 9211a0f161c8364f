"""What the sources of a command line of rsync stand for, and what becomes of the destination."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence

from syncron_lib.cli.rsync.unsupported import Unsupported
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import Local, Location
from syncron_lib.core.options import FileList, Missing, RuleOptions, RunOptions
from syncron_lib.core.view import Follow
from syncron_lib.errors import FileFatal
from syncron_lib.protocol.messages import RootKind
from syncron_lib.session.each import Given

_CONTENTS = re.compile(rb"(.*/)?\.{0,2}", re.DOTALL)
"""Sources of which the contents are meant."""


def given(sources: Sequence[Location], settings: Settings, options: RunOptions) -> list[Given]:
    """The sources in the order in which rsync brings them over: contents first, then what is no
    directory, then directories, each by name."""
    if settings.relative or settings.files_from is not None:
        return [
            Given(part.source, options, part.chosen, False, kind=RootKind.DIRECTORY)
            for part in settings.parts(sources)
        ]
    if settings.missing is Missing.DELETE:
        raise Unsupported(
            "--delete-missing-args deletes what is named by a path: give --relative or --files-from"
            " too."
        )
    found: list[tuple[tuple[bool, bool, bytes], Given]] = []
    names: set[bytes] = set()
    several = sum(_is_there(source) for source in sources) > 1
    for source in sources:
        name = b"" if is_contents(source.path) else os.path.basename(source.path)
        if name in names and options.delete:
            raise Unsupported(
                f"Two sources go to one place, as {source.shown()} does, and --delete would delete"
                " what one of them brings: copy them by commands of their own."
            )
        names.add(name)
        one = _given(source, name, several, settings, options)
        if one is not None:
            is_tree = not one.is_entry
            found.append(((bool(name), is_tree, name + b"/" * is_tree), one))
    # Where two bring the same, the first one's stays.
    found.reverse()
    return [one for _, one in sorted(found, key=lambda each: each[0])]


def _given(
    source: Location, name: bytes, several: bool, settings: Settings, options: RunOptions
) -> Given | None:
    """One source; None where the rules leave it out. ``name``: its own, empty where its contents
    are meant."""
    kind = _kind_of(source, not name or bool(settings.copy_links))
    if kind == RootKind.OTHER and settings.copy_dirlinks and os.path.isdir(source.path):
        kind = RootKind.DIRECTORY
    recursive = bool(settings.recursive)
    chosen = None if recursive else FileList(b"" if name else b".")
    trees = recursive or bool(settings.dirs)
    one = Given(source, options, chosen, False, trees, kind=kind)
    if one.is_entry:
        own = options._replace(delete=False, rules=_of_attributes(options.rules))
        one = one._replace(options=own, chosen=None)
    if not name:
        return one
    into = True if several else None if kind is None else kind == RootKind.DIRECTORY
    one = one._replace(into=into)
    if not one.is_entry:
        one = one._replace(options=_with_name(one.options))
    if not options.rules.patterns:
        return one
    from syncron_lib.cli.rsync.anchors import below

    under = below(options.rules.patterns, name)
    if one.is_entry:
        return None if under.file else one
    if kind == RootKind.DIRECTORY and under.directory:
        return None
    rules = options.rules._replace(patterns=under.patterns)
    return one._replace(options=one.options._replace(rules=rules), excluded=under.directory)


def _of_attributes(rules: RuleOptions) -> RuleOptions:
    """What rules say where no name is chosen."""
    if not rules.patterns:
        return RuleOptions()
    from syncron_lib.core.rules.filters import about_attributes

    return RuleOptions(tuple(about_attributes(rules.patterns)))


def _with_name(options: RunOptions) -> RunOptions:
    """The same for a tree whose name belongs to it: a symlink may lead to beside the root."""
    if options.transfer.safe_links:
        options = options._replace(transfer=options.transfer._replace(above=1))
    if Follow.UNSAFE in Follow(options.view.follow):
        view = options.view._replace(follow=options.view.follow | Follow.NAMED)
        options = options._replace(view=view)
    return options


def is_contents(path: bytes) -> bool:
    return _CONTENTS.fullmatch(path) is not None


def make(destination: Local, settings: Settings) -> int:
    """Make the destination as rsync does, before anything else and with the mode of any new one;
    how many directories that are, or would be."""
    path = destination.path.rstrip(b"/")
    made, above = 1, os.path.dirname(path)
    while settings.mkpath and above and not os.path.lexists(above):
        made, above = made + 1, os.path.dirname(above)
    if settings.dry_run:
        return made
    try:
        (os.makedirs if settings.mkpath else os.mkdir)(path)
    except OSError as error:
        raise FileFatal(
            f"The destination {destination.shown()} cannot be made: {error.strerror}."
        ) from error
    return made


def _is_there(source: Location) -> bool:
    return not isinstance(source, Local) or os.path.lexists(source.path)


def _kind_of(source: Location, follows: bool) -> int | None:
    """What is at a source of this machine; ``follows``: behind a symlink."""
    if not isinstance(source, Local):
        return RootKind.DIRECTORY if is_contents(source.path) else None
    try:
        mode = (os.stat if follows else os.lstat)(source.path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return RootKind.MISSING
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return RootKind.DIRECTORY
    return RootKind.FILE if stat.S_ISREG(mode) else RootKind.OTHER


def is_made(sources: Sequence[Given], destination: Local) -> bool | None:
    """Whether rsync would make the destination, and say so; None: if the source, of which that is
    not known yet, is a directory."""
    wanted = [
        each
        for each in sources
        if each.kind != RootKind.MISSING and (each.trees or each.kind != RootKind.DIRECTORY)
    ]
    single = len(wanted) == 1 and wanted[0].is_entry
    if not wanted:
        return destination.path.endswith(b"/") and not os.path.lexists(destination.path)
    if single and not destination.path.endswith(b"/"):
        return False
    if os.path.lexists(destination.path.rstrip(b"/") or b"/"):
        return False
    unknown = len(wanted) == 1 and wanted[0].kind is None and wanted[0].into is None
    return None if unknown and not destination.path.endswith(b"/") else True
