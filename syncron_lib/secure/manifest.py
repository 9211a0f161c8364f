"""The manifest: what is sealed in a tree, signed by whoever has the key, with a counter.

It tells an older version of a file from the newest, and a file that the remote has lost from one
that was deleted.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from syncron_lib.errors import NotAuthentic, SealedByAnotherKey
from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import KEY_ID_SIZE, Keyring, Keys, prefixed
from syncron_lib.secure.sealed import SALT_SIZE

MAGIC = b"SYNCMAN1"
_TOP = struct.Struct(f">QB{KEY_ID_SIZE}sI")
_ROW = struct.Struct(f">{SALT_SIZE}sQB")
NO_SALT = bytes(SALT_SIZE)
CLEAR = bytes(KEY_ID_SIZE)


class Entry(NamedTuple):
    """One path that was sealed once. Generation 0 with `NO_SALT`: it is about to be, for the first
    time."""

    salt: bytes
    generation: int
    deleted: bool


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

    def sealed(self, keyring: Keyring, keys: Keys | None = None) -> bytes:
        """As it is stored; under ``keys``, where that is not to be the current one."""
        top = self.counter, self.renaming, self.names_key, len(self.entries)
        rows = [_TOP.pack(*top)]
        rows.extend(
            prefixed(path) + _ROW.pack(*self.entries[path]) for path in sorted(self.entries)
        )
        rows.extend(prefixed(path) for path in sorted(self.names))
        keys = keys or keyring.current
        head = MAGIC + keys.id
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
        if not head.startswith(MAGIC):
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
            return _unpacked(rows)
        except (struct.error, IndexError, ValueError):
            raise wrong from None  # whoever has the key wrote nonsense


def _unpacked(rows: bytes) -> Manifest:
    counter, renaming, names_key, count = _TOP.unpack_from(rows)
    at = _TOP.size
    entries: dict[bytes, Entry] = {}
    for _ in range(count):
        path, at = _path_at(rows, at)
        salt, generation, deleted = _ROW.unpack_from(rows, at)
        at += _ROW.size
        entries[path] = Entry(salt, generation, bool(deleted))
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
