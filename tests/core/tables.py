"""Strategies for `core.table.Table`, and tables as plain rows."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile
from syncron_lib.core.table import Table
from tests.trees import valid_names

KINDS = (
    stat.S_IFREG,
    stat.S_IFDIR,
    stat.S_IFLNK,
    stat.S_IFIFO,
    stat.S_IFSOCK,
    stat.S_IFCHR,
    stat.S_IFBLK,
)
DEVICES = (stat.S_IFCHR, stat.S_IFBLK)


class Row(NamedTuple):
    """One entry of a table, its target (a symlink's) with it."""

    name: bytes
    mode: int
    size: int = 0
    mtime_ns: int = 0
    uid: int = 0
    gid: int = 0
    digest: bytes = digest.UNKNOWN
    target: bytes = b""


def table(*rows: Row) -> Table:
    """The rows, sorted, as columns."""
    ordered = sorted(rows)
    return Table(
        [row.name for row in ordered],
        [row.mode for row in ordered],
        [row.size for row in ordered],
        [row.mtime_ns for row in ordered],
        [row.uid for row in ordered],
        [row.gid for row in ordered],
        b"".join(row.digest for row in ordered),
        [row.target for row in ordered if stat.S_ISLNK(row.mode)],
    )


def rows_of(source: Table) -> list[Row]:
    """The inverse of `table`."""
    targets = iter(source.targets)
    return [
        Row(
            name,
            source.modes[row],
            source.sizes[row],
            source.mtimes[row],
            source.uids[row],
            source.gids[row],
            source.digests[row * digest.SIZE : (row + 1) * digest.SIZE],
            next(targets) if stat.S_ISLNK(source.modes[row]) else b"",
        )
        for row, name in enumerate(source.names)
    ]


def normal(source: Table) -> tuple[object, ...]:
    """For comparing: columns may be lists or tuples."""
    return tuple(column if isinstance(column, bytes) else tuple(column) for column in source)


DIGESTS = st.binary(min_size=digest.SIZE, max_size=digest.SIZE).filter(
    lambda value: value != digest.UNKNOWN
)


@st.composite
def _rows(draw: st.DrawFn, name: bytes, kinds: Sequence[int]) -> Row:
    kind = draw(st.sampled_from(kinds))
    small = st.integers(0, 3)
    size = 0
    if kind == stat.S_IFREG or kind in DEVICES:
        size = draw(st.one_of(small, st.integers(0, (1 << 63) - 1)))
    known = kind in (stat.S_IFREG, stat.S_IFDIR)
    return Row(
        name,
        kind | draw(st.integers(0, 0o7777)),
        size,
        draw(st.one_of(small, st.integers(-(1 << 63), (1 << 63) - 1))),
        draw(st.one_of(small, st.integers(0, (1 << 32) - 1))),
        draw(st.one_of(small, st.integers(0, (1 << 32) - 1))),
        draw(DIGESTS) if known else digest.UNKNOWN,
        draw(st.binary(min_size=1, max_size=20).filter(lambda target: 0 not in target))
        if kind == stat.S_IFLNK
        else b"",
    )


@st.composite
def tables(draw: st.DrawFn, max_rows: int = 6, kinds: Sequence[int] = KINDS) -> Table:
    """Tables as a sealed scan makes them: every digest known, no problems."""
    names = draw(st.lists(valid_names(), unique=True, max_size=max_rows))
    return table(*[draw(_rows(name, kinds)) for name in names])


def profiles() -> st.SearchStrategy[Profile]:
    """Profiles that map no ids, of what the digests of directories cover."""
    flags, off, ids = st.booleans(), st.just(False), st.builds(dict[int, int])
    beside = off, st.just(0)
    return st.builds(Profile, flags, flags, flags, flags, ids, ids, *beside, off, off)


ALL = Profile(True, True, True, True, {}, {})
"""Everything counts."""
NONE = Profile(False, False, False, False, {}, {})
"""Kinds, names and content only."""
