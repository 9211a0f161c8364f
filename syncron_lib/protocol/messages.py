"""Every message there is, with its number, its fields, and whether it may change a tree.

The client asks, the helper answers; each request has exactly one reply (or `Failed`). A pack
(`protocol.pack`) travels as raw bytes, because the client passes it on without looking inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Any, NamedTuple, Optional, Union

from syncron_lib.core.table import Malformed, Reader, Table
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol.codec import (
    BLOB,
    BOOL,
    DIGEST,
    I64,
    NAME,
    PATH,
    TABLE,
    TEXT,
    U8,
    U32,
    U64,
    ListOf,
    Maybe,
    Record,
)

VERSION = 1
"""Protocol version spoken by this code; a greeting carries the range that a program speaks."""


class Role(IntEnum):
    """What a root is to the run. Only a destination is ever written to."""

    SOURCE = 0
    DESTINATION = 1


class RootKind(IntEnum):
    """What stands at a root's path."""

    MISSING = 0
    DIRECTORY = 1
    FILE = 2
    OTHER = 3


# --- greeting, and frames that answer nothing ---------------------------------------------


class Hello(NamedTuple):
    """First frame of each side. ``timeout_ms``: the client's, 0 for none (helper: echoes 0)."""

    oldest: int
    newest: int
    program: str
    python: str
    host: str
    uid: int
    algorithms: Sequence[str]
    compressions: Sequence[str]
    timeout_ms: int


class Heartbeat(NamedTuple):
    """A sign of life while there is nothing else to say."""


class Progress(NamedTuple):
    """How far a long request has come: entries scanned so far, or bytes hashed so far."""

    scanning: bool
    done: int
    size: int


# --- replies used by many ------------------------------------------------------------------


class Done(NamedTuple):
    """The request was carried out."""


class Failed(NamedTuple):
    """The request, and with it the run, failed."""

    exit_code: int
    message: str


class Problem(NamedTuple):
    """One file that was not done; ``vanished`` decides between exit 24 and 23."""

    path: bytes
    what: str
    vanished: bool


class IdName(NamedTuple):
    """A numeric user or group id and its name on that machine."""

    number: int
    name: bytes


class IdPair(NamedTuple):
    """An id of the source and the receiver's id for the same name."""

    source: int
    receiver: int


# --- opening and knowing a root ------------------------------------------------------------


class Open(NamedTuple):
    """Open a root. ``path`` is as the user wrote it, relative to the home directory.

    ``only``: the run is over this one entry of the directory; ``alias``: what the source calls
    it in its tree. ``patterns`` and ``gitignore``: `core.options.RuleOptions`. ``trust_state``:
    whether kept digests may be believed (not for ``--verify``). ``writing``: the run will write;
    its lock is then held alone. ``parents``: a missing root's parents may be made too.
    """

    path: bytes
    role: int
    only: Optional[bytes]
    alias: Optional[bytes]
    patterns: Sequence[bytes]
    gitignore: bool
    one_file_system: bool
    trust_state: bool
    writing: bool
    parents: bool
    lock_wait_ms: int
    holder: str


class Opened(NamedTuple):
    """``path``: absolute, symlinks resolved. ``unmounted``: the root held a tree on another
    file system at the last run, and now is empty or missing. ``parent_missing``: a missing
    root's parent is missing too."""

    path: bytes
    kind: int
    parent_missing: bool
    unmounted: bool


class Scan(NamedTuple):
    """Scan the root. A destination scans with the ignore files it remembers."""


class Scanned(NamedTuple):
    """``ignore_digest`` names the set of ignore files in force; ``ids``: users and groups seen."""

    entries: int
    size: int
    problems: int
    ignore_digest: bytes
    users: Sequence[IdName]
    groups: Sequence[IdName]


class IgnoreFile(NamedTuple):
    """An ignore file's content; ``directory`` is where it rules, ``name`` as in core.rules."""

    directory: bytes
    name: bytes
    content: bytes


class GetIgnoreFiles(NamedTuple):
    """Ask the source for the ignore files that its scan found."""


class IgnoreFiles(NamedTuple):
    """Reply to `GetIgnoreFiles`."""

    files: Sequence[IgnoreFile]


class UseIgnoreFiles(NamedTuple):
    """Tell the destination the source's ignore files; it scans again. Reply: `Scanned`."""

    files: Sequence[IgnoreFile]


