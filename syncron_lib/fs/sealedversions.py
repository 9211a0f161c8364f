"""Which version of each sealed file one of several replicas has: its own, kept with its records.

What a file is sealed to depends on its generation. In runs in one direction that follows from the
other side's manifest. A replica meets many, and its unchanged files must stay what they are
whatever any of these says: so it remembers for itself what each of its files stands for.

What the other side tells of events is nobody's word. What may take the place of a file here, or
take it away, is judged by what is signed: generations, and what came before what.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Optional

from syncron_lib.core.names import join, shown, split
from syncron_lib.core.table import Malformed, Reader, pack_blob
from syncron_lib.core.twoway.naming import unmarked
from syncron_lib.errors import RolledBack
from syncron_lib.fs.stats import StatRow
from syncron_lib.fs.tree import Tree
from syncron_lib.fs.view import Remembering
from syncron_lib.protocol.messages import Judged
from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.manifest import ID_SIZE, NO_ID, Entry, came_before, version_id
from syncron_lib.secure.sealed import Meta, Opener, salt_of

_FIXED = struct.Struct("<32sQIqIqBB")
_OWN, _SHOWN = 1, 2


class Version(NamedTuple):
    """What a file here stands for. ``mode``, ``mtime_ns``: as they are sealed with it; ``shown``:
    as the disk shows them, where that is known: not every file system keeps what it is given.
    ``own``: it was made here, so only what was signed to be made of it may take its place unasked.
    ``before``: as in a manifest. ``place``: the path that it is sealed for."""

    salt: bytes
    generation: int
    mode: int
    mtime_ns: int
    shown: Optional[tuple[int, int]]
    own: bool
    before: tuple[bytes, ...]
    place: bytes

    @property
    def id(self) -> bytes:
        """What stands for it in a manifest."""
        return version_id(*self[:4])

    @property
    def row(self) -> Entry:
        """Its row there."""
        return Entry(self.salt, self.generation, False, self.id, self.before)


class Versions:
    """Those of one replica. ``kept``: as it remembered them. ``rows``: what both sides' manifests
    say."""

    def __init__(
        self,
        kept: bytes,
        rows: Mapping[bytes, Entry],
        ring: Keyring,
        accept_rollback: bool,
    ) -> None:
        """Raises `Malformed`."""
        self._rows, self._ring = rows, ring
        self._accepts = accept_rollback
        self._now = dict(_unpacked(kept)) if kept else {}
        self._came: dict[bytes, Optional[Version]] = {}
        """What this run has brought, with what was there before; what the disk shows for it is not
        known yet."""
        self._made_of: dict[bytes, tuple[bytes, ...]] = {}

    def get(self, path: bytes) -> Optional[Version]:
        """What is remembered of a path."""
        return self._now.get(path)

    # --- files that are here --------------------------------------------------------------------

    def of(self, path: bytes, pd: bytes, scanned: StatRow) -> tuple[Version, Meta]:
        """What a scanned file stands for, with the SHA-256 ``pd``; and what is sealed with it."""
        own = scanned[1] & 0o7777, scanned[3]
        before = self._now.get(path)
        place = path if before is None else before.place
        salt = self._salt(place, pd, scanned[2])
        if before is not None and salt == before.salt:
            shows = before.shown or (before.mode, before.mtime_ns)
            if path in self._came or shows == own:
                return before, Meta(scanned[2], before.mode, before.mtime_ns, before.generation)
        if place != path:
            salt = self._salt(path, pd, scanned[2])
        now = self._now[path] = self._changed(path, salt, own, before)
        return now, Meta(scanned[2], now.mode, now.mtime_ns, now.generation)

    def _salt(self, place: bytes, pd: bytes, size: int) -> bytes:
        return salt_of(self._ring, self._ring.current, place, pd, size)

    def _changed(
        self, path: bytes, salt: bytes, own: tuple[int, int], before: Optional[Version]
    ) -> Version:
        """A file that is not what is remembered of it."""
        row = self._rows.get(path)
        last = 0 if row is None else row.generation
        known = 0 if before is None else before.generation
        if row is not None and row.salt == salt and not row.deleted and last > known:
            # The same as what others with the key have; or what came before a run was cut off.
            return Version(salt, last, *own, own, False, row.before, path)
        earlier = () if before is None else (*before.before, before.id)
        what = salt, max(last, known) + 1, *own
        return Version(*what, own, True, came_before(version_id(*what), earlier), path)

    # --- what is to come, or to go --------------------------------------------------------------

    def judged(self, path: bytes, here: bool, there: int) -> Judged:
        """What is signed of a path. ``here``: there is a file. ``there``: the generation that the
        other side's manifest tells."""
        version, row = self._now.get(path), self._rows.get(path)
        known = 0 if version is None else version.generation
        last = 0 if row is None else row.generation
        after = row is not None and (
            version is None or (last > known and (not version.own or _knows(row, version)))
        )
        deleted = row is not None and row.deleted
        before = {*(row.before if row else ()), *(version.before if version else ())}
        if row is not None and deleted:
            before.add(row.id)
        before.discard(NO_ID)
        return Judged(
            path,
            here,
            version is None or not version.own or after,
            after and deleted,
            known,
            last,
            there,
            deleted,
            b"".join(sorted(before)),
        )

    def resolve(self, path: bytes, of: bytes) -> None:
        """What comes at ``path`` was made by this client of these versions."""
        starts = range(0, len(of), ID_SIZE)
        self._made_of[path] = tuple(of[start : start + ID_SIZE] for start in starts)

    def place_of(self, path: bytes, prefix: bytes) -> bytes:
        """The path that a file is sealed for: its own, or, of a conflict copy that was made without
        the key, the one that it is a copy of."""
        parent, name = split(path)
        plain = path if path in self._now else join(parent, unmarked(name))
        if plain == path or Opener.fits(self._ring, path, prefix):
            return path
        return plain if Opener.fits(self._ring, plain, prefix) else path

    def take(self, path: bytes, place: bytes, salt: bytes, meta: Meta, where: str) -> None:
        """A file was opened that is to be at ``path``. Raises RolledBack for an older version."""
        row, before = self._rows.get(path), self._now.get(path)
        made_of = self._made_of.get(path)
        what = salt, meta.generation, meta.mode, meta.mtime_ns
        own = version_id(*what)
        if not self._accepts and made_of is None:
            self._require_newer(path, own, salt, meta.generation, where)
        earlier: Sequence[bytes] = () if before is None else before.before
        if made_of is not None:
            earlier = *earlier, *(() if row is None else row.before), *made_of
        elif row is not None and row.is_of(own, salt, meta.generation):
            earlier = row.before
        elif before is not None:
            earlier = *earlier, before.id
        self._came.setdefault(path, before)
        earlier = came_before(own, earlier)
        self._now[path] = Version(*what, None, made_of is not None, earlier, place)

    def failed(self, paths: Iterable[bytes]) -> None:
        """What should have come at these paths is not there."""
        for path in paths:
            if path in self._came:
                before = self._came.pop(path)
                if before is None:
                    del self._now[path]
                else:
                    self._now[path] = before

    def _require_newer(
        self, path: bytes, own: bytes, salt: bytes, generation: int, where: str
    ) -> None:
        row, before = self._rows.get(path), self._now.get(path)
        than, known = "the manifest there knows", 0
        old = False
        if row is not None:
            known = row.generation
            old = generation < known or (row.deleted and generation <= known)
            old = old or (generation == known and own in row.before)
        if not old and before is not None:
            than, known = "what was here", before.generation
            old = generation < known or (generation == known and salt != before.salt)
        if old:
            raise RolledBack(
                f"{where} is an older version than {than} (generation {generation}, and there was"
                f" {known}). If a backup was restored there, say --accept-rollback. Nothing of it"
                " was taken."
            )

    # --- the manifest, and what is kept ---------------------------------------------------------

    def entries(
        self,
        announce: bool,
        rows: Mapping[bytes, Entry],
        here: Iterable[bytes],
        left: Container[bytes],
        replica: Remembering,
        nothing: Entry,
    ) -> dict[bytes, Entry]:
        """The rows of a manifest that is made of these. ``announce``: only of what goes, and of
        what is ``here`` and about to be sealed, with ``nothing`` for the row. ``left``: what is as
        it was."""
        entries = dict(rows)
        if announce:
            entries.update((path, nothing) for path in here if path not in entries)
        for path, version in self._now.items():
            row = entries.get(path)
            last = -1 if row is None else row.generation
            if path in left:
                continue
            if not replica.holds(path):
                if row is not None and not row.deleted and last <= version.generation:
                    entries[path] = version.row._replace(
                        generation=version.generation + 1, deleted=True
                    )
            elif announce:
                continue
            elif version.generation > last:
                entries[path] = version.row
            elif row is not None and row.salt == version.salt and not row.deleted:
                if row.is_of(version.id, version.salt, version.generation):
                    row = row._replace(id=version.id)
                entries[path] = row.after(version.before)
        return entries

    def packed(self, tree: Tree, replica: Remembering) -> bytes:
        """To be remembered, after what is in the tree by now."""
        self._look(tree)
        return b"".join(
            _pack(path, version)
            for path, version in sorted(self._now.items())
            if replica.holds(path) or not self._is_buried(path, version)
        )

    def _is_buried(self, path: bytes, version: Version) -> bool:
        row = self._rows.get(path)
        return row is not None and row.deleted and row.generation > version.generation

    def _look(self, tree: Tree) -> None:
        """See what the disk shows of what has come."""
        by_directory: dict[bytes, set[bytes]] = {}
        for path in self._came:
            parent, name = split(path)
            by_directory.setdefault(parent, set()).add(name)
        for parent, names in by_directory.items():
            node = tree.nodes.get(parent)
            if node is None or not node.stats:
                continue
            columns = node.columns()
            for name, mode, mtime in zip(columns.names, columns.modes, columns.mtimes):
                if name in names:
                    path = join(parent, name)
                    shows = mode & 0o7777, mtime
                    self._now[path] = self._now[path]._replace(shown=shows)
        self._came.clear()


