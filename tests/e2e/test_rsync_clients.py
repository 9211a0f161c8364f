"""Programs that call rsync, unchanged, with syncron by that name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT
from tests.sshd import Sshd
from tests.trees import Link, assert_same, make


@pytest.fixture
def rsync(home: Path, tmp_path: Path) -> Path:
    """A program called rsync that is syncron; its state is the test's."""
    path = tmp_path / "bin/rsync"
    path.parent.mkdir()
    program = f'exec {sys.executable} {CHECKOUT / "syncron.py"} --rsync "$@"'
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return path


def run(*words: str | Path, **more: str) -> str:
    """What a program says that ends well."""
    environ = {**os.environ, **more}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def is_one_file(*paths: Path) -> bool:
    return len({path.stat().st_ino for path in paths}) == 1


@pytest.mark.parametrize("far", [False, True])
def test_rsnapshot(rsync: Path, hosts: Sshd, tmp_path: Path, far: bool) -> None:
    source, snapshots = tmp_path / "src", tmp_path / "snapshots"
    make(source, {"same": b"1", "d": {"edited": b"2", "gone": b"3"}, "l": Link(b"same")})
    lines = [
        ("config_version", "1.2"),
        ("snapshot_root", f"{snapshots}/"),
        ("cmd_cp", "/bin/cp"),
        ("cmd_rm", "/bin/rm"),
        ("cmd_ssh", "/usr/bin/ssh"),
        ("ssh_args", f"-F {hosts.config}"),
        ("cmd_rsync", rsync),
        ("retain", "alpha", "3"),
        ("lockfile", tmp_path / "lock"),
        ("link_dest", "1"),
        ("exclude", "*.o"),
        ("backup", f"{'root@target:' if far else ''}{source}/", "host/"),
    ]
    config = tmp_path / "rsnapshot.conf"
    config.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
    run("rsnapshot", "-c", config, "alpha")
    first = snapshots / f"alpha.0/host{source}"
    assert_same(source, first)
    (source / "d/gone").unlink()
    (source / "d/edited").write_bytes(b"other")
    (source / "left.o").write_bytes(b"")
    run("rsnapshot", "-c", config, "alpha")
    first, second = (snapshots / f"alpha.{number}/host{source}" for number in (1, 0))
    (source / "left.o").unlink()
    os.utime(source, ns=(second.stat().st_mtime_ns,) * 2)
    assert_same(source, second)
    assert (first / "d/gone").read_bytes() == b"3"
    assert (first / "d/edited").read_bytes() == b"2"
    assert is_one_file(first / "same", second / "same")


_SNAPSHOT = """\
set -e
now=$1
rsync -a --delete --exclude=/cache --link-dest=../latest "$SOURCE/" "$SNAPSHOTS/$now.part"
mv "$SNAPSHOTS/$now.part" "$SNAPSHOTS/$now"
ln -sfn "$now" "$SNAPSHOTS/latest"
"""
"""As it stands in many a crontab."""


def test_a_script_for_dated_snapshots(rsync: Path, tmp_path: Path) -> None:
    source, snapshots = tmp_path / "src", tmp_path / "snapshots"
    make(source, {"same": b"1", "d": {"edited": b"2"}, "cache": {"much": b""}})
    snapshots.mkdir()
    environ = {
        "PATH": f"{rsync.parent}:{os.environ['PATH']}",
        "SOURCE": str(source),
        "SNAPSHOTS": str(snapshots),
    }
    run("sh", "-c", _SNAPSHOT, "snapshot", "monday", **environ)
    (source / "d/edited").write_bytes(b"other")
    run("sh", "-c", _SNAPSHOT, "snapshot", "tuesday", **environ)
    monday, tuesday = snapshots / "monday", snapshots / "tuesday"
    assert not (monday / "cache").exists()
    assert is_one_file(monday / "same", tuesday / "same")
    assert (monday / "d/edited").read_bytes() == b"2"
    assert (tuesday / "d/edited").read_bytes() == b"other"
