"""What a run refuses before its first write, and what only looks and changes nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import (
    Command,
    MakeWay,
    Script,
    Way,
    assert_copied,
    children,
    eventually,
    held,
    listing,
)
from tests.trees import File, directory, make, noise


def test_a_missing_source(syncron: Command, way: Way, tmp_path: Path) -> None:
    make(tmp_path / "dst", {"precious": b"1"})
    before = listing(tmp_path)
    ended = syncron("--json", "--delete", *way.words(tmp_path / "src", tmp_path / "dst"))
    assert ended.code == 3
    assert "does not exist" in ended.summary["errors"][0]["message"]
    assert listing(tmp_path) == before
    assert syncron(*way.words(tmp_path / "src", tmp_path / "new")).code == 3
    assert listing(tmp_path) == before


def test_an_emptied_source(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"b": b"2"}})
    words = way.words(source, destination)
    syncron.ok("--delete", *words)
    (source / "a").unlink()
    (source / "d/b").unlink()
    (source / "d").rmdir()
    before = listing(tmp_path)
    ended = syncron("--json", "--delete", *words)
    assert ended.code == 3
    assert "--allow-empty-source" in ended.err
    assert listing(tmp_path) == before
    assert syncron.ok("--delete", "--allow-empty-source", *words)["deleted"] == 3
    assert_copied(source, destination)


def test_a_destination_that_is_no_directory(syncron: Command, way: Way, tmp_path: Path) -> None:
    make(tmp_path, {"src": {"a": b"1"}, "file": b"precious", "dir": {"f": b"2"}})
    os.mkfifo(tmp_path / "fifo")
    before = listing(tmp_path)
    for source, destination in (("src", "file"), ("src", "fifo"), ("src/a", "fifo")):
        ended = syncron(
            "--delete", "--force", *way.words(tmp_path / source, tmp_path / destination)
        )
        assert ended.code == 3, (source, destination, ended.err)
    assert syncron(*way.words(tmp_path / "fifo", tmp_path / "dir")).code == 3
    assert syncron(*way.words(tmp_path / "src", tmp_path / "file/below")).code in (3, 11)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("cap", "allowed"), [("3", False), ("4", True), ("39%", False), ("40%", True), ("0", False)]
)
def test_the_cap_of_deletes(
    syncron: Command, make_way: MakeWay, tmp_path: Path, cap: str, allowed: bool
) -> None:
    way = make_way("push-installed")
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"{number}": b"x" for number in range(6)})
    make(destination, {f"{number}": b"x" for number in range(8)} | {"d": {"e": b"1"}})
    before = listing(tmp_path)
    ended = syncron("--delete", f"--max-delete={cap}", *way.words(source, destination))
    assert ended.code == (0 if allowed else 25), ended.err
    if allowed:
        assert_copied(source, destination)
    else:
        assert listing(tmp_path) == before


def test_a_dry_run_changes_nothing_and_tells_what_the_run_does(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "b": b"2", "d": {"c": b"3"}, "k": {"now": b"a directory"}})
    make(destination, {"a": b"7", "b": File(b"2", mode=0o600), "old": {"x": b"9"}, "k": b"file"})
    before = listing(tmp_path)
    words = ("--json", "--delete", *way.words(source, destination))
    dry = syncron("-n", *words)
    assert dry.code == 0
    assert listing(tmp_path) == before
    real = syncron(*words)
    assert real.code == 0, real.err
    assert_copied(source, destination)

    def items(messages: list[dict[str, object]]) -> list[dict[str, object]]:
        return [message for message in messages if message["message_type"] == "item"]

    assert items(dry.messages) == items(real.messages) != []
    assert (dry.summary["dry_run"], real.summary["dry_run"]) == (True, False)
    for count in ("created", "changed", "metadata", "deleted"):
        assert dry.summary[count] == real.summary[count] > 0, count
    missing = syncron("-n", *way.words(source, tmp_path / "missing"))
    assert missing.code == 0
    assert not (tmp_path / "missing").exists()


def test_verifying_reads_everything_and_believes_nothing(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"large": noise(700_000)}, "l": directory({})})
    words = way.words(source, destination)
    syncron.ok(*words)
    equal = syncron("--json", "--verify", *words)
    assert equal.code == 0, equal.out
    assert equal.summary["match"] is True
    assert equal.summary["bytes_hashed"] == 2 * 700_001
    victim = destination / "d/large"
    status = victim.stat()
    with open(victim, "r+b") as file:
        file.seek(350_000)
        byte = file.read(1)
        file.seek(350_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = listing(tmp_path)
    different = syncron("--json", "--verify", *words)
    assert different.code == 9
    assert different.summary["match"] is False
    paths = [message["path"] for message in different.messages if "path" in message]
    assert paths == ["d/large"]
    assert listing(tmp_path) == before
    make(destination / "extra", File(b"x"))
    assert syncron("--verify", *words).code == 9
    syncron.ok("--delete", *words)
    assert syncron("--verify", *words).code == 0


@pytest.mark.parametrize("name", ["local", "push-installed", "relay-installed"])
def test_the_root_of_either_side_is_the_same(
    syncron: Command, make_way: MakeWay, tmp_path: Path, name: str
) -> None:
    way = make_way(name)
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"b": b"2"}})
    summary = syncron.ok(*way.words(source, destination))
    roots = []
    for word in (way.source(source), way.destination(destination)):
        ended = syncron(*way.options, "--root", word)
        assert ended.code == 0, ended.err
        roots.append(ended.out.split()[0])
    assert roots[0] == roots[1] == summary["source_root"]
    (source / "d/b").write_bytes(b"3")
    told = syncron(*way.options, "-v", "--root", way.source(source))
    assert told.out.strip() != roots[0]
    assert told.err.endswith("the root is by xxh3-128\n")
    summary = syncron("--json", *way.options, "--root", way.source(source)).summary
    assert (summary["source_root"], summary["algorithm"]) == (told.out.strip(), "xxh3-128")


def slow(script: Script) -> str:
    """A helper whose every read of a frame comes late."""
    return script("exec strace -f -qq -o /dev/null -e inject=openat:delay_enter=3000 {helper}")


def test_a_second_run_names_the_holder_and_may_wait(
    syncron: Command, hosts: object, script: Script, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"{number}": b"x" for number in range(1500)})
    destination.mkdir()
    words = (source, f"target:{destination}", f"--remote-syncron={script()}")
    first = syncron.start(f"--remote-syncron={slow(script)}", *words[:2])
    assert eventually((destination / ".syncron").exists), "no run to be in the way of"
    second = syncron("--json", *words)
    assert second.code == 6
    assert f"(client process {first.pid})" in second.err
    assert str(destination) in second.err
    third = syncron("--json", "--lock-wait=0.5", *words)
    assert third.code == 6
    assert third.seconds > 0.5
    # The local destination of another run is the same root, and a source may not be written.
    assert syncron(source, destination).code == 6
    assert syncron(destination, tmp_path / "third").code == 6
    waiting = syncron.start("--json", "--lock-wait=60", *words)
    assert syncron.end(first).code == 0
    assert syncron.end(waiting).code == 0
    assert_copied(source, destination)


def test_one_directory_by_two_ways_is_told_from_another_run(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    tree, link = tmp_path / "tree", tmp_path / "link"
    make(tree, {"a": b"1"})
    link.symlink_to(tree)
    for options in ((), ("-n",)):
        ended = syncron(*options, *way.words(tree, link))
        assert ended.code == 3
        assert f"Source and destination are the same directory, {tree}." in ended.err
    assert syncron(*way.words(tree, tmp_path / "other")).code == 0


@pytest.mark.parametrize("options", [("-n",), ("--delete",)])
def test_a_tree_is_not_copied_into_itself(
    syncron: Command, way: Way, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Also where it is reached over SSH, by a link, or is still to be made."""
    tree, link = tmp_path / "tree", tmp_path / "link"
    make(tree, {"a": b"1", "sub": {"b": b"2", "deep": {"c": b"3"}}})
    link.symlink_to(tree)
    before = listing(tree)
    inner = (tree / "sub", link / "sub/deep", tree / "sub/new")
    for source, destination in [(tree, place) for place in inner] + [(inner[1], tree)]:
        ended = syncron(*options, *way.words(source, destination))
        assert ended.code == 3, (source, destination, ended.err)
        assert "cannot be copied into itself. Nothing was changed" in ended.err
    assert listing(tree) == before
    assert syncron(*way.words(tree / "sub", tmp_path / "subway")).code == 0


