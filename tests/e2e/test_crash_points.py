"""SIGKILL at every system call by which a run changes something: each file is the old one or the
new one, nobody outlives it, and the next run makes both sides equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

from tests.e2e.conftest import Command, MakeWay, Script, children, eventually
from tests.e2e.faults import (
    DEEP,
    WORKLOADS,
    Point,
    Workload,
    assert_old_or_new,
    points,
    spread,
    tracing,
)
from tests.e2e.forking import CLIENT, DESTINATION, SOURCE, Forked
from tests.sshd import Sshd
from tests.trees import Directory, assert_same, make, read

_KILL = "signal=KILL"

pytestmark = pytest.mark.timeout(3600 if DEEP else 120)


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    """The command, loaded."""
    forked = Forked(tmp_path_factory.mktemp("forked"))
    yield forked
    forked.close()


class Bench:
    """One workload on disk, brought back to where it begins for each point."""

    def __init__(self, forked: Forked, workload: Workload, top: Path) -> None:
        self.run = forked
        self.workload = workload
        self.old, self.new, self.destination = top / "old", top / "new", top / "dst"
        make(self.old, workload.old)
        make(self.new, workload.new)
        self.before, self.after = _read(self.old), _read(self.new)
        self.fired = Counter[str]()

    def words(self, host: str = "") -> tuple[str | Path, ...]:
        """The run that is hit."""
        return (*self.workload.options, self.new, f"{host}{self.destination}")

    def reset(self) -> None:
        """The destination as a run has left it, remembered as it is."""
        ended = self.run("--delete", self.old, self.destination)
        assert ended.code == 0, ended.err

    def assert_survived(self, point: Point) -> None:
        """What holds after any end, and after the run that follows it."""
        assert self.run.left() == [], point
        try:
            assert_old_or_new(self.destination, self.before, self.after, self.workload.mixed)
        except AssertionError as error:
            raise AssertionError(f"after {point}: {error}") from None
        ended = self.run("--json", *self.words())
        assert ended.code == 0, (point, ended.err)
        assert ended.summary["source_root"] == ended.summary["destination_root"], point
        assert_same(self.destination, self.new, owner=True)
        assert not (self.destination / ".syncron").exists(), point
        ended = self.run("--verify", self.new, self.destination)
        assert ended.code == 0, (point, ended.err)


def _read(path: Path) -> Directory:
    node = read(path, owner=True)
    assert isinstance(node, Directory)
    return node


@pytest.fixture(params=WORKLOADS)
def bench(request: pytest.FixtureRequest, forked: Forked, tmp_path: Path) -> Bench:
    """Each workload."""
    return Bench(forked, WORKLOADS[request.param], tmp_path)


def counted(bench: Bench, who: int, trace: Path, calls: Optional[tuple[str, ...]]) -> list[Point]:
    """The points of the process ``who``, of a run that nothing happens to."""
    for _ in range(2):  # once all is remembered, each run is like the one before
        bench.reset()
        kinds = () if calls is None else (calls,)
        ended = bench.run(*bench.words(), who=who, strace=tracing(trace, *kinds))
        assert ended.code == 0, ended.err
    return points(trace, *kinds)


@pytest.mark.parametrize(
    ("who", "calls", "most", "codes"),
    [
        pytest.param(DESTINATION, None, 26, {12, 0}, id="destination"),
        pytest.param(SOURCE, None, 4, {12, 0}, id="source"),
        pytest.param(CLIENT, ("sendto",), 8, {-9}, id="client"),
    ],
)
def test_killed_between_any_two_changes(
    bench: Bench,
    tmp_path: Path,
    who: int,
    calls: Optional[tuple[str, ...]],
    most: int,
    codes: set[int],
) -> None:
    """A client changes nothing by itself; what it sends has others change something."""
    found = counted(bench, who, tmp_path / "trace", calls)
    chosen = spread(found, most)
    ends = Counter[int]()
    for point in chosen:
        bench.reset()
        ended = bench.run(*bench.words(), who=who, strace=("-o", "/dev/null", *point.inject(_KILL)))
        assert ended.code in codes, (point, ended.code, ended.err)
        if ended.code == 12:
            assert "run the same command again" in ended.err, ended.err
        ends[ended.code] += 1
        bench.assert_survived(point)
    print(f"{bench.workload.name}: {len(chosen)} of {len(found)} points; ended with {dict(ends)}")
    assert ends[12] + ends[-9] > 0.8 * len(chosen), ends
