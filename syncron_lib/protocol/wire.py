"""The table of the protocol: each message's number, sender and fields, and whether it writes."""

from __future__ import annotations

from enum import Enum
from typing import Any, Optional, Union

from syncron_lib.core.ids import IdRule
from syncron_lib.core.permission import Effect
from syncron_lib.core.table import Malformed, Reader
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.codec import (
    BLOB,
    BOOL,
    DIGEST,
    EFFECTS,
    ERRNO,
    FOLLOW,
    I64,
    KINDS,
    MUNGE,
    NAME,
    PATH,
    ROLE,
    ROOT_KIND,
    SYSTEM_PATH,
    TABLE,
    TEXT,
    U8,
    U32,
    U64,
    ListOf,
    Maybe,
    Record,
)
from syncron_lib.protocol.messages import (
    Adjust,
    Alternates,
    Arrived,
    Backup,
    Basis,
    Begin,
    Below,
    Changed,
    Changes,
    Chosen,
    Chunks,
    Close,
    CountKinds,
    Delete,
    Directory,
    Done,
    Doubled,
    DropSnapshots,
    Enter,
    Entered,
    Expect,
    Expected,
    Extend,
    Extended,
    Failed,
    Find,
    Finish,
    Finished,
    Found,
    GetChanges,
    GetChunks,
    GetHot,
    GetIgnoreFiles,
    GetKnowledge,
    GetLineage,
    GetLinks,
    GetManifest,
    GetMarks,
    GetRecords,
    GetReplicas,
    GetSealed,
    GetSets,
    GetSizes,
    GetSnapshots,
    Hash,
    HashAlternate,
    Hashed,
    Heartbeat,
    Hello,
    HotDirectories,
    HotDirectory,
    IdName,
    IdPair,
    IgnoreFile,
    IgnoreFiles,
    Imply,
    Intend,
    Introduce,
    Introduced,
    Judge,
    Judged,
    Judgement,
    Keep,
    KeepManifest,
    KeepSnapshot,
    Kinds,
    KnowledgePart,
    KnownReplica,
    LeaveOut,
    Leftovers,
    Lineage,
    Link,
    Linked,
    Linking,
    Links,
    List,
    ListAlternate,
    Listing,
    MakeImplied,
    MakeManifest,
    Manifest,
    MapIds,
    MappedIds,
    Marked,
    Marks,
    Message,
    Move,
    Moved,
    Next,
    Notice,
    Observe,
    Observed,
    Offer,
    Open,
    Opened,
    Preserve,
    Problem,
    Progress,
    PutLineage,
    PutManifest,
    RecordsPart,
    Release,
    RemoveSource,
    Replicas,
    Resolve,
    Resolved,
    Scan,
    Scanned,
    Seal,
    Sealed,
    SealedFile,
    SealedFiles,
    Select,
    Selected,
    SetAttributes,
    Sets,
    Settle,
    Settled,
    Sizes,
    Snapshot,
    Snapshots,
    Stored,
    TakeBasis,
    TakeEntries,
    TakenEntry,
    Tick,
    Ticked,
    UseAlternates,
    UseIgnoreFiles,
    UseManifest,
    View,
    Viewed,
    Wanted,
)
from syncron_lib.record import NamedTuple


class Sender(Enum):
    """Who may send a message."""

    CLIENT = "client"
    HELPER = "helper"
    BOTH = "both"


class Rule(NamedTuple):
    """One row of the protocol's table."""

    number: int
    kind: type
    sender: Sender
    writes: bool
    """Whether it may change the tree of a root."""
    needs: Optional[Effect]
    """What the helper must be allowed to do for it to be in order at all. What else it would do is
    allowed or refused entry by entry. None for what no client sends."""
    fields: Record


PACK = 0x40
"""Reply to `Next`, raw: see `protocol.pack`."""
STORE = 0x41
"""Request that carries a pack to the destination, raw. Reply: `Stored`."""

