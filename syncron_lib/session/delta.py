"""Changed large files: the source is told what the destination has, and sends the rest."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from syncron_lib.core.chunks import FASTCDC, FIXED, SMALLEST
from syncron_lib.core.options import RunOptions
from syncron_lib.core.plan import Change, Plan
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import IN_FLIGHT, replies, reply_of
from syncron_lib.session.observer import Observer

if TYPE_CHECKING:
    from syncron_lib.session.opening import Ends

_SPAN = 64 << 20
"""Bytes of a file that one part of its list is about: the source cuts its own file as far as it
has been told, so that it is behind the destination by this much at the end."""
_WINDOW = 4 << 30
"""Bytes of old files whose lists the source holds at once: some three megabytes."""
_FILES = 4000


class DeltaChoice(NamedTuple):
    """What a run does about changed large files. ``chunker``: how both sides cut, None for files
    that are sent whole. ``in_place``: see `protocol.messages.Begin`. ``whole``: paths of files that
    are sent whole anyway."""

    chunker: str | None = None
    in_place: bool = False
    whole: Container[bytes] = ()

    @property
    def is_coarse(self) -> bool:
        """Whether one of the sides cannot cut by content."""
        return self.chunker == FIXED


WHOLE = DeltaChoice()
"""Every file is sent whole."""


def delta_choice(
    ends: Ends, plan: Plan, options: RunOptions, observer: Observer, both_here: bool
) -> DeltaChoice:
    """Whether changed large files are sent as what is missing of them. Between two local roots
    there is no link to be spared, and whole files are quicker."""
    whole = options.whole_file
    wanted = not (both_here if whole is None else whole)
    hellos = ends.source.hello, ends.destination.hello
    choice = choose(*hellos, wanted, options.in_place)._replace(whole=ends.secure.paths())
    if choice.is_coarse and any(map(is_delta, plan.changes)):
        observer.remark(coarse(*hellos))
    return choice


def choose(
    source: messages.Hello, destination: messages.Hello, wanted: bool, in_place: bool
) -> DeltaChoice:
    """What both sides can do, the source's first choice first."""
    common = [name for name in source.chunkers if name in destination.chunkers]
    return DeltaChoice(common[0] if wanted and common else None, in_place)


def is_delta(change: Change) -> bool:
    """Whether it is worth to look for what is missing of a changed entry (all but files have size
    0)."""
    return min(change.size, change.old_size) >= SMALLEST


def windows(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Changes whose lists are told at once."""
    start = size = 0
    for index, change in enumerate(changes):
        size += change.old_size
        if size >= _WINDOW or index + 1 - start == _FILES:
            yield changes[start : index + 1]
            start, size = index + 1, 0
    if start < len(changes):
        yield changes[start:]


def coarse(source: messages.Hello, destination: messages.Hello) -> str:
    """Why changed large files are compared in blocks of one size, for people."""
    sides = (("the source", source), ("the destination", destination))
    lacks = [side for side, hello in sides if FASTCDC not in hello.chunkers]
    return (
        "Changed large files are compared in fixed blocks, because pyfastcdc is missing at"
        f" {' and '.join(lacks)}; what lies behind bytes that were inserted or removed is sent"
        " again."
    )


def tell(
    source: Endpoint, destination: Endpoint, choice: DeltaChoice, changes: Sequence[Change]
) -> None:
    """Pass on what the destination has of these files. Both sides read theirs meanwhile."""
    assert choice.chunker is not None
    asked = [
        messages.GetChunks(change.path, choice.chunker, start, min(start + _SPAN, change.old_size))
        for change in changes
        for start in range(0, change.old_size, _SPAN)
    ]
    left = {change.path: change.old_size for change in changes}
    told: deque[Future[Any]] = deque()
    for request, chunks in zip(asked, replies(destination, asked, messages.Chunks)):
        path = request.path
        if path not in left or not (chunks.average or request.start):
            left.pop(path, None)
            continue
        if len(chunks.sizes) % 4:
            raise PeerViolation("The destination told of half a chunk.")
        left[path] -= sum(array("I", chunks.sizes))
        more = left[path] > 0
        if not more or not chunks.average:
            del left[path]
        basis = messages.Basis(path, choice.chunker, *chunks, more, choice.in_place)
        told.append(source.submit(basis))
        if len(told) > IN_FLIGHT:
            reply_of(told.popleft(), messages.Done)
    while told:
        reply_of(told.popleft(), messages.Done)
