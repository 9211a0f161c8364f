"""What is told, and how: ``--info``, ``-vv`` and ``-ii``, beside rsync."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Way
from tests.e2e.forking import Forked
from tests.trees import Fifo, Link, Literal, make

_OTHERWISE = re.compile(r"total: matches=.*|(sent|total size|Number|Total|Literal|File list).*\d.*")
"""Figures of rsync's own work."""


def _trees(top: Path) -> None:
    source: dict[str, Literal] = {
        "a": b"1",
        "d": {"b": b"22", "c": b"3", "l": Link(b"b")},
        "e": {},
        "p": Fifo(),
        "out": Link(b"../../x"),
        "same": b"4",
    }
    make(top, {"src": source})
    for side in ("theirs", "ours"):
        subprocess.run(["cp", "-a", top / "src", top / side], check=True)
        there = top / side
        for name in ("p", "out", "d/l"):
            (there / name).unlink()
        (there / "e").rmdir()
        make(there, {"old": b"5", "gone": {"f": b"6"}})
        (there / "d/c").write_bytes(b"33")
        for path in (there / "a", there / "d/c"):
            os.utime(path, (10**9 * 2, 10**9 * 2))
        for name in ("d", "."):
            os.utime(there / name, ns=(0, (top / "src" / name).stat().st_mtime_ns))


def _compared(forked: Forked, top: Path, words: list[str]) -> list[list[str]]:
    """The lines of rsync and of syncron, in any order."""
    command = [*words, "src/"]
    done = subprocess.run(
        ["rsync", *command, "theirs"], capture_output=True, text=True, check=False, cwd=top
    )
    ended = forked("--rsync", *command, "ours", cwd=top)
    assert (ended.code, ended.err, done.stderr) == (done.returncode, "", "")
    return [
        sorted(line for line in out.splitlines() if line and not _OTHERWISE.fullmatch(line))
        for out in (done.stdout, ended.out)
    ]


@pytest.mark.parametrize(
    "words",
    [
        *("--info=del --delete", "--info=name --delete", "--info=flist", "--info=name,del,flist"),
        *("-v --info=name0 --delete", "-v --info=flist0", "-v --info=del0 --delete"),
        *("-v --info=NONE", "-v --info=none,name", "-i --info=name0", "-q --info=name,del,stats"),
        *("-ii", "-iin"),
        *("-vv", "-vvn --no-links", "-vvi", "--info=name2", "--info=name2 --out-format=%n:"),
        *("-ii --out-format=%o:%i:%n", "-ii -u", "-ii --ignore-existing", "-ii --existing"),
        *("-vv -u", "-vv --ignore-existing", "-vv --existing", "-vv --max-size=1"),
        *("-vv --min-size=2", "-v --info=skip --max-size=1 --ignore-existing", "-v --safe-links"),
        *("--no-D --no-links", "--no-D --info=nonreg0 -v"),
        *("--progress --info=progress0", "-v --progress --info=progress0,flist0"),
    ],
)  # fmt: skip
def test_as_rsync_tells_it(forked: Forked, tmp_path: Path, words: str) -> None:
    _trees(tmp_path)
    for _ in range(2 if "-ii" in words or "-vv" in words else 1):
        theirs, ours = _compared(forked, tmp_path, ["-rlptD", *words.split()])
        assert ours == theirs


