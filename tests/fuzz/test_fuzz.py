"""Random and mutated bytes for everything that reads what others wrote: only errors in order,
within bounds of memory and time.

Where one fails, the seed and the bytes are in the failure; ``SYNCRON_SEED`` chooses another seed.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from syncron_lib.core.role import Role
from syncron_lib.protocol.frames import pack_header
from tests.adversary.evil import resident
from tests.adversary.world import stats
from tests.deep import DEEP
from tests.fuzz import corpus, targets
from tests.fuzz.corpus import Frame
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import Helper, StateFile
from tests.trees import make

SEED = int(os.environ.get("SYNCRON_SEED", "1"))
MORE = 20 if DEEP else 1
LONGEST = 2.0
"""Seconds that any single input may take."""
MEMORY = 256 << 20


def throw(target: Callable[[bytes], None], seeds: Sequence[bytes], count: int) -> None:
    """Give ``target`` ``count`` inputs made of ``seeds``; one in ten is noise."""
    chance = random.Random(SEED)
    before = _begin()
    for number in range(count):
        if chance.random() < 0.1:
            data = chance.randbytes(chance.randrange(200))
        else:
            data = mutated(chance, chance.choice(seeds), seeds)
        began = time.process_time()
        try:
            target(data)
        except BaseException as error:
            pytest.fail(f"seed {SEED}, input {number}, {data!r}: {error!r}")
        assert time.process_time() - began < LONGEST, (SEED, number, data)
    assert resident(os.getpid(), "VmHWM") - before < MEMORY


def _begin() -> int:
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
    return resident(os.getpid(), "VmRSS")


def test_frames_to_a_helper(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    corpus.tree(root)
    make(outside, {"file": b"sentinel"})
    sentinel = stats(outside)
    seeds = corpus.requests(root)
    payloads = [payload for _, payload in seeds]
    helper = Helper(root)
    chance = random.Random(SEED)
    before = _begin()
    for number in range(100_000 * MORE):
        if number % 5000 == 0:
            shutil.rmtree(root)
            corpus.tree(root)
        if number % 250 == 0:
            helper.restart(Role(number // 250 % 2))
        kind, payload = chance.choice(seeds)
        what = chance.random()
        if what < 0.05:
            kind, payload = chance.randrange(256), chance.randbytes(chance.randrange(200))
        elif what < 0.9:
            payload = mutated(chance, payload, payloads)
        began = time.process_time()
        try:
            helper.take(kind, payload)
        except BaseException as error:
            pytest.fail(f"seed {SEED}, frame {number}, {kind:#x} {payload!r}: {error!r}")
        assert time.process_time() - began < LONGEST, (SEED, number, kind, payload)
    helper.close()
    os.umask(0o022)
    assert helper.refused > 1000
    assert helper.answered > 1000
    assert resident(os.getpid(), "VmHWM") - before < MEMORY
    assert stats(outside) == sentinel
    assert set(os.listdir(tmp_path)) == {"root", "outside"}


def test_frames_to_a_client(tmp_path: Path) -> None:
    corpus.tree(tmp_path / "root")
    seeds = corpus.replies(tmp_path / "root")
    payloads = [payload for _, payload in seeds]
    chance = random.Random(SEED)
    before = _begin()
    for number in range(100_000 * MORE):
        kind, payload = _changed(chance, seeds, payloads)
        try:
            targets.reply(kind, payload)
        except BaseException as error:
            pytest.fail(f"seed {SEED}, frame {number}, {kind:#x} {payload!r}: {error!r}")
    assert resident(os.getpid(), "VmHWM") - before < MEMORY


def _changed(chance: random.Random, seeds: Sequence[Frame], payloads: Sequence[bytes]) -> Frame:
    kind, payload = chance.choice(seeds)
    what = chance.random()
    if what < 0.1:
        return chance.randrange(256), chance.randbytes(chance.randrange(200))
    return kind, mutated(chance, payload, payloads) if what < 0.95 else payload


def test_conversations_of_a_client(tmp_path: Path) -> None:
    """Frames one after the other, over a stream: some right, one not, the rest whatever."""
    corpus.tree(tmp_path / "root")
    seeds = corpus.replies(tmp_path / "root")
    payloads = [payload for _, payload in seeds]
    chance = random.Random(SEED)
    for number in range(1_000 * MORE):
        said = b""
        for request in range(3):
            kind, payload = _changed(chance, seeds, payloads)
            said += pack_header(len(payload), kind, chance.choice((0, request + 1))) + payload
        if chance.random() < 0.3:
            said = mutated(chance, said, payloads)
        try:
            targets.client(said)
        except BaseException as error:
            pytest.fail(f"seed {SEED}, conversation {number}, {said!r}: {error!r}")


@pytest.mark.parametrize("lies", [Role.SOURCE, Role.DESTINATION], ids=str)
def test_runs_with_a_side_that_lies(tmp_path: Path, lies: Role) -> None:
    """Of one reply a field is another; all the rest of the run is as it would be."""
    chance = random.Random(SEED)
    make(tmp_path / "source", {**corpus.TREE, "new": {"x": b"1", "y": b"2"}, "moved": b"m" * 5000})
    before = _begin()
    for number in range(250 * MORE):
        destination = tmp_path / f"destination{number}"
        make(destination, {**corpus.TREE, "file": b"old one", "gone": b"", "was": b"m" * 5000})
        began = time.process_time()
        try:
            targets.run(tmp_path / "source", destination, lies, chance)
        except BaseException as error:
            pytest.fail(f"seed {SEED}, run {number}: {error!r}")
        assert time.process_time() - began < LONGEST, (SEED, number)
        shutil.rmtree(destination)
    assert resident(os.getpid(), "VmHWM") - before < MEMORY


def test_messages(tmp_path: Path) -> None:
    corpus.tree(tmp_path / "root")
    seeds = [*corpus.requests(tmp_path / "root"), *corpus.replies(tmp_path / "root")]
    throw(targets.frames, [bytes((kind,)) + payload for kind, payload in seeds], 20_000 * MORE)


def test_packs() -> None:
    throw(targets.packs, corpus.packs(), 10_000 * MORE)


def test_tables() -> None:
    throw(targets.tables, corpus.tables(), 10_000 * MORE)


def test_rules() -> None:
    throw(targets.rules, corpus.RULES, 10_000 * MORE)


def test_configurations() -> None:
    pieces = [b"\n".join(part) for part in _parts(corpus.CONFIGURATION.splitlines())]
    throw(targets.configuration, pieces, 1_000 * MORE)


def _parts(lines: list[bytes]) -> list[list[bytes]]:
    """The example whole, and without its comments."""
    plain = [line for line in lines if not line.lstrip().startswith(b"#")]
    return [lines, plain, [line.replace(b"# ", b"", 1) for line in lines]]


def test_columns() -> None:
    throw(targets.columns, corpus.COLUMNS, 10_000 * MORE)


def test_state_files(tmp_path: Path) -> None:
    state = StateFile(tmp_path)
    throw(state, [state.whole], 400 * MORE)