def _knows(entry: Entry, version: Version) -> bool:
    """Whether who wrote a row knew of a version; or has, by another one, the same content."""
    if version.id in (entry.id, *entry.before):
        return True
    return entry.salt == version.salt and not (entry.deleted and entry.id != NO_ID)


def _pack(path: bytes, version: Version) -> bytes:
    shows = version.shown
    flags = version.own * _OWN | (shows is not None) * _SHOWN
    fixed = version[:4]
    return b"".join(
        (
            pack_blob(path),
            pack_blob(version.place if version.place != path else b""),
            _FIXED.pack(*fixed, *(shows or (0, 0)), flags, len(version.before)),
            *version.before,
        )
    )


def _unpacked(kept: bytes) -> Iterator[tuple[bytes, Version]]:
    reader = Reader(kept)
    while reader.position < reader.end:
        path, place = reader.blob(), reader.blob()
        values = _FIXED.unpack(reader.take(_FIXED.size))
        salt, generation, own_mode, own_mtime, mode, mtime, flags, count = values
        before = tuple(bytes(reader.take(ID_SIZE)) for _ in range(count))
        if flags > _OWN | _SHOWN:
            raise Malformed(f"no version of {shown(path)}")
        shows = (mode, mtime) if flags & _SHOWN else None
        own = bool(flags & _OWN)
        what = salt, generation, own_mode, own_mtime
        yield path, Version(*what, shows, own, before, place or path)
