"""The list of what a run is over: a file beside the source, perhaps; and what is not there."""

from __future__ import annotations

import errno
import os

from syncron_lib.core.names import PRIVATE, shown, split
from syncron_lib.core.options import NOT_THERE, FileList
from syncron_lib.core.rules.chosen import listed_paths
from syncron_lib.errors import RootError, UsageError
from syncron_lib.fs.directories import Directories
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.fs.reach import Reach

_NO_WAY = "lies behind what is no directory; a symlink on the way is not followed"
MAX_SIZE = 8 << 20
"""Bytes of a list: some 200,000 paths."""


def read(given: FileList, reach: Reach) -> FileList:
    """The list with its paths, checked. Raises RootError and UsageError."""
    content, nul = given.paths, True
    if given.file:
        place = reach.look(given.file)
        nul = given.nul
        try:
            content = _content(place.path, reach)
        except OSError as error:
            raise RootError(
                f"The list of files {shown(given.file)} cannot be read ({error.strerror})."
                " Nothing was changed."
            ) from None
    if len(content) > MAX_SIZE:
        raise too_long()
    return given._replace(paths=b"\0".join(listed_paths(content, nul)), file=b"")


def _content(path: bytes, reach: Reach) -> bytes:
    """What is in a file whose real path this is. Raises OSError."""
    directory, name = os.path.split(path)
    above = reach.open(directory)
    try:
        fd = os.open(name, OPEN_FILE, dir_fd=above)
    finally:
        os.close(above)
    with open(fd, "rb") as file:
        return file.read(MAX_SIZE + 1)


def too_long() -> UsageError:
    """The refusal of a list that no frame holds."""
    return UsageError(
        f"The list of files is longer than {MAX_SIZE >> 20} MiB; divide it, or use filters."
    )


def divided(paths: bytes, directories: Directories) -> tuple[bytes, list[tuple[bytes, str]]]:
    """The paths of a list that are there, and what is to be said of those that are not. No symlink
    is followed on the way."""
    there: list[bytes] = []
    missing: list[tuple[bytes, str]] = []
    for path in paths.split(b"\0") if paths else ():
        bare = path.rstrip(b"/")
        parent, name = split(bare)
        try:
            if path != b"." and PRIVATE not in bare.split(b"/"):
                os.stat(name, dir_fd=directories.open(parent), follow_symlinks=False)
            there.append(path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                missing.append((bare, NOT_THERE))
            elif error.errno in (errno.ENOTDIR, errno.ELOOP):
                missing.append((bare, _NO_WAY))
            else:
                there.append(path)
    return b"\0".join(there), missing
