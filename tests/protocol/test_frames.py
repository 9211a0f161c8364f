"""Frame headers: golden bytes, and a limit that is looked at before anything is allocated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.frames import HEADER, MAX_PAYLOAD, Header, pack_header, unpack_header

lengths = st.integers(0, MAX_PAYLOAD)


@given(lengths, st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_unpack_undoes_pack(length, kind, request):
    packed = pack_header(length, kind, request)
    assert len(packed) == HEADER.size
    for view in (packed, bytearray(packed), memoryview(packed)):
        assert unpack_header(view) == Header(length, kind, request)


def test_golden_bytes():
    assert pack_header(0x010203, 0x41, 0x0A0B0C0D).hex() == "00010203410a0b0c0d"


@pytest.mark.parametrize("length", [MAX_PAYLOAD + 1, 1 << 31, (1 << 32) - 1])
def test_a_frame_over_the_limit_is_refused(length):
    with pytest.raises(PeerViolation, match=f"{length} bytes"):
        unpack_header(HEADER.pack(length, 1, 1))


def test_our_own_frame_over_the_limit_is_our_own_mistake():
    with pytest.raises(ValueError, match="over the limit"):
        pack_header(MAX_PAYLOAD + 1, 1, 1)
