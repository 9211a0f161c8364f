"""A run in both directions in which somebody here has the key.

Both sides are compared as they are sealed, so records, digests and knowledge are the same
everywhere. What is signed is judged before anything is planned. Who has the key resolves what was
changed on both sides by a version that is signed to come after both: it is sealed in a private
directory, in which nothing is in clear, and sent from there.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from syncron_lib.core import digest
from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import RunOptions
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Cause, Failure
from syncron_lib.core.sealing import PREFIX
from syncron_lib.core.twoway.decide import Verdict
from syncron_lib.core.twoway.merging import Merged
from syncron_lib.core.twoway.naming import unmarked
from syncron_lib.core.twoway.reconcile import Outcome
from syncron_lib.core.twoway.records import Record
from syncron_lib.core.twoway.signed import Anew, Copy, Side
from syncron_lib.errors import FileFatal, NotAuthentic, RolledBack
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.protocol import messages
from syncron_lib.record import NamedTuple
from syncron_lib.session.asking import batches, reply_of
from syncron_lib.session.secure import make_manifest, used

if TYPE_CHECKING:
    from syncron_lib.secure.keys import Keyring
    from syncron_lib.secure.resealing import Whole
    from syncron_lib.secure.sealed import Meta
    from syncron_lib.session.twoway.ends import End
    from syncron_lib.session.twoway.exchange import Scratch

_PATHS = 2000
_VERSION = 8
"""Bytes that stand for a version."""
_TAKEN = {
    Side.FIRST: (Verdict.SECOND, Verdict.FORWARD_SECOND),
    Side.SECOND: (Verdict.FIRST, Verdict.FORWARD_FIRST),
}
"""By side, verdicts by which the other one's version comes to it."""
_FORWARD = {
    Side.FIRST: Verdict.FORWARD_FIRST,
    Side.SECOND: Verdict.FORWARD_SECOND,
}
"""By side, the verdict by which its version goes to the other one without that knowing of it."""
_GOES = {
    Side.FIRST: (Verdict.DELETE_FIRST, Verdict.REVIVE_FIRST),
    Side.SECOND: (Verdict.DELETE_SECOND, Verdict.REVIVE_SECOND),
}


def keyed(
    ends: tuple[End, End],
    options: RunOptions,
    keyring: Callable[[], Keyring],
    scratch: Scratch,
    fail: Callable[[Failure], None],
) -> Keyed | None:
    """Have sides with the key see their trees sealed; what there is to do, if anything is."""
    _see(ends)
    if not any(end.seals for end in ends):
        return None
    made = Keyed(ends, options, keyring, scratch, fail)
    scratch.opens = made.opened
    return made


def _see(ends: tuple[End, End]) -> None:
    near = [end for end in ends if end.keyed]
    if len(near) == 2:
        # Each must know what the other one seals by rules that it has not got yet.
        first, second = near
        _use(first, "", second.manifest())
        made = make_manifest(first.endpoint, True) or first.manifest()
        _use(second, "", made)
        made = make_manifest(second.endpoint, True)
        if made:
            _use(first, "", made)
    else:
        for end in near:
            other = ends[1] if end is ends[0] else ends[0]
            _use(end, other.place, other.manifest())
    for end in near:
        end.ask_who()


def _use(end: End, where: str, manifest: bytes) -> None:
    end.scanned()
    end.seals = used(end.endpoint, where, manifest).active


