"""A root as one of several replicas: recognised, brought up to date, told what it has learned.

The order of things, on each side of a run: `Replica` looks at what is kept and says who it is;
`observe` finishes what an unfinished run began, and notes what people changed; `intend` keeps what
the run is about to do before any of it is done; `settle` looks at what has come of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, shown, split
from syncron_lib.core.table import PROBLEM, TYPE_MASK, Malformed, Reader
from syncron_lib.core.twoway.identity import (
    Renewal,
    Standing,
    Ticks,
    pack_ticks,
    read_ticks,
    with_tick,
)
from syncron_lib.core.twoway.intents import Intents, read_intents
from syncron_lib.core.twoway.knowledge import (
    fresh,
    learned,
    learned_of,
    pack_knowledge,
    read_knowledge,
)
from syncron_lib.core.twoway.observe import observe, settle
from syncron_lib.core.twoway.records import Record, seen
from syncron_lib.core.twoway.roster import NOBODY, Roster, pack_roster, read_roster
from syncron_lib.errors import FileFatal, GuardRefused, PeerViolation
from syncron_lib.fs.replica import witness
from syncron_lib.fs.replica.book import Book, Page
from syncron_lib.fs.replica.store import Damaged, Store
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.view import ReplicaView

_NONCE = 8
_NOWHERE: Mapping[bytes, Attributes] = {}


class Observation(NamedTuple):
    """``records``: digest of all records. ``unseen``: topmost paths that are there and were not
    looked at. ``changed``: entries that were found to be others."""

    records: bytes
    unseen: list[bytes]
    changed: int


class Replica:
    """The replica in one root."""

    def __init__(self, root_fd: int, path: bytes, stem: bytes) -> None:
        """``stem``: where this machine keeps what it knows of the root, without ending."""
        self._path = path
        self._witness_path = stem + b".replica"
        self._root_fd = root_fd
        self.notices: list[str] = []
        self._store = Store(root_fd, shown(path))
        try:
            self._load()
        except Damaged:
            self._forget_damaged()
        self._book = Book(self._store)
        self._intents: Optional[Intents] = None
        self.view: Optional[ReplicaView] = None
        """What sees some of its files sealed."""
        self._has_lost = False
        """This run has found that what was remembered is lost."""

    def _load(self) -> None:
        self.counter, self.ticks = 0, Ticks({})
        self.knowledge, self.roster = fresh(), NOBODY
        self.sealed = b""
        """What its sealed files stand for; see `fs.view.Remembering`."""
        self._looked = False
        found = witness.read(self._witness_path)
        if not self._store.exists:
            lost = self._store.is_aside or witness.there(self._witness_path)
            self.standing = Standing.LOST if lost else Standing.NEW
            self.identity = os.urandom(16)
            return
        values = self._store.values()
        try:
            self.identity, counter = values["replica"], values["counter"]
            self.counter = int(counter)
            reader = Reader(values["knowledge"])
            self.knowledge = read_knowledge(reader)
            reader.finish()
            reader = Reader(values["ticks"])
            self.ticks = read_ticks(reader)
            reader.finish()
            if "roster" in values:
                reader = Reader(values["roster"])
                self.roster = read_roster(reader)
                reader.finish()
            self.sealed = values.get("sealed", b"")
        except (KeyError, ValueError):
            raise Damaged from None
        if len(self.identity) != 16:
            raise Damaged
        self._looked = True
        self.standing = Standing.KNOWN if found == self._witness() else Standing.RESTORED
        if self.standing is Standing.RESTORED:
            self._renew()
            self.notices.append(
                f"{shown(self._path)} is not where or as it was at its last run: it is taken for a"
                " copy, or for one that was restored. Nothing will be deleted because of that."
            )

    def _forget_damaged(self) -> None:
        self._store.set_aside()
        self.counter, self.ticks, self.knowledge = 0, Ticks({}), fresh()
        self.sealed = b""
        self._looked, self.standing, self.identity = False, Standing.LOST, os.urandom(16)

    def _witness(self) -> witness.Witness:
        nonce = self.ticks.nonce(self.identity, self.counter) or b""
        return witness.Witness(self.identity, self.counter, nonce, self._store.identity())

    def _renew(self) -> None:
        self.identity, self.counter = os.urandom(16), 0

    # --- who there is ---------------------------------------------------------------------------

    def known(self) -> Roster:
        """The replicas that it has heard of, itself among them by the name that it has now."""
        label = os.fsencode(os.uname().nodename) + b":" + self._path
        return self.roster.named(self.identity, label)

    def retire(self, replica: bytes) -> None:
        """Remember that another one is gone for good."""
        if replica == self.identity:
            raise PeerViolation("The client retired a replica in its own root.")
        self.roster = self.roster.without(replica)
        self._save()

    # --- looking --------------------------------------------------------------------------------

    def holds(self, path: bytes) -> bool:
        """As `fs.view.Remembering`."""
        parent, name = split(path)
        page = self._page(parent)
        record = None if page is None else page.records.get(name)
        return record is not None and record.is_file

    def require_seen(self) -> None:
        """Refuse to take what is seen sealed in other runs for what is not."""
        if self.sealed and (self.view is None or not self.view.active):
            raise GuardRefused(
                f"{shown(self._path)} holds files in clear that other replicas have sealed, and"
                " there is no key for them: run where it is, or name it with --key. Nothing was"
                " changed."
            )

    def require_tree(self, entries: int, allow_empty: bool, allow_unmounted: bool) -> None:
        """Refuse a root that is empty and was not: nothing is noted of it."""
        if entries:
            return
        if self.standing is Standing.LOST and not allow_unmounted:
            raise GuardRefused(
                f"{shown(self._path)} was one of several replicas and is empty now, without what it"
                " remembered: its disk is probably not mounted. Nothing was changed; mount it, or"
                " say --allow-unmounted."
            )
        page = None if self.standing is Standing.LOST else self._page(b"")
        if page is not None and page.records and not allow_empty:
            raise GuardRefused(
                f"{shown(self._path)} is empty, and was not at its last run. Nothing was changed;"
                " see what became of it, or say --allow-empty-source to delete everything on the"
                " other side too."
            )

    def _page(self, path: bytes) -> Optional[Page]:
        try:
            return self._book.page(path)
        except Damaged:
            self._lose()
            return None

    def _lose(self) -> None:
        """Begin anew because what is kept is damaged."""
        self._forget_damaged()
        self._book = Book(self._store)

    def observe(self, tree: Tree, renewal: Renewal, dry: bool) -> Observation:
        """Bring the records up to what a scan has found, whose digests are all known. ``dry``:
        remember nothing of it."""
        if renewal is Renewal.IDENTITY:
            self._renew()
        elif renewal is Renewal.EVERYTHING:
            self._lose()
        try:
            return self._observe(tree, dry)
        except Damaged:
            self._lose()
            return self._observe(tree, dry)

    def _observe(self, tree: Tree, dry: bool) -> Observation:
        if self.standing is Standing.LOST:
            self._has_lost = True
            self.notices.append(
                f"What {shown(self._path)} remembered as a replica is lost. Nothing will be deleted"
                " in this run; what was deleted elsewhere may come back."
            )
        recovered = self._recover(tree)
        unseen = list(_unseen(tree))
        changed = self._compare(tree, frozenset(unseen))
        if changed:
            self._count()
        if changed or recovered or not self._looked:
            self._book.settle(tree)
            self._looked = True
            if not dry:
                self._save(drop_intents=True, tree=tree)
        elif not dry and self.standing is not Standing.KNOWN:
            self._save()
        return Observation(self._book.root(), unseen, changed)

    def _compare(self, tree: Tree, unseen: frozenset[bytes]) -> int:
        """Note what is not as the records say; how many entries."""
        event = self.identity, self.counter + 1
        changed = 0
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            node = tree.nodes[path]
            if digest.UNKNOWN != node.merkle == self._book.merkle(path):
                continue
            page = self._book.begin(path)
            left_out = {split(each)[1] for each in _left_out(node)}
            entries = dict(_entries(node, event))
            observed = observe(page.records, entries, left_out, page.shown, event, not self._looked)
            shows = {name: own for name, own in page.shown.items() if name in observed.records}
            exact = observed.records.keys() == entries.keys() and None not in entries.values()
            changed += observed.changed + observed.gone
            self._book.write(path, observed.records, shows, exact)
            for name, record in observed.records.items():
                inner = join(path, name)
                if record.is_directory and inner in tree.nodes and inner not in unseen:
                    waiting.append(inner)
        return changed

    # --- knowledge and records ------------------------------------------------------------------

    def records(self, path: bytes) -> bytes:
        """The packed records of one directory."""
        page = self._book.page(path)
        if page is None:
            raise PeerViolation(f"The client asked for records of {shown(path)}, which has none.")
        return page.packed

    def digest(self) -> bytes:
        """The digest of all records."""
        return self._book.root()

    def tick(self) -> int:
        """Count one event more, on the disk before anybody hears of it."""
        self._count()
        self._save()
        return self.counter

    def _count(self) -> None:
        self.counter += 1
        self.ticks = with_tick(self.ticks, self.identity, self.counter, os.urandom(_NONCE))
        self.knowledge = self.knowledge.ticked(self.identity, self.counter)

    # --- a run ----------------------------------------------------------------------------------

    def intend(self, data: bytes) -> None:
        """Keep what this run is about to do. Raises `Malformed`."""
        intents = read_intents(data)
        if self._has_lost:
            self._keep_overwritten(intents.wanted)
        self._intents = intents
        self._store.save({}, (), {}, [data])

    def _keep_overwritten(self, wanted: Mapping[bytes, Optional[Record]]) -> None:
        """Keep files that are about to be replaced by what they are only thought to be old versions
        of, but for those whose content gets another name."""
        from syncron_lib.fs.replica import overwritten

        contents = {record.fp for record in wanted.values() if record is not None}
        paths = []
        for path, record in wanted.items():
            parent, name = split(path)
            page = self._book.page(parent)
            now = None if page is None else page.records.get(name)
            if now is None or not now.is_file or now.fp in contents:
                continue
            if record is None or record.fp != now.fp:
                paths.append(path)
        if not paths:
            return
        try:
            place = overwritten.keep(self._root_fd, paths)
        except OSError as error:
            raise FileFatal(
                f"What would be replaced in {shown(self._path)} cannot be kept"
                f" ({error.strerror}), as it is where what a replica remembered is lost. Nothing"
                " was replaced; make room, or move these files away, and run again."
            ) from None
        self.notices.append(
            f"{len(paths):,} files that are replaced in {shown(self._path)} by what seem to be"
            f" later versions are kept in {shown(place)} there: look at them, then delete them."
        )

    @property
    def intends(self) -> bool:
        """Whether anything was to be done."""
        return self._intents is not None and bool(self._intents.wanted)

    def settle(self, tree: Tree, more_untouched: Sequence[bytes]) -> list[bytes]:
        """See what has come of what was intended; the paths of which it has not. Nothing has come
        of what is ``more_untouched``, whatever it looks like."""
        intents = self._intents
        if intents is None:
            raise PeerViolation("The client ended a run that it had not begun.")
        left = frozenset(more_untouched)
        wanted = {path: each for path, each in intents.wanted.items() if path not in left}
        seen: dict[bytes, bool] = {}
        done, failed = self._settle(tree, wanted, seen)
        if intents.whole:
            untouched = intents.untouched.with_paths((*failed, *more_untouched))
            self.knowledge = learned(self.knowledge, intents.knowledge, untouched)
        else:
            self.knowledge = learned_of(self.knowledge, intents.knowledge, done)
        self._heard(intents)

        def is_exact(path: bytes, page: Page) -> bool:
            known = seen.get(path)
            return _is_exact(tree.nodes.get(path), page) if known is None else known

        self._book.settle(tree, is_exact)
        if self.view is not None:
            self.view.failed((*failed, *more_untouched))
        self._save(drop_intents=True, tree=tree)
        self._intents = None
        return failed

    def _recover(self, tree: Tree) -> bool:
        """Take over what an unfinished run has done; whether there was one."""
        kept = self._store.intents()
        if not kept:
            return False
        for data in kept:
            try:
                intents = read_intents(data)
            except Malformed:
                raise Damaged from None
            done, _ = self._settle(tree, intents.wanted, {}, cut_off=True)
            self.knowledge = learned_of(self.knowledge, intents.knowledge, done)
            self._heard(intents)
        return True

    def _heard(self, intents: Intents) -> None:
        self.ticks = self.ticks.joined(intents.ticks)
        self.roster = self.roster.joined(intents.roster)

    def _settle(
        self,
        tree: Tree,
        wanted: Mapping[bytes, Optional[Record]],
        seen: dict[bytes, bool],
        cut_off: bool = False,
    ) -> tuple[list[bytes], list[bytes]]:
        """Note what has become of what was wanted; what is done, and what is not. ``seen``: takes
        whether the records of each directory that this looks at are just what is there."""
        by_directory: dict[bytes, dict[bytes, Optional[Record]]] = {}
        for path, record in wanted.items():
            parent, name = split(path)
            by_directory.setdefault(parent, {})[name] = record
        done: list[bytes] = []
        failed: list[bytes] = []
        event = bytes(16), 1
        # From the root: a directory that has come has a page then, and one that has gone has none.
        for directory in sorted(by_directory, key=lambda path: path.replace(b"/", b"\0")):
            page, node = self._book.page(directory), tree.nodes.get(directory)
            names = by_directory[directory]
            if page is None or node is None or node.problem:
                gone = page is None and node is None
                for name, record in names.items():
                    there = done if gone and record is None else failed
                    there.append(join(directory, name))
                continue
            entries = dict(_entries(node, event))
            settled = settle(page.records, names, entries, page.shown, cut_off)
            self._book.write(directory, settled.records, settled.shown, exact=False)
            seen[directory] = node.merkle != digest.UNKNOWN and _are_exact(
                entries, settled.records, settled.shown
            )
            done.extend(join(directory, name) for name in settled.done)
            failed.extend(join(directory, name) for name in settled.failed)
        return done, failed

    def _save(self, drop_intents: bool = False, tree: Optional[Tree] = None) -> None:
        """``tree``: where that may be another one, as far as its files are seen sealed."""
        rows, gone = self._book.changes()
        self.roster = self.known()
        values = {
            "replica": self.identity,
            "counter": b"%d" % self.counter,
            "knowledge": pack_knowledge(self.knowledge),
            "ticks": pack_ticks(self.ticks),
            "roster": pack_roster(self.roster),
        }
        kept = None if self.view is None or tree is None else self.view.kept(tree)
        if kept is not None and kept != self.sealed:
            values["sealed"] = self.sealed = kept
        self._store.save(rows, gone, values, [] if drop_intents else None)
        self._book.saved()
        witness.write(self._witness_path, self._witness())
        self.standing = Standing.KNOWN

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()


def _entries(node: Node, event: tuple[bytes, int]) -> Iterator[tuple[bytes, Optional[Record]]]:
    """What a scan has found in a directory, by name; None for what it could not look at."""
    if not node.stats:
        return
    columns = node.seen()
    digests = bytes(node.digests)
    targets = iter(node.target_list())
    made = frozenset((event,))
    start = 0
    for name, mode, size, mtime in zip(columns.names, columns.modes, columns.sizes, columns.mtimes):
        kind = mode & TYPE_MASK
        target = next(targets) if kind == stat.S_IFLNK else None
        value = digests[start : start + digest.SIZE]
        start += digest.SIZE
        if mode == PROBLEM or (kind == stat.S_IFREG and value == digest.UNKNOWN):
            yield name, None
        else:
            yield name, seen(mode, size, mtime, value, target, made)


def _left_out(node: Node) -> list[bytes]:
    """Paths in a directory that the rules leave out, and that are there."""
    names = node.excluded.split(b"\0") if node.excluded else []
    return [join(node.path, name.rstrip(b"/")) for name in names]


def _unseen(tree: Tree) -> Iterator[bytes]:
    """Topmost paths that are there and were not looked at."""
    for node in tree.present():  # what is left unread is known, and rules leave out nothing there
        if node.problem:
            yield node.path
            continue
        yield from _left_out(node)
        if node.merkle == digest.UNKNOWN:
            for name, entry in _entries(node, (b"", 1)):
                if entry is None:
                    yield join(node.path, name)


def _is_exact(node: Optional[Node], page: Page) -> bool:
    """Whether the records of a directory are what is there."""
    if node is None or node.problem or node.merkle == digest.UNKNOWN:
        return False
    return _are_exact(dict(_entries(node, (b"", 1))), page.records, page.shown)


def _are_exact(
    entries: Mapping[bytes, Optional[Record]],
    records: Mapping[bytes, Record],
    shown: Mapping[bytes, Attributes],
) -> bool:
    """Whether records are what a scan has found, or what the disk shows for them."""
    if entries.keys() != records.keys():
        return False
    for name, record in records.items():
        entry = entries[name]
        if entry is None or not entry.same_content(record):
            return False
        if (entry.mode, entry.mtime) != (record.mode, record.mtime):
            own = shown.get(name)
            if own is None or (own.mode, own.mtime_ns) != (entry.mode, entry.mtime):
                return False
    return True
