"""Opening the two ends of a run: who is asked for what, and when.

Local helpers are started first and begin to scan while remote ones are still being connected.
Whether a source is a file or a directory decides what the destination's root is; where the
source is remote, a local destination is scanned on the guess that it is a directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from syncron_lib.core import digest
from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import join, shown
from syncron_lib.core.options import DIRECTLY_IN, RunOptions
from syncron_lib.core.report import Phase
from syncron_lib.core.role import Role
from syncron_lib.core.view import View
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import RootError, UsageError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Opened, RootKind, Scanned
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import ignore_files, reply_of
from syncron_lib.session.holder import holder
from syncron_lib.session.observer import Observer
from syncron_lib.session.pool import Pool
from syncron_lib.session.requirements import (
    is_tree,
    require_apart,
    require_destination,
    require_free,
    require_not_within,
    require_removable,
    require_source,
    same_directory,
)
from syncron_lib.session.sealing import Sealing
from syncron_lib.session.securing import secured
from syncron_lib.session.shown import fakes_of
from syncron_lib.session.unsealed import NOTHING_SEALED, Unsealed

MOST_HOT = 100
"""Directories that a hot run looks at: listing so many takes some milliseconds."""


class Ends(NamedTuple):
    """Both ends of a run, scanned, and asked to be sealed. ``whole``: over roots, not one file."""

    source: RemoteEndpoint
    destination: RemoteEndpoint
    source_scanned: Scanned
    destination_opened: Opened
    destination_scanned: Scanned
    destination_shown: str
    whole: bool
    sealing: Sealing
    alternates: Sequence[bool] = ()
    """Which of those that were asked for are there."""
    secure: Unsealed = NOTHING_SEALED


class _Asked(NamedTuple):
    """A root whose `Open` and `Scan` are on their way."""

    endpoint: RemoteEndpoint
    request: messages.Open
    opened: Future[Any]
    scanned: Future[Any]
    alternates: Future[Any] | None = None
    manifest: Future[Any] | None = None


class _Opener:
    def __init__(
        self,
        pool: Pool,
        options: RunOptions,
        observer: Observer,
        on_warning: Callable[[str], None],
    ) -> None:
        self._pool, self.key, self._on_warning = pool, pool.key, on_warning
        self.options = options
        self._observer = observer
        self._scanned: dict[int, tuple[int, int]] = {}
        self.hot: Sequence[bytes] | None = options.hot_paths or None
        """What both sides look at; None: everything."""
        self._alone = True  # connecting needs a processor

    def connect(self, locations: tuple[Location, Location]) -> list[RemoteEndpoint]:
        """Endpoints of both sides, connected at once."""
        self._alone = False
        return [self._pool.endpoint(location, side) for side, location in enumerate(locations)]

    def request(
        self,
        location: Location,
        role: Role,
        only: bytes | None = None,
        alias: bytes | None = None,
        path: bytes | None = None,
    ) -> messages.Open:
        options = self.options
        rules = options.rules
        destination = role is Role.DESTINATION
        chosen = None if destination else rules.chosen
        if chosen is not None and chosen.file and isinstance(location, Local):
            raise UsageError(
                f"--files-from=:{shown(chosen.file)} names a file on the machine of SRC, which is"
                " this one; leave out the colon."
            )
        view = options.view._replace(fake_super=options.fakes[destination])
        path = location.path if path is None else path
        if isinstance(location, Local):
            path = os.path.join(os.getcwdb(), path)
        return messages.Open(
            path,
            role,
            only,
            alias,
            rules.patterns,
            rules.gitignore,
            # Which mount points are left out is the source's decision alone.
            rules.one_file_system and not destination,
            not (options.verify or options.transfer.ignore_times),
            (destination or (options.remove_source_files and only is None)) and not options.dry_run,
            options.mkpath,
            int(options.lock_wait * 1000),
            holder(),
            None if chosen is None else messages.Chosen(*chosen),
            None if view == View() else view,
            options.scratch if destination else None,
        )

    def ask(
        self, endpoint: RemoteEndpoint, request: messages.Open, name: bytes | None = None
    ) -> _Asked:
        """Send `Open` and `Scan` in one flight; to a destination also which alternates there are.
        ``name``: its own in the directory that the user named."""
        chosen = self.options.alternates if request.role == Role.DESTINATION else None
        paths = () if chosen is None else chosen.paths(name)
        side = request.role

        def on_progress(progress: messages.Progress) -> None:
            if progress.scanning:
                self._scanned[side] = (progress.done, progress.size)
                entries = sum(done for done, _ in self._scanned.values())
                size = sum(size for _, size in self._scanned.values())
                self._observer.progress(Phase.SCAN, entries, None, size)
            else:
                self._observer.progress(Phase.HASH, progress.size, None, progress.size)

        endpoint.on_progress, endpoint.on_warning = on_progress, self._on_warning
        endpoint.names = None
        opened = endpoint.submit(request)
        acls = side == Role.SOURCE and self.options.keep.acls
        # What the destination has stays or goes by what the source has.
        prune = side == Role.SOURCE and self.options.rules.prune_empty_dirs
        if self.options.hot and not self.hot and side == Role.SOURCE:
            self._ask_for_hot(endpoint, opened)
        scanned = endpoint.submit(messages.Scan(self._alone, acls, prune, self.hot))
        alternates = endpoint.submit(messages.UseAlternates(paths)) if paths else None
        manifest = None
        wanted = request.role == Role.SOURCE and self.options.secure.ciphertext
        if (request.role != self.key.role) if self.key is not None else wanted:
            manifest = endpoint.submit(messages.GetManifest())
        return _Asked(endpoint, request, opened, scanned, alternates, manifest)

    def _ask_for_hot(self, endpoint: RemoteEndpoint, opened: Future[Any]) -> None:
        """Find out what is to be looked at on both sides, before either scans."""
        reply_of(opened, Opened)
        asked = endpoint.submit(messages.GetHot(MOST_HOT))
        items = reply_of(asked, messages.HotDirectories).items
        if items:
            self.hot = [item.path for item in items]
            self._observer.remark(f"looking at {len(items)} hot directories alone")
        else:
            self._observer.remark("no directory is known to be hot, so all are looked at")


def open_one(
    pool: Pool,
    location: Location,
    options: RunOptions,
    observer: Observer,
    only: bytes | None = None,
) -> tuple[RemoteEndpoint, Opened]:
    """Open and scan a single root, to look at it; with ``only``, at the file of that name."""
    options = options._replace(fakes=fakes_of(options.fake_super, location, location))
    opener = _Opener(pool, options, observer, observer.warning)
    endpoint = pool.endpoint(location, 0)
    path = None if only is None else os.path.dirname(location.path) or b"."
    if path == b"." and not isinstance(location, Local):
        path = b""
    asked = opener.ask(endpoint, opener.request(location, Role.SOURCE, only, path=path))
    opened = reply_of(asked.opened, Opened)
    require_source(opened, location)
    require_free(opened, location)
    reply_of(asked.scanned, Scanned)
    return endpoint, opened


def open_hot(
    pool: Pool, location: Location, options: RunOptions, observer: Observer
) -> tuple[RemoteEndpoint, Opened]:
    """Open a single root, to ask what is remembered of it."""
    opener = _Opener(pool, options, observer, observer.warning)
    endpoint = pool.endpoint(location, 0)
    opened = reply_of(endpoint.submit(opener.request(location, Role.SOURCE)), Opened)
    require_source(opened, location)
    require_free(opened, location)
    return endpoint, opened


def kind_of(
    pool: Pool, location: Location, options: RunOptions, observer: Observer, side: int = 0
) -> int:
    """The `RootKind` of what is at a source, or at a destination (``side`` 1)."""
    opener = _Opener(pool, options, observer, observer.warning)
    return _look(opener, pool.endpoint(location, side), location).kind


def require_all(
    pool: Pool,
    sources: Sequence[Location],
    destination: Location,
    options: RunOptions,
    observer: Observer,
) -> None:
    """See that all of several sources, and the places that they go to, are there and of the right
    kind, before the first of them is brought over."""
    opener = _Opener(pool, options, observer, observer.warning)
    observer.phase(Phase.CONNECT)
    pool.start((*sources[:1], destination))
    if isinstance(destination, Local):
        # Its helper waits for a greeting, and a person who is asked for a password takes time.
        pool.endpoint(destination, 1)
    kinds = []
    for source in sources:
        require_apart(source, destination, into=True)
        looked = _look(opener, pool.endpoint(source, 0), source)
        require_source(looked, source)
        kinds.append(looked.kind)
    endpoint = pool.endpoint(destination, 1)
    require_destination(_look(opener, endpoint, destination), destination.shown(), options.mkpath)
    for source, kind in zip(sources, kinds, strict=True):
        if kind == RootKind.DIRECTORY:
            place = inside(destination, source)
            require_destination(_look(opener, endpoint, place), place.shown(), parents=True)


def inside(destination: Location, source: Location) -> Location:
    """Where one of several sources goes to."""
    name = os.path.basename(source.path.rstrip(b"/"))
    return destination._replace(path=os.path.join(destination.path, name))


def open_both(
    pool: Pool,
    source: Location,
    destination: Location,
    options: RunOptions,
    observer: Observer,
    into: bool,
    on_warning: Callable[[str], None],
    entry: bool = False,
) -> Ends:
    """Open and scan both ends. ``into``: the source goes into the destination, which is a
    directory, under its own name. ``on_warning``: takes what helpers have to say. ``entry``: the
    source is no directory, and if it is a symlink, that itself is meant."""
    chosen = options.rules.chosen
    if not entry:
        require_apart(source, destination, into, chosen)
    opener = _Opener(pool, options, observer, on_warning)
    observer.phase(Phase.CONNECT)
    sides = (source, destination)
    if entry:
        pool.start(sides)
        first, second = opener.connect(sides)
        observer.phase(Phase.SCAN)
        path = source.path
        if isinstance(source, Local):
            path = os.path.join(os.getcwdb(), path)
        return _open_file(opener, source, destination, first, second, path, into)
    early: dict[int, _Asked] = {}
    pool.start(sides)
    # Local scans run while the network is waited for.
    for side, role in ((0, Role.SOURCE), (1, Role.DESTINATION)):
        location = sides[side]
        if isinstance(location, Local):
            endpoint = pool.endpoint(location, side)
            if role is Role.SOURCE:
                early[side] = opener.ask(endpoint, opener.request(location, role))
            elif is_tree(source) and (opener.hot or not options.hot):
                early[side] = _ask_destination(opener, endpoint, destination, source, into)
    source_endpoint, destination_endpoint = opener.connect(sides)
    observer.phase(Phase.SCAN)
    sealing = Sealing(source_endpoint, destination_endpoint, options, _near(source, destination))
    asked_source = early.get(0)
    if asked_source is None:
        asked_source = opener.ask(source_endpoint, opener.request(source, Role.SOURCE))
    asked_destination = early.get(1)
    # A wrong guess can be taken back from a local helper only, by ending it.
    if asked_destination is None and isinstance(source, Local) and is_tree(source):
        asked_destination = _ask_destination(
            opener, destination_endpoint, destination, source, into
        )
    if is_tree(source):
        sealing.early(Role.SOURCE)
        if asked_destination is not None:
            sealing.early(Role.DESTINATION)
    source_opened = reply_of(asked_source.opened, Opened)
    require_source(source_opened, source)
    require_removable(source_opened, source, options)
    if source_opened.kind == RootKind.FILE:
        if chosen is not None and chosen != DIRECTLY_IN:
            raise RootError(
                f"The source {source.shown()} is a file, and what is listed lies in a directory."
                " Nothing was changed."
            )
        rules = options.rules._replace(chosen=None)
        opener.options = options._replace(rules=rules)
        if asked_destination is not None and 1 in early:
            # The guess was wrong: do not wait for the scan of a directory nobody asked about.
            pool.discard(destination, 1)
            destination_endpoint = pool.endpoint(destination, 1)
        reply_of(asked_source.scanned, Scanned)
        return _open_file(
            opener,
            source,
            destination,
            source_endpoint,
            destination_endpoint,
            source_opened.path,
            into,
        )
    if asked_destination is None:
        asked_destination = _ask_destination(
            opener, destination_endpoint, destination, source, into
        )
    # Not held up by the destination's answer, which is on its way.
    sealing.map_ids(reply_of(asked_source.scanned, Scanned))
    name = join(destination.path, os.path.basename(source.path.rstrip(b"/"))) if into else b""
    shown_destination = destination._replace(path=name).shown() if into else destination.shown()
    opened = reply_of(asked_destination.opened, Opened)
    require_destination(opened, shown_destination, options.mkpath or into)
    if source_opened.identity == opened.identity != digest.UNKNOWN:
        raise same_directory(source_opened.path)
    for outer, inner in ((source_opened, opened), (opened, source_opened)):
        if outer.identity != digest.UNKNOWN and outer.identity in inner.above:
            require_not_within(outer.path, inner.path, chosen)
    require_free(source_opened, source)
    require_free(opened, destination)
    asked = asked_source, asked_destination
    return _scanned(opener, asked, (source, destination), shown_destination, sealing, whole=True)


def _near(source: Location, destination: Location) -> Role | None:
    """The end that is nearer; None where both are here."""
    if isinstance(source, Local):
        return None if isinstance(destination, Local) else Role.SOURCE
    return Role.DESTINATION


def _ask_destination(
    opener: _Opener,
    endpoint: RemoteEndpoint,
    destination: Location,
    source: Location,
    into: bool,
) -> _Asked:
    """Ask for the directory that a directory is copied to."""
    request = opener.request(destination, Role.DESTINATION)
    if into:
        # The directory that all sources go into is made too, but none above it.
        require_destination(
            _look(opener, endpoint, destination), destination.shown(), opener.options.mkpath
        )
        name = os.path.basename(source.path.rstrip(b"/"))
        path = os.path.join(request.path, name)
        scratch = None if request.scratch is None else os.path.join(b"..", request.scratch)
        request = request._replace(path=path, parents=True, scratch=scratch)
        return opener.ask(endpoint, request, name)
    return opener.ask(endpoint, request)


def _look(opener: _Opener, endpoint: RemoteEndpoint, location: Location) -> Opened:
    """What is at ``location``, without holding it."""
    request = opener.request(location, Role.SOURCE)._replace(
        only=b"-", gitignore=False, chosen=None, view=None
    )
    opened = reply_of(endpoint.submit(request), Opened)
    reply_of(endpoint.submit(messages.Close()), messages.Done)
    return opened


def _scanned(
    opener: _Opener,
    asked: tuple[_Asked, _Asked],
    locations: tuple[Location, Location],
    shown_destination: str,
    sealing: Sealing,
    whole: bool,
) -> Ends:
    """Await both scans; where the source's ignore files are not the ones that the destination
    remembered, tell it."""
    source, destination = asked
    if sealing.near is not None:
        reply_of(asked[sealing.near].scanned, Scanned)
        sealing.near_directories()
    source_scanned = reply_of(source.scanned, Scanned)
    destination_scanned = reply_of(destination.scanned, Scanned)
    how = asked, locations, opener.options, opener.key, sealing
    # Before anything is told that must not be.
    pushed = secured(*how) if opener.key and opener.key.role is Role.SOURCE else None
    if source_scanned.ignore_digest != destination_scanned.ignore_digest:
        sealing.forget(Role.DESTINATION)
        destination_scanned = _tell_ignore_files(source.endpoint, destination.endpoint)
    alternates = destination.alternates
    return Ends(
        source.endpoint,
        destination.endpoint,
        source_scanned,
        reply_of(destination.opened, Opened),
        destination_scanned,
        shown_destination,
        whole,
        sealing,
        () if alternates is None else reply_of(alternates, messages.Alternates).there,
        pushed or secured(*how),
    )


def _tell_ignore_files(source: RemoteEndpoint, destination: RemoteEndpoint) -> Scanned:
    """Pass the source's ignore files on, in as many frames as it takes."""
    requests = (messages.UseIgnoreFiles(part.files, part.more) for part in ignore_files(source))
    return [reply_of(destination.submit(request), Scanned) for request in requests][-1]


