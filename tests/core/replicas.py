"""Replicas in memory, synchronised by the real rules, and a judge that keeps the exact past.

A `World` has replicas with trees as dictionaries. Their records, knowledge, scans, decisions and
the end of a run are the product's own functions; only the disk and the wire are left out. Beside
them the world keeps for each replica and path the set of all events in its past: `verdict` decides
by these sets, and must say what the rules say by vectors; and nothing may be said to be known that
is not in the past.
"""

from __future__ import annotations

import hashlib
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Optional, Union

from syncron_lib.core.names import is_below, join, split
from syncron_lib.core.twoway.decide import Verdict, decide
from syncron_lib.core.twoway.dots import Dot, is_known
from syncron_lib.core.twoway.knowledge import Knowledge, Untouched, fresh, learned, learned_of
from syncron_lib.core.twoway.merging import Base, Merged
from syncron_lib.core.twoway.observe import observe, settle
from syncron_lib.core.twoway.reconcile import (
    Choice,
    Conflict,
    Outcome,
    Policy,
    Replica,
    keep_both,
    reconcile,
    tree_order,
)
from syncron_lib.core.twoway.records import (
    MOST_ALONE,
    Record,
    pack_records,
    records_digest,
    seen,
    unpack_records,
)


def tokens(content: bytes) -> frozenset[bytes]:
    """What a content is made of: what people wrote into it, each for itself."""
    return frozenset(content.split(b"+"))


def merged_content(base: bytes, one: bytes, other: bytes) -> bytes:
    """What both made of the base: what either has added, and nothing that either has removed."""
    old, a, b = map(tokens, (base, one, other))
    return b"+".join(sorted((a & b) | (a - old) | (b - old)))


@dataclass(frozen=True)
class Entry:
    """A file with its content, or a directory where that is None."""

    content: Optional[bytes]
    mode: int = 0o644

    def record(self, dot: Dot) -> Record:
        """As a scan shows it."""
        dots = frozenset((dot,))
        if self.content is None:
            return seen(stat.S_IFDIR | 0o755, 0, 0, b"", None, dots)
        value = hashlib.sha256(self.content).digest()[:16]
        return seen(stat.S_IFREG | self.mode, len(self.content), 0, value, None, dots)


DIRECTORY = Entry(None)
Tree = dict[bytes, Entry]
Past = defaultdict[bytes, set[Dot]]


@dataclass
class Peer:
    """One replica."""

    name: str
    tree: Tree = field(default_factory=dict)
    records: dict[bytes, Record] = field(default_factory=dict)
    knowledge: Knowledge = field(default_factory=fresh)
    identity: bytes = b""
    counter: int = 0
    looked: bool = True
    """Whether it has been scanned before."""
    past: Past = field(default_factory=lambda: defaultdict(set))

    def snapshot(self) -> tuple[Tree, dict[bytes, Record], Knowledge, dict[bytes, set[Dot]]]:
        past = {path: set(dots) for path, dots in self.past.items()}
        return dict(self.tree), dict(self.records), self.knowledge, past


