"""Recipes, as far as they are decided from lists alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import chunks
from syncron_lib.core.chunks import FIXED, MARK, ChunkList, Step, StepKind, recipe

_CHUNKS = st.lists(st.sampled_from([bytes([n]) * (n % 5 + 1) for n in range(9)]), max_size=30)


def listed(pieces: Sequence[bytes]) -> ChunkList:
    """The list of a file made of these chunks."""
    made = ChunkList(FIXED, 4096)
    marks = [hashlib.sha256(piece).digest()[:MARK] for piece in pieces]
    made.add([len(piece) for piece in pieces], b"".join(marks))
    return made


def carried_out(steps: Sequence[Step], old: bytes, new: bytes, start: int, in_place: bool) -> bytes:
    """What the steps make of ``old``; only literals look into ``new``."""
    file = bytearray(old) if in_place else bytearray(new[:start])
    place = start
    for kind, offset, length in steps:
        assert length > 0
        if kind == StepKind.LITERAL:
            data = new[place : place + length]
        elif kind == StepKind.REPEAT:
            assert offset + length <= place
            data = bytes(file[offset : offset + length])
        else:
            assert offset + length <= len(old)
            assert not in_place or offset >= place
            data = bytes((file if in_place else old)[offset : offset + length])
        file[place : place + length] = data
        place += length
    return bytes(file[:place])


@given(_CHUNKS, _CHUNKS, st.booleans(), st.floats(0, 1))
def test_a_recipe_makes_the_new_file_of_the_old(
    old: list[bytes], new: list[bytes], in_place: bool, share: float
) -> None:
    before, after = b"".join(old), b"".join(new)
    start = 0 if in_place else int(share * len(after))
    steps = list(recipe(listed(new).named(), listed(old), in_place=in_place, start=start))
    assert carried_out(steps, before, after, start, in_place) == after
    if not in_place and not start:  # every chunk that is anywhere is never sent, the rest once
        sent = sum(step.length for step in steps if step.kind == StepKind.LITERAL)
        assert sent == sum(map(len, set(new) - set(old)))


def test_runs_are_told_together() -> None:
    pieces = [bytes([n]) * 9 for n in range(100)]
    steps = list(recipe(listed(pieces).named(), listed(pieces), in_place=True))
    assert steps == [Step(StepKind.COPY, 0, 900)]


@pytest.mark.parametrize("size", [0, 1 << 20, 1 << 28, 1 << 30, 20 << 30, 1 << 40, 1 << 62])
def test_lists_are_bounded_up_to_a_tebibyte(size: int) -> None:
    average = chunks.average_for(size)
    assert chunks.is_average(average)
    assert size // average <= 1 << 18 or average == chunks.MOST_AVERAGE


@pytest.mark.parametrize("average", [0, 1, 2048, 5000, 8 << 20])
def test_other_averages_are_refused(average: int) -> None:
    assert not chunks.is_average(average)
