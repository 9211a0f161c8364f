"""Every message there is; `protocol.wire` says how each crosses the wire.

The client asks, the helper answers; each request has exactly one reply (or `Failed`). A pack
(`protocol.pack`) travels as raw bytes, because the client passes it on without looking inside.
"""

# What is imported under its own name belongs to this module for whoever uses it.
# ruff: noqa: PLC0414

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Optional

from syncron_lib.core.permission import EVERYTHING
from syncron_lib.core.view import View as View
from syncron_lib.protocol.entering import Doubled as Doubled
from syncron_lib.protocol.entering import Enter as Enter
from syncron_lib.protocol.entering import Entered as Entered
from syncron_lib.protocol.extending import Extend as Extend
from syncron_lib.protocol.extending import Extended as Extended
from syncron_lib.protocol.extending import GetMarks as GetMarks
from syncron_lib.protocol.extending import GetSets as GetSets
from syncron_lib.protocol.extending import Marked as Marked
from syncron_lib.protocol.extending import Marks as Marks
from syncron_lib.protocol.extending import Sets as Sets
from syncron_lib.protocol.hot import GetHot as GetHot
from syncron_lib.protocol.hot import HotDirectories as HotDirectories
from syncron_lib.protocol.hot import HotDirectory as HotDirectory
from syncron_lib.protocol.ids import IdName as IdName
from syncron_lib.protocol.ids import IdPair as IdPair
from syncron_lib.protocol.ids import MapIds as MapIds
from syncron_lib.protocol.ids import MappedIds as MappedIds
from syncron_lib.protocol.ignoring import GetIgnoreFiles as GetIgnoreFiles
from syncron_lib.protocol.ignoring import IgnoreFile as IgnoreFile
from syncron_lib.protocol.ignoring import IgnoreFiles as IgnoreFiles
from syncron_lib.protocol.ignoring import UseIgnoreFiles as UseIgnoreFiles
from syncron_lib.protocol.keeping import Adjust as Adjust
from syncron_lib.protocol.keeping import Alternates as Alternates
from syncron_lib.protocol.keeping import Backup as Backup
from syncron_lib.protocol.keeping import HashAlternate as HashAlternate
from syncron_lib.protocol.keeping import LeaveOut as LeaveOut
from syncron_lib.protocol.keeping import ListAlternate as ListAlternate
from syncron_lib.protocol.keeping import SetAttributes as SetAttributes
from syncron_lib.protocol.keeping import TakeBasis as TakeBasis
from syncron_lib.protocol.keeping import TakeEntries as TakeEntries
from syncron_lib.protocol.keeping import TakenEntry as TakenEntry
from syncron_lib.protocol.keeping import UseAlternates as UseAlternates
from syncron_lib.protocol.known import Find as Find
from syncron_lib.protocol.known import Found as Found
from syncron_lib.protocol.known import GetSizes as GetSizes
from syncron_lib.protocol.known import Keep as Keep
from syncron_lib.protocol.known import Offer as Offer
from syncron_lib.protocol.known import Sizes as Sizes
from syncron_lib.protocol.known import Wanted as Wanted
from syncron_lib.protocol.linking import GetLinks as GetLinks
from syncron_lib.protocol.linking import Link as Link
from syncron_lib.protocol.linking import Linked as Linked
from syncron_lib.protocol.linking import Linking as Linking
from syncron_lib.protocol.linking import Links as Links
from syncron_lib.protocol.listing import Below as Below
from syncron_lib.protocol.listing import Changed as Changed
from syncron_lib.protocol.listing import Changes as Changes
from syncron_lib.protocol.listing import CountKinds as CountKinds
from syncron_lib.protocol.listing import Directory as Directory
from syncron_lib.protocol.listing import GetChanges as GetChanges
from syncron_lib.protocol.listing import Imply as Imply
from syncron_lib.protocol.listing import Kinds as Kinds
from syncron_lib.protocol.listing import List as List
from syncron_lib.protocol.listing import Listing as Listing
from syncron_lib.protocol.listing import MakeImplied as MakeImplied
from syncron_lib.protocol.moved import Delete as Delete
from syncron_lib.protocol.moved import Move as Move
from syncron_lib.protocol.moved import Moved as Moved
from syncron_lib.protocol.moved import Release as Release
from syncron_lib.protocol.replicas import GetKnowledge as GetKnowledge
from syncron_lib.protocol.replicas import GetRecords as GetRecords
from syncron_lib.protocol.replicas import GetReplicas as GetReplicas
from syncron_lib.protocol.replicas import Intend as Intend
from syncron_lib.protocol.replicas import Introduce as Introduce
from syncron_lib.protocol.replicas import Introduced as Introduced
from syncron_lib.protocol.replicas import KnowledgePart as KnowledgePart
from syncron_lib.protocol.replicas import KnownReplica as KnownReplica
from syncron_lib.protocol.replicas import Observe as Observe
from syncron_lib.protocol.replicas import Observed as Observed
from syncron_lib.protocol.replicas import Preserve as Preserve
from syncron_lib.protocol.replicas import RecordsPart as RecordsPart
from syncron_lib.protocol.replicas import Replicas as Replicas
from syncron_lib.protocol.replicas import Settle as Settle
from syncron_lib.protocol.replicas import Settled as Settled
from syncron_lib.protocol.replicas import Tick as Tick
from syncron_lib.protocol.replicas import Ticked as Ticked
from syncron_lib.protocol.sealing import GetLineage as GetLineage
from syncron_lib.protocol.sealing import GetManifest as GetManifest
from syncron_lib.protocol.sealing import GetSealed as GetSealed
from syncron_lib.protocol.sealing import Judge as Judge
from syncron_lib.protocol.sealing import Judged as Judged
from syncron_lib.protocol.sealing import Judgement as Judgement
from syncron_lib.protocol.sealing import KeepManifest as KeepManifest
from syncron_lib.protocol.sealing import Lineage as Lineage
from syncron_lib.protocol.sealing import MakeManifest as MakeManifest
from syncron_lib.protocol.sealing import Manifest as Manifest
from syncron_lib.protocol.sealing import PutLineage as PutLineage
from syncron_lib.protocol.sealing import PutManifest as PutManifest
from syncron_lib.protocol.sealing import Resolve as Resolve
from syncron_lib.protocol.sealing import Resolved as Resolved
from syncron_lib.protocol.sealing import SealedFile as SealedFile
from syncron_lib.protocol.sealing import SealedFiles as SealedFiles
from syncron_lib.protocol.sealing import UseManifest as UseManifest
from syncron_lib.protocol.sealing import Viewed as Viewed
from syncron_lib.protocol.snapshots import DropSnapshots as DropSnapshots
from syncron_lib.protocol.snapshots import GetSnapshots as GetSnapshots
from syncron_lib.protocol.snapshots import KeepSnapshot as KeepSnapshot
from syncron_lib.protocol.snapshots import Snapshot as Snapshot
from syncron_lib.protocol.snapshots import Snapshots as Snapshots
from syncron_lib.record import NamedTuple

