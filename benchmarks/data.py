"""Trees to measure on: the same for the same seed, on every machine."""

from __future__ import annotations

import math
import os
import random
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

Generate = Callable[[Path, float], None]
"""Makes a tree at a path that is not there yet, at a scale."""
Change = Callable[[Path, int], None]
"""Alters a generated tree; in another way every turn, counted from 0."""

MTIME = 1_500_000_000
"""Seconds; what is generated is old, as most of what people keep is."""

_BLOCK = 1 << 20
_GIB = 1 << 30


class Text:
    """Word text: words as often as in a language (Zipf), so that it packs as text does."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an")]
        words = [
            "".join(self._random.choices(syllables, k=self._random.randint(1, 4)))
            for _ in range(8000)
        ]
        weights = [1 / rank for rank in range(1, len(words) + 1)]
        # One entry for each value of two random bytes: a word costs a look-up, no arithmetic.
        table = self._random.choices(words, weights, k=1 << 16)
        self._table = [
            (word + ("\n" if self._random.random() < 0.08 else " ")).encode() for word in table
        ]

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        # A word takes three bytes at least, so this many are enough.
        picks = array("H", self._random.randbytes(2 * (size // 3 + 1)))
        text = b"".join(map(self._table.__getitem__, picks))
        return text[:size]


def _directories(top: Path, count: int) -> list[str]:
    """Make ``count`` directories, eight in each, ``top`` the first."""
    paths = [os.fspath(top)]
    os.makedirs(top)
    for number in range(1, count):
        path = f"{paths[(number - 1) // 8]}/d{number:05d}"
        os.mkdir(path)
        paths.append(path)
    return paths


def _write(path: str, content: bytes, mtime: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        if content:
            os.write(descriptor, content)
        os.utime(descriptor, (mtime, mtime))
    finally:
        os.close(descriptor)


def _finish(directories: list[str]) -> None:
    for path in reversed(directories):
        os.utime(path, (MTIME, MTIME))


def documents(top: Path, scale: float) -> None:
    """100,000 text files in 8,300 directories, 450 MB; sizes log-normal, 4.5 KB on average."""
    files, directories = _scaled(100_000, scale), _scaled(8_300, scale)
    text, sizes = Text(1), random.Random(2)
    places = _directories(top, directories)
    for number in range(files):
        # exp(mu + sigma²/2) is the mean of a log-normal distribution.
        size = min(int(sizes.lognormvariate(math.log(4500) - 0.5, 1.0)), 1 << 18)
        place = places[number * directories // files]
        _write(f"{place}/f{number:06d}.txt", text.take(size), MTIME + number)
    _finish(places)


def tenth(top: Path, scale: float) -> None:
    """A tenth of `documents`."""
    documents(top, scale / 10)


def crowd(top: Path, scale: float) -> None:
    """1,000,000 files in 83,000 directories, a tenth of them of 16 bytes, the others empty."""
    files, directories = _scaled(1_000_000, scale), _scaled(83_000, scale)
    places = _directories(top, directories)
    for number in range(files):
        content = b"" if number % 10 else b"%016d" % number
        _write(f"{places[number * directories // files]}/f{number:07d}", content, MTIME + number)
    _finish(places)


def noise(top: Path, scale: float) -> None:
    """One file of 1 GiB that does not compress."""
    generator = random.Random(3)
    top.mkdir(parents=True)
    left = _scaled(_GIB, scale)
    with open(top / "noise", "xb") as out:
        while left:
            block = generator.randbytes(min(left, _BLOCK))
            out.write(block)
            left -= len(block)
    os.utime(top / "noise", (MTIME, MTIME))
    _finish([os.fspath(top)])


def archive(top: Path, scale: float) -> None:
    """1 GiB that does not compress in 10,000 files in 100 directories, all below one."""
    generator = random.Random(6)
    files = _scaled(10_000, scale)
    places = _directories(top / "archive", _scaled(100, scale))
    for number in range(files):
        place = places[number * len(places) // files]
        _write(f"{place}/a{number:05d}", generator.randbytes(_GIB // 10_000), MTIME + number)
    _finish([os.fspath(top), *places])


def texts(top: Path, scale: float) -> None:
    """450 MB of text in 900 files of 500 KB."""
    text = Text(4)
    places = _directories(top, _scaled(30, scale))
    files = _scaled(900, scale)
    for number in range(files):
        place = places[number * len(places) // files]
        _write(f"{place}/t{number:04d}.txt", text.take(500_000), MTIME + number)
    _finish(places)


def pages(top: Path, scale: float) -> None:
    """20 MB of text in 40 files of 500 KB."""
    texts(top, scale * 40 / 900)


def handful(top: Path, scale: float) -> None:
    """Ten text files in three directories, whatever the scale."""
    del scale
    text = Text(5)
    places = _directories(top, 3)
    for number in range(10):
        _write(f"{places[number % 3]}/f{number}.txt", text.take(3_000), MTIME + number)
    _finish(places)


def edit(top: Path, turn: int) -> None:
    """Change 100 files (all, where there are fewer): half to the same size, half grown.

    Another choice every ``turn``. Their times are a second apart from turn to turn, since
    tools may look at no more than the second.
    """
    chooser, text = random.Random(1000 + turn), Text(2000 + turn)
    paths = sorted(os.path.join(place, name) for place, _, names in os.walk(top) for name in names)
    mtime = MTIME + 50_000_000 + turn
    for number, path in enumerate(chooser.sample(paths, min(100, len(paths)))):
        if number % 2:
            content = text.take(os.path.getsize(path))
            with open(path, "r+b") as out:
                out.write(content)
        else:
            with open(path, "ab") as out:
                out.write(text.take(700))
        os.utime(path, (mtime, mtime))


def scatter(top: Path, turn: int) -> None:
    """Into the one file of `noise`: 100 edits of up to 200 bytes and 10 insertions of up to 2,000.

    What comes after an insertion moves. Other places every ``turn``.
    """
    chooser = random.Random(3000 + turn)
    path, new = top / "noise", top / "noise.new"
    size = path.stat().st_size
    places = sorted(chooser.sample(range(size), min(110, size)))
    insertions = set(chooser.sample(places, min(10, len(places))))
    with open(path, "rb") as old, open(new, "xb") as out:
        for place, after in zip(places, [*places[1:], size], strict=True):
            _copy(old, out, place - old.tell())
            if place in insertions:
                out.write(chooser.randbytes(chooser.randint(1, 2000)))
            else:
                edit = chooser.randbytes(min(chooser.randint(1, 200), after - place))
                old.seek(len(edit), os.SEEK_CUR)
                out.write(edit)
        _copy(old, out, size - old.tell())
    mtime = MTIME + 50_000_000 + turn
    os.utime(new, (mtime, mtime))
    os.rename(new, path)
    os.utime(top, (mtime, mtime))


def fifth(top: Path, scale: float) -> None:
    """A fifth of `documents`."""
    documents(top, scale / 5)


def clone(top: Path, turn: int) -> None:
    """Make every file and directory anew with the same content, as a fresh clone would: other
    inodes, and other times every ``turn``."""
    mtime = MTIME + 50_000_000 + 1000 * turn
    new = top.with_name(f"{top.name}.new")
    for place, directories, names in os.walk(top):
        there = new / os.path.relpath(place, top)
        there.mkdir()
        directories.sort()
        for name in sorted(names):
            with open(f"{place}/{name}", "rb") as source:
                _write(f"{there}/{name}", source.read(), mtime)
    for place, _, _ in os.walk(new, topdown=False):
        os.utime(place, (mtime, mtime))
    shutil.rmtree(top)
    new.rename(top)


def rename(top: Path, turn: int) -> None:
    """Give the one directory in ``top`` another name."""
    (old,) = top.iterdir()
    old.rename(top / f"archive-{turn}")
    os.utime(top, (MTIME + turn, MTIME + turn))


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size:
        block = source.read(min(size, _BLOCK))
        target.write(block)
        size -= len(block)


def _scaled(count: int, scale: float) -> int:
    return max(1, round(count * scale))
