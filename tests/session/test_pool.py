"""Helpers that are begun early."""

from __future__ import annotations

import time
from pathlib import Path

from syncron_lib.core.location import Remote
from syncron_lib.session.pool import Pool
from syncron_lib.transport.settings import ConnectOptions


def test_local_helpers_are_not_held_up_by_a_connection_that_takes_time(tmp_path: Path) -> None:
    """As it does where a person is asked for a password."""
    config = tmp_path / "config"
    config.write_text("Host slow\n    ProxyCommand sleep 6\n")
    pool = Pool(ConnectOptions(ssh_config=str(config), home=str(tmp_path)), 60)
    began = time.monotonic()
    pool.start([Remote("slow", None, None, b"dir")])
    try:
        pool.wait_until_asked()
        assert time.monotonic() - began < 5
    finally:
        pool.close()
