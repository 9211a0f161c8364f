"""Words for attacks: which message is bent, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncron_lib.core.table import Table
from syncron_lib.protocol import messages
from syncron_lib.protocol.frames import HEADER
from syncron_lib.protocol.messages import GetLinks, GetMarks, Linked, Links, Marked, Marks
from syncron_lib.protocol.pack import Group, Groups
from tests.adversary.evil import Attack, encoded
from tests.adversary.world import EXTENDED, LINKED
from tests.core.tables import Row, rows_of, table


def attack(name: str, kind: type, bend: Callable[[Any], Any], **more: Any) -> Attack:
    """An attack by one kind of message or pack."""
    return Attack(name, (kind,), lambda what, _: bend(what), **more)


def answer(name: str, kind: type, bend: Callable[[Any], Any], **more: Any) -> Attack:
    """The same by a request that is answered in the helper's place; None leaves it to that."""

    def answers(request: Any) -> Any:
        return bend(request) if isinstance(request, kind) else None

    return Attack(name, (), lambda what, _: what, answers=answers, **more)


def raw(name: str, kind: type, old: bytes, new: bytes, **more: Any) -> Attack:
    """The same by other bytes in its frame, whose length is put right."""

    def bend(what: Any, request: int) -> Any:
        sent = encoded(what, request)
        if old not in sent:
            return what
        payload = sent[HEADER.size :].replace(old, new)
        _, number, request = HEADER.unpack(sent[: HEADER.size])
        return HEADER.pack(len(payload), number, request) + payload

    return Attack(name, (kind,), bend, **more)


def field(name: str, kind: type, /, **values: Any) -> Attack:
    """An attack by other values of some fields; ``codes`` and the like are told apart by name."""
    more = {
        key: values.pop(key)
        for key in ("codes", "says", "times", "again", "options")
        if key in values
    }
    return attack(name, kind, lambda what: what._replace(**values), **more)


# --- listings -------------------------------------------------------------------------------------


def listed(
    name: str, bend: Callable[[list[Row]], list[Row]], has: bytes = b"edited", **more: Any
) -> Attack:
    """An attack by the rows of the directory that holds ``has``."""

    def bent(listing: messages.Listing) -> messages.Listing:
        directories = [
            one._replace(table=unsorted(bend(rows_of(one.table))))
            if has in one.table.names
            else one
            for one in listing.directories
        ]
        return listing if directories == listing.directories else messages.Listing(directories)

    return attack(name, messages.Listing, bent, **more)


def unsorted(rows: list[Row]) -> Table:
    """The rows as columns, in this order."""
    columns = table(*rows)
    order = [sorted(rows).index(row) for row in rows]
    return columns if order == sorted(order) else _reordered(columns, order)


def _reordered(columns: Table, order: list[int]) -> Table:
    return columns._replace(
        names=[columns.names[i] for i in order], modes=[columns.modes[i] for i in order]
    )


def row(which: bytes = b"edited", /, **changes: Any) -> Callable[[list[Row]], list[Row]]:
    """One row changed, and all sorted again."""

    def bend(rows: list[Row]) -> list[Row]:
        return sorted(one._replace(**changes) if one.name == which else one for one in rows)

    return bend


def plus(*more: Row) -> Callable[[list[Row]], list[Row]]:
    """More rows, in order."""
    return lambda rows: sorted([*rows, *more])


# --- packs ----------------------------------------------------------------------------------------


def grouped(
    name: str, bend: Callable[[Group], Group], has: bytes = b"edited", **more: Any
) -> Attack:
    """An attack by the group that holds the entry ``has``."""

    def bent(pack: Groups) -> Groups:
        if not any(has in group.table.names for group in pack.groups):
            return pack
        groups = [bend(group) if has in group.table.names else group for group in pack.groups]
        return pack._replace(groups=groups)

    return attack(name, Groups, bent, **more)


def in_group(
    name: str, bend: Callable[[list[Row]], list[Row]], has: bytes = b"edited", **more: Any
) -> Attack:
    """An attack by the rows of such a group."""
    return grouped(
        name,
        lambda group: group._replace(table=unsorted(bend(rows_of(group.table)))),
        has,
        **more,
    )


# --- hard links -----------------------------------------------------------------------------------


def linked(name: str, *links: Linked, more: bool = False, codes: tuple[int, ...] = (7,)) -> Attack:
    """An attack by other hard links than there are."""
    told = Links(links, more)
    return answer(name, GetLinks, lambda _: told, options=LINKED, codes=codes)


_FILE = 0o100644
LINKS = [
    linked("a name that is linked twice", *[Linked(0, _FILE, 5, b"common/same")] * 2),
    linked("a directory that is linked", Linked(0, 0o040755, 0, b"common")),
    linked("more links, and none of them", more=True),
    linked("links without an end", Linked(0, _FILE, 5, b"common/same"), more=True),
    linked(
        "links of what is not one",
        *[Linked(0, _FILE, 5, path) for path in (b"common/same", b"edited", b"gone/x", b"large")],
        codes=(0, 7, 23),
    ),
    linked(
        "links in what is not there",
        *[Linked(7, _FILE, 1 << 62, path) for path in (b"x/y/z", b"common/same/x", b"fresh")],
        codes=(0, 7, 23),
    ),
]


# --- extended attributes --------------------------------------------------------------------------


def marked(name: str, *marks: Marked, more: bool = False, codes: tuple[int, ...] = (7,)) -> Attack:
    """An attack by other extended attributes than there are."""
    told = Marks(marks, more)
    return answer(name, GetMarks, lambda _: told, options=EXTENDED, codes=codes)


_MARK = Marked(b"common/same", _FILE, 5, bytes(16), b"m" * 16)
MARKS = [
    marked("a name that is marked twice", _MARK, _MARK),
    marked("a mark of nothing", _MARK._replace(others=bytes(16))),
    marked("more marks, and none of them", more=True),
    marked("marks without an end", _MARK, more=True),
    marked("what is not marked", _MARK, codes=(0, 23)),
    marked("marks of what is not there", _MARK._replace(path=b"x/y/z"), codes=(0, 23)),
]
