"""Setting attributes of what is there: on the scanned entry, never on another."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs.attributes import Applied, change
from syncron_lib.protocol import messages
from tests.endpoint.driving import ask, local, start_writing
from tests.fs.roots import file_digests, remember, scanned, settle
from tests.trees import Link, make

MTIME = 1_234_567_890_123_456_789
UID, GID = os.geteuid(), os.getegid()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path / "root", {"f": b"content", "d": {"g": b"1"}, "l": Link(b"f")})
    return tmp_path / "root"


@pytest.fixture
def endpoint() -> Iterator[LocalEndpoint]:
    found = local()
    yield found
    found.close()


def _adjust(
    endpoint: LocalEndpoint, path: bytes, kind: int = stat.S_IFREG, mode: int = 0o600
) -> messages.Stored:
    item = messages.SetAttributes(path, kind | mode, MTIME, UID, GID)
    stored: messages.Stored = ask(endpoint, messages.Adjust([item]))
    return stored


def test_a_file_gets_its_attributes_and_keeps_its_digest(endpoint, root):
    remember(root)
    start_writing(endpoint, root)
    known = file_digests(endpoint.root.tree)
    assert known[b"f"] != digest.UNKNOWN
    assert _adjust(endpoint, b"f").problems == []
    ask(endpoint, messages.Finish((), True))
    st = os.stat(root / "f")
    assert (stat.S_IMODE(st.st_mode), st.st_mtime_ns) == (0o600, MTIME)
    assert file_digests(endpoint.root.tree) == known


def test_a_symlink_gets_its_time_and_not_its_target(endpoint, root):
    before = os.stat(root / "f")
    start_writing(endpoint, root)
    assert _adjust(endpoint, b"l", stat.S_IFLNK).problems == []
    assert os.lstat(root / "l").st_mtime_ns == MTIME
    assert os.stat(root / "f") == before


def test_a_directory_gets_its_attributes_at_the_very_end(endpoint, root):
    start_writing(endpoint, root)
    assert _adjust(endpoint, b"d", stat.S_IFDIR, 0o500).problems == []
    assert _adjust(endpoint, b"", stat.S_IFDIR, 0o700).problems == []
    assert os.stat(root / "d").st_mtime_ns != MTIME
    ask(endpoint, messages.Delete([b"d/g"]))
    ask(endpoint, messages.Finish((), True))
    for path, mode in ((root / "d", 0o500), (root, 0o700)):
        st = os.stat(path)
        assert (stat.S_IMODE(st.st_mode), st.st_mtime_ns) == (mode, MTIME)


@pytest.mark.parametrize("path", [b"never", b"d/never", b"never/f"])
def test_what_was_not_scanned_is_a_problem(endpoint, root, path):
    start_writing(endpoint, root)
    assert [problem.path for problem in _adjust(endpoint, path).problems] == [path]


def test_another_kind_is_a_problem(endpoint, root):
    start_writing(endpoint, root)
    os.unlink(root / "f")
    os.mkfifo(root / "f", 0o644)
    assert _adjust(endpoint, b"f").problems
    assert stat.S_IMODE(os.stat(root / "f").st_mode) == 0o644


def test_an_edit_since_the_scan_is_not_given_the_old_digest(endpoint, root):
    """A same-size edit between scan and adjusting: its digest is not the one that was known."""
    remember(root)
    settle()
    start_writing(endpoint, root)
    old = file_digests(endpoint.root.tree)[b"f"]
    (root / "f").write_bytes(b"CONTENT")
    before = os.stat(root / "f")
    assert [problem.path for problem in _adjust(endpoint, b"f").problems] == [b"f"]
    ask(endpoint, messages.Finish((), True))
    ask(endpoint, messages.Close())
    assert os.stat(root / "f") == before
    with scanned(root) as again:
        assert file_digests(again.tree)[b"f"] != old


def _edited_while_it_is_adjusted(path, mtime_ns):
    """Adjust a file that somebody edits just after the last look, with the size it had."""
    before = os.stat(path)
    keep = Applied(True, True, False, False, {}, {}, 0)
    wanted = Attributes(before.st_mode & ~0o777 | 0o640, mtime_ns, before.st_uid, before.st_gid)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        name = os.fsencode(path.name)
        change(directory, name, wanted, keep, 0, lambda _: _edit(path, b"CONTENT"))
    finally:
        os.close(directory)
    return before


def _edit(path, content):
    path.write_bytes(content)


def test_an_edit_before_the_mode_is_set_keeps_its_time(root):
    settle()
    before = _edited_while_it_is_adjusted(root / "f", os.stat(root / "f").st_mtime_ns)
    after = os.stat(root / "f")
    assert after.st_mtime_ns != before.st_mtime_ns, "nobody would see the edit"


def test_an_edit_before_the_time_is_set_keeps_its_own(root):
    settle()
    with pytest.raises(FileExistsError):
        _edited_while_it_is_adjusted(root / "f", MTIME - 5)
    assert os.stat(root / "f").st_mtime_ns > MTIME