_PAIRS = ListOf(Record(IdPair, U32, U32))
_IDS = ListOf(Record(IdName, U32, BLOB))
_ID_RULES = ListOf(Record(IdRule, U32, U32, BLOB, BLOB), 10_000)
MAX_PROBLEMS = 10_000
"""Problems in a reply, beside the last, which says how many more there are."""
_PROBLEMS = ListOf(Record(Problem, PATH, TEXT, BOOL), MAX_PROBLEMS + 1)
_IGNORE_FILES = ListOf(Record(IgnoreFile, PATH, BLOB, BLOB))
_ARRIVED = ListOf(Record(Arrived, PATH, U64, I64, U64, DIGEST))
_ATTRIBUTES = ListOf(Record(SetAttributes, PATH, U32, I64, U32, U32))
_TAKEN = ListOf(Record(TakenEntry, PATH, BOOL, BOOL, U32, I64, U32, U32))
MAX_ALTERNATES = 20
"""As many as rsync takes."""
MAX_ENTERED = 10_000
"""Symlinks that one request asks to be entered."""
_BELOW = Record(Below, U64, U64, BOOL)
_DIRECTORY = Record(Directory, U32, I64, U32, U32, ERRNO, TABLE, ListOf(_BELOW), BOOL)
_CHANGED = ListOf(Record(Changed, PATH, DIGEST, _BELOW, Maybe(_DIRECTORY), BOOL))
_TEXTS = ListOf(TEXT)
_SNAPSHOTS = ListOf(Record(Snapshot, NAME, BLOB))
_NONE, _ADD, _REMOVE = Effect.NONE, Effect.ADD, Effect.REMOVE
_C, _H, _B = Sender.CLIENT, Sender.HELPER, Sender.BOTH


def _rule(
    number: int,
    kind: Any,
    sender: Sender,
    *fields: Any,
    writes: bool = False,
    needs: Optional[Effect] = None,
) -> Rule:
    return Rule(number, kind, sender, writes, needs, Record(kind, *fields))


