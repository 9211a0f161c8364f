"""SIGKILL at the system calls by which a run in both directions with the key changes something, or
asks for it: on the side with the key, on the sealed one, in the client. No version is lost, nothing
that was deleted comes back, nothing is in clear on the sealed side, nobody is refused afterwards
as if something older had been shown, whoever comes next."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from syncron_lib.secure import keyfile
from tests.deep import DEEP, spread
from tests.e2e.faults import MUTATING, Point, points, tracing
from tests.e2e.forking import CLIENT, DESTINATION, SOURCE, Forked
from tests.session.keyed import MANIFEST, opened
from tests.session.twoway import files
from tests.trees import make, noise

pytestmark = pytest.mark.timeout(7200 if DEEP else 240)

LINES = b"".join(b"LINE %d of a secret\n" % n for n in range(10))
ONES, OTHERS = LINES.replace(b"LINE 2", b"TWO"), LINES.replace(b"LINE 7", b"SEVEN")
MERGED = ONES.replace(b"LINE 7", b"SEVEN")
CONFLICT = re.compile(r"\.syncron-conflict-[0-9a-f]{10}")
MINE, HUB = SOURCE, DESTINATION


class World:
    """Two homes and a disk that is sealed. One home and the disk differ in everything that a run
    can be about."""

    def __init__(self, forked: Forked, top: Path) -> None:
        self.run = forked
        self._top = top
        self._begun = 0
        self.trace = top / "trace"
        assert forked("--keygen").code == 0
        key = Path(os.environ["XDG_CONFIG_HOME"]) / "syncron/key"
        self._ring = keyfile.unpacked(key.read_bytes(), lambda: b"", "key")

    def words(self, home: Path) -> tuple[str | Path, ...]:
        merge = "--merge=*.txt.env=git merge-file -p {a} {base} {b}"
        return "--two-way", merge, f"--sealed={self.disk}", home, self.disk

    def begin(self) -> None:
        """The same everywhere, then changed in both homes, and one of them has met the disk."""
        self._begun += 1  # another place: in the same one they would be replicas that lost all
        top = self._top / f"{self._begun:04}"
        self.mine, self.other, self.disk = top / "mine", top / "other", top / "disk"
        old = {f"{n}.env": b"SECRET: old %d" % n for n in range(7)}
        rules = b"*.env\n/secrets/\n"
        make(self.other, {".secure": rules, **old, "m.txt.env": LINES, "readme": b"readme"})
        for root in (self.mine, self.disk):
            make(root, {})
        for root in (self.other, self.mine):
            assert self.run(*self.words(root)).code == 0
        mine, other = self.mine, self.other
        (other / "0.env").write_bytes(b"SECRET: 0 by other")
        (mine / "1.env").write_bytes(b"SECRET: 1 by mine")
        for root in (mine, other):
            (root / "2.env").write_bytes(b"SECRET: 2 by " + root.name.encode())
        (mine / "3.env").unlink()
        (other / "3.env").write_bytes(b"SECRET: 3 is kept")
        (other / "4.env").unlink()
        (mine / "5.env").unlink()
        (other / "m.txt.env").write_bytes(ONES)
        (mine / "m.txt.env").write_bytes(OTHERS)
        (mine / "readme").write_bytes(b"readme of mine")
        make(mine / "secrets", {"new": b"SECRET: new of mine", "large": noise(150_000)})
        make(other / "more", {"new.env": b"SECRET: new of other"})
        assert self.run(*self.words(other)).code == 0

    def points(self, who: int, calls: tuple[str, ...]) -> list[Point]:
        """Where ``who`` can be hit."""
        self.begin()
        traced = tracing(self.trace, calls)
        ended = self.run(*self.words(self.mine), who=who, strace=traced)
        assert ended.code == 4, ended.err
        self.assert_survived("nothing", other_first=False)
        return points(self.trace, calls)

    def assert_survived(self, point: object, other_first: bool) -> None:
        """What holds after any end, and after the runs that follow it."""
        assert self.run.left() == [], point
        self._assert_all_there(point)
        homes = (self.other, self.mine) if other_first else (self.mine, self.other)
        for home in (*homes, *homes):
            ended = self.run(*self.words(home))
            assert ended.code in (0, 4), (point, home, ended.code, ended.err)
            self._assert_all_there(point)
        self._assert_right(point)

    def _assert_all_there(self, point: object) -> None:
        stored = b"".join(path.read_bytes() for path in self.disk.rglob("*") if path.is_file())
        assert b"SECRET" not in stored and b"of a secret" not in stored, point
        assert noise(150_000)[:64] not in stored, point
        trees = files(self.mine), files(self.other), opened(self.disk, self._ring)
        there = {value for tree in trees for value in tree.values()}
        versions = {b"0 by other", b"1 by mine", b"2 by mine", b"2 by other", b"3 is kept"}
        versions |= {b"new of mine", b"new of other"}
        wanted = {b"SECRET: " + version for version in versions}
        wanted |= {noise(150_000), b"readme of mine"}
        assert wanted <= there, (point, wanted - there)
        assert MERGED in there or {ONES, OTHERS} <= there, point

    def _assert_right(self, point: object) -> None:
        """All are what comes of it, and another run has nothing to do."""
        tree = files(self.mine)
        assert tree == files(self.other) == opened(self.disk, self._ring), point
        expected = {".secure", "readme", "secrets", "secrets/new", "secrets/large", "more"}
        expected |= {f"{n}.env" for n in (0, 1, 2, 3, 6)} | {"more/new.env", "m.txt.env"}
        assert {CONFLICT.sub("", path) for path in tree} == expected, point
        # Cut off between a file and the manifest, a run can cost a copy, and no version.
        copies = [path for path in tree if CONFLICT.search(path)]
        assert "2.env" in {CONFLICT.sub("", path) for path in copies}, (point, copies)
        assert len(copies) < 6, (point, copies)
        for root in (self.mine, self.other):
            ended = self.run("--json", *self.words(root))
            assert (ended.code, ended.summary["match"]) == (0, True), (point, ended.err)
            done = [ended.summary[name] for name in ("created", "changed", "deleted", "conflicts")]
            assert done == [0, 0, 0, 0], point
        kept = {(root / MANIFEST).read_bytes() for root in (self.mine, self.other, self.disk)}
        assert len(kept) == 1, point
        for root in (self.mine, self.other, self.disk):
            inside = {path.name for path in (root / ".syncron").iterdir()}
            named = {"secure-manifest", "secure-manifest.before", "sealed"}
            assert inside <= {"state.db", "lock", *named}, (point, inside)
        shutil.rmtree(self.disk.parent)


@pytest.mark.parametrize("who", [MINE, HUB])
def test_what_cannot_have_another_name_keeps_its_own(
    forked: Forked, home: Path, tmp_path: Path, who: int
) -> None:
    """A disk that refuses to give one name, whichever."""
    world = World(forked, tmp_path)
    found = world.points(who, ("link", "linkat"))
    for number, point in enumerate(found):
        world.begin()
        strace = ("-o", "/dev/null", *point.inject("error=EIO"))
        ended = world.run(*world.words(world.mine), who=who, strace=strace)
        assert ended.code in (4, 11, 23), (point, ended.code, ended.err)
        world.assert_survived(point, other_first=number % 2 == 1)
    print(f"refused {len(found)} names")


@pytest.mark.parametrize(
    ("who", "calls", "most"),
    [
        pytest.param(MINE, MUTATING, 3, id="mine"),
        pytest.param(HUB, MUTATING, 3, id="sealed"),
        pytest.param(CLIENT, ("sendto", *MUTATING), 3, id="client"),
    ],
)
def test_killed_between_any_two_changes(
    forked: Forked, home: Path, tmp_path: Path, who: int, calls: tuple[str, ...], most: int
) -> None:
    world = World(forked, tmp_path)
    found = world.points(who, calls)
    chosen = spread(found, most)
    for number, point in enumerate(chosen):
        world.begin()
        strace = ("-o", "/dev/null", *point.inject("signal=KILL"))
        ended = world.run(*world.words(world.mine), who=who, strace=strace)
        assert ended.code in (12, -9), (point, ended.code, ended.err)
        world.assert_survived(point, other_first=number % 2 == 1)
    print(f"killed at {len(chosen)} of {len(found)} points")
