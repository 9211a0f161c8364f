"""Packs: the identity with and without compression, and `PeerViolation` on anything else."""

import stat
import struct
import tracemalloc
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.table import EMPTY
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.messages import Next, Problem
from syncron_lib.protocol.pack import (
    HEAD,
    MAX_RAW,
    PLAIN,
    End,
    Group,
    Groups,
    Pack,
    Packer,
    PackKind,
    Piece,
    read_head,
    unpack_pack,
    with_busy,
)
from tests.core.tables import Row, normal, table, tables
from tests.protocol.values import paths
from tests.trees import noise

U32 = st.integers(0, 2**32 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
attributes = st.builds(Attributes, U32, I64, U32, U32)
ways = st.sampled_from([PLAIN, Next(1, 1), Next(1, 3), Next(2, 1)])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bodies = st.one_of(
    st.binary(max_size=100), st.just(bytes(5000)), st.just(noise(5000)), st.just(b"text " * 300)
)
_flags = st.booleans()
groups = st.builds(
    Groups,
    st.lists(
        st.builds(Group, paths(), _flags, _flags, _flags, attributes, tables(max_rows=3)),
        max_size=2,
    ),
    st.lists(st.builds(Problem, paths(), texts, _flags), max_size=2),
    bodies,
)


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    body = draw(bodies)
    offset = draw(st.integers(0, 2**40))
    size = offset + len(body) + draw(st.integers(0, 2**40))
    return Piece(
        draw(paths().filter(bool)),
        draw(attributes),
        size,
        offset,
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.binary(min_size=16, max_size=16)),
        body,
    )


def _packed(pack: Pack, way: Next) -> bytes:
    packer = Packer()
    if isinstance(pack, Groups):
        parts = packer.groups(pack, way)
    elif isinstance(pack, Piece):
        parts = packer.piece(pack, way)
    else:
        parts = packer.end()
    return b"".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, Group):
        return (*value[:5], normal(value.table))
    if isinstance(value, Groups):
        return list(map(_plain, value.groups)), list(value.problems), bytes(value.body)
    if isinstance(value, Piece):
        return value._replace(body=bytes(value.body))
    return value


@given(groups | pieces() | st.just(End()), ways)
def test_unpack_undoes_pack(pack, way):
    payload = _packed(pack, way)
    found = unpack_pack(payload)
    assert type(found) is type(pack)
    assert _plain(found) == _plain(pack)
    head = read_head(payload)
    if isinstance(pack, Groups):
        assert head.files == sum(len(group.table.names) for group in pack.groups)
    if not isinstance(pack, End):
        assert head.content == len(pack.body)


@pytest.mark.parametrize("method", [1, 2])
def test_compression_is_used_where_it_pays(method):
    text, incompressible = Groups([], [], b"text " * 1000), Groups([], [], noise(5000))
    assert len(_packed(text, Next(method, 1))) < 200
    assert read_head(_packed(text, Next(method, 1))).compression == method
    assert read_head(_packed(text, Next(method, 0))).compression == 0
    assert read_head(_packed(incompressible, Next(method, 3))).compression == 0


def test_a_pack_says_how_long_it_took():
    parts = Packer().groups(Groups([], [], b"text"), PLAIN)
    payload = b"".join(with_busy(parts, 1_500))
    assert read_head(payload).busy == 1_500
    assert _plain(unpack_pack(payload)) == ([], [], b"text")


@given(groups | pieces() | st.just(End()), ways, st.data())
def test_truncated_packs_are_refused(pack, way, data):
    payload = _packed(pack, way)
    with pytest.raises(PeerViolation):
        unpack_pack(payload[: data.draw(st.integers(0, len(payload) - 1))])


@given(groups | pieces() | st.just(End()), ways, st.data())
def test_mutated_packs_are_refused_or_packs(pack, way, data):
    payload = bytearray(_packed(pack, way))
    # The front holds all that is decided by; the end is content.
    limit = min(len(payload), HEAD.size + 200)
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, limit - 1))] = data.draw(st.integers(0, 255))
    _unpacks_or_is_refused(bytes(payload))


@given(st.integers(0, 2), st.integers(0, 3), st.binary(max_size=150), st.data())
def test_noise_is_refused_or_a_pack(kind, compression, content, data):
    header_length = data.draw(st.integers(0, len(content)))
    head = HEAD.pack(kind, compression, 0, 0, 0, 0, header_length, len(content))
    _unpacks_or_is_refused(head + content)
    _unpacks_or_is_refused(content)


def _unpacks_or_is_refused(payload: bytes) -> None:
    try:
        found = unpack_pack(payload)
    except PeerViolation:
        return
    assert isinstance(found, (Groups, Piece, End))


@pytest.mark.parametrize(
    "path", [b"/etc/passwd", b"../x", b"a/../../x", b"a//b", b".", b"a\0", b"x" * 256]
)
def test_paths_that_lead_out_of_the_tree_are_refused(path):
    own = Attributes(0, 0, 0, 0)
    for pack in (
        Groups([Group(path, True, True, False, own, EMPTY)], [], b""),
        Groups([], [Problem(path, "", False)], b""),
        Piece(path, own, 0, 0, True, False, bytes(16), b""),
    ):
        with pytest.raises(PeerViolation, match="leads out of the tree"):
            unpack_pack(_packed(pack, PLAIN))


