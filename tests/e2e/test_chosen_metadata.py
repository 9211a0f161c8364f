"""Hard links, extended attributes and ACLs with options that choose what is brought over."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.e2e.conftest import Command
from tests.e2e.everything import Changing, groups, kept, rsync
from tests.e2e.forking import Forked
from tests.trees import make

SEEDS = range(200 if os.environ.get("SYNCRON_DEEP") else 12)
LEAVING = (
    ("--existing",),
    ("--ignore-existing",),
    ("--max-size=100",),
    ("--min-size=10",),
    ("--no-links",),
    ("--safe-links",),
)
STEPS = ("created", "changed", "metadata", "deleted")
EXACT = "--modify-window=-1"


@pytest.mark.parametrize("seed", SEEDS)
def test_attributes_of_what_is_left_stay(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    tree = Changing(source, seed)
    tree.adjust(12)
    for number in range(4):
        options = ["-AX", "--delete"]
        if number:
            tree.change(4)
            tree.adjust(6)
            options += [*choice.choice(LEAVING), *choice.choice(LEAVING)]
        rsync(source, theirs, "-a", *options)
        ended = forked("--json", EXACT, *options, source, ours)
        said = (seed, number, options, ended.err)
        assert (ended.code, ended.summary["match"]) == (0, True), said
        assert kept(ours) == kept(theirs), said
        again = forked("--json", EXACT, *options, source, ours)
        assert (again.code, again.summary["match"]) == (0, True), said
        assert not any(again.summary[name] for name in STEPS), said


@pytest.mark.parametrize("seed", SEEDS)
def test_over_a_list(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source, destination = tmp_path / "src", tmp_path / "dst"
    tree = Changing(source, seed)
    tree.adjust(12)
    listed = tmp_path / "list"
    for number in range(3):
        if number:
            tree.change(4)
            tree.adjust(6)
        names = [str(path.relative_to(source)) for path in sorted(source.rglob("*"))]
        listed.write_text("\n".join(choice.sample(names, 5)))
        words = ("-AX", *["-r"] * choice.randrange(2), f"--files-from={listed}")
        ended = forked("--json", *words, "--force", source, destination)
        said = (seed, number, words, ended.err)
        assert (ended.code, ended.summary["match"]) == (0, True), said
        again = forked("--json", *words, source, destination)
        assert (again.code, again.summary["match"]) == (0, True), said
        assert not any(again.summary[name] for name in STEPS), said


@pytest.mark.parametrize("options", [("--size-only",), ("-I",), ("-@2",), ("-m",)])
@pytest.mark.parametrize("seed", range(3))
def test_links_where_nothing_is_left(
    forked: Forked, tmp_path: Path, seed: int, options: tuple[str, ...]
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    tree = Changing(source, seed)
    for number in range(3):
        if number:
            tree.change(4)
            tree.adjust(6)
        ended = forked("--json", "-HAX", "--delete", *options, source, destination)
        said = (seed, number, options, ended.err)
        assert (ended.code, ended.summary["match"]) == (0, True), said
        assert groups(destination) == groups(source), said


@pytest.mark.parametrize("options", LEAVING)
def test_names_of_a_file_are_not_left(
    syncron: Command, tmp_path: Path, options: tuple[str, ...]
) -> None:
    make(tmp_path / "src", {"a": b"1"})
    ended = syncron("-H", *options, "src", "dst", cwd=tmp_path)
    assert ended.code == 1
    assert "--hard-links is about all names of a file" in ended.err
    assert not (tmp_path / "dst").exists()


def test_names_of_a_file_are_not_listed(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    (tmp_path / "list").write_text("a\n")
    ended = syncron("-H", "--files-from=list", "src", "dst", cwd=tmp_path)
    assert ended.code == 1
    assert "--hard-links is about all names of a file" in ended.err
    assert not (tmp_path / "dst").exists()
