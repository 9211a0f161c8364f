"""Random histories of several replicas against the judge of `tests.core.replicas`: edits, deletes,
partial and failing runs, kills, lost and restored state. The end of each: all replicas are equal,
nothing that nobody replaced is lost, and what is known is the same everywhere."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncron_lib.core.twoway.reconcile import Choice, Policy
from tests.core.replicas import World
from tests.deep import DEEP

PATHS = [b"f", b"g", b"d", b"d/x", b"d/y", b"d/e", b"d/e/z"]
_MINE = int(os.environ.get("SYNCRON_HISTORIES", "100000" if DEEP else "1800"))
_OF_HYPOTHESIS = 20_000 if DEEP else 200

names = st.sampled_from("ABCDE")
paths = st.sampled_from(PATHS)
pairs = st.tuples(names, names).filter(lambda pair: pair[0] != pair[1])
writes = st.tuples(
    st.just("write"),
    names,
    paths,
    st.sampled_from([b"c0", b"c1", b"c2", None]),
    st.sampled_from([0o644, 0o755]),
)
edits = st.tuples(st.just("edit"), names, paths)
deletes = st.tuples(st.just("delete"), names, paths)
others = st.tuples(st.sampled_from(["mkdir", "snap", "restore", "lose"]), names, paths)
syncs = st.tuples(
    st.just("sync"),
    pairs,
    st.sampled_from([Choice.BY_ORDER, *Choice]),
    st.lists(st.tuples(names, paths), max_size=2),
    st.lists(paths, max_size=1),
    st.one_of(st.none(), st.integers(0, 5)),
    st.booleans(),
)
steps = st.one_of(writes, writes, edits, deletes, syncs, syncs, syncs, others)
histories = st.lists(steps, max_size=25)


class _Play:
    """Carries out steps on a world of so many replicas."""

    def __init__(self, count: int) -> None:
        self.world = World("ABCDE"[:count])
        self._saved: dict[str, Any] = {}
        self._contents = 0

    def step(self, step: tuple[Any, ...]) -> None:
        world = self.world
        what, who = step[0], step[1]
        if not set(who) <= set(world.peers):
            return
        if what == "write":
            self._contents += 1
            content = b"v%d" % self._contents if step[3] is None else step[3]
            world.write(who, step[2], content, step[4])
        elif what == "edit":
            self._contents += 1
            world.edit(who, step[2], b"v%d" % self._contents)
        elif what == "delete":
            world.delete(who, step[2])
        elif what == "mkdir":
            world.mkdir(who, step[2])
        elif what == "snap":
            self._saved[who] = world.peers[who].snapshot()
        elif what == "restore":
            if who in self._saved:
                world.restore(who, self._saved[who])
        elif what == "lose":
            world.lose(who)
        else:
            _, (one, other), choice, failing, unseen, killed, merges = step
            policy: Policy = lambda *_: choice  # noqa: E731
            fails = lambda name, path: (name, path) in failing  # noqa: E731
            world.sync(one, other, policy, fails, unseen, killed, merges)


@settings(max_examples=_OF_HYPOTHESIS)
@given(st.integers(2, 5), histories)
def test_any_history_comes_out_right(count: int, steps: list[tuple[Any, ...]]) -> None:
    play = _Play(count)
    for step in steps:
        play.step(step)
    play.world.settle_all()


@pytest.mark.parametrize("part", range(4))
def test_many_long_histories_come_out_right(part: int) -> None:
    """The same by plain randomness, which makes many more in the same time. A failing seed is in
    the message."""
    merged = 0
    for seed in range(part * _MINE // 4, (part + 1) * _MINE // 4):
        chance = random.Random(seed)
        merging = chance.random() < 0.3
        play = _Play(chance.randint(2, 3 if merging else 5))
        unique = merging or chance.random() < 0.7
        for _ in range(chance.randint(3, 40 if merging else 25)):
            step = _random_step(chance, list(play.world.peers), unique, merging)
            try:
                play.step(step)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
        try:
            play.world.settle_all()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        merged += play.world.merged
    assert merged > _MINE // 100, "hardly anything is merged"


def _random_step(
    chance: random.Random, peers: list[str], unique: bool, merging: bool
) -> tuple[Any, ...]:
    kind, who = chance.random(), chance.choice(peers)
    path = chance.choice(PATHS[:1] if merging and chance.random() < 0.8 else PATHS)
    if merging and chance.random() < 0.5:
        return chance.choices(["edit", "snap", "restore"], [9, 1, 1])[0], who, path
    if kind < 0.35:
        content = None if unique else b"c%d" % chance.randint(0, 3)
        return "write", who, path, content, chance.choice([0o644, 0o644, 0o755])
    if kind < 0.5:
        return "delete", who, path
    if kind < 0.58:
        what = chance.choices(["mkdir", "snap", "restore", "lose"], [3, 2, 2, 1])[0]
        return what, who, path
    other = chance.choice([name for name in peers if name != who])
    fails = chance.random() < 0.15
    failing = [(chance.choice([who, other]), chance.choice(PATHS)) for _ in range(2)]
    unseen = [chance.choice(PATHS)] if chance.random() < 0.1 else []
    killed = chance.randint(0, 5) if chance.random() < 0.1 else None
    choice = chance.choice([Choice.BY_ORDER] * 2 + list(Choice))
    merges = merging and chance.random() < 0.8
    return "sync", (who, other), choice, failing if fails else [], unseen, killed, merges
