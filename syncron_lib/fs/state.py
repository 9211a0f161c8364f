"""What is remembered of a root between runs: one SQLite file a root, one row a directory.

State is a cache: lost or damaged it costs time, never a file. A damaged file is set aside and
begun anew; one written by a newer version, or that may not be written to, is left alone and ends
the run. Where there is no room for one, the run goes on with what it keeps in memory, and tells in
the end that it was not saved.

A row's key is the directory's path with NUL for the slash: sorted by it, rows come in the order
of a depth-first walk, so that a scan reads them as one stream beside its own walk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

from syncron_lib.core import digest
from syncron_lib.core.names import shown
from syncron_lib.errors import StateUnusable
from syncron_lib.fs.stateplace import state_place
from syncron_lib.record import NamedTuple

VERSION = 3
"""``user_version`` of the files that this code writes. Version 2 had no ``mark``, and version 1 no
``below`` either."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE directory (
    key BLOB PRIMARY KEY, stats BLOB NOT NULL, digests BLOB NOT NULL, targets BLOB NOT NULL,
    excluded BLOB NOT NULL, scope BLOB NOT NULL, merkle BLOB NOT NULL, checksum INTEGER NOT NULL,
    below BLOB NOT NULL DEFAULT x'', mark BLOB NOT NULL DEFAULT x''
) WITHOUT ROWID;
CREATE INDEX marks ON directory (key, mark);
"""
_FROM_1 = "ALTER TABLE directory ADD COLUMN below BLOB NOT NULL DEFAULT x''"
_FROM_2 = "ALTER TABLE directory ADD COLUMN mark BLOB NOT NULL DEFAULT x''"
_INDEX = "CREATE INDEX marks ON directory (key, mark)"


_CHUNKS = """
CREATE TABLE IF NOT EXISTS chunks (
    key BLOB PRIMARY KEY, content BLOB NOT NULL, chunker TEXT NOT NULL, average INTEGER NOT NULL,
    sizes BLOB NOT NULL, marks BLOB NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID
"""
"""Made when it is first needed: most roots never need it."""

_ALL = (
    "SELECT key, stats, digests, targets, excluded, scope, merkle, below, checksum"
    " FROM directory ORDER BY key"
)
_PUT = (
    "INSERT OR REPLACE INTO directory"
    " (key, stats, digests, targets, excluded, scope, merkle, below, checksum, mark)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_MARKS = "SELECT key, mark FROM directory INDEXED BY marks WHERE mark<>x''"
"""Reads the index alone, which holds both."""
_MARK = "UPDATE directory SET mark=? WHERE key=?"
_ONE = _ALL.replace("ORDER BY key", "WHERE key=?")
_CHUNK_KEYS = "SELECT key FROM chunks"
_BELOW = _ALL.replace("ORDER BY key", "WHERE key>=? AND key<? ORDER BY key")


_PAGE = 16384
_MARK_SIZE = 16
_BEGINNING = f"BEGIN;{_SCHEMA}PRAGMA user_version={VERSION};COMMIT;"


class Row(NamedTuple):
    """One directory as it was scanned last; `fs.scan` knows what the columns hold.

    ``digests``: only of entries that were settled. ``merkle``: the directory's digest under the
    profile that `State.profile` names, zeros where it was not known. ``below``: its totals, as
    `fs.tree.Node.plain` packs them.
    """

    path: bytes
    stats: bytes
    digests: bytes
    targets: bytes
    excluded: bytes
    scope: bytes
    merkle: bytes
    below: bytes = b""

    def checksum(self) -> int:
        """CRC over all columns: a damaged page must not pass for an answer."""
        crc = 0
        for column in self:
            crc = zlib.crc32(column, crc)
        return crc

    def mark(self) -> bytes:
        """What `mark_of` gives for the directory as long as all is as it was; empty where more than
        its columns tells what belongs to the tree, or some digest is missing."""
        names = int.from_bytes(self.stats[:4], "little")
        if self.scope or self.excluded or len(self.digests) != names * digest.SIZE:
            return b""
        return mark_of(self.stats)


def mark_of(stats: bytes) -> bytes:
    """Stands for a directory's packed columns."""
    return hashlib.blake2b(stats, digest_size=_MARK_SIZE).digest()


def _sound(cells: Sequence[Any]) -> Optional[Row]:
    """The row whose cells, with its checksum, were read; None where they are damaged."""
    key, *columns, checksum = cells
    with contextlib.suppress(TypeError, AttributeError):  # a damaged cell of another type
        row = Row(key.replace(b"\0", b"/"), *columns)
        if row.checksum() == checksum:
            return row
    return None


class ChunkRow(NamedTuple):
    """The chunk list of one large file whose digest is ``content``; `fs.chunklists` knows what
    the columns hold."""

    content: bytes
    chunker: str
    average: int
    sizes: bytes
    marks: bytes

    def checksum(self) -> int:
        """CRC over all columns."""
        head = f"{self.chunker} {self.average}".encode()
        return zlib.crc32(self.marks, zlib.crc32(self.sizes, zlib.crc32(self.content + head)))


_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))


