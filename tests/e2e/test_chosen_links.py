"""``--hard-links`` with options that leave some of a file's names: random trees, and as rsync."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.deep import DEEP
from tests.e2e.conftest import Command, Way
from tests.e2e.everything import groups
from tests.e2e.forking import Forked
from tests.trees import differences, make, noise, read

CASES = 3000 if DEEP else 30
_SECOND = 1_000_000_000
_NAMES = [f"{place}{name}" for place in ("", "d/", "d/e/", "f/") for name in "abc"]
_LISTED = ("a", "d/b", "d/e", "f/a", "f/b")
_FILES = ((0, 10), (3, 20), (3, 30), (50, 40), (50, 50), (5000, 60))
"""Size and time of each, which say its content or target, as rsync's quick check believes."""
_OTHERS = ((1, 15), (3, 25), (50, 45), (50, 55), (5000, 65), (5000, 35))
_OPTIONS = (
    ("--existing", "--ignore-existing", "--max-size=50", "--max-size=3", "--min-size=1"),
    ("-u",),
    ("-c", "-I"),
    ("--no-links", "--safe-links", "--no-specials"),
    ("--modify-window=1",),
    ("--files-from=list", "--files-from=list -r"),
    ("--delete", "--delete --force"),
)
"""Of each one at most: with a bound of sizes, and another reason to leave a name, rsync hangs."""


def _tree(
    top: Path, choice: random.Random, others: Collection[frozenset[str]] | None, kinds: bool
) -> None:
    """Names of a few files, some of one. ``others``: names of one file elsewhere. rsync has files
    of two such groups be one, where they were and have the right content. ``kinds``: with symlinks
    and fifos; where one of these is in the place of a file with several names, rsync deletes it,
    and with ``--existing`` then finds nothing there."""
    names = [name for name in _NAMES if choice.random() < 0.75]
    choice.shuffle(names)
    top.mkdir()
    while names:
        together = names[: choice.choice((1, 1, 2, 3))]
        del names[:3]
        apart = len(together) > 1 and others is not None
        apart = apart and not any(group.issuperset(together) for group in others or ())
        size, time = choice.choice(_OTHERS if apart else _FILES)
        kind = choice.random() if kinds else 1
        first = top / together[0]
        first.parent.mkdir(parents=True, exist_ok=True)
        if kind < 0.1:
            first.symlink_to("../" * (time % 3) + str(time))
        elif kind < 0.15:
            os.mkfifo(first, 0o644)
        else:
            first.write_bytes(random.Random(time).randbytes(size))
            first.chmod(choice.choice((0o644, 0o644, 0o600)))
        os.utime(first, ns=(0, time * _SECOND), follow_symlinks=False)
        for name in together[1:]:
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(first, top / name, follow_symlinks=False)
    for path in (top, *top.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            os.utime(path, ns=(0, 1000 * _SECOND))


@pytest.mark.parametrize("seed", range(CASES))
def test_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source, ours, theirs = (tmp_path / name for name in ("src", "ours", "theirs"))
    chosen = [choice.choice(some) for some in _OPTIONS if choice.random() < 0.4] or ["-u"]
    words = ["-aHi", *(word for each in chosen for word in each.split())]
    _tree(source, choice, None, "--existing" not in words)
    _tree(theirs, choice, groups(source), "--existing" not in words)
    (tmp_path / "list").write_text("".join(f"{each}\n" for each in _LISTED))
    subprocess.run(["cp", "-a", theirs, ours], check=True)
    window = int("--modify-window=1" in words)
    newer = _newer(source, ours, window) if "-u" in words else {}
    done = subprocess.run(
        ["rsync", *words, "src/", "theirs/"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    ended = forked("--rsync", *words, "src/", "ours/", cwd=tmp_path)
    assert ended.code == done.returncode, (words, ended.err, done.stderr)
    assert {name: _content(ours / name) for name in newer} == newer, words
    again = forked("--json", "-H", *words[1:], "src/", "ours/", cwd=tmp_path)
    if ended.code == 0 and "-I" not in words:
        assert again.summary["match"] is True, (words, again.err)
        done_again = [again.summary[name] for name in ("created", "changed", "metadata", "deleted")]
        assert not any(done_again), (words, again.out)
    # rsync has a newer file replaced by a name of one that it brings over.
    for top in (ours, theirs):
        for name in newer:
            (top / name).unlink(missing_ok=True)
        for place in (".", "d", "d/e", "f"):
            if (top / place).is_dir() and (newer or place == "."):
                os.utime(top / place, ns=(0, 0))
    found = differences(read(theirs), read(ours))
    assert not found, (words, found, done.stdout, ended.out)
    assert groups(theirs) == groups(ours), (words, done.stdout, ended.out)


def test_another_name_leads_where_the_first_is_left(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": noise(5000), "new": {"b": b""}, "newer": {}})
    (source / "new/b").unlink()
    for name in ("new/b", "new/c", "newer/d"):
        os.link(source / "a", source / name)
    make(destination, {"a": b"stays"})
    words = ("-H", "--ignore-existing", *way.words(source, destination))
    first = syncron.ok(*words)
    assert (destination / "a").read_bytes() == b"stays"
    assert groups(destination) == {frozenset(("new/b", "new/c", "newer/d"))}
    assert (destination / "newer/d").read_bytes() == noise(5000)
    assert first["bytes_transferred"] == 5000
    again = syncron.ok(*words)
    assert (again["created"], again["changed"], again["match"]) == (0, 0, True)
    assert syncron("--verify", *words).code == 0
    # What is equal but for its links is not: the roots cover them.
    (destination / "new/c").unlink()
    (destination / "new/c").write_bytes(noise(5000))
    assert syncron("--verify", "-H", *way.words(source, destination)).code == 9
    # Without the option the rest follows.
    syncron.ok("-H", *way.words(source, destination))
    assert groups(destination) == groups(source)


def _newer(source: Path, destination: Path, window: int) -> dict[str, object]:
    """What ``-u`` leaves as it is of files with several names."""
    return {
        name: _content(destination / name)
        for group in groups(source)
        for name in group
        if _is_file(source / name) and _is_file(destination / name)
        if (destination / name).stat().st_mtime + window > (source / name).stat().st_mtime
    }


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _content(path: Path) -> object:
    return path.read_bytes(), path.stat().st_mtime_ns
