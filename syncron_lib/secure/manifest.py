"""The manifest: what is sealed in a tree, signed by whoever has the key, with a counter.

It tells an older version of a file from the newest, and a file that the remote has lost from one
that was deleted. Where several replicas have the key it also tells which versions came before
which: so two manifests that were written apart can be made one.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from syncron_lib.errors import NotAuthentic, SealedByAnotherKey
from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import KEY_ID_SIZE, Keyring, Keys, prefixed
from syncron_lib.secure.sealed import SALT_SIZE

MAGIC = b"SYNCMAN1"
MAGIC_BEFORE = b"SYNCMAN2"
"""Where rows say which versions they are of, and what came before."""
_TOP = struct.Struct(f">QB{KEY_ID_SIZE}sI")
_ROW = struct.Struct(f">{SALT_SIZE}sQB")
_VERSION = struct.Struct(f">{SALT_SIZE}sQIq")
ID_SIZE = 8
MOST_BEFORE = 255
"""Versions that a row remembers to have come before it; older ones are forgotten."""
NO_SALT = bytes(SALT_SIZE)
NO_ID = bytes(ID_SIZE)
CLEAR = bytes(KEY_ID_SIZE)


def version_id(salt: bytes, generation: int, mode: int, mtime_ns: int) -> bytes:
    """What stands for a version where there is to be told what came before what. A salt alone
    stands for a content, which a path can have had before, and can have again."""
    version = _VERSION.pack(salt, generation, mode, mtime_ns)
    return hashlib.sha256(version).digest()[:ID_SIZE]


def came_before(own: bytes, earlier: Sequence[bytes], *more: bytes) -> tuple[bytes, ...]:
    """What came before the version ``own``: what is ``earlier`` and then ``more``, the newest
    last."""
    newest_first = dict.fromkeys(reversed([*earlier, *more]))
    return tuple([each for each in newest_first if each not in (own, NO_ID)][:MOST_BEFORE][::-1])


class Entry(NamedTuple):
    """One path that was sealed once. Generation 0 with `NO_SALT`: it is about to be, for the first
    time. ``id``: what stands for this version, or for the one that was deleted, as `version_id`
    gives it; `NO_ID` where nobody noted it. ``before``: of versions that it was made of or has
    replaced; the newest last."""

    salt: bytes
    generation: int
    deleted: bool
    id: bytes = NO_ID
    before: tuple[bytes, ...] = ()

    def is_of(self, own: bytes, salt: bytes, generation: int) -> bool:
        """Whether it is of the version ``own``; as far as was noted, where it was not."""
        if self.id == NO_ID:
            return (self.salt, self.generation) == (salt, generation)
        return self.id == own

    def after(self, before: tuple[bytes, ...]) -> Entry:
        """With versions that are known to have come before it, too. Machines that know the same
        come to the same, in whatever order they heard of it; else they would write for ever."""
        fewer, more = sorted((before, self.before), key=lambda each: (len(each), each))
        return self._replace(before=came_before(self.id, fewer, *more))

    def joined(self, other: Entry) -> Entry:
        """One of two that were written apart: the newer one. Where neither is, the choice says
        nothing: neither has the other among what came before it."""
        newer, older = (self, other) if self._rank >= other._rank else (other, self)
        if newer.salt != older.salt and older.id not in newer.before:
            return newer
        return newer.after(older.before)

    @property
    def _rank(self) -> tuple[int, bool, bytes, bytes, int]:
        return self.generation, not self.deleted, self.salt, self.id, len(self.before)


class Manifest(NamedTuple):
    """What is sealed. ``counter`` goes up with each manifest that is written. ``names_key``: id of
    the key that names are sealed with, `CLEAR` where they are not. ``renaming``: there may be
    names in another form. ``names``: what has a sealed name and is no sealed file, as far as that
    must be known."""

    counter: int = 0
    entries: Mapping[bytes, Entry] = {}
    names_key: bytes = CLEAR
    renaming: bool = False
    names: frozenset[bytes] = frozenset()

    @property
    def tells_before(self) -> bool:
        """Whether some row says which version it is of, and what came before."""
        return any(entry.before or entry.id != NO_ID for entry in self.entries.values())

    def joined(self, other: Manifest) -> Manifest:
        """One of two that were written apart, of the rows of both; ``counter`` is the higher one's,
        and must go up where it is another than both. Names in another form are not looked at."""
        entries = dict(self.entries)
        for path, entry in other.entries.items():
            entries[path] = entries[path].joined(entry) if path in entries else entry
        return Manifest(max(self.counter, other.counter), entries)

    def sealed(self, keyring: Keyring, keys: Keys | None = None) -> bytes:
        """As it is stored; under ``keys``, where that is not to be the current one."""
        top = self.counter, self.renaming, self.names_key, len(self.entries)
        rows = [_TOP.pack(*top)]
        tells = self.tells_before
        for path in sorted(self.entries):
            entry = self.entries[path]
            rows.append(prefixed(path) + _ROW.pack(*entry[:3]))
            if tells:
                rows.append(entry.id + bytes((len(entry.before),)) + b"".join(entry.before))
        rows.extend(prefixed(path) for path in sorted(self.names))
        keys = keys or keyring.current
        head = (MAGIC_BEFORE if tells else MAGIC) + keys.id
        return head + AESSIV(keys.man).encrypt(b"".join(rows), [head, keyring.root_id])

    @staticmethod
    def opened(data: bytes, keyring: Keyring, where: str) -> Manifest:
        """From its stored form; the empty one where there is none. Raises `NotAuthentic`."""
        if not data:
            return Manifest()
        wrong = NotAuthentic(
            f"The manifest of {where} is not as it was sealed: it was damaged or changed by"
            " somebody without the key. Nothing was changed here."
        )
        head = data[: len(MAGIC) + KEY_ID_SIZE]
        if not head.startswith((MAGIC, MAGIC_BEFORE)):
            raise wrong
        keys = keyring.by_id(head[len(MAGIC) :])
        if keys is None:
            raise SealedByAnotherKey(
                f"The manifest of {where} is sealed with the key {head[len(MAGIC) :].hex()}, which"
                " this key file does not hold; name the right one with --key."
            )
        try:
            rows = AESSIV(keys.man).decrypt(data[len(head) :], [head, keyring.root_id])
        except (InvalidTag, ValueError):
            raise wrong from None
        try:
            return _unpacked(rows, head.startswith(MAGIC_BEFORE))
        except (struct.error, IndexError, ValueError):
            raise wrong from None  # whoever has the key wrote nonsense


def _unpacked(rows: bytes, tells_before: bool) -> Manifest:
    counter, renaming, names_key, count = _TOP.unpack_from(rows)
    at = _TOP.size
    entries: dict[bytes, Entry] = {}
    for _ in range(count):
        path, at = _path_at(rows, at)
        salt, generation, deleted = _ROW.unpack_from(rows, at)
        at += _ROW.size
        own, before = NO_ID, []
        if tells_before:
            end = at + ID_SIZE + 1 + rows[at + ID_SIZE] * ID_SIZE
            if end > len(rows):
                raise ValueError
            own = rows[at : at + ID_SIZE]
            starts = range(at + ID_SIZE + 1, end, ID_SIZE)
            before = [rows[start : start + ID_SIZE] for start in starts]
            at = end
        entries[path] = Entry(salt, generation, bool(deleted), own, (*before,))
    if len(entries) != count:
        raise ValueError
    names = []
    while at < len(rows):
        path, at = _path_at(rows, at)
        names.append(path)
    return Manifest(counter, entries, names_key, bool(renaming), frozenset(names))


def _path_at(rows: bytes, at: int) -> tuple[bytes, int]:
    """A path, and where it ends."""
    end = at + 4 + int.from_bytes(rows[at : at + 4], "big")
    if at + 4 > len(rows) or end > len(rows):
        raise ValueError
    return rows[at + 4 : end], end


def key_id_of(data: bytes) -> bytes:
    """The id of the key that a manifest is sealed with."""
    return data[len(MAGIC) : len(MAGIC) + KEY_ID_SIZE]


def hash_of(data: bytes) -> bytes:
    """What a client remembers of a manifest beside its counter, to tell a forked one."""
    return hashlib.sha256(data).digest()
