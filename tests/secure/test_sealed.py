"""Sealed files: what was sealed comes back, and nothing else does."""

from __future__ import annotations

import hashlib
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncron_lib.core.sealing import CHUNK, MAGIC, PREFIX, TAG, plain_size, sealed_size
from syncron_lib.errors import NotAuthentic, SealedByAnotherKey
from syncron_lib.secure import keyfile, sealed
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.sealed import Meta, Opener
from tests.deep import DEEP

PATH = b"secrets/.env"
SIZES = (0, 1, 15, 16, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5)
TAMPERED = 100_000 if DEEP else 10_000


def meta_of(data: bytes, generation: int = 1) -> Meta:
    return Meta(len(data), 0o640, -5, generation)


def seal(keyring: Keyring, data: bytes, path: bytes = PATH, generation: int = 1) -> bytes:
    return sealed.seal(keyring, path, data, meta_of(data, generation))


def unseal(keyring: Keyring, data: bytes, path: bytes = PATH) -> tuple[Meta, bytes]:
    opener, plain = sealed.unseal(keyring, path, data, "it")
    return opener.meta, plain


def chunks(data: bytes) -> list[bytes]:
    step = CHUNK + TAG
    return [data[at : at + step] for at in range(PREFIX, len(data), step)]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_comes_back(keyring, size):
    data = random.Random(size).randbytes(size)
    stored = seal(keyring, data)
    assert unseal(keyring, stored) == (meta_of(data), data)
    assert len(stored) == sealed_size(size)
    assert plain_size(len(stored)) == size
    assert len(chunks(stored)[-1]) < CHUNK + TAG


def test_sizes_that_no_sealed_file_has():
    none = [0, PREFIX, PREFIX + TAG - 1, PREFIX + CHUNK + TAG, PREFIX + CHUNK + TAG + TAG - 1]
    assert [plain_size(size) for size in none] == [None] * len(none)
    assert plain_size(PREFIX + TAG) == 0


@pytest.mark.parametrize("size", SIZES)
def test_streams_give_the_same(keyring, size):
    data = random.Random(size).randbytes(size)
    pd = hashlib.sha256(data).digest()
    parts = sealed.seal_stream(keyring, PATH, pd, meta_of(data), io.BytesIO(data).read)
    stored = b"".join(parts)
    assert stored == seal(keyring, data)
    opener, *plain = sealed.unseal_stream(keyring, PATH, io.BytesIO(stored).read, "it")
    assert isinstance(opener, Opener) and opener.meta == meta_of(data)
    assert b"".join(part for part in plain if isinstance(part, bytes)) == data


@pytest.mark.parametrize("now", [b"y" * 100_000, b"x" * 99_999, b"x" * 100_001])
def test_a_file_that_changes_between_hash_and_encryption_is_told(keyring, now):
    """And what has come out by then is sealed as ever: no XOR of the two contents."""
    before = b"x" * 100_000
    pd = hashlib.sha256(before).digest()
    parts: list[bytes] = []
    with pytest.raises(sealed.ChangedMeanwhile):
        stream = sealed.seal_stream(keyring, PATH, pd, meta_of(before), io.BytesIO(now).read)
        parts.extend(stream)
    old = chunks(seal(keyring, before))[0]
    new = parts[1]
    if now[:CHUNK] != before[:CHUNK]:
        difference = bytes(a ^ b for a, b in zip(old, new))
        plain = bytes(a ^ b for a, b in zip(before, now))
        assert difference[:64] != plain[:64] and difference[:16] != difference[16:32]


def test_the_same_is_sealed_to_the_same_and_nothing_else_is(keyring, other):
    assert seal(keyring, b"secret") == seal(keyring, b"secret")
    alike = [
        seal(keyring, b"secret"),
        seal(keyring, b"secret", b"secrets/other"),
        seal(other, b"secret"),
        seal(keyring.rotated(b"n" * 32), b"secret"),
        seal(Keyring(b"r" * 16, keyring.keys), b"secret"),
    ]
    for start, length in ((16, 32), (48, 32), (PREFIX, 22)):  # salts, commitments, contents
        assert len({data[start : start + length] for data in alike}) == len(alike)
    salts = seal(keyring, b"x" * 10)[16:48], seal(keyring, b"x" * 11)[16:48]
    assert salts[0] != salts[1]


def test_a_touch_changes_no_more_than_the_beginning(keyring):
    data = random.Random(3).randbytes(5 * CHUNK)
    first = sealed.seal(keyring, PATH, data, Meta(len(data), 0o600, 1, 1))
    second = sealed.seal(keyring, PATH, data, Meta(len(data), 0o640, 2, 2))
    assert first != second
    assert first[200:] == second[200:] and first[:80] == second[:80]


def test_old_keys_open_and_the_new_one_seals(keyring):
    rotated = keyring.rotated(b"n" * 32)
    old = seal(keyring, b"secret")
    assert unseal(rotated, old)[1] == b"secret"
    new = seal(rotated, b"secret")
    assert new[8:16] == rotated.current.id != old[8:16]
    assert unseal(rotated, new)[1] == b"secret"
    with pytest.raises(SealedByAnotherKey, match=new[8:16].hex()):
        unseal(keyring, new)


def test_swapped_files_and_files_of_another_root_are_refused(keyring):
    first, second = seal(keyring, b"first", b"a"), seal(keyring, b"second", b"b")
    for data, path in ((first, b"b"), (second, b"a")):
        with pytest.raises(NotAuthentic, match="not one that was sealed for this place"):
            unseal(keyring, data, path)
    with pytest.raises(NotAuthentic):
        unseal(Keyring(b"r" * 16, keyring.keys), first, b"a")


