"""The manifest: whole, and by somebody with the key."""

from __future__ import annotations

import random

import pytest

from syncron_lib.errors import NotAuthentic, SealedByAnotherKey
from syncron_lib.secure.manifest import NO_SALT, Entry, Manifest, hash_of

ENTRIES = {
    b"b": Entry(b"s" * 32, 3, False),
    b"a/\xff": Entry(b"t" * 32, 1, True),
    b"new": Entry(NO_SALT, 0, False),
}


def test_a_manifest_comes_back(keyring):
    manifest = Manifest(7, ENTRIES)
    stored = manifest.sealed(keyring)
    assert Manifest.opened(stored, keyring, "there") == manifest
    assert stored == manifest.sealed(keyring)
    for hidden in (b"a/\xff", b"new", b"s" * 32):
        assert hidden not in stored
    assert Manifest.opened(stored, keyring.rotated(b"n" * 32), "there") == manifest
    assert hash_of(stored) != hash_of(Manifest(8, ENTRIES).sealed(keyring))


def test_none_is_the_empty_one(keyring):
    assert Manifest.opened(b"", keyring, "there") == Manifest(0, {})


def test_every_flipped_bit_and_every_cut_is_found(keyring, other):
    stored = Manifest(7, ENTRIES).sealed(keyring)
    for bit in range(len(stored) * 8):
        bent = bytearray(stored)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NotAuthentic):
            Manifest.opened(bytes(bent), keyring, "there")
    for cut in range(1, len(stored)):
        with pytest.raises(NotAuthentic):
            Manifest.opened(stored[:cut], keyring, "there")
    for noise in (stored + b"x", random.Random(1).randbytes(200)):
        with pytest.raises(NotAuthentic):
            Manifest.opened(noise, keyring, "there")
    with pytest.raises(SealedByAnotherKey):
        Manifest.opened(stored, other, "there")


def test_a_manifest_of_another_root_is_refused(keyring):
    stored = Manifest(7, ENTRIES).sealed(keyring)
    with pytest.raises(NotAuthentic):
        Manifest.opened(stored, keyring._replace(root_id=b"r" * 16), "there")
