"""Both ways with the key through a hub whose keeper shows each machine what he likes of all that
was ever there: files and manifests of any time, mixed."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.options import SecureOptions
from syncron_lib.errors import NotAuthentic, RolledBack
from tests.deep import DEEP
from tests.session.keyed import MANIFEST, Met, opened
from tests.session.twoway import files
from tests.trees import make

PATHS = ("a.env", "b.env", "secrets/c")
TREE: dict[str, Any] = {
    ".secure": b"*.env\n/secrets/\n",
    "a.env": b"0 a",
    "b.env": b"0 b",
    "secrets": {"c": b"0 c"},
}


class World:
    """Two machines with the key, the hub, and what its keeper has kept."""

    def __init__(self, top: Path, chance: random.Random) -> None:
        self.a, self.b, self.hub = (top / name for name in ("a", "b", "hub"))
        make(self.a, TREE)
        make(self.b, {})
        make(self.hub, {})
        self._chance, self._top = chance, top
        self._kept: list[Path] = []
        self.past: dict[bytes, set[bytes]] = {}
        """Of each content, those that whoever wrote it had there before."""
        self._removed: set[bytes] = set()
        """What somebody has deleted, and all that it came after."""
        for root in (self.a, self.b, self.a):
            self.meet(root)
        self.keep()

    def meet(self, root: Path, accept: bool = False) -> None:
        Met(root, self.hub, sealed=(self.hub,), secure=SecureOptions(accept_rollback=accept))

    def keep(self) -> None:
        """As the keeper can at any time."""
        kept = self._top / f"kept-{len(self._kept)}"
        shutil.copytree(self.hub, kept)
        self._kept.append(kept)

    def lie(self) -> None:
        """Show something of what was kept."""
        chance = self._chance
        if chance.random() < 0.25:  # as a backup that is restored, with what the hub remembered
            shutil.rmtree(self.hub)
            shutil.copytree(chance.choice(self._kept), self.hub)
            return
        for name in (*PATHS, MANIFEST):
            if chance.random() < 0.4:
                there, was = self.hub / name, chance.choice(self._kept) / name
                there.unlink(missing_ok=True)
                if was.exists():
                    there.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(was, there)

    def edit(self) -> None:
        root = self._chance.choice((self.a, self.b))
        path = root / self._chance.choice(PATHS)
        had = path.read_bytes() if path.exists() else None
        before = set() if had is None else {had, *self.past.get(had, ())}
        if had is not None and self._chance.random() < 0.2:
            path.unlink()
            self._removed |= before
            return
        content = b"%d by %s at %s" % (len(self.past), root.name.encode(), path.name.encode())
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        self.past[content] = before

    def run(self, root: Path) -> str:
        """One run, and whether anything older than what was here has come of it."""
        before = files(root)
        try:
            self.meet(root)
            how = "done"
        except (RolledBack, NotAuthentic):
            how = "refused"
        after = files(root)
        for path in PATHS:
            had, has = before.get(path), after.get(path)
            older = had is not None and has in self.past.get(had, ())
            # A resolution can give a name to an earlier content; both stay then.
            assert not older or had in after.values(), (path, had, has)
        self.assert_nothing_lost()
        return how

    def assert_nothing_lost(self) -> None:
        there = {*files(self.a).values(), *files(self.b).values()}
        superseded = self._removed.union(*self.past.values())
        assert self.past.keys() - superseded <= there, self.past.keys() - superseded - there


@pytest.fixture
def top(home: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.timeout(7200 if DEEP else 300)
def test_nothing_older_comes_and_nothing_is_lost(home: Path) -> None:
    ended = {"done": 0, "refused": 0}
    for seed in range(600 if DEEP else 10):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            chance = random.Random(seed)
            world = World(Path(directory), chance)
            try:
                for _ in range(14):
                    for _ in range(chance.randint(0, 2)):
                        world.edit()
                    if chance.random() < 0.6:
                        world.lie()
                    ended[world.run(chance.choice((world.a, world.b)))] += 1
                    if chance.random() < 0.6:
                        world.keep()
                # Whoever accepts what is there now loses nothing either, and all ends well.
                for _ in range(3):
                    for root in (world.a, world.b):
                        world.meet(root, accept=True)
                        world.assert_nothing_lost()
                assert files(world.a) == files(world.b) == opened(world.hub)
            except BaseException:
                print(f"seed {seed}")
                raise
    assert min(ended.values()) > 10, ended  # there was something to be found out, and to be done
    print(ended)


def test_two_views_of_one_hub_are_found_out(top: Path) -> None:
    """Each of two machines is shown a hub of its own; then one is shown the other's."""
    world = World(top, random.Random(1))
    first = top / "first"
    (world.a / "a.env").write_bytes(b"by a")
    shutil.copytree(world.hub, first)
    world.meet(world.a)
    os.rename(world.hub, top / "of-a")
    os.rename(first, world.hub)
    (world.b / "b.env").write_bytes(b"by b")
    world.meet(world.b)
    of_b = (world.hub / MANIFEST).read_bytes()
    shutil.copy(top / "of-a" / MANIFEST, world.hub / MANIFEST)
    before = files(world.b)
    with pytest.raises(RolledBack, match="was forked"):
        world.meet(world.b)
    assert files(world.b) == before
    # And so does the other, who is shown the files that it lacks with a manifest of its own.
    (world.hub / MANIFEST).write_bytes(of_b)
    with pytest.raises(RolledBack, match="was forked"):
        world.meet(world.a)
    assert (world.a / "a.env").read_bytes() == b"by a"
    for _ in range(2):
        for root in (world.a, world.b):
            world.meet(root, accept=True)
    assert files(world.a) == files(world.b) == opened(world.hub)
    assert {b"by a", b"by b"} <= set(files(world.a).values())
