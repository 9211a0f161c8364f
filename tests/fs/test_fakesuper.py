"""What stands for `os` where what only root may do is noted: what the runs in tests/e2e do not
meet."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from syncron_lib.fs.fakesuper import FakeSuper


@pytest.mark.parametrize("length", [0, 4096, 100_000])
def test_a_target_that_could_not_be_read_back_is_none(tmp_path: Path, length: int) -> None:
    disk = FakeSuper(True)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        disk.symlink(b"x" * 4095, b"longest", dir_fd=fd)
        assert disk.readlink(b"longest", dir_fd=fd) == b"x" * 4095
        with pytest.raises(OSError, match="too long") as raised:
            disk.symlink(b"x" * length, b"link", dir_fd=fd)
        assert raised.value.errno == errno.ENAMETOOLONG
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["longest"]