class MapIds(NamedTuple):
    """Ask the receiver for its own ids of the source's user and group names."""

    users: Sequence[IdName]
    groups: Sequence[IdName]


class MappedIds(NamedTuple):
    """Reply to `MapIds`: only ids that differ."""

    users: Sequence[IdPair]
    groups: Sequence[IdPair]


class Seal(NamedTuple):
    """Compute the Merkle digests for a profile; ``complete``: hash what is unknown first."""

    algorithm: str
    permissions: bool
    times: bool
    owner: bool
    group: bool
    users: Sequence[IdPair]
    groups: Sequence[IdPair]
    complete: bool


class Sealed(NamedTuple):
    """``root`` is all zeros while anything below is unknown. ``hashed``: bytes read for it."""

    root: bytes
    hashed: int
    problems: Sequence[Problem]


class List(NamedTuple):
    """Ask for the tables of directories, by path."""

    paths: Sequence[bytes]


class Below(NamedTuple):
    """What lies below one subdirectory: counts of entries and bytes of files."""

    entries: int
    size: int


class Directory(NamedTuple):
    """One directory's table; ``below`` has one item a subdirectory, in row order.

    ``mode`` … ``gid`` are the directory's own. ``problem``: errno that kept it from being read,
    0 for none.
    """

    mode: int
    mtime_ns: int
    uid: int
    gid: int
    problem: int
    table: Table
    below: Sequence[Below]


class Listing(NamedTuple):
    """Reply to `List`: the first directories asked for, as many as fit a frame (at least 1)."""

    directories: Sequence[Directory]


class Hash(NamedTuple):
    """Compute digests of files whose digest is unknown."""

    paths: Sequence[bytes]


class Hashed(NamedTuple):
    """Reply to `Hash`: a digest a path, zeros where there is a problem."""

    digests: bytes
    size: int
    problems: Sequence[Problem]


# --- content ---------------------------------------------------------------------------------


class Arrived(NamedTuple):
    """Content that an interrupted run left at the destination, offered for use.

    ``size`` and ``mtime_ns`` are the source file's; the first ``length`` bytes have ``digest``.
    """

    path: bytes
    size: int
    mtime_ns: int
    length: int
    digest: bytes


class Expected(NamedTuple):
    """A path whose content will come. ``tree``: a directory and all below, which is not there
    now. ``replace``: an entry of another kind stands there and may be removed."""

    path: bytes
    tree: bool
    replace: bool


class Begin(NamedTuple):
    """The plan is accepted: from here on the destination may write. Reply: `Leftovers`.

    ``users``, ``groups``: the source's ids that have another number at this receiver.
    """

    users: Sequence[IdPair]
    groups: Sequence[IdPair]


class Leftovers(NamedTuple):
    """What an interrupted run left in the destination's staging."""

    arrived: Sequence[Arrived]


class Expect(NamedTuple):
    """Tell the destination what will come; content for any other path is refused."""

    items: Sequence[Expected]


class Selected(NamedTuple):
    """A path whose content is wanted; ``tree``: with all below it."""

    path: bytes
    tree: bool


class Select(NamedTuple):
    """Tell the source what is wanted, in order; may come several times before `Next`."""

    items: Sequence[Selected]
    arrived: Sequence[Arrived]


class Next(NamedTuple):
    """Ask the source for the next pack; ``level``: zstd level, 0 for none."""

    level: int


class Stored(NamedTuple):
    """Reply to a `Store`, `Adjust` or `Delete`: how many entries were done.

    ``problems``: the destination's own; ``passed_on``: those of the source, which came in a pack.
    """

    entries: int
    problems: Sequence[Problem]
    passed_on: Sequence[Problem]


class SetAttributes(NamedTuple):
    """Give an entry that is there already new attributes (a directory: at the very end)."""

    path: bytes
    mode: int
    mtime_ns: int
    uid: int
    gid: int


class Adjust(NamedTuple):
    """Metadata of entries whose content stays. Reply: `Stored`."""

    items: Sequence[SetAttributes]


class Delete(NamedTuple):
    """Remove entries with all below, deepest first, as they were scanned. Reply: `Stored`."""

    paths: Sequence[bytes]


class Finish(NamedTuple):
    """Apply directory attributes, bring the tree up to date, save the state.

    ``extras``: topmost paths that only the destination has, outside of what was asked for;
    the root in the reply leaves them out. ``complete``: the run did all it was asked to.
    """

    extras: Sequence[bytes]
    complete: bool


