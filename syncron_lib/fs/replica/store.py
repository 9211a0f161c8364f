"""``.syncron/state.db``: what a replica remembers, in its own root.

It lies in the root and is never part of the tree: a backup of the root has the knowledge that fits
its files, and a root that is not mounted has none. Unlike the state of one-way runs it is no cache:
what is written here is on the disk before anything is built on it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from syncron_lib.core import digest
from syncron_lib.core.names import PRIVATE, shown
from syncron_lib.errors import StateUnusable
from syncron_lib.fs.directories import OPEN_DIRECTORY
from syncron_lib.fs.staging import STATE_FILE
from syncron_lib.record import NamedTuple

VERSION = 1
_SCHEMA = f"""
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE directory (
    key BLOB PRIMARY KEY, merkle BLOB NOT NULL, shown BLOB NOT NULL, records BLOB NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE intent (number INTEGER PRIMARY KEY, data BLOB NOT NULL);
PRAGMA user_version={VERSION};
COMMIT;
"""
_SELECT = "SELECT merkle, shown, records, checksum FROM directory WHERE key=?"


class Damaged(Exception):
    """What is kept cannot be what was written."""


class Row(NamedTuple):
    """One directory. ``merkle``: the Merkle digest that it had on the disk when its records were
    what was there, zeros where they were not. ``shown``: see `core.twoway.observe`; packed."""

    merkle: bytes
    shown: bytes
    records: bytes

    def checksum(self, key: bytes) -> int:
        """CRC over all columns."""
        crc = zlib.crc32(key)
        for column in self:
            crc = zlib.crc32(column, crc)
        return crc


def _key(path: bytes) -> bytes:
    return path.replace(b"/", b"\0")


def _blob(cell: object) -> bytes:
    """A cell, which may be damaged and of another type. Raises `Damaged`."""
    if not isinstance(cell, bytes):
        raise Damaged
    return cell


class Store:
    """The open file."""

    def __init__(self, root_fd: int, shown_root: str) -> None:
        """Look for it; it is made by the first `save`. Raises StateUnusable where it may not be
        used."""
        self._root_fd = root_fd
        self._shown = shown_root
        self._fd: Optional[int] = None
        self._db: Optional[sqlite3.Connection] = None
        self._aside = False
        if self._open_directory():
            found = self._stat()
            if found is not None and found.st_size:
                try:
                    self._connect(anew=False)
                except Damaged:
                    self.set_aside()

    def _open_directory(self) -> bool:
        try:
            fd = os.open(PRIVATE, OPEN_DIRECTORY, dir_fd=self._root_fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(str(error.strerror)) from None
        found = os.fstat(fd)
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
            os.close(fd)
            raise StateUnusable(
                f"{shown(PRIVATE)} in {self._shown} belongs to another user, or others may write"
                " to it, and decides what is deleted; see whose it is, and make it 0700."
            )
        self._fd = fd
        return True

    def _unusable(self, why: str) -> StateUnusable:
        return StateUnusable(
            f"What {self._shown} keeps of itself as a replica, in {shown(PRIVATE)}, cannot be used"
            f" ({why}); see that it can be read and written and that there is room."
        )

    def _stat(self) -> Optional[os.stat_result]:
        try:
            return os.stat(STATE_FILE, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _connect(self, anew: bool) -> None:
        found = self._stat()
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise self._unusable("it is no file")
        # By the held directory: whatever becomes of the way to it.
        path = f"/proc/self/fd/{self._fd}/{os.fsdecode(STATE_FILE)}"
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            try:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version > VERSION:
                    raise StateUnusable(
                        f"What {self._shown} keeps of itself as a replica was written by a newer"
                        f" syncron (version {version}, this one knows {VERSION}); use that one."
                    )
                db.execute("PRAGMA synchronous=FULL")
                if version == 0:
                    if not anew:
                        raise Damaged
                    db.execute("PRAGMA page_size=16384")
                    db.executescript(_SCHEMA)
                db.execute("SELECT value FROM meta LIMIT 1").fetchone()
                db.execute("SELECT checksum FROM directory LIMIT 1").fetchone()
            except BaseException:
                db.close()
                raise
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from None
        self._db = db

    def _translated(self, error: sqlite3.DatabaseError) -> Exception:
        about_access = ("unable to open", "readonly", "full", "locked", "I/O")
        is_access = isinstance(error, sqlite3.OperationalError)
        if is_access and any(word in str(error) for word in about_access):
            return self._unusable(str(error))
        return Damaged()

    def set_aside(self) -> None:
        """Use what is there no more; the next `save` keeps it beside for whoever wants to look, and
        begins anew."""
        if self._db is not None:
            self._db.close()
            self._db = None
        self._aside = True

    def _move_aside(self) -> None:
        with contextlib.suppress(OSError):
            os.rename(
                STATE_FILE, STATE_FILE + b".damaged", src_dir_fd=self._fd, dst_dir_fd=self._fd
            )
        with contextlib.suppress(OSError):
            os.unlink(STATE_FILE + b"-journal", dir_fd=self._fd)

    @property
    def is_aside(self) -> bool:
        """Whether what is there is damaged, or to be forgotten."""
        return self._aside

    @property
    def exists(self) -> bool:
        """Whether anything is kept."""
        return self._db is not None

    def identity(self) -> tuple[int, int]:
        """Device and inode of the file."""
        found = self._stat()
        return (0, 0) if found is None else (found.st_dev, found.st_ino)

    def values(self) -> dict[str, bytes]:
        """All values. Raises `Damaged`."""
        kept = self._all("SELECT key, value FROM meta")
        return {str(key): _blob(value) for key, value in kept}

    def intents(self) -> list[bytes]:
        """What an unfinished run was about to do."""
        kept = self._all("SELECT data FROM intent ORDER BY number")
        return [_blob(data) for (data,) in kept]

    def _all(self, statement: str) -> list[tuple[Any, ...]]:
        if self._db is None:
            return []
        try:
            return self._db.execute(statement).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from None

    def _one(self, statement: str, path: bytes) -> Optional[tuple[Any, ...]]:
        if self._db is None:
            return None
        try:
            found: Optional[tuple[Any, ...]] = self._db.execute(statement, (_key(path),)).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from None
        return found

    def merkle(self, path: bytes) -> bytes:
        """The Merkle digest in the row of one directory, zeros where there is none. Believed as it
        stands: a damaged one is equal to nothing, and makes its row be read."""
        found = self._one("SELECT merkle FROM directory WHERE key=?", path)
        return digest.UNKNOWN if found is None else _blob(found[0])

    def row(self, path: bytes) -> Optional[Row]:
        """The row of one directory. Raises `Damaged`."""
        found = self._one(_SELECT, path)
        if found is None:
            return None
        row = Row(*map(_blob, found[:-1]))
        if row.checksum(path) != found[-1]:
            raise Damaged
        return row

    def save(
        self,
        rows: Mapping[bytes, Row],
        gone: Iterable[bytes],
        values: Mapping[str, bytes],
        intents: Optional[Iterable[bytes]] = None,
    ) -> None:
        """Write rows, remove those of the directories ``gone`` with all below, set values; all of
        it or nothing, and on the disk. ``intents``: what to remember instead of those that are."""
        if self._db is None:
            if self._fd is None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(PRIVATE, 0o700, dir_fd=self._root_fd)
                self._open_directory()
            if self._aside:
                self._move_aside()
                self._aside = False
            self._connect(anew=True)
        db = self._db
        assert db is not None
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                for path in gone:
                    key = _key(path)
                    db.execute(
                        "DELETE FROM directory WHERE key=? OR (key>? AND key<?)",
                        (key, key + b"\0", key + b"\1"),
                    )
                db.executemany(
                    "INSERT OR REPLACE INTO directory VALUES (?,?,?,?,?)",
                    ((_key(path), *row, row.checksum(path)) for path, row in rows.items()),
                )
                db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", values.items())
                if intents is not None:
                    db.execute("DELETE FROM intent")
                    db.executemany(
                        "INSERT INTO intent (data) VALUES (?)", ((data,) for data in intents)
                    )
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise self._unusable(str(error)) from None

    def close(self) -> None:
        """Let go of it."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