RULES: tuple[Rule, ...] = (
    _rule(
        0x01,
        Hello,
        _B,
        U32,
        U32,
        TEXT,
        TEXT,
        TEXT,
        U32,
        _TEXTS,
        _TEXTS,
        _TEXTS,
        U32,
        U64,
        needs=_NONE,
    ),
    _rule(0x02, Heartbeat, _B, needs=_NONE),
    _rule(0x03, Progress, _H, BOOL, U64, U64),
    _rule(0x04, Done, _H),
    _rule(0x05, Failed, _H, U32, TEXT),
    _rule(0x06, Notice, _H, TEXT, BOOL),
    _rule(
        0x10,
        Open,
        _C,
        SYSTEM_PATH,
        ROLE,
        Maybe(NAME),
        Maybe(NAME),
        ListOf(BLOB),
        BOOL,
        BOOL,
        BOOL,
        BOOL,
        BOOL,
        U32,
        TEXT,
        Maybe(Record(Chosen, BLOB, BOOL, SYSTEM_PATH, BOOL)),
        Maybe(Record(View, TEXT, FOLLOW, MUNGE, BOOL, BOOL)),
        Maybe(SYSTEM_PATH),
        needs=_NONE,
    ),
    _rule(
        0x11,
        Opened,
        _H,
        SYSTEM_PATH,
        ROOT_KIND,
        BOOL,
        BOOL,
        DIGEST,
        TEXT,
        BOOL,
        ListOf(DIGEST),
        EFFECTS,
    ),
    _rule(0x12, Scan, _C, BOOL, BOOL, BOOL, Maybe(ListOf(PATH)), needs=_NONE),
    _rule(0x13, Scanned, _H, U64, U64, U64, DIGEST, _IDS, _IDS),
    _rule(0x14, GetIgnoreFiles, _C, U32, needs=_NONE),
    _rule(0x15, IgnoreFiles, _H, _IGNORE_FILES, BOOL),
    _rule(0x16, UseIgnoreFiles, _C, _IGNORE_FILES, BOOL, needs=_NONE),
    _rule(0x18, MapIds, _C, _IDS, _IDS, BOOL, _ID_RULES, _ID_RULES, needs=_NONE),
    _rule(0x19, MappedIds, _H, _PAIRS, _PAIRS),
    _rule(
        0x1A,
        Seal,
        _C,
        TEXT,
        BOOL,
        BOOL,
        BOOL,
        BOOL,
        _PAIRS,
        _PAIRS,
        BOOL,
        BOOL,
        BOOL,
        KINDS,
        BOOL,
        BOOL,
        BOOL,
        needs=_NONE,
    ),
    _rule(0x1B, Sealed, _H, DIGEST, U64, _PROBLEMS, _PAIRS, _PAIRS),
    _rule(0x1C, GetHot, _C, U32, needs=_NONE),
    _rule(0x1D, HotDirectories, _H, ListOf(Record(HotDirectory, PATH, U64))),
    _rule(0x1E, Enter, _C, ListOf(PATH, MAX_ENTERED), needs=_NONE),
    _rule(
        0x1F,
        Entered,
        _H,
        U64,
        U64,
        U64,
        ListOf(PATH, MAX_ENTERED),
        _PROBLEMS,
        ListOf(Record(Doubled, PATH, PATH)),
    ),
    _rule(0x20, List, _C, ListOf(PATH), Maybe(NAME), needs=_NONE),
    _rule(0x21, Listing, _H, ListOf(_DIRECTORY)),
    _rule(0x22, Hash, _C, ListOf(PATH), needs=_NONE),
    _rule(0x23, Hashed, _H, BLOB, U64, _PROBLEMS),
    _rule(0x24, GetChanges, _C, BOOL, U32, U64, needs=_NONE),
    _rule(0x25, Changes, _H, DIGEST, BOOL, U32, I64, U32, U32, BOOL, _CHANGED, U64),
    _rule(0x26, GetLinks, _C, U32, Maybe(U8), needs=_NONE),
    _rule(0x27, Links, _H, ListOf(Record(Linked, U32, U32, U64, PATH)), BOOL),
    _rule(0x28, GetMarks, _C, U32, Maybe(U8), needs=_NONE),
    _rule(0x29, Marks, _H, ListOf(Record(Marked, PATH, U32, U64, DIGEST, DIGEST, DIGEST)), BOOL),
    _rule(0x2A, GetSets, _C, ListOf(PATH), needs=_NONE),
    _rule(0x2B, Sets, _H, ListOf(BLOB)),
    _rule(0x2C, CountKinds, _C, needs=_NONE),
    _rule(0x2D, Kinds, _H, U64, U64, U64, U64, U64),
    _rule(0x30, Begin, _C, _PAIRS, _PAIRS, BOOL, BOOL, BOOL, BOOL, BOOL, writes=True, needs=_ADD),
    _rule(0x31, Leftovers, _H, _ARRIVED),
    _rule(0x34, Expect, _C, ListOf(Record(Expected, PATH, BOOL, BOOL)), writes=True, needs=_ADD),
    _rule(0x32, Select, _C, ListOf(Record(Selected, PATH, BOOL)), _ARRIVED, BOOL, needs=_NONE),
    _rule(0x33, Next, _C, U8, U8, needs=_NONE),
    _rule(0x35, GetSizes, _C, needs=_NONE),
    _rule(0x36, Sizes, _H, BLOB),
    _rule(0x37, Find, _C, BLOB, needs=_NONE),
    _rule(0x38, Found, _H, BLOB),
    _rule(0x39, Offer, _C, BLOB, ListOf(PATH), needs=_NONE),
    _rule(0x3A, GetChunks, _C, PATH, TEXT, U64, U64, needs=_NONE),
    _rule(0x3B, Chunks, _H, U32, BLOB, BLOB),
    _rule(0x3C, Basis, _C, PATH, TEXT, U32, BLOB, BLOB, BOOL, BOOL, needs=_NONE),
    _rule(0x3D, Wanted, _H, BLOB, ListOf(PATH)),
    _rule(0x3E, Keep, _C, BLOB, needs=_NONE),
    _rule(0x42, Stored, _H, U64, U64, _PROBLEMS, _PROBLEMS, ListOf(PATH)),
    _rule(0x43, Adjust, _C, _ATTRIBUTES, writes=True, needs=_ADD),
    _rule(0x44, Delete, _C, ListOf(PATH), writes=True, needs=_REMOVE),
    _rule(0x45, LeaveOut, _C, ListOf(PATH), needs=_NONE),
    _rule(
        0x46,
        Move,
        _C,
        _ATTRIBUTES,
        ListOf(Record(Moved, PATH, PATH)),
        writes=True,
        needs=_ADD | _REMOVE,
    ),
    _rule(0x47, Link, _C, ListOf(Record(Linking, PATH, PATH, BOOL)), writes=True, needs=_ADD),
    _rule(0x48, Extend, _C, ListOf(Record(Extended, PATH, BLOB)), BOOL, writes=True, needs=_ADD),
    _rule(0x49, Imply, _C, ListOf(PATH), needs=_NONE),
    _rule(0x4A, MakeImplied, _C, ListOf(PATH), writes=True, needs=_ADD),
    _rule(0x4B, Release, _C, writes=True, needs=_ADD),
    _rule(
        0x50,
        Finish,
        _C,
        ListOf(PATH),
        BOOL,
        BOOL,
        BOOL,
        BOOL,
        writes=True,
        needs=_NONE,
    ),
    _rule(0x51, Finished, _H, DIGEST, _PROBLEMS, BOOL),
    _rule(0x52, Close, _C, needs=_NONE),
    _rule(0x53, RemoveSource, _C, writes=True, needs=_REMOVE),
    _rule(0x60, Backup, _C, Maybe(SYSTEM_PATH), PATH, BLOB, needs=_NONE),
    _rule(0x61, UseAlternates, _C, ListOf(SYSTEM_PATH, MAX_ALTERNATES), needs=_NONE),
    _rule(0x62, Alternates, _H, ListOf(BOOL, MAX_ALTERNATES)),
    _rule(0x63, ListAlternate, _C, U8, ListOf(PATH), Maybe(NAME), needs=_NONE),
    _rule(0x64, HashAlternate, _C, U8, ListOf(PATH), needs=_NONE),
    _rule(0x65, TakeEntries, _C, _ATTRIBUTES, U8, _TAKEN, writes=True, needs=_ADD),
    _rule(0x66, TakeBasis, _C, U8, ListOf(PATH), needs=_NONE),
    _rule(0x68, GetSnapshots, _C, SYSTEM_PATH, needs=_NONE),
    _rule(0x69, Snapshots, _H, ROOT_KIND, BOOL, BOOL, _SNAPSHOTS, _TEXTS),
    _rule(0x6A, KeepSnapshot, _C, SYSTEM_PATH, NAME, BLOB, BOOL, writes=True, needs=_ADD),
    _rule(0x6B, DropSnapshots, _C, SYSTEM_PATH, ListOf(NAME), writes=True, needs=_REMOVE),
    _rule(0x70, Introduce, _C, needs=_NONE),
    _rule(0x71, Introduced, _H, DIGEST, U64, U8, BLOB),
    _rule(0x72, Observe, _C, U8, BOOL, BOOL, BOOL, needs=_NONE),
    _rule(0x73, Observed, _H, DIGEST, U64, DIGEST, U64),
    _rule(0x74, GetKnowledge, _C, U64, needs=_NONE),
    _rule(0x75, KnowledgePart, _H, BLOB, BOOL),
    _rule(0x76, GetRecords, _C, ListOf(PATH), U64, needs=_NONE),
    _rule(0x77, RecordsPart, _H, ListOf(BLOB), BOOL),
    _rule(0x78, Tick, _C, needs=_NONE),
    _rule(0x79, Ticked, _H, U64),
    _rule(0x7A, Intend, _C, BLOB, BOOL, needs=_NONE),
    _rule(0x7B, Preserve, _C, ListOf(Record(Moved, PATH, PATH)), writes=True, needs=_ADD),
    _rule(0x7C, Settle, _C, ListOf(PATH), needs=_NONE),
    _rule(0x7D, Settled, _H, DIGEST, ListOf(PATH)),
    _rule(0x7E, GetReplicas, _C, Maybe(DIGEST), needs=_NONE),
    _rule(0x7F, Replicas, _H, DIGEST, U8, ListOf(Record(KnownReplica, DIGEST, BLOB, U64, BOOL))),
    _rule(0x80, GetManifest, _C, U64, needs=_NONE),
    _rule(0x81, Manifest, _H, BLOB, BOOL),
    _rule(0x82, PutManifest, _C, BLOB, BOOL, writes=True, needs=_ADD),
    _rule(0x83, UseManifest, _C, TEXT, BLOB, BOOL, needs=_NONE),
    _rule(0x84, Viewed, _H, BOOL, BOOL, U64, BOOL, BOOL, BLOB, BOOL),
    _rule(0x85, GetSealed, _C, U32, BOOL, needs=_NONE),
    _rule(0x86, SealedFiles, _H, ListOf(Record(SealedFile, PATH, BOOL, BOOL)), BOOL),
    _rule(0x87, MakeManifest, _C, BOOL, ListOf(PATH), ListOf(PATH), BOOL, BOOL, needs=_NONE),
    _rule(0x88, KeepManifest, _C, needs=_NONE),
    _rule(0x89, GetLineage, _C, needs=_NONE),
    _rule(0x8A, Lineage, _H, BLOB),
    _rule(0x8B, PutLineage, _C, BLOB, writes=True, needs=_ADD),
    _rule(0x8C, Judge, _C, ListOf(PATH), needs=_NONE),
    _rule(
        0x8D,
        Judgement,
        _H,
        ListOf(Record(Judged, PATH, BOOL, BOOL, BOOL, U64, U64, U64, BOOL, BLOB)),
    ),
    _rule(0x8E, Resolve, _C, ListOf(Record(Resolved, PATH, BLOB)), needs=_NONE),
)

BY_NUMBER = {rule.number: rule for rule in RULES}
BY_KIND = {rule.kind: rule for rule in RULES}
NEEDS: dict[Any, Effect] = {
    STORE: Effect.ADD,
    **{rule.kind: rule.needs for rule in RULES if rule.needs is not None},
}
"""By kind of request: see `Rule.needs`."""


def encode(message: Message) -> tuple[int, bytes]:
    """(kind number, payload) of a message."""
    rule = BY_KIND[type(message)]
    out: list[bytes] = []
    rule.fields.write(out, message)
    return rule.number, b"".join(out)


def decode(number: int, payload: Union[bytes, bytearray, memoryview], sender: Sender) -> Message:
    """The message that ``sender`` sent; `PeerViolation` if it cannot have been that."""
    rule = BY_NUMBER.get(number)
    if rule is None or rule.sender not in (sender, Sender.BOTH):
        raise PeerViolation(f"The other side sent a message (number {number}) that it may not.")
    reader = Reader(payload)
    try:
        message = rule.fields.read(reader)
        reader.finish()
    except Malformed as error:
        raise PeerViolation(
            f"The other side sent a malformed {rule.kind.__name__} message: {error}."
        ) from None
    return message
