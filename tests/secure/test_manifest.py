"""The manifest: whole, and by somebody with the key."""

from __future__ import annotations

import hashlib
import random

import pytest

from syncron_lib.errors import NotAuthentic, SealedByAnotherKey
from syncron_lib.secure import keyfile
from syncron_lib.secure.manifest import (
    MOST_BEFORE,
    NO_ID,
    NO_SALT,
    Entry,
    Manifest,
    came_before,
    hash_of,
    version_id,
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
    own = version_id(b"s" * 32, 3, 0o640, -1)
    entries = {**ENTRIES, b"b": ENTRIES[b"b"]._replace(id=own, before=before)}
    stored = Manifest(7, entries, names=frozenset((b"n",))).sealed(keyring)
    assert stored.startswith(b"SYNCMAN2")
    assert Manifest.opened(stored, keyring, "there") == Manifest(
        7, entries, names=frozenset((b"n",))
    )
    reader = Reader(keyfile.packed(keyring, None))
    counter, rows = reader.manifest(stored)
    assert counter == 7 and rows == {path: entry[:3] for path, entry in entries.items()}
    assert reader.before[b"b"] == list(before) and reader.names == [b"n"]
    meta = b"\0\0\0\0\0\0\0\x03" + b"\0\0\x01\xa0" + b"\xff" * 8
    assert reader.ids == {
        b"b": hashlib.sha256(b"s" * 32 + meta).digest()[:8],
        b"a/\xff": NO_ID,
        b"new": NO_ID,
    }
    for cut in range(1, len(stored), 3):
        with pytest.raises(NotAuthentic):
            Manifest.opened(stored[:cut], keyring, "there")


def test_two_that_were_written_apart_are_made_one(keyring):
    old, mine, theirs = (bytes([letter]) * 32 for letter in b"omt")
    first, edited, apart = (
        version_id(*each) for each in ((old, 1, 0, 0), (mine, 2, 0, 0), (theirs, 2, 0, 0))
    )
    base = Entry(old, 1, False, first)
    one = {b"same": base, b"edited": Entry(mine, 2, False, edited, (first,)), b"gone": base}
    other = {
        b"same": base,
        b"edited": base,
        b"gone": base._replace(generation=2, deleted=True),
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
    pair = one[b"edited"], Entry(theirs, 2, False, apart, (first,))
    for left, right in (pair, pair[::-1]):
        joined = left.joined(right)
        assert joined in pair and joined.before == (first,)
    assert pair[0].joined(Entry(mine, 3, True)).deleted
    assert not Entry(mine, 2, True).joined(pair[0]).deleted
    # What is made of an earlier version with the same content did not come after a later one.
    back = Entry(old, 3, False, version_id(old, 3, 0, 0), (first, edited))
    later = Entry(theirs, 4, False, apart, (first, edited))
    assert back.joined(later) == later
    known = later._replace(before=(*later.before, back.id))
    assert back.joined(known) == known


def test_who_knows_the_same_writes_the_same():
    before = [version_id(bytes(32), number, 0, 0) for number in range(5)]
    orders = [
        tuple(random.Random(seed).sample(before, count)) for seed in range(8) for count in (3, 5)
    ]
    entry = Entry(b"s" * 32, 9, False, version_id(b"s" * 32, 9, 0, 0))
    for one in orders:
        for other in orders:
            both = entry._replace(before=one).joined(entry._replace(before=other))
            assert both == entry._replace(before=other).joined(entry._replace(before=one))
            assert set(both.before) == {*one, *other}
            assert both == both.joined(entry._replace(before=one)) == both.after(other)


def test_what_came_before_is_bounded_and_never_the_version_itself():
    ids = [number.to_bytes(8, "big") for number in range(300)]
    kept = came_before(ids[299], ids)
    assert kept == tuple(ids[299 - MOST_BEFORE : 299])
    assert came_before(NO_ID, [ids[1], ids[2]], ids[1]) == (ids[2], ids[1])


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
