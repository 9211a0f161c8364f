"""Snapshots: what did not change is linked or copied from other directories, as rsync does it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deep import DEEP
from tests.e2e.conftest import IS_ROOT, Command, MakeWay, Way, assert_copied, mounted
from tests.e2e.everything import Changing, groups, kept
from tests.e2e.forking import DESTINATION, Forked
from tests.fs.roots import settle
from tests.trees import File, Link, assert_same, directory, make, noise

TREE = directory(
    {
        "same": b"same",
        "changed": b"old",
        "mode": File(b"mode", mode=0o600),
        "time": File(b"time", mtime_ns=7),
        "link": Link(b"to"),
        "d": {"same": b"in d", "e": {"deep": b"deeper", "l": Link(b"x")}, "gone": b"gone"},
        "whole": {"a": b"1", "b": {"c": b"2"}},
        "large": noise(700_000),
    }
)


def inodes(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.lstat().st_ino for path in top.rglob("*")}


def shared(one: Path, other: Path) -> set[str]:
    """Paths that are the same entry in both, but for directories."""
    there = inodes(other)
    return {path for path, inode in inodes(one).items() if there.get(path) == inode}


def test_dated_snapshots(syncron: Command, way: Way, tmp_path: Path) -> None:
    source = tmp_path / "src"
    make(source, TREE)
    hashed = []
    for day in range(3):
        if day:
            (source / "changed").write_bytes(b"of day %d" % day)
            (source / "mode").chmod(0o640 + day)
            (source / "d/new").mkdir(exist_ok=True)
            (source / "d/new" / str(day)).write_bytes(b"%d" % day)
        destination = tmp_path / f"day{day}"
        options = [f"--link-dest=../day{day - 1}"] if day else []
        summary = syncron.ok(*options, *way.words(source, destination))
        assert_copied(source, destination)
        hashed.append(summary["bytes_hashed"])
        if day:
            before = tmp_path / f"day{day - 1}"
            linked = shared(destination, before)
            assert {"same", "link", "large", "d/same", "d/e/deep", "d/e/l", "whole/b/c"} <= linked
            assert not linked & {"changed", "mode"}
            assert summary["linked"] == len(linked) + 3  # d/e, whole and whole/b
    # What was linked has another ctime, and is known all the same.
    assert max(hashed[1:]) < 100
    assert (tmp_path / "day1/changed").read_bytes() == b"of day 1"


def test_going_on_leaves_earlier_days_as_they_were(syncron: Command, tmp_path: Path) -> None:
    """What a run has linked, and a further one gives other attributes, is one file with the
    earlier day's."""
    source = tmp_path / "src"
    make(source, TREE)
    (source / "mode").chmod(0o600)
    for day, options in ((0, []), (1, ["--link-dest=../day0"])):
        syncron.ok(*options, source, tmp_path / f"day{day}")
    assert {"mode", "time", "same"} <= shared(tmp_path / "day1", tmp_path / "day0")

    def first_day() -> list[tuple[Path, int, int]]:
        found = sorted((tmp_path / "day0").rglob("*"))
        return [(path, path.lstat().st_mode, path.lstat().st_mtime_ns) for path in found]

    before = first_day()
    (source / "mode").chmod(0o644)
    os.utime(source / "time", ns=(8, 8))
    summary = syncron.ok("--link-dest=../day0", source, tmp_path / "day1")
    assert summary["copied"] == 2
    assert_copied(source, tmp_path / "day1")
    linked = shared(tmp_path / "day1", tmp_path / "day0")
    assert "same" in linked
    assert not linked & {"mode", "time"}
    assert first_day() == before