def test_a_file_is_not_the_root():
    piece = Piece(b"", Attributes(0, 0, 0, 0), 0, 0, True, False, bytes(16), b"")
    with pytest.raises(PeerViolation, match="is the root"):
        unpack_pack(_packed(piece, PLAIN))


@pytest.mark.parametrize(
    ("size", "offset", "body"),
    [(4, 0, b"12345"), (4, 5, b""), (10, 6, b"12345"), (1 << 63, 0, b"")],
)
def test_a_piece_lies_in_its_file(size, offset, body):
    piece = Piece(b"f", Attributes(0, 0, 0, 0), size, offset, True, False, bytes(16), body)
    with pytest.raises(PeerViolation, match="outside of its file"):
        unpack_pack(_packed(piece, PLAIN))


# --- limits ----------------------------------------------------------------------------------


def _refused_without_memory(payload: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PeerViolation):
            unpack_pack(payload)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("announced", [MAX_RAW + 1, (1 << 32) - 1])
def test_an_announced_size_over_the_limit_is_refused(announced):
    _refused_without_memory(HEAD.pack(PackKind.GROUPS, 1, 0, 0, 0, 0, 8, announced) + bytes(100))


def test_a_decompression_bomb_is_refused():
    bomb = zstandard.ZstdCompressor().compress(bytes(256 << 20))
    assert len(bomb) < 50_000
    for announced in (100, MAX_RAW):
        _refused_without_memory(HEAD.pack(PackKind.GROUPS, 1, 0, 0, 0, 0, 8, announced) + bomb)


def test_a_bomb_that_does_not_say_its_size_is_refused():
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    bomb = compressor.compress(bytes(64 << 20)) + compressor.flush()
    _refused_without_memory(HEAD.pack(PackKind.GROUPS, 1, 0, 0, 0, 0, 8, 100) + bomb)


def test_a_bomb_that_lies_about_its_size_is_refused():
    """The frame announces what the head does, and holds more."""
    bomb = bytearray(zstandard.ZstdCompressor().compress(bytes(64 << 20)))
    at = bomb.index(struct.pack("<I", 64 << 20))
    bomb[at : at + 4] = struct.pack("<I", 100_000)
    assert zstandard.get_frame_parameters(bytes(bomb)).content_size == 100_000
    _refused_without_memory(HEAD.pack(PackKind.GROUPS, 1, 0, 0, 0, 0, 8, 100_000) + bytes(bomb))


def test_many_groups_that_the_header_cannot_hold():
    header = struct.pack("<I", (1 << 32) - 1) + bytes(50)
    _refused_without_memory(
        HEAD.pack(PackKind.GROUPS, 0, 0, 0, 0, 0, len(header), len(header)) + header
    )


# --- the format ------------------------------------------------------------------------------

_OWN = Attributes(stat.S_IFDIR | 0o755, -1, 1000, 100)
_ROWS = table(
    Row(b"a", stat.S_IFREG | 0o644, 3, 5, 1, 2, bytes(range(16))),
    Row(b"b", stat.S_IFLNK | 0o777, target=b"a"),
)


@pytest.mark.parametrize(
    ("pack", "hexadecimal"),
    [
        (
            Groups(
                [Group(b"d", True, False, False, _OWN, _ROWS)],
                [Problem(b"x", "gone", True)],
                b"abc",
            ),
            (
                "00000200000000000000010000000300000000000000980000009b00000001000000010000006401ed4100"
                "00ffffffffffffffffe8030000640000000200000003000000610062a4810000ffa100"
                "0003000000000000000000000000000000050000000000000000000000000000000100"
                "0000000000000200000000000000000102030405060708090a0b0c0d0e0f0000000000"
                "0000000000000000000000010000006101000000010000007804000000676f6e650161"
                "6263"
            ),
        ),
        (
            Piece(b"d/big", _OWN, 1 << 33, 1 << 32, True, False, bytes(range(16)), b"tail"),
            (
                "010001000000000000000000000004000000000000003e0000004200000005000000642f626967ed410000"
                "ffffffffffffffffe80300006400000000000000020000000000000001000000010001"
                "02030405060708090a0b0c0d0e0f7461696c"
            ),
        ),
        (
            Piece(b"f", _OWN, 9, 0, True, True, bytes(16), b""),
            (
                "010000000000000000000000000000000000000000003a0000003a0000000100000066ed410000ffffffff"
                "ffffffffe8030000640000000900000000000000000000000000000003000000000000"
                "00000000000000000000"
            ),
        ),
        (End(), "020000000000000000000000000000000000000000000000000000000000"),
    ],
    ids=["groups", "piece", "failed", "end"],
)
def test_golden_bytes(pack, hexadecimal):
    """A change here is a change of the protocol: it needs another `messages.VERSION`."""
    payload = _packed(pack, PLAIN)
    assert payload.hex() == hexadecimal
    assert _plain(unpack_pack(payload)) == _plain(pack)
