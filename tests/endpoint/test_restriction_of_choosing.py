"""Restricted helpers read neither lists nor rules from outside of what they serve."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncron_lib.core.names import join
from syncron_lib.core.role import Role
from syncron_lib.core.view import OUT_OF_REACH, Follow, View
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import RootError
from syncron_lib.helper.arguments import reach_of
from syncron_lib.protocol import messages
from tests.endpoint.driving import SEAL, ask, opening
from tests.trees import Link, make


@pytest.fixture
def restricted(tmp_path: Path) -> LocalEndpoint:
    """An endpoint that serves ``data``."""
    make(tmp_path, {"data": {"src": {"a": b"1", "b": b"2"}, "list": b"a\n"}, "secret": b"b\n"})
    reach = reach_of(["--restrict", str(tmp_path / "data"), "--read-only"])
    assert reach is not None
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    return LocalEndpoint(environment, 0o022, reach=reach)


def _listed(end: LocalEndpoint, root: Path, file: Path) -> int:
    request = opening(root, Role.SOURCE)._replace(
        chosen=messages.Chosen(b"", False, bytes(file), False)
    )
    ask(end, request)
    return int(ask(end, messages.Scan()).entries)


def test_a_list_is_read_inside_only(restricted: LocalEndpoint, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert _listed(restricted, data / "src", data / "list") == 1
    restricted.close()
    (data / "out").symlink_to("../secret")
    for file in (tmp_path / "secret", data / "out"):
        with pytest.raises(RootError, match="out of reach"):
            _listed(restricted, data / "src", file)


def test_rules_above_are_read_inside_only(restricted: LocalEndpoint, tmp_path: Path) -> None:
    (tmp_path / ".rsync-filter").write_text("- a\n")
    data = tmp_path / "data"
    request = opening(data / "src", Role.SOURCE)._replace(patterns=[b": /.rsync-filter"])
    ask(restricted, request)
    assert ask(restricted, messages.Scan()).entries == 2
    restricted.close()
    (data / ".rsync-filter").write_text("- a\n")
    ask(restricted, request)
    assert ask(restricted, messages.Scan()).entries == 1


@pytest.mark.parametrize("follow", [Follow.ALL, Follow.DIRECTORIES, Follow.UNSAFE])
def test_symlinks_are_followed_inside_only(
    restricted: LocalEndpoint, tmp_path: Path, follow: Follow
) -> None:
    source = tmp_path / "data/src"
    make(tmp_path / "outside", {"f": b"not yours"})
    make(tmp_path / "data/inside", {"f": b"yours"})
    make(source, {"in": Link(b"../inside"), "out": Link(b"../../outside"), "d": {}})
    make(
        source, {"absolute": Link(bytes(tmp_path / "outside")), "d/up": Link(b"../../../outside/f")}
    )
    (tmp_path / "data/way").symlink_to("../outside")
    (source / "long").symlink_to("../way")
    ask(restricted, opening(source, Role.SOURCE)._replace(view=View(follow=follow)))
    ask(restricted, messages.Scan())
    ask(restricted, SEAL)
    told = dict(_modes(restricted, b""))
    for name in (b"out", b"absolute", b"long", b"d/up"):
        assert told[name] == OUT_OF_REACH
    assert told[b"in"] == "directory"
    assert told[b"in/f"] == "file"


def _modes(end: LocalEndpoint, path: bytes) -> Iterator[tuple[bytes, object]]:
    """What is told of all entries: of what kind they are, or why they cannot be read."""
    (directory,) = ask(end, messages.List([path], None)).directories
    for name, mode, size in zip(*directory.table[:3], strict=True):
        kinds = {0: size, stat.S_IFDIR: "directory", stat.S_IFREG: "file"}
        yield join(path, name), kinds.get(stat.S_IFMT(mode), "other")
        if stat.S_ISDIR(mode):
            yield from _modes(end, join(path, name))


def test_what_becomes_a_symlink_is_not_followed_out(
    restricted: LocalEndpoint, tmp_path: Path
) -> None:
    source = tmp_path / "data/src"
    ask(restricted, opening(source, Role.SOURCE)._replace(view=View(follow=Follow.ALL)))
    ask(restricted, messages.Scan())
    ask(restricted, SEAL)
    (source / "b").unlink()
    (source / "b").symlink_to("../../secret")
    hashed = ask(restricted, messages.Hash([b"a", b"b"]))
    assert [problem.path for problem in hashed.problems] == [b"b"]
