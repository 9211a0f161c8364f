"""Roots below given directories, and none outside, whatever is done to the names meanwhile."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.permission import EVERYTHING
from syncron_lib.errors import RootError, SyncronError, UsageError
from syncron_lib.fs.restriction import Within
from tests.deep import DEEP
from tests.trees import Link, make

SECONDS = 5.0 if DEEP else 0.3
"""For each race."""


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``data/a`` and ``more`` may be reached; the account's home lies above both."""
    far = tmp_path / "far"
    inside: dict[str, Any] = {
        "tree": {"file": b"1", "sub": {}},
        "in": Link(b"tree/sub"),
        "over": Link(os.fsencode(far / "more/there")),
        "out": Link(os.fsencode(far / "outside")),
        "up": Link(b"../.."),
        "loop": Link(b"loop"),
        "fileout": Link(os.fsencode(far / "outside/secret")),
    }
    make(far, {"data": {"a": inside, "ab": {"x": b"x"}}, "more": {"there": {}}})
    make(far / "outside", {"secret": b"secret", "back": Link(os.fsencode(far / "data/a/tree"))})
    monkeypatch.setenv("HOME", str(far))
    return far


def within(top: Path) -> Within:
    """What a helper that is restricted to both reaches."""
    return Within([os.fsencode(top / "data/a"), os.fsencode(top / "more")], EVERYTHING)


OUTSIDE = (
    *("{top}", "{top}/", "{top}/data", "{top}/data/ab", "{top}/data/ab/x", "{top}/data/a/../ab"),
    *("{top}/data/a/..", "{top}/data/a/out", "{top}/data/a/out/none/at/all", "{top}/data/a/up"),
    *("{top}/data/a/out/secret", "{top}/data/a/fileout", "{top}/data/a/none/../../ab"),
    *("{top}/data/aa", "{top}/data/A", "{top}/mor", "{top}/more2", "/", "//", "/etc", ""),
    *(".", "~", "~/", "~root", "data", "data/ab", "../x", "~/outside", "outside/secret", "-rf"),
    *("{top}/data/a/tree/../../../outside", "{top}/data/a/.syncron", "{top}/data/a/.syncron/n1/x"),
    *("{top}/data/a/.syncron-0123456789abcdef", "{top}/data/a/tree/.syncron-0123456789abcdef/n1"),
)
INSIDE = {
    "{top}/data/a": "data/a",
    "{top}/data/a/": "data/a",
    "{top}/data/./a//tree": "data/a/tree",
    "{top}/data/a/in": "data/a/tree/sub",
    "{top}/data/a/over": "more/there",
    "{top}/data/ab/../a/tree": "data/a/tree",
    "{top}/outside/back": "data/a/tree",
    "{top}/more": "more",
    "data/a/tree": "data/a/tree",
    "~/more/there": "more/there",
    "{top}/data/a/out/../data/a/tree": "data/a/tree",
}


@pytest.mark.parametrize("written", OUTSIDE)
def test_what_is_outside_is_refused(top: Path, written: str) -> None:
    path = os.fsencode(written.format(top=top))
    with pytest.raises(RootError, match="out of reach: this account is restricted to") as caught:
        within(top).look(path)
    assert caught.value.exit_code == 3
    assert str(top / "data/a") in caught.value.message
    for use in (within(top).open, lambda path: within(top).create(path, True)):
        with pytest.raises((SyncronError, OSError)):
            use(path)


@pytest.mark.parametrize("written", INSIDE)
def test_what_is_inside_is_opened(top: Path, written: str) -> None:
    reach = within(top)
    place = reach.look(os.fsencode(written.format(top=top)))
    assert place == (os.fsencode(top / INSIDE[written]), stat.S_IFDIR, False)
    fd = reach.open(place.path)
    assert os.path.samestat(os.fstat(fd), os.stat(top / INSIDE[written]))
    os.close(fd)


def test_kinds_and_what_is_missing(top: Path) -> None:
    reach = within(top)
    inside = os.fsencode(top / "data/a")
    os.mkfifo(inside + b"/fifo")
    assert reach.look(inside + b"/tree/file")[1:] == (stat.S_IFREG, False)
    assert reach.look(inside + b"/fifo")[1:] == (stat.S_IFIFO, False)
    assert reach.look(inside + b"/new")[1:] == (0, False)
    assert reach.look(inside + b"/new/below/it")[1:] == (0, True)
    for wrong in (b"/tree/file/below", b"/loop", b"/loop/x"):
        with pytest.raises(RootError, match="cannot be looked at"):
            reach.look(inside + wrong)


