"""Trees to measure on: the same for the same seed, on every machine."""

from __future__ import annotations

import math
import os
import random
from array import array
from pathlib import Path

MTIME = 1_500_000_000
"""Seconds; what is generated is old, as most of what people keep is."""

_BLOCK = 1 << 20


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
    left = _scaled(1 << 30, scale)
    with open(top / "noise", "xb") as out:
        while left:
            block = generator.randbytes(min(left, _BLOCK))
            out.write(block)
            left -= len(block)
    os.utime(top / "noise", (MTIME, MTIME))
    _finish([os.fspath(top)])


def texts(top: Path, scale: float) -> None:
    """450 MB of text in 900 files of 500 KB."""
    text = Text(4)
    places = _directories(top, _scaled(30, scale))
    files = _scaled(900, scale)
    for number in range(files):
        place = places[number * len(places) // files]
        _write(f"{place}/t{number:04d}.txt", text.take(500_000), MTIME + number)
    _finish(places)


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


def _scaled(count: int, scale: float) -> int:
    return max(1, round(count * scale))
