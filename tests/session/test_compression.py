"""When to compress: by what was asked for; and, where that is left open, by what is faster."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from syncron_lib.core.options import RunOptions
from syncron_lib.protocol.compression import Method
from syncron_lib.protocol.pack import Head, PackKind
from syncron_lib.session.compression import Chosen, Compression, choose_way

BOTH, BARE = ["zstd", "zlib"], ["zlib"]
LEVELS = (1, 3, 9)


@pytest.mark.parametrize(
    ("way", "level", "source", "destination", "expected"),
    [
        ("auto", None, BOTH, BOTH, (Method.ZSTD, (1, 3, 9, 12), True)),
        ("auto", None, BOTH, BARE, (Method.ZLIB, (1, 4, 6, 9), True)),
        ("auto", 7, BARE, BOTH, (Method.ZLIB, (7,), True)),
        ("always", None, BOTH, BOTH, (Method.ZSTD, (3,), False)),
        ("always", None, BARE, BOTH, (Method.ZLIB, (3,), False)),
        ("always", 22, BARE, BOTH, (Method.ZLIB, (9,), False)),
        ("zstd", 22, BOTH, BOTH, (Method.ZSTD, (22,), False)),
        ("zlib", 9, BOTH, BOTH, (Method.ZLIB, (9,), False)),
        ("none", 5, BOTH, BOTH, (Method.NONE, (0,), False)),
        ("always", None, [], BOTH, (Method.NONE, (0,), False)),
    ],
)
def test_the_way_of_a_run(way, level, source, destination, expected):
    options = RunOptions(compress=way, compress_level=level)
    assert choose_way(options, source, destination, both_here=False) == Chosen(*expected)


def test_what_was_asked_for_and_is_not_there_is_told() -> None:
    chosen = choose_way(RunOptions(compress="zstd"), BOTH, BARE, both_here=False)
    assert chosen.method is Method.ZLIB
    assert chosen.warning == "The destination cannot compress with zstd: zlib is used instead."


def test_between_two_local_trees_only_what_was_asked_for() -> None:
    assert choose_way(RunOptions(), BOTH, BOTH, both_here=True).method is Method.NONE
    assert choose_way(RunOptions(compress="zstd"), BOTH, BOTH, both_here=True).method is Method.ZSTD


@dataclass
class Line:
    """A source, a link and a destination, each with a rate in MB/s; a pack has 1 MB."""

    link: float
    compressor: float = 300.0
    ratio: float = 3.0
    reader: float = 2000.0
    writer: float = 1000.0

    def run(self, packs: int, adaptive: bool = True) -> tuple[list[int], float]:
        """The level at which each pack went, and the seconds that all took."""
        now = 0.0
        compression = Compression(Chosen(Method.ZSTD, LEVELS, adaptive), clock=lambda: now)
        wanted = [compression.next() for _ in range(6)]
        went = []
        for _ in range(packs):
            asked = wanted.pop(0).level
            shrinks = asked and self.ratio > 1
            # Each level takes about five times as long as the one before it.
            effort = 5 ** LEVELS.index(asked) / self.compressor if shrinks else 0
            source = 1 / self.reader + effort
            sending = 1 / self.link / (self.ratio if shrinks else 1)
            # The three work at once, so the slowest decides.
            now += max(source, sending, 1 / self.writer)
            compression.saw(
                Head(PackKind.PIECE, int(shrinks), 0, int(source * 1e6), 0, 10**6, 0, 0)
            )
            compression.stored(int(1e6 / self.writer))
            wanted.append(compression.next())
            went.append(asked)
        return went, now


def test_a_slow_link_is_compressed_for_from_the_first_pack_to_the_last() -> None:
    went, _ = Line(link=10).run(2000)
    assert all(went)


@pytest.mark.parametrize(("link", "level"), [(0.1, 9), (0.5, 9), (2.5, 3), (10, 3), (40, 1)])
def test_the_slower_the_link_the_harder_it_is_compressed(link: float, level: int) -> None:
    went, _ = Line(link=link).run(1000)
    assert set(went[100:]) == {level}


def test_an_end_that_becomes_slow_compresses_less() -> None:
    line = Line(link=0.5)
    now = 0.0
    compression = Compression(Chosen(Method.ZSTD, LEVELS, True), clock=lambda: now)
    wanted = [compression.next() for _ in range(6)]
    went = []
    for number in range(2000):
        asked = wanted.pop(0).level
        source = 5 ** LEVELS.index(asked) / (300 if number < 500 else 20)
        now += max(source, 1 / line.link / line.ratio)
        compression.saw(Head(PackKind.PIECE, 1, 0, int(source * 1e6), 0, 10**6, 0, 0))
        compression.stored(500)
        wanted.append(compression.next())
        went.append(asked)
    assert went[499] == 9
    assert set(went[600:]) == {3}


def test_a_fast_link_is_not_held_up() -> None:
    went, seconds = Line(link=1000).run(5000)
    assert seconds < 1.1 * 5000 / 1000
    assert not any(went[500:1000])


def test_a_link_between_the_two_gets_what_is_faster() -> None:
    """Compressing holds it up, and is still twice as fast as not to: this is tried seldom."""
    went, seconds = Line(link=125).run(20_000)
    _, compressed = Line(link=125).run(20_000, adaptive=False)
    assert seconds < 1.05 * compressed
    assert sum(went) > 19_000


def test_what_does_not_shrink_changes_nothing() -> None:
    went, _ = Line(link=1000, ratio=1).run(2000)
    assert all(went)


def test_a_link_that_becomes_slow_is_compressed_for_again() -> None:
    now = 0.0
    compression = Compression(Chosen(Method.ZSTD, (1,), True), clock=lambda: now)
    wanted = [compression.next() for _ in range(6)]
    shrinks = False
    for number in range(6000):
        shrinks = bool(wanted.pop(0).level)
        link = 1000 if number < 3000 else 10
        source = 1 / 2000 + (1 / 300 if shrinks else 0)
        now += max(source, 1 / link / (3 if shrinks else 1))
        compression.saw(Head(PackKind.PIECE, int(shrinks), 0, int(source * 1e6), 0, 10**6, 0, 0))
        compression.stored(500)
        wanted.append(compression.next())
        if number == 2999:
            assert not shrinks
    assert shrinks