VERSION = 1
"""Protocol version spoken by this code; a greeting carries the range that a program speaks."""


class RootKind(IntEnum):
    """What stands at a root's path."""

    MISSING = 0
    DIRECTORY = 1
    FILE = 2
    OTHER = 3


# --- greeting, and frames that answer nothing ---------------------------------------------


class Hello(NamedTuple):
    """First frame of each side. ``timeout_ms``: the client's, 0 for none (helper: echoes 0).
    ``chunkers``: ways to cut large files, best first.
    ``rate``: bytes a second that the client wants to be sent at most, 0 for no limit (helper: 0).
    """

    oldest: int
    newest: int
    program: str
    python: str
    host: str
    uid: int
    algorithms: Sequence[str]
    compressions: Sequence[str]
    chunkers: Sequence[str]
    timeout_ms: int
    rate: int = 0


class Heartbeat(NamedTuple):
    """A sign of life while there is nothing else to say."""


class Progress(NamedTuple):
    """How far a long request has come: entries scanned so far, or bytes hashed so far."""

    scanning: bool
    done: int
    size: int


class Notice(NamedTuple):
    """Something that the user should know, and that neither ends the run nor spoils a file.
    ``unsaved``: what was learned about the root could not be kept for the next run."""

    text: str
    unsaved: bool = False


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


