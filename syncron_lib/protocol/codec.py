"""Field types that messages are made of, each able to write itself and to read itself back.

Readers check every length before they allocate and raise `core.table.Malformed`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Generic, Optional, Protocol, TypeVar

from syncron_lib.core import digest, table
from syncron_lib.core.names import is_valid_name, is_valid_path
from syncron_lib.core.permission import EVERYTHING
from syncron_lib.core.table import Malformed, Reader, pack_blob

T = TypeVar("T")


class Field(Protocol[T]):
    """How one field of a message crosses the wire."""

    def write(self, out: list[bytes], value: T) -> None:
        """Append the encoded ``value`` to ``out``."""

    def read(self, reader: Reader) -> T:
        """Take one value off ``reader``."""


class _Number:
    """An integer as `struct` packs it; more than ``limit`` has no meaning to this side."""

    def __init__(self, code: str, limit: Optional[int] = None) -> None:
        self._struct = struct.Struct("<" + code)
        self._limit = limit

    def write(self, out: list[bytes], value: int) -> None:
        out.append(self._struct.pack(value))

    def read(self, reader: Reader) -> int:
        (value,) = self._struct.unpack(reader.take(self._struct.size))
        if self._limit is not None and value > self._limit:
            raise Malformed("a number that means nothing")
        return int(value)


class _Bool:
    def write(self, out: list[bytes], value: bool) -> None:
        out.append(b"\1" if value else b"\0")

    def read(self, reader: Reader) -> bool:
        byte = reader.take(1)[0]
        if byte > 1:
            raise Malformed("a truth value that is neither 0 nor 1")
        return byte == 1


class _Blob:
    def __init__(self, limit: int) -> None:
        self._limit = limit

    def write(self, out: list[bytes], value: bytes) -> None:
        out.append(pack_blob(value))

    def read(self, reader: Reader) -> bytes:
        value = reader.blob()
        if len(value) > self._limit:
            raise Malformed("a string over its limit")
        return value


class _Text:
    def __init__(self, limit: int) -> None:
        self._blob = _Blob(limit)
        self._limit = limit

    def write(self, out: list[bytes], value: str) -> None:
        data = value.encode("utf-8", "replace")[: self._limit]
        self._blob.write(out, data.decode("utf-8", "ignore").encode())

    def read(self, reader: Reader) -> str:
        return self._blob.read(reader).decode("utf-8", "replace")


class _Path(_Blob):
    """A path inside the tree; anything that could lead out of it is refused here."""

    def read(self, reader: Reader) -> bytes:
        value = super().read(reader)
        if not is_valid_path(value):
            raise Malformed("a path that leads out of the tree")
        return value


class _SystemPath(_Blob):
    """A path of the whole file system: anything but what no system call takes."""

    def read(self, reader: Reader) -> bytes:
        value = super().read(reader)
        if b"\0" in value:
            raise Malformed("a path with a NUL in it")
        return value


class _Name(_Blob):
    def read(self, reader: Reader) -> bytes:
        value = super().read(reader)
        if not is_valid_name(value):
            raise Malformed("a name that no directory can hold")
        return value


class _Digest:
    def write(self, out: list[bytes], value: bytes) -> None:
        if len(value) != digest.SIZE:
            raise ValueError("a digest of the wrong size")
        out.append(value)

    def read(self, reader: Reader) -> bytes:
        return bytes(reader.take(digest.SIZE))


class _Table:
    def write(self, out: list[bytes], value: table.Table) -> None:
        out.append(table.pack(value))

    def read(self, reader: Reader) -> table.Table:
        return table.unpack(reader)


MAX_ITEMS = 1 << 18
"""Items of a list. A frame could hold millions, each an object and a hundred bytes."""


class ListOf(Generic[T]):
    """A counted list; the count is believed only as far as the frame could hold it."""

    def __init__(self, item: Field[T], most: int = MAX_ITEMS) -> None:
        self.item = item
        self._most = most

    def write(self, out: list[bytes], value: Sequence[T]) -> None:
        out.append(struct.pack("<I", len(value)))
        for item in value:
            self.item.write(out, item)

    def read(self, reader: Reader) -> Sequence[T]:
        count = reader.length()  # an item takes a byte at least
        if count > self._most:
            raise Malformed("a list of more items than there may be")
        return [self.item.read(reader) for _ in range(count)]


class Maybe(Generic[T]):
    """A value or None."""

    def __init__(self, item: Field[T]) -> None:
        self.item = item

    def write(self, out: list[bytes], value: Optional[T]) -> None:
        BOOL.write(out, value is not None)
        if value is not None:
            self.item.write(out, value)

    def read(self, reader: Reader) -> Optional[T]:
        return self.item.read(reader) if BOOL.read(reader) else None


class Record:
    """A named tuple, field by field."""

    def __init__(self, kind: Any, *fields: Field[Any]) -> None:
        if len(fields) != len(kind._fields):
            raise TypeError(f"{kind!r} needs one field type for each of its fields")
        self.kind = kind
        self.fields = fields

    def write(self, out: list[bytes], value: Any) -> None:
        for field, part in zip(self.fields, value):
            field.write(out, part)

    def read(self, reader: Reader) -> Any:
        return self.kind._make([field.read(reader) for field in self.fields])


def with_paths(field: Any, value: Any, change: Callable[[bytes], bytes]) -> Any:
    """``value``, which crosses the wire as ``field``, with all paths in it changed."""
    if isinstance(field, _Path):
        return change(value)
    if isinstance(field, Record):
        parts = zip(field.fields, value)
        return field.kind._make([with_paths(each, part, change) for each, part in parts])
    if isinstance(field, ListOf):
        return [with_paths(field.item, item, change) for item in value]
    if isinstance(field, Maybe) and value is not None:
        return with_paths(field.item, value, change)
    return value


def has_paths(field: Any) -> bool:
    """Whether there can be paths in such a field."""
    if isinstance(field, Record):
        return any(map(has_paths, field.fields))
    if isinstance(field, (ListOf, Maybe)):
        return has_paths(field.item)
    return isinstance(field, _Path)


U8 = _Number("B")
U32 = _Number("I")
U64 = _Number("Q")
I64 = _Number("q")
ROLE = _Number("B", 2)
ROOT_KIND = _Number("B", 3)
ERRNO = _Number("I", table.MAX_ERRNO)
EFFECTS = _Number("B", int(EVERYTHING))
KINDS = _Number("B", 15)
FOLLOW = _Number("B", 15)
MUNGE = _Number("B", 3)
"""A `core.extended.Kinds`, which most runs do not need."""
BOOL = _Bool()
BLOB = _Blob(8 << 20)
TEXT = _Text(64 << 10)
PATH = _Path(1 << 20)
"""1 MiB: a tree 4,000 directories deep with names of 255 bytes."""
SYSTEM_PATH = _SystemPath(64 << 10)
NAME = _Name(255)
DIGEST = _Digest()
TABLE = _Table()
