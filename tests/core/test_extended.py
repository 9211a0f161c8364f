"""Sets of extended attributes: packed, compared, with ACLs by the receiver's numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.extended import (
    PLAIN,
    Kinds,
    Mark,
    ids_of,
    mark_of,
    marks_digest,
    pack_set,
    renumbered,
    unpack_set,
)
from syncron_lib.core.table import Malformed
from tests.e2e.everything import ACL_USER, acl

ACCESS = b"system.posix_acl_access"
SETS = st.dictionaries(st.binary(min_size=1, max_size=9).map(b"user.".__add__), st.binary())
SHA = digest.available()[-1]


@given(SETS.filter(lambda each: not any(b"\0" in name for name in each)))
def test_a_set_is_unpacked_as_it_was(attributes: dict[bytes, bytes]) -> None:
    assert unpack_set(pack_set(attributes), Kinds.USER.keeps) == attributes


@given(st.binary(max_size=60))
def test_noise_is_malformed_at_most(data: bytes) -> None:
    try:
        found = unpack_set(data, (Kinds.ALL | Kinds.ACLS).keeps)
    except Malformed:
        return
    assert pack_set(found) == data


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [
        (Kinds.USER, {b"user.x"}),
        (Kinds.ALL, {b"user.x", b"trusted.x", b"security.selinux"}),
        (Kinds.ACLS, {ACCESS}),
        (Kinds.NONE, set()),
    ],
)
def test_what_is_kept(kinds: Kinds, kept: set[bytes]) -> None:
    names = {b"user.x", b"trusted.x", b"security.selinux", b"system.nfs4_acl", ACCESS}
    assert {name for name in names if kinds.keeps(name)} == kept
    for name in names - kept:
        with pytest.raises(Malformed):
            unpack_set(pack_set({name: b""}), kinds.keeps)


def test_acls_name_users_as_the_receiver_numbers_them() -> None:
    here = acl((ACL_USER, 7, 1000), 5)
    assert ids_of(here) == ({1000}, set())
    assert renumbered(here, {1000: 7}, {1000: 8}) == acl((ACL_USER, 7, 7), 5)
    assert renumbered(b"nonsense", {1: 2}, {}) == b"nonsense"
    assert ids_of(b"no") == (set(), set())


def test_marks_tell_acls_from_the_rest() -> None:
    both = mark_of(SHA, {b"user.x": b"1", ACCESS: b"2"})
    assert both == Mark(mark_of(SHA, {ACCESS: b"2"}).acls, mark_of(SHA, {b"user.x": b"1"}).others)
    assert mark_of(SHA, {}) == PLAIN
    marks = {b"a": both, b"d/x": both}
    assert marks_digest(SHA, marks, [b"d"]) == marks_digest(SHA, {b"a": both})
    assert marks_digest(SHA, marks) != marks_digest(SHA, {b"a": both, b"d": both})
