"""docs/protocol.md says what the code does: its tables are held against the code's, both ways."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core import digest, extended, names, table
from syncron_lib.core.permission import Effect
from syncron_lib.core.role import Role
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs import extended as waiting
from syncron_lib.protocol import codec, frames, messages, order, pack, wire
from syncron_lib.transport import bootstrap, first_stage

DOCUMENT = (Path(__file__).parents[2] / "docs/protocol.md").read_text()

_TYPES = {
    getattr(codec, name): name.lower().replace("_", "-")
    for name in (
        *("U8", "U32", "U64", "I64", "BOOL", "BLOB", "TEXT", "PATH", "SYSTEM_PATH", "NAME"),
        *("DIGEST", "TABLE", "ROLE", "ROOT_KIND", "ERRNO", "EFFECTS", "KINDS", "FOLLOW", "MUNGE"),
    )
}
_CODES = {"u8": "B", "u32": "I", "u64": "Q", "i64": "q", "digest": "16s"}
_STORE = {"Store": ("yes", "add")}
_RAW = {wire.PACK: ("Pack", "helper"), wire.STORE: ("Store", "client")}


def section(title: str) -> str:
    """The text under a heading, up to the next heading of any level."""
    found = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"no section {title!r}"
    return found[1]


def rows(title: str) -> list[tuple[str, ...]]:
    """The rows of the one table in a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in lines]
    assert set("".join(cells[1])) == {"-"}
    return cells[2:]


def needs(effect: Effect | None) -> str:
    effects = (Effect.ADD, Effect.CHANGE, Effect.REMOVE)
    return ", ".join(str(each.name).lower() for each in effects if effect and each in effect)


def type_name(field: Any) -> str:
    if isinstance(field, codec.ListOf):
        return f"list({type_name(field.item)})"
    if isinstance(field, codec.Maybe):
        return f"maybe({type_name(field.item)})"
    if isinstance(field, codec.Record):
        return str(field.kind.__name__)
    return _TYPES[field]


def fields_of(record: codec.Record) -> str:
    pairs = zip(record.kind._fields, record.fields, strict=True)
    return ", ".join(f"{name} {type_name(field)}" for name, field in pairs) or "–"


def records_in(field: Any) -> Iterator[codec.Record]:
    """All records that stand in a field, at any depth."""
    if isinstance(field, (codec.ListOf, codec.Maybe)):
        yield from records_in(field.item)
    elif isinstance(field, codec.Record):
        yield field
        for part in field.fields:
            yield from records_in(part)


def test_the_table_of_messages_is_the_code_s() -> None:
    expected = [
        (
            f"0x{rule.number:02x}",
            rule.kind.__name__,
            rule.sender.value,
            "yes" if rule.writes else "",
            needs(rule.needs),
            fields_of(rule.fields),
        )
        for rule in wire.RULES
    ]
    expected.extend(
        (f"0x{number:02x}", name, sender, *_STORE.get(name, ("", "")), "see Packs")
        for number, (name, sender) in _RAW.items()
    )
    assert rows("The table of messages") == sorted(expected)


def test_the_table_of_records_is_the_code_s() -> None:
    expected = {
        (record.kind.__name__, fields_of(record))
        for rule in wire.RULES
        for part in rule.fields.fields
        for record in records_in(part)
    }
    assert rows("Records") == sorted(expected)


def replies() -> dict[str, str]:
    """Request to reply, as the endpoint's own methods are annotated."""
    endpoint = LocalEndpoint({}, 0o022)
    handlers = {kind.__name__: handler for kind, handler in endpoint._handlers.items()}
    handlers["Store"] = endpoint._store
    found = {}
    for name, handler in handlers.items():
        reply = str(inspect.signature(handler).return_annotation)
        found[name] = "Pack" if reply == "list[pack.Buffer]" else reply.rpartition(".")[2]
    return found


def test_the_table_of_order_is_the_code_s() -> None:
    reply = replies()
    expected = []
    for kind, turn in order.TURNS.items():
        name = "Store" if kind is wire.STORE else kind.__name__
        role = "either" if turn.role is None else turn.role.name.lower()
        phases = (turn.earliest.name.lower(), turn.latest.name.lower())
        unopened = "yes" if turn.unopened else ""
        expected.append((name, *phases, unopened, role, reply[name]))
    assert rows("Order") == expected


def test_every_message_is_explained() -> None:
    text = section("What the messages mean")
    for name in [rule.kind.__name__ for rule in wire.RULES] + ["Pack", "Store"]:
        assert f"`{name}`" in text, name


def test_numbers_with_names_are_the_code_s() -> None:
    for title, kinds in (
        ("Roles", Role),
        ("Kinds of root", messages.RootKind),
        ("Kinds of pack", pack.PackKind),
    ):
        assert rows(title) == [(str(int(kind)), kind.name.lower()) for kind in kinds]


@pytest.mark.parametrize(
    ("title", "layout"),
    [
        ("Frame header", frames.HEADER),
        ("Pack head", pack.HEAD),
        ("Group", pack._GROUP),
        ("Piece", pack._PIECE),
    ],
)
def test_fixed_layouts_are_the_code_s(title: str, layout: Any) -> None:
    codes = [_CODES[row[1]] for row in rows(title) if row[1] in _CODES]
    assert "".join(codes) == layout.format[1:]


def test_columns_of_tables_are_the_code_s() -> None:
    columns = rows("Directory tables")
    assert [row[0] for row in columns[1:]] == list(table.Table._fields)
    row = table.Table([b"n"], [0o100644], [2], [3], [4], [5], b"6" * 16, [])
    in_the_document = {"u32": 4, "u64": 8, "i64": 8, "digest": 16}
    fixed = sum(in_the_document.get(column[1].removesuffix(" a row"), 0) for column in columns[1:])
    assert len(table.pack(row)) == 4 + (4 + 1) + fixed + 4


def test_limits_are_the_code_s() -> None:
    expected = {
        "payload of a frame": frames.MAX_PAYLOAD,
        "head and body of a pack, decompressed": pack.MAX_RAW,
        "`blob`": codec.BLOB._limit,
        "`text`": codec.TEXT._limit,
        "`path`": codec.PATH._limit,
        "`system-path`": codec.SYSTEM_PATH._limit,
        "`name`": names.NAME_MAX,
        "digest": digest.SIZE,
        "set of extended attributes": extended._SET_MAX,
        "value of an extended attribute": extended._VALUE_MAX,
        "sets that wait for their entries, equal ones once": waiting._MOST,
        "items of a list": codec.MAX_ITEMS,
        "problems in a reply": wire.MAX_PROBLEMS + 1,
        "rows of a table": table.MAX_ROWS,
        "steps of a delta": pack.MAX_STEPS,
        "what a delta makes": pack.MAX_MADE,
        "`errno`": table.MAX_ERRNO,
        "alternates": wire.MAX_ALTERNATES,
        "symlinks in an `Enter`": wire.MAX_ENTERED,
        "what a shell prints before the first marker line": bootstrap.NOISE_LIMIT,
        "shipped archive, compressed or not": first_stage.LIMIT,
    }
    found = {name.strip("`"): int(limit.replace(",", "")) for name, limit in rows("Limits")}
    assert found == {name.strip("`"): limit for name, limit in expected.items()}


def test_the_version_is_the_code_s() -> None:
    assert f"This is version {messages.VERSION}." in DOCUMENT