@pytest.mark.parametrize(
    ("words", "figures"),
    [
        ("-v --info=stats2", True),
        ("--stats --info=stats1", False),
        ("--info=stats", False),
        ("--stats -h", True),
        ("--stats --no-h", True),
    ],
)
def test_statistics_at_each_level(
    forked: Forked, tmp_path: Path, words: str, figures: bool
) -> None:
    _trees(tmp_path)
    command = ["-a", *words.split(), "src/"]
    done = subprocess.run(
        ["rsync", *command, "theirs"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    said = forked("--rsync", *command, "ours", cwd=tmp_path).out
    starts = [
        re.findall(r"^[A-Za-z ]+?(?=[: ][ \d])", out, re.MULTILINE) for out in (done.stdout, said)
    ]
    assert starts[0] == starts[1]
    counted = [re.findall(r"transferred(?: file size)?: .*", out) for out in (done.stdout, said)]
    assert counted[0] == counted[1]
    assert ("Number of files" in said) is figures


@pytest.mark.parametrize(
    "form",
    [
        "%n",
        "%-10n|",
        "%5i %n",
        "%o %n%m",
        "%-5o|%f|%5L|%-4L|%L",
        "%'i%n",
        "%G %U %B|%''l|%a%h%u%P%%",
    ],
)
@pytest.mark.parametrize("base", ["-a --delete src/", "-rlt src/", "-rlt src", "-aR src/d"])
def test_escapes(forked: Forked, tmp_path: Path, form: str, base: str) -> None:
    _trees(tmp_path)
    said = []
    for run, destination in (("rsync", "theirs"), ("", "ours")):
        command = [*base.split(), f"--out-format={form}", destination]
        if run:
            done = subprocess.run(
                [run, *command], capture_output=True, text=True, check=True, cwd=tmp_path
            ).stdout
        else:
            done = forked("--rsync", *command, cwd=tmp_path).out
        # A directory has no size here.
        said.append(sorted(re.sub(r"\|4\.10K\|", "|0|", done).splitlines()))
    assert said[1] == said[0]


def test_what_is_logged(forked: Forked, tmp_path: Path) -> None:
    _trees(tmp_path)
    lines = []
    for words in ("-rltii", "-rltvv", "-rlti"):
        for path in ("theirs.log", "ours.log"):
            (tmp_path / path).unlink(missing_ok=True)
        command = [words, "--ignore-existing", "-n", "src/"]
        subprocess.run(
            ["rsync", *command, "theirs", "--log-file=theirs.log"], check=True, cwd=tmp_path,
            capture_output=True,
        )  # fmt: skip
        forked("--rsync", *command, "ours", "--log-file=ours.log", cwd=tmp_path)
        for path in ("theirs.log", "ours.log"):
            logged = re.findall(r"\] (.*)", (tmp_path / path).read_text())
            lines.append(
                sorted(line for line in logged if not re.match("sent|sync|total|delta", line))
            )
    assert lines[::2] == lines[1::2]


def test_the_unchanged_far_away(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"b": b"2"}, "new": {}})
    syncron.ok(*way.words(source, destination))
    equal = syncron("-ii", *way.words(source, destination))
    every = [".d          ./", ".f          a", ".d          d/", ".f          d/b"]
    assert equal.out.splitlines() == [*every, ".d          new/"]
    (source / "new/c").write_bytes(b"3")
    names = syncron("--info=name2", *way.words(source, destination))
    assert names.out.splitlines() == ["a is uptodate", "d/b is uptodate", "new/", "new/c"]
    told = syncron("--json", "-ii", *way.words(source, destination)).messages
    assert {each["action"] for each in told if each["message_type"] == "item"} == {"unchanged"}


def test_what_is_left_without_rsync(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path, {"src": {"a": b"1", "big": b"333"}, "dst": {"a": b"2"}})
    words = ("--ignore-existing", "--max-size=2", "src", "dst")
    ended = syncron("--info=skip", *words, cwd=tmp_path)
    assert ended.out == "a exists\nbig is over max-size\n"
    told = syncron("--json", "--info=skip", *words, cwd=tmp_path).messages
    reasons = {each["path"]: each["why"] for each in told if each["message_type"] == "item"}
    assert reasons == {"a": "exists", "big": "large"}
    refused = syncron("-ii", "--two-way", "src", "dst", cwd=tmp_path)
    assert (refused.code, "-ii or --info=name2" in refused.err) == (1, True)


def test_by_which_digests(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"b": b"2"}})
    words = way.words(source, destination)
    assert syncron.ok("--cc=sha256", *words)["algorithm"] == "sha256-128"
    best = syncron.ok(*words)["algorithm"]
    if best == "sha256-128":  # a bare account has no other
        refused = syncron("--cc=xxh128", *words)
        assert (refused.code, "which not every machine here has" in refused.err) == (1, True)
    else:
        again = syncron.ok("--checksum-choice=xxh128,auto", *words)
        assert (best, again["algorithm"], again["bytes_hashed"]) == ("xxh3-128", "xxh3-128", 0)
    roots = {syncron("--root", place, "--cc=sha256").out for place in (source, destination)}
    assert len(roots) == 1
    assert roots != {syncron("--root", source).out}


def test_digests_that_are_not_had(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path, {"src": {"a": b"1"}})
    for name in ("xxh3", "xxh64", "md5", "md4", "sha1", "none", "xxh128,md5"):
        ended = syncron("--rsync", "-r", f"--cc={name}", "src/", "dst", cwd=tmp_path)
        assert (ended.code, "by xxh128 or sha256" in ended.err) == (4, True), name
    ended = syncron("--cc=crc", "src", "dst", cwd=tmp_path)
    assert (ended.code, "expected one of auto, xxh128, sha256" in ended.err) == (1, True)
    assert not (tmp_path / "dst").exists()


def test_neither_devices_nor_fifos(forked: Forked, tmp_path: Path) -> None:
    _trees(tmp_path)
    theirs, ours = _compared(forked, tmp_path, ["--drop-D", "-ai", "--delete"])
    assert ours == theirs
    assert 'skipping non-regular file "p"' in ours
    assert not (tmp_path / "ours/p").exists()
