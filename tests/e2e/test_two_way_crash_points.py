"""SIGKILL at the system calls by which a run in both directions changes something, on either side:
no version is lost, nothing that was deleted comes back, nothing is left beside `.syncron`, and the
next run makes both the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.deep import DEEP, spread
from tests.e2e.faults import MUTATING, Point, points, tracing
from tests.e2e.forking import CLIENT, DESTINATION, SOURCE, Forked
from tests.session.twoway import files
from tests.trees import make, noise

pytestmark = pytest.mark.timeout(7200 if DEEP else 240)

LINES = b"".join(b"%d\n" % n for n in range(10))
ONES, OTHERS = LINES.replace(b"2", b"two"), LINES.replace(b"7", b"seven")
MERGED = ONES.replace(b"7", b"seven")
CONFLICT = re.compile(r"\.syncron-conflict-[0-9a-f]{10}")


class World:
    """Two replicas that differ in everything that a run can be about."""

    def __init__(self, forked: Forked, top: Path) -> None:
        self.run = forked
        self._top = top
        self._begun = 0
        self.trace = top / "trace"

    def begin(self) -> None:
        """The same on both, and then changed on both."""
        self._begun += 1  # another place: in the same one they would be replicas that lost all
        top = self._top / f"{self._begun:04}"
        self.one, self.other = top / "one", top / "other"
        merge = "--merge=*.txt=git merge-file -p {a} {base} {b}"
        self.words = ("--two-way", merge, self.one, self.other)
        old = {f"{n}": b"old %d" % n for n in range(6)}
        make(self.one, {"d": old, "gone": {"a": b"a", "b": b"b"}, "m.txt": LINES, "kind": b"k"})
        make(self.other, {})
        ended = self.run(*self.words)
        assert ended.code == 0, ended.err
        one, other = self.one, self.other
        (one / "d/0").write_bytes(b"0 by one")
        (other / "d/1").write_bytes(b"1 by other")
        (one / "d/2").write_bytes(b"2 by one")
        (other / "d/2").write_bytes(b"2 by other")
        (one / "d/3").unlink()
        (other / "d/3").write_bytes(b"3 is kept")
        (other / "d/4").unlink()
        (one / "m.txt").write_bytes(ONES)
        (other / "m.txt").write_bytes(OTHERS)
        shutil.rmtree(one / "gone")
        (other / "kind").unlink()
        make(other / "kind", {"in": b"kind"})
        make(one / "new", {"x": b"new x", "large": noise(90_000)})
        make(other / "fresh", {"y": b"fresh y"})

    def points(self, who: int, calls: tuple[str, ...]) -> list[Point]:
        """Where ``who`` can be hit."""
        self.begin()
        ended = self.run(*self.words, who=who, strace=tracing(self.trace, calls))
        assert ended.code == 4, ended.err
        self.assert_right("nothing")
        return points(self.trace, calls)

    def assert_survived(self, point: object) -> None:
        """What holds after any end, and after the runs that follow it."""
        assert self.run.left() == [], point
        trees = files(self.one), files(self.other)
        there = {value for tree in trees for value in tree.values()}
        versions = {b"0 by one", b"1 by other", b"2 by one", b"2 by other", b"3 is kept"}
        versions |= {b"kind", b"new x", b"fresh y", noise(90_000)}
        assert versions <= there, (point, versions - there)
        assert MERGED in there or {ONES, OTHERS} <= there, point
        ended = self.run(*self.words)
        assert ended.code in (0, 4), (point, ended.code, ended.err)
        self.assert_right(point)

    def assert_right(self, point: object) -> None:
        """Both are what comes of it, and another run has nothing to do."""
        tree = files(self.one)
        assert tree == files(self.other), point
        expected = {"d", "d/0", "d/1", "d/2", "d/3", "d/5", "m.txt", "kind", "kind/in"}
        expected |= {"new", "new/x", "new/large", "fresh", "fresh/y"}
        assert {CONFLICT.sub("", path) for path in tree} == expected, point
        assert len(tree) == len(expected) + 1, (point, sorted(tree))
        assert tree["m.txt"] == MERGED, point
        assert {b"2 by one", b"2 by other"} <= set(tree.values()), point
        ended = self.run("--json", *self.words)
        assert (ended.code, ended.summary["match"]) == (0, True), (point, ended.err)
        done = [ended.summary[name] for name in ("created", "changed", "deleted", "conflicts")]
        assert done == [0, 0, 0, 0], point
        for root in (self.one, self.other):
            inside = {path.name for path in (root / ".syncron").iterdir()}
            assert inside <= {"state.db", "lock"}, (point, inside)


@pytest.mark.parametrize(
    ("who", "calls", "most"),
    [
        pytest.param(SOURCE, MUTATING, 13, id="first"),
        pytest.param(DESTINATION, MUTATING, 13, id="second"),
        pytest.param(CLIENT, ("sendto",), 4, id="client"),
    ],
)
def test_killed_between_any_two_changes(
    forked: Forked, tmp_path: Path, who: int, calls: tuple[str, ...], most: int
) -> None:
    world = World(forked, tmp_path)
    found = world.points(who, calls)
    chosen = spread(found, most)
    for point in chosen:
        world.begin()
        strace = ("-o", "/dev/null", *point.inject("signal=KILL"))
        ended = world.run(*world.words, who=who, strace=strace)
        assert ended.code in (12, -9), (point, ended.code, ended.err)
        world.assert_survived(point)
    print(f"killed at {len(chosen)} of {len(found)} points")
