"""The directories of one side, asked for many at a time, each whole."""

from __future__ import annotations

import itertools
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.table import MAX_ROWS, joined
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Below, Directory
from syncron_lib.session.asking import IN_FLIGHT, batches, reply_of

_PATHS_A_REQUEST = 1000
_DEEPEST = 10_000
"""Directories below each other that are listed; a peer could make up more without an end."""

Known = Mapping[bytes, Directory]
"""Directories by path."""


def listings(
    endpoint: Endpoint, paths: Sequence[bytes], known: Known = MappingProxyType({})
) -> Iterator[Directory]:
    """The directories at ``paths``, in order, each whole. Those that are not ``known`` are asked
    for at once, so that two sides can be before either answers."""
    if any(path.count(b"/") >= _DEEPEST for path in paths):
        raise PeerViolation("The other side listed directories in each other without an end.")
    if known:
        asked = listings(endpoint, [path for path in paths if path not in known])
        return _with_known(paths, known, asked)
    following = batches(paths, _PATHS_A_REQUEST, len)
    waiting = deque(
        (batch, endpoint.submit(messages.List(batch)))
        for batch in itertools.islice(following, IN_FLIGHT)
    )
    return _listed(endpoint, waiting, following)


def _with_known(
    paths: Sequence[bytes], known: Known, asked: Iterator[Directory]
) -> Iterator[Directory]:
    for path in paths:
        directory = known.get(path) or next(asked, None)
        if directory is None:
            return
        yield directory


def _listed(
    endpoint: Endpoint,
    waiting: deque[tuple[Sequence[bytes], Future[Any]]],
    following: Iterator[Sequence[bytes]],
) -> Iterator[Directory]:
    parts: list[Directory] = []
    names = endpoint.names if isinstance(endpoint, RemoteEndpoint) else None
    while waiting:
        batch, future = waiting.popleft()
        directories = reply_of(future, messages.Listing).directories
        if (
            not directories
            or len(directories) > len(batch)
            or any(directory.more for directory in directories[:-1])
        ):
            raise PeerViolation("The other side listed other directories than asked for.")
        for at, directory in enumerate(directories):
            _add_part(parts, directory)
            if not directory.more:
                whole = parts[0] if len(parts) == 1 else _joined(parts)
                yield whole if names is None else names.directory(batch[at], whole)
                parts = []
        rest = batch[len(directories) - bool(parts) :]
        if rest:
            after = parts[-1].table.names[-1] if parts else None
            waiting.appendleft((rest, endpoint.submit(messages.List(rest, after))))
        else:
            more = next(following, None)
            if more is not None:
                waiting.append((more, endpoint.submit(messages.List(more))))


def _add_part(parts: list[Directory], directory: Directory) -> None:
    """Add the next part of one directory, which must go on behind the last one."""
    names = directory.table.names
    if directory.more and not names:
        raise PeerViolation("The other side listed a part of a directory with nothing in it.")
    if parts and names and names[0] <= parts[-1].table.names[-1]:
        raise PeerViolation("The other side listed a part of a directory twice.")
    if sum(len(part.table.names) for part in parts) + len(names) > MAX_ROWS:
        raise PeerViolation("The other side listed a directory without an end.")
    parts.append(directory)


def _joined(parts: Sequence[Directory]) -> Directory:
    below = [item for part in parts for item in part.below]
    return parts[0]._replace(table=joined([part.table for part in parts]), below=below, more=False)


def below_by_row(directory: Directory) -> dict[int, Below]:
    """What lies below each of the directories in a directory, by row."""
    rows = [row for row, mode in enumerate(directory.table.modes) if stat.S_ISDIR(mode)]
    if len(rows) != len(directory.below):
        raise PeerViolation("The other side counted the subdirectories of a directory wrongly.")
    return dict(zip(rows, directory.below))


def own_attributes(directory: Directory) -> Attributes:
    """A directory's own attributes."""
    return Attributes(directory.mode, directory.mtime_ns, directory.uid, directory.gid)
