"""A source that is shown otherwise than it is: other permissions, or what symlinks lead to."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import WAYS, Command, MakeWay
from tests.e2e.everything import groups, kept
from tests.e2e.forking import Forked
from tests.trees import Link, make

SEEDS = range(300 if os.environ.get("SYNCRON_DEEP") else 16)
STEPS = ("created", "changed", "metadata", "deleted", "moved", "linked")
TARGETS = (
    *("a", "d", "d/a", "l1", "nowhere", "../src/d", "../out/f", "../out/g", "../out/nowhere"),
    *("../d/a", "d/../a", "/nowhere"),
)
SHOWING = (
    *(("-L",), ("-k",), ("--copy-unsafe-links",), ("-k", "--copy-unsafe-links")),
    *(("--chmod=D711,Fgo=u",), ("--chmod=u+w", "--chmod=Fa+X"), ("-L", "--chmod=go-rwx")),
    *(("-L", "--safe-links"), ("-k", "--no-links"), ("-k", "--exclude=d/")),
)


def _link(choice: random.Random, source: Path, name: str) -> None:
    path = source / name
    path.unlink(missing_ok=True)
    target = choice.choice(TARGETS)
    # Links to directories stand at the top, and lead to none that holds such: rsync never ends.
    if path.parent != source and target in ("d", "../src/d"):
        target = "a"
    path.symlink_to(target)


def _edit(choice: random.Random, source: Path) -> None:
    """Another content, mode or target, of what is there or what links lead to."""
    for name in ("a", "d/a", "../out/f", "../out/g/h"):
        if choice.random() < 0.4:
            path = source / name
            path.unlink(missing_ok=True)
            path.write_bytes(choice.randbytes(choice.choice((0, 5, 5, 6000))))
            path.chmod(choice.choice((0o600, 0o755, 0o644, 0o4751)))
    for name in ("l1", "l2", "l3", "d/l4", "e/l5"):
        if choice.random() < 0.4:
            _link(choice, source, name)
    if choice.random() < 0.4:
        (source / "e/b").unlink(missing_ok=True)
        os.link(source / choice.choice(("a", "../out/f")), source / "e/b")


@pytest.mark.parametrize("seed", SEEDS)
def test_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    make(source, {"a": b"a", "d": {"a": b"1"}, "e": {}})
    make(tmp_path / "out", {"f": b"f", "g": {"h": b"h"}})
    for name in ("l1", "l2", "l3", "d/l4", "e/l5"):
        _link(choice, source, name)
    showing = choice.choice(SHOWING)
    more = choice.choice((("-HX",), ("-X",), (), ("-HAX",)))
    for number in range(3):
        options = [*showing, *more, *["--delete"] * choice.randrange(2)]
        if "--no-links" in options or "--safe-links" in options:
            options = [option.replace("H", "") for option in options if option != "-H"]
        if number:
            _edit(choice, source)
        done = subprocess.run(
            ["rsync", "-a", "-c", "--modify-window=-1", *options, f"{source}/", f"{theirs}/"],
            capture_output=True,
            check=False,
        )
        ended = forked("--json", "--modify-window=-1", *options, source, ours)
        said = (seed, number, options, ended.err, done.stderr)
        assert ended.code == done.returncode, said
        if ended.code:  # what was staged stays, and with it another time of the root
            shutil.rmtree(ours / ".syncron", ignore_errors=True)
            st = theirs.stat()
            os.utime(ours, ns=(st.st_atime_ns, st.st_mtime_ns))
        assert kept(ours) == kept(theirs), said
        if "-HX" in more:
            assert groups(ours) == groups(theirs), said
        again = forked("--json", "--modify-window=-1", *options, source, ours)
        assert again.code == done.returncode, said
        assert not any(again.summary[name] for name in STEPS), said
        if not ended.code:
            assert again.summary["match"] is ended.summary["match"] is True, said
            assert not again.summary["bytes_hashed"], said


@pytest.mark.parametrize("way", WAYS)
def test_every_way(syncron: Command, make_way: MakeWay, tmp_path: Path, way: str) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"l": Link(b"../out/big"), "d": Link(b"../out/e"), "in": {"s": Link(b"../x")}})
    make(source, {"x": b"x" * 5000})
    make(tmp_path / "out", {"big": b"b" * (1 << 20), "e": {"f": b"f"}})
    words = make_way(way).words(source, destination)
    options = ("-L", "--chmod=D2750,F640")
    syncron.ok(*options, *words)
    assert (destination / "l").read_bytes() == b"b" * (1 << 20)
    assert (destination / "in/s").lstat().st_mode & 0o177777 == 0o100640
    assert (destination / "d").lstat().st_mode & 0o177777 == 0o042750
    assert (destination / "d/f").read_bytes() == b"f"
    (tmp_path / "out/e/f").write_bytes(b"g")
    with (tmp_path / "out/big").open("r+b") as file:
        file.write(b"changed")
    assert syncron.ok(*options, *words)["changed"] == 2
    assert (destination / "l").read_bytes()[:8] == b"changedb"
    again = syncron.ok(*options, *words)
    assert (again["bytes_hashed"], again["changed"], again["metadata"]) == (0, 0, 0)


def test_loops_end(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": {"b": {"up": Link(b"../..")}}, "c": Link(b"c2"), "c2": Link(b"c")})
    ended = syncron("-L", "src", "dst", cwd=tmp_path)
    assert ended.code == 23
    assert ended.err.count("a/b/up: cannot be read: Too many levels of symbolic links") == 1
    assert not os.listdir(tmp_path / "dst/a/b/up")


def test_a_run_without_the_option_keeps_what_it_knows(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1", "l": Link(b"a")})
    syncron.ok("src", "plain", cwd=tmp_path)
    syncron.ok("-L", "--chmod=F600", "src", "shown", cwd=tmp_path)
    assert syncron.ok("src", "plain", cwd=tmp_path)["bytes_hashed"] == 0
    assert syncron.ok("-L", "--chmod=F600", "src", "shown", cwd=tmp_path)["bytes_hashed"] == 0


def test_what_is_no_permission_is_refused(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    ended = syncron("--chmod=u+rq", "src", "dst", cwd=tmp_path)
    assert ended.code == 1
    assert "'u+rq' is not understood" in ended.err
    assert not (tmp_path / "dst").exists()


def test_attributes_of_what_a_symlink_leads_to(syncron: Command, tmp_path: Path) -> None:
    """rsync would look at the symlink's own, which has none."""
    make(tmp_path / "src", {"l": Link(b"../f"), "d": Link(b"../g")})
    make(tmp_path, {"f": b"f", "g": {}})
    for name in ("f", "g"):
        os.setxattr(tmp_path / name, "user.x", name.encode())
    syncron.ok("-LX", "src", "dst", cwd=tmp_path)
    assert os.getxattr(tmp_path / "dst/l", "user.x") == b"f"
    assert os.getxattr(tmp_path / "dst/d", "user.x") == b"g"
    os.setxattr(tmp_path / "f", "user.x", b"2")
    assert syncron.ok("-LX", "src", "dst", cwd=tmp_path)["metadata"] == 1
    assert os.getxattr(tmp_path / "dst/l", "user.x") == b"2"


