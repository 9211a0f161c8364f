"""What a side is about to do in a run, as it keeps it beforehand.

What is wanted, what the other side knows, and what is left alone: after a kill the same value says
what may be learned of what was done.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Optional

from syncron_lib.core.names import is_valid_path, join, split
from syncron_lib.core.table import Malformed, Reader, pack_blob, pack_names, unpack_names
from syncron_lib.core.twoway.identity import Ticks, pack_ticks, read_ticks
from syncron_lib.core.twoway.knowledge import (
    Knowledge,
    Untouched,
    pack_knowledge,
    pack_untouched,
    read_knowledge,
    read_untouched,
)
from syncron_lib.core.twoway.records import Record, pack_records, read_records
from syncron_lib.core.twoway.roster import NOBODY, Roster, pack_roster, read_roster
from syncron_lib.record import NamedTuple

_COUNT = struct.Struct("<I")


class Intents(NamedTuple):
    """``wanted``: by path, the records that entries are to have, None for no entry.
    ``knowledge``, ``ticks`` and ``roster``: the other side's. ``whole``: the run is over all names,
    those included that are on neither side; else over what is wanted only."""

    wanted: Mapping[bytes, Optional[Record]]
    knowledge: Knowledge
    ticks: Ticks
    untouched: Untouched
    whole: bool = True
    roster: Roster = NOBODY


def pack_intents(intents: Intents) -> bytes:
    """By directories, as records are packed anyway."""
    directories: dict[bytes, tuple[dict[bytes, Record], list[bytes]]] = {}
    for path, record in intents.wanted.items():
        parent, name = split(path)
        records, gone = directories.setdefault(parent, ({}, []))
        if record is None:
            gone.append(name)
        else:
            records[name] = record
    parts = [
        pack_knowledge(intents.knowledge),
        pack_ticks(intents.ticks),
        pack_untouched(intents.untouched),
        _COUNT.pack(intents.whole),
        _COUNT.pack(len(directories)),
    ]
    for path, (records, gone) in directories.items():
        absent = sorted(gone)
        parts += pack_blob(path), pack_records(records, {})
        parts += _COUNT.pack(len(absent)), pack_names(absent)
    parts.append(pack_roster(intents.roster))
    return b"".join(parts)


def read_intents(data: bytes) -> Intents:
    """The inverse. Raises `Malformed`."""
    reader = Reader(data)
    knowledge, ticks = read_knowledge(reader), read_ticks(reader)
    untouched = read_untouched(reader)
    (whole,) = _COUNT.unpack(reader.take(4))
    wanted: dict[bytes, Optional[Record]] = {}
    (count,) = _COUNT.unpack(reader.take(4))
    for _ in range(count):
        path = reader.blob()
        if not is_valid_path(path):
            raise Malformed("a path that leads out of the tree")
        records, _ = read_records(reader)
        (absent,) = _COUNT.unpack(reader.take(4))
        if absent > reader.end - reader.position:
            raise Malformed("more names than there is room for")
        wanted.update((join(path, name), record) for name, record in records.items())
        wanted.update((join(path, name), None) for name in unpack_names(reader, absent))
    roster = read_roster(reader)
    reader.finish()
    return Intents(wanted, knowledge, ticks, untouched, bool(whole), roster)
