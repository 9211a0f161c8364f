"""``--atimes``: times of access are carried over, compared, and left alone by the run itself."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import WAYS, Command, MakeWay
from tests.e2e.everything import Changing, kept
from tests.e2e.forking import Forked
from tests.trees import make, noise

DAY = 86_400_000_000_000
STEPS = ("created", "changed", "metadata", "deleted", "moved", "linked")


def accessed(top: Path) -> dict[str, int]:
    """When all that counts was read last."""
    return {
        str(path.relative_to(top)): path.lstat().st_atime_ns
        for path in top.rglob("*")
        if not stat.S_ISDIR(path.lstat().st_mode) and not path.is_symlink()
    }


def _read(choice: random.Random, path: Path) -> None:
    st = path.lstat()
    # Whole seconds: rsync carries no more over.
    time = choice.randrange(300, 20_000) * DAY
    os.utime(path, ns=(time, st.st_mtime_ns), follow_symlinks=False)


@pytest.mark.parametrize("seed", range(100 if os.environ.get("SYNCRON_DEEP") else 6))
def test_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    tree = Changing(source, seed)
    options = ["-U", *choice.choice(([], ["-H"], ["-HAX"], ["-X", "--delete"]))]
    for number in range(4):
        if number:
            tree.change(4)
        for path in tree.files():
            if not number or choice.random() < 0.3:
                _read(choice, path)
        before = accessed(source)
        ended = forked("--json", "--delete", *options, source, ours)
        said = (seed, number, options, ended.err)
        assert (ended.code, ended.summary["match"]) == (0, True), (said, ended.out)
        assert accessed(source) == before, said
        assert accessed(ours) == before, said
        again = forked("--json", *options, source, ours)
        assert (again.code, again.summary["match"]) == (0, True), (said, again.out, again.err)
        assert not any(again.summary[name] for name in STEPS), said
        assert accessed(source) == accessed(ours) == before, said
    words = ["rsync", "-aUU", *options, f"{source}/", f"{theirs}/"]
    subprocess.run([*words, "--modify-window=-1"], check=True)
    assert {name: time // 10**9 for name, time in accessed(theirs).items()} == {
        name: time // 10**9 for name, time in accessed(ours).items()
    }
    assert kept(source).keys() == kept(ours).keys()


@pytest.mark.parametrize("way", WAYS)
def test_every_way(syncron: Command, make_way: MakeWay, tmp_path: Path, way: str) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "large": noise(3 << 20), "d": {"b": b"2"}})
    words = make_way(way).words(source, destination)
    for number, name in enumerate(("a", "large", "d/b")):
        os.utime(source / name, ns=(number * DAY + 5, 10**18))
    syncron.ok("-U", *words)
    assert accessed(destination) == accessed(source)
    with (source / "large").open("r+b") as file:
        file.write(b"edited")
    os.utime(source / "large", ns=(7 * DAY, 10**18 + 1))
    assert syncron.ok("-U", *words)["changed"] == 1
    assert accessed(destination) == accessed(source)
    os.utime(source / "a", ns=(9 * DAY, 10**18))
    lines = syncron("-Ui", *words).out
    assert ".f......u.. a\n" in lines
    again = syncron.ok("-U", *words)
    assert (again["bytes_hashed"], again["metadata"]) == (0, 0)


def test_what_the_run_itself_reads(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    old, new = noise(70_000), noise(70_000, 1)
    make(source, {"a": old, "c": b"c", "rules": b"- *.o"})
    os.link(source / "a", source / "b")
    for path in source.iterdir():
        os.utime(path, ns=(5 * DAY, 10**18))
    words = ("-UH", "--filter=: rules", source, destination)
    before = accessed(source)
    syncron.ok(*words)
    assert accessed(source) == accessed(destination) == before
    # Of one file's two names one becomes another, and what it had is wanted elsewhere.
    for name, content in (("a", new), ("c", old), ("e", new[:-1])):
        (source / name).unlink(missing_ok=True)
        (source / name).write_bytes(content)
        os.utime(source / name, ns=(6 * DAY, 10**18 + 1))
    before = accessed(source)
    assert syncron.ok(*words)["bytes_transferred"] < 3 * 70_000
    assert accessed(source) == accessed(destination) == before
