"""How ACLs and attributes are noted: whatever an entry has is read back as it was."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import notes
from syncron_lib.core.extended import ACCESS, DEFAULT

NOBODY = 0xFFFFFFFF
ALLOWED = st.integers(0, 7)
NAMED = st.dictionaries(
    st.tuples(st.sampled_from([0x02, 0x08]), st.integers(0, NOBODY - 1)), ALLOWED, max_size=4
)
PARTS = st.sampled_from([b"user.", b"rsync.", b"security.", b"trusted.", b"system.", b"x", b"%a"])


def acl(three: tuple[int, int, int], named: dict[tuple[int, int], int], mask: int | None) -> bytes:
    entries = [(tag, allowed, NOBODY) for tag, allowed in zip((1, 4, 32), three)]
    entries += [(tag, allowed, number) for (tag, number), allowed in named.items()]
    if mask is not None:
        entries.append((16, mask, NOBODY))
    entries.sort(key=lambda entry: (entry[0], entry[2]))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@given(st.tuples(ALLOWED, ALLOWED, ALLOWED), NAMED, ALLOWED, st.booleans())
def test_an_acl_is_read_back(
    three: tuple[int, int, int], named: dict[tuple[int, int], int], mask: int, masked: bool
) -> None:
    whole = acl(three, named, mask if named or masked else None)
    for name in (ACCESS, DEFAULT):
        bits, note = notes.note_of(name, whole)
        if name == DEFAULT or named or masked:
            assert notes.acl_of(name, note, 0o100000 | bits) == whole
        else:
            assert note == b""


@given(st.lists(PARTS, max_size=6).map(b"".join))
def test_a_name_is_read_back_and_nothing_else_is_read_as_it(name: bytes) -> None:
    note = notes.noted_name(name)
    if name.startswith((b"user.", b"security.", b"trusted.")):
        rsyncs = name.startswith(b"user.rsync.%")
        assert notes.named(note) == (None if rsyncs else name)
    back = notes.named(name)
    if back is not None:
        assert notes.noted_name(back) == name


@given(st.binary(max_size=60), st.integers(0, 0o7777))
def test_what_is_no_note_is_no_acl(note: bytes, mode: int) -> None:
    try:
        found = notes.acl_of(ACCESS, note, mode)
    except notes.Garbled:
        return
    # As the kernel has it, it says what the mode says.
    assert found == b"" or notes.note_of(ACCESS, found)[0] == mode & 0o777


@pytest.mark.parametrize(
    "value", [b"", b"\2\0\0\0", struct.pack("<I", 2) + struct.pack("<HHI", 1, 8, 0), b"x" * 12]
)
def test_what_is_no_acl_is_not_noted(value: bytes) -> None:
    with pytest.raises(notes.Garbled):
        notes.note_of(ACCESS, value)
