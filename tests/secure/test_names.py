"""Sealed names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncron_lib.core.names import is_valid_name
from syncron_lib.secure.names import LONGEST, NameSealer


@pytest.fixture
def names(keyring) -> NameSealer:
    return NameSealer(keyring, keyring.current)


def test_names_come_back_where_they_were_sealed_only(names):
    for name in (b"a", b".env", b"\xff\x01 \n", b"n" * LONGEST):
        hidden = names.seal(b"", name)
        assert is_valid_name(hidden) and hidden == hidden.lower()
        assert name not in hidden or len(name) == 1
        assert names.open(b"", hidden) == name
        assert names.open(b"elsewhere", hidden) is None
        assert hidden != names.seal(b"elsewhere", name)


def test_the_longest_names_are_hashed(names):
    hidden = names.seal(b"", b"n" * (LONGEST + 1))
    assert is_valid_name(hidden) and len(names.seal(b"", b"n" * LONGEST)) == 255
    assert names.open(b"", hidden) is None
    assert hidden != names.seal(b"", b"n" * (LONGEST + 2))


def test_a_path_is_sealed_component_by_component(names):
    top = names.seal(b"", b"secrets")
    assert names.seal_path(b"secrets/key") == top + b"/" + names.seal(top, b"key")


def test_what_is_no_sealed_name_is_none(names):
    hidden = names.seal(b"", b"name")
    for bent in (b"", b"readme.md", hidden.upper(), hidden + b"=", hidden[:-1], b"0" + hidden[1:]):
        assert names.open(b"", bent) is None or bent == hidden


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_noise_is_none(data):
    from syncron_lib.secure import keyfile

    ring = keyfile.new(lambda size: b"k" * size)
    assert NameSealer(ring, ring.current).open(b"", data) is None
