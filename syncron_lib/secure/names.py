"""Sealed names: one component after the other, each tied to what it lies in."""

from __future__ import annotations

import base64
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from syncron_lib.core.names import join
from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import Keyring, Keys, prefixed

LONGEST = 143
"""Bytes of a name whose sealed form still is a name: 16 more, in Base32, are 255."""
_TARGET = b"target"
_HASHED = b"~"
"""Begins the names that only the manifest can turn back."""


def _base32(data: bytes) -> bytes:
    return base64.b32hexencode(data).rstrip(b"=").lower()


class NameSealer(NamedTuple):
    """Seals and opens names under one key."""

    keyring: Keyring
    keys: Keys

    def seal(self, parent: bytes, name: bytes) -> bytes:
        """The sealed form of ``name`` in the directory whose sealed path is ``parent``."""
        place = self.keyring.root_id + parent
        if len(name) > LONGEST:
            return _HASHED + _base32(hmac.digest(self.keys.name, prefixed(place, name), "sha256"))
        return _base32(AESSIV(self.keys.name).encrypt(name, [place]))

    def seal_target(self, there: bytes, target: bytes) -> bytes:
        """The sealed form of what the symlink whose sealed path is ``there`` points to."""
        place = [self.keyring.root_id + there, _TARGET]
        return _base32(AESSIV(self.keys.name).encrypt(target, place))

    def open_target(self, there: bytes, sealed: bytes) -> bytes | None:
        """What that points to; None where ``sealed`` was not sealed for it."""
        return self._opened(sealed, [self.keyring.root_id + there, _TARGET])

    def seal_path(self, path: bytes) -> bytes:
        """The sealed form of a whole path."""
        sealed = b""
        for name in path.split(b"/"):
            sealed = join(sealed, self.seal(sealed, name))
        return sealed

    def open(self, parent: bytes, sealed: bytes) -> bytes | None:
        """The name that ``sealed`` is in the directory whose sealed path is ``parent``; None for
        what is none, or is one that only the manifest knows."""
        name = self._opened(sealed, [self.keyring.root_id + parent])
        # One name has one sealed form.
        return name if name is not None and self.seal(parent, name) == sealed else None

    def _opened(self, sealed: bytes, place: list[bytes]) -> bytes | None:
        padded = sealed.upper() + b"=" * (-len(sealed) % 8)
        try:
            return AESSIV(self.keys.name).decrypt(base64.b32hexdecode(padded), place)
        except (ValueError, InvalidTag):
            return None
