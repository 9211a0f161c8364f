"""One SSH server for the tests that need nothing special of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.transport.settings import ConnectOptions
from tests.sshd import Sshd, running_sshd

Options = Callable[..., ConnectOptions]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    directory = tmp_path_factory.mktemp("sshd")
    with running_sshd(directory) as server:
        yield server


@pytest.fixture
def notices() -> list[str]:
    """What the user was told."""
    return []


@pytest.fixture
def options(home: Path, notices: list[str]) -> Options:
    """Makes the options of a connection; by default nobody is there to be asked."""

    def make(config: Path, **changes: Any) -> ConnectOptions:
        settings: dict[str, Any] = {
            "ssh_config": str(config),
            "home": str(home),
            "timeout": 15.0,
            "notice": notices.append,
            "environment": {},
        }
        return ConnectOptions(**{**settings, **changes})

    return make
