"""Sealed files in a run: the manifest from where it is kept to who has the key, and back.

The side that has the key shows its tree as it is sealed. So all that compares, transfers and
deletes works on ciphertext and knows nothing of it; here is what is left to do.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from syncron_lib.core.links import up
from syncron_lib.core.names import shown
from syncron_lib.core.options import RunOptions
from syncron_lib.core.plan import Plan, Remove
from syncron_lib.core.report import Cause, Failure, Item
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import NotAuthentic, PeerViolation, UsageError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import SealedFile
from syncron_lib.session.asking import Flight, batches, reply_of
from syncron_lib.session.keyholder import KeyHolder
from syncron_lib.session.sealing import Sealing as MerkleSealing
from syncron_lib.session.unsealed import NOTHING_SEALED, Unsealed

if TYPE_CHECKING:
    from syncron_lib.endpoint.remote import RemoteEndpoint
    from syncron_lib.session.renaming import Renaming
    from syncron_lib.session.transfer import Transfer

_PART = 4 << 20
"""Bytes of a manifest in one message."""
_MOST = 1 << 28
"""Bytes of a manifest, as `fs.manifestfile` bounds it."""
_PATHS = 2000


def manifest_of(end: Endpoint, first: messages.Manifest | None = None) -> bytes:
    """The manifest that an endpoint gives out. ``first``: its first part, if that is here."""
    content = b""
    part = first
    while True:
        if part is None:
            asked = end.submit(messages.GetManifest(len(content)))
            part = reply_of(asked, messages.Manifest)
        content += part.content
        if not part.more:
            return content
        if not part.content or len(content) > _MOST:
            raise PeerViolation("The other side announced more of a manifest than there can be.")
        part = None


def put_manifest(storing: Flight, content: bytes) -> None:
    """Have a destination keep a manifest."""
    for start in range(0, len(content), _PART):
        part = content[start : start + _PART]
        more = start + len(part) < len(content)
        storing.send(messages.PutManifest(part, more), messages.Done)


def require_possible(options: RunOptions, role: Role) -> None:
    """Refuse what cannot be had together with sealed files. Raises UsageError."""
    keep, transfer = options.keep, options.transfer
    pulls = role is Role.DESTINATION
    for wanted, option, why in (
        (
            options.remove_source_files,
            "--remove-source-files",
            "that the other side has what is sealed is its word only",
        ),
        (
            bool(options.secure.excluded_by),
            options.secure.excluded_by,
            "what is known to be sealed is known of one tree, and not of many",
        ),
        (
            any(options.view[:3]),
            "--chmod, --copy-links, --munge-links and the like",
            "what is sealed is what is on the disk",
        ),
        (
            options.delay_updates,
            "--delay-updates",
            "what was opened would wait in clear under no name that .secure covers",
        ),
        (
            pulls and options.scratch is not None,
            "--temp-dir",
            "what is opened would lie in clear in another directory",
        ),
        (any(options.fakes), "--fake-super", "attributes are sealed as they are"),
        (options.keep_dirlinks, "--keep-dirlinks", "what is sealed has its place in one tree"),
        (keep.hard_links, "--hard-links", "the same content is sealed otherwise under each name"),
        (keep.xattrs, "--xattrs", "extended attributes are not sealed"),
        (keep.acls, "--acls", "ACLs are not sealed"),
        (not keep.permissions, "--no-perms", "permissions are sealed with the content"),
        (not keep.times, "--no-times", "times are sealed with the content"),
        (
            options.in_place,
            "--inplace",
            "nothing may be there that was not authenticated as a whole",
        ),
        (transfer.size_only, "--size-only", "the same size says nothing about what is sealed"),
        (
            options.alternates is not None,
            options.alternates.option if options.alternates else "",
            "what is sealed has its place in one tree",
        ),
        (
            pulls and options.backup is not None,
            "--backup",
            "what is kept would lie in clear under names that .secure need not cover",
        ),
    ):
        if wanted:
            raise UsageError(
                f"Sealed files cannot be had together with {option}: {why}. Leave that out."
            )


def prepared(
    options: RunOptions,
    key: KeyHolder | None,
    ends: tuple[RemoteEndpoint, RemoteEndpoint],
    where: str,
    content: bytes,
    sealing: MerkleSealing,
) -> Unsealed:
    """Have who has the key see its tree as it is sealed at ``where``, which has the manifest
    ``content``. Raises UsageError for what cannot be had then.
    ``sealing``: is told that the digests of that tree are to be asked for again."""
    source, destination = ends
    if key is not None and key.role is not None:
        near = ends[key.role]
        viewed = used(near, where, content)
        if viewed.anew:
            sealing.forget(key.role)
        if viewed.active:
            require_possible(options, key.role)
            renaming = None
            if viewed.names_key:
                far = ends[1 - key.role]
                renaming = _renaming(options, key, near, far, viewed, content, where)
            return Sealing(near, key.role, viewed, options.delete, renaming)
    if not options.secure.ciphertext:
        return NOTHING_SEALED
    if key is not None and key.role is Role.SOURCE:
        content = manifest_of(source)
    return Carried(content, destination)


def _renaming(
    options: RunOptions,
    key: KeyHolder,
    near: Endpoint,
    far: RemoteEndpoint,
    viewed: messages.Viewed,
    content: bytes,
    where: str,
) -> Renaming:
    """Have the far side known by the names that its tree has here."""
    from syncron_lib.secure.manifest import Manifest
    from syncron_lib.secure.naming import Naming, TopSet
    from syncron_lib.session import renaming

    assert key.keyring is not None
    renaming.require_possible(options, viewed.renames)
    ring = key.keyring()
    manifest = Manifest.opened(content, ring, where)
    known = {*manifest.entries, *manifest.names, *(file.path for file in _sealed(near))}
    tops = TopSet(file.path for file in _sealed(near, tops=True))
    far.names = naming = Naming(ring, viewed.names_key, known, tops)
    return renaming.Renaming(near, far, naming, viewed.renames)


def _sealed(near: Endpoint, tops: bool = False) -> Iterator[SealedFile]:
    """What who has the key tells of files, or of ``tops``."""
    known = 0
    while True:
        asked = near.submit(messages.GetSealed(known, tops))
        part = reply_of(asked, messages.SealedFiles)
        yield from part.files
        known += len(part.files)
        if not part.more:
            return


def used(near: Endpoint, where: str, content: bytes) -> messages.Viewed:
    """Have who has the key see its tree as it is sealed at ``where``, by this manifest."""
    parts = [content[start : start + _PART] for start in range(0, len(content), _PART)] or [b""]
    for part in parts[:-1]:
        reply_of(near.submit(messages.UseManifest(where, part, True)), messages.Viewed)
    return reply_of(near.submit(messages.UseManifest(where, parts[-1])), messages.Viewed)


def make_manifest(
    near: Endpoint,
    announce: bool,
    unsettled: Sequence[bytes] = (),
    removed: Sequence[bytes] = (),
    settled: bool = True,
) -> bytes:
    """The manifest that who has the key makes; see `messages.MakeManifest`."""
    for some in batches(unsettled, _PATHS, len):
        request = messages.MakeManifest(announce, some, (), True)
        reply_of(near.submit(request), messages.Done)
    for some in batches(removed, _PATHS, len):
        request = messages.MakeManifest(announce, (), some, True)
        reply_of(near.submit(request), messages.Done)
    last = messages.MakeManifest(announce, settled=settled)
    reply_of(near.submit(last), messages.Done)
    return manifest_of(near)


class Sealing(Unsealed):
    """One end has the key and shows its tree as sealed."""

    def __init__(
        self,
        near: Endpoint,
        role: Role,
        viewed: messages.Viewed,
        deletes: bool,
        renaming: Renaming | None,
    ) -> None:
        self._near = near
        self._deletes = deletes
        self._renaming = renaming
        self.renames = renaming is not None
        self._role = role
        if role is Role.SOURCE and viewed.fresh and viewed.rules and not viewed.sealed:
            self.warning = (
                "There is a .secure file (or --secure), and it matches no file: nothing is sealed."
                " See that its patterns are right."
            )
        if role is Role.DESTINATION and viewed.renames:
            self.warning = (
                "A run that was to change the names there was interrupted: what counts is whole,"
                " and a further push finishes that."
            )
        self._known: dict[bytes, SealedFile] | None = None
        self._ready: bytes | None = None

    def _files(self) -> dict[bytes, SealedFile]:
        if self._known is None:
            self._known = {file.path: file for file in _sealed(self._near)}
        return self._known

    def paths(self) -> Container[bytes]:
        """As `Unsealed`."""
        return self._files()

    def marked(self, item: Item) -> Item:
        """As `Unsealed`."""
        return item._replace(sealed=not item.is_directory and item.path in self._files())

    def review(
        self, plan: Plan, on_failure: Callable[[Failure], None], touch: Callable[[bytes], None]
    ) -> None:
        """As `Unsealed`."""
        if self._role is Role.SOURCE:
            if self._renaming is not None:
                self._renaming.review(self._deletes, on_failure, touch)
            return
        here = {path for path, file in self._files().items() if file.here and file.live}
        above = {place for path in here for place in up(path)}
        live = {path for path, file in self._files().items() if file.live}
        for path, mode, replaces in _made(plan):
            if (replaces and path in above) or (path in live and not stat.S_ISREG(mode)):
                raise NotAuthentic(
                    f"{shown(path)} should be, or hold, a sealed file, and the other side shows"
                    " something else in its place. Nothing was changed."
                )
        kept: list[Remove] = []
        for remove in plan.removes:
            if remove.path not in above:
                kept.append(remove)
                continue
            plan.extras.append(remove.path)
            for path in sorted(here):
                if path == remove.path or path.startswith(remove.path + b"/"):
                    what = (
                        "is missing there, and nobody with the key has deleted it: it is kept; push"
                        " it to repair that"
                    )
                    on_failure(Failure(path, "source", what, Cause.ERROR))
        plan.removes[:] = kept
        for adjust in plan.adjusts:
            if adjust.path in here:
                what = "has other attributes there than those that are sealed with it: it is kept"
                on_failure(Failure(adjust.path, "source", what, Cause.ERROR))
        plan.adjusts[:] = [adjust for adjust in plan.adjusts if adjust.path not in here]

    # --- the manifest of a push -----------------------------------------------------------------

    def _make(
        self,
        announce: bool,
        unsettled: Sequence[bytes] = (),
        removed: Sequence[bytes] = (),
        settled: bool = True,
    ) -> bytes:
        return make_manifest(self._near, announce, unsettled, removed, settled)

    def has_news(self, plan: Plan) -> bool:
        """As `Unsealed`."""
        if self._role is Role.DESTINATION or not plan.is_empty:
            return False
        if self._renaming is not None and self._renaming.is_due:
            return True
        self._ready = self._make(False, [*plan.left])
        return bool(self._ready)

    def begin(self, storing: Flight) -> None:
        """As `Unsealed`."""
        if self._role is Role.SOURCE and self._ready is None:
            put_manifest(storing, self._make(True))

    def conclude(
        self,
        transfer: Transfer,
        failed: Iterable[bytes],
        plan: Plan,
        on_failure: Callable[[Failure], None],
    ) -> None:
        """As `Unsealed`."""
        if self._role is Role.DESTINATION:
            return
        transfer.settle()
        content, renaming = self._ready, self._renaming
        if content is None:
            unsettled = [*failed, *plan.left]
            if renaming is not None and renaming.changes and unsettled:
                return  # what did not come has its old name only
            removed = [remove.path for remove in plan.removes]
            removed.extend(path for path, _, replaces in _made(plan) if replaces)
            due = renaming is not None and renaming.is_due
            content = self._make(False, unsettled, removed, settled=not due)
            if due and renaming is not None:
                put_manifest(transfer.storing, content)
                transfer.settle()
                content = self._make(False) if renaming.remove(on_failure) else b""
        if content:
            put_manifest(transfer.storing, content)
        transfer.settle()

    def seen(self) -> None:
        """As `Unsealed`."""
        reply_of(self._near.submit(messages.KeepManifest()), messages.Done)


class Carried(Unsealed):
    """Nobody here has the key: the manifest goes along with the ciphertext, as it is."""

    def __init__(self, content: bytes, destination: Endpoint) -> None:
        self._content = content
        self._destination = destination

    def has_news(self, plan: Plan) -> bool:
        """As `Unsealed`."""
        return bool(self._content) and manifest_of(self._destination) != self._content

    def conclude(
        self,
        transfer: Transfer,
        failed: Iterable[bytes],
        plan: Plan,
        on_failure: Callable[[Failure], None],
    ) -> None:
        """As `Unsealed`."""
        transfer.settle()
        if not tuple(failed):
            put_manifest(transfer.storing, self._content)
            transfer.settle()


def _made(plan: Plan) -> Iterable[tuple[bytes, int, int]]:
    """(path, mode, how much makes way) of all that gets a name."""
    for create in plan.creates:
        yield create.path, create.mode, create.replaces
    for make in (*plan.makes, *plan.parents):
        yield make.path, stat.S_IFDIR, make.replaces
