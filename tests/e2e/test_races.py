"""Trees that others change during a run: nothing is torn, followed or overwritten."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Ended, MakeWay, Script, Way, assert_copied
from tests.trees import Directory, directory, make

FILES = 150
WAYS = ["push", "pull"]


@pytest.fixture(params=WAYS)
def slow_way(request: pytest.FixtureRequest, hosts: object, script: Script) -> Way:
    """The remote helper needs some milliseconds for each file it opens or names."""
    calls = "openat:delay_enter=4000" if request.param == "pull" else "linkat:delay_enter=4000"
    helper = script(f"exec strace -f -qq -o /dev/null -e inject={calls} {{helper}}")
    source, destination = {"push": ("", "target:"), "pull": ("target:", "")}[request.param]
    return Way(request.param, source, destination, (f"--remote-syncron={helper}",))


def during(command: Command, change: Callable[[], None], *words: str) -> Ended:
    """Run with ``--json``, and ``change`` something as soon as content begins to move."""
    run = command.start("--json", *words)
    assert run.stdout is not None
    before = ""
    for line in run.stdout:
        before += line
        if json.loads(line).get("phase") == "transferring":
            change()
            break
    ended = command.end(run)
    return Ended(ended.code, before + ended.out, ended.err, ended.seconds)


def many() -> Directory:
    """Enough files that the last of them are read long after the first."""
    return directory({f"a{number:03}": b"%d" % number for number in range(FILES)})


def test_sources_that_change_before_they_are_read(
    syncron: Command, slow_way: Way, tmp_path: Path
) -> None:
    if slow_way.name == "push":  # the source is quick there: it must be large enough to be late
        make(tmp_path / "src/first", directory({f"{n}": b"x" * 400_000 for n in range(100)}))
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source / "m", many())
    names = ["vanishes", "grows", "shrinks", "fifo", "link", "directory", "replaced"]
    make(source / "z", dict.fromkeys(names, b"as scanned"))
    outside = tmp_path / "outside"
    outside.write_bytes(b"nobody asked for this")
    z = source / "z"

    def change() -> None:
        (z / "vanishes").unlink()
        with open(z / "grows", "ab") as file:
            file.write(b" and more")
        os.truncate(z / "shrinks", 3)
        for name in ("fifo", "link", "directory", "replaced"):
            (z / name).unlink()
        os.mkfifo(z / "fifo")
        (z / "link").symlink_to(outside)
        make(z / "directory", {"x": b"y"})
        (z / "replaced").write_bytes(b"something new")

    ended = during(syncron, change, *slow_way.words(source, destination))
    assert ended.code == 24, (ended.code, ended.err)
    failed = {error["path"] for error in ended.summary["errors"]}
    assert {"z/vanishes", "z/fifo", "z/link", "z/directory"} <= failed
    assert all(error["cause"] == "vanished" for error in ended.summary["errors"])
    allowed = {
        "grows": (b"as scanned", b"as scanned and more"),
        "shrinks": (b"as scanned", b"as "),
        "replaced": (b"as scanned", b"something new"),
    }
    found = os.listdir(destination / "z")
    assert set(found) <= set(allowed)
    for name in found:
        assert (destination / "z" / name).read_bytes() in allowed[name], name
    syncron.ok("--delete", *slow_way.words(source, destination))
    assert_copied(source, destination)


def test_no_copy_is_ever_torn(syncron: Command, make_way: MakeWay, tmp_path: Path) -> None:
    """Somebody writes all the time; each version of a file is one letter throughout."""
    way = make_way("push-installed")
    source, destination = tmp_path / "src", tmp_path / "dst"
    sizes = {f"small{n}": 3000 + n for n in range(40)} | {"large": 900_000, "larger": 3_000_000}
    make(source, {name: b"A" * size for name, size in sizes.items()})
    stop = threading.Event()

    def rewrite() -> None:
        generator = random.Random(1)
        while not stop.is_set():
            name = generator.choice(list(sizes))
            content = generator.choice("ABCDEF").encode() * (sizes[name] + generator.randrange(9))
            if generator.random() < 0.5:
                (tmp_path / "new").write_bytes(content)
                os.replace(tmp_path / "new", source / name)
            else:  # in place, in two parts
                with open(source / name, "r+b", buffering=0) as file:
                    file.write(content[: len(content) // 2])
                    file.write(content[len(content) // 2 :])
                    file.truncate()

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(6):
            ended = syncron("--json", "--delete", *way.words(source, destination))
            assert ended.code in (0, 23, 24), ended.err
            if ended.code == 23:  # every step was right, but the source moved on
                assert ended.summary["errors"] == []
    finally:
        stop.set()
        writer.join()
    for name in set(os.listdir(destination)) - {".syncron"}:
        assert len((destination / name).read_bytes()) >= sizes[name], name
    syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)


def test_edits_at_the_destination_survive(syncron: Command, slow_way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source / "m", many())
    make(source / "z", {"edited": b"from the source", "new": b"from the source", "kind": {}})
    make(source / "z/adjusted", b"same content")
    make(destination / "z", {"edited": b"old", "gone": b"old", "kind": b"old"})
    make(destination / "z/adjusted", b"same content")
    make(destination / "m", directory({"a000": b"old"}))
    os.chmod(destination / "z/adjusted", 0o600)
    mine = {"edited", "new", "gone", "kind", "adjusted"}

    def change() -> None:
        for name in mine:
            path = destination / "z" / name
            with open(path, "wb") as file:
                file.write(b"my own edit!")

    ended = during(syncron, change, "--delete", *slow_way.words(source, destination))
    assert ended.code == 23, (ended.code, ended.err)
    assert {error["path"] for error in ended.summary["errors"]} == {f"z/{name}" for name in mine}
    for name in mine:
        assert (destination / "z" / name).read_bytes() == b"my own edit!", name
    syncron.ok("--delete", *slow_way.words(source, destination))
    assert_copied(source, destination)


@pytest.mark.parametrize("delete", [False, True])
def test_a_symlink_in_the_place_of_a_directory_is_not_followed(
    syncron: Command, slow_way: Way, tmp_path: Path, delete: bool
) -> None:
    source, destination, outside = tmp_path / "src", tmp_path / "dst", tmp_path / "outside"
    make(source / "m", many())
    make(source / "z", {"deep": {"f": b"new", "kept": b"mine"}, "fresh": {"g": b"new"}})
    make(destination / "z", {"deep": {"f": b"old", "kept": b"mine", "gone": b"old"}})
    make(destination / "m", directory({"a000": b"old"}))
    os.chmod(destination / "z/deep/kept", 0o600)
    make(outside, {"deep": {"f": b"SENTINEL", "kept": b"mine", "gone": b"old"}})
    before = subprocess.run(["find", outside, "-ls"], capture_output=True, check=True).stdout

    def change() -> None:
        os.rename(destination / "z", tmp_path / "aside")
        (destination / "z").symlink_to(outside)

    options = ["--delete"] if delete else []
    ended = during(syncron, change, *options, *slow_way.words(source, destination))
    after = subprocess.run(["find", outside, "-ls"], capture_output=True, check=True).stdout
    assert after == before
    assert ended.code in (11, 23), (ended.code, ended.err)
    (destination / "z").unlink()
    shutil.rmtree(tmp_path / "aside")
    syncron.ok("--delete", *slow_way.words(source, destination))
    assert_copied(source, destination)


def test_a_destination_that_is_moved_away_is_not_written_elsewhere(
    syncron: Command, slow_way: Way, tmp_path: Path
) -> None:
    source, destination, other = tmp_path / "src", tmp_path / "dst", tmp_path / "other"
    make(source / "m", many())
    make(destination / "m", {"a000": b"old"})
    make(other, {"m": {"mine": b"1"}})

    def change() -> None:
        os.rename(destination, tmp_path / "moved")
        destination.symlink_to(other)

    during(syncron, change, "--delete", *slow_way.words(source, destination))
    assert os.listdir(other) == ["m"]
    assert os.listdir(other / "m") == ["mine"]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_others_put_in_the_place_of_staging_is_not_used(
    syncron: Command, way: Way, tmp_path: Path, kind: str
) -> None:
    source, destination, outside = tmp_path / "src", tmp_path / "dst", tmp_path / "outside"
    make(source, {"a": b"1", "d": {"b": b"2"}})
    make(outside, {"precious": b"3", "t0": b"4", "n0": {"x": b"5"}, "index": b"6"})
    destination.mkdir()
    if kind == "link":
        (destination / ".syncron").symlink_to(outside)
    else:
        (destination / ".syncron").write_bytes(b"mine")
    before = subprocess.run(["find", outside, "-ls"], capture_output=True, check=True).stdout
    ended = syncron("--delete", *way.words(source, destination))
    assert ended.code == 11, ended.err
    assert ".syncron" in ended.err
    after = subprocess.run(["find", outside, "-ls"], capture_output=True, check=True).stdout
    assert after == before


def test_a_planted_link_in_staging_is_not_followed(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination, outside = tmp_path / "src", tmp_path / "dst", tmp_path / "outside"
    make(source, {"a": b"new", "d": {"b": b"2"}, "l": b"x" * 600_000})
    make(destination, {"a": b"old"})
    make(outside, {"precious": b"3"})
    staging = destination / ".syncron"
    staging.mkdir(mode=0o700)
    for number in range(20):
        (staging / f"t{number}").symlink_to(outside / "precious")
        (staging / f"n{number}").symlink_to(outside)
    (staging / "index").symlink_to(outside / "precious")
    ended = syncron("--delete", *way.words(source, destination))
    assert os.listdir(outside) == ["precious"]
    assert (outside / "precious").read_bytes() == b"3"
    assert ended.code in (0, 11, 23), ended.err
    if ended.code:
        shutil.rmtree(staging)
    syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)
