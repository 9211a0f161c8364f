"""A walk that two processes share: from when on, and what happens where one comes to nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.role import Role
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs.second import processors
from syncron_lib.fs.tree import Tree
from syncron_lib.protocol import messages
from tests.endpoint.driving import opening
from tests.fs.roots import killed_children, opened, remember, scanned

_DIRECTORIES, _FILES = 400, 25


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that is wide enough to be shared."""
    top = tmp_path_factory.mktemp("wide")
    for number in range(_DIRECTORIES):
        directory = top / f"{number:03}" / "below"
        directory.mkdir(parents=True)
        for name in range(_FILES):
            (directory / f"{name}").touch()
        (directory / ".syncronignore").write_text("3\n")
    return top


def _rows(tree: Tree) -> list[tuple[Any, ...]]:
    return [
        (node.path, node.stats, bytes(node.digests), node.excluded, node.entries, node.size)
        for node in tree.nodes.values()
    ]


def _alone(path: Path) -> list[tuple[Any, ...]]:
    with opened(path) as root:
        root.may_share = lambda: False
        root.scan(None, lambda _entries, _size: None)
        return _rows(root.tree)


@pytest.mark.parametrize("known", [False, True])
def test_two_find_what_one_finds(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if known:
        remember(wide)
    alone = _alone(wide)
    assert len(alone) == 1 + 2 * _DIRECTORIES
    with opened(wide) as root:
        root.scan(None, lambda _entries, _size: None)
        assert _rows(root.tree) == alone
        assert len(root.ignore_files) == _DIRECTORIES


def test_another_may_join_late(wide: Path) -> None:
    answers = iter([False] * 5 + [True])  # and is not asked any more
    with opened(wide) as root:
        root.may_share = lambda: next(answers)
        root.scan(None, lambda _entries, _size: None)
        assert _rows(root.tree) == _alone(wide)
    assert next(answers, None) is None


@pytest.mark.parametrize("alone", [False, True])
def test_while_a_client_connects_its_next_request_is_awaited(wide: Path, alone: bool) -> None:
    asked = []

    def is_waited_for() -> bool:
        asked.append(True)
        return len(asked) > 3

    endpoint = LocalEndpoint(os.environ, 0o022, is_waited_for=is_waited_for)
    endpoint.handle(opening(wide, Role.SOURCE))
    reply: Any = endpoint.handle(messages.Scan(alone))
    endpoint.close()
    assert reply.entries == _DIRECTORIES * (_FILES + 2)
    assert len(asked) == (4 if alone else 0)


def test_one_that_is_killed_costs_no_entry(wide: Path) -> None:
    assert processors() > 1
    alone = _alone(wide)
    begun = time.monotonic()
    with killed_children() as killed:
        while not killed and time.monotonic() - begun < 60:
            with scanned(wide) as root:
                assert _rows(root.tree) == alone
    assert killed
