"""The messages about sealed files; `protocol.messages` has them all.

Who holds no key keeps a manifest and gives it out, and understands nothing of it. The others are
for a client's own local helper, which has the key from the client and not over any wire.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.record import NamedTuple


class GetManifest(NamedTuple):
    """Ask for the manifest from byte ``start`` on: the one that is kept in the tree, or, of who has
    the key, the one that `MakeManifest` made."""

    start: int = 0


class Manifest(NamedTuple):
    """Reply: nothing where there is none; ``more``: this is not all of it."""

    content: bytes
    more: bool = False


class PutManifest(NamedTuple):
    """Keep this manifest, instead of the one that there is. ``more``: the rest is still to come.
    Reply: `Done`."""

    content: bytes
    more: bool = False


class GetLineage(NamedTuple):
    """Ask which manifests were there before the one that is kept in the tree."""


class Lineage(NamedTuple):
    """Reply: the first 16 bytes of SHA-256 of each, one behind the other, the newest last."""

    digests: bytes


class PutLineage(NamedTuple):
    """The manifest that `PutManifest` is about to bring was made after these too. Reply: `Done`."""

    digests: bytes


class UseManifest(NamedTuple):
    """See the tree as one that is sealed at ``where``, which has this manifest."""

    where: str
    content: bytes
    more: bool = False


class Viewed(NamedTuple):
    """Reply to `UseManifest`. ``active``: something is sealed, here or there, or could be.
    ``rules``: there is something that says what to seal. ``sealed``: files here that are, but for
    those that say so. ``fresh``: nothing was sealed there before. ``anew``: digests are others than
    before. ``names_key``: id of the key that names are sealed with there, zeros where they are
    clear by this run, nothing where they always were. ``renames``: that changes, or a run that was
    to change it may have been interrupted."""

    active: bool
    rules: bool
    sealed: int
    fresh: bool
    anew: bool
    names_key: bytes
    renames: bool


class GetSealed(NamedTuple):
    """Ask which files are sealed, here or there, less the first ``known``; or, with ``tops``, for
    the paths whose last name is sealed there though the one above it is not."""

    known: int = 0
    tops: bool = False


class SealedFile(NamedTuple):
    """``here``: in this tree. ``live``: no tombstone says that it was deleted."""

    path: bytes
    here: bool
    live: bool


class SealedFiles(NamedTuple):
    """Reply to `GetSealed`; ``more``: these are not all."""

    files: Sequence[SealedFile]
    more: bool = False


class MakeManifest(NamedTuple):
    """Make a manifest of what is sealed by now; `GetManifest` gives it out, and nothing where there
    is no other than before. ``announce``: of what will be sealed for the first time. ``unsettled``:
    what did not come to the other side, with all below. ``removed``: what is deleted there, with
    all below. ``more``: others follow. ``settled``: no name is there in another form than is
    wanted. Reply: `Done`."""

    announce: bool
    unsettled: Sequence[bytes] = ()
    removed: Sequence[bytes] = ()
    more: bool = False
    settled: bool = False


class KeepManifest(NamedTuple):
    """The manifest that was made, or used, is the newest: remember its counter. Reply: `Done`."""


class Judge(NamedTuple):
    """Ask a replica that has the key what is signed of these paths. Reply: `Judgement`, of those
    that are sealed."""

    paths: Sequence[bytes]


class Judged(NamedTuple):
    """``here``: there is a file. ``replaceable``: what the other side has may take its place, if it
    is newer by what is sealed in it; else it may have been made without knowing what is here.
    ``removable``: who has the key deleted just this. ``generation``: that of what is here, or was,
    0 for nothing; ``last``: that of the last that was signed, ``there``: of what is signed at the
    other side. ``deleted``: the last was a deletion. ``before``: what stands for versions that came
    before, 8 bytes each."""

    path: bytes
    here: bool
    replaceable: bool
    removable: bool
    generation: int
    last: int
    there: int
    deleted: bool
    before: bytes


class Judgement(NamedTuple):
    """Reply to `Judge`."""

    files: Sequence[Judged]


class Resolved(NamedTuple):
    """``of``: what stands for versions, 8 bytes each."""

    path: bytes
    of: bytes


class Resolve(NamedTuple):
    """What comes at these paths the client itself has made, of these versions. Reply: `Done`."""

    items: Sequence[Resolved]
