"""From two replicas' records and knowledge to what both are to have: pure, whole trees at once.

`decide` judges each path by itself. What comes of that need not be a tree: a file may survive in a
directory that goes, or below a path that becomes a file. So verdicts become an `Outcome`, and that
is put right from below. Nothing of either side is ever without a place in it.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional, Union

from syncron_lib.core.names import join, split
from syncron_lib.core.twoway.decide import Verdict, decide, keep, one_of_both, order
from syncron_lib.core.twoway.dots import Dot, Dots, merged
from syncron_lib.core.twoway.knowledge import Knowledge, Untouched, topmost
from syncron_lib.core.twoway.merging import Merged
from syncron_lib.core.twoway.naming import conflict_names
from syncron_lib.core.twoway.records import MOST_ALONE, NOTHING, Record
from syncron_lib.core.twoway.signed import Anew, Copy, Side, Signed
from syncron_lib.record import NamedTuple


class Replica(NamedTuple):
    """What is to be known of one side. ``records``: by path, of all directories whose records are
    not the same on both sides. ``unseen``: what this side did not look at, or could not."""

    records: Mapping[bytes, Record]
    knowledge: Knowledge
    unseen: frozenset[bytes] = frozenset()


class Choice(Enum):
    """What becomes of a path that was changed on both sides."""

    BY_ORDER = "the larger keeps the name"
    FIRST = "the first side's keeps the name"
    SECOND = "the second side's keeps the name"
    SKIP = "both stay as they are"


Policy = Callable[[bytes, Record, Record], Union[Choice, Merged]]


def keep_both(_path: bytes, _first: Record, _second: Record) -> Choice:
    """The total order decides about the name."""
    return Choice.BY_ORDER


class What(Enum):
    """What was to be decided."""

    CONTENT = "content"
    """Both sides changed it. One keeps the name, the other one gets a name of its own."""
    KIND = "kind"
    """A directory on one side, something else on the other."""
    DELETED = "deleted"
    """Deleted on one side, changed on the other: it stays."""
    REVIVED = "revived"
    """A directory that was deleted on one side, and holds what stays."""
    PERMISSIONS = "permissions"
    """Both sides changed them; one's hold."""
    MERGED = "merged"
    """Both sides changed it, and what both changed is in it now."""
    SKIPPED = "skipped"
    """Both sides changed it, and it is left so."""
    REPAIRED = "repaired"
    """Taken away by somebody without the key: it is put back."""


class Conflict(NamedTuple):
    """Something that two sides want differently. ``winner``: whose version has the path;
    ``kept``: the path of the other version, where it has got one."""

    path: bytes
    what: What
    first: Optional[Record]
    second: Optional[Record]
    winner: Optional[Side] = None
    kept: Optional[bytes] = None


@dataclass
class Outcome:
    """``final``: by path, what both sides are to have, None for nothing; without paths that have
    the same record on both. ``copies``: paths among them that are new names of versions that lose
    theirs. ``minted``: paths whose record is a new event, which the first side must have before the
    second hears of it. ``merged``: those of them whose content neither side has yet. ``untouched``:
    what stays as it is on either side."""

    final: dict[bytes, Optional[Record]] = field(default_factory=dict)
    copies: dict[bytes, Copy] = field(default_factory=dict)
    minted: set[bytes] = field(default_factory=set)
    merged: set[bytes] = field(default_factory=set)
    untouched: Untouched = Untouched()
    conflicts: list[Conflict] = field(default_factory=list)

    def leave(self, paths: Iterable[bytes]) -> None:
        """Let these paths stay as they are on both sides, after all."""
        left = set(paths)
        for path in left:
            self.final.pop(path, None)
            self.copies.pop(path, None)
            self.minted.discard(path)
            self.merged.discard(path)
        self.untouched = self.untouched.with_paths(left)


def tree_order(path: bytes) -> bytes:
    """Sorts paths as a walk comes to them."""
    return path.replace(b"/", b"\0")


def reconcile(
    first: Replica,
    second: Replica,
    fresh: Dot,
    policy: Policy = keep_both,
    signed: Optional[Signed] = None,
) -> Outcome:
    """What both sides are to have. ``fresh``: the event of all that is resolved here."""
    return _Reconciling(first, second, fresh, policy, signed).outcome()


