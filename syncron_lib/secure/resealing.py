"""Sealed files that become others: read whole, and sealed anew, in flat memory and never in clear
on a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.manifest import version_id
from syncron_lib.secure.sealed import Meta, Opener, Sealer, seal_stream, unseal_stream


class Whole(NamedTuple):
    """A sealed file that was read to its end, and is what was sealed. ``pd``: SHA-256 of the
    plaintext. ``value``: of its bytes as they are."""

    salt: bytes
    meta: Meta
    pd: bytes
    value: bytes

    @property
    def id(self) -> bytes:
        """What stands for this version in a manifest."""
        return version_id(self.salt, self.meta.generation, self.meta.mode, self.meta.mtime_ns)


def looked_at(keyring: Keyring, place: bytes, file: BinaryIO, where: str) -> Whole:
    """What a file is that is sealed for ``place``. Raises `NotAuthentic`."""
    raw, pd = hashlib.sha256(), hashlib.sha256()

    def read(size: int) -> bytes:
        data = file.read(size)
        raw.update(data)
        return data

    file.seek(0)
    opener: Opener | None = None
    for part in unseal_stream(keyring, place, read, where):
        if isinstance(part, Opener):
            opener = part
        else:
            pd.update(part)
    assert opener is not None
    return Whole(opener.salt, opener.meta, pd.digest(), raw.digest())


def plain_of(keyring: Keyring, place: bytes, file: BinaryIO, where: str) -> bytes:
    """The content of a file that is small enough for that. Raises `NotAuthentic`."""
    file.seek(0)
    parts = unseal_stream(keyring, place, file.read, where)
    return b"".join(part for part in parts if not isinstance(part, Opener))


def reseal(
    keyring: Keyring,
    whole: Whole,
    place: bytes,
    file: BinaryIO,
    path: bytes,
    meta: Meta,
    target: BinaryIO,
) -> tuple[bytes, bytes, int]:
    """Write a file that was looked at as it is sealed for ``path`` with ``meta``: its salt, the
    SHA-256 of its bytes and their number. Raises `NotAuthentic`."""
    file.seek(0)
    parts = unseal_stream(keyring, place, file.read, "What was fetched")
    return _write(keyring, path, whole.pd, meta, _reader(parts), target)


def seal_content(
    keyring: Keyring, content: bytes, path: bytes, meta: Meta, target: BinaryIO
) -> tuple[bytes, bytes, int]:
    """The same of what is in memory."""
    left = memoryview(content)

    def read(size: int) -> bytes:
        nonlocal left
        data, left = bytes(left[:size]), left[size:]
        return data

    return _write(keyring, path, hashlib.sha256(content).digest(), meta, read, target)


def _write(
    keyring: Keyring,
    path: bytes,
    pd: bytes,
    meta: Meta,
    read: Callable[[int], bytes],
    target: BinaryIO,
) -> tuple[bytes, bytes, int]:
    raw = hashlib.sha256()
    size = 0
    for data in seal_stream(keyring, path, pd, meta, read):
        raw.update(data)
        size += target.write(data)
    return Sealer(keyring, path, pd, meta).salt, raw.digest(), size


def _reader(parts: Iterator[bytes | Opener]) -> Callable[[int], bytes]:
    """Reads plaintext as it is opened."""
    waiting = bytearray()

    def read(size: int) -> bytes:
        while len(waiting) < size:
            part = next(parts, None)
            if part is None:
                break
            if not isinstance(part, Opener):
                waiting.extend(part)
        data = bytes(waiting[:size])
        del waiting[:size]
        return data

    return read