def test_what_is_missing_is_made(top: Path) -> None:
    reach = within(top)
    inside = os.fsencode(top / "data/a")
    with pytest.raises(FileNotFoundError):
        reach.create(inside + b"/x/y/z", False)
    assert not (top / "data/a/x").exists()
    reach.create(inside + b"/x/y/z", True)
    reach.create(inside + b"/single", False)
    assert stat.S_IMODE((top / "data/a/x/y/z").stat().st_mode) == 0o700
    for there in (b"", b"/x", b"/x/y/z"):
        with pytest.raises(FileExistsError):
            reach.create(inside + there, True)


def test_the_whole_file_system(top: Path) -> None:
    reach = Within([b"/"], EVERYTHING)
    for path in (top, Path("/"), top / "outside"):
        fd = reach.open(reach.look(os.fsencode(path)).path)
        assert os.path.samestat(os.fstat(fd), path.stat())
        os.close(fd)


def test_no_descriptor_is_left_open(top: Path) -> None:
    reach = within(top)
    before = len(os.listdir("/proc/self/fd"))
    for written in (*OUTSIDE, *INSIDE, "{top}/data/a/n/m", "{top}/data/a/tree/file/x"):
        for use in (reach.look, lambda path: os.close(reach.open(path))):
            with suppress(SyncronError, OSError):
                use(os.fsencode(written.format(top=top)))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("wrong", ["relative", "", "~/x", "./x"])
def test_a_directory_that_is_no_absolute_path(wrong: str) -> None:
    with pytest.raises(UsageError, match="no absolute path") as caught:
        Within([wrong.encode()], EVERYTHING)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("wrong", ["missing", "data/a/tree/file", "data/a/loop"])
def test_a_directory_that_is_none(top: Path, wrong: str) -> None:
    with pytest.raises(RootError, match="cannot be opened as a directory") as caught:
        Within([os.fsencode(top / "more"), os.fsencode(top / wrong)], EVERYTHING)
    assert caught.value.exit_code == 3


def test_a_directory_that_is_a_symlink_is_held_to_where_it_leads(top: Path) -> None:
    (top / "alias").symlink_to("data/a")
    reach = Within([os.fsencode(top / "alias")], EVERYTHING)
    (top / "alias").unlink()
    (top / "alias").symlink_to("outside")
    assert reach.look(os.fsencode(top / "data/a/tree")).kind == stat.S_IFDIR
    with pytest.raises(RootError):
        reach.look(os.fsencode(top / "alias"))


# --- races -------------------------------------------------------------------------------------


@contextmanager
def flipping(place: Path, target: Path) -> Iterator[None]:
    """A process that makes ``place`` a directory and a symlink to ``target``, by turns."""
    directory, link = place.with_name("dir.aside"), place.with_name("link.aside")
    link.symlink_to(target)
    pid = os.fork()
    if pid == 0:
        while True:
            with suppress(OSError):
                os.rename(place, directory)
                os.rename(link, place)
                os.rename(place, link)
                os.rename(directory, place)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _open(reach: Within, path: bytes) -> int:
    return reach.open(reach.look(path).path)


def _open_unchecked(reach: Within, path: bytes) -> int:
    """What was looked at a moment ago is another now."""
    return reach.open(path)


def _create(reach: Within, path: bytes) -> int:
    made = path + b"/" + os.urandom(4).hex().encode()
    reach.create(made, False)  # with parents it would make what is flipped
    return reach.open(made)


@pytest.mark.parametrize("use", [_open, _open_unchecked, _create])
@pytest.mark.parametrize("below", [b"", b"/sub"])
def test_a_flipping_directory_never_leads_outside(
    top: Path, use: Callable[[Within, bytes], int], below: bytes
) -> None:
    make(top / "outside/sub", {"secret": b"secret"})
    reach, counts = within(top), Counter[str]()
    inside = os.fsencode(top / "data/a")
    before = sorted(os.listdir(top / "outside")), sorted(os.listdir(top / "outside/sub"))
    with flipping(top / "data/a/tree", top / "outside"):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                fd = use(reach, inside + b"/tree" + below)
            except (SyncronError, OSError):
                counts["refused"] += 1
                continue
            where = os.readlink(f"/proc/self/fd/{fd}")
            os.close(fd)
            assert where.startswith(str(top / "data/a")), where
            counts["opened"] += 1
    after = sorted(os.listdir(top / "outside")), sorted(os.listdir(top / "outside/sub"))
    assert after == before
    assert counts["opened"]
    assert counts["refused"]
    print(f"{use.__name__.strip('_')}: {counts['opened']} opened, {counts['refused']} refused")
