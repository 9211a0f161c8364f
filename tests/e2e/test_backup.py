"""What a run replaces or deletes is kept: as rsync keeps it, and with no moment without a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import IS_ROOT, Command, Way, mounted
from tests.e2e.everything import ACL_USER, acl
from tests.e2e.forking import DESTINATION, Forked
from tests.fs.roots import settle
from tests.trees import Fifo, File, Link, directory, make, noise, read

ACCESS = "system.posix_acl_access"
ACL = acl((ACL_USER, 7, 1000), 5)

OLD = directory(
    {
        "changed": File(b"old", mode=0o640, mtime_ns=7),
        "same": b"same",
        "touched": File(b"as it was", mtime_ns=1),
        "link": Link(b"old"),
        "kind": b"a file that becomes a directory",
        "kept~": b"of an earlier run, or a user's own",
        "d": {"inside": b"old", "mine~": b"mine", "gone": b"gone"},
        "large": noise(700_000),
        "gone": directory(
            {"file": File(b"x", mode=0o600), "fifo": Fifo(), "link": Link(b"nowhere"), "s": {}},
            mode=0o711,
        ),
        "closed": directory({"gone": b"x", "sub": {"deeper": b"y"}}, mode=0o555),
        "empty": {},
        "bk": {"earlier": {"backup": b"of an earlier run"}, "d": b"a file then"},
    }
)
NEW = directory(
    {
        "changed": b"newer",
        "same": b"same",
        "touched": File(b"as it was", mtime_ns=2),
        "link": Link(b"new"),
        "kind": {"now": b"a directory"},
        "d": {"inside": b"newer"},
        "large": noise(700_000, seed=1)[:650_000],
        "moved": {"file": File(b"x", mode=0o600)},
    }
)


def everything(top: Path) -> set[tuple[str, object]]:
    """What is where, without the times of directories, and of what rsync must make anew."""
    found = set()
    for where in [top, *top.rglob("*")]:
        st = os.lstat(where)
        kind = st.st_mode
        what: object = (kind, st.st_uid, st.st_gid)
        if where.is_symlink():
            what = os.readlink(where)
        elif where.is_file():
            what = (kind, st.st_uid, st.st_gid, st.st_mtime_ns, where.read_bytes())
        found.add((str(where.relative_to(top)), what))
    return found


@pytest.mark.parametrize(
    "options",
    [
        ["-b"],
        ["-b", "--suffix=.orig"],
        ["-b", "--delete"],
        ["--backup-dir=../kept", "--delete"],
        ["--backup-dir=../kept/of/today", "--suffix=.0", "--delete"],
        ["-b", "--backup-dir=bk", "--delete", "--exclude=/bk"],
        ["--backup-dir=bk", "--inplace", "--delete", "--exclude=/bk", "--no-whole-file"],
    ],
    ids=" ".join,
)
def test_kept_as_rsync_keeps_it(forked: Forked, tmp_path: Path, options: list[str]) -> None:
    # A second run meets what the first has kept.
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "src", NEW)
        make(tmp_path / name / "dst", OLD)
        # Its content is the same. rsync takes it for changed, because its time is another.
        (tmp_path / name / "dst/touched").unlink()
    for turn in range(2):
        for name in ("ours", "theirs"):
            for path in ("changed", "d/inside"):
                (tmp_path / name / "src" / path).write_bytes(b"content %d" % turn)
                os.utime(tmp_path / name / "src" / path, ns=(0, turn))
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        ended = forked(*options, ours / "src", ours / "dst")
        assert (ended.code, ended.err) == (0, "")
        words = ["rsync", "-rlptgoD", "--modify-window=-1", *options]
        subprocess.run([*words, f"{theirs}/src/", theirs / "dst"], check=True)
        assert everything(ours) == everything(theirs)


def test_every_way(syncron: Command, way: Way, tmp_path: Path) -> None:
    make(tmp_path / "src", NEW)
    make(tmp_path / "dst", OLD)
    words = way.words(tmp_path / "src", tmp_path / "dst")

    syncron.ok("--delete", "--backup-dir=../kept", *words)

    kept = tmp_path / "kept"
    assert (kept / "changed").read_bytes() == b"old"
    assert (kept / "large").read_bytes() == noise(700_000)
    assert os.readlink(kept / "link") == "old"
    assert (kept / "closed/sub/deeper").read_bytes() == b"y"
    assert (kept / "gone/file").read_bytes() == b"x"  # although it is as good as moved
    assert not (kept / "same").exists()
    assert not (kept / "touched").exists()


def test_a_directory_inside_of_the_destination_is_left_alone(
    syncron: Command, tmp_path: Path
) -> None:
    make(tmp_path / "src", {"a": b"1"})
    make(tmp_path / "dst", {"a": b"22", "b": b"3", "k[e]p*t": {"b": b"before", "x": {"y": b"z"}}})
    for directory_ in ("k[e]p*t", f"{tmp_path}/dst/./k[e]p*t/"):
        syncron.ok(
            "--delete",
            f"--backup-dir={directory_}",
            *map(str, (tmp_path / "src", tmp_path / "dst")),
        )
        assert (tmp_path / "dst/k[e]p*t/a").read_bytes() == b"22"
        assert (tmp_path / "dst/k[e]p*t/b").read_bytes() == b"3"
        assert (tmp_path / "dst/k[e]p*t/x/y").read_bytes() == b"z"


def test_several_sources_keep_theirs_apart(syncron: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name, {"f": b"new"})
        make(tmp_path / "dst" / name, {"f": b"old " + name.encode(), "gone": b"x"})
    (tmp_path / "single").write_bytes(b"new")
    (tmp_path / "dst/single").write_bytes(b"older")
    words = [tmp_path / "a", tmp_path / "b", tmp_path / "single", tmp_path / "dst"]

    ended = syncron("--delete", "--backup-dir=../kept", *words)

    assert ended.code == 0, ended.err
    kept = {"a": {"f": b"old a", "gone": b"x"}, "b": {"f": b"old b", "gone": b"x"}}
    make(tmp_path / "expected", {**kept, "single": b"older"})
    assert {p for p, _ in everything(tmp_path / "kept")} == {
        p for p, _ in everything(tmp_path / "expected")
    }
    assert (tmp_path / "kept/b/f").read_bytes() == b"old b"


@pytest.mark.parametrize("place", [".", "..", "../dst", "sub", "../src/file"])
def test_places_that_would_be_mixed_with_the_tree_are_refused(
    syncron: Command, tmp_path: Path, place: str
) -> None:
    make(tmp_path / "src", {"file": b"new", "sub": {"x": b"1"}})
    make(tmp_path / "dst", {"file": b"old", "real": {"x": b"1"}})
    (tmp_path / "dst/sub").symlink_to("real")
    before = read(tmp_path / "dst")

    ended = syncron("-b", f"--backup-dir={place}", tmp_path / "src", tmp_path / "dst")

    assert ended.code == 3, (ended.code, ended.err)
    assert "Nothing was changed" in ended.err
    assert read(tmp_path / "dst") == before


def test_a_directory_that_would_keep_its_files_is_not_replaced(
    syncron: Command, tmp_path: Path
) -> None:
    make(tmp_path / "src", {"d": b"now a file", "e": b"new"})
    make(tmp_path / "dst", {"d": {"x": b"1"}})
    before = read(tmp_path / "dst/d")

    ended = syncron("-b", "--delete", tmp_path / "src", tmp_path / "dst")

    assert ended.code == 23
    assert "--backup-dir" in ended.err
    assert read(tmp_path / "dst/d") == before
    assert (tmp_path / "dst/e").read_bytes() == b"new"


def test_what_cannot_be_kept_stays(syncron: Command, tmp_path: Path) -> None:
    long = "x" * 255
    make(tmp_path / "src", {long: b"new", "f": b"new"})
    make(tmp_path / "dst", {long: b"old", "f": b"older", "f~": {"a": b"directory"}, "g": b"g"})

    ended = syncron("-b", "--delete", tmp_path / "src", tmp_path / "dst")

    assert ended.code == 23
    assert (tmp_path / "dst" / long).read_bytes() == b"old"
    assert (tmp_path / "dst/f").read_bytes() == b"older"
    assert (tmp_path / "dst/f~/a").read_bytes() == b"directory"
    assert (tmp_path / "dst/g~").read_bytes() == b"g"


def test_a_second_run_has_nothing_to_do(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", NEW)
    make(tmp_path / "dst", OLD)
    for options in (["-b"], ["--backup-dir=bk"]):
        words: list[str | Path] = [*options, "--delete", tmp_path / "src", tmp_path / "dst"]
        syncron.ok(*words)
        again = syncron.ok(*words)
        assert [again[key] for key in ("created", "changed", "deleted", "metadata")] == [0] * 4
        dry = syncron("-n", "-i", *words)
        assert (dry.code, dry.out) == (0, "")


def test_hard_links_and_earlier_backups_of_the_same_file(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"new"})
    make(tmp_path / "dst", {"a": b"older", "gone": b"gone"})
    make(tmp_path / "kept", {})
    os.link(tmp_path / "dst/a", tmp_path / "kept/a")
    os.link(tmp_path / "dst/gone", tmp_path / "kept/gone")

    syncron.ok("--delete", "--backup-dir=../kept", *(tmp_path / "src", tmp_path / "dst"))

    assert sorted(os.listdir(tmp_path / "dst")) == ["a"]
    assert (tmp_path / "kept/a").read_bytes() == b"older"
    assert (tmp_path / "kept/gone").read_bytes() == b"gone"


@pytest.mark.parametrize("options", [["-b"], ["--backup-dir=../kept"]])
def test_names_of_one_file(syncron: Command, tmp_path: Path, options: list[str]) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"new", "c": b"other"})
    os.link(source / "a", source / "b")
    make(destination, {"a": b"older", "b": b"old", "c": b"c"})
    os.link(destination / "c", destination / "d")
    words: list[str | Path] = ["-H", "--delete", *options, source, destination]
    summary = syncron("--json", *words).summary
    assert summary["match"] is True
    assert (destination / "a").samefile(destination / "b")
    kept = {"-b": destination}.get(options[0], tmp_path / "kept")
    end = "~" * (options == ["-b"])
    found = {name: (kept / f"{name}{end}").read_bytes() for name in "abcd"}
    assert found == {"a": b"older", "b": b"old", "c": b"c", "d": b"c"}
    again = syncron("--json", *words).summary
    assert again["match"] is True
    assert not any(again[key] for key in ("created", "changed", "deleted", "metadata"))


@pytest.mark.parametrize(("call", "fewest"), [("linkat", 1), ("renameat", 4), ("unlinkat", 2)])
def test_there_is_no_moment_without_a_copy(
    forked: Forked, tmp_path: Path, call: str, fewest: int
) -> None:
    """Killed at every call that gives or takes a name, with the next run after it."""
    count = 0
    for count in range(1, 100):
        top = tmp_path / str(count)
        make(top / "src", {"a": b"new", "kind": {"x": b"1"}})
        make(top / "dst", {"a": b"older", "gone": b"gone", "kind": b"kind"})
        words = ("--delete", "--backup-dir=../kept", top / "src", top / "dst")
        kill = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={count}"]
        ended = forked(*words, who=DESTINATION, strace=kill)
        there = {
            path.read_bytes()
            for place in ("dst", "kept")
            for path in (top / place).rglob("*")
            if path.is_file()
        }
        assert {b"older", b"gone", b"kind"} <= there
        if ended.code == 0:
            break
        assert forked(*words).code == 0
        assert {path.name for path in (top / "kept").iterdir()} == {"a", "gone", "kind"}
        assert (top / "kept/a").read_bytes() in (b"older", b"new")
        shutil.rmtree(top)
    assert fewest < count < 100


if IS_ROOT:

    def test_to_another_file_system(syncron: Command, tmp_path: Path) -> None:
        make(tmp_path / "src", NEW)
        make(tmp_path / "dst", OLD)
        with mounted(tmp_path / "other") as other:
            words = ("--delete", "--fsync", f"--backup-dir={other}/kept")
            syncron.ok(*words, tmp_path / "src", tmp_path / "dst")
            kept = other / "kept"
            assert (kept / "changed").read_bytes() == b"old"
            assert (kept / "changed").stat().st_mtime_ns == 7
            assert (kept / "changed").stat().st_mode & 0o7777 == 0o640
            assert os.readlink(kept / "gone/link") == "nowhere"
            assert (kept / "gone/fifo").is_fifo()
            assert (kept / "gone").stat().st_mode & 0o7777 == 0o711
            assert not any(name.startswith(".syncron") for name in os.listdir(kept))

    def test_attributes_go_to_another_file_system(syncron: Command, tmp_path: Path) -> None:
        source, destination = tmp_path / "src", tmp_path / "dst"
        make(source, {"d": {"a": b"new"}})
        make(destination, {"d": {"a": File(b"old", mode=0o440)}})
        for path in (destination / "d", destination / "d/a"):
            os.setxattr(path, "user.x", b"kept")
            os.setxattr(path, ACCESS, ACL)
        settle()
        with mounted(tmp_path / "other") as other:
            syncron.ok("-AX", f"--backup-dir={other}/kept", source, destination)
            for path in (other / "kept/d", other / "kept/d/a"):
                assert os.getxattr(path, "user.x") == b"kept"
                assert os.getxattr(path, ACCESS) == ACL
            assert (other / "kept/d/a").read_bytes() == b"old"
        assert os.listxattr(destination / "d/a") == []

    def test_a_full_backup_directory_keeps_the_old_file(syncron: Command, tmp_path: Path) -> None:
        make(tmp_path / "src", {"a": b"new"})
        make(tmp_path / "dst", {"a": noise(900_000), "b": noise(900_000, seed=1)})
        before = read(tmp_path / "dst")
        with mounted(tmp_path / "other", "size=64k") as other:
            words = ("--delete", f"--backup-dir={other}/kept", tmp_path / "src", tmp_path / "dst")
            ended = syncron(*words)
            assert ended.code in (11, 23)
            after = read(tmp_path / "dst")
            assert after.entries[b"a"] == before.entries[b"a"]  # type: ignore[union-attr]
            assert after.entries[b"b"] == before.entries[b"b"]  # type: ignore[union-attr]