def test_a_copy_that_was_made_without_the_key_is_called_what_it_is(keyring):
    data = seal(keyring, b"secret", b"d/a.env")
    copy = b"d/a.syncron-conflict-0123456789.env"
    with pytest.raises(NotAuthentic, match=r"sealed for the name d/a\.env: a run"):
        unseal(keyring, data, copy)
    with pytest.raises(NotAuthentic, match="not one that was sealed for this place"):
        unseal(keyring, data, b"e/a.syncron-conflict-0123456789.env")


def test_plaintext_is_no_sealed_file(keyring):
    for data in (b"", b"PASSWORD=x", b"SYNCSEC", b"x" * 1000):
        with pytest.raises(NotAuthentic):
            unseal(keyring, data)
    with pytest.raises(NotAuthentic, match="does not know"):
        unseal(keyring, b"SYNCSEC2" + seal(keyring, b"x")[8:])


def splices(keyring: Keyring, data: bytes) -> list[bytes]:
    """Sealed files put together from parts of others: all of them authentic by themselves."""
    stored = seal(keyring, data)
    earlier = seal(keyring, data[:-1] + b"!")
    elsewhere = seal(keyring, data, b"elsewhere")
    newer = seal(keyring, data, generation=2)
    own = chunks(stored)
    head = stored[:PREFIX]
    return [
        head + b"".join(own[:-1]),
        head + b"".join(own[1:]),
        head + b"".join(own[::-1]),
        head + own[0] + b"".join(own),
        head + b"".join(own) + own[-1],
        head + b"".join(own) + own[0],
        head + b"".join(chunks(earlier)),
        head + own[0] + b"".join(chunks(earlier)[1:]),
        head + b"".join(chunks(elsewhere)),
        stored[:80] + earlier[80:PREFIX] + stored[PREFIX:],
        stored[:48] + earlier[48:80] + stored[80:],
        earlier[:PREFIX] + stored[PREFIX:],
        stored[:80] + elsewhere[80:PREFIX] + stored[PREFIX:],
        newer[:PREFIX] + stored[PREFIX:-1],
    ]


@pytest.mark.parametrize("size", [CHUNK, 3 * CHUNK + 5])
def test_splices_are_refused(keyring, size):
    data = random.Random(size).randbytes(size)
    for number, spliced in enumerate(splices(keyring, data)):
        with pytest.raises(NotAuthentic):
            unseal(keyring, spliced)
            raise AssertionError(number)
        with pytest.raises(NotAuthentic):
            for _ in sealed.unseal_stream(keyring, PATH, io.BytesIO(spliced).read, "it"):
                pass


def tamper(chance: random.Random, data: bytes) -> bytes:
    """``data`` as somebody without the key may make it."""
    bent = bytearray(data)
    at = chance.randrange(len(bent))
    how = chance.randrange(6)
    if how == 0:
        bent[at] ^= 1 << chance.randrange(8)
    elif how == 1:
        del bent[at:]
    elif how == 2:
        bent += chance.randbytes(chance.randrange(1, 40))
    elif how == 3:
        del bent[at : at + chance.randrange(1, 20)]
    elif how == 4:
        bent[at:at] = chance.randbytes(chance.randrange(1, 20))
    else:
        start = chance.randrange(len(bent))
        part = bytes(bent[start : start + 16])
        bent[at : at + len(part)] = part
    return bytes(bent)


def test_thousands_of_tampered_files_are_refused(keyring):
    chance = random.Random(TAMPERED)
    samples = [
        (seal(keyring, chance.randbytes(size)), size) for size in (0, 1, 40, 200, CHUNK, CHUNK + 9)
    ]
    refused = 0
    while refused < TAMPERED:
        stored, size = samples[0] if refused % 10 else chance.choice(samples)
        if size == 0:
            stored = chance.choice(samples[:4])[0]
        bent = tamper(chance, stored)
        if bent == stored:
            continue
        with pytest.raises(NotAuthentic):
            unseal(keyring, bent)
        if refused % 20 == 0:
            with pytest.raises(NotAuthentic):
                for _ in sealed.unseal_stream(keyring, PATH, io.BytesIO(bent).read, "it"):
                    pass
        refused += 1


def test_every_flipped_bit_is_found(keyring):
    stored = seal(keyring, b"secret")
    for bit in range(len(stored) * 8):
        bent = bytearray(stored)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NotAuthentic):
            unseal(keyring, bytes(bent))


@settings(max_examples=200 if DEEP else 40, deadline=None)
@given(
    st.binary(max_size=300),
    st.binary(min_size=1, max_size=30),
    st.integers(0, 0o7777),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1),
)
def test_whatever_is_sealed_comes_back(data, path, mode, mtime, generation):
    keyring = keyfile.new(random.Random(1).randbytes)
    meta = Meta(len(data), mode, mtime, generation)
    opener, plain = sealed.unseal(keyring, path, sealed.seal(keyring, path, data, meta), "it")
    assert (opener.meta, plain) == (meta, data)


@settings(max_examples=200 if DEEP else 40, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_refused(data):
    keyring = keyfile.new(random.Random(1).randbytes)
    for noise in (data, MAGIC + keyring.current.id + data):
        with pytest.raises(NotAuthentic):
            unseal(keyring, noise)
