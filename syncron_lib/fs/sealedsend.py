"""Sealed files on their way out, as the view of who has the key gives them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.chunks import Step, StepKind
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join
from syncron_lib.core.sealing import PREFIX
from syncron_lib.fs.hashing import BLOCK, OPEN_FILE, Changed, read_small
from syncron_lib.fs.stats import StatRow, is_same_file
from syncron_lib.protocol.pack import Delta

if TYPE_CHECKING:
    from syncron_lib.fs.view import View

_MADE = 64 << 20
"""Bytes of the file that one pack makes."""


def fill(
    view: Optional[View], path: bytes, scanned: StatRow, directory: int, target: memoryview
) -> None:
    """Seal a small file, which must be as scanned, into ``target``. Raises Changed and OSError."""
    assert view is not None
    fd = os.open(scanned[0], OPEN_FILE, dir_fd=directory)
    try:
        data = read_small(fd, scanned)
    finally:
        os.close(fd)
    target[:] = view.seal(path, data, scanned, True)


def deltas(
    view: Optional[View],
    directory: bytes,
    fd: int,
    scanned: StatRow,
    algorithm: digest.Algorithm,
) -> Iterator[Delta]:
    """A large file of which the other side has the chunks: only its beginning goes over. Raises
    Changed and OSError."""
    assert view is not None
    name, mode, _, mtime, _, _, uid, gid = scanned
    path = join(directory, name)
    reader = view.reader(path, fd, scanned, True)
    space = memoryview(bytearray(BLOCK))
    prefix = b""
    hasher = algorithm.new()
    while count := reader.read(space):
        prefix = prefix or bytes(space[:PREFIX])
        hasher.update(space[:count])
    if not (reader.is_true() and is_same_file(scanned, os.fstat(fd))):
        raise Changed("changed while it was read")
    value = hasher.digest()[: digest.SIZE]
    own = Attributes(mode, mtime, uid, gid)
    at = 0
    while at < reader.size:
        end = min(at + _MADE, reader.size)
        steps = []
        if at == 0:
            steps.append(Step(StepKind.LITERAL, 0, PREFIX))
        start = max(at, PREFIX)
        if end > start:
            steps.append(Step(StepKind.COPY, start, end - start))
        last = end == reader.size
        known, body = (value if last else digest.UNKNOWN), (b"" if at else prefix)
        yield Delta(path, own, reader.size, at, last, False, known, end - at, steps, body)
        at = end
