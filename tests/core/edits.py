"""Files and what people do to them, for tests of what is missing of a changed file."""

from __future__ import annotations

import random

from hypothesis import strategies as st

Edit = tuple[str, float, float, int]
"""(what, where, where else, seed); places are shares of the length."""

EDITS = st.lists(
    st.tuples(
        st.sampled_from(
            "overwrite insert delete append prepend truncate move swap zeros repeat nothing".split()
        ),
        st.floats(0, 1),
        st.floats(0, 1),
        st.integers(0, 1 << 30),
    ),
    max_size=4,
)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """``data`` with all ``edits`` done to it, one after the other."""
    for what, where, other, seed in edits:
        chooser = random.Random(seed)
        fresh = chooser.randbytes(chooser.choice((1, 7, 3000, 70_000)))
        place, end = sorted((int(where * len(data)), int(other * len(data))))
        if what == "overwrite":
            data = data[:place] + fresh + data[place + len(fresh) :]
        elif what == "insert":
            data = data[:place] + fresh + data[place:]
        elif what == "delete":
            data = data[:place] + data[place + len(fresh) :]
        elif what == "append":
            data += fresh
        elif what == "prepend":
            data = fresh + data
        elif what == "truncate":
            data = data[:end]
        elif what == "move":
            data = data[end:] + data[:place] + data[place:end]
        elif what == "swap":
            half = (end - place) // 2
            data = data[:place] + data[place + half : end] + data[place : place + half] + data[end:]
        elif what == "zeros":
            data = data[:place] + bytes(200_000) + data[place:]
        elif what == "repeat":
            data = data[:end] + data[place:end] + data[end:]
    return data
