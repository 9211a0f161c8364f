"""Strategies for messages, made from the protocol's own table of fields."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.names import join
from syncron_lib.protocol import codec
from syncron_lib.protocol.wire import Rule
from tests.core.tables import tables
from tests.trees import valid_names

_RANGES = {
    "<B": (0, 2**8 - 1),
    "<I": (0, 2**32 - 1),
    "<Q": (0, 2**64 - 1),
    "<q": (-(2**63), 2**63 - 1),
}


@st.composite
def paths(draw: st.DrawFn) -> bytes:
    """Paths inside a tree, the root's among them."""
    path = b""
    for name in draw(st.lists(valid_names(), max_size=3)):
        path = join(path, name)
    return path


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    codec.BOOL: st.booleans(),
    codec.BLOB: st.binary(max_size=20),
    codec.SYSTEM_PATH: st.binary(max_size=20).filter(lambda path: 0 not in path),
    codec.TEXT: _TEXTS,
    codec.PATH: paths(),
    codec.NAME: valid_names(),
    codec.DIGEST: st.binary(min_size=digest.SIZE, max_size=digest.SIZE),
    codec.TABLE: tables(max_rows=3),
}


def _values(field: Any) -> st.SearchStrategy[Any]:
    simple = _SIMPLE.get(field)
    if simple is not None:
        return simple
    if isinstance(field, codec.ListOf):
        return st.lists(_values(field.item), max_size=3)
    if isinstance(field, codec.Maybe):
        return st.none() | _values(field.item)
    if isinstance(field, codec.Record):
        return st.tuples(*map(_values, field.fields)).map(field.kind._make)
    low, high = _RANGES[field._struct.format]
    return st.integers(low, high if field._limit is None else field._limit)


def messages_of(rule: Rule) -> st.SearchStrategy[Any]:
    """Messages of one kind. A rule with a field type that is not known here is an error."""
    return _values(rule.fields)
