"""Filter rules about names of extended attributes (``-x``), beside rsync's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import IS_ROOT, Command, Way
from tests.e2e.everything import itemized, kept, rsync
from tests.e2e.forking import Forked
from tests.fs.roots import settle
from tests.trees import make


def _trees(top: Path) -> None:
    make(top / "src", {"d": {}, "f": b"f", "n": b"n"})
    for name in ("a", "b", "foo", "foobar"):
        for path in ("d", "f", "n"):
            os.setxattr(top / "src" / path, f"user.{name}", b"source's")
    for side in ("ours", "theirs"):
        make(top / side, {"d": {}, "f": b"f"})
        for name in ("a", "foobar", "z"):
            for path in ("d", "f"):
                os.setxattr(top / side / path, f"user.{name}", b"its own")
    if IS_ROOT:
        os.setxattr(top / "src/f", "trusted.t", b"t")
        for side in ("ours", "theirs"):
            os.setxattr(top / side / "f", "trusted.u", b"u")


@pytest.mark.parametrize(
    "rules",
    [
        *("-x user.foo*", "-x! user.*", "+x user.a|-x *", "-xp user.[ab]", "-x /user.a"),
        *("-x user.a/", "-x *", "exclude,x user.b", "-x user.**", "-x ?ser.a", "-x trusted.*"),
        *("-x a", "-x! user.a|-x user.foo", "-x user.a|!|-x user.b", "- f|-x user.*", "- f"),
    ],
)
def test_the_same_attributes_are_kept(forked: Forked, tmp_path: Path, rules: str) -> None:
    _trees(tmp_path)
    source, ours, theirs = (tmp_path / name for name in ("src", "ours", "theirs"))
    filters = [f"--filter={rule}" for rule in rules.split("|")]
    said = rsync(source, theirs, "-aXi", *filters)
    ended = forked("-Xi", *filters, source, ours)
    assert (ended.code, ended.err) == (0, "")
    assert kept(ours) == kept(theirs)
    assert itemized(ended.out) == itemized(said)
    again = forked("--json", "-X", *filters, source, ours)
    done = [again.summary[what] for what in ("created", "changed", "metadata")]
    assert (done, again.summary["match"]) == ([0, 0, 0], True)
    assert rsync(source, ours, "-aXi", *filters) == ""


def test_every_way(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"d": {"f": b"1"}, "g": b"2"})
    make(destination, {"g": b"2"})
    for path in ("d", "d/f", "g"):
        os.setxattr(source / path, "user.keep", b"k")
        os.setxattr(source / path, "user.not", b"n")
    os.setxattr(destination / "g", "user.nothing", b"stays")
    settle()
    words = "-X", "--filter=-x user.not*", *way.words(source, destination)
    assert syncron.ok(*words)["match"] is True
    assert os.listxattr(destination / "d") == ["user.keep"]
    assert os.listxattr(destination / "d/f") == ["user.keep"]
    assert sorted(os.listxattr(destination / "g")) == ["user.keep", "user.nothing"]
    again = syncron.ok("--verify", *words)
    assert again["source_root"] == again["destination_root"]
    # Without the rule the rest counts again.
    assert syncron.ok(words[0], *words[2:])["metadata"] == 3
    assert sorted(os.listxattr(destination / "g")) == ["user.keep", "user.not"]


@pytest.mark.parametrize("one", ["src", "src/", "src/f"])
def test_called_as_rsync(forked: Forked, tmp_path: Path, one: str) -> None:
    """Where a source goes by its own name, too."""
    _trees(tmp_path)
    words = "-aX", "--filter=-x user.f*", "--filter=- /src/n", one
    ended = forked("--rsync", *words, "ours", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    subprocess.run(["rsync", *words, "theirs"], cwd=tmp_path, check=True)
    found, wanted = kept(tmp_path / "ours"), kept(tmp_path / "theirs")
    if one == "src":  # then it has the time at which that came
        del found["."], wanted["."]
    assert found == wanted


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("-xs user.a", "both sides"),
        ("Px user.a", "both sides"),
        ("-x/ user.a", "no paths"),
        (".x rules", "for a rule"),
        (":x rules", "for a rule"),
        ("-x", "no pattern"),
    ],
)
def test_what_is_refused(forked: Forked, tmp_path: Path, rule: str, why: str) -> None:
    ended = forked("-X", f"--filter={rule}", tmp_path, "x")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert why in ended.err


def test_what_is_refused_together(forked: Forked, tmp_path: Path) -> None:
    source = tmp_path / "src"
    make(source, {".rules": b"-x user.a\n"})
    ended = forked("-X", "--delete-excluded", "--filter=-x user.a", source, tmp_path / "dst")
    assert ended.code == 1 and "--delete-excluded" in ended.err
    ended = forked("-X", "--filter=: .rules", source, tmp_path / "dst")
    assert ended.code == 3 and "for the whole run" in ended.err
    assert not (tmp_path / "dst").exists()
