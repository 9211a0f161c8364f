"""The trees that are attacked, the sentinel beside them, and what must hold after each attack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syncron_lib.core.options import Keep, RunOptions
from syncron_lib.errors import SyncronError
from tests.adversary.evil import Attack, Ended, run
from tests.trees import File, Link, make, noise

MEMORY = 256 << 20
"""Bytes by which an attack may let a process grow: sixteen frames."""
CPU = 5.0
"""Seconds of processor time in which any attack must be over, by all processes of a run together.
Half of them take 0.06, as does a run that nobody bends; the dearest 2.6 (64 MiB of ignore files).
"""
OPTIONS = RunOptions(delete=True, compress="none")
EXTENDED = OPTIONS._replace(keep=Keep(xattrs=True, acls=True))
LINKED = OPTIONS._replace(keep=Keep(hard_links=True))
SOURCE, DESTINATION = 0, 1


def old_tree(outside: Path) -> dict[str, Any]:
    """What the destination holds; the source too, at the first of two runs."""
    return {
        ".syncronignore": b"*.tmp\n",
        "common": {"changed": b"old", "same": b"same"},
        "edited": b"old content",
        "gone": {"file": b"to be deleted"},
        "kept": noise(200_000, 3),
        "large": noise(300_000, 1) + b"the old end",
        "link": Link(os.fsencode(outside)),
        "mode": File(b"mode", mode=0o644),
        "was": {"moved": noise(5_000, 2)},
    }


def new_tree(outside: Path) -> dict[str, Any]:
    """What the source holds."""
    tree = old_tree(outside)
    del tree["gone"]
    return tree | {
        ".syncronignore": b"*.tmp\n*.bak\n",
        "common": {"changed": b"new!", "same": b"same"},
        "copied": tree["kept"],
        "edited": b"new content",
        "fresh": {"a": b"1", "deep": {"b": b"2", "link": Link(b"../a")}, "c": b"3" * 5_000},
        "huge": noise(1_700_000, 4),
        "is": tree.pop("was"),
        "large": noise(300_000, 1) + b"the new and longer end",
        "mode": File(b"mode", mode=0o600),
        "skipped.tmp": b"",
    }


def stats(top: Path) -> dict[str, tuple[int, ...]]:
    """All that `stat` says of all that is at ``top`` and below, times of access included."""
    found: dict[str, tuple[int, ...]] = {}
    for path in (top, *top.rglob("*")):
        st = os.lstat(path)
        times = st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns
        found[str(path)] = (st.st_mode, st.st_ino, st.st_nlink, st.st_size, *times)
    return found


def contents(top: Path) -> dict[str, bytes]:
    """Every file and symlink below ``top``, but for what is staged."""
    return dict(_contents(top))


def _contents(top: Path) -> Iterator[tuple[str, bytes]]:
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if name.split("/")[0] != ".syncron":
            if path.is_symlink():
                yield name, os.fsencode(os.readlink(path))
            elif path.is_file():
                yield name, path.read_bytes()


class World:
    """Source, destination, and what neither is to reach."""

    def __init__(self, top: Path, again: bool = False) -> None:
        """``again``: both sides remember an earlier run, at which they were equal."""
        self.source, self.destination = top / "source", top / "destination"
        self.outside = top / "outside"
        make(self.outside, {"secret": b"nobody is to read this", "d": {"secret": b"nor this"}})
        for path in (self.outside, *self.outside.rglob("*")):
            os.utime(path, ns=(1_000_000_000, 2_000_000_000))  # so that reading would show
        if again:
            make(self.source, old_tree(self.outside))
            assert self.run(SOURCE, None).code == 0
            shutil.rmtree(self.source / "gone")
            os.rename(self.source / "was", self.source / "is")
            for name in (".syncronignore", "common/changed", "edited", "large", "mode"):
                os.remove(self.source / name)
            new = new_tree(self.outside)
            del new["is"], new["kept"], new["link"], new["common"]["same"]
            for name, entry in new.pop("common").items():
                make(self.source / "common" / name, entry)
            make(self.source, new)
        else:
            make(self.source, new_tree(self.outside))
            make(self.destination, old_tree(self.outside))
        self.before = contents(self.destination)
        self.after = contents(self.source)
        del self.after["skipped.tmp"]
        self._outside, self._source = stats(self.outside), stats(self.source)

    def run(self, side: int, attack: Attack | None) -> Ended:
        """A run whose ``side`` is behind an evil helper."""
        paths = bytes(self.source), bytes(self.destination)
        options = attack.options if attack is not None else None
        return run(side, paths, attack, options or OPTIONS)

    def require_unharmed(self, side: int) -> None:
        """What an attack by the ``side`` must leave behind, however it went."""
        assert stats(self.outside) == self._outside, "something outside was touched"
        if side == DESTINATION:
            mine = {path: values[:4] + values[5:] for path, values in self._source.items()}
            now = {path: values[:4] + values[5:] for path, values in stats(self.source).items()}
            assert now == mine, "the source was changed"
            return
        for name, content in contents(self.destination).items():
            if name.startswith("fresh/") and name not in self.after:
                continue  # what is in a new directory is the source's to say
            assert content in (self.before.get(name), self.after.get(name)), name

    def require_equal(self) -> None:
        """The destination is the source's copy."""
        assert contents(self.destination) == self.after
        assert not (self.destination / ".syncron").exists()


def require_clean(ended: Ended) -> None:
    """The end of a run under attack: in order, soon, and within bounds."""
    if ended.error is not None:
        if not isinstance(ended.error, SyncronError):
            raise ended.error
        said = ended.error.message
        assert "internal error" not in said, said
        assert "could not be understood" not in said, said
        assert said.isprintable(), said
    assert ended.cpu < CPU
    assert ended.growth < MEMORY, f"grew by {ended.growth >> 20} MiB"


def hold_honest(place: Path, role: int, again: bool) -> None:
    """The control: with nothing bent, the run makes both equal."""
    world = World(place, again)
    ended = world.run(role, None)
    require_clean(ended)
    assert ended.report is not None
    assert ended.report.exit_code == 0, ended.report.failures
    world.require_unharmed(role)
    world.require_equal()


def hold(place: Path, role: int, attack: Attack) -> World:
    """One attack by the end ``role``, and what must hold after each; the trees as it left them."""
    world = World(place, attack.again)
    ended = world.run(role, attack)
    assert ended.bent, "it was not tried"
    require_clean(ended)
    assert ended.code in attack.codes, (ended.error, ended.report)
    world.require_unharmed(role)
    return world
