"""A client written from docs/protocol.md alone, with nothing of syncron's, speaks with a helper."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
HELLO, OPEN, OPENED, SCAN, SCANNED, SEAL, SEALED = 0x01, 0x10, 0x11, 0x12, 0x13, 0x1A, 0x1B
HEARTBEAT, PROGRESS, FAILED, STORE, CLOSE, DONE = 0x02, 0x03, 0x05, 0x41, 0x52, 0x04


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def blob(data: bytes) -> bytes:
    return u32(len(data)) + data


def short_digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


class Client:
    """Frames to a helper and from it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._requests = 0

    def send(self, kind: int, payload: bytes = b"") -> int:
        number = 0 if kind == HELLO else self._requests + 1
        self._requests = number
        self._in.write(struct.pack(">IBI", len(payload), kind, number) + payload)
        self._in.flush()
        return number

    def receive(self) -> tuple[int, int, bytes]:
        while True:
            length, kind, number = struct.unpack(">IBI", self._out.read(9))
            payload = self._out.read(length)
            if kind not in (HEARTBEAT, PROGRESS):
                return kind, number, payload

    def greet(self) -> None:
        fields = u32(1) + u32(1) + blob(b"another 1") + blob(b"") + blob(b"here") + u32(0)
        able = u32(1) + blob(b"sha256-128") + u32(0) + u32(0)
        self.send(HELLO, fields + able + u32(20_000) + struct.pack("<Q", 0))
        kind, number, payload = self.receive()
        assert (kind, number) == (HELLO, 0)
        oldest, newest = struct.unpack_from("<II", payload)
        assert oldest <= 1 <= newest
        assert blob(b"sha256-128") in payload

    def open_source(self, path: Path) -> None:
        nothing = b"\0"
        self.send(
            OPEN,
            blob(os.fsencode(path))
            + b"\0"  # a source
            + nothing * 2
            + u32(1)
            + blob(b"- *.tmp")
            + b"\0\0\1\0\0"
            + u32(0)
            + blob(b"a test")
            + nothing * 3,  # all of it, as it is
        )


@pytest.fixture
def helper(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, str(TOP / "syncron.py"), "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield process
        process.kill()


def directory(path: Path) -> bytes:
    """The digest of a directory of files, symlinks and directories; modes and times count."""
    names = sorted(os.fsencode(name) for name in os.listdir(path) if not name.endswith(".tmp"))
    stats = [os.lstat(path / os.fsdecode(name)) for name in names]
    modes, digests, targets = [], [], []
    for name, st in zip(names, stats, strict=True):
        entry = path / os.fsdecode(name)
        modes.append(0o120000 if entry.is_symlink() else st.st_mode)
        if entry.is_symlink():
            digests.append(bytes(16))
            targets.append(os.fsencode(os.readlink(entry)))
        else:
            of = directory(entry) if entry.is_dir() else short_digest(entry.read_bytes())
            digests.append(of)
    return short_digest(
        u32(len(names))
        + blob(b"\0".join(names))
        + b"".join(map(u32, modes))
        + b"".join(digests)
        + blob(b"\0".join(targets))
        + b"".join(struct.pack("<q", st.st_mtime_ns) for st in stats)
    )


def test_a_root_computed_by_the_document_is_the_helper_s(
    helper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "below" / "empty").mkdir(parents=True)
    (tree / "below" / "file\n").write_bytes(b"content")
    (tree / "below" / "link").symlink_to("../nowhere")
    (tree / "none").touch(0o600)
    (tree / "left out.tmp").touch()
    client = Client(helper)
    client.greet()
    client.open_source(tree)
    client.send(SCAN, b"\0\0\0\0")
    profile = b"\1\1\0\0"
    client.send(SEAL, blob(b"sha256-128") + profile + u32(0) + u32(0) + b"\1\0\0\0\0\0\0")
    client.send(CLOSE)
    kind, number, payload = client.receive()
    assert (kind, number) == (OPENED, 1)
    opened = blob(os.fsencode(tree)) + b"\1\0\0"
    assert payload[: len(opened)] == opened
    # Who the directory is, that nobody holds it, that nothing was left in it, who is above it; and
    # that all may be done to it.
    assert len(payload) == len(opened) + 16 + 4 + 1 + 4 + 16 * len(tree.parents) + 1
    assert payload.endswith(b"\7")
    kind, number, payload = client.receive()
    assert (kind, number) == (SCANNED, 2)
    assert struct.unpack_from("<QQQ16s", payload) == (5, 7, 0, bytes(16))
    kind, number, payload = client.receive()
    assert (kind, number) == (SEALED, 3)
    st = os.lstat(tree)
    own = struct.pack("<IqII", st.st_mode, st.st_mtime_ns, 0, 0)
    assert payload == short_digest(directory(tree) + own) + struct.pack("<QIII", 7, 0, 0, 0)
    assert client.receive() == (DONE, 4, b"")
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(10) == 0


def test_what_is_out_of_order_ends_the_conversation_with_7(
    helper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    client = Client(helper)
    client.greet()
    client.open_source(tmp_path)
    client.send(STORE, bytes(22))
    assert client.receive()[0] == OPENED
    kind, number, payload = client.receive()
    assert (kind, number) == (FAILED, 2)
    assert payload[:4] == u32(7)
    assert helper.wait(10) == 7