def test_snapshots_of_links_and_attributes(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, first, second = tmp_path / "src", tmp_path / "day0", tmp_path / "day1"
    make(source, {"a": b"1", "b": b"2", "c": b"3", "d": {"e": b"4", "f": {"g": b"5"}}, "h": b"6"})
    for name, other in (("a", "a2"), ("b", "d/b2")):
        os.link(source / name, source / other)
    for name in ("c", "d", "d/e", "d/f/g"):
        os.setxattr(source / name, "user.note", b"old")
    syncron.ok("-HAX", *way.words(source, first))
    before = kept(first)
    os.link(source / "a", source / "a3")
    os.setxattr(source / "d/e", "user.note", b"new")
    (source / "h").unlink()
    os.link(source / "c", source / "h")
    done = syncron.ok("-HAX", "--link-dest=../day0", *way.words(source, second))
    assert done["match"] is True
    assert kept(second) == kept(source)
    assert groups(second) == groups(source)
    assert kept(first) == before
    assert shared(second, first) == {"b", "d/b2", "d/f/g"}
    again = syncron.ok("-HAX", "--link-dest=../day0", *way.words(source, second))
    assert [again[each] for each in ("created", "changed", "metadata", "linked")] == [0] * 4


@pytest.mark.parametrize("seed", range(100 if DEEP else 5))
def test_all_that_is_kept_decides(forked: Forked, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source = tmp_path / "src"
    tree = Changing(source, seed)
    options = choice.choice(("-HX", "-HAX", "-AX", "-X"))
    use = choice.choice(("--link-dest", "--link-dest", "--copy-dest"))
    days: list[Path] = []
    for number in range(4):
        if number:
            tree.change(choice.choice((0, 1, 4)))
        tree.adjust(choice.choice((0, 1, 6)))
        day = tmp_path / f"day{number}"
        if number == 3 and choice.random() < 0.4:
            subprocess.run(["cp", "-a", days[0], day], check=True)
        named = [f"{use}=../{each.name}" for each in reversed(days)][: choice.choice((1, 2))]
        before = [kept(each) for each in days]
        ended = forked("--json", "--delete", options, *named, source, day)
        said = (seed, number, options, named, ended.out)
        assert (ended.code, ended.summary["match"]) == (0, True), said
        assert kept(day) == kept(source), said
        assert "H" not in options or groups(day) == groups(source), said
        assert [kept(each) for each in days] == before, said
        again = forked("--json", options, *named, source, day).summary
        steps = ("created", "changed", "metadata", "linked", "copied")
        assert not any(again[each] for each in steps), (*said, again)
        days.append(day)


def kinds(top: Path, alternates: list[Path]) -> dict[str, object]:
    """All of a tree that rsync keeps, and with which alternates it shares what."""
    found: dict[str, object] = {}
    shares = [shared(top, each) for each in alternates]
    for path in [top, *top.rglob("*")]:
        name, st = str(path.relative_to(top)), path.lstat()
        content = os.readlink(path) if path.is_symlink() else None
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes().hex()
        found[name] = (st.st_mode, st.st_mtime_ns, content, [name in each for each in shares])
    return found


def unshared(top: Path) -> set[tuple[str, object]]:
    return {(name, str(what)) for name, what in kinds(top, []).items()}


def random_tree(rng: random.Random, top: Path, like: Path | None) -> None:
    """A tree, or one with some changes to another."""
    if like is None:
        make(top, {})
        for number in range(rng.randrange(3, 14)):
            parent = rng.choice([top, *(each for each in top.rglob("*") if each.is_dir())])
            path = parent / f"n{number}"
            kind = rng.random()
            if kind < 0.3:
                path.mkdir()
            elif kind < 0.4:
                path.symlink_to(f"to{rng.randrange(3)}")
            elif kind < 0.45:
                os.mkfifo(path)
            else:
                path.write_bytes(rng.choice([b"", b"a", b"bb", noise(5000)]))
    else:
        subprocess.run(["cp", "-a", like, top], check=True)
        for path in list(top.rglob("*")):
            if not os.path.lexists(path) or rng.random() < 0.7:
                continue
            change = rng.random()
            if change < 0.35 and path.is_file() and not path.is_symlink():
                path.write_bytes(rng.choice([b"c", b"dd", noise(5000, seed=1)]))
            elif change < 0.5 and not path.is_symlink():
                path.chmod(rng.choice([0o700, 0o755]))
            elif change < 0.7:
                subprocess.run(["rm", "-rf", path], check=True)
                subprocess.run([*rng.choice((["mkdir"], ["touch"], ["ln", "-s", "z"])), path])
            else:
                os.utime(path, ns=(0, rng.randrange(9)), follow_symlinks=False)
    if like is None:
        for path in [*top.rglob("*"), top]:
            os.utime(path, ns=(0, rng.randrange(3)), follow_symlinks=False)


def random_alternates(rng: random.Random, top: Path, most: int) -> tuple[Path, list[Path]]:
    """A source, and up to so many alternates that are partly like it."""
    source = top / "src"
    random_tree(rng, source, None)
    alternates = [top / f"alternate{number}" for number in range(rng.randrange(1, most + 1))]
    for alternate in alternates:
        random_tree(rng, alternate, source)
    return source, alternates


@pytest.mark.parametrize("option", ["--link-dest", "--copy-dest", "--compare-dest"])
@pytest.mark.parametrize("seed", range(200 if DEEP else 8))
def test_as_rsync_does(forked: Forked, tmp_path: Path, option: str, seed: int) -> None:
    rng = random.Random(seed)
    source, alternates = random_alternates(rng, tmp_path, 3)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    # What is in both, rsync removes for --compare-dest; here nothing goes.
    filled = seed % 2 == 1 and option != "--compare-dest"
    if filled:
        random_tree(rng, ours, source)
        subprocess.run(["cp", "-a", ours, theirs], check=True)
    # What is there already and the same, rsync replaces by a link; here it stays.
    unchanged = unshared(source) & unshared(ours) if filled else set()
    options = [f"{option}=../{each.name}" for each in alternates]
    words = ["--delete", "--modify-window=-1", "-i", "-rlptgoDc"]

    done = subprocess.run(
        ["rsync", *words, *options, f"{source}/", theirs],
        capture_output=True,
        text=True,
        check=True,
    )
    before = kinds(theirs, alternates)
    dry = forked("-n", "-i", "--delete", *options, source, ours)
    ended = forked("-i", "--delete", *options, source, ours)

    assert (ended.code, ended.err) == (0, "")
    assert dry.out == ended.out
    after = kinds(ours, alternates)
    for name in {name for name, *_ in unchanged}:
        after[name] = before[name]
    assert after == before
    if not filled:
        assert lines(ended.out) == lines(done.stdout)


def lines(output: str) -> set[str]:
    """What was itemized, but for what the two say of the root, and that content found to be the
    same by its digest is copied, not sent."""
    found = set()
    for line in output.splitlines():
        flags, _, name = line.partition(" ")
        if name == "./" or flags == "created":
            continue
        if flags.startswith((">f..", "cf")):
            flags = "cf" + flags[2:]
        found.add(f"{flags} {name}")
    return found


def test_one_that_is_missing_is_told(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    ended = syncron("--link-dest=../none", tmp_path / "src", tmp_path / "dst")
    assert ended.code == 0
    assert ended.err == (
        "syncron: warning: --link-dest ../none does not exist at the destination.\n"
    )
    assert (tmp_path / "dst/a").read_bytes() == b"1"


def test_the_destination_is_no_alternate_of_its_own(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    make(tmp_path / "dst", {})
    ended = syncron("--link-dest=../dst/.", tmp_path / "src", tmp_path / "dst")
    assert (ended.code, len(ended.err.splitlines())) == (3, 1), ended.err


def test_several_sources_and_single_files(syncron: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name, {"f": name.encode(), "d": {"g": b"g"}})
        make(tmp_path / "before" / name, {"f": name.encode(), "d": {"g": b"g"}})
    make(tmp_path / "single", b"single")
    make(tmp_path / "before/single", b"single")
    words = [tmp_path / "a", tmp_path / "b", tmp_path / "single"]
    for option in ("--link-dest=../before", f"--link-dest={tmp_path}/before"):
        assert syncron(option, *words, tmp_path / "dst").code == 0
        assert shared(tmp_path / "dst", tmp_path / "before") == {
            *("a/f", "a/d/g", "b/f", "b/d/g", "single")
        }
        shutil.rmtree(tmp_path / "dst")


def test_what_the_rules_leave_out_is_not_linked(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {".syncronignore": b"*.o\n", "d": {"a": b"1", "b.o": b"2"}})
    make(tmp_path / "before", {"d": {"a": b"1", "b.o": b"2"}})
    (tmp_path / "src/d").touch()
    for day in ("x", "y"):
        syncron.ok("--link-dest=../before", *(tmp_path / "src", tmp_path / day))
        assert shared(tmp_path / day, tmp_path / "before") == {"d/a"}
        assert not (tmp_path / day / "d/b.o").exists()


def test_an_edited_alternate_is_not_believed(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"d": {"a": b"content", "b": b"other"}})
    words = (tmp_path / "src", tmp_path / "before")
    syncron.ok(*words)
    edited = tmp_path / "before/d/a"
    st = edited.stat()
    edited.write_bytes(b"CONTENT")
    os.utime(edited, ns=(st.st_atime_ns, st.st_mtime_ns))
    syncron.ok("--link-dest=../before", *(tmp_path / "src", tmp_path / "dst"))
    assert (tmp_path / "dst/d/a").read_bytes() == b"content"
    assert shared(tmp_path / "dst", tmp_path / "before") == {"d/b"}


def test_what_is_replaced_gets_another_file(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1", "l": Link(b"x"), "d": b"a file"})
    make(tmp_path / "before", {"a": b"1", "l": Link(b"x"), "d": b"a file"})
    make(tmp_path / "dst", {"a": b"22", "l": Link(b"y"), "d": {"x": b"1"}})
    os.link(tmp_path / "dst/a", tmp_path / "other name")
    words = (tmp_path / "src", tmp_path / "dst")
    summary = syncron.ok("--delete", "--backup-dir=../kept", "--link-dest=../before", *words)
    assert shared(tmp_path / "dst", tmp_path / "before") == {"a", "d"}
    assert summary["linked"] == 2
    assert (tmp_path / "other name").read_bytes() == b"22"
    assert (tmp_path / "kept/a").read_bytes() == b"22"
    assert not (tmp_path / "dst/.syncron").exists()


@pytest.mark.parametrize("call", ["linkat", "mkdirat", "unlinkat"])
def test_killed_and_run_again(forked: Forked, tmp_path: Path, call: str) -> None:
    make(tmp_path / "src", TREE)
    make(tmp_path / "before", TREE)
    (tmp_path / "src/d/gone").unlink()
    words = ("--link-dest=../before", tmp_path / "src", tmp_path / "dst")
    for count in range(1, 30, 3):
        kill = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={count}"]
        ended = forked(*words, who=DESTINATION, strace=kill)
        if ended.code == 0:
            break
        assert forked(*words).code == 0
        assert_copied(tmp_path / "src", tmp_path / "dst")
        shutil.rmtree(tmp_path / "dst")
    assert count > 1
    assert (tmp_path / "before/large").read_bytes() == noise(700_000)


def test_only_what_is_new_of_a_large_file_is_sent(
    syncron: Command, make_way: MakeWay, tmp_path: Path
) -> None:
    way = make_way("push-installed")
    make(tmp_path / "src", {"d": {"large": noise(3_000_000), "same": b"1"}})
    for day in range(3):
        if day:
            with open(tmp_path / "src/d/large", "r+b") as file:
                file.seek(1_000_000 * day)
                file.write(b"of day %d" % day)
        option = f"--link-dest=../day{day - 1}"
        summary = syncron.ok(option, *way.words(tmp_path / "src", tmp_path / f"day{day}"))
        assert_copied(tmp_path / "src", tmp_path / f"day{day}")
        if day:
            assert summary["bytes_transferred"] < 200_000
            assert summary["bytes_matched"] > 2_500_000
    assert (tmp_path / "day0/d/large").read_bytes() == noise(3_000_000)


def test_copies_appear_whole(forked: Forked, tmp_path: Path) -> None:
    make(tmp_path / "src", {"d": {"a": noise(20_000), "b": b"2", "l": Link(b"x")}})
    make(tmp_path / "before", {"d": {"a": noise(20_000), "b": b"2", "l": Link(b"x")}})
    words = ("--copy-dest=../before", tmp_path / "src", tmp_path / "dst")
    for count in range(1, 60):
        kill = ["-e", "trace=%file,write", "-e", f"inject=fchmod:signal=KILL:when={count}"]
        ended = forked(*words, who=DESTINATION, strace=[*kill, "-e", "trace=fchmod"])
        there = tmp_path / "dst/d/a"
        assert not there.exists() or there.read_bytes() == noise(20_000)
        if ended.code == 0:
            break
        shutil.rmtree(tmp_path / "dst")
    assert 2 < count < 60


if IS_ROOT:

    def test_owners_and_another_file_system(syncron: Command, tmp_path: Path) -> None:
        make(tmp_path / "src", TREE)
        os.chown(tmp_path / "src/whole/b", 77, 88)
        os.chown(tmp_path / "src/whole/b/c", 78, 89)
        with mounted(tmp_path / "there") as there:
            shutil.copytree(tmp_path / "src", there / "before", symlinks=True)
            subprocess.run(["cp", "-a", tmp_path / "src/.", there / "before"], check=True)
            options = (f"--link-dest={there}/before", "--fsync")
            summary = syncron.ok(*options, *(tmp_path / "src", tmp_path / "dst"))
            assert summary["bytes_transferred"] == 0
            assert_copied(tmp_path / "src", tmp_path / "dst")


@pytest.mark.parametrize("option", ["--link-dest=../old", "--copy-dest=../old"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-U"], "which are not compared"),
        (["--append"], "goes on with those of DST"),
    ],
)
def test_what_does_not_go_together_is_refused(
    syncron: Command, tmp_path: Path, option: str, words: list[str], said: str
) -> None:
    make(tmp_path / "src", {"a": b"1"})
    make(tmp_path / "old", {"a": b"1"})
    (tmp_path / "list").write_text("a\n")
    ended = syncron(option, *words, "src", "dst", cwd=tmp_path)
    assert ended.code == 1
    assert said in ended.err
    assert not (tmp_path / "dst").exists()


def test_rules_of_one_side_and_empty_directories(syncron: Command, tmp_path: Path) -> None:
    tree = directory({"a": b"1", "d": {"b": b"22", "left": b"3"}, "e": {"none": {}}})
    make(tmp_path / "src", tree)
    make(tmp_path / "old", tree)
    settle()
    words = ("-m", "--filter=hide left", "--link-dest=../old", tmp_path / "src", tmp_path / "dst")
    first = syncron("--json", *words).summary
    assert first["match"] is True
    assert_same({"a": b"1", "d": {"b": b"22"}}, tmp_path / "dst")
    for name in ("a", "d/b"):
        assert (tmp_path / "dst" / name).samefile(tmp_path / "old" / name)
    again = syncron("--json", *words).summary
    assert (again["match"], again["created"], again["deleted"]) == (True, 0, 0)
