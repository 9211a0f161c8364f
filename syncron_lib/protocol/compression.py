"""Compression of packs: which ways there are, what pays, and undoing it within limits.

zstandard is imported when it is first used: most runs move nothing, and its import takes longer
than all of a helper's own.
"""

from __future__ import annotations

from enum import IntEnum
from importlib.machinery import PathFinder
from typing import Any, Optional, Union

from syncron_lib.core.table import Malformed

Buffer = Union[bytes, bytearray, memoryview]


class Method(IntEnum):
    """How a pack is compressed, as its head says."""

    NONE = 0
    ZSTD = 1
    ZLIB = 2


BY_NAME = {"zstd": Method.ZSTD, "zlib": Method.ZLIB}
"""What a greeting calls them; the better one first."""

MAX_LEVEL: dict[int, int] = {Method.NONE: 0, Method.ZSTD: 22, Method.ZLIB: 9}
"""Highest level that is asked for. The memory that zstd's highest would take is bounded by a pack's
size, which it is told."""

_SMALLEST = 256
"""Bytes below which nothing is tried: headers would eat what is gained."""
_WORTH = 20
"""Less than a twentieth saved is not worth the other side's work."""
_SAMPLES = 4
"""How many places of a pack are tried, evenly spread: one holds files of several kinds."""
_SAMPLE = {Method.ZSTD: 16 << 10, Method.ZLIB: 2 << 10}
"""Bytes tried in each. A pack of noise costs zstd some 10 µs, zlib 60 µs; sending it takes 2 ms."""


def available() -> list[str]:
    """What this interpreter can do, best first."""
    # Looked for and not imported: see above.
    return ["zstd", "zlib"] if PathFinder.find_spec("zstandard") is not None else ["zlib"]


class Compressor:
    """Compresses what shrinks. Keeps what is costly to make between packs."""

    def __init__(self) -> None:
        self._zstd: dict[int, Any] = {}

    def compress(self, method: Method, level: int, header: bytes, body: Buffer) -> Optional[bytes]:
        """``header`` and ``body`` as one, compressed; None where it is not worth it. A sample says
        so for content that is compressed already, before much is spent on it."""
        length = len(header) + len(body)
        if length <= _SMALLEST or not (level and method):
            return None
        if len(body) > 2 * _SAMPLES * _SAMPLE[method]:
            sample = _sample(body, _SAMPLE[method])
            tried = self._compressed(method, 1, sample)
            if tried is None or not _pays(len(tried), len(sample)):
                return None
        packed = self._compressed(method, level, b"".join((header, body)))
        return packed if packed is not None and _pays(len(packed), length) else None

    def _compressed(self, method: Method, level: int, data: bytes) -> Optional[bytes]:
        if method == Method.ZLIB:
            import zlib

            return zlib.compress(data, level)
        if level not in self._zstd:
            try:
                import zstandard
            except ImportError:  # it is installed, but not for this interpreter
                return None
            self._zstd[level] = zstandard.ZstdCompressor(level=level)
        packed: bytes = self._zstd[level].compress(data)
        return packed


def _sample(body: Buffer, size: int) -> bytes:
    view = memoryview(body)
    step = (len(view) - size) // (_SAMPLES - 1)
    return b"".join(view[at : at + size] for at in range(0, _SAMPLES * step, step))


def _pays(packed: int, length: int) -> bool:
    return packed < length - length // _WORTH


def decompress(method: int, data: memoryview, length: int) -> bytes:
    """The ``length`` bytes that ``data`` stands for; never more are made. Raises `Malformed`."""
    packed = _inflated(data, length) if method == Method.ZLIB else _unpacked(data, length)
    if len(packed) != length:
        raise Malformed("its decompressed size is not what was announced")
    return packed


def _inflated(data: memoryview, length: int) -> bytes:
    import zlib

    stream = zlib.decompressobj()
    try:
        # One byte more shows whether there is more; 0 would mean no limit.
        found = stream.decompress(data, length + 1)
    except zlib.error as error:
        raise Malformed(f"it does not decompress ({error})") from None
    if not stream.eof or stream.unused_data:
        raise Malformed("its decompressed size is not what was announced")
    return found


def _unpacked(data: memoryview, length: int) -> bytes:
    try:
        import zstandard
    except ImportError:
        raise Malformed("it is compressed in a way that this side does not have") from None
    try:
        # The frame's own idea of its size is the peer's word; ours bounds the allocation.
        parameters = zstandard.get_frame_parameters(data)
        if parameters.content_size != length:
            raise Malformed("its decompressed size is not what was announced")
        found: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=length)
    except zstandard.ZstdError as error:
        raise Malformed(f"it does not decompress ({error})") from None
    return found
