"""Merkle digests of directories.

A directory's digest covers its entries in name order: kind, name, digest, and the attributes
that the run's `Profile` keeps. It says nothing of the directory's own attributes; those stand in
its parent's row (and, for the root, in `root_digest`). So two trees have the same root digest
exactly when a run with that profile has nothing to do between them.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Optional

from syncron_lib.core import digest
from syncron_lib.core.table import TYPE_MASK, Table, pack_column, pack_names
from syncron_lib.record import NamedTuple

_EXECUTABLE = 0o111


class Profile(NamedTuple):
    """Which attributes count. Digests of different profiles never mix.

    ``users`` and ``groups`` map numeric ids of this side to those of the receiver (where a user
    has another number there); ids not in the map stand for themselves.
    """

    permissions: bool
    times: bool
    owner: bool
    group: bool
    users: Mapping[int, int]
    groups: Mapping[int, int]
    hard_links: bool = False
    """Which names are names of one file; of the root's digest only."""
    extended: int = 0
    """Extended attributes, a `core.extended.Kinds`; likewise."""
    omit_dir_times: bool = False
    omit_link_times: bool = False
    """Times of directories, and of symlinks, do not count."""
    executability: bool = False
    """Whether files may be executed counts, where permissions do not."""

    def key(self) -> bytes:
        """Identifies in the state what the digests of directories stand for."""
        flags = bytes((self.permissions, self.times, self.owner, self.group))
        maps = (sorted(self.users.items()), sorted(self.groups.items()))
        omitted = (b"O" if self.omit_dir_times else b"") + (b"J" if self.omit_link_times else b"")
        executable = b"E" if self.executability else b""
        return flags + repr(maps).encode() + omitted + executable

    def counts_time(self, mode: int) -> bool:
        """Whether the time of an entry of this kind counts."""
        kind = mode & TYPE_MASK
        return self.times and not (
            (self.omit_dir_times and kind == stat.S_IFDIR)
            or (self.omit_link_times and kind == stat.S_IFLNK)
        )


class Attributes(NamedTuple):
    """What an entry carries beside its content. ``mode`` is ``st_mode`` with its type."""

    mode: int
    mtime_ns: int
    uid: int
    gid: int


def _mapped(column: Sequence[int], mapping: Mapping[int, int]) -> Sequence[int]:
    return [mapping.get(number, number) for number in column] if mapping else column


def _compared_mode(mode: int, profile: Profile) -> int:
    kind = mode & TYPE_MASK
    if profile.executability and kind == stat.S_IFREG and not profile.permissions:
        return kind | (_EXECUTABLE if mode & _EXECUTABLE else 0)
    # A symlink's permission bits mean nothing and differ between systems.
    return mode if profile.permissions and kind != stat.S_IFLNK else kind


def directory_digest(algorithm: digest.Algorithm, profile: Profile, table: Table) -> bytes:
    """Digest of a directory whose rows are ``table``; all its digests must be known."""
    modes = table.modes
    if table.targets or not profile.permissions:
        modes = [_compared_mode(mode, profile) for mode in modes]
    devices = [
        size
        for mode, size in zip(table.modes, table.sizes)
        if mode & TYPE_MASK in (stat.S_IFCHR, stat.S_IFBLK)
    ]
    # Each part has a length that follows from what precedes it: no two tables share an encoding.
    parts = [
        struct.pack("<I", len(table.names)),
        pack_names(table.names),
        pack_column("I", modes),
        table.digests,
        pack_names(table.targets),
        pack_column("Q", devices),
    ]
    if profile.times:
        mtimes = table.mtimes
        if profile.omit_dir_times or profile.omit_link_times:
            counted = map(profile.counts_time, table.modes)
            mtimes = [mtime if counts else 0 for mtime, counts in zip(mtimes, counted)]
        parts.append(pack_column("q", mtimes))
    if profile.owner:
        parts.append(pack_column("I", _mapped(table.uids, profile.users)))
    if profile.group:
        parts.append(pack_column("I", _mapped(table.gids, profile.groups)))
    return algorithm.of(b"".join(parts))[: digest.SIZE]


def compared(profile: Profile, attributes: Attributes) -> tuple[int, ...]:
    """The part of ``attributes`` that the profile compares, in the receiver's ids."""
    times = profile.times
    if profile.omit_dir_times or profile.omit_link_times:
        times = profile.counts_time(attributes.mode)
    return (
        _compared_mode(attributes.mode, profile),
        attributes.mtime_ns if times else 0,
        profile.users.get(attributes.uid, attributes.uid) if profile.owner else 0,
        profile.groups.get(attributes.gid, attributes.gid) if profile.group else 0,
    )


def root_digest(
    algorithm: digest.Algorithm,
    profile: Profile,
    top: bytes,
    attributes: Optional[Attributes],
    beside: bytes = b"",
) -> bytes:
    """Root of a tree: the top directory's digest and, where they count, its own attributes.

    ``attributes`` is None where the run is over some names of a directory only, whose own
    attributes then do not belong to it. ``beside``: digests of what the profile keeps and no
    directory's digest covers.
    """
    own = b"" if attributes is None else struct.pack("<IqII", *compared(profile, attributes))
    return algorithm.of(top + own + beside)[: digest.SIZE]
