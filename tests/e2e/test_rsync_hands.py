"""What rsync's users type: lists, appending, limits of time, ways to connect."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.cli.jobs.options import PERIODIC
from tests.e2e.conftest import Command, Script, Way
from tests.e2e.forking import Forked
from tests.sshd import Sshd
from tests.trees import File, Link, assert_same, make, noise


def _comparable(text: str) -> list[str]:
    """Lines without the sizes of directories, which are the file system's."""
    return [re.sub(r"^(d\S+) +\S+", r"\1", line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "options", ["", "-r", "-a", "-rh", "-rhh", "-r --no-h", "-a --exclude=a", "-a --no-r", "-q"]
)
def test_lists_as_rsync(syncron: Command, tmp_path: Path, options: str) -> None:
    tree: dict[str, Any] = {"f": b"123", "b": {"h": b"1"}}
    make(tmp_path, {"a.b": {"g": b"1"}, "big": b"x" * 1_234_567, "l": Link(b"to")})
    make(tmp_path / "a", tree)
    make(tmp_path / "z", {})
    (tmp_path / "big").chmod(0o4755)
    (tmp_path / "z").chmod(0o1777)
    os.mkfifo(tmp_path / "pipe")
    words = [*options.split(), "-l"]
    done = subprocess.run(
        ["rsync", *words, "--list-only", f"{tmp_path}/"], capture_output=True, text=True, check=True
    )
    ended = syncron(*words, tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert _comparable(ended.out) == _comparable(done.stdout)
    same = syncron(*words, "--list-only", tmp_path, tmp_path / "nowhere")
    assert same.out == ended.out
    assert not (tmp_path / "nowhere").exists()


def test_a_list_of_what_is_far_away(syncron: Command, hosts: Sshd, tmp_path: Path) -> None:
    make(tmp_path, {"a": b"123", "d": {"b": b"1"}})
    ended = syncron(f"target:{tmp_path}")
    assert [line.split()[-1] for line in ended.out.splitlines()] == [".", "a", "d"]
    one = syncron("--json", f"target:{tmp_path}/a")
    entries = [each for each in one.messages if each["message_type"] == "entry"]
    assert [(each["path"], each["size"]) for each in entries] == [("a", 3)]
    assert syncron(f"target:{tmp_path}/none").code == 3


@pytest.mark.parametrize("words", ["f new", "f new/", "d new", "d/ new", "--mkpath d n/e/w"])
def test_what_is_made_for_one_that_is_far_away(
    syncron: Command, hosts: Sshd, tmp_path: Path, words: str
) -> None:
    make(tmp_path / "src", {"f": b"1", "d": {"b": b"2"}})
    *options, source, place = words.split()
    found = []
    for side, command in (("theirs", "../src/"), ("ours", f"target:{tmp_path}/src/")):
        (tmp_path / side).mkdir()
        line = "-ai", *options, command + source, place
        if side == "theirs":
            done = subprocess.run(
                ["rsync", *line], cwd=tmp_path / side, capture_output=True, text=True
            )
            code, out = done.returncode, done.stdout
        else:
            ended = syncron("--rsync", *line, cwd=tmp_path / side)
            code, out = ended.code, ended.out
        below = (tmp_path / side).rglob("*")
        found.append((code, out, sorted(str(path.relative_to(tmp_path / side)) for path in below)))
    assert found[0] == found[1]


@pytest.mark.parametrize("words", ["a", "a/", "-r a", "-ra a/", "-R a/b", "-rR a", "-d a/"])
def test_lists_called_as_rsync(syncron: Command, tmp_path: Path, words: str) -> None:
    make(tmp_path, {"a": {"f": b"123", "b": {"h": b"1"}}, "big": b"x" * 1_234_567})
    command = [*words.split(), *["--list-only"] * ("-" in words)]
    command += ["nowhere"] * (len(words.split()) > 2)
    done = subprocess.run(
        ["rsync", *command], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    ended = syncron("--rsync", *command, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert _comparable(ended.out) == _comparable(done.stdout)


@pytest.mark.parametrize("seed", range(6))
def test_appending_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    content = noise(300_000)
    for side in ("src", "ours", "theirs"):
        (tmp_path / side).mkdir()
    for number in range(8):
        whole = content[: choice.choice((10, 3000, 200_000, 300_000))]
        (tmp_path / f"src/{number}").write_bytes(whole)
        kind = choice.random()
        there = whole[: choice.randrange(len(whole))]
        if kind < 0.2:
            there = whole + b"longer"
        elif kind < 0.4:
            there = bytes(len(whole))
        elif kind < 0.6:
            there = b"other" + there[5:]
        for side in ("ours", "theirs"):
            (tmp_path / side / str(number)).write_bytes(there)
            os.utime(tmp_path / side / str(number), (0, number))
    inodes = {path.name: path.stat().st_ino for path in (tmp_path / "ours").iterdir()}
    words = ["-a", "--append-verify"]
    theirs = f"{tmp_path}/theirs/"
    subprocess.run(["rsync", *words, f"{tmp_path}/src/", theirs], check=True)
    ended = forked(*words, tmp_path / "src", tmp_path / "ours")
    assert ended.code == 0, ended.err
    for path in (tmp_path / "theirs", tmp_path / "ours", tmp_path / "src"):
        os.utime(path, (0, 0))
    assert_same(tmp_path / "theirs", tmp_path / "ours")
    assert {path.name: path.stat().st_ino for path in (tmp_path / "ours").iterdir()} == inodes
    again = forked("--json", *words, tmp_path / "src", tmp_path / "ours").summary
    assert (again["changed"], again["metadata"], again["match"]) == (0, 0, True)


def test_what_is_appended_is_all_that_goes_over(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    content = noise(900_000)
    make(source, {"log": content, "short": b"1"})
    make(destination, {"log": File(content[:800_000], mtime_ns=5), "short": b"is longer"})
    done = syncron.ok("--append", *way.words(source, destination))
    assert (destination / "log").read_bytes() == content
    assert (destination / "short").read_bytes() == b"is longer"
    assert (done["changed"], done["left_out"]) == (1, 1)
    assert done["bytes_transferred"] < 200_000


def test_the_end_of_the_time(syncron: Command, hosts: Sshd, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    moment = time.strftime("%Y-%m-%dT%H:%M", time.localtime(time.time() + 61))
    words = (tmp_path / "src", f"target:{tmp_path}/dst")
    over = syncron("--stop-at=2020-01-01T0:00", *words)
    assert (over.code, "over already" in over.err) == (1, True)
    convert = {option.long: option.convert for option in PERIODIC}
    assert convert["stop-after"]("2") == 120
    assert 0 < convert["stop-at"](moment) <= 61
    assert 0 < convert["stop-at"]("23:59") <= 86_400
    assert convert["stop-at"]("99/1/1") > 10**8
    for wrong in ("", "5", "25:00", "1-1-1-1", "x"):
        with pytest.raises(ValueError, match=r"expected|over"):
            convert["stop-at"](wrong)


def test_ways_to_connect(syncron: Command, hosts: Sshd, script: Script, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    there = f"target:{tmp_path}/dst"
    for words in (
        ["-4", "--address=127.0.0.1", "--contimeout=9"],
        ["--rsync-path=rsync"],
        [f"--rsync-path=mkdir -p {tmp_path}/made && env X=1 /usr/bin/rsync"],
        [f"--rsync-path=env X=1 {script()}"],
    ):
        ended = syncron(*words, tmp_path / "src", there)
        assert (ended.code, ended.err) == (0, ""), words
    assert (tmp_path / "made").is_dir()
    assert_same(tmp_path / "src", tmp_path / "dst")
    for words in (["-6"], ["--address=192.0.2.1"]):
        ended = syncron(*words, tmp_path / "src", there)
        assert ended.code == 255, (words, ended.err)
    ended = syncron("-4", "-e", script("exit 9"), tmp_path / "src", there)
    assert (ended.code, "say it in that command" in ended.err) == (1, True)


def test_every_option_of_rsync_is_known() -> None:
    """Also its forms with ``--no-``: none is an unknown option."""
    from syncron_lib.cli.parser import build_parser

    known = set(build_parser()._option_string_actions)
    text = subprocess.run(["rsync", "--help"], capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^(-.*?)  ", text.partition("Options\n")[2], re.MULTILINE)
    names = {re.split("[= ]", name)[0] for line in listed for name in line.split(", ")}
    names -= {"--no-OPTION", "-h", "--help"}
    assert len(names) > 150
    assert names - known == set()
    missing = []
    for name in sorted(names):
        off = f"--no-{name.lstrip('-')}"
        if off in known or name.startswith("--no-"):
            continue
        tried = subprocess.run(
            ["rsync", off, "--version"], capture_output=True, text=True, check=False
        )
        if "unknown option" not in tried.stderr:
            missing.append(off)
    assert missing == []
