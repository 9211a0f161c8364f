"""The view of a tree that who has the key gives: what is sealed as its ciphertext.

Runs in a client's own local helper, which is forked and so has the key already. See `fs.view`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import SecureOptions
from syncron_lib.core.sealing import MAGIC, RULES, sealed_size
from syncron_lib.core.table import TYPE_MASK
from syncron_lib.core.twoway.naming import unmarked
from syncron_lib.errors import GuardRefused, RolledBack
from syncron_lib.fs import seal, sealedguards, sealedrules, view
from syncron_lib.fs.hashing import Changed
from syncron_lib.fs.sealedrules import files_in
from syncron_lib.fs.seen import Seen, SeenFile
from syncron_lib.fs.stats import StatRow, is_same_file
from syncron_lib.fs.view import Opened, Reader
from syncron_lib.protocol import messages
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.root import Root
    from syncron_lib.fs.sealednames import SealedNames
    from syncron_lib.fs.sealedrules import SealedRules
    from syncron_lib.fs.tree import Node
    from syncron_lib.secure.keys import Keyring, Keys
    from syncron_lib.secure.manifest import Entry, Manifest
    from syncron_lib.secure.naming import Naming
    from syncron_lib.secure.sealed import Opener, Sealer

OBJECT = struct.Struct(">32sQ")
"""Salt and generation, as the state keeps them for each path."""


class KeySource(NamedTuple):
    """Where the key comes from, if it is needed. ``load``: raises `KeyUnusable`. ``store``: puts a
    keyring with a new key in its place. ``asked``: the user named one. ``path``: the key file."""

    load: Callable[[], Keyring]
    store: Callable[[Keyring], None]
    asked: bool
    path: bytes


class Sealed(NamedTuple):
    """What is sealed at a path by now."""

    salt: bytes
    generation: int


class SealedView:
    """Carries out `fs.view.View`."""

    def __init__(
        self, options: SecureOptions, key: Optional[KeySource], environment: Mapping[str, str]
    ) -> None:
        self._options = options
        self._key = key
        self._environment = environment
        self._ring: Optional[Keyring] = None
        self.begin()

    def begin(self) -> None:
        """As `View`."""
        self.active = False
        self._where = ""
        self._rules: Optional[SealedRules] = None
        self._manifest: Optional[Manifest] = None
        self._old_keys: Optional[Keys] = None
        self._seen_file: Optional[SeenFile] = None
        self._newest = Seen()
        self._here: set[bytes] = set()
        self._known: dict[bytes, Sealed] = {}
        self._hashes: dict[bytes, tuple[StatRow, bytes]] = {}
        self._names: Optional[SealedNames] = None

    # --- looking at a tree ------------------------------------------------------------------

    def use(self, root: Root, where: str, manifest: bytes) -> messages.Viewed:
        """As `View`."""
        self.begin()
        self._where = where
        options = self._options
        key = None if self._key is None else self._key.path
        rules = sealedrules.read(root, options.patterns, key, options.ciphertext)
        self._rules = rules
        if options.excluded_by:
            sealedguards.require_none(root, rules, options.excluded_by)
        wanted = rules.any or bool(manifest) or options.rekey
        wanted = wanted or (self._key is not None and self._key.asked)
        if not wanted and not self._remembers(root):
            view.forget(root, root.sealed_before.split(b"\0"))
            return messages.Viewed(False, False, 0, False, bool(root.sealed_before), b"", False)
        if self._key is None or options.ciphertext:
            sealedguards.require_no_key(root, rules, manifest, where, options)
            view.forget(root, root.sealed_before.split(b"\0"))
            before = bool(root.sealed_before)
            return messages.Viewed(False, rules.any, 0, False, before, b"", False)
        self._open(root, manifest)
        # Without rules, and where nothing was ever sealed, there is nothing to do.
        self.active = rules.any or bool(self._entries)
        self._mark(root)
        alone = root.choice.only
        if alone is not None and (self._here or self.is_sealed(alone)):
            raise GuardRefused(
                f"{shown(alone)} is sealed, and a sealed file belongs to its tree: run"
                " over the directory that its .secure file is in. Nothing was changed."
            )
        self._forget_digests(root)
        sealedguards.require_told(root, self.is_sealed)
        if self.active:
            self._name(root, rules)
        sealed = sum(1 for path in self._here if split(path)[1] != RULES)
        anew = self.active or bool(root.sealed_before)
        fresh = not self._entries
        naming, known = self.naming, self._manifest
        names_key, renames = b"", False
        if naming is not None and known is not None:
            names_key = naming.names_key
            renames = known.renaming or (names_key != known.names_key and known.counter > 0)
        return messages.Viewed(self.active, rules.any, sealed, fresh, anew, names_key, renames)

    def _remembers(self, _root: Root) -> bool:
        """Whether something else says that something is sealed."""
        return False

    def _name(self, root: Root, rules: SealedRules) -> None:
        from syncron_lib.fs.sealednames import named

        assert self._ring is not None and self._manifest is not None
        how = rules, self._manifest, self._here, self._options
        self._names = named(root, self._ring, *how)

    @property
    def naming(self) -> Optional[Naming]:
        """As `View`."""
        return None if self._names is None else self._names.naming

    def tops(self) -> list[bytes]:
        """As `View`."""
        return [] if self._names is None else self._names.tops

    def _open(self, _root: Root, content: bytes) -> None:
        """Load the key and open the manifest, which must be no older than what was seen."""
        from syncron_lib.secure.manifest import Manifest

        assert self._key is not None
        if self._ring is None:
            self._ring = self._key.load()
        self._manifest = Manifest.opened(content, self._ring, self._where)
        self._require_no_older(self._ring, self._manifest, content)
        if self._options.rekey:
            self._rekey(content)

    def _require_no_older(self, ring: Keyring, manifest: Manifest, content: bytes) -> None:
        from syncron_lib.secure.manifest import hash_of

        self._seen_file = SeenFile(self._environment, ring.root_id, self._where)
        seen = self._seen_file.read()
        now = Seen(manifest.counter, hash_of(content)) if content else Seen()
        forked = now.counter == seen.counter and now.hash != seen.hash
        if (now.counter < seen.counter or forked) and not self._options.accept_rollback:
            what = "is gone" if not content else "was forked" if forked else "is an older one"
            raise RolledBack(
                f"The manifest of {self._where} {what}: it has the number {now.counter}, and"
                f" {seen.counter} was seen before, so older versions of sealed files may be shown"
                " as the newest. If a backup was restored there, say --accept-rollback. Nothing was"
                " changed."
            )
        self._newest = now
        if self._options.accept_rollback:
            # What is written now must be newer than all that was seen.
            self._manifest = manifest._replace(counter=max(manifest.counter, seen.counter))

    def _rekey(self, content: bytes) -> None:
        """Seal with a new key from now on; unless that was begun, and is to be ended."""
        from syncron_lib.secure.manifest import key_id_of

        assert self._ring is not None and self._key is not None
        if not content:
            raise GuardRefused(
                f"Nothing is sealed at {self._where}, so there is nothing to seal anew. Nothing was"
                " changed."
            )
        self._old_keys = self._ring.by_id(key_id_of(content))
        if self._old_keys == self._ring.current:
            rotated = self._ring.rotated(os.urandom(len(self._ring.current.master)))
            # It is on the disk before anything needs it.
            self._key.store(rotated)
            self._ring = rotated

    @property
    def _entries(self) -> Mapping[bytes, Entry]:
        return {} if self._manifest is None else self._manifest.entries

    def _mark(self, root: Root) -> None:
        """Tell every directory which of its files are sealed."""
        for node, sealed in self._find(root):
            node.sealed = sealed or None
            if sealed:
                columns = node.columns()
                node.own_size += sum(
                    sealed_size(size) - size
                    for name, size in zip(columns.names, columns.sizes)
                    if name in sealed
                )
                self._here.update(join(node.path, name) for name in sealed)
        if self._here:
            root.tree.total()

    def _find(self, root: Root) -> Iterator[tuple[Node, frozenset[bytes]]]:
        """All directories, with the names of files in them that are sealed."""
        assert self._rules is not None
        by_directory: dict[bytes, set[bytes]] = {}
        for path in self._entries:
            parent, name = split(path)
            by_directory.setdefault(parent, set()).add(name)
        for node in root.tree.nodes.values():
            listed = by_directory.get(node.path, set())
            yield (
                node,
                frozenset(
                    name
                    for name, mode in files_in(node, self._rules, listed)
                    if mode & TYPE_MASK == stat.S_IFREG and self.is_sealed(join(node.path, name))
                ),
            )

    def is_sealed(self, path: bytes) -> bool:
        """As `View`."""
        if not self.active or self._rules is None:
            return False
        if self._rules.matches(path):
            return True
        if self._options.declassify:
            return False
        parent, name = split(path)
        return path in self._entries or join(parent, unmarked(name)) in self._entries

    def was_sealed(self, path: bytes) -> bool:
        """As `View`."""
        entry = self._entries.get(path)
        return entry is not None and not entry.deleted

    def sealed_in(self, directory: bytes) -> Optional[Callable[[bytes], bool]]:
        """As `View`."""
        return (lambda name: self.is_sealed(join(directory, name))) if self.active else None

    def files(self) -> list[messages.SealedFile]:
        """As `View`."""
        paths = self._here.union(path for path in self._entries if self.is_sealed(path))
        return [
            messages.SealedFile(
                path,
                path in self._here,
                not (path in self._entries and self._entries[path].deleted),
            )
            for path in sorted(paths)
        ]

    # --- digests that are remembered --------------------------------------------------------

    def _tag(self) -> bytes:
        """What digests of ciphertext stand for beside the path: key and place."""
        assert self._ring is not None
        of = self._ring.root_id + self._ring.current.id + self._where.encode("utf-8", "replace")
        return hashlib.sha256(of).digest()

    def _forget_digests(self, root: Root) -> None:
        """Forget the digests of files that are sealed and were not, or the other way round, or to
        something else: by another key, at another place, in another generation."""
        before: dict[bytes, Sealed] = {}
        kept = b"" if root.state is None else root.state.get("sealed_for")
        paths = [path for path in root.sealed_before.split(b"\0") if path]
        if kept.startswith(self._tag()) and len(kept) == 32 + OBJECT.size * len(paths):
            values = OBJECT.iter_unpack(kept[32:])
            before = {path: Sealed(*value) for path, value in zip(paths, values)}
        forgotten = []
        for path in {*paths, *self._here}:
            entry = self._entries.get(path)
            now = entry and Sealed(entry.salt, entry.generation)
            same = path in self._here and now is not None and before.get(path) == now
            if same and not root.renamed and not (entry and entry.deleted):
                assert now is not None
                self._known[path] = now
            else:
                forgotten.append(path)
        view.forget(root, forgotten)
        if root.renamed and (paths or self._here):
            # Rows went with their directories, and with them digests of other places.
            seal.forget_digests(root.tree)

    def remembered(self) -> Mapping[str, bytes]:
        """As `View`."""
        if not self.active:
            return {"sealed": b"", "sealed_for": b""}
        paths = sorted(self._here | self._known.keys())
        nothing = Sealed(bytes(32), 0)
        objects = [OBJECT.pack(*self._known.get(path, nothing)) for path in paths]
        return {"sealed": b"\0".join(paths), "sealed_for": self._tag() + b"".join(objects)}

    # --- sealing ----------------------------------------------------------------------------

    def _hash(self, path: bytes, fd: int, scanned: StatRow) -> bytes:
        from syncron_lib.fs.sealedreader import hashed

        known = self._hashes.get(path)
        if known is not None and known[0] == scanned:
            return known[1]
        pd, size = hashed(fd)
        if size != scanned[2] or not is_same_file(scanned, os.fstat(fd)):
            raise Changed("changed while it was read")
        self._hashes[path] = scanned, pd
        return pd

    def _sealer(self, path: bytes, pd: bytes, scanned: StatRow, sends: bool) -> Sealer:
        from syncron_lib.secure.sealed import Meta, Sealer, salt_of

        assert self._ring is not None
        entry = self._entries.get(path)
        generation = 1
        if entry is not None:
            salt = salt_of(self._ring, self._ring.current, path, pd, scanned[2])
            # The other side can have what is here; or will, as the next generation.
            same = salt == entry.salt and not entry.deleted and not sends
            generation = entry.generation + (not same)
        meta = Meta(scanned[2], scanned[1] & 0o7777, scanned[3], generation)
        sealer = Sealer(self._ring, path, pd, meta)
        self._known[path] = Sealed(sealer.salt, generation)
        return sealer

    def reader(self, path: bytes, fd: int, scanned: StatRow, sends: bool) -> Reader:
        """As `View`."""
        from syncron_lib.fs.sealedreader import SealedReader

        pd = self._hash(path, fd, scanned)
        return SealedReader(fd, self._sealer(path, pd, scanned, sends), pd)

    def seal(self, path: bytes, data: bytes, scanned: StatRow, sends: bool) -> bytes:
        """As `View`."""
        return self._sealer(path, hashlib.sha256(data).digest(), scanned, sends).whole(data)

    def is_touched(self, path: bytes, fd: int, scanned: StatRow) -> bool:
        """As `View`."""
        from syncron_lib.secure.sealed import salt_of

        entry = self._entries.get(path)
        if self._ring is None or entry is None or entry.deleted:
            return False
        pd = self._hash(path, fd, scanned)
        return salt_of(self._ring, self._ring.current, path, pd, scanned[2]) == entry.salt

    # --- opening ----------------------------------------------------------------------------

    def _at(self, path: bytes) -> str:
        return f"{shown(path)} at {self._where}"

    def _may_be_clear(self, beginning: bytes) -> bool:
        return self._options.declassify and not beginning.startswith(MAGIC)

    def open(self, path: bytes, data: memoryview) -> Optional[tuple[bytes, Opened]]:
        """As `View`."""
        from syncron_lib.secure import sealed

        if self._may_be_clear(bytes(data[: len(MAGIC)])):
            return None
        assert self._ring is not None
        opener, plain = sealed.unseal(self._ring, path, data, self._at(path))
        self._require_newest(path, opener.salt, opener.meta.generation)
        return plain, Opened(*opener.meta[:3])

    def open_file(self, path: bytes, fd: int, target: int) -> Optional[Opened]:
        """As `View`."""
        if self._may_be_clear(os.pread(fd, len(MAGIC), 0)):
            return None
        opener = self._open_into(path, self._at(path), fd, target)
        self._require_newest(path, opener.salt, opener.meta.generation)
        return Opened(*opener.meta[:3])

    def _open_into(self, place: bytes, where: str, fd: int, target: int) -> Opener:
        """Open a file that is sealed for ``place`` into another."""
        from syncron_lib.secure import sealed

        os.lseek(fd, 0, os.SEEK_SET)
        assert self._ring is not None

        def read(size: int) -> bytes:
            data = os.read(fd, size)
            while 0 < len(data) < size and (more := os.read(fd, size - len(data))):
                data += more
            return data

        opener: Optional[Opener] = None
        for part in sealed.unseal_stream(self._ring, place, read, where):
            if isinstance(part, sealed.Opener):
                opener = part
                continue
            left = memoryview(part)
            while left:
                left = left[os.write(target, left) :]
        assert opener is not None
        return opener

    def _require_newest(self, path: bytes, salt: bytes, generation: int) -> None:
        """See that a file is no older version than the manifest knows."""
        entry = self._entries.get(path)
        if entry is not None and not self._options.accept_rollback:
            old = generation < entry.generation or (
                entry.deleted and generation <= entry.generation
            )
            if old or (generation == entry.generation and salt != entry.salt):
                raise RolledBack(
                    f"{self._at(path)} is an older version than the manifest there knows"
                    f" (generation {generation}, and there was {entry.generation}). If a backup was"
                    " restored there, say --accept-rollback. Nothing of it was taken."
                )
        self._known[path] = Sealed(salt, generation)

    # --- the manifest -----------------------------------------------------------------------

    def make(
        self, announce: bool, unsettled: Sequence[bytes], removed: Sequence[bytes], settled: bool
    ) -> bytes:
        """As `View`."""
        from syncron_lib.secure.manifest import NO_SALT, Entry, hash_of

        if not self.active or self._manifest is None or self._ring is None:
            return b""
        entries = dict(self._manifest.entries)
        keys = self._ring.current
        if announce:
            for path in self._here - entries.keys():
                entries[path] = Entry(NO_SALT, 0, False)
            # Until all is sealed with a new key, the manifest says that it is not.
            keys = self._old_keys or keys
        else:
            failed, gone = Below(unsettled), Below(removed)
            for path, (salt, generation) in self._known.items():
                if path in self._here and path not in failed:
                    earlier = entries.get(path)
                    if earlier is None:
                        entries[path] = Entry(salt, generation, False)
                    elif earlier[:3] != (salt, generation, False):
                        # What it replaces there nobody has seen here: it did not come after that.
                        entries[path] = Entry(salt, generation, False, before=earlier.before)
            for path, entry in self._manifest.entries.items():
                if path in self._here:
                    continue
                if path in gone and path not in failed and not entry.deleted:
                    entries[path] = entry._replace(generation=entry.generation + 1, deleted=True)
            if self._options.declassify:
                entries = {path: entry for path, entry in entries.items() if self.is_sealed(path)}
        before = self._manifest
        made = before._replace(entries=entries)
        if self._names is not None:
            made = self._names.noted(made, announce, settled)
        if made == before and (self._old_keys in (None, keys) or announce):
            return b""
        counter = max(before.counter, self._newest.counter) + 1
        made = made._replace(counter=counter)
        content = made.sealed(self._ring, keys)
        self._manifest, self._newest = made, Seen(counter, hash_of(content))
        if not announce:
            self._old_keys = None
        return content

    def keep(self) -> None:
        """As `View`."""
        file, newest = self._seen_file, self._newest
        if file is not None and newest.counter and file.read() != newest:
            file.write(newest)


class Below:
    """Paths, with all below each."""

    def __init__(self, tops: Iterable[bytes]) -> None:
        self._tops = frozenset(tops)

    def __contains__(self, path: object) -> bool:
        assert isinstance(path, bytes)
        while path:
            if path in self._tops:
                return True
            path = split(path)[0]
        return b"" in self._tops
