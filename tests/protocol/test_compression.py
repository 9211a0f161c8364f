"""Compression: what is tried, what is worth it, and limits to what is undone."""

import random
import tracemalloc
import zlib

import pytest
import zstandard

from syncron_lib.core.table import Malformed
from syncron_lib.protocol.compression import MAX_LEVEL, Compressor, Method, available, decompress
from tests.trees import noise

TEXT = b" ".join(b"%d" % random.Random(1).randrange(1 << number % 20) for number in range(200_000))
METHODS = pytest.mark.parametrize("method", [Method.ZSTD, Method.ZLIB], ids=["zstd", "zlib"])


def test_what_these_tests_run_on_has_both() -> None:
    assert available() == ["zstd", "zlib"]


@METHODS
def test_every_level_there_is(method: Method) -> None:
    for level in (1, MAX_LEVEL[method]):
        packed = Compressor().compress(method, level, b"head", TEXT[:100_000])
        assert packed is not None
        whole = b"head" + TEXT[:100_000]
        assert decompress(method, memoryview(packed), len(whole)) == whole


@METHODS
def test_noise_is_found_out_by_a_sample(method: Method) -> None:
    """Only the sample is looked at: what is between is not, though it would shrink."""
    size = 1 << 20
    body = bytearray(noise(size))
    assert Compressor().compress(method, 1, b"", body) is None
    body[100_000:250_000] = bytes(150_000)
    assert Compressor().compress(method, 1, b"", body) is None


@METHODS
def test_a_part_that_shrinks_is_enough(method: Method) -> None:
    body = noise(512 << 10) + TEXT[: 512 << 10]
    packed = Compressor().compress(method, 1, b"", body)
    assert packed is not None
    assert len(packed) < 0.85 * len(body)


@METHODS
@pytest.mark.parametrize("announced", [0, 1, 1000, 1 << 20])
def test_a_bomb_takes_no_more_than_was_announced(method: Method, announced: int) -> None:
    content = bytes(64 << 20)
    bomb = zlib.compress(content) if method is Method.ZLIB else zstandard.compress(content)
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decompress(method, memoryview(bomb), announced)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_bytes_behind_a_zlib_stream_are_refused() -> None:
    with pytest.raises(Malformed):
        decompress(Method.ZLIB, memoryview(zlib.compress(TEXT) + b"x"), len(TEXT))


@METHODS
def test_a_stream_that_is_cut_is_refused(method: Method) -> None:
    packed = Compressor().compress(method, 1, b"", TEXT)
    assert packed is not None
    for wrong in (packed[:-1], packed[: len(packed) // 2], b""):
        with pytest.raises(Malformed):
            decompress(method, memoryview(wrong), len(TEXT))