def test_two_runs_may_read_one_source(syncron: Command, tmp_path: Path) -> None:
    source = tmp_path / "src"
    make(source, {f"{number}": b"x" for number in range(1000)})
    runs = [syncron.start(source, tmp_path / f"dst{number}") for number in range(3)]
    assert [syncron.end(run).code for run in runs] == [0, 0, 0]
    for number in range(3):
        assert_copied(source, tmp_path / f"dst{number}")


def _has_open(pid: int, directory: Path) -> bool:
    return any(
        os.readlink(f"/proc/{pid}/fd/{number}").startswith(str(directory))
        for number in os.listdir(f"/proc/{pid}/fd")
    )


def test_a_killed_holder_frees_the_lock(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {f"{number}": b"x" for number in range(2000)})
    destination.mkdir()
    first = syncron.start(source, destination)
    assert eventually((destination / ".syncron").exists)
    helpers = children(first.pid)
    # The other one may be in the midst of keeping what it knows, which is not what is waited for.
    with held(*(pid for pid in helpers if _has_open(pid, destination))):
        assert syncron(source, destination).code == 6
        for pid in (first.pid, *helpers):
            os.kill(pid, signal.SIGKILL)
        first.communicate()
    assert eventually(lambda: syncron(source, destination).code == 0, 5)
    assert_copied(source, destination)


def test_an_edit_that_hides_is_found(syncron: Command, way: Way, tmp_path: Path) -> None:
    """Same size, time put back, on either side; no --checksum."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"11111", "b": b"22222"})
    words = way.words(source, destination)
    syncron.ok(*words)
    for path, content in ((source / "a", b"1x111"), (destination / "b", b"2y222")):
        status = path.stat()
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert syncron.ok(*words)["changed"] == 2
    assert_copied(source, destination)
    assert (destination / "a").read_bytes() == b"1x111"
    assert (destination / "b").read_bytes() == b"22222"
    time.sleep(0.1)
    assert syncron.ok(*words)["bytes_hashed"] == 0
