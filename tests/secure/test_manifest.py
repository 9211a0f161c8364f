"""The manifest: whole, and by somebody with the key."""

from __future__ import annotations

import random

import pytest

from syncron_lib.errors import NotAuthentic, SealedByAnotherKey
from syncron_lib.secure import keyfile
from syncron_lib.secure.manifest import (
    MOST_BEFORE,
    NO_SALT,
    Entry,
    Manifest,
    came_before,
    hash_of,
    short,
)
from tests.secure.reader import Reader

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


def test_what_came_before_comes_back_and_is_read_by_the_document(keyring):
    before = tuple(bytes([number]) * 8 for number in range(3))
    entries = {**ENTRIES, b"b": ENTRIES[b"b"]._replace(before=before)}
    stored = Manifest(7, entries, names=frozenset((b"n",))).sealed(keyring)
    assert stored.startswith(b"SYNCMAN2")
    assert Manifest.opened(stored, keyring, "there") == Manifest(
        7, entries, names=frozenset((b"n",))
    )
    reader = Reader(keyfile.packed(keyring, None))
    counter, rows = reader.manifest(stored)
    assert counter == 7 and rows == {path: entry[:3] for path, entry in entries.items()}
    assert reader.before[b"b"] == list(before) and reader.names == [b"n"]
    for cut in range(1, len(stored), 3):
        with pytest.raises(NotAuthentic):
            Manifest.opened(stored[:cut], keyring, "there")


def test_two_that_were_written_apart_are_made_one(keyring):
    old, mine, theirs = (bytes([letter]) * 32 for letter in b"omt")
    base = Entry(old, 1, False)
    one = {b"same": base, b"edited": Entry(mine, 2, False, (short(old),)), b"gone": base}
    other = {
        b"same": base,
        b"edited": base,
        b"gone": Entry(old, 2, True),
        b"new": Entry(theirs, 1, False),
    }
    both = Manifest(4, one).joined(Manifest(6, other))
    assert both == Manifest(6, one).joined(Manifest(4, other)) == Manifest(6, other).joined(both)
    assert both.entries == {
        b"same": base,
        b"edited": one[b"edited"],
        b"gone": other[b"gone"],
        b"new": other[b"new"],
    }
    # Apart: whichever counts, neither is said to have come after the other.
    apart = Entry(mine, 2, False, (short(old),)), Entry(theirs, 2, False, (short(old),))
    for first, second in (apart, apart[::-1]):
        joined = first.joined(second)
        assert joined in apart and joined.before == (short(old),)
    assert apart[0].joined(Entry(mine, 3, True)).deleted
    assert not Entry(mine, 2, True).joined(apart[0]).deleted


def test_what_came_before_is_bounded_and_never_the_version_itself():
    salts = [number.to_bytes(8, "big") for number in range(300)]
    kept = came_before(salts[299] + bytes(24), salts)
    assert kept == tuple(salts[299 - MOST_BEFORE : 299])
    assert came_before(bytes(32), [salts[1], salts[2]], salts[1]) == (salts[2], salts[1])


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