class _Reconciling:
    def __init__(
        self,
        first: Replica,
        second: Replica,
        fresh: Dot,
        policy: Policy,
        signed: Optional[Signed],
    ) -> None:
        self._signed = signed
        self._first = first
        self._second = second
        self._event: Dots = frozenset((fresh,))
        self._policy = policy
        self._outcome = Outcome()
        self._unseen = Untouched(frozenset(), topmost(first.unseen | second.unseen))
        self._skipped: set[bytes] = set()
        """Paths that stay as they are on both sides, though there is an entry."""
        self._skipped_trees: set[bytes] = set(self._unseen.trees)
        self._judged: set[bytes] = set()

    def outcome(self) -> Outcome:
        """Judge all paths that are not the same, and put right what is no tree."""
        first, second = self._first.records, self._second.records
        differing = {path for path, record in first.items() if second.get(path) != record}
        differing.update(second.keys() - first.keys())
        paths = sorted(differing, key=tree_order)
        for path in paths:
            if not self._unseen.in_tree(path):
                self._judge(path)
        self._put_right(paths)
        outcome = self._outcome
        trees = topmost(self._skipped_trees)
        outcome.untouched = Untouched(frozenset(self._skipped), trees)
        return outcome

    # --- one path -------------------------------------------------------------------------------

    def _judge(self, path: bytes) -> None:
        if path in self._judged:
            return
        self._judged.add(path)
        first, second = self._first.records.get(path), self._second.records.get(path)
        known_first, known_second = self._first.knowledge.of(path), self._second.knowledge.of(path)
        verdict = decide(first, second, known_first, known_second)
        if self._signed is not None:
            verdict = self._signed.verdict(path, first, second, verdict)
        final = self._outcome.final
        if first is None or second is None:
            one = first or second
            assert one is not None
            if verdict in (Verdict.DELETE_FIRST, Verdict.DELETE_SECOND):
                final[path] = None
            elif verdict in (Verdict.NEW_FIRST, Verdict.NEW_SECOND):
                final[path] = one
            elif verdict is Verdict.NONE:
                self._skipped.add(path)
            else:
                self._deleted_and_changed(path, first, second, one)
            return
        if verdict is Verdict.CONFLICT:
            self._conflict(path, first, second)
            return
        kept = keep(first, second, known_first, known_second, verdict)
        record = {
            Verdict.FIRST: first,
            Verdict.FORWARD_FIRST: first,
            Verdict.SECOND: second,
            Verdict.FORWARD_SECOND: second,
        }.get(verdict)
        if record is None:
            record = one_of_both(first, second, known_first, known_second)
        elif verdict in (Verdict.FORWARD_FIRST, Verdict.FORWARD_SECOND):
            record = self._resolved(path, record, first, second)
        if self._is_sealed(path) and first.is_file and second.is_file:
            # Permissions and time are sealed with the content, and come with it.
            own = first.mode, first.mtime
            dots = self._event if kept.settled else kept.dots
            if first.fp == second.fp and own != (second.mode, second.mtime):
                assert self._signed is not None
                trusted = self._signed.trusted(first, second)
                record = record._replace(mode=trusted.mode, mtime=trusted.mtime)
                dots = self._event
            record = record._replace(kept=dots)
            if dots == self._event:
                self._outcome.minted.add(path)
        elif first.kind == second.kind:
            dots = self._event if kept.settled else kept.dots
            if record.kind != stat.S_IFLNK:
                record = record._replace(mode=record.kind | kept.permissions)
            record = record._replace(mtime=kept.mtime, kept=dots)
            if kept.settled:
                self._outcome.minted.add(path)
                self._outcome.conflicts.append(Conflict(path, What.PERMISSIONS, first, second))
        final[path] = record
        if verdict in (Verdict.FORWARD_FIRST, Verdict.FORWARD_SECOND):
            self._outcome.minted.add(path)

    def _is_sealed(self, path: bytes) -> bool:
        return self._signed is not None and self._signed.is_sealed(path)

    def _resolved(self, path: bytes, winner: Record, first: Record, second: Record) -> Record:
        """The record of a resolution: a new event, never an old one of the winner's."""
        loser = second if winner is first else first
        known = self._first.knowledge.of(path), self._second.knowledge.of(path)
        return winner._replace(
            made=self._event,
            born=merged(first.born, known[0], second.born, known[1]),
            prev=loser.fp if loser.is_file else NOTHING,
            base=False,
            alone=max(first.alone, second.alone) + 1,
        )

    def _deleted_and_changed(
        self, path: bytes, first: Optional[Record], second: Optional[Record], one: Record
    ) -> None:
        """One side has deleted an earlier version of what the other has: it stays, in a new
        life."""
        record = self._again(one)
        winner = Side.FIRST if first is not None else Side.SECOND
        what = What.DELETED
        if self._signed is not None and one.is_file and self._is_sealed(path):
            what = What.REPAIRED if self._signed.repairs(path) else what
            anew = self._signed.revived(path, one, winner)
            if anew is not None:
                record = _as(record, anew)
                self._outcome.merged.add(path)
        self._mint(path, record)
        self._outcome.conflicts.append(Conflict(path, what, first, second, winner))

    def _again(self, record: Record) -> Record:
        """The record of an entry that is kept against a deletion."""
        event = self._event
        alone = record.alone + 1
        return record._replace(made=event, born=event, kept=event, base=False, alone=alone)

    def _mint(self, path: bytes, record: Record) -> None:
        self._outcome.final[path] = record
        self._outcome.minted.add(path)

    def _conflict(self, path: bytes, first: Record, second: Record) -> None:
        what = What.CONTENT
        choice: Union[Choice, Merged]
        if first.is_directory != second.is_directory:
            what = What.KIND
            choice = Choice.FIRST if first.is_directory else Choice.SECOND
        elif max(first.alone, second.alone) < MOST_ALONE:
            choice = self._policy(path, first, second)
        else:
            choice = Choice.BY_ORDER
        if choice is Choice.SKIP:
            self._skip(path, first, second)
            return
        merged_to = choice if isinstance(choice, Merged) else None
        if merged_to is not None or choice is Choice.BY_ORDER:
            choice = Choice.FIRST if order(first) > order(second) else Choice.SECOND
        won = Side.FIRST if choice is Choice.FIRST else Side.SECOND
        winner, loser = (first, second) if won is Side.FIRST else (second, first)
        known = self._first.knowledge.of(path), self._second.knowledge.of(path)
        kept = merged(first.kept, known[0], second.kept, known[1])
        record = self._resolved(path, winner, first, second)._replace(kept=kept)
        if self._signed is not None and what is What.CONTENT and self._is_sealed(path):
            self._conflict_of_sealed(path, record, first, second, won, merged_to)
            return
        if merged_to is not None:
            # Permissions are no part of what is merged: both sides' count as if alone.
            own = keep(first, second, *known, Verdict.SAME)
            dots = self._event if own.settled else own.dots
            mode = record.kind | own.permissions
            self._mint(path, record._replace(mode=mode, kept=dots, **merged_to._asdict()))
            self._outcome.merged.add(path)
            self._outcome.conflicts.append(Conflict(path, What.MERGED, first, second))
            return
        self._mint(path, record)
        copy = self._copy(Copy(won.other, path), loser)
        self._outcome.conflicts.append(Conflict(path, what, first, second, won, copy))

    def _conflict_of_sealed(
        self,
        path: bytes,
        record: Record,
        first: Record,
        second: Record,
        won: Side,
        merged_to: Optional[Merged],
    ) -> None:
        """Who has the key makes a version that comes after both."""
        assert self._signed is not None
        loser = second if won is Side.FIRST else first
        what, copy = What.CONTENT if merged_to is None else What.MERGED, None
        both = first.is_file and second.is_file  # else one is a symlink
        anew = self._signed.resolved(path, first, second, won, merged_to) if both else None
        if both and anew is None:
            self._skip(path, first, second)
            return
        if anew is not None:
            record = _as(record, anew)._replace(kept=self._event)
        if merged_to is None and not (anew and anew.equal):
            copy = self._copy(Copy(won.other, path), loser)
            if copy == path:
                self._skip(path, first, second)
                return
        self._mint(path, record)
        if anew is not None:
            self._outcome.merged.add(path)
        if not (anew and anew.equal):
            winner = None if merged_to is not None else won
            self._outcome.conflicts.append(Conflict(path, what, first, second, winner, copy))

    def _skip(self, path: bytes, first: Record, second: Record) -> None:
        self._skipped.add(path)
        self._outcome.conflicts.append(Conflict(path, What.SKIPPED, first, second))

    def _copy(self, copy: Copy, loser: Record) -> bytes:
        """Give a version a name of its own; its path, or, where there can be none, that of the
        version."""
        directory, name = split(copy.path)
        final = self._outcome.final
        again = loser
        for each in conflict_names(name, loser.fp):
            path = join(directory, each)
            there = [
                side.records[path] for side in (self._first, self._second) if path in side.records
            ]
            wanted = self._wanted(path) if there or path in final else None
            if self._signed is not None and loser.is_file and self._is_sealed(copy.path):
                anew = self._signed.copied(copy, loser, path, wanted)
                if anew is None:
                    return copy.path
                again = _as(loser, anew)
            if not there and path not in final:
                break
            if wanted is not None and wanted.same_content(again):
                return path  # it has been kept before, by whomever
        else:
            # 2^-128: as many digits as there are, and other content under each name.
            self._skipped.add(copy.path)
            return copy.path
        event = self._event
        record = again._replace(
            made=event, born=event, kept=event, prev=NOTHING, base=False, alone=0
        )
        self._mint(path, record)
        if again is loser:
            self._outcome.copies[path] = copy
        else:
            self._outcome.merged.add(path)
        return path

    def _wanted(self, path: bytes) -> Optional[Record]:
        """What a path that some side has will hold; names behind ours are not judged yet."""
        final, first = self._outcome.final, self._first.records.get(path)
        if first is not None and first == self._second.records.get(path):
            return first
        if path not in final and not self._unseen.in_tree(path):
            self._judge(path)
        return final.get(path)

    # --- the whole ------------------------------------------------------------------------------

    def _put_right(self, paths: list[bytes]) -> None:
        """See that all that stays has its directories, and what is left alone too: from below."""
        outcome = self._outcome
        present = {path for path in paths if not self._unseen.in_tree(path)}
        waiting = sorted(
            {*present, *outcome.final, *self._skipped_trees} - {b""}, key=tree_order, reverse=True
        )
        for path in waiting:
            parent = split(path)[0]
            if not parent or parent in self._skipped_trees:
                continue
            if path in self._skipped or path in self._skipped_trees:
                self._hold(parent)
            elif outcome.final.get(path) is not None:
                self._house(parent)

    def _hold(self, directory: bytes) -> None:
        """Something in a directory is left as it is: so the directory must stay too."""
        final = self._outcome.final
        if directory not in final:
            return
        record = final[directory]
        if record is not None and record.is_directory:
            return
        both = self._first.records.get(directory), self._second.records.get(directory)
        if all(each is None or each.is_directory for each in both):
            del final[directory]
            self._outcome.minted.discard(directory)
            self._skipped.add(directory)
        else:
            self._leave_tree(directory)

    def _leave_tree(self, top: bytes) -> None:
        """Leave a path and all below as it is."""
        outcome = self._outcome
        left = Untouched(frozenset(), frozenset((top,)))
        for path in [path for path in outcome.final if left.in_tree(path)]:
            del outcome.final[path]
            outcome.minted.discard(path)
            outcome.merged.discard(path)
            outcome.copies.pop(path, None)
        for path, copy in list(outcome.copies.items()):
            if left.in_tree(copy.path):
                del outcome.copies[path], outcome.final[path]
                outcome.minted.discard(path)
        outcome.conflicts = [each for each in outcome.conflicts if not left.in_tree(each.path)]
        self._skipped = {path for path in self._skipped if not left.in_tree(path)}
        self._skipped_trees.add(top)

    def _house(self, directory: bytes) -> None:
        """Something in a directory stays: so there must be a directory."""
        outcome = self._outcome
        if directory not in outcome.final:
            return  # the same on both sides, or left as it is
        record = outcome.final[directory]
        if record is not None and record.is_directory:
            return
        first, second = self._first.records.get(directory), self._second.records.get(directory)
        there = first if first is not None and first.is_directory else second
        assert there is not None and there.is_directory
        self._mint(directory, self._again(there))
        winner = Side.FIRST if there is first else Side.SECOND
        kept = None
        if record is not None:
            kept = self._copy(Copy(winner.other, directory), record)
        # It may have been reported as a conflict that a file has won.
        outcome.conflicts = [each for each in outcome.conflicts if each.path != directory]
        what = What.REVIVED if record is None else What.KIND
        outcome.conflicts.append(Conflict(directory, what, first, second, winner, kept))


def _as(record: Record, anew: Anew) -> Record:
    """A record of the same file as it was sealed anew."""
    mode = record.kind | anew.mode
    return record._replace(mode=mode, size=anew.size, mtime=anew.mtime, fp=anew.fp)
