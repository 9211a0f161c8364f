"""Names that are sealed at the far side: what stands there in another form than is wanted.

A run that is to seal names, or to seal them with another key, or to have them in clear again,
brings everything under its new name first. Then the manifest says which form counts, and then what
has its old name goes. Whatever ends it, one form is whole, and it is the one that counts.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator

from syncron_lib.core.names import shown, split
from syncron_lib.core.options import RunOptions, TransferRules
from syncron_lib.core.report import Cause, Failure
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import GuardRefused, UsageError
from syncron_lib.protocol import messages
from syncron_lib.secure.manifest import CLEAR
from syncron_lib.secure.naming import Naming
from syncron_lib.session.asking import batches, failure_of, reply_of
from syncron_lib.session.listings import listings

_PATHS = 2000


def require_possible(options: RunOptions, changes: bool) -> None:
    """Refuse what cannot be had with sealed names. Raises UsageError."""
    beside = options.backup is not None and options.backup.directory is None
    for wanted, option, why in (
        (options.rules.chosen is not None, "--files-from and the like", "a list tells names"),
        (bool(options.hot), "--hot", "the other side knows its directories by other names"),
        (beside, "--backup without --backup-dir", "what is kept has its name from what it was"),
    ):
        if wanted:
            raise UsageError(
                f"Sealed names cannot be had together with {option}: {why}. Leave that out."
            )
    if changes and options.transfer != TransferRules():
        raise UsageError(
            "Names become others by this run, which takes all of the tree: leave out what brings"
            " only a part of it over, like --existing and --max-size."
        )


class Renaming:
    """What is in another form at the far side of one run."""

    def __init__(self, near: Endpoint, far: RemoteEndpoint, naming: Naming, changes: bool) -> None:
        """``changes``: names become others by this run, or by one that was interrupted."""
        self._near = near
        self._far = far
        self._naming = naming
        self.changes = changes
        self._goes: list[bytes] = []

    @property
    def is_due(self) -> bool:
        """Whether something is to go."""
        return bool(self._goes)

    def review(
        self,
        deletes: bool,
        on_failure: Callable[[Failure], None],
        touch: Callable[[bytes], None],
    ) -> None:
        """Decide what of that goes: what is here too, and with ``deletes`` all of it."""
        for there in sorted(self._naming.stale):
            only = None if deletes else self._only_there(there)
            if only is None:
                self._goes.append(there)
                touch(self._naming.shown(split(there)[0]))
                continue
            if self.changes:
                raise GuardRefused(
                    f"{shown(only)} is at the other side and not here, so its name cannot become"
                    " another: pull first, or say --delete if it may go. Nothing was changed."
                )
            what = "has a name there that is not sealed as others are: it is kept; --delete removes"
            on_failure(Failure(there, "destination", f"{what} it", Cause.ERROR))

    def _only_there(self, there: bytes) -> bytes | None:
        """The first of an entry and all below that is not here."""
        for names_key in (CLEAR, *self._naming.key_ids):
            form = self._naming.in_form(names_key)
            if form.plain(there) is not None:
                return next(self._missing(form, there), None)
        return there

    def _missing(self, form: Naming, top: bytes) -> Iterator[bytes]:
        far, near = self._far, self._near
        here = form.shown(top)
        (parent,) = listings(near, [split(here)[0]])
        if split(here)[1] not in parent.table.names:
            yield here
            return
        far.names = form
        pending = [here] if self._naming.stale[top] else []
        try:
            while pending:
                path = pending.pop()
                (theirs,) = listings(far, [path])
                (mine,) = listings(near, [path])
                names = frozenset(mine.table.names)
                for name, mode in zip(theirs.table.names, theirs.table.modes, strict=True):
                    below = path + b"/" + name
                    if name not in names:
                        yield below
                    elif stat.S_ISDIR(mode):
                        pending.append(below)
        finally:
            far.names = self._naming

    def remove(self, on_failure: Callable[[Failure], None]) -> bool:
        """Have all of that go; whether it did."""
        self._far.names = None
        gone = True
        for some in batches(self._goes, _PATHS, len):
            stored = reply_of(self._far.submit(messages.Delete(some)), messages.Stored)
            for problem in stored.problems:
                gone = False
                on_failure(failure_of(problem, "destination"))
        self._far.names = self._naming
        return gone and len(self._goes) == len(self._naming.stale)