class NewerState(StateUnusable):
    """The state is of a newer version."""


class NoRoom(StateUnusable):
    """There is no room for a state."""


def is_about_access(error: sqlite3.DatabaseError) -> bool:
    """Whether SQLite could not get at the file, as against disliking what is in it."""
    words = ("unable to open", "readonly", "full", "locked", "I/O")
    return isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in words)


def _is_about_room(error: sqlite3.DatabaseError, path: bytes) -> bool:
    """Whether SQLite had no room beside the file at ``path``. Of a quota, or of inodes that are
    used up, it says no more than that it could not."""
    if not is_about_access(error) or "locked" in str(error) or "readonly" in str(error):
        return False
    if "full" in str(error):
        return True
    probe = path + b".probe"
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as refusal:
        return refusal.errno in _NO_ROOM
    try:
        os.write(fd, bytes(_PAGE))
        return False
    except OSError as refusal:
        return refusal.errno in _NO_ROOM
    finally:
        os.close(fd)
        os.unlink(probe)


def state_directory(environment: Mapping[str, str]) -> bytes:
    """``$XDG_STATE_HOME/syncron``, by the XDG base directory rules; created 0700 if missing.

    Raises StateUnusable where there is no such place or it cannot be made; `NoRoom`.
    """
    place = state_place(environment)
    if place is None:
        raise StateUnusable(
            "There is no home directory to keep state in; set HOME or XDG_STATE_HOME."
        )
    directory = os.fsencode(place)
    try:
        _make_private(directory)
    except OSError as error:
        kind = NoRoom if error.errno in _NO_ROOM else StateUnusable
        raise kind(
            f"The state directory {shown(directory)} cannot be made ({error.strerror});"
            " make it writable or set XDG_STATE_HOME."
        ) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StateUnusable(
            f"The state directory {shown(directory)} cannot be written to;"
            " make it writable or set XDG_STATE_HOME."
        )
    return directory


def _make_private(directory: bytes) -> None:
    """Make a directory and its missing parents, each 0700: the specification asks for it, and
    `os.makedirs` gives its mode to the last one only."""
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each, 0o700)


