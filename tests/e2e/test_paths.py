"""What the words on the command line name: files, directories, homes, several sources."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Way, assert_copied, listing
from tests.sshd import Sshd
from tests.trees import File, assert_same, make, noise


def test_a_file_to_a_file(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, into = tmp_path / "src", tmp_path / "dst"
    make(source, {"one": File(b"content", mode=0o640, mtime_ns=17), "two": b"not asked for"})
    into.mkdir()
    # To a new name; over what is there; into a directory, with a slash and without.
    syncron.ok(*way.words(source / "one", into / "new"))
    assert_same(source / "one", into / "new")
    (source / "one").write_bytes(b"changed")
    os.utime(source / "one", ns=(0, 17))
    syncron.ok(*way.words(source / "one", into / "new"))
    assert_same(source / "one", into / "new")
    again = syncron.ok(*way.words(source / "one", into / "new"))
    assert (again["changed"], again["bytes_transferred"]) == (0, 0)
    syncron.ok(*way.words(source / "one", into))
    assert_same(source / "one", into / "one")
    syncron.ok(*way.options, way.source(source / "one"), way.destination(into / "sub") + "/")
    assert_same(source / "one", into / "sub/one")
    assert sorted(os.listdir(into)) == ["new", "one", "sub"]
    assert os.listdir(into / "sub") == ["one"]


def test_a_file_beside_itself(syncron: Command, way: Way, tmp_path: Path) -> None:
    make(tmp_path / "d", {"one": b"1", "other": b"2"})
    syncron.ok(*way.words(tmp_path / "d/one", tmp_path / "d/new"))
    assert_same(tmp_path / "d/one", tmp_path / "d/new")
    before = listing(tmp_path)
    syncron.ok(*way.words(tmp_path / "d/one", tmp_path / "d"))
    assert listing(tmp_path) == before


def test_a_large_file_and_delete_leave_the_neighbours(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, into = tmp_path / "one", tmp_path / "dst"
    source.write_bytes(noise(3_000_000))
    make(into, {"one": b"old", "neighbour": b"stays", "sub": {"x": b"stays"}})
    before = listing(into)
    syncron.ok("--delete", *way.words(source, into))
    assert_same(source, into / "one")
    after = listing(into)
    for name in ("neighbour", "sub", "sub/x"):
        assert after[str(into / name)] == before[str(into / name)]
    assert sorted(os.listdir(into)) == ["neighbour", "one", "sub"]


def test_trailing_slashes_change_nothing(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"b": b"2"}})
    one, other = way.source(source), way.destination(destination)
    syncron.ok(*way.options, one + "/", other)
    assert_copied(source, destination)
    assert syncron.ok(*way.options, one, other + "/")["created"] == 0
    assert syncron.ok(*way.options, one + "/.", other + "//")["created"] == 0
    assert_copied(source, destination)


def test_several_sources_go_in_under_their_names(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    make(tmp_path / "a", {"x": b"1"})
    make(tmp_path / "b", {"y": {"z": b"2"}})
    make(tmp_path / "c", File(b"a file"))
    into = tmp_path / "dst"
    sources = [way.source(tmp_path / name) for name in ("a", "b/", "c")]
    ended = syncron("--json", *way.options, *sources, way.destination(into))
    assert ended.code == 0, (ended.err, ended.out)
    assert (ended.summary["created"], ended.summary["match"]) == (4, True)
    for name in ("a", "b", "c"):
        assert_same(tmp_path / name, into / name)
    make(into / "mine", File(b"stays"))
    (tmp_path / "b/y/z").unlink()
    assert syncron("--delete", *way.options, *sources, way.destination(into)).code == 0
    assert sorted(os.listdir(into)) == ["a", "b", "c", "mine"]
    assert os.listdir(into / "b/y") == []


def test_several_sources_make_their_directory_but_none_above(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    make(tmp_path, {"a": {"x": b"1"}, "b": b"2", "file": b"3"})
    sources = [way.source(tmp_path / name) for name in ("a", "b")]
    before = listing(tmp_path)
    for place in ("no/such", "file"):
        ended = syncron(*way.options, *sources, way.destination(tmp_path / place))
        assert ended.code == 3, ended.err
    assert listing(tmp_path) == before
    words = (*way.options, *sources, way.destination(tmp_path / "no/such"))
    assert syncron("--mkpath", *words).code == 0
    assert_same(tmp_path / "a", tmp_path / "no/such/a")


@pytest.mark.parametrize("words", [("a", "."), ("a", ".."), ("a", "b/a"), ("a/", "target:b/a")])
def test_sources_without_a_name_of_their_own_are_refused(
    syncron: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    make(tmp_path, {"a": {"x": b"1"}, "b": {"a": {"y": b"2"}}, "dst": {"mine": b"3"}})
    before = listing(tmp_path)
    ended = syncron("--delete", *words, "dst", cwd=tmp_path)
    assert ended.code == 1, ended.err
    assert listing(tmp_path) == before


@pytest.mark.parametrize("form", ["target:{name}", "target:~/{name}", "ssh://target/~/{name}"])
def test_remote_paths_start_at_home(
    syncron: Command, hosts: Sshd, tmp_path: Path, form: str
) -> None:
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    name = f".syncron-test-{os.getpid()}"
    make(tmp_path / "src", {"a": b"1"})
    try:
        syncron.ok(tmp_path / "src", form.format(name=name))
        assert_copied(tmp_path / "src", home / name)
    finally:
        shutil.rmtree(home / name, ignore_errors=True)


def test_a_local_path_is_taken_from_where_one_is(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    make(tmp_path / "co:lon", {"b": b"2"})
    syncron.ok("src", "dst", cwd=tmp_path)
    assert_copied(tmp_path / "src", tmp_path / "dst")
    syncron.ok("./co:lon", "other", cwd=tmp_path)
    assert_copied(tmp_path / "co:lon", tmp_path / "other")
    syncron.ok(".", "../there", cwd=tmp_path / "src")
    assert_copied(tmp_path / "src", tmp_path / "there")


def test_missing_parents_are_made_only_when_asked(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "no/such/dst"
    make(source, {"a": b"1"})
    refused = syncron("--json", *way.words(source, destination))
    assert refused.code == 3
    assert "--mkpath" in refused.err
    assert not (tmp_path / "no").exists()
    syncron.ok("--mkpath", *way.words(source, destination))
    assert_copied(source, destination)


def test_a_root_may_be_a_symlink_and_stays_one(syncron: Command, way: Way, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    (tmp_path / "dst").mkdir()
    (tmp_path / "to-src").symlink_to("src")
    (tmp_path / "to-dst").symlink_to("dst")
    syncron.ok(*way.words(tmp_path / "to-src", tmp_path / "to-dst"))
    assert_copied(tmp_path / "src", tmp_path / "dst")
    assert os.readlink(tmp_path / "to-dst") == "dst"


def test_names_of_roots_may_be_any_bytes(syncron: Command, way: Way, tmp_path: Path) -> None:
    source = os.fsencode(tmp_path) + b"/s \xff'\"$(x)\n;*"
    destination = os.fsencode(tmp_path) + b"/d \xfe`y`\\ !"
    make(source, {"a": b"1"})
    syncron.ok(*way.words(source, destination))
    assert_copied(source, destination)
    one = source + b"/a"
    syncron.ok(*way.words(one, destination + b"/\xfd "))
    assert_same(os.fsdecode(one), os.fsdecode(destination + b"/\xfd "))


def test_a_tree_into_itself_is_refused(syncron: Command, tmp_path: Path) -> None:
    source = tmp_path / "src"
    make(source, {"a": b"1", "sub": {"b": b"2"}})
    (tmp_path / "link").symlink_to("src")
    before = listing(tmp_path)
    for one, other in ((source, source), (source, source / "sub"), (source, source / "new")):
        ended = syncron("--delete", one, other)
        assert ended.code == 3, (one, other, ended.err)
        assert listing(tmp_path) == before
    assert syncron("--delete", source / "sub", source).code == 3
    assert syncron("--delete", tmp_path / "link", source).code == 3
    assert listing(tmp_path) == before


def test_a_tree_over_itself_changes_nothing(syncron: Command, way: Way, tmp_path: Path) -> None:
    """Also where this machine cannot know that both are one."""
    make(tmp_path / "src", {"a": b"1", "sub": {"b": b"2"}})
    before = listing(tmp_path)
    ended = syncron("--delete", *way.words(tmp_path / "src", tmp_path / "src"))
    assert ended.code in (3, 6)
    assert listing(tmp_path) == before
