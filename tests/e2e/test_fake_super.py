"""``--fake-super``: what only root may do, noted as rsync does, so that each reads the other's."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import IS_ROOT, Command, MakeWay
from tests.e2e.forking import DESTINATION, Forked
from tests.trees import Fifo, File, Link, Literal, directory, make, noise

NOTE = "user.rsync.%stat"
LARGE = noise(1_500_000)
TREE: dict[str, Literal] = {
    "closed": directory({"f": b"1", "sub": {"g": b"2"}}, mode=0o555),
    "fifo": Fifo(),
    "large": File(LARGE, mode=0o400),
    "link": Link(b"nowhere/at all"),
    "none": File(b"nobody may", mode=0),
    "plain": b"nothing to note",
    "set-id": File(b"#!", mode=0o6755),
    "shared": directory({"f": b"3", "l": Link(b"f")}, mode=0o3775),
}


def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A source with all that needs a note, as far as who runs this can make it."""
    source = tmp_path / "src"
    make(source, TREE)
    if IS_ROOT:
        for number, path in enumerate(sorted(source.rglob("*"))):
            if "plain" not in path.name:
                os.chown(path, 1000 + number, 2000 + number, follow_symlinks=False)
        os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(source / "disk", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
        os.chown(source / "disk", 0, 6)
        (source / "set-id").chmod(0o6755)
        (source / "shared").chmod(0o3775)
        for path in (source / "null", source / "disk", source):
            os.utime(path, ns=(10**18, 10**18))
    return source, tmp_path / "dst"


def facts(top: Path) -> dict[str, tuple[object, ...]]:
    """All that is on the disk, with what is noted of it."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *top.rglob("*")]:
        st = path.lstat()
        link = path.is_symlink()
        notes = {} if link else {name: os.getxattr(path, name) for name in os.listxattr(path)}
        content = path.read_bytes() if path.is_file() and not link else b""
        content = os.readlink(os.fsencode(path)) if link else content
        kind = st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_rdev
        found[str(path.relative_to(top))] = (*kind, content, notes)
    return found


def assert_same(source: Path, back: Path, leaving: str = "") -> None:
    """Both are the same in all that is not noted."""
    one, other = (
        {
            path: fact[:-1]
            for path, fact in facts(top).items()
            if not (leaving and path.endswith(leaving))
        }
        for top in (source, back)
    )
    assert one == other
    assert not any(fact[-1] for fact in facts(back).values())


def rsync(*words: str | Path) -> None:
    options = "-a", "--devices", "--specials"
    subprocess.run(["rsync", *options, *words], check=True)


def test_rsync_and_syncron_write_the_same(forked: Forked, tmp_path: Path) -> None:
    source, destination = trees(tmp_path)
    theirs = tmp_path / "theirs"
    rsync("-M--fake-super", f"{source}/", theirs)
    assert forked("-M--fake-super", source, destination).code == 0
    assert facts(destination) == facts(theirs)
    assert NOTE in os.listxattr(destination / "link")
    for back, (here, options) in enumerate(((theirs, ()), (destination, ("--delete",)))):
        again = tmp_path / f"back{back}"
        ended = forked("--fake-super", "-M--super", *options, "--json", here, again)
        assert (ended.code, ended.err) == (0, "")
        assert_same(source, again)
        assert ended.summary["match"] is True


def test_rsync_goes_on_where_syncron_was_and_the_other_way(forked: Forked, tmp_path: Path) -> None:
    source, destination = trees(tmp_path)
    rsync("-M--fake-super", f"{source}/", destination)
    ended = forked("--json", "-M--fake-super", source, destination)
    assert ended.code == 0 and ended.summary["match"] is True
    done = [ended.summary[what] for what in ("created", "changed", "metadata", "deleted")]
    assert done == [0, 0, 0, 0]
    (source / "plain").write_bytes(b"edited")
    (source / "set-id").chmod(0o4700)
    (source / "link").unlink()
    (source / "link").symlink_to("elsewhere")
    assert forked("-M--fake-super", source, destination).code == 0
    dry = ["rsync", "-ain", "--devices", "--specials", "-c", "-M--fake-super"]
    told = subprocess.run([*dry, f"{source}/", destination], capture_output=True, check=True)
    assert told.stdout == b""


def test_every_way(syncron: Command, make_way: MakeWay, tmp_path: Path) -> None:
    source, destination = trees(tmp_path)
    words = make_way("push-installed").words(source, destination)
    first = syncron.ok("-M--fake-super", *words)
    assert syncron.ok("-M--fake-super", "--verify", *words)["source_root"] == first["source_root"]
    there, back = tmp_path / "relayed", tmp_path / "back"
    relay = make_way("relay-shipped").words(destination, there)
    syncron.ok("-M--fake-super", *relay)
    assert facts(there) == facts(destination)
    pull = make_way("pull-shipped").words(there, back)
    syncron.ok("-M--fake-super", *pull)
    assert_same(source, back)
    local = tmp_path / "local"
    syncron.ok("--fake-super", *make_way("pull-shipped").words(source, local))
    assert facts(local) == facts(destination)
    ended = syncron("--fake-super", *relay)
    assert (ended.code, "both sides are on others" in ended.err) == (1, True)


OPTIONS = (
    "-H --delay-updates",
    "--inplace --no-owner --no-group",
    "--no-whole-file --backup-dir=../kept --fsync",
    "--no-perms",
    "--sparse --temp-dir=.. --chmod=u+s,g+s",
)


@pytest.mark.parametrize("more", OPTIONS)
def test_changes_with_other_options(forked: Forked, tmp_path: Path, more: str) -> None:
    """Whatever becomes of the source, what is noted reads as a copy without notes does."""
    source, destination = trees(tmp_path)
    copy, back = tmp_path / "copy", tmp_path / "back"
    words = "--delete", "--json", *more.split()
    for number in range(3):
        if number == 1:
            _edit(source)
        if number == 2:
            _edit_more(source)
        for target, options in ((destination, ("-M--fake-super",)), (copy, ())):
            ended = forked(*options, *words, source, target)
            assert (ended.code, ended.err) == (0, ""), ended.out
            assert ended.summary["match"] is True
            again = forked(*options, *words, source, target).summary
            assert [again[what] for what in ("created", "changed", "metadata")] == [0, 0, 0]
        shutil.rmtree(back, ignore_errors=True)
        read = "-H", "--exclude=*~", "--fake-super", "-M--super"
        assert forked(*read, destination, back).code == 0
        assert_same(copy, back, "~")


def _edit(source: Path) -> None:
    (source / "large").chmod(0o600)
    with (source / "large").open("r+b") as file:
        file.seek(700_000)
        file.write(b"an edit")
    (source / "large").chmod(0o440)
    (source / "fifo").unlink()
    (source / "fifo").write_bytes(b"a file by now")
    (source / "link").unlink()
    make(source / "link", {"f": b"a directory by now"})
    shutil.rmtree(source / "shared")
    (source / "shared").symlink_to("link")
    (source / "set-id").chmod(0o711)
    os.rename(source / "closed", source / "renamed")
    os.link(source / "none", source / "renamed/another") if IS_ROOT else None


def _edit_more(source: Path) -> None:
    (source / "shared").unlink()
    os.mkfifo(source / "shared", 0o644)
    shutil.rmtree(source / "link")
    (source / "link").symlink_to("again")
    os.rename(source / "renamed", source / "closed")
    (source / "set-id").write_bytes(b"more")
    if IS_ROOT:
        os.chown(source / "plain", 5, 6)
        os.chown(source / "fifo", 7, 8)
        (source / "null").unlink()
        os.mknod(source / "null", stat.S_IFCHR | 0o600, os.makedev(1, 5))


def test_what_is_noted_may_change(forked: Forked, tmp_path: Path) -> None:
    """A note that is another, and an entry that says nothing else of it, is seen."""
    source, destination = trees(tmp_path)
    words = "--json", "-M--fake-super", source, destination
    before = forked(*words).summary
    st = (destination / "plain").stat()
    os.setxattr(destination / "plain", NOTE, b"100644 0,0 77:78")
    os.utime(destination / "plain", ns=(st.st_atime_ns, st.st_mtime_ns))
    assert forked("-n", "-i", "-M--fake-super", source, destination).out.endswith(" plain\n")
    after = forked(*words).summary
    assert after["metadata"] == 1
    assert after["destination_root"] == before["destination_root"]
    assert NOTE not in os.listxattr(destination / "plain")


@pytest.mark.parametrize(
    "note",
    [b"", b"100644", b"100644 0,0 -1:0", b"40755 0,0 0:0", b"100644 0,0 4294967295:0", b"7" * 300],
)
def test_a_damaged_note_is_reported(forked: Forked, tmp_path: Path, note: bytes) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"d": {}, "f": b"1", "g": b"2"})
    os.setxattr(source / "f", NOTE, note)
    os.setxattr(source / "d", NOTE, b"100644 0,0 0:0")
    ended = forked("--fake-super", "--delete", source, destination)
    assert ended.code == 23
    assert sorted(path.name for path in destination.glob("[!.]*")) == ["g"]
    assert ended.err.count("user.rsync.%stat") == 2


def test_what_was_there_without_notes(forked: Forked, tmp_path: Path) -> None:
    """Symlinks and special files as they are cannot be noted, and are replaced."""
    source, destination = trees(tmp_path)
    subprocess.run(["cp", "-a", source, destination], check=True)
    ended = forked("--json", "-M--fake-super", "--delete", source, destination)
    assert (ended.code, ended.err) == (0, ""), ended.out
    assert ended.summary["match"] is True
    if IS_ROOT:
        assert not any(path.is_symlink() for path in destination.rglob("*"))
    back = tmp_path / "back"
    assert forked("--fake-super", "-M--super", destination, back).code == 0
    assert_same(source, back)


def test_a_target_that_cannot_be_read_deletes_nothing(forked: Forked, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"link": b"to", "other": b"o"})
    os.setxattr(source / "link", NOTE, b"120777 0,0 0:0")
    words = "--fake-super", "-M--super", "--delete", source, destination
    assert forked(*words).code == 0
    assert os.readlink(destination / "link") == "to"
    for damage in (b"", b"a\0b", b"t" * 5000):
        (source / "link").write_bytes(damage)
        ended = forked(*words)
        assert ended.code == 23 and "link: cannot be read: what its attribute" in ended.err
        assert os.readlink(destination / "link") == "to"


def test_killed_in_between(forked: Forked, tmp_path: Path) -> None:
    source, destination = trees(tmp_path)
    for when in range(1, 40, 8):
        shutil.rmtree(destination, ignore_errors=True)
        fault = f"--inject=setxattr,fsetxattr,linkat,renameat:signal=KILL:when={when}"
        trace = ("-e", "trace=setxattr,fsetxattr,linkat,renameat", fault)
        words = "--json", "-M--fake-super", source, destination
        ended = forked(*words, who=DESTINATION, strace=trace)
        ended = ended if ended.code == 0 else forked(*words)
        assert ended.code == 0 and ended.summary["match"] is True, ended.out


@pytest.mark.parametrize(
    "words",
    [
        "-L --fake-super",
        "-k -M--fake-super",
        "-K --fake-super",
        "--super -M--fake-super",
        "-M--super",
        "--two-way --fake-super",
    ],
)
def test_what_does_not_go_together(forked: Forked, tmp_path: Path, words: str) -> None:
    ended = forked(*words.split(), tmp_path, "x")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "--fake-super" in ended.err


def test_super_takes_it_back(forked: Forked, tmp_path: Path) -> None:
    source, destination = trees(tmp_path)
    if not IS_ROOT:
        return
    for words in (["--fake-super", "--super"], ["--super", "--fake-super", "--super"]):
        assert forked(*words, source, destination).code == 0
        assert_same(source, destination)
        shutil.rmtree(destination)
    assert forked("--super", "--fake-super", source, destination).code == 0
    assert NOTE in os.listxattr(destination / "null")


def test_called_as_rsync(syncron: Command, tmp_path: Path) -> None:
    source, destination = trees(tmp_path)
    theirs = tmp_path / "theirs"
    rsync("-M--fake-super", f"{source}/", theirs)
    ended = syncron("--rsync", "-a", "-M--fake-super", f"{source}/", destination)
    assert (ended.code, ended.err) == (0, "")
    assert facts(destination) == facts(theirs)
