"""Large files as lists of chunks, and how a new file is put together from an old one.

A *chunk list* is what one side tells of a file: the size of each chunk and a *mark*, the first
bytes of its digest. A *recipe* is what the other side makes of two lists: steps that copy runs of
the old file, repeat what the new one has had already, or carry bytes. Marks are short because a
file that is put together is checked as a whole before it counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import accumulate
from typing import Optional

from syncron_lib.record import NamedTuple

FASTCDC = "fastcdc-2020"
"""Content-defined chunks, cut as the 2020 paper has it (pyfastcdc)."""
FIXED = "fixed"
"""Blocks of one size: what an interpreter without pyfastcdc can do in time."""

MARK = 8
"""Bytes of a digest that name a chunk: two of 2**18 chunks are mistaken for each other with odds
of 2**-29, which costs sending one file whole."""
SMALLEST = 128 << 10
"""Bytes below which a file is sent whole: it would cost nearly as much to say what is missing."""
LEAST_AVERAGE, MOST_AVERAGE = 4 << 10, 4 << 20
_FINE = 16 << 20
_USUAL = 256 << 20
_MOST_CHUNKS = 1 << 18
"""Chunks that a list is meant to have at most, up to 1 TiB: some 40 MB where they are looked up."""
RUN = 16 << 20
"""Bytes after which a run of copied chunks is cut, so that a pack is never long in the making."""


def average_for(size: int) -> int:
    """Average bytes of a chunk in a file of ``size``: a power of two."""
    if size < _FINE:
        return LEAST_AVERAGE
    average = 8 << 10 if size < _USUAL else 16 << 10
    while size // average > _MOST_CHUNKS and average < MOST_AVERAGE:
        average *= 2
    return average


def is_average(average: int) -> bool:
    """Whether both sides can cut chunks of this average size."""
    return LEAST_AVERAGE <= average <= MOST_AVERAGE and not average & (average - 1)


class ChunkList:
    """The chunks of one file, in order: sizes, and marks one behind the other."""

    def __init__(self, chunker: str, average: int) -> None:
        self.chunker = chunker
        self.average = average
        self.sizes = array("I")
        self.marks = bytearray()

    def add(self, sizes: Sequence[int], marks: bytes | bytearray) -> None:
        """Add chunks behind those there are."""
        self.sizes.extend(sizes)
        self.marks += marks

    def offsets(self) -> array[int]:
        """Where each chunk begins, and where the last ends."""
        return array("Q", accumulate(self.sizes, initial=0))

    def named(self, first: int = 0) -> Iterator[Named]:
        """The chunks from the one numbered ``first`` on, as they are looked for."""
        marks = bytes(self.marks[first * MARK :])
        keys = [marks[start : start + MARK] for start in range(0, len(marks), MARK)]
        return zip(keys, self.sizes[first:])

    @property
    def weight(self) -> int:
        """Bytes that the list takes."""
        return len(self.sizes) * (4 + MARK)


class StepKind(IntEnum):
    """Where the bytes of a step come from."""

    LITERAL = 0
    """The body of the pack."""
    COPY = 1
    """The old file, from an offset on."""
    REPEAT = 2
    """The new file itself, from an offset on; all of it is there already."""


_COPY = StepKind.COPY


class Step(NamedTuple):
    """The next ``length`` bytes of a new file. ``offset`` is 0 for a literal."""

    kind: int
    offset: int
    length: int


Named = tuple[bytes, int]
"""A chunk as it is looked for: its mark and its size."""


class _Old(NamedTuple):
    chunks: list[Named]
    offsets: array[int]
    places: dict[Named, int]


def recipe(
    new: Iterable[Named], old: ChunkList, *, in_place: bool, start: int = 0
) -> Iterator[Step]:
    """The steps that make the file of the chunks ``new`` from the ``old`` one, from the offset
    ``start`` on. Takes chunks as it goes.

    A literal is one chunk. ``in_place``: the new file is written over the old one from its
    beginning, so that only what lies ahead can be copied.
    """
    chunks = list(old.named())
    # Of equal chunks the last: in place it is the one that is overwritten last.
    places = dict(zip(chunks, range(len(chunks))))
    lookup = _Old(chunks, old.offsets(), places)
    chunks.append((b"", 0))  # what no chunk equals, behind the last
    seen: dict[Named, int] = {}
    run: Optional[Step] = None
    position = 0
    following = len(chunks) - 1
    offsets = lookup.offsets
    for chunk in new:
        began, position = position, position + chunk[1]
        if position <= start:
            seen.setdefault(chunk, began)
            continue
        # Hot: most chunks of a file that was edited go on where the last one was.
        if run is not None and run.kind == _COPY and chunks[following] == chunk:
            if in_place:
                seen.setdefault(chunk, began)
            following += 1
            if run.length < RUN:
                run = Step(_COPY, run.offset, run.length + chunk[1])
                continue
            yield run
            run = Step(_COPY, offsets[following - 1], chunk[1])
            continue
        cut = max(0, start - began)
        size = chunk[1] - cut
        found = _find(lookup, chunk, began, in_place)
        if found >= 0:
            following = found + 1
            step = Step(_COPY, offsets[found] + cut, size)
            if in_place:  # the old file loses it later on, the new one keeps it
                seen.setdefault(chunk, began)
        else:
            before = seen.setdefault(chunk, began)
            if before < began:
                step = Step(StepKind.REPEAT, before + cut, size)
            else:
                step = Step(StepKind.LITERAL, 0, size)
        if run is not None and _continues(run, step, began + cut):
            run = Step(run.kind, run.offset, run.length + size)
            continue
        if run is not None:
            yield run
        run = step
    if run is not None:
        yield run


def _continues(run: Step, step: Step, place: int) -> bool:
    """Whether ``step``, at ``place`` in the new file, can be told together with ``run``."""
    if step.kind != run.kind or step.kind == StepKind.LITERAL or run.length >= RUN:
        return False
    if step.offset != run.offset + run.length:
        return False
    # What is repeated must be there before the run begins.
    return step.kind == StepKind.COPY or step.offset + step.length <= place - run.length


def _find(old: _Old, chunk: Named, position: int, in_place: bool) -> int:
    """The old chunk to copy, -1 for none: the one at the same place, or any."""
    found = old.places.get(chunk)
    if found is None:
        return -1
    same = bisect_left(old.offsets, position)
    if same < len(old.chunks) and old.offsets[same] == position and old.chunks[same] == chunk:
        found = same
    return -1 if in_place and old.offsets[found] < position else found
