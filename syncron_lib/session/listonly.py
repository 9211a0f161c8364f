"""What is at a source, as a list: nothing is compared, and nothing is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from syncron_lib.core.names import join
from syncron_lib.core.options import DIRECTLY_IN, RunOptions
from syncron_lib.core.parts import Part
from syncron_lib.core.table import PROBLEM, link_targets
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Directory, RootKind
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import failure_of, reply_of
from syncron_lib.session.conduct import with_pool
from syncron_lib.session.listings import listings
from syncron_lib.session.observer import Observer
from syncron_lib.session.opening import kind_of, open_one
from syncron_lib.session.pool import Pool
from syncron_lib.session.profile import profile_of, seal_request
from syncron_lib.transport.settings import ConnectOptions


class Entry(NamedTuple):
    """``size``: of a directory 0, of a symlink that of its target. ``problem``: the errno of what
    cannot be looked at, or read."""

    path: bytes
    mode: int
    size: int
    mtime_ns: int
    target: bytes | None = None
    problem: int = 0


def entries(
    parts: Sequence[Part], options: RunOptions, connect: ConnectOptions, observer: Observer
) -> Sequence[Entry]:
    """All entries of the parts, in rsync's order: of each directory first what is no directory."""

    def work(pool: Pool) -> list[Entry]:
        found: list[Entry] = []
        for part in parts:
            found.extend(_of_part(pool, part, options, observer))
        return found

    return with_pool(connect, options, (parts[0].source,), work)


def _of_part(pool: Pool, part: Part, options: RunOptions, observer: Observer) -> list[Entry]:
    location, chosen, only = part.source, part.chosen, None
    if kind_of(pool, location, options, observer) == RootKind.FILE:
        only = os.path.basename(location.path)
        chosen = None if chosen == DIRECTLY_IN else chosen
    rules = options.rules._replace(chosen=chosen)
    options = options._replace(rules=rules)
    endpoint, _ = open_one(pool, location, options, observer, only)
    uid = endpoint.hello.uid
    request = seal_request(
        endpoint.hello.algorithms[0], profile_of(options, uid, uid), (), (), False
    )
    for problem in reply_of(endpoint.submit(request), messages.Sealed).problems:
        observer.failure(failure_of(problem, "source"))
    # The root belongs to a list only if it is on it.
    without = only is not None or (chosen is not None and b"." not in chosen.paths.split(b"\0"))
    found = list(_walked(endpoint, without))
    reply_of(endpoint.submit(messages.Close()), messages.Done)
    return found


def _walked(endpoint: Endpoint, without_root: bool) -> Iterator[Entry]:
    directories: dict[bytes, Directory] = {}
    frontier = [b""]
    while frontier:
        following: list[bytes] = []
        for path, directory in zip(frontier, listings(endpoint, frontier)):
            directories[path] = directory
            table = directory.table
            following.extend(
                join(path, name)
                for name, mode in zip(table.names, table.modes)
                if stat.S_ISDIR(mode)
            )
        frontier = following
    stack = [b""]
    while stack:
        path = stack.pop()
        directory = directories[path]
        if path or not without_root:
            own = directory.mode, 0, directory.mtime_ns, None, directory.problem
            yield Entry(path, *own)
        below: list[bytes] = []
        targets = link_targets(directory.table)
        table = directory.table
        for row, (name, mode) in enumerate(zip(table.names, table.modes)):
            inside = join(path, name)
            if mode == PROBLEM:
                yield Entry(inside, 0, 0, 0, None, table.sizes[row])
            elif stat.S_ISDIR(mode):
                below.append(inside)
            else:
                target = targets.get(row)
                size = table.sizes[row] if stat.S_ISREG(mode) else len(target or b"")
                yield Entry(inside, mode, size, table.mtimes[row], target)
        below.sort(key=lambda each: each + b"/", reverse=True)
        stack.extend(below)
