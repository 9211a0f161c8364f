"""One run between two replicas, step by step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from syncron_lib.core.options import Conflicts, RunOptions
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Cause, Failure, Phase, Report
from syncron_lib.core.twoway.identity import Renewal, is_retired, renewals
from syncron_lib.core.twoway.intents import Intents, pack_intents
from syncron_lib.core.twoway.knowledge import Untouched, learned, topmost
from syncron_lib.core.twoway.merging import Merged
from syncron_lib.core.twoway.reconcile import (
    Choice,
    Outcome,
    Policy,
    Replica,
    What,
    reconcile,
    tree_order,
)
from syncron_lib.core.twoway.records import Record
from syncron_lib.core.twoway.signed import Side
from syncron_lib.errors import Exit, PeerViolation, RootError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Arrived, Moved
from syncron_lib.session.asking import batches, reply_of
from syncron_lib.session.beginning import beginning
from syncron_lib.session.observer import Observer
from syncron_lib.session.twoway.ends import End, differing, unsettled_ignore_files
from syncron_lib.session.twoway.exchange import Scratch, transfer
from syncron_lib.session.twoway.manifests import carry, require_carried
from syncron_lib.session.twoway.plans import divided, plan_for, require_few_deletes, restrict
from syncron_lib.session.twoway.progress import Amount, watching
from syncron_lib.session.twoway.telling import clash_of, counted, items_of

if TYPE_CHECKING:
    from syncron_lib.secure.keys import Keyring
    from syncron_lib.session.twoway.keyed import Keyed
    from syncron_lib.session.twoway.merging import Merger

_PART = 4 << 20
"""Bytes of intents in one request."""
_PRESERVED_A_REQUEST = 500

Differing = tuple[dict[bytes, Record], dict[bytes, Record]]


class PairRun:
    """Brings what changed on either of two replicas to the other one."""

    def __init__(
        self,
        first: End,
        second: End,
        options: RunOptions,
        policy: Policy,
        observer: Observer,
        report: Report,
        merger: Merger | None = None,
        scratch: Scratch | None = None,
        keyring: Callable[[], Keyring] | None = None,
    ) -> None:
        """``report``: what the run did is added to it. ``merger``: what is asked instead of
        ``policy``, and ``scratch`` where its results are sent from. ``keyring``: raises
        `KeyUnusable`."""
        self._ends = first, second
        self._options = options
        self._policy = policy if merger is None else merger
        self._merger = merger
        self._scratch = scratch
        self._keyring = keyring
        self._keyed: Keyed | None = None
        self._observer = observer
        self._report = report
        self._only: frozenset[bytes] | None = None
        """Ignore files that are settled first, and nothing else; None: everything."""
        self._failed: set[bytes] = set()
        self.written = False
        """Whether anything was done to a tree."""

    def run(self) -> None:
        """Open both, and make them the same."""
        self._open()
        before = unsettled_ignore_files(*self._ends)
        if before:
            self._only = before
            self._synchronise()
            self._close()
            self._only = None
            self._open()
        self._synchronise()
        self._close()

    # --- opening --------------------------------------------------------------------------------

    def _open(self) -> None:
        self._observer.phase(Phase.SCAN)
        watched = zip(self._ends, watching(self._observer))
        # What is here is looked at while the other machine is connected.
        for end, on_progress in sorted(watched, key=lambda each: not each[0].is_local):
            end.endpoint.on_warning = self._warn
            end.endpoint.on_progress = on_progress
            end.ask(self._options)
        for end in self._ends:
            if not end.keyed:
                end.ask_who()
        one, other = (reply_of(end.asked[0], messages.Opened) for end in self._ends)
        if one.identity == other.identity != bytes(16):
            raise RootError(
                f"{self._ends[0].shown} and {self._ends[1].shown} are the same directory."
                " Nothing was changed."
            )
        for outer, inner in ((one, other), (other, one)):
            if outer.identity != bytes(16) and outer.identity in inner.above:
                raise RootError(
                    f"Of {self._ends[0].shown} and {self._ends[1].shown} one lies in the other."
                    " Nothing was changed; name directories beside each other."
                )
        for end, opened in zip(self._ends, (one, other)):
            end.require(opened)
        require_carried(self._ends, self._options)
        if any(end.keyed for end in self._ends):
            from syncron_lib.session.twoway.keyed import keyed

            assert self._keyring is not None and self._scratch is not None
            how = self._options, self._keyring, self._scratch, self._fail
            self._keyed = keyed(self._ends, *how)

    def _warn(self, text: str) -> None:
        self._report.warnings.append(text)
        self._observer.warning(text)

    # --- one run over what was opened -----------------------------------------------------------

    def _synchronise(self) -> None:
        first, second = self._ends
        self._observe()
        report = self._report
        report.source_root = first.observed.records.hex()
        report.destination_root = second.observed.records.hex()
        for end in self._ends:
            end.hear()
        if first.observed.records == second.observed.records:
            self._learn()
            self._clear()
            self._keep_bases()
            self._carry_manifest(not self._failed, self._untouched().trees)
            report.match = True
            return
        self._observer.phase(Phase.COMPARE)
        has = differing(first, second)
        outcome = self._reconciled(has)
        plans = [self._plan(side, outcome, has) for side in Side]
        for side, plan in zip(Side, plans):
            end = self._ends[side.value]
            require_few_deletes(plan, end.shown, end.entries, self._options.max_delete)
        self._tell(outcome, plans)
        if self._options.dry_run:
            counted(self._report, plans, set())
            return
        self._carry_out(outcome, has, plans)
        self._keep_bases()
        equal = first.observed.records == second.observed.records
        report.source_root = first.observed.records.hex()
        report.destination_root = second.observed.records.hex()
        whole = not (self._failed or outcome.untouched.paths)
        self._carry_manifest(whole, (*outcome.untouched.paths, *outcome.untouched.trees))
        left = not whole or outcome.untouched.trees
        report.match = equal if equal or not left else None
        if not equal and not left and self._only is None:
            self._warn(
                "The replicas are not equal after the run, though every step of it succeeded: one"
                " of them was changed meanwhile. Run it again."
            )
            report.exit_code = Exit.PARTIAL

    def _observe(self) -> None:
        for end in self._ends:
            end.scanned()
        for end in self._ends:
            sealed = end.sealed()
            self._report.bytes_hashed += sealed.hashed
            for problem in sealed.problems:
                self._fail(Failure(problem.path, end.shown, problem.what, Cause.ERROR))
        known = [end.introduced() for end in self._ends]
        both = renewals(*known)
        if Renewal.EVERYTHING in both:
            self._warn(
                f"{self._ends[0].shown} and {self._ends[1].shown} have met two copies of one"
                " replica, which count under one name: what the second knows is left aside, and"
                " nothing is deleted because of it."
            )
        for end, mine, theirs in zip(self._ends, known, reversed(known)):
            if is_retired(mine, theirs):
                self._warn(
                    f"{end.shown} was said to be gone for good (--forget-replica), and is here: it"
                    " is taken for a copy. Nothing will be deleted because of that."
                )
        options = self._options
        allowed = options.dry_run, options.allow_empty_source, options.allow_unmounted
        waiting = [
            end.endpoint.submit(messages.Observe(renewal, *allowed))
            for end, renewal in zip(self._ends, both)
        ]
        for end, future in zip(self._ends, waiting):
            end.observed = reply_of(future, messages.Observed)
        self._report.source_entries = max(end.entries for end in self._ends)
        self._report.bytes_scanned = max(end.size for end in self._ends)

    def _untouched(self) -> Untouched:
        """What neither side has looked at."""
        first, second = self._ends
        return Untouched(frozenset(), topmost(first.unseen | second.unseen))

    def _learn(self) -> None:
        """Nothing is to be done, and perhaps something to be known."""
        if self._options.dry_run or self._only is not None:
            return
        first, second = self._ends
        untouched = self._untouched()
        for mine, theirs in ((first, second), (second, first)):
            known = learned(mine.knowledge, theirs.knowledge, untouched)
            heard = mine.roster.joined(theirs.roster)
            if (known, heard) != (mine.knowledge, mine.roster):
                self._intend(mine, theirs, {}, {}, untouched)
                reply_of(mine.endpoint.submit(messages.Settle(())), messages.Settled)

    def _clear(self) -> None:
        """Remove what a killed run has staged, where nothing comes that could use it."""
        if self._options.dry_run or self._only is not None:
            return
        for end in self._ends:
            if end.staging:
                end.writes = True
                reply_of(end.endpoint.submit(beginning(self._options)), messages.Leftovers)
                finish = messages.Finish((), complete=True)
                reply_of(end.endpoint.submit(finish), messages.Finished)

    def _reconciled(self, has: Differing) -> Outcome:
        mine, theirs = (
            Replica(records, end.knowledge, end.unseen) for end, records in zip(self._ends, has)
        )
        observed = self._ends[0].observed
        event = observed.replica, observed.counter + 1
        only = self._only
        if self._keyed is not None:
            self._keyed.look(has)
        if only is None:
            return reconcile(mine, theirs, event, self._policy, self._keyed)

        def policy(path: bytes, first: Record, second: Record) -> Choice | Merged:
            # What is not done now is judged again in the run over everything.
            return self._policy(path, first, second) if path in only else Choice.BY_ORDER

        outcome = reconcile(mine, theirs, event, policy, self._keyed)
        restrict(outcome, only, has)
        return outcome

    def _plan(
        self, side: Side, outcome: Outcome, has: Differing, bare: Collection[bytes] = ()
    ) -> Plan:
        """``bare``: what comes with content, and without the permissions that it had there."""
        sends = has[side.other.value]
        if there := sends.keys() & set(bare):
            sends = {**sends, **{path: sends[path]._replace(mode=0) for path in there}}
        plan = plan_for(side, outcome, has[side.value], sends)
        return plan if self._keyed is None else self._keyed.plan(side, plan)

    # --- telling --------------------------------------------------------------------------------

    def _fail(self, failure: Failure) -> None:
        self._failed.add(failure.path)
        self._report.failures.append(failure)
        self._observer.failure(failure)

    def _tell(self, outcome: Outcome, plans: Sequence[Plan]) -> None:
        undecided = {Conflicts.KEEP_BOTH, Conflicts.SKIP}
        if self._options.dry_run:
            undecided.add(Conflicts.ASK)
        for conflict in sorted(outcome.conflicts, key=lambda each: tree_order(each.path)):
            self._observer.clash(clash_of(conflict))
            self._report.conflicts += 1
            by_policy = conflict.what is What.CONTENT and self._options.conflicts not in undecided
            left = conflict.what in (What.CONTENT, What.KIND, What.SKIPPED) and not by_policy
            if left and self._report.exit_code == Exit.OK:
                self._report.exit_code = Exit.CONFLICTS
        if not self._options.itemize:
            return
        is_sealed = self._keyed.is_sealed if self._keyed else None
        for item in items_of(self._ends, outcome, plans, self._options, is_sealed):
            self._observer.item(item)

    # --- carrying out ---------------------------------------------------------------------------

    def _carry_out(self, outcome: Outcome, has: Differing, planned: Sequence[Plan]) -> None:
        first, second = self._ends
        left = outcome.untouched
        if outcome.minted:
            ticked = reply_of(first.endpoint.submit(messages.Tick()), messages.Ticked)
            if ticked.counter != first.observed.counter + 1:
                raise PeerViolation(f"{first.shown} counted another event than was expected.")
            # What it knows now is what the other side will be told.
            first.knowledge = first.knowledge.ticked(first.observed.replica, ticked.counter)
        self._observer.phase(Phase.TRANSFER)
        begun = {side: self._begin(side, outcome, planned[side.value]) for side in Side}
        if self._keyed is not None:
            self._keyed.begin(outcome)
        for side in Side:
            self._preserve(side, outcome)
        amount = Amount(sum(plan.size for plan in planned), self._observer)
        brought = self._preserve_sealed(outcome, has, amount)
        # Kept before anything is done: after a kill it says what was done. And after all that loses
        # its name is safe: else a side could hold the other's version for settled that is not.
        self._intend(first, second, has[0], outcome.final, outcome.untouched)
        plans = []
        # What the first side has not got by the event of this run, the other must not hear of, nor
        # can it read what is not there yet. Where there is no such thing, neither waits.
        waits = outcome.minted or outcome.copies or self._keyed is not None
        turns = [[Side.FIRST], [Side.SECOND]] if waits else [list(Side)]
        for turn in turns:
            if Side.SECOND in turn:
                self._intend(second, first, has[1], outcome.final, outcome.untouched)
            written = []
            for side in turn:
                merged = outcome.merged if side is Side.FIRST else set()
                plan = planned[side.value]
                if merged or outcome.untouched != left:
                    plan = self._plan(side, outcome, has, merged)
                plans.append(plan)
                arrived = begun[side]
                if arrived is not None:
                    rest = divided(plan, brought)[1] if side is Side.FIRST else plan
                    complete = self._transfer(side, rest, arrived, merged, amount)
                    written.append((self._ends[side.value], complete))
            self._finish(written)
            failed = self._settle(turn, outcome)
            if Side.SECOND not in turn:
                outcome.leave(path for path in failed if path in outcome.minted)
        counted(self._report, plans, self._failed)

    def _intend(
        self,
        end: End,
        other: End,
        has: Mapping[bytes, Record],
        final: Mapping[bytes, Record | None],
        untouched: Untouched,
    ) -> None:
        """Let a side keep what is to become of what it ``has``."""
        whole = self._only is None
        known = other.knowledge, other.ticks
        wanted = {path: record for path, record in final.items() if has.get(path) != record}
        intents = Intents(wanted, *known, untouched, whole, other.roster)
        data = pack_intents(intents)
        for start in range(0, len(data), _PART):
            part = data[start : start + _PART]
            request = messages.Intend(part, start + _PART < len(data))
            reply_of(end.endpoint.submit(request), messages.Done)

    def _begin(self, side: Side, outcome: Outcome, plan: Plan) -> Sequence[Arrived] | None:
        """Let a side begin to write, if there is anything to be written; what it has left of an
        interrupted run."""
        end = self._ends[side.value]
        copies = any(copy.side is side for copy in outcome.copies.values())
        if not copies and not end.staging and plan.is_empty:
            return None
        self.written = end.writes = True
        request = beginning(self._options)
        return reply_of(end.endpoint.submit(request), messages.Leftovers).arrived

    def _preserve(self, side: Side, outcome: Outcome) -> None:
        """Keep what is about to lose its name; what cannot be kept does not lose it."""
        end = self._ends[side.value]
        wanted = [
            Moved(copy.path, path) for path, copy in outcome.copies.items() if copy.side is side
        ]
        lost: list[bytes] = []
        for some in batches(wanted, _PRESERVED_A_REQUEST, lambda item: len(item.old) * 2):
            stored = reply_of(end.endpoint.submit(messages.Preserve(some)), messages.Stored)
            for problem in stored.problems:
                self._fail(Failure(problem.path, end.shown, problem.what, Cause.ERROR))
            lost += stored.again
        # Its directory may stay only as long as what is in it: that comes out by itself.
        outcome.leave([*lost, *(outcome.copies[path].path for path in lost)])

    def _preserve_sealed(self, outcome: Outcome, has: Differing, amount: Amount) -> set[bytes]:
        """The same of versions that are sealed anew under another name: bring them to the first
        side, which has everything before the second, and say which these are."""
        copies = {each.kept: each.path for each in outcome.conflicts if each.kept in outcome.merged}
        if not copies or self._keyed is None:
            return set()
        end = self._ends[Side.FIRST.value]
        plan = divided(self._plan(Side.FIRST, outcome, has, {*copies} - {None}), copies)[0]
        if not plan.is_empty:
            self._bring_merged(end, plan, amount)
            # Nothing more than to have them on the disk.
            reply_of(end.endpoint.submit(messages.Preserve(())), messages.Stored)
        lost = [path for path in copies if path in self._failed]
        outcome.leave([*lost, *(copies[path] for path in lost)])
        return {each.path for each in plan.creates}

    def _transfer(
        self,
        side: Side,
        plan: Plan,
        arrived: Sequence[Arrived],
        merged: set[bytes],
        amount: Amount,
    ) -> bool:
        """Bring a side what it is to have; whether all came."""
        destination, source = self._ends[side.value], self._ends[side.other.value]
        before = len(self._report.failures)
        here, rest = divided(plan, merged)
        if not here.is_empty:
            self._bring_merged(destination, here, amount)
        self._bring(source, destination, rest, arrived, amount)
        return len(self._report.failures) == before

    def _finish(self, ends: Sequence[tuple[End, bool]]) -> None:
        """End the writing in these replicas at once, each with whether all came there."""
        waiting = [
            (end, end.endpoint.submit(messages.Finish((), complete))) for end, complete in ends
        ]
        for end, future in waiting:
            for problem in reply_of(future, messages.Finished).problems:
                self._fail(Failure(problem.path, end.shown, problem.what, Cause.ERROR))

    def _bring(
        self,
        source: End,
        destination: End,
        plan: Plan,
        arrived: Sequence[Arrived],
        amount: Amount,
    ) -> None:
        moving = transfer(
            source, destination, plan, self._options, self._fail, amount.more, (*arrived,)
        )
        amount.ended(plan.size)
        self._report.bytes_transferred += moving.content - moving.matched
        self._report.bytes_matched += moving.matched
        self._report.bytes_hashed += moving.content

    def _bring_merged(self, destination: End, plan: Plan, amount: Amount) -> None:
        """What was merged is on neither side yet."""
        assert self._scratch is not None
        sealed, clear = divided(plan, self._keyed.anew if self._keyed else ())
        for some in (sealed, clear):
            if some.is_empty:
                continue
            if some is sealed and self._keyed is not None:
                source = self._scratch.source_of(self._keyed.top)
            else:
                assert self._merger is not None
                paths = [change.path for change in some.changes]
                source = self._scratch.source({path: self._merger.results[path] for path in paths})
            try:
                self._bring(source, destination, some, (), amount)
            finally:
                source.endpoint.close()

    def _keep_bases(self) -> None:
        if self._merger is not None and not self._options.dry_run and self._only is None:
            self._merger.keep()

    def _carry_manifest(self, whole: bool, left: Iterable[bytes] = ()) -> None:
        """``whole``: all that is sealed is the same on both sides, but for what is ``left``."""
        if self._only is not None or self._options.dry_run:
            return
        if self._keyed is not None:
            self.written |= self._keyed.conclude([*self._failed, *left], whole)
        elif whole and carry(self._ends, self._options, self._warn):
            self.written = True

    def _settle(self, sides: Sequence[Side], outcome: Outcome) -> Sequence[bytes]:
        """See what has come of it on these sides; what has not."""
        ends = [self._ends[side.value] for side in sides]
        request = messages.Settle(sorted(outcome.untouched.paths))
        failed: list[bytes] = []
        for end, future in [(end, end.endpoint.submit(request)) for end in ends]:
            settled = reply_of(future, messages.Settled)
            end.observed = end.observed._replace(records=settled.records)
            failed.extend(settled.failed)
            for path in settled.failed:
                if path not in self._failed and path in outcome.final:
                    what = (
                        "is not as it was to be: it was changed meanwhile, or could not be made so"
                    )
                    self._fail(Failure(path, end.shown, what, Cause.ERROR))
        return failed

    def _close(self) -> None:
        for end in self._ends:
            end.close()
            self._report.unsaved.extend(end.endpoint.unsaved)
            end.endpoint.unsaved = []
