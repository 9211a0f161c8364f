"""A master key and what is derived from it."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from syncron_lib.record import NamedTuple

MASTER_SIZE = 32
ROOT_ID_SIZE = 16
KEY_ID_SIZE = 8
_LABEL = b"syncron/secure/v1/"


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256."""
    return HKDFExpand(SHA256(), length, info).derive(key)


def prefixed(*parts: bytes) -> bytes:
    """Each part behind its length (u32, big-endian): no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Keys(NamedTuple):
    """The subkeys of one master key."""

    master: bytes
    id: bytes
    """Stands in every sealed file, to tell which key opens it."""
    siv: bytes
    enc: bytes
    meta: bytes
    name: bytes
    man: bytes

    def __repr__(self) -> str:
        return f"<keys {self.id.hex()}>"  # a traceback must not show the others

    @staticmethod
    def of(master: bytes) -> Keys:
        """Derived from ``master``, `MASTER_SIZE` random bytes."""
        lengths = {"id": KEY_ID_SIZE, "siv": 32, "enc": 32, "meta": 64, "name": 64, "man": 32}
        return Keys(
            master,
            *(expand(master, _LABEL + label.encode(), size) for label, size in lengths.items()),
        )


class Keyring(NamedTuple):
    """The keys of one tree. The first seals; all of them open. ``root_id``: of the tree, so that
    what is sealed in one is nothing in another."""

    root_id: bytes
    keys: tuple[Keys, ...]

    def __repr__(self) -> str:
        return f"<keyring {self.root_id.hex()}>"

    @property
    def current(self) -> Keys:
        """The key that seals."""
        return self.keys[0]

    def by_id(self, key_id: bytes) -> Keys | None:
        """The key with this id, if there is one."""
        return next((keys for keys in self.keys if keys.id == key_id), None)

    def rotated(self, master: bytes) -> Keyring:
        """With a new key; the others only open from now on."""
        return Keyring(self.root_id, (Keys.of(master), *self.keys))

    def context(self, path: bytes) -> bytes:
        """What ties a sealed file to its place."""
        return prefixed(self.root_id, path)