# --- opening and knowing a root ------------------------------------------------------------


class Chosen(NamedTuple):
    """What of a source's tree the run is over: `core.options.FileList`."""

    paths: bytes
    whole: bool
    file: bytes
    nul: bool


class Open(NamedTuple):
    """Open a root. ``path`` is as the user wrote it, relative to the home directory.

    ``only``: the run is over this one entry of the directory; ``alias``: what the source calls
    it in its tree. ``patterns`` and ``gitignore``: `core.options.RuleOptions`. ``trust_state``:
    whether kept digests may be believed (not for ``--verify``). ``writing``: the run will write;
    its lock is then held alone. ``parents``: a missing root's parents may be made too. ``chosen``:
    for a source only, as is ``view``. ``scratch``: for a destination, where what comes is put
    together instead of in the root, to which it is relative if it is.
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
    chosen: Optional[Chosen] = None
    view: Optional[View] = None
    scratch: Optional[bytes] = None


class Opened(NamedTuple):
    """``path``: absolute, symlinks resolved. ``unmounted``: the root held a tree on another
    file system at the last run, and now is empty or missing. ``parent_missing``: a missing
    root's parent is missing too. ``identity``: the same for the same directory, however it was
    named and by whichever helper it was opened; zeros where there is none or it is not known.
    ``held``: another run holds the root, and this is who; empty where it is open. ``staging``: an
    interrupted run may have left something in it, which `Leftovers` will say. ``above``: identities
    of the directories that the root lies in. ``may``: what the helper would do to it, a
    `core.permission.Effect`."""

    path: bytes
    kind: int
    parent_missing: bool
    unmounted: bool
    identity: bytes = bytes(16)
    held: str = ""
    staging: bool = False
    above: Sequence[bytes] = ()
    may: int = int(EVERYTHING)


class Scan(NamedTuple):
    """Scan the root. A destination scans with the ignore files it remembers.

    ``alone``: with one process, as long as this is the last request: the client needs a processor
    of the same machine to connect to another. ``acls``: the ids that ACLs name are among those
    seen. ``prune``: directories that hold nothing but such directories are no part of the tree.
    ``hot``: only these directories, and those above each, are looked at, and of the others what is
    remembered is believed.
    """

    alone: bool = False
    acls: bool = False
    prune: bool = False
    hot: Optional[Sequence[bytes]] = None


class Scanned(NamedTuple):
    """``ignore_digest`` names the set of ignore files in force; ``ids``: users and groups seen."""

    entries: int
    size: int
    problems: int
    ignore_digest: bytes
    users: Sequence[IdName]
    groups: Sequence[IdName]


class Seal(NamedTuple):
    """Compute the Merkle digests for a profile; ``complete``: hash what is unknown first.

    ``same_ids``: instead of ``users`` and ``groups``, the pairs of this source's last run.
    """

    algorithm: str
    permissions: bool
    times: bool
    owner: bool
    group: bool
    users: Sequence[IdPair]
    groups: Sequence[IdPair]
    complete: bool
    same_ids: bool = False
    hard_links: bool = False
    extended: int = 0
    omit_dir_times: bool = False
    omit_link_times: bool = False
    executability: bool = False


class Sealed(NamedTuple):
    """``root`` is all zeros while anything below is unknown. ``hashed``: bytes read for it.
    ``users``, ``groups``: the pairs that were used."""

    root: bytes
    hashed: int
    problems: Sequence[Problem]
    users: Sequence[IdPair] = ()
    groups: Sequence[IdPair] = ()


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
    ``in_place``: what changed is written into the files that are there. ``durable``: nothing gets
    its name before it is on the disk, and `Finished` is said when everything is. ``sparse``: zeros
    of new files are holes. ``preallocate``: room for a file is taken before it is written.
    ``delay``: what comes gets its name only when `Release` is said.
    """

    users: Sequence[IdPair]
    groups: Sequence[IdPair]
    in_place: bool = False
    durable: bool = False
    sparse: bool = False
    preallocate: bool = False
    delay: bool = False


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
    """Tell the source what is wanted, in order; may come several times before `Next`, and after
    the end. ``plain``: from now on all content is to come, whatever the destination has."""

    items: Sequence[Selected]
    arrived: Sequence[Arrived]
    plain: bool = False


