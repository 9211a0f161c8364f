"""What two replicas had alike last: contents from which later versions can be merged.

One SQLite file for two replicas, on the machine that merges. A cache: what is lost or damaged costs
a merge, never a file. Beside the contents it has the digests of directories whose records have been
looked at, so that a run looks at what changed only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from typing import Optional

from syncron_lib.core.names import shown
from syncron_lib.core.table import Malformed, Reader
from syncron_lib.core.twoway.dots import pack_dots, unpack_dots
from syncron_lib.core.twoway.merging import Base
from syncron_lib.errors import StateUnusable
from syncron_lib.fs.state import file_stem, is_about_access, state_directory

MOST_IN_ALL = 64 << 20
"""Bytes of all bases of two replicas."""
_VERSION = 1
_SCHEMA = f"""
BEGIN;
CREATE TABLE base (
    parent BLOB NOT NULL, name BLOB NOT NULL, fp BLOB NOT NULL, dots BLOB NOT NULL,
    size INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE TABLE seen (
    parent BLOB NOT NULL, name BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE TABLE patterns (value BLOB NOT NULL);
PRAGMA user_version={_VERSION};
COMMIT;
"""


class Bases:
    """The bases of two replicas."""

    def __init__(
        self,
        environment: Mapping[str, str],
        pair: bytes,
        patterns: bytes,
        most: int = MOST_IN_ALL,
    ) -> None:
        """``pair``: which two. ``patterns``: of what; where they are others than the last time, no
        directory counts as looked at. Raises StateUnusable where there is no place for them."""
        self._path = os.path.join(state_directory(environment), file_stem(pair) + b".bases")
        self._patterns = patterns
        self._most = most
        self._db: Optional[sqlite3.Connection] = None
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self.recover(error)

    def recover(self, error: sqlite3.DatabaseError) -> None:
        """Begin anew where the file is damaged; raises StateUnusable where it cannot be had."""
        if not is_about_access(error):
            self.close()
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path)
                self._open()
                return
            except (OSError, sqlite3.DatabaseError) as again:
                raise self._unusable(again) from None
        raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> StateUnusable:
        what = getattr(error, "strerror", None) or error
        return StateUnusable(
            f"{shown(self._path)}, which keeps what can be merged from, cannot be used ({what});"
            " see that its directory can be written to and has space, or leave out --merge."
        )

    def _open(self) -> None:
        try:
            self._db = self._opened()
        except OSError as error:
            raise self._unusable(error) from None
        self._use_patterns()
        self._measure()

    @property
    def _file(self) -> sqlite3.Connection:
        assert self._db is not None
        return self._db

    def _measure(self) -> None:
        (size,) = self._file.execute("SELECT sum(size) FROM base").fetchone()
        self._room = self._most - (size or 0)

    def _opened(self) -> sqlite3.Connection:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(self._path, flags, 0o600))
        db = sqlite3.connect(os.fsdecode(self._path), isolation_level=None)
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if not version:
                db.executescript(_SCHEMA)
            elif version != _VERSION:
                raise sqlite3.DatabaseError("of another version")
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """All changes, or none."""
        self._file.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")

    def _use_patterns(self) -> None:
        wanted = (self._patterns,)
        if self._file.execute("SELECT value FROM patterns").fetchall() != [wanted]:
            self._file.execute("DELETE FROM seen")
            self._file.execute("DELETE FROM patterns")
            self._file.execute("INSERT INTO patterns VALUES (?)", wanted)

    def get(self, parent: bytes, name: bytes) -> Optional[tuple[Base, bytes]]:
        """A base and its content, if there is one and it is whole."""
        statement = "SELECT fp, dots, size, content FROM base WHERE parent=? AND name=?"
        try:
            row = self._file.execute(statement, (parent, name)).fetchone()
        except sqlite3.DatabaseError as error:
            self.recover(error)
            row = None
        if row is None:
            return None
        fp, dots, size, content = row
        try:
            inflate = zlib.decompressobj()
            plain = inflate.decompress(content, size + 1)
            reader = Reader(dots)
            made, born = frozenset(unpack_dots(reader)), frozenset(unpack_dots(reader))
        except (zlib.error, Malformed):
            return None
        return (Base(fp, made, born), plain) if len(plain) == size else None

    def known(self, parent: bytes) -> dict[bytes, tuple[bytes, bytes]]:
        """Of the bases in a directory, by name, what tells their versions."""
        rows = self._file.execute("SELECT name, fp, dots FROM base WHERE parent=?", (parent,))
        return {name: (fp, dots) for name, fp, dots in rows}

    def put(self, parent: bytes, name: bytes, base: Base, content: bytes) -> bool:
        """Keep a base in the place of the one before; whether there was room for it."""
        self.drop(parent, name)
        if len(content) > self._room:
            return False
        self._room -= len(content)
        row = (parent, name, base.fp, packed(base), len(content), zlib.compress(content, 1))
        self._file.execute("INSERT INTO base VALUES (?, ?, ?, ?, ?, ?)", row)
        return True

    def drop(self, parent: bytes, name: bytes) -> None:
        """Keep a base no longer."""
        row = self._file.execute(
            "SELECT size FROM base WHERE parent=? AND name=?", (parent, name)
        ).fetchone()
        if row is not None:
            self._room += row[0]
            self._file.execute("DELETE FROM base WHERE parent=? AND name=?", (parent, name))

    def seen(self, parent: bytes) -> dict[bytes, bytes]:
        """The digests of the directories in one, as they were looked at last."""
        return dict(self._file.execute("SELECT name, digest FROM seen WHERE parent=?", (parent,)))

    def see(self, parent: bytes, name: bytes, digest: bytes) -> None:
        """A directory has been looked at, with all below."""
        self._file.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (parent, name, digest))

    def drop_tree(self, parent: bytes, name: bytes) -> None:
        """A directory is not there any more."""
        top = parent + b"/" + name if parent else name
        self._file.execute("DELETE FROM seen WHERE parent=? AND name=?", (parent, name))
        below = top, top + b"/", top + b"0"  # which is what follows "/"
        self._file.execute("DELETE FROM seen WHERE parent=? OR (parent>? AND parent<?)", below)
        self._file.execute("DELETE FROM base WHERE parent=? OR (parent>? AND parent<?)", below)
        self._measure()

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


def packed(base: Base) -> bytes:
    """The events of a base."""
    return pack_dots(base.made) + pack_dots(base.born)