@pytest.mark.parametrize("seed", range(40 if os.environ.get("SYNCRON_DEEP") else 6))
def test_executability_as_rsync(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    modes = (0o600, 0o644, 0o755, 0o700, 0o711, 0o640, 0o4755)
    options = ["--no-perms", "-E", *choice.choice(([], ["-X"], ["--chmod=Fg+X"], ["--inplace"]))]
    for number in range(4):
        for name in ("a", "b", "c", "d/e"):
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not number or choice.random() < 0.3:
                path.write_bytes(choice.randbytes(choice.randrange(3)))
            path.chmod(choice.choice(modes))
            if number:
                mode = choice.choice(modes)
                (ours / name).chmod(mode)
                (theirs / name).chmod(mode)
        words = ["rsync", "-ac", "--modify-window=-1", *options, f"{source}/", f"{theirs}/"]
        subprocess.run(words, check=True)
        ended = forked("--json", *options, source, ours)
        said = (seed, number, options, ended.err)
        assert (ended.code, ended.summary["match"]) == (0, True), said
        assert kept(ours) == kept(theirs), said
        again = forked("--json", *options, source, ours)
        assert not any(again.summary[name] for name in STEPS), said


@pytest.mark.parametrize(
    "options", [("--munge-links",), ("-M--munge-links",), ("--munge-links", "-M", "--munge-links")]
)
@pytest.mark.parametrize("safe", [(), ("--safe-links",)])
def test_munged_as_by_rsync(
    syncron: Command, tmp_path: Path, options: tuple[str, ...], safe: tuple[str, ...]
) -> None:
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    make(source, {"a": Link(b"b"), "d": {"up": Link(b"../.."), "whole": Link(b"/etc")}})
    make(source, {"once": Link(b"/rsyncd-munged/a"), "only": Link(b"/rsyncd-munged/")})
    make(source, {"twice": Link(b"/rsyncd-munged//rsyncd-munged/a")})
    for _ in range(2):
        words = ["rsync", "-a", "--modify-window=-1", *options, *safe]
        subprocess.run([*words, f"{source}/", f"{theirs}/"], check=True)
        assert syncron.ok(*options, *safe, source, ours)["changed"] <= 1
        assert kept(ours) == kept(theirs)
        (source / "a").unlink()
        (source / "a").symlink_to("/rsyncd-munged/c")
    assert syncron.ok(*options, *safe, source, ours)["changed"] == 0


@pytest.mark.parametrize("way", ["push-installed", "pull-installed"])
def test_the_side_that_munges(
    syncron: Command, make_way: MakeWay, tmp_path: Path, way: str
) -> None:
    """What is on this machine, or on the other, is munged; the way back takes it away again."""
    source, kept_there, back = tmp_path / "src", tmp_path / "there", tmp_path / "back"
    make(source, {"a": Link(b"b")})
    pulls = way.startswith("pull")
    munging = "--munge-links" if pulls else "-M--munge-links"
    syncron.ok(munging, *make_way(way).words(source, kept_there))
    assert os.readlink(kept_there / "a") == "/rsyncd-munged/b"
    other = make_way("push-installed" if pulls else "pull-installed")
    syncron.ok(munging, *other.words(kept_there, back))
    assert os.readlink(back / "a") == "b"
    assert syncron.ok(munging, *other.words(kept_there, back))["changed"] == 0


def test_what_rsync_has_and_linux_has_not_is_refused(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    for option, why in (
        ("-N", "Linux lets nobody set"),
        ("--crtimes", "Linux lets nobody set"),
        ("--copy-devices", "use dd"),
        ("--write-devices", "use dd"),
        ("-M--delete", "can be for the other side alone"),
    ):
        ended = syncron(option, "src", "dst", cwd=tmp_path)
        assert ended.code == 1
        assert why in ended.err
        assert not (tmp_path / "dst").exists()


def test_a_dry_run_tells_what_leads_to_nothing(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"new": {"below": {"l": Link(b"nowhere"), "f": b"1"}}})
    make(tmp_path / "dst", {"old": b"2"})
    words = ("-L", "--delete", tmp_path / "src", tmp_path / "dst")
    dry = syncron("-n", *words)
    assert dry.code == 23
    assert "new/below/l: cannot be read: the symlink leads to nothing" in dry.err
    assert "Nothing is deleted" in dry.err
    assert syncron("-L", "-n", tmp_path / "dst", tmp_path / "other").code == 0
    real = syncron(*words)
    assert (real.code, (tmp_path / "dst/old").read_bytes()) == (23, b"2")
