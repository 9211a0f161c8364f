"""Hard links, extended attributes and ACLs with options that choose what is brought over."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Way
from tests.e2e.everything import Changing, groups, kept, rsync
from tests.e2e.forking import Forked
from tests.trees import File, directory, make

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


def test_of_the_names_of_a_file_those_are_linked_that_are_listed(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {}})
    for name in ("d/b", "c"):
        os.link(source / "a", source / name)
    (tmp_path / "list").write_text("a\nd/b\n")
    words = ("-H", f"--files-from={tmp_path}/list", *way.words(source, destination))
    syncron.ok(*words)
    assert sorted(os.listdir(destination)) == ["a", "d"]
    assert (destination / "a").stat().st_ino == (destination / "d/b").stat().st_ino
    assert (destination / "a").stat().st_nlink == 2
    assert syncron("-i", *words).out == ""


def test_without_permissions_what_is_new_has_its_usual_mode(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    closed = directory({"file": File(b"1", mode=0o666)}, mode=0o550)
    make(source, directory({"closed": closed, "file": b"2"}, mode=0o775))
    os.setxattr(source / "closed", "user.note", b"1")
    words = ("--no-perms", "-X", *way.words(source, destination))
    syncron.ok(*words)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in destination.rglob("*")}
    assert modes["closed"] == 0o550
    assert (destination / "closed/file").stat().st_mode & 0o777 == 0o644
    assert destination.stat().st_mode & 0o777 == 0o755


def test_a_new_directory_for_a_single_file_is_open_to_others(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    make(tmp_path / "src", {"file": b"1"})
    syncron.ok(*way.words(tmp_path / "src/file", f"{tmp_path}/dst/"))
    assert (tmp_path / "dst").stat().st_mode & 0o777 == 0o755


def test_what_is_new_in_a_setgid_directory_has_its_group(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"here": {"new": b"1", "sub": {"below": b"2"}}})
    make(destination, {"here": {}})
    group = max(os.getgroups(), default=os.getegid()) if os.geteuid() else 1000
    os.chown(destination / "here", -1, group)
    os.chmod(destination / "here", 0o2755)
    syncron.ok("--no-perms", "--no-group", *way.words(source, destination))
    for name in ("new", "sub", "sub/below"):
        assert (destination / "here" / name).stat().st_gid == group
    assert (destination / "here/sub").stat().st_mode & 0o7777 == 0o2755