def _take_over(db: sqlite3.Connection) -> None:
    """Bring a file of an earlier version up to date, unless another run has just done so."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 1:
            db.execute(_FROM_1)
        if version < VERSION:
            db.execute(_FROM_2)
            rows = filter(None, map(_sound, db.execute(_ALL)))
            db.executemany(_MARK, [(row.mark(), _key(row.path)) for row in rows])
            db.execute(_INDEX)
            db.execute(f"PRAGMA user_version={VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _in_memory() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.executescript(_BEGINNING)
    return db


def file_stem(root: bytes, scope: bytes = b"") -> bytes:
    """Name, without ending, of the files that belong to a root. ``root``: its real path;
    ``scope``: the one entry of it that a run is over, if it is."""
    return hashlib.sha256(root + b"\0" + scope).hexdigest()[:32].encode()


def _key(path: bytes) -> bytes:
    return path.replace(b"/", b"\0")


def _range(top: bytes) -> tuple[bytes, bytes]:
    """Keys of ``top`` and all below: from the first on, up to the second, which is none."""
    # "top", then "top NUL ...": \x01 is the first byte that can follow and is not NUL. Between
    # the two lie no other keys but "top" itself: no name goes on with NUL.
    key = _key(top)
    return key, key + b"\x01"


class State:
    """The open state of one root."""

    def __init__(self, path: Optional[bytes], why: str = "") -> None:
        """Open or create the file at ``path``; `StateUnusable` if it is newer or not writable.
        None: in memory only, ``why`` is for people."""
        self.path = path or b""
        self.unkept = why
        """Why nothing can be saved; empty where it can, or where nobody expects it."""
        self.warnings: list[str] = []
        self.damaged = False
        """Rows were left out. Where they lie, SQLite may not find others, or again."""
        self.emptied = False
        """What was read before is kept no longer."""
        if path is None:
            self._db = _in_memory()
            return
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            if is_about_access(error):
                self._db = self._stand_in(error)
                return
            self._set_aside()
            self._db = self._anew()

    def _anew(self) -> sqlite3.Connection:
        try:
            return self._opened()
        except sqlite3.DatabaseError as error:
            return self._stand_in(error)

    def _stand_in(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """What is used where there is no room for the file; raises `StateUnusable` where it is
        something else that is wrong with it."""
        if not _is_about_room(error, self.path):
            raise self._unusable(error) from None
        self.unkept = str(error)
        return _in_memory()

    def _unusable(self, error: sqlite3.Error) -> StateUnusable:
        return StateUnusable(
            f"The state file {shown(self.path)} cannot be used ({error});"
            " see that its directory can be written to and has space."
        )

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            os.fsdecode(self.path), isolation_level=None, check_same_thread=False, timeout=10
        )
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise NewerState(
                    f"The state file {shown(self.path)} was written by a newer syncron"
                    f" (state version {version}, this one knows {VERSION}); use that version,"
                    " or remove the file: nothing but time is lost."
                )
            # Losing state in a power cut costs a rescan; waiting for the disk costs every run.
            db.execute("PRAGMA synchronous=OFF")
            if version == 0:
                db.execute(f"PRAGMA page_size={_PAGE}")
                db.executescript(_BEGINNING)
            elif not os.access(self.path, os.W_OK):
                raise sqlite3.OperationalError("it is readonly")
            elif version < VERSION:
                _take_over(db)
            db.execute("SELECT value FROM meta LIMIT 1").fetchone()
            db.execute("SELECT checksum, below FROM directory LIMIT 1").fetchone()
            db.execute(f"{_MARKS} LIMIT 1").fetchone()
        except UnicodeDecodeError as error:
            # Python could not decode SQLite's complaint, which quotes what is damaged.
            db.close()
            raise sqlite3.DatabaseError("its schema is damaged") from error
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self) -> None:
        """Keep a damaged file for whoever wants to look, and begin anew."""
        with contextlib.suppress(AttributeError):
            self._db.close()
        aside = self.path + b".damaged"
        with contextlib.suppress(OSError):
            os.replace(self.path, aside)
        for ending in (b"-journal", b"-wal", b"-shm"):
            with contextlib.suppress(OSError):
                os.unlink(self.path + ending)
        self.warnings.append(
            f"The state of this root was damaged; it is kept as {shown(aside)} and built anew."
        )

    def reset(self) -> None:
        """Set the file aside because something in it is damaged, and begin anew."""
        self._set_aside()
        self.damaged, self.emptied = False, True
        self._db = self._anew()

    def get(self, key: str) -> bytes:
        """A remembered value; ``b""`` where there is none."""
        try:
            row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            if is_about_access(error):
                raise self._unusable(error) from None
            self.reset()
            return b""
        return bytes(row[0]) if row and isinstance(row[0], (bytes, memoryview)) else b""

    def row(self, path: bytes) -> Optional[Row]:
        """The row of one directory. Raises sqlite3.DatabaseError where the file is damaged."""
        key = _key(path)
        return next(self._select(_ONE, (key,)), None)

    def rows(self, top: bytes = b"") -> Iterator[Row]:
        """The rows of ``top`` and all below in depth-first order. Raises sqlite3.DatabaseError
        where the file is damaged; rows whose checksum is wrong are left out."""
        if not top:
            return self._select(_ALL, ())
        return self._select(_BELOW, _range(top))

    def marks(self) -> dict[bytes, bytes]:
        """`Row.mark` of all directories that have one. Raises sqlite3.DatabaseError where the file
        is damaged."""
        found = self._db.execute(_MARKS)
        # A damaged cell may be of another type; its directory is looked at then.
        return {key.replace(b"\0", b"/"): mark for key, mark in found if isinstance(key, bytes)}

    def _select(self, statement: str, parameters: tuple[bytes, ...]) -> Iterator[Row]:
        cursor = self._db.execute(statement, parameters)
        cursor.arraysize = 256
        while True:
            batch = cursor.fetchmany()
            if not batch:
                return
            for cells in batch:
                row = _sound(cells)
                if row is None:
                    self.damaged = True
                else:
                    yield row

    def _has_chunks(self) -> bool:
        found = self._db.execute("SELECT 1 FROM sqlite_master WHERE name='chunks'").fetchone()
        return found is not None

    def chunk_row(self, path: bytes) -> Optional[ChunkRow]:
        """The chunk list kept for the file at ``path``. Raises sqlite3.DatabaseError."""
        if not self._has_chunks():
            return None
        select = "SELECT content, chunker, average, sizes, marks, checksum FROM chunks WHERE key=?"
        found = self._db.execute(select, (_key(path),)).fetchone()
        if found is None:
            return None
        try:
            row = ChunkRow(*found[:-1])
            return row if row.checksum() == found[-1] else None
        except (TypeError, ValueError):  # a damaged cell of another type
            return None

    def chunk_paths(self) -> list[bytes]:
        """The files that a chunk list is kept for."""
        with contextlib.suppress(sqlite3.DatabaseError, AttributeError):
            if self._has_chunks():
                return [key.replace(b"\0", b"/") for (key,) in self._db.execute(_CHUNK_KEYS)]
        return []

    def save(
        self,
        changed: Iterable[Row],
        gone: Iterable[bytes],
        values: Mapping[str, bytes],
        chunks: Optional[Mapping[bytes, Optional[ChunkRow]]] = None,
        durable: bool = False,
    ) -> None:
        """Write rows, remove those of the directories ``gone`` with all below, set values; all
        or nothing. ``chunks``: chunk lists by path, None for one that is to go. ``durable``: wait
        for the disk.

        Raises sqlite3.DatabaseError. Full disk, read-only: what was kept before stays. Damage:
        the file is set aside, and the next save begins anew. Raises `NoRoom` where there is no
        file.
        """
        if self.unkept:
            raise NoRoom(self.unkept)
        db = self._db
        if durable:
            db.execute("PRAGMA synchronous=EXTRA")
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(
                "DELETE FROM directory WHERE key>=? AND key<?", (_range(path) for path in gone)
            )
            db.executemany(
                _PUT,
                ((_key(row.path), *row[1:], row.checksum(), row.mark()) for row in changed),
            )
            if chunks:
                self._save_chunks(chunks)
            values_and_time = {"saved": str(int(time.time())).encode(), **values}
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", values_and_time.items())
            db.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError) and self._is_about_damage(error):
                self.reset()  # or every later save would fail too
            raise

    def _save_chunks(self, chunks: Mapping[bytes, Optional[ChunkRow]]) -> None:
        db = self._db
        db.execute(_CHUNKS)
        for path, row in chunks.items():
            if row is None:
                db.execute("DELETE FROM chunks WHERE key=?", (_key(path),))
            else:
                values = (_key(path), *row, row.checksum())
                db.execute("INSERT OR REPLACE INTO chunks VALUES (?,?,?,?,?,?,?)", values)

    def _is_about_damage(self, error: sqlite3.DatabaseError) -> bool:
        """Whether SQLite could not write because of what is in the file. A flipped byte in its
        header can forbid all writing too."""
        if "readonly" in str(error):
            places = (self.path, os.path.dirname(self.path))
            return all(os.access(place, os.W_OK) for place in places)
        return not is_about_access(error)

    def close(self) -> None:
        """Close the file."""
        self._db.close()
