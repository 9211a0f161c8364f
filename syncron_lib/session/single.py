"""One run from one source to one destination, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from syncron_lib.core import digest, guards
from syncron_lib.core.extended import Kinds
from syncron_lib.core.links import without
from syncron_lib.core.location import Local, Location
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import split
from syncron_lib.core.options import DIRECTLY_IN, NOT_THERE, Missing, RunOptions
from syncron_lib.core.parts import Part
from syncron_lib.core.permission import Effect, withhold
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Cause, Failure, Phase, Report
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import SyncronError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import IdPair, RootKind
from syncron_lib.session import counting, items
from syncron_lib.session.asking import failure_of, reply_of
from syncron_lib.session.beginning import beginning
from syncron_lib.session.comparison import Comparison
from syncron_lib.session.compression import Compression, choose_way
from syncron_lib.session.counting import is_in, shown_root
from syncron_lib.session.delta import delta_choice
from syncron_lib.session.listed import listed_by
from syncron_lib.session.listings import Known
from syncron_lib.session.observer import Observer
from syncron_lib.session.opening import Ends, open_both
from syncron_lib.session.pool import Pool
from syncron_lib.session.sealing import Sealed
from syncron_lib.session.shown import as_seen
from syncron_lib.session.since import known_directories
from syncron_lib.session.transfer import Transfer
from syncron_lib.session.unsealed import NOTHING_SEALED, Unsealed
from syncron_lib.session.watching import watch_hashing

if TYPE_CHECKING:
    from syncron_lib.session.alternates import Beside
    from syncron_lib.session.dirlinks import Dirlinks
    from syncron_lib.session.protection import Protection


class SingleRun:
    """One source, one destination."""

    def __init__(
        self,
        part: Part,
        destination: Location,
        options: RunOptions,
        observer: Observer,
        pool: Pool,
    ) -> None:
        source, into = part.source, part.into
        self._part = part
        self._source, self._destination = source, destination
        options = options._replace(rules=options.rules._replace(chosen=part.chosen))
        self._options = options = as_seen(options, source, destination)
        if options.backup is not None:
            from syncron_lib.session.keeping import with_backups_left_out

            self._options = with_backups_left_out(options, destination, into)
        self._observer, self._pool = observer, pool
        self._into = into
        self._began = time.monotonic()
        self.report = Report(source.shown(), destination.shown(), dry_run=options.dry_run)
        self._failed: set[bytes] = set()
        self._missing: list[bytes] = []
        """What is listed and not there, if that is no failure."""
        self._unreadable = 0
        """What of the source could not be looked at, beside directories."""
        self._under_way: tuple[Plan, Transfer] | None = None
        """What is being carried out, until its results are counted."""
        self._secure: Unsealed = NOTHING_SEALED
        self._dirlinks: Dirlinks | None = None
        self._users: Sequence[IdPair] = ()
        self._groups: Sequence[IdPair] = ()

    def run(self) -> Report:
        try:
            self._carry_out()
        except BaseException as error:
            self._account()
            if isinstance(error, SyncronError):
                error.report = self.report  # type: ignore[attr-defined]
            raise
        self._account()
        return self.report

    def _account(self) -> None:
        report = self.report
        if self._under_way is not None:
            # Ended early. New entries come before changed ones, but for large files.
            plan, transfer = self._under_way
            report.created = min(transfer.published, plan.created)
            report.changed = transfer.published - report.created
            report.metadata, report.deleted = transfer.adjusted, transfer.deleted
            report.moved = transfer.moved
            report.linked = transfer.linked
            report.bytes_transferred = transfer.content - transfer.matched
            report.bytes_matched = transfer.matched
        report.duration = time.monotonic() - self._began
        report.bytes_sent, report.bytes_received = self._pool.bytes_on_the_wire()

    def _fail(self, failure: Failure) -> None:
        self._failed.add(failure.path)
        self.report.failures.append(failure)
        self._observer.failure(failure)

    def _warn(self, text: str) -> None:
        self.report.warnings.append(text)
        self._observer.warning(text)

    def _carry_out(self) -> None:
        options, report, observer = self._options, self.report, self._observer
        ends = open_both(
            self._pool,
            self._source,
            self._destination,
            options,
            observer,
            self._into,
            self._warn,
            self._part.entry,
        )
        self._secure = ends.secure
        if ends.secure.warning:
            self._warn(ends.secure.warning)
        report.destination = ends.destination_shown
        report.source_entries = ends.source_scanned.entries
        report.bytes_scanned = report.source_bytes = ends.source_scanned.size
        ends, sealed = self._sealed(ends)
        source_root, destination_root = sealed.source.root, sealed.destination.root
        if options.count_kinds:
            has_root = ends.whole and options.rules.chosen in (None, DIRECTLY_IN)
            report.source_kinds = counting.kinds_of(ends.source, has_root)
        plan = Plan()
        may = Effect(ends.destination_opened.may)
        missing = ends.destination_opened.kind == RootKind.MISSING
        equal = source_root == destination_root != digest.UNKNOWN
        writes = not (options.dry_run or options.verify)
        staging = writes and ends.destination_opened.staging
        if missing or not equal or staging:
            plan = self._compared(ends, sealed, staging)
        self._itemize(plan, ends)
        # An interrupted run may have left something to be removed, and anyone what is not yet
        # on the disk.
        unsettled = staging or (writes and (self._secure.has_news(plan) or options.fsync))
        facts = guards.Facts(
            self._source.shown(),
            ends.destination_shown,
            ends.source_scanned.entries,
            ends.destination_scanned.entries,
            ends.destination_opened.unmounted,
            may,
        )
        if not options.verify:
            guards.check(
                plan,
                facts,
                cap=options.max_delete,
                allow_empty_source=options.allow_empty_source or bool(self._missing),
                allow_unmounted=options.allow_unmounted,
            )
        still_open = [ends.source, ends.destination]
        unsettled = unsettled or (writes and options.remove_source_files)
        if options.dry_run or (equal and not unsettled):
            roots = source_root, destination_root
            report.source_root, report.destination_root = map(shown_root, roots)
            if not options.dry_run or options.verify:
                report.match = equal
            if not options.dry_run:
                self._secure.seen()
        else:
            for path, what in withhold(plan, may):
                self._fail(Failure(path, "destination", what, Cause.ERROR))
            transfer = self._transfer_of(ends, plan)
            if unsettled or not plan.is_empty:
                self._transfer(transfer, ends, plan, facts)
            self._secure.seen()
            still_open = self._finish(transfer, ends, plan)
            if options.remove_source_files:
                self._remove_source(ends)
        self._under_way = None
        counting.count(self.report, plan, self._failed)
        # The locks are free when the command ends: the next one may follow at once.
        for future in [end.submit(messages.Close()) for end in still_open]:
            reply_of(future, messages.Done)
        for end in (ends.source, ends.destination):
            report.unsaved.extend(end.unsaved)
            end.unsaved = []
        if counting.decide_exit(self.report, plan, self._options.verify):
            self._warn(counting.UNEQUAL)

    def _sealed(self, ends: Ends) -> tuple[Ends, Sealed]:
        """Both ends sealed, as far as they are known; when verifying, wholly. The ends as they are
        then: symlinks may have become directories."""
        self.report.algorithm = ends.sealing.algorithm
        show: Callable[[int], None] | None = None
        if self._options.verify:
            self._observer.phase(Phase.HASH)
            size = ends.source_scanned.size + ends.destination_scanned.size
            show = watch_hashing(ends, self._observer, lambda: size)
        ends.sealing.ask()
        sealed = ends.sealing.result()
        if self._options.keep_dirlinks:
            from syncron_lib.session.dirlinks import entered

            ends, sealed, self._dirlinks = entered(ends, sealed)
        self._users, self._groups = sealed.users, sealed.groups
        for answer, side in ((sealed.source, "source"), (sealed.destination, "destination")):
            self.report.bytes_hashed += answer.hashed
            for problem in answer.problems:
                if self._options.rules.passes_over(problem.what):
                    self._missing.append(problem.path)
                else:
                    self._fail(failure_of(problem, side))
                    self._unreadable += side == "source" and problem.what != NOT_THERE
        for changes in (sealed.source_changes, sealed.destination_changes):
            self.report.bytes_hashed += changes.hashed if changes is not None else 0
        if show is not None:
            show(self.report.bytes_hashed)
        return ends, sealed

    def _compared(self, ends: Ends, sealed: Sealed, staging: bool) -> Plan:
        self._observer.phase(Phase.COMPARE)

        to_hash: list[int] = []
        show = watch_hashing(ends, self._observer, lambda: to_hash[0] if to_hash else None)

        def on_hashed(done: int, total: int) -> None:
            to_hash[:] = [total]
            show(done)

        links = None
        if sealed.profile.hard_links and ends.whole:
            from syncron_lib.session.linking import LinkSearch

            links = LinkSearch(ends.source, ends.destination, self._options.transfer.size_only)
        marks = None
        if sealed.profile.extended:
            from syncron_lib.session.extending import MarkSearch

            marks = MarkSearch(ends.source, ends.destination, Kinds(sealed.profile.extended))
        missing = ends.destination_opened.kind == RootKind.MISSING
        known = self._known(ends, sealed)
        protection = self._protection(ends)
        listed = listed_by(self._options.rules, self._missing)
        comparison = Comparison(
            ends.source,
            ends.destination,
            sealed.profile,
            self._options,
            ends.whole,
            missing,
            ends.source_scanned.problems,
            self._fail,
            on_hashed,
            known,
            staging,
            protection,
            listed,
            self._dirlinks,
        )
        comparison.source_problems += self._unreadable
        plan = comparison.run()
        if listed is not None and not self._options.rules.implied_dirs:
            from syncron_lib.session.implied import imply

            for failure in imply(plan, listed, ends.source):
                self._fail(failure)
        if listed is not None and listed.missing:
            from syncron_lib.session.missing import delete_missing

            others = self._options.delete or self._options.force
            only_there, there = comparison.only_there, ends.destination
            for warning in delete_missing(plan, only_there, listed, there, protection, others):
                self._warn(warning)
            for remove in plan.removes:
                comparison.touch(split(remove.path)[0])
        self.report.bytes_hashed += comparison.bytes_hashed
        if comparison.withheld_removals:
            self._warn_of_no_deletes(comparison.withheld_removals)
        backup = self._options.backup
        if backup is not None and backup.directory is None:
            from syncron_lib.session.keeping import spare_backups

            for failure in spare_backups(plan, ends.destination, backup.suffix):
                self._fail(failure)
        # What is moved would leave no backup where it was; its content is copied there instead.
        moves = self._options.moves and not (self._options.verify or backup)
        if moves and plan.creates and plan.removes:
            self._find_moves(ends, sealed.profile, plan)

        def compare(endpoint: Endpoint, on_failure: Callable[[Failure], None]) -> Comparison:
            equality = self._options.transfer.equality
            options = self._options._replace(delete=False, force=True, transfer=equality)
            how = sealed.profile, options, False, False, ends.source_scanned.problems
            return Comparison(ends.source, endpoint, *how, on_failure, on_hashed, (known[0], {}))

        counts = ends.source_scanned.entries, ends.destination_scanned.entries
        if not self._options.verify:
            groups = None if links is None else [*without(links.of_source(counts[0]), plan.left)]
            marked = None if marks is None else marks.of_source(counts[0])
            self._find_alternates(ends, plan, compare, (groups, marked))
        if links is not None:
            links.apply_to(plan, *counts, self._failed)
        if marks is not None:
            marks.apply_to(plan, counts, self._failed.union(plan.left))
        self._secure.review(plan, self._fail, comparison.touch)
        return plan

    def _find_alternates(
        self,
        ends: Ends,
        plan: Plan,
        compare: Callable[[Endpoint, Callable[[Failure], None]], Comparison],
        beside: Beside,
    ) -> None:
        """Take from other directories of the destination what these have."""
        chosen = self._options.alternates
        if chosen is None:
            return
        from syncron_lib.session.alternates import AlternateSearch, missing

        for warning in missing(chosen, ends.alternates):
            self._warn(warning)

        def compared(endpoint: Endpoint, on_failure: Callable[[Failure], None]) -> Plan:
            comparison = compare(endpoint, on_failure)
            found = comparison.run()
            self.report.bytes_hashed += comparison.bytes_hashed
            return found

        numbers = [number for number, there in enumerate(ends.alternates) if there]
        search = AlternateSearch(ends.source, ends.destination, compared, chosen.use, beside)
        search.apply_to(plan, numbers, self._options.itemize)

    def _protection(self, ends: Ends) -> Protection | None:
        rules = self._options.rules
        deletes = self._options.delete or self._options.force
        deletes = deletes or rules.missing is Missing.DELETE
        if not (deletes and rules.patterns):
            return None
        from syncron_lib.session.protection import protection

        return protection(rules, ends.source, ends.destination, ends.destination_opened.path)

    def _find_moves(self, ends: Ends, profile: Profile, plan: Plan) -> None:
        from syncron_lib.session.moving import MoveSearch

        def on_hashed(size: int) -> None:
            self.report.bytes_hashed += size

        MoveSearch(ends.source, ends.destination, profile, on_hashed).apply_to(plan)

    def _known(self, ends: Ends, sealed: Sealed) -> tuple[Known, Known]:
        """Directories of source and destination that need not be asked for."""
        source, destination = sealed.source_changes, sealed.destination_changes
        if source is None or destination is None or not ends.whole or self._secure.renames:
            return {}, {}
        near = ends.sealing.near_directories()
        if ends.sealing.near is Role.SOURCE:
            far = known_directories(source, destination, sealed.profile, False, near.listed)
            return near.known, far
        far = known_directories(destination, source, sealed.profile, True, near.listed)
        return far, near.known

    def _warn_of_no_deletes(self, entries: int) -> None:
        self._warn(
            f"Nothing is deleted ({entries} entries would be), because a part of the source could"
            " not be read."
        )

    def _itemize(self, plan: Plan, ends: Ends) -> None:
        if not self._options.itemize:
            return
        sends = isinstance(self._source, Local) and not isinstance(self._destination, Local)
        sides = ends.source, ends.destination
        mark = "<" if sends else ">"
        for item in items.of_plan(plan, *sides, mark, self._options, ends.whole):
            self._observer.item(self._secure.marked(item))

    def _transfer_of(self, ends: Ends, plan: Plan) -> Transfer:
        options, observer = self._options, self._observer
        total = plan.size

        def on_progress(done: int) -> None:
            observer.progress(Phase.TRANSFER, done, total, done)

        both_here = isinstance(self._source, Local) and isinstance(self._destination, Local)
        abilities = ends.source.hello.compressions, ends.destination.hello.compressions
        compression = choose_way(options, *abilities, both_here)
        if compression.warning:
            self._warn(compression.warning)
        return Transfer(
            ends.source,
            ends.destination,
            self._fail,
            on_progress,
            Compression(compression),
            delta_choice(ends, plan, options, observer, both_here),
            reuse=ends.destination_scanned.entries > 0,
            any_times=options.transfer.has_window,
            by_size=options.transfer.size_only,
            keeps_source=options.remove_source_files,
        )

    def _transfer(self, transfer: Transfer, ends: Ends, plan: Plan, facts: guards.Facts) -> None:
        report, observer = self.report, self._observer
        observer.phase(Phase.TRANSFER)

        def before_deletes() -> None:
            if not self._options.ignore_errors and any(
                each.side == "source" and each.cause is Cause.ERROR and each.what != NOT_THERE
                for each in report.failures
            ):
                if plan.removes:
                    self._warn_of_no_deletes(sum(remove.entries for remove in plan.removes))
                plan.extras.extend(remove.path for remove in plan.removes)
                plan.removes.clear()
            if plan.instead:
                self._withhold(plan, facts)
            if plan.removes:
                observer.phase(Phase.DELETE)

        self._under_way = plan, transfer
        transfer.run(
            plan,
            beginning(self._options, self._users, self._groups),
            before_deletes,
            staging=ends.destination_opened.staging,
            source_is_far=ends.sealing.near is Role.DESTINATION and not transfer.keeps_source,
            backup=self._backup(ends),
            first=self._secure.begin,
        )
        self._secure.conclude(transfer, self._failed, plan, self._fail)
        report.bytes_transferred = transfer.content - transfer.matched
        report.bytes_matched = transfer.matched
        report.bytes_hashed += transfer.content

    def _backup(self, ends: Ends) -> messages.Backup | None:
        """What is to be kept of what is replaced and deleted."""
        if self._options.backup is None:
            return None
        from syncron_lib.session.keeping import request_for

        into = self._into and ends.whole
        return request_for(self._options.backup, self._source, into)

    def _withhold(self, plan: Plan, facts: guards.Facts) -> None:
        """Delete nothing that could not be moved and was not created either, and no more of what
        could not be moved than may be deleted."""
        from syncron_lib.session.moving import withhold

        above = guards.exceeds(plan, facts, self._options.max_delete)
        kept = withhold(plan, lambda new: above or any(is_in(path, new) for path in self._failed))
        if kept:
            self._fail(
                Failure(
                    b"",
                    "destination",
                    f"{kept} entries could not be moved and are kept where they were",
                    Cause.ERROR,
                )
            )

    def _remove_source(self, ends: Ends) -> None:
        """Remove from the source what both sides have the same digests of."""
        if self.report.match:
            stored = reply_of(ends.source.submit(messages.RemoveSource()), messages.Stored)
            self.report.removed = stored.entries
            for problem in stored.problems:
                self._fail(failure_of(problem, "source"))
        else:
            self._warn("Nothing is removed from the source, because the roots differ.")

    def _finish(self, transfer: Transfer, ends: Ends, plan: Plan) -> list[RemoteEndpoint]:
        """Both sides bring their trees up to date, and say their roots; those that did not let go
        of theirs."""
        report = self.report
        self._observer.phase(Phase.FINISH)
        finished = transfer.finish(plan, self._failed)
        for answer, side in zip(finished, ("source", "destination")):
            for problem in answer.problems:
                self._fail(failure_of(problem, side))
        roots = [answer.root for answer in finished]
        report.source_root, report.destination_root = map(shown_root, roots)
        report.match = roots[0] == roots[1] != digest.UNKNOWN
        both = zip((ends.source, ends.destination), finished)
        return [end for end, answer in both if not answer.closed]
