"""The view of a tree that is one of several replicas, where the key is: `fs.sealed` for runs in
both directions.

What its files stand for it remembers itself (`fs.sealedversions`). It has a manifest of its own,
too, and makes one of that and the other side's: both get it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.names import join, shown, split
from syncron_lib.core.sealing import PREFIX
from syncron_lib.core.table import Malformed
from syncron_lib.errors import GuardRefused
from syncron_lib.fs import manifestfile, seal, view
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.fs.sealed import OBJECT, Below, Sealed, SealedView
from syncron_lib.fs.seen import Seen
from syncron_lib.fs.stats import StatRow
from syncron_lib.fs.view import Opened, Remembering
from syncron_lib.protocol import messages

if TYPE_CHECKING:
    from syncron_lib.fs.root import Root
    from syncron_lib.fs.sealedrules import SealedRules
    from syncron_lib.fs.sealedversions import Versions
    from syncron_lib.fs.tree import Tree
    from syncron_lib.secure.keys import Keyring
    from syncron_lib.secure.manifest import Manifest
    from syncron_lib.secure.sealed import Sealer


class ReplicaView(SealedView):
    """Carries out `fs.view.View`."""

    _replica: Optional[Remembering] = None
    _trusts = False

    def begin(self) -> None:
        """As `View`."""
        super().begin()
        self._versions: Optional[Versions] = None
        self._mine: Optional[Manifest] = None
        self._theirs: Optional[Manifest] = None
        self._contents = b"", b""
        """Their manifest and ours, as they are kept."""
        self._floor = 0
        """A manifest with this number has been seen there."""

    # --- looking at a tree ------------------------------------------------------------------

    def join(self, replica: Remembering) -> None:
        """As `View`."""
        self._replica = replica

    def use(self, root: Root, where: str, manifest: bytes) -> messages.Viewed:
        """As `View`; nowhere: the other side has the key too, and is no stranger."""
        self._trusts = not where
        return super().use(root, where or "the other side", manifest)

    def _remembers(self, root: Root) -> bool:
        return bool(self._replica and self._replica.sealed) or bool(_own(root))

    def _open(self, root: Root, content: bytes) -> None:
        from syncron_lib.fs.sealedversions import Versions
        from syncron_lib.secure.manifest import Manifest

        super()._open(root, content)
        assert self._ring is not None and self._manifest is not None and self._replica is not None
        self._floor = self._manifest.counter
        self._contents = content, _own(root)
        theirs, mine = (
            Manifest.opened(each, self._ring, where)
            for each, where in zip(self._contents, (self._where, "this side"))
        )
        self._theirs, self._mine, self._manifest = theirs, mine, mine.joined(theirs)
        how = self._manifest.entries, self._ring, self._options.accept_rollback
        try:
            self._versions = Versions(self._replica.sealed, *how)
        except Malformed:
            self._versions = Versions(b"", *how)  # as where all that it remembered is lost

    def _mark(self, root: Root) -> None:
        super()._mark(root)
        assert self._replica is not None
        if not self._replica.sealed:
            self._require_in_clear(root)

    def _require_in_clear(self, root: Root) -> None:
        """See that what takes part in clear for the first time is not a disk that is sealed: what
        is to be sealed would come to it in clear."""
        from syncron_lib.fs.seen import SeenFile
        from syncron_lib.secure.sealed import Opener

        assert self._ring is not None
        hint = "say --sealed for it, if it is to be sealed. Nothing was changed."
        for path in sorted(self._here):
            if Opener.fits(self._ring, path, _prefix(root, path)):
                raise GuardRefused(
                    f"{shown(path)} in {shown(root.path)} is sealed already, and the files of a"
                    f" replica on this machine are in clear: {hint}"
                )
        file = SeenFile(self._environment, self._ring.root_id, shown(root.path))
        if file.read().counter:
            raise GuardRefused(
                f"{shown(root.path)} was sealed when this machine saw it last, and nothing there"
                f" says so any more: {hint} If it is to be in clear from now on, remove"
                f" {shown(file.path)}, which remembers that."
            )

    def _require_no_older(self, ring: Keyring, manifest: Manifest, content: bytes) -> None:
        if not self._trusts:
            super()._require_no_older(ring, manifest, content)

    def _name(self, root: Root, rules: SealedRules) -> None:
        from syncron_lib.secure.manifest import CLEAR

        for manifest in (self._mine, self._theirs):
            if manifest is not None and (manifest.names_key != CLEAR or manifest.renaming):
                raise GuardRefused(
                    f"Names are sealed at {self._where}, and a run with --two-way knows files by"
                    " names that both sides have: push and pull, or give the names back with"
                    " --declassify. Nothing was changed."
                )

    def _tag(self) -> bytes:
        assert self._ring is not None
        of = b"replica" + self._ring.root_id + self._ring.current.id
        return hashlib.sha256(of).digest()

    def _forget_digests(self, root: Root) -> None:
        assert self._versions is not None
        before: dict[bytes, Sealed] = {}
        kept = b"" if root.state is None else root.state.get("sealed_for")
        paths = [path for path in root.sealed_before.split(b"\0") if path]
        if kept.startswith(self._tag()) and len(kept) == 32 + OBJECT.size * len(paths):
            before = {
                path: Sealed(*value) for path, value in zip(paths, OBJECT.iter_unpack(kept[32:]))
            }
        forgotten = []
        for path in {*paths, *self._here}:
            version = self._versions.get(path)
            now = version and Sealed(*version[:2])
            if path not in self._here or now is None or before.get(path) != now or root.renamed:
                forgotten.append(path)
        view.forget(root, forgotten)
        if root.renamed and (paths or self._here):
            seal.forget_digests(root.tree)

    def remembered(self) -> Mapping[str, bytes]:
        """As `View`."""
        if self._versions is not None:
            found = {path: self._versions.get(path) for path in self._here}
            self._known = {path: Sealed(*each[:2]) for path, each in found.items() if each}
        return super().remembered()

    def mark(self, root: Root) -> None:
        """As `View`."""
        if not self.active:
            return
        self._here = set()
        for node, sealed in self._find(root):
            if sealed != (node.sealed or frozenset()):
                node.merkle, node.stored = digest.UNKNOWN, False
            node.sealed = sealed or None
            self._here.update(join(node.path, name) for name in sealed)

    # --- sealing and opening ----------------------------------------------------------------

    def _sealer(self, path: bytes, pd: bytes, scanned: StatRow, sends: bool) -> Sealer:
        from syncron_lib.secure.sealed import Sealer

        assert self._ring is not None and self._versions is not None
        version, meta = self._versions.of(path, pd, scanned)
        return Sealer(self._ring, version.place, pd, meta)

    def is_touched(self, path: bytes, fd: int, scanned: StatRow) -> bool:
        """As `View`: nobody says for sure what the other side has."""
        return False

    def open(self, path: bytes, data: memoryview) -> Optional[tuple[bytes, Opened]]:
        """As `View`."""
        from syncron_lib.secure import sealed

        assert self._ring is not None and self._versions is not None
        place = self._versions.place_of(path, bytes(data[:PREFIX]))
        opener, plain = sealed.unseal(self._ring, place, data, self._at(path))
        self._versions.take(path, place, opener.salt, opener.meta, self._at(path))
        return plain, Opened(*opener.meta[:3])

    def open_file(self, path: bytes, fd: int, target: int) -> Optional[Opened]:
        """As `View`."""
        assert self._versions is not None
        place = self._versions.place_of(path, os.pread(fd, PREFIX, 0))
        opener = self._open_into(place, self._at(path), fd, target)
        self._versions.take(path, place, opener.salt, opener.meta, self._at(path))
        return Opened(*opener.meta[:3])

    # --- what a run asks --------------------------------------------------------------------

    def judge(self, paths: Sequence[bytes]) -> list[messages.Judged]:
        """As `View`."""
        versions, theirs = self._versions, self._theirs
        if versions is None or theirs is None:
            return []
        rows = theirs.entries
        return [
            versions.judged(path, path in self._here, rows[path].generation if path in rows else 0)
            for path in paths
            if self.is_sealed(path)
        ]

    def resolve(self, items: Sequence[messages.Resolved]) -> None:
        """As `View`."""
        if self._versions is not None:
            for item in items:
                self._versions.resolve(item.path, item.of)

    def failed(self, paths: Sequence[bytes]) -> None:
        """As `View`."""
        if self._versions is not None:
            self._versions.failed(paths)

    def kept(self, tree: Tree) -> Optional[bytes]:
        """As `View`."""
        if self._versions is None or self._replica is None:
            return None
        return self._versions.packed(tree, self._replica)

    # --- the manifest -----------------------------------------------------------------------

    def make(
        self, announce: bool, unsettled: Sequence[bytes], removed: Sequence[bytes], settled: bool
    ) -> bytes:
        """As `View`. ``announce``: what is about to be sealed there for the first time, and what is
        about to go; else all that is the same on both sides by now."""
        from syncron_lib.secure.manifest import NO_SALT, Entry, Manifest, hash_of

        mine, theirs, both = self._mine, self._theirs, self._manifest
        versions, replica, ring = self._versions, self._replica, self._ring
        if not self.active or mine is None or theirs is None or both is None or ring is None:
            return b""
        assert versions is not None and replica is not None
        left = Below(unsettled)
        rows = theirs.entries if announce else both.entries
        nothing = Entry(NO_SALT, 0, False)
        entries = versions.entries(announce, rows, self._here, left, replica, nothing)
        if announce and entries == theirs.entries:
            return b""
        for path in [path for path in entries if path in left and not announce]:
            # There it is as it was; and a file that is older than its row looks like a replay.
            if path in theirs.entries:
                entries[path] = theirs.entries[path]
            else:
                del entries[path]
        their_content, own_content = self._contents
        highest = max(theirs.counter, self._floor, self._newest.counter)
        if entries == theirs.entries and theirs.counter >= max(mine.counter, highest):
            made, content = theirs, their_content
        elif entries == mine.entries and mine.counter > highest:
            made, content = mine, own_content
        else:
            made = Manifest(max(mine.counter, highest) + 1, entries)
            content = made.sealed(ring)
        if announce:
            self._theirs, self._contents = made, (content, own_content)
        self._newest = Seen(made.counter, hash_of(content))
        return content


def _prefix(root: Root, path: bytes) -> bytes:
    """The beginning of a file; nothing of what cannot be read."""
    assert root.directories is not None
    parent, name = split(path)
    try:
        fd = os.open(name, OPEN_FILE, dir_fd=root.directories.open(parent))
    except OSError:
        return b""
    try:
        return os.read(fd, PREFIX)
    finally:
        os.close(fd)


def _own(root: Root) -> bytes:
    """The manifest that is kept in a root."""
    return b"" if root.directories is None else manifestfile.read(root.directories.root_fd)