def _open_file(
    opener: _Opener,
    source: Location,
    destination: Location,
    source_endpoint: RemoteEndpoint,
    destination_endpoint: RemoteEndpoint,
    source_path: bytes,
    into: bool,
) -> Ends:
    """A single file: to a file, or into a directory that is there or is written with a slash."""
    parent, name = os.path.split(source_path)
    slash = destination.path.endswith(b"/")
    looked = _look(opener, destination_endpoint, destination)
    if looked.kind == RootKind.DIRECTORY or slash or into:
        directory, wanted = destination.path, os.path.basename(source.path.rstrip(b"/")) or name
    else:
        directory, wanted = os.path.split(destination.path)
    if looked.kind == RootKind.OTHER:
        raise RootError(
            f"The destination {destination.shown()} is neither a directory nor a file."
            " Nothing was changed."
        )
    asked_source = opener.ask(
        source_endpoint,
        opener.request(source, Role.SOURCE, name, wanted, path=parent),
    )
    asked_destination = opener.ask(
        destination_endpoint,
        opener.request(destination, Role.DESTINATION, wanted, path=directory),
    )
    place = destination._replace(path=join(directory.rstrip(b"/"), wanted)).shown()
    reply_of(asked_source.opened, Opened)
    sealing = Sealing(
        source_endpoint, destination_endpoint, opener.options, _near(source, destination)
    )
    sealing.map_ids(reply_of(asked_source.scanned, Scanned))
    opened = reply_of(asked_destination.opened, Opened)
    if opened.kind in (RootKind.FILE, RootKind.OTHER):
        raise RootError(
            f"The place for {place} is not in a directory. Nothing was changed; check the path."
        )
    require_destination(opened, place, opener.options.mkpath)
    require_free(opened, destination)
    asked = asked_source, asked_destination
    return _scanned(opener, asked, (source, destination), place, sealing, whole=False)
