"""A reader of key files, sealed files and manifests, written from docs/secure-format.md alone. It
imports nothing of syncron."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([count]), "sha256")
        out += block
        count += 1
    return out[:length]


def lp(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def base32(data: bytes) -> bytes:
    return base64.b32hexencode(data).rstrip(b"=").lower()


class Key(NamedTuple):
    id: bytes
    siv: bytes
    enc: bytes
    meta: bytes
    name: bytes
    man: bytes


class Plain(NamedTuple):
    content: bytes
    mode: int
    mtime_ns: int
    generation: int


class Reader:
    def __init__(self, key_file: bytes, passphrase: bytes = b"") -> None:
        magic, text = key_file.rstrip(b"\n").split(b" ")
        assert magic == b"SYNCKEY1"
        data = base64.b64decode(text)
        self.root_id = data[1:17]
        if data[0] == 0:
            count, keys = data[17], data[18:-16]
            assert hashlib.sha256(magic + data[:-16]).digest()[:16] == data[-16:]
        else:
            m, t, p = struct.unpack(">III", data[33:45])
            count, head, nonce = data[45], data[:46], data[46:58]
            kek = Argon2id(salt=data[17:33], length=32, iterations=t, lanes=p, memory_cost=m)
            cipher = ChaCha20Poly1305(kek.derive(passphrase))
            keys = cipher.decrypt(nonce, data[58:], magic + head)
        assert len(keys) == 32 * count
        self.keys: dict[bytes, Key] = {}
        for at in range(0, len(keys), 32):
            sizes = (("id", 8), ("siv", 32), ("enc", 32), ("meta", 64), ("name", 64), ("man", 32))
            master = keys[at : at + 32]
            key = Key(
                *(
                    hkdf_expand(master, b"syncron/secure/v1/" + label.encode(), size)
                    for label, size in sizes
                )
            )
            self.keys[key.id] = key

    def open(self, path: bytes, data: bytes) -> Plain:
        hdr, commitment = data[:48], data[48:80]
        assert hdr[:8] == b"SYNCSEC1"
        key, salt = self.keys[hdr[8:16]], hdr[16:48]
        ctx = lp(self.root_id, path)
        secret = hkdf_expand(key.enc, b"file" + lp(hdr, ctx), 76)
        assert secret[44:] == commitment
        (length,) = struct.unpack(">H", data[80:82])
        meta = AESSIV(key.meta).decrypt(data[82 : 82 + length], [hdr + commitment, ctx])
        size, mode, mtime, generation = struct.unpack(">QIqQ", meta)
        cipher, base = AESGCMSIV(secret[:32]), int.from_bytes(secret[32:44], "big")
        at, content = 82 + length, b""
        for index in range(size // 65536 + 1):
            here = min(65536, size - 65536 * index) + 16
            chunk = data[at : at + here]
            assert len(chunk) == here
            content += cipher.decrypt((base ^ index).to_bytes(12, "big"), chunk, None)
            at += here
        assert at == len(data)
        pd = hashlib.sha256(content).digest()
        assert salt == hmac.digest(key.siv, lp(b"v1", ctx, pd, struct.pack(">Q", size)), "sha256")
        return Plain(content, mode, mtime, generation)

    def manifest(self, data: bytes) -> tuple[int, dict[bytes, tuple[bytes, int, bool]]]:
        head = data[:16]
        assert head[:8] in (b"SYNCMAN1", b"SYNCMAN2")
        rows = AESSIV(self.keys[head[8:]].man).decrypt(data[16:], [head, self.root_id])
        counter, _, self.names_key, count = struct.unpack_from(">QB8sI", rows)
        at, found = 21, {}
        self.ids: dict[bytes, bytes] = {}
        self.before: dict[bytes, list[bytes]] = {}
        for _ in range(count):
            (length,) = struct.unpack_from(">I", rows, at)
            path = rows[at + 4 : at + 4 + length]
            salt, generation, deleted = struct.unpack_from(">32sQB", rows, at + 4 + length)
            found[path] = salt, generation, bool(deleted)
            at += 4 + length + 41
            if head[:8] == b"SYNCMAN2":
                self.ids[path], at = rows[at : at + 8], at + 8
                end = at + 1 + 8 * rows[at]
                self.before[path] = [rows[each : each + 8] for each in range(at + 1, end, 8)]
                at = end
        self.names = []
        while at < len(rows):
            (length,) = struct.unpack_from(">I", rows, at)
            self.names.append(rows[at + 4 : at + 4 + length])
            at += 4 + length
        assert at == len(rows)
        return counter, found

    def seal_name(self, parent: bytes, name: bytes) -> bytes:
        """As it stands in the directory whose path on the remote is ``parent``."""
        key, place = self.keys[self.names_key].name, self.root_id + parent
        if len(name) > 143:
            return b"~" + base32(hmac.digest(key, lp(place, name), "sha256"))
        return base32(AESSIV(key).encrypt(name, [place]))

    def open_name(self, parent: bytes, sealed: bytes) -> bytes:
        return self._opened(sealed, [self.root_id + parent])

    def open_target(self, there: bytes, sealed: bytes) -> bytes:
        return self._opened(sealed, [self.root_id + there, b"target"])

    def _opened(self, sealed: bytes, place: list[bytes]) -> bytes:
        data = base64.b32hexdecode(sealed.upper() + b"=" * (-len(sealed) % 8))
        return AESSIV(self.keys[self.names_key].name).decrypt(data, place)
