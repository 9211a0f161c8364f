"""Reading one directory: names and stats of all its entries. The hottest loop there is."""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys

from syncron_lib.core.table import TYPE_MASK
from syncron_lib.fs import stats
from syncron_lib.fs.stats import FIELDS, PackedRow
from syncron_lib.record import NamedTuple

_ENCODING = sys.getfilesystemencoding()
_ENCODING_ERRORS = sys.getfilesystemencodeerrors()
_REGULAR = stat.S_IFREG
_pack = FIELDS.pack


class Listing(NamedTuple):
    """One directory. ``rows`` are sorted by name.

    ``directories``: device of each subdirectory by name. ``size``: bytes of all files.
    ``owners``: (uid, gid) pairs met.
    """

    rows: list[PackedRow]
    directories: dict[bytes, int]
    size: int
    owners: set[tuple[int, int]]


def read(fd: int) -> Listing:
    """List the directory open at ``fd``. An entry that vanishes meanwhile is left out; one that
    cannot be looked at becomes a problem row."""
    rows: list[PackedRow] = []
    append = rows.append
    directories: dict[bytes, int] = {}
    owners: set[tuple[int, int]] = set()
    uid = gid = -1
    total = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name.encode(_ENCODING, _ENCODING_ERRORS)
            try:
                st = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                row = stats.problem_row(name, error.errno or errno.EIO)
                append((name, stats.pack_fields(row)))
                continue
            if st.st_uid != uid or st.st_gid != gid:
                uid, gid = st.st_uid, st.st_gid
                owners.add((uid, gid))
            mode = st.st_mode
            if mode & TYPE_MASK == _REGULAR:
                size = st.st_size
                total += size
                try:
                    fields = _pack(mode, size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, uid, gid)
                except struct.error:  # a time out of range, which `stats.row` cuts
                    fields = stats.pack_fields(stats.row(name, st))
                append((name, fields))
                continue
            if mode & TYPE_MASK == stat.S_IFDIR:
                directories[name] = st.st_dev
            append((name, stats.pack_fields(stats.row(name, st))))
    rows.sort()
    return Listing(rows, directories, total, owners)
