"""Extended attributes set by whoever may, also on what its owner may not write to."""

from __future__ import annotations

import os
import stat

import pytest

from syncron_lib.core.extended import Kinds
from syncron_lib.fs.extended import give, held
from tests.fs.roots import as_user, public_directory


def test_an_owner_gives_them_to_a_file_that_is_read_only() -> None:
    with public_directory() as top:

        def given() -> tuple[dict[str, bytes], int]:
            path = top / "file"
            path.write_bytes(b"content")
            path.chmod(0o444)
            directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
            for wanted in ({b"user.x": b"1", b"user.gone": b"2"}, {b"user.x": b"3"}):
                with held(directory, b"file") as where:
                    give(where, wanted, Kinds.USER.keeps, os)
            found = {name: os.getxattr(path, name) for name in os.listxattr(path)}
            return found, stat.S_IMODE(path.stat().st_mode)

        assert as_user(given) == ({"user.x": b"3"}, 0o444)


def test_what_is_not_kept_stays() -> None:
    with public_directory() as top:
        (top / "file").write_bytes(b"")
        os.setxattr(top / "file", "user.x", b"1")
        fd = os.open(top / "file", os.O_RDONLY)
        give(fd, {}, Kinds.ACLS.keeps, os)
        assert os.listxattr(fd) == ["user.x"]
        give(fd, {}, Kinds.USER.keeps, os)
        assert os.listxattr(fd) == []
        os.close(fd)


def test_a_symlink_is_held_and_not_followed() -> None:
    with public_directory() as top:
        (top / "file").write_bytes(b"")
        (top / "link").symlink_to("file")
        directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        with held(directory, b"link") as where:
            assert stat.S_ISLNK(os.stat(where).st_mode)
            with pytest.raises(OSError, match="not permitted"):
                give(where, {b"user.x": b"1"}, Kinds.USER.keeps, os)
        os.close(directory)
        assert os.listxattr(top / "file") == []
