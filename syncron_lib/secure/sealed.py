"""The format of a sealed file: sealing and opening, chunk by chunk.

    hdr ‖ commitment ‖ u16 length ‖ sealed meta ‖ chunks

The key of a file is derived from its content, its place and the master key, so the same file in
the same place is sealed to the same bytes: sealed trees can be compared and gone on with like any
others.
AES-GCM-SIV, because a file can change between its hash and its encryption: two contents under one
key and nonce would give a stream cipher away.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV

from syncron_lib.core.names import join, shown, split
from syncron_lib.core.sealing import CHUNK, MAGIC, PREFIX, TAG, chunks_of, sealed_size
from syncron_lib.core.twoway.naming import unmarked
from syncron_lib.errors import NotAuthentic, SealedByAnotherKey
from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import KEY_ID_SIZE, Keyring, Keys, expand, prefixed

SALT_SIZE = 32
_COMMITMENT = 32
_NONCE = 12
_HDR = len(MAGIC) + KEY_ID_SIZE + SALT_SIZE
_META = struct.Struct(">QIqQ")
_SEALED_META = _META.size + TAG
MAX_SIZE = (CHUNK << 32) - 1
"""Bytes of plaintext: there are at most 2³² chunks."""


class Meta(NamedTuple):
    """What is sealed beside the content. ``mode``: permissions. ``generation``: goes up by one each
    time that what is sealed at this path becomes another."""

    size: int
    mode: int
    mtime_ns: int
    generation: int


def salt_of(keyring: Keyring, keys: Keys, path: bytes, pd: bytes, size: int) -> bytes:
    """What stands for a content at a place. ``pd``: SHA-256 of the plaintext."""
    of = prefixed(b"v1", keyring.context(path), pd, size.to_bytes(8, "big"))
    return hmac.digest(keys.siv, of, "sha256")


class _FileKey:
    """The key of one file."""

    def __init__(self, keys: Keys, hdr: bytes, context: bytes) -> None:
        secret = expand(keys.enc, b"file" + prefixed(hdr, context), 32 + _NONCE + _COMMITMENT)
        self._cipher = AESGCMSIV(secret[:32])
        self._base = int.from_bytes(secret[32 : 32 + _NONCE], "big")
        self.commitment = secret[32 + _NONCE :]

    def _nonce(self, index: int) -> bytes:
        return (self._base ^ index).to_bytes(_NONCE, "big")

    def seal(self, index: int, data: bytes | memoryview) -> bytes:
        return self._cipher.encrypt(self._nonce(index), data, None)

    def open(self, index: int, data: bytes | memoryview) -> bytes:
        return self._cipher.decrypt(self._nonce(index), data, None)


class Sealer:
    """Seals one file with the current key. ``pd`` and ``meta.size`` are of its plaintext."""

    def __init__(self, keyring: Keyring, path: bytes, pd: bytes, meta: Meta) -> None:
        keys = keyring.current
        context = keyring.context(path)
        self.salt = salt_of(keyring, keys, path, pd, meta.size)
        hdr = MAGIC + keys.id + self.salt
        self._key = _FileKey(keys, hdr, context)
        head = hdr + self._key.commitment
        sealed_meta = AESSIV(keys.meta).encrypt(_META.pack(*meta), [head, context])
        self.prefix = head + len(sealed_meta).to_bytes(2, "big") + sealed_meta
        self.size = sealed_size(meta.size)
        self.chunks = chunks_of(meta.size)
        self.last = meta.size % CHUNK
        """Bytes of plaintext in the last chunk."""

    def chunk(self, index: int, data: bytes | memoryview) -> bytes:
        """Chunk ``index`` sealed: `CHUNK` bytes of plaintext, or less if it is the last."""
        return self._key.seal(index, data)

    def whole(self, data: bytes | memoryview) -> bytes:
        """The whole file sealed, of all of its plaintext."""
        view = memoryview(data)
        parts = (
            self._key.seal(index, view[index * CHUNK : (index + 1) * CHUNK])
            for index in range(self.chunks)
        )
        return b"".join((self.prefix, *parts))


class Opener:
    """Opens one file. ``prefix``: its first `PREFIX` bytes. Raises `NotAuthentic` for what this
    keyring did not seal at ``path``. Nothing that `chunk` returns may be used before `finish`."""

    def __init__(self, keyring: Keyring, path: bytes, prefix: bytes, where: str) -> None:
        self._keyring, self._path, self._where = keyring, path, where
        if not prefix.startswith(MAGIC):
            if prefix.startswith(MAGIC[:-1]):
                raise NotAuthentic(f"{where} is sealed in a way that this version does not know.")
            raise NotAuthentic(
                f"{where} should be sealed and is not: the other side shows something else in its"
                " place. Nothing of it was taken."
            )
        if len(prefix) < PREFIX:
            raise self.damaged("it is cut short")
        key_id = prefix[len(MAGIC) : len(MAGIC) + KEY_ID_SIZE]
        keys = keyring.by_id(key_id)
        if keys is None:
            raise SealedByAnotherKey(
                f"{where} is sealed with the key {key_id.hex()}, which this key file does not"
                f" hold (it holds {', '.join(each.id.hex() for each in keyring.keys)}); name the"
                " right one with --key."
            )
        self._keys = keys
        self.salt = prefix[_HDR - SALT_SIZE : _HDR]
        context = keyring.context(path)
        self._key = _FileKey(keys, prefix[:_HDR], context)
        head = prefix[: _HDR + _COMMITMENT]
        if not hmac.compare_digest(self._key.commitment, head[_HDR:]):
            parent, name = split(path)
            plain = join(parent, unmarked(name))
            if plain != path and Opener.fits(keyring, plain, prefix):
                raise NotAuthentic(
                    f"{where} was made where there is no key, of a conflict, and is sealed for the"
                    f" name {shown(plain)}: a run with --two-way and the key takes it; or delete it"
                    " there. Nothing of it was taken."
                )
            raise self.damaged("its header is not one that was sealed for this place")
        if int.from_bytes(prefix[len(head) : len(head) + 2], "big") != _SEALED_META:
            raise self.damaged("its header is damaged")
        try:
            meta = AESSIV(keys.meta).decrypt(prefix[len(head) + 2 : PREFIX], [head, context])
        except InvalidTag:
            raise self.damaged("its header is damaged") from None
        self.meta = Meta(*_META.unpack(meta))
        self.chunks = chunks_of(self.meta.size)
        self.size = sealed_size(self.meta.size)

    @staticmethod
    def fits(keyring: Keyring, path: bytes, prefix: bytes) -> bool:
        """Whether the beginning of a file is one that was sealed for ``path``."""
        keys = keyring.by_id(prefix[len(MAGIC) : len(MAGIC) + KEY_ID_SIZE])
        if keys is None or not prefix.startswith(MAGIC) or len(prefix) < PREFIX:
            return False
        key = _FileKey(keys, prefix[:_HDR], keyring.context(path))
        return hmac.compare_digest(key.commitment, prefix[_HDR : _HDR + _COMMITMENT])

    def damaged(self, why: str) -> NotAuthentic:
        """The refusal of what is not as it was sealed."""
        return NotAuthentic(
            f"{self._where} is not as it was sealed ({why}): it was damaged or changed by somebody"
            " without the key. Nothing of it was taken."
        )

    def chunk(self, index: int, data: bytes | memoryview) -> bytes:
        """The plaintext of chunk ``index``."""
        try:
            return self._key.open(index, data)
        except (InvalidTag, ValueError):
            raise self.damaged(f"chunk {index} is damaged") from None

    def finish(self, pd: bytes, size: int) -> None:
        """See that the whole is what was sealed. ``pd``, ``size``: of all that was opened."""
        salt = salt_of(self._keyring, self._keys, self._path, pd, size)
        if size != self.meta.size or not hmac.compare_digest(salt, self.salt):
            raise self.damaged("its content is another")

    def require_size(self, size: int) -> None:
        """See that there are as many bytes of the sealed file as there must be."""
        if size != self.size:
            raise self.damaged("it is too long" if size > self.size else "it is cut short")


def seal(keyring: Keyring, path: bytes, data: bytes | memoryview, meta: Meta) -> bytes:
    """A whole sealed file."""
    return Sealer(keyring, path, hashlib.sha256(data).digest(), meta).whole(data)


def unseal(
    keyring: Keyring, path: bytes, data: bytes | memoryview, where: str
) -> tuple[Opener, bytes]:
    """What is in a whole sealed file: its opener, for what stands beside the content, and the
    plaintext. Raises `NotAuthentic`."""
    view = memoryview(data)
    opener = Opener(keyring, path, bytes(view[:PREFIX]), where)
    opener.require_size(len(view))
    parts = []
    for index in range(opener.chunks):
        at = PREFIX + index * (CHUNK + TAG)
        parts.append(opener.chunk(index, view[at : at + CHUNK + TAG]))
    plain = b"".join(parts)
    opener.finish(hashlib.sha256(plain).digest(), len(plain))
    return opener, plain


Read = Callable[[int], bytes]
"""Reads so many bytes, fewer only at the end."""


def seal_stream(
    keyring: Keyring, path: bytes, pd: bytes, meta: Meta, read: Read
) -> Iterator[bytes]:
    """A sealed file part by part, in flat memory. Raises `ChangedMeanwhile` behind the last part
    where what was read is not what ``pd`` is of: what came out must then be thrown away."""
    sealer = Sealer(keyring, path, pd, meta)
    yield sealer.prefix
    again = hashlib.sha256()
    for index in range(sealer.chunks):
        data = read(CHUNK if index + 1 < sealer.chunks else meta.size % CHUNK)
        again.update(data)
        yield sealer.chunk(index, data)
    if again.digest() != pd or read(1):
        raise ChangedMeanwhile


def unseal_stream(
    keyring: Keyring, path: bytes, read: Read, where: str
) -> Iterator[bytes | Opener]:
    """A sealed file opened part by part, in flat memory: first the `Opener`, then plaintext. What
    came out may be used only once the iterator has ended. Raises `NotAuthentic`."""
    opener = Opener(keyring, path, read(PREFIX), where)
    yield opener
    pd = hashlib.sha256()
    size = 0
    for index in range(opener.chunks):
        last = index + 1 == opener.chunks
        data = read(TAG + (opener.meta.size % CHUNK if last else CHUNK))
        plain = opener.chunk(index, data)
        pd.update(plain)
        size += len(plain)
        yield plain
    if read(1):
        raise opener.damaged("there is something behind its end")
    opener.finish(pd.digest(), size)


class Feed:
    """Opens a file that comes in parts, in flat memory, and keeps nothing of it."""

    def __init__(self, keyring: Keyring, path: bytes, where: str) -> None:
        self._of = keyring, path
        self._where = where
        self._opener: Opener | None = None
        self._waiting = bytearray()
        self._next = 0
        self._pd = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next part. Raises `NotAuthentic`."""
        self._waiting += data
        if self._opener is None:
            if len(self._waiting) < PREFIX:
                return
            self._opener = Opener(*self._of, bytes(self._waiting[:PREFIX]), self._where)
            del self._waiting[:PREFIX]
        opener = self._opener
        while self._next < opener.chunks:
            last = self._next + 1 == opener.chunks
            length = TAG + (opener.meta.size % CHUNK if last else CHUNK)
            if len(self._waiting) < length:
                return
            plain = opener.chunk(self._next, bytes(self._waiting[:length]))
            del self._waiting[:length]
            self._next += 1
            self._pd.update(plain)
            self._size += len(plain)

    def end(self) -> Opener:
        """That was all of it. Raises `NotAuthentic`."""
        if self._opener is None:
            return Opener(*self._of, bytes(self._waiting), self._where)
        if self._waiting or self._next < self._opener.chunks:
            whole = self._next == self._opener.chunks
            raise self._opener.damaged("it is too long" if whole else "it is cut short")
        self._opener.finish(self._pd.digest(), self._size)
        return self._opener


class ChangedMeanwhile(Exception):
    """A file changed between its hash and its encryption."""
