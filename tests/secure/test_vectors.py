"""The format is what it was, and what its document says."""

from __future__ import annotations

import json
import random

import pytest

from syncron_lib.core.sealing import CHUNK
from syncron_lib.secure import keyfile, sealed
from syncron_lib.secure.keyfile import Cost
from syncron_lib.secure.manifest import Manifest
from syncron_lib.secure.names import NameSealer
from syncron_lib.secure.sealed import Meta
from tests.secure import vectors
from tests.secure.reader import Plain, Reader

KNOWN = json.loads(vectors.FILE.read_text())


def test_the_code_gives_the_known_answers():
    assert vectors.computed() == KNOWN


@pytest.mark.parametrize(("which", "passphrase"), [("bare", b""), ("wrapped", vectors.PASSPHRASE)])
def test_a_reader_that_knows_the_document_only_reads_all_of_it(which, passphrase):
    reader = Reader(KNOWN[which].encode(), passphrase)
    ring = vectors.keyring()
    assert reader.root_id == ring.root_id and set(reader.keys) == {keys.id for keys in ring.keys}
    for size in (0, 17, CHUNK, CHUNK + 1, 5 * CHUNK - 1):
        data = random.Random(size).randbytes(size)
        meta = Meta(size, 0o4640, -7, 3)
        for keyring in (ring, ring._replace(keys=ring.keys[1:])):
            stored = sealed.seal(keyring, b"dir/\xff", data, meta)
            assert reader.open(b"dir/\xff", stored) == Plain(data, *meta[1:])
    short = KNOWN["files"]["short"]
    stored = bytes.fromhex(short["begins"])
    assert reader.open(bytes.fromhex(short["path"]), stored).content.hex() == short["plain"]
    stored = bytes.fromhex(KNOWN["manifest"])
    counter, rows = reader.manifest(stored)
    manifest = Manifest.opened(stored, ring, "")
    assert counter == manifest.counter
    assert rows == {path: entry[:3] for path, entry in manifest.entries.items()}
    assert reader.names_key == manifest.names_key
    assert frozenset(reader.names) == manifest.names
    names = NameSealer(ring, ring.current)
    for name in (b".env", b"n" * 200):
        assert reader.seal_name(b"", name) == names.seal(b"", name)
    there = names.seal_path(b"secrets/link")
    assert reader.open_target(there, KNOWN["target"].encode()) == b"../to/where"
    assert reader.open_name(b"", reader.seal_name(b"", b".env")) == b".env"


def test_the_known_key_files_open():
    for which, passphrase in (("bare", b""), ("wrapped", vectors.PASSPHRASE)):
        found = keyfile.unpacked(KNOWN[which].encode(), lambda p=passphrase: p, which)  # type: ignore[misc]
        assert found == vectors.keyring()


def test_a_wrapped_key_file_of_the_default_cost_opens(keyring):
    content = keyfile.packed(keyring, b"p")
    assert Reader(content, b"p").root_id == keyring.root_id
    assert Cost().is_sane