class Keyed:
    """Carries out `core.twoway.signed.Signed`, and what a run has to do beside."""

    def __init__(
        self,
        ends: tuple[End, End],
        options: RunOptions,
        keyring: Callable[[], Keyring],
        scratch: Scratch,
        fail: Callable[[Failure], None],
    ) -> None:
        self._ends, self._options = ends, options
        self._load = keyring
        self._scratch = scratch
        self._fail = fail
        self._sides = [side for side in Side if ends[side.value].seals]
        self._judged: dict[bytes, dict[Side, messages.Judged]] = {}
        self._repaired: set[bytes] = set()
        self._fetched: dict[tuple[Side, bytes], _Fetched] = {}
        self._of: dict[bytes, bytes] = {}
        self._records: tuple[Mapping[bytes, Record], ...] = ({}, {})
        self.top = b""
        """The directory with what was sealed anew."""
        self.anew: set[bytes] = set()
        """The paths of that."""

    # --- what is signed -------------------------------------------------------------------------

    def look(self, has: tuple[Mapping[bytes, Record], ...]) -> None:
        """Ask about all paths of which the records are not the same."""
        self._records = has
        self._judge({*has[0], *has[1]})

    def _judge(self, paths: Iterable[bytes]) -> None:
        wanted = [path for path in paths if path not in self._judged]
        for path in wanted:
            self._judged[path] = {}
        for side in self._sides:
            for some in batches(wanted, _PATHS, len):
                asked = self._ends[side.value].endpoint.submit(messages.Judge(some))
                for each in reply_of(asked, messages.Judgement).files:
                    self._judged[each.path][side] = each

    def _of_path(self, path: bytes) -> Mapping[Side, messages.Judged]:
        if path not in self._judged:
            self._judge([path])
        return self._judged[path]

    def is_sealed(self, path: bytes) -> bool:
        """As `Signed`."""
        return bool(self._of_path(path))

    def trusted(self, first: Record, second: Record) -> Record:
        """As `Signed`."""
        return first if Side.FIRST in self._sides else second

    def repairs(self, path: bytes) -> bool:
        """As `Signed`."""
        return path in self._repaired

    def verdict(
        self, path: bytes, first: Record | None, second: Record | None, verdict: Verdict
    ) -> Verdict:
        """As `Signed`."""
        if len(self._sides) == 2:
            return verdict  # neither is a stranger
        for side, judged in self._of_path(path).items():
            mine, other = (first, second) if side is Side.FIRST else (second, first)
            if mine is None and other is not None and other.is_file and judged.deleted:
                verdict = self._of_deleted(path, side.other, other, judged, verdict)
            if mine is None or not mine.is_file or not judged.here:
                continue
            deletes, revives = _GOES[side]
            takes = verdict in _TAKEN[side]
            if other is None and judged.removable:
                verdict = deletes  # whatever events there were since: of just this, none
            elif verdict is deletes:
                verdict = self._of_missing(path, side, judged, revives)
            elif other is not None and not other.is_file and (takes or verdict is Verdict.CONFLICT):
                if not judged.deleted:
                    raise NotAuthentic(
                        f"{shown(path)} should be a sealed file, and {self._shown(side.other)}"
                        " shows something else in its place that nobody with the key has put"
                        " there. Nothing was changed."
                    )
                if not judged.removable:
                    verdict = Verdict.CONFLICT
            elif takes and not judged.replaceable and other is not None and other.fp != mine.fp:
                verdict = Verdict.CONFLICT
            elif other is not None and verdict is _FORWARD[side]:
                verdict = self._of_forward(path, side, other, verdict)
        return verdict

    def _of_missing(
        self, path: bytes, side: Side, judged: messages.Judged, revives: Verdict
    ) -> Verdict:
        """The verdict on a file that the other side lacks, and says that it was deleted."""
        if judged.deleted:
            return revives
        if judged.last > judged.generation and not self._options.secure.accept_rollback:
            what = (
                "is missing there, and nobody with the key has deleted it; what is here is an older"
                " version, so it is not put back: run where the newest one is, or say"
                " --accept-rollback"
            )
            self._fail(Failure(path, self._shown(side.other), what, Cause.ERROR))
            return Verdict.NONE
        self._repaired.add(path)
        return revives

    def _of_forward(self, path: bytes, side: Side, other: Record, verdict: Verdict) -> Verdict:
        """The verdict where what the other side has is what the version here replaced."""
        if self._options.dry_run:
            return verdict
        found = self._fetch(side.other, path, other)
        if found is None:
            return Verdict.CONFLICT  # and skipped
        self._require_newest_there(path, side, found)
        return verdict

    def _of_deleted(
        self, path: bytes, side: Side, record: Record, judged: messages.Judged, verdict: Verdict
    ) -> Verdict:
        """The verdict on a file that is at ``side`` only, and was deleted by who has the key."""
        deletes, revives = _GOES[side]
        if verdict is deletes or self._options.dry_run:
            return verdict
        found = self._fetch(side, path, record)
        if found is None or found.whole.meta.generation > judged.last:
            return verdict
        # Put back by somebody who had not heard of it; or made by somebody of whom it had not.
        return deletes if found.whole.id in _split(judged.before) else revives

    def _shown(self, side: Side) -> str:
        return self._ends[side.value].shown

    # --- what is sealed anew --------------------------------------------------------------------

    def resolved(
        self, path: bytes, first: Record, second: Record, won: Side, merged: Merged | None
    ) -> Anew | None:
        """As `Signed`."""
        from syncron_lib.secure.sealed import Meta

        winner = first if won is Side.FIRST else second
        if self._options.dry_run:
            return Anew(winner.fp, winner.size, winner.mtime, winner.permissions)
        both = [self._fetch(side, path, each) for side, each in zip(Side, (first, second))]
        if both[0] is None or both[1] is None:
            return None
        one, other = both[0], both[1]
        self._require_no_older(path, {Side.FIRST: one, Side.SECOND: other})
        best = one if won is Side.FIRST else other
        equal = (one.whole.pd, one.whole.meta.size) == (other.whole.pd, other.whole.meta.size)
        meta = best.whole.meta
        if equal:
            mode = max(one.whole.meta.mode, other.whole.meta.mode)
            mtime = max(one.whole.meta.mtime_ns, other.whole.meta.mtime_ns)
            meta = meta._replace(mode=mode, mtime_ns=mtime)
        generation = self._next(path, one, other)
        self._of[path] = one.whole.id + other.whole.id
        if merged is not None and not equal:
            content = self._scratch.merged[path]
            meta = Meta(len(content), meta.mode, merged.mtime, generation)
            return self._made(path, meta, content)
        return self._made(path, meta._replace(generation=generation), best)._replace(equal=equal)

    def _require_no_older(self, path: bytes, both: Mapping[Side, _Fetched]) -> None:
        if self._options.secure.accept_rollback or len(self._sides) == 2:
            return
        for side, judged in self._of_path(path).items():
            mine, other = both[side].whole, both[side.other].whole
            # A content can come again, and be the newest; a version cannot.
            if other.id != mine.id and other.id in _split(judged.before):
                self._refuse_older(path, side, "here")
            self._require_newest_there(path, side, both[side.other])

    def _require_newest_there(self, path: bytes, side: Side, other: _Fetched) -> None:
        accepts = self._options.secure.accept_rollback
        if not accepts and other.whole.meta.generation < self._of_path(path)[side].there:
            self._refuse_older(path, side, "signed there")

    def _refuse_older(self, path: bytes, side: Side, than: str) -> NoReturn:
        raise RolledBack(
            f"{shown(path)} at {self._shown(side.other)} is an older version than what is {than},"
            " and is said to be a newer one. If a backup was restored there, say"
            " --accept-rollback. Nothing was changed."
        )

    def revived(self, path: bytes, record: Record, side: Side) -> Anew | None:
        """As `Signed`."""
        judged = self._of_path(path)
        own = judged.get(side)
        last = max(each.last for each in judged.values())
        deleted = any(each.deleted for each in judged.values())
        late = deleted or (own is not None and last > own.generation)
        if not late or self._options.dry_run:
            return None
        found = self._fetch(side, path, record)
        if found is None:
            raise FileFatal(
                f"{shown(path)} was deleted on one side and changed on the other, and could not be"
                " fetched to be kept. Nothing was changed; run again."
            )
        if found.whole.meta.generation > last:
            return None
        generation = self._next(path, found)
        self._of[path] = found.whole.id
        return self._made(path, found.whole.meta._replace(generation=generation), found)

    def copied(self, copy: Copy, record: Record, path: bytes, wanted: Record | None) -> Anew | None:
        """As `Signed`."""
        judged = self._of_path(path)
        if not judged:
            what = "would have a conflict copy whose name no rule seals, so it is left as it is"
            self._fail(Failure(copy.path, self._shown(copy.side), what, Cause.ERROR))
            return None
        if self._options.dry_run:
            return Anew(record.fp, record.size, record.mtime, record.permissions)
        found = self._fetch(copy.side, copy.path, record)
        if found is None:
            raise FileFatal(
                f"{shown(copy.path)} could not be fetched to be kept under another name. Nothing"
                " was changed; run again."
            )
        known = self._next(path) - 1
        if wanted is not None:  # perhaps it is just that, kept by somebody else
            anew = self._made(path, found.whole.meta._replace(generation=max(known, 1)), found)
            if wanted.fp == anew.fp:
                return anew
        return self._made(path, found.whole.meta._replace(generation=known + 1), found)

    def _next(self, path: bytes, *found: _Fetched) -> int:
        """The generation of what comes after all that is known."""
        judged = self._of_path(path).values()
        known = [max(each.generation, each.last) for each in judged]
        return max([*known, *(each.whole.meta.generation for each in found)]) + 1

    def _fetch(self, side: Side, path: bytes, record: Record) -> _Fetched | None:
        """A version of a file, as it is sealed, and looked at as a whole. Raises `NotAuthentic`."""
        from syncron_lib.secure.resealing import looked_at

        key = side, path
        if key not in self._fetched:
            end = self._ends[side.value]
            top = self._scratch.fetched(end, {path: record})
            name = os.path.join(top, path)
            file = regular(name)
            if file is None:
                what = "could not be fetched, so it is left as it is on both sides"
                self._fail(Failure(path, end.shown, what, Cause.ERROR))
                return None
            with file:
                place = place_of(self._load(), path, file)
                where = f"{shown(path)} at {end.shown}"
                whole = looked_at(self._load(), place, file, where)
            if whole.value[: digest.SIZE] != record.fp:
                what = "changed meanwhile, so it is left as it is on both sides"
                self._fail(Failure(path, end.shown, what, Cause.ERROR))
                return None
            self._fetched[key] = _Fetched(place, whole, name)
        return self._fetched[key]

    def _made(self, path: bytes, meta: Meta, source: _Fetched | bytes) -> Anew:
        """Seal something for ``path``; what is sent from is what was made last."""
        from syncron_lib.secure.resealing import reseal, seal_content

        self.top = self.top or self._scratch.directory()
        place = os.path.join(self.top, path)
        os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(place, flags, 0o600), "w+b") as target:
            if isinstance(source, bytes):
                _, value, size = seal_content(self._load(), source, path, meta, target)
            else:
                file = regular(source.name)
                assert file is not None  # it was looked at, and nobody else may enter
                with file:
                    parts = source.whole, source.place, file
                    _, value, size = reseal(self._load(), *parts, path, meta, target)
            os.fchmod(target.fileno(), meta.mode)
        os.utime(place, ns=(meta.mtime_ns, meta.mtime_ns))
        self.anew.add(path)
        return Anew(value[: digest.SIZE], size, meta.mtime_ns, meta.mode)

    # --- carrying out ---------------------------------------------------------------------------

    def plan(self, side: Side, plan: Plan) -> Plan:
        """Without what a side with the key does otherwise: permissions and times of sealed files
        come with their content, and nobody else's are taken."""
        if side in self._sides:
            plan.adjusts = [each for each in plan.adjusts if side not in self._of_path(each.path)]
        return plan

    def begin(self, outcome: Outcome) -> None:
        """Before anything is transferred: those without the key hear what is to be sealed, and what
        those with it have deleted; these hear what was made anew."""
        items = [
            messages.Resolved(path, self._of[path]) for path in outcome.merged if path in self._of
        ]
        for side in self._sides:
            for some in batches(items, _PATHS, lambda item: len(item.path) + len(item.of)):
                asked = self._ends[side.value].endpoint.submit(messages.Resolve(some))
                reply_of(asked, messages.Done)
        if len(self._sides) != 1:
            return  # both have the key
        side = self._sides[0]
        near, far = self._ends[side.value], self._ends[side.other.value]
        if not far.writes:
            return
        has = self._records[side.value]
        stays = [path for path, record in outcome.final.items() if record and path not in has]
        untouched = outcome.untouched
        left = [*stays, *untouched.paths, *untouched.trees]
        content = make_manifest(near.endpoint, True, left)
        if content:
            self._give(far, near, content)

    def conclude(self, left: Iterable[bytes], whole: bool) -> bool:
        """Give the manifest of all that is the same now to both; whether any got another one.
        ``left``: what is not the same, with all below."""
        wrote = False
        near = self._ends[self._sides[0].value]
        far = self._ends[self._sides[0].other.value]
        content = make_manifest(near.endpoint, False, [*left])
        if not content:
            return False
        for end, other in ((far, near), (near, far)):
            # What is newer there than what is the same on both sides stays known.
            if end.manifest() != content and (whole or end is far):
                self._give(end, other, content)
                wrote = True
        if len(self._sides) == 1:
            reply_of(near.endpoint.submit(messages.KeepManifest()), messages.Done)
        return wrote

    def _give(self, end: End, other: End, content: bytes) -> None:
        from syncron_lib.fs.manifestfile import digest_of
        from syncron_lib.session.twoway.manifests import give, lineage_of

        before = lineage_of(other)
        if other.manifest() and other.manifest() != content:
            before += digest_of(other.manifest())
        give(end, content, before, self._options)

    def opened(self, path: bytes, content: bytes) -> bytes:
        """What is in a file of a path, which may be sealed. Raises `NotAuthentic`."""
        from syncron_lib.secure.resealing import plain_of

        if not self.is_sealed(path):
            return content
        file = io.BytesIO(content)
        place = place_of(self._load(), path, file)
        return plain_of(self._load(), place, file, shown(path))


def regular(name: str | bytes) -> BinaryIO | None:
    """A file that was fetched, open; None where whoever sent it sent something else, or nothing."""
    try:
        fd = os.open(name, OPEN_FILE)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return os.fdopen(fd, "rb")
    os.close(fd)
    return None


def _split(before: bytes) -> set[bytes]:
    return {before[at : at + _VERSION] for at in range(0, len(before), _VERSION)}


class _Fetched(NamedTuple):
    """A sealed file that was fetched. ``place``: the path that it is sealed for."""

    place: bytes
    whole: Whole
    name: bytes


def place_of(keyring: Keyring, path: bytes, file: BinaryIO) -> bytes:
    """The path that a file is sealed for; see `fs.sealedversions`."""
    from syncron_lib.secure.sealed import Opener

    parent, name = split(path)
    prefix = file.read(PREFIX)
    plain = join(parent, unmarked(name))
    if plain != path and not Opener.fits(keyring, path, prefix):
        return plain if Opener.fits(keyring, plain, prefix) else path
    return path