class GetChunks(NamedTuple):
    """Ask the destination for the chunks of one of its files that begin from ``start`` to before
    ``end``; all of a file in order. ``chunker``: how it is cut, if it is not known yet."""

    path: bytes
    chunker: str
    start: int
    end: int


class Chunks(NamedTuple):
    """Reply to `GetChunks`. ``average``: of all chunks of the file, 0 where it cannot be used.
    ``sizes``: a u32 a chunk; ``marks``: `core.chunks.MARK` bytes a chunk."""

    average: int
    sizes: bytes
    marks: bytes


class Basis(NamedTuple):
    """Tell the source what the destination has of a file that will be selected: `Chunks`, passed
    on. ``average`` 0: nothing after all. ``more``: these are not all. ``in_place``: the new file
    is written over the old one."""

    path: bytes
    chunker: str
    average: int
    sizes: bytes
    marks: bytes
    more: bool
    in_place: bool


class Next(NamedTuple):
    """Ask the source for the next pack, compressed if that makes it smaller. ``compression``:
    `protocol.compression.Method`, 0 for none; ``level``: its level."""

    compression: int = 0
    level: int = 0


class Stored(NamedTuple):
    """Reply to a `Store`, `Move`, `Link`, `Adjust` or `Delete`: how many entries were done.

    ``busy``: microseconds that it took, which tells a slow disk from a slow link. ``problems``:
    the destination's own; ``passed_on``: those of the source, which came in a pack. ``again``:
    paths whose content should have been at the destination, or have been put together from what
    is there, and could not: it is to be sent whole.
    """

    entries: int
    busy: int
    problems: Sequence[Problem]
    passed_on: Sequence[Problem]
    again: Sequence[bytes] = ()


class Finish(NamedTuple):
    """Apply directory attributes, bring the tree up to date, save the state.

    ``extras``: topmost paths outside of what was asked for; the root in the reply leaves them
    out. ``complete``: the run did all it was asked to, as far as the client knows by now.
    ``close``: then let go of the root as `Close` does, unless this is a source that has more to
    send. ``any_times``: times do not count in the root in the reply. ``by_size``: in it a file
    counts with its size instead of its content.
    """

    extras: Sequence[bytes]
    complete: bool
    close: bool = False
    any_times: bool = False
    by_size: bool = False


class RemoveSource(NamedTuple):
    """Remove all files of the source's tree, but what was left out. Reply: `Stored`."""


class Finished(NamedTuple):
    """``root``: as in `Sealed`. ``closed``: the root was let go of."""

    root: bytes
    problems: Sequence[Problem]
    closed: bool = False


class Close(NamedTuple):
    """Let go of the root: locks, descriptors, state. Another `Open` may follow."""


ABOUT_SNAPSHOTS = (GetSnapshots, KeepSnapshot, DropSnapshots)

Message = Any
"""A named tuple of this module."""