def _by_directory(paths: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = defaultdict(list)
    for path in paths:
        parent, name = split(path)
        found[parent].append(name)
    return found


@dataclass
class Report:
    """What one run did."""

    conflicts: list[Conflict]
    written: int
    verdicts: dict[bytes, Verdict]


class World:
    """Some replicas and their exact past."""

    def __init__(self, names: str, judged: bool = True) -> None:
        self.peers = {name: Peer(name, identity=name.encode().ljust(16, b"_")) for name in names}
        self.events: dict[bytes, set[Dot]] = defaultdict(set)
        """All that ever happened to a path, anywhere."""
        self.judged = judged
        self.replaced: set[bytes] = set()
        """What a person replaced or removed somewhere, by tokens."""
        self.written: set[bytes] = set()
        self.merged = 0
        """Files that were merged."""
        self._bases: dict[frozenset[str], dict[bytes, tuple[Base, bytes]]] = defaultdict(dict)
        """Of two replicas, what both had alike after a run that merges: not a replica's, and so
        neither restored nor lost with one."""
        self._incarnations = 0

    # --- what people do -------------------------------------------------------------------------

    def write(self, name: str, path: bytes, content: bytes, mode: int = 0o644) -> None:
        """Write a file, making its directories; what is in the way is removed."""
        peer = self.peers[name]
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            above = b"/".join(parts[:count])
            if peer.tree.get(above, DIRECTORY).content is not None:
                self.delete(name, above)
            peer.tree[above] = DIRECTORY
        if peer.tree.get(path) == Entry(content, mode):
            return
        if path in peer.tree and peer.tree[path].content != content:
            self.delete(name, path)
        peer.tree[path] = Entry(content, mode)
        self.written |= tokens(content)

    def edit(self, name: str, path: bytes, token: bytes) -> None:
        """Add something to a file, or begin one with it."""
        peer = self.peers[name]
        entry = peer.tree.get(path, DIRECTORY)
        if entry.content is not None:
            content = b"+".join(sorted((tokens(entry.content) | {token}) - {b""}))
            peer.tree[path] = Entry(content, entry.mode)
            self.written.add(token)
        elif path not in peer.tree:
            self.write(name, path, token)

    def mkdir(self, name: str, path: bytes) -> None:
        """Make a directory, with those above it."""
        self.write(name, path + b"/?", b"")
        self.written.discard(b"")
        del self.peers[name].tree[path + b"/?"]

    def delete(self, name: str, path: bytes) -> None:
        """Remove with all below."""
        peer = self.peers[name]
        for each in [each for each in peer.tree if is_below(each, path)]:
            content = peer.tree.pop(each).content
            if content is not None:
                self.replaced |= tokens(content)

    def restore(
        self,
        name: str,
        saved: tuple[Tree, dict[bytes, Record], Knowledge, dict[bytes, set[Dot]]],
    ) -> None:
        """Put tree and state back, as from a backup: recognised, so it is another replica now."""
        peer = self.peers[name]
        for path in list(peer.tree):
            if peer.tree.get(path) != saved[0].get(path):
                self.delete(name, path)
        peer.tree, peer.records, peer.knowledge = dict(saved[0]), dict(saved[1]), saved[2]
        peer.past = defaultdict(set, {path: set(dots) for path, dots in saved[3].items()})
        self._reborn(peer)

    def lose(self, name: str) -> None:
        """Lose the state, not the tree."""
        peer = self.peers[name]
        peer.records, peer.knowledge, peer.looked = {}, fresh(), False
        peer.past = defaultdict(set)
        self._reborn(peer)

    def _reborn(self, peer: Peer) -> None:
        self._incarnations += 1
        peer.identity = f"{peer.name}{self._incarnations}".encode().ljust(16, b"_")
        peer.counter = 0

    # --- scanning -------------------------------------------------------------------------------

    def scan(self, name: str, unseen: Collection[bytes] = ()) -> frozenset[bytes]:
        """Bring the records up to date; which of ``unseen`` are there."""
        peer = self.peers[name]
        there = frozenset(path for path in unseen if path in peer.tree)
        hidden = Untouched(frozenset(), there)
        event = peer.identity, peer.counter + 1
        before = _by_directory(peer.records)
        visible = {path: each for path, each in peer.tree.items() if not hidden.in_tree(path)}
        now = _by_directory(visible)
        records: dict[bytes, Record] = {}
        changes: list[bytes] = []
        directories = [b"", *(path for path in peer.tree if peer.tree[path].content is None)]
        for directory in directories:
            if hidden.in_tree(directory):
                continue
            known = {each: peer.records[join(directory, each)] for each in before[directory]}
            shown = {each: visible[join(directory, each)].record(event) for each in now[directory]}
            names = {split(path)[1] for path in there if split(path)[0] == directory}
            observed = observe(known, shown, names, {}, event, not peer.looked)
            for each, record in observed.records.items():
                path = join(directory, each)
                records[path] = record
                if known.get(each) is not record:
                    changes.append(path)
        for path, record in peer.records.items():
            if hidden.in_tree(path):
                records.setdefault(path, record)
            elif path not in records:
                changes.append(path)
        peer.looked = True
        if changes:
            peer.counter += 1
            peer.knowledge = peer.knowledge.ticked(*event)
            for path in changes:
                self.events[path].add(event)
                peer.past[path].add(event)
        peer.records = records
        return there

    # --- a run ----------------------------------------------------------------------------------

    def sync(
        self,
        one: str,
        other: str,
        policy: Policy = keep_both,
        fails: Callable[[str, bytes], bool] = lambda _name, _path: False,
        unseen: Collection[bytes] = (),
        killed: Optional[int] = None,
        merges: bool = False,
    ) -> Report:
        """One run. ``fails``: whether a step at a replica does. ``killed``: after so many steps,
        of both sides. ``merges``: what both sides changed is merged where that may be."""
        first, second = self.peers[one], self.peers[other]
        hidden = self.scan(one, unseen), self.scan(other, unseen)
        event = first.identity, first.counter + 1
        sides = [
            Replica(
                {p: r for p, r in peer.records.items() if not _in(p, hidden[0] | hidden[1])},
                peer.knowledge,
                there,
            )
            for peer, there in zip((first, second), hidden)
        ]
        verdicts = self._judged(first, second, sides)
        results: dict[bytes, bytes] = {}
        if merges:
            policy = partial(self._merge, policy, results, first, second)
        outcome = reconcile(*_pruned(*sides), event, policy)
        if outcome.minted:
            first.counter += 1
            first.knowledge = first.knowledge.ticked(*event)
        known = first.knowledge, second.knowledge
        steps = [0]

        def step(peer: Peer, path: bytes) -> bool:
            steps[0] += 1
            if killed is not None and steps[0] > killed:
                raise _Killed
            return not fails(peer.name, path)

        lost: list[bytes] = []
        pasts = [{p: set(d) for p, d in peer.past.items()} for peer in (first, second)]
        for path, copy in list(outcome.copies.items()):
            peer = (first, second)[copy.side.value]
            try:
                could = step(peer, path)
            except _Killed:
                return Report([], 0, verdicts)
            if could and path not in peer.tree:
                peer.tree[path] = peer.tree[copy.path]
            else:
                lost.extend((path, copy.path))
        outcome.leave(lost)
        sources = dict(first.tree), dict(second.tree)
        contents = {
            path: next(
                (tree[path] for tree in sources if path in tree and _is(tree[path], record)), None
            )
            for path, record in outcome.final.items()
            if record is not None
        }
        contents.update((path, Entry(results[path])) for path in outcome.merged)
        self.merged += len(outcome.merged)
        final, untouched = dict(outcome.final), outcome.untouched
        written = 0
        for index, peer in enumerate((first, second)):
            alive = True
            before = dict(peer.tree)
            try:
                self._apply(peer, final, contents, partial(step, peer))
            except _Killed:
                alive = False
            written += sum(
                1 for path in {*before, *peer.tree} if before.get(path) != peer.tree.get(path)
            )
            done, failed = self._settle(peer, final)
            theirs, past = known[1 - index], pasts[1 - index]
            if alive:
                mine = untouched.with_paths(failed)
                peer.knowledge = learned(known[index], theirs, mine)
                for path in self.events:
                    if not mine.covers(path):
                        peer.past[path] |= past.get(path, set())
            else:
                peer.knowledge = learned_of(known[index], theirs, done)
                for path in done:
                    peer.past[path] |= past.get(path, set())
            for path in done:
                if path in outcome.minted:
                    self.events[path].add(event)
                    peer.past[path].add(event)
            if not alive:
                break
            # What the first side has not got by this event, the second must not hear of.
            withheld = [path for path in failed if path in outcome.minted]
            untouched = untouched.with_paths(withheld)
            for path in withheld:
                final.pop(path, None)
        else:
            if merges:
                self._keep_bases(first, second)
        self.check()
        return Report(outcome.conflicts, written, verdicts)

    def _apply(
        self,
        peer: Peer,
        final: dict[bytes, Optional[Record]],
        contents: dict[bytes, Optional[Entry]],
        step: Callable[[bytes], bool],
    ) -> None:
        tree = peer.tree
        order = sorted(final, key=tree_order)
        for path in order:
            record = final[path]
            if record is None or (path in tree and _is(tree[path], record, exactly=True)):
                continue
            parent = split(path)[0]
            if not step(path) or (parent and tree.get(parent, Entry(b"")).content is not None):
                continue
            for below in [each for each in tree if is_below(each, path) and each != path]:
                if not record.is_directory:
                    assert final.get(below, record) is None, "removed with what makes way"
                    del tree[below]
            entry = contents[path]
            assert entry is not None
            mode = record.mode & 0o7777
            tree[path] = entry if entry.content is None else Entry(entry.content, mode)
        for path in reversed(order):
            empty = not any(is_below(each, path) and each != path for each in tree)
            if final[path] is None and path in tree and step(path) and empty:
                del tree[path]

    def _settle(
        self, peer: Peer, final: dict[bytes, Optional[Record]]
    ) -> tuple[list[bytes], list[bytes]]:
        done: list[bytes] = []
        failed: list[bytes] = []
        records = dict(peer.records)
        known, now = _by_directory(records), _by_directory(peer.tree)
        for directory, names in _by_directory(final).items():
            settled = settle(
                {name: records[join(directory, name)] for name in known[directory]},
                {name: final[join(directory, name)] for name in names},
                {n: peer.tree[join(directory, n)].record((b"?", 1)) for n in now[directory]},
                {},
            )
            done.extend(join(directory, name) for name in settled.done)
            failed.extend(join(directory, name) for name in settled.failed)
            for name in known[directory]:
                records.pop(join(directory, name))
            records.update((join(directory, n), r) for n, r in settled.records.items())
        peer.records = records
        return done, failed

    # --- merging --------------------------------------------------------------------------------

    def _merge(
        self,
        policy: Policy,
        results: dict[bytes, bytes],
        first: Peer,
        second: Peer,
        path: bytes,
        one: Record,
        other: Record,
    ) -> Union[Choice, Merged]:
        """As `session.twoway.merging` does it, with a command that is always content."""
        found = self._bases[frozenset((first.name, second.name))].get(path)
        sides = (first, one), (second, other)
        if found is None or not (one.is_file and other.is_file):
            return policy(path, one, other)
        base, old = found
        if not all(base.is_before(record, peer.knowledge.of(path)) for peer, record in sides):
            return policy(path, one, other)
        for peer, _ in sides:
            assert base.made & peer.past[path], f"{peer.name} never had the base of {path!r}"
        mine, theirs = (peer.tree[path].content for peer, _ in sides)
        assert mine is not None
        assert theirs is not None
        results[path] = merged_content(old, mine, theirs)
        shown = Entry(results[path]).record((b"?", 1))
        return Merged(shown.fp, shown.size, 0)

    def _keep_bases(self, first: Peer, second: Peer) -> None:
        kept = self._bases[frozenset((first.name, second.name))]
        for path in {*kept, *first.records, *second.records}:
            record = first.records.get(path)
            if record != second.records.get(path):
                continue
            if record is None or not record.is_file:
                kept.pop(path, None)
                continue
            entry = first.tree.get(path, DIRECTORY)
            if entry.content is not None and _is(entry, record):  # not changed and left out
                kept[path] = Base(record.fp, record.made, record.born), entry.content

    # --- the judge ------------------------------------------------------------------------------

    def _judged(self, first: Peer, second: Peer, sides: list[Replica]) -> dict[bytes, Verdict]:
        found = {}
        for path in {*sides[0].records, *sides[1].records}:
            mine, theirs = sides[0].records.get(path), sides[1].records.get(path)
            of_engine = decide(mine, theirs, first.knowledge.of(path), second.knowledge.of(path))
            found[path] = of_engine
            if self.judged:
                exact = verdict(mine, theirs, first.past[path], second.past[path])
                assert of_engine is exact, (path, of_engine, exact)
        return found

    def check(self) -> None:
        """See that nothing is overstated, and that records are the tree's."""
        for peer in self.peers.values():
            for path, dots in self.events.items():
                vector = peer.knowledge.of(path)
                for dot in dots:
                    assert not is_known(dot, vector) or dot in peer.past[path], (
                        f"{peer.name} claims to know {dot} of {path!r}"
                    )
            for path, record in peer.records.items():
                assert record.made & peer.past[path], (peer.name, path)

    def settle_all(self, rounds: int = 8) -> None:
        """Synchronise all pairs until nothing is written, and see that all are equal then."""
        names = list(self.peers)
        for _ in range(rounds):
            written = 0
            for one, other in zip(names, names[1:] + names[:1]):
                if one != other:
                    report = self.sync(one, other)
                    written += report.written + len(report.conflicts)
            if not written:
                break
        else:
            raise AssertionError("there is no end to it")
        trees = [peer.tree for peer in self.peers.values()]
        assert all(tree == trees[0] for tree in trees), trees
        if len(self.peers) > 1:
            self._settle_knowledge(names)
        contents = (entry.content for entry in trees[0].values())
        everywhere = set[bytes]().union(*(tokens(each) for each in contents if each is not None))
        lost = self.written - self.replaced - everywhere
        assert not lost, f"lost: {lost}"

    def _settle_knowledge(self, names: list[str]) -> None:
        """See that two rounds more leave one vector of knowledge, the same everywhere, and equal
        records."""
        for _ in range(2):
            for one, other in zip(names, names[1:] + names[:1]):
                assert not self.sync(one, other).written
        peers = list(self.peers.values())
        for peer in peers:
            assert peer.knowledge == peers[0].knowledge, (peer.name, peer.knowledge)
            # Of an incarnation that is gone nobody can learn what was missed of it.
            is_one = list(peer.knowledge.trees) == [b""] and not peer.knowledge.selves
            assert is_one or self._incarnations
            assert peer.records == peers[0].records


class _Killed(Exception):
    pass


def _digests(records: dict[bytes, Record]) -> dict[bytes, bytes]:
    """By directory, the digest of its records, packed as they are kept and sent."""
    found: dict[bytes, bytes] = {}
    below = _by_directory(records)
    directories = [path for path, record in records.items() if record.is_directory]
    for directory in sorted([*directories, b""], key=len, reverse=True):
        rows = {name: records[join(directory, name)] for name in below.get(directory, ())}
        inner = {name: found[join(directory, name)] for name, r in rows.items() if r.is_directory}
        packed = pack_records(rows, inner)
        assert unpack_records(packed) == (rows, inner)
        found[directory] = records_digest(packed)
    return found


def _pruned(one: Replica, other: Replica) -> tuple[Replica, Replica]:
    """Without the records of directories that are the same on both sides, as a run sees them."""
    digests = _digests(dict(one.records)), _digests(dict(other.records))
    same = {path for path, value in digests[0].items() if digests[1].get(path) == value}

    def pruned(side: Replica) -> Replica:
        records = {p: r for p, r in side.records.items() if split(p)[0] not in same}
        return side._replace(records=records)

    return pruned(one), pruned(other)


def _in(path: bytes, tops: Collection[bytes]) -> bool:
    return any(is_below(path, top) for top in tops)


def _is(entry: Entry, record: Record, exactly: bool = False) -> bool:
    shown = entry.record((b"?", 1))
    return shown.same_content(record) and (not exactly or shown.mode == record.mode)


def verdict(
    a: Optional[Record], b: Optional[Record], past_a: set[Dot], past_b: set[Dot]
) -> Verdict:
    """The decision table once more, on the exact past of both sides and nothing else."""
    if a is None and b is None:
        return Verdict.NONE
    if a is None or b is None:
        record, past = (b, past_a) if b is not None else (a, past_b)
        assert record is not None
        if record.made <= past:
            return Verdict.DELETE_SECOND if a is None else Verdict.DELETE_FIRST
        if not (record.made | record.born) & past:
            return Verdict.NEW_SECOND if a is None else Verdict.NEW_FIRST
        return Verdict.REVIVE_SECOND if a is None else Verdict.REVIVE_FIRST
    b_has_a, a_has_b = bool(a.made & past_b), bool(b.made & past_a)
    if (a.kind, a.fp) == (b.kind, b.fp):
        if a.made == b.made:
            return Verdict.SAME
        if a.base != b.base:
            return Verdict.FIRST if b.base else Verdict.SECOND
        if a_has_b and not b_has_a:
            return Verdict.FIRST
        if b_has_a and not a_has_b:
            return Verdict.SECOND
        return Verdict.ALIAS
    if a_has_b and not b_has_a:
        return Verdict.FIRST
    if b_has_a and not a_has_b:
        return Verdict.SECOND
    both_files = a.is_file and b.is_file
    if not (a_has_b and b_has_a) and both_files and max(a.alone, b.alone) < MOST_ALONE:
        if b.prev == a.fp and a.prev != b.fp:
            return Verdict.FORWARD_SECOND
        if a.prev == b.fp and b.prev != a.fp:
            return Verdict.FORWARD_FIRST
    return Verdict.CONFLICT


__all__ = ["DIRECTORY", "Entry", "Outcome", "Peer", "Report", "World", "verdict"]
