"""Digest algorithms: their names, their size, and that pieces make no difference."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest


def test_xxh3_is_preferred_and_sha256_is_always_there():
    assert [algorithm.name for algorithm in digest.available()] == ["xxh3-128", "sha256-128"]


def test_unknown_algorithms_have_no_name():
    assert digest.by_name("md5") is None
    assert digest.by_name("") is None
    for algorithm in digest.available():
        found = digest.by_name(algorithm.name)
        assert found is not None
        assert found.name == algorithm.name


# The state and the wire rely on these values: other ones mean another algorithm name.
@pytest.mark.parametrize(
    ("name", "empty", "abc"),
    [
        ("xxh3-128", "99aa06d3014798d86001c324468d497f", "06b05ab6733a618578af5f94892f3950"),
        ("sha256-128", "e3b0c44298fc1c149afbf4c8996fb924", "ba7816bf8f01cfea414140de5dae2223"),
    ],
)
def test_known_answers(name, empty, abc):
    algorithm = digest.by_name(name)
    assert algorithm is not None
    assert algorithm.of(b"").hex() == empty
    assert algorithm.of(b"abc").hex() == abc


def test_sha256_is_cut():
    algorithm = digest.by_name("sha256-128")
    assert algorithm is not None
    assert algorithm.of(b"data") == hashlib.sha256(b"data").digest()[:16]


@given(st.lists(st.binary(max_size=50), max_size=5), st.sampled_from(digest.available()))
def test_content_in_pieces_has_the_digest_of_the_whole(pieces, algorithm):
    hasher = algorithm.new()
    for piece in pieces:
        hasher.update(memoryview(piece))
    whole = b"".join(pieces)
    assert hasher.digest()[: digest.SIZE] == algorithm.of(whole)
    assert algorithm.of(memoryview(bytearray(whole))) == algorithm.of(whole)
    assert len(algorithm.of(whole)) == digest.SIZE
