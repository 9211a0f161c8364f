"""Whether a key file needs a passphrase; without importing what opens it."""

from __future__ import annotations

import base64
import binascii

MAGIC = b"SYNCKEY1"
BARE, WRAPPED = 0, 1


def needs_passphrase(content: bytes) -> bool:
    """Whether the keys in a key file of this ``content`` are wrapped."""
    magic, _, text = content.partition(b" ")
    try:
        return magic == MAGIC and base64.b64decode(text[:4])[:1] == bytes([WRAPPED])
    except binascii.Error:
        return False
