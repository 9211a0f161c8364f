"""Restricted helpers read neither lists nor rules from outside of what they serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import RootError
from syncron_lib.helper.arguments import reach_of
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Role
from tests.endpoint.driving import ask, opening
from tests.trees import make


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