class Finished(NamedTuple):
    """``root``: as in `Sealed`."""

    root: bytes
    problems: Sequence[Problem]


class Close(NamedTuple):
    """Let go of the root: locks, descriptors, state. Another `Open` may follow."""


Message = Any
"""A named tuple of this module."""


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
    fields: Record


PACK = 0x40
"""Reply to `Next`, raw: see `protocol.pack`."""
STORE = 0x41
"""Request that carries a pack to the destination, raw. Reply: `Stored`."""

_PAIRS = ListOf(Record(IdPair, U32, U32))
_IDS = ListOf(Record(IdName, U32, BLOB))
_PROBLEMS = ListOf(Record(Problem, PATH, TEXT, BOOL))
_IGNORE_FILES = ListOf(Record(IgnoreFile, PATH, BLOB, BLOB))
_ARRIVED = ListOf(Record(Arrived, PATH, U64, I64, U64, DIGEST))
_TEXTS = ListOf(TEXT)
_C, _H, _B = Sender.CLIENT, Sender.HELPER, Sender.BOTH


def _rule(number: int, kind: Any, sender: Sender, *fields: Any, writes: bool = False) -> Rule:
    return Rule(number, kind, sender, writes, Record(kind, *fields))


RULES: tuple[Rule, ...] = (
    _rule(0x01, Hello, _B, U32, U32, TEXT, TEXT, TEXT, U32, _TEXTS, _TEXTS, U32),
    _rule(0x02, Heartbeat, _B),
    _rule(0x03, Progress, _H, BOOL, U64, U64),
    _rule(0x04, Done, _H),
    _rule(0x05, Failed, _H, U32, TEXT),
    _rule(
        0x10,
        Open,
        _C,
        BLOB,
        U8,
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
    ),
    _rule(0x11, Opened, _H, BLOB, U8, BOOL, BOOL),
    _rule(0x12, Scan, _C),
    _rule(0x13, Scanned, _H, U64, U64, U64, DIGEST, _IDS, _IDS),
    _rule(0x14, GetIgnoreFiles, _C),
    _rule(0x15, IgnoreFiles, _H, _IGNORE_FILES),
    _rule(0x16, UseIgnoreFiles, _C, _IGNORE_FILES),
    _rule(0x18, MapIds, _C, _IDS, _IDS),
    _rule(0x19, MappedIds, _H, _PAIRS, _PAIRS),
    _rule(0x1A, Seal, _C, TEXT, BOOL, BOOL, BOOL, BOOL, _PAIRS, _PAIRS, BOOL),
    _rule(0x1B, Sealed, _H, DIGEST, U64, _PROBLEMS),
    _rule(0x20, List, _C, ListOf(PATH)),
    _rule(
        0x21,
        Listing,
        _H,
        ListOf(
            Record(
                Directory,
                U32,
                I64,
                U32,
                U32,
                U32,
                TABLE,
                ListOf(Record(Below, U64, U64)),
            )
        ),
    ),
    _rule(0x22, Hash, _C, ListOf(PATH)),
    _rule(0x23, Hashed, _H, BLOB, U64, _PROBLEMS),
    _rule(0x30, Begin, _C, _PAIRS, _PAIRS, writes=True),
    _rule(0x31, Leftovers, _H, _ARRIVED),
    _rule(
        0x34,
        Expect,
        _C,
        ListOf(Record(Expected, PATH, BOOL, BOOL)),
        writes=True,
    ),
    _rule(0x32, Select, _C, ListOf(Record(Selected, PATH, BOOL)), _ARRIVED),
    _rule(0x33, Next, _C, U8),
    _rule(0x42, Stored, _H, U64, _PROBLEMS, _PROBLEMS),
    _rule(
        0x43,
        Adjust,
        _C,
        ListOf(Record(SetAttributes, PATH, U32, I64, U32, U32)),
        writes=True,
    ),
    _rule(0x44, Delete, _C, ListOf(PATH), writes=True),
    _rule(0x50, Finish, _C, ListOf(PATH), BOOL, writes=True),
    _rule(0x51, Finished, _H, DIGEST, _PROBLEMS),
    _rule(0x52, Close, _C),
)

BY_NUMBER = {rule.number: rule for rule in RULES}
BY_KIND = {rule.kind: rule for rule in RULES}


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


__all__ = [name for name in dir() if not name.startswith("_") and name != "codec"]
