"""A tree whose names are sealed on the other side, as the other side has them and as they are.

Below a directory whose name is sealed all names are. What stands there in another form than the
one in force, as a run that was to change that leaves it, is *stale*: it counts for nothing.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Sequence
from typing import Protocol

from syncron_lib.core.names import is_valid_name, join, split
from syncron_lib.core.sealing import RULES
from syncron_lib.core.table import Table, link_targets, renamed
from syncron_lib.protocol import wire
from syncron_lib.protocol.codec import has_paths, with_paths
from syncron_lib.protocol.messages import Directory, Listing, Message
from syncron_lib.protocol.pack import Delta, Group, Groups, Pack, Piece
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.manifest import Manifest
from syncron_lib.secure.names import LONGEST, NameSealer

_LOOKS_SEALED = re.compile(rb"~?[0-9a-v]{28,}")
_WITH_PATHS = {kind: has_paths(rule.fields) for kind, rule in wire.BY_KIND.items()}


class Tops(Protocol):
    """Which names are sealed though the directory that they stand in has none that is."""

    def is_top(self, path: bytes) -> bool:
        """Whether the last name of ``path`` is one."""

    def is_quiet(self, directory: bytes) -> bool:
        """Whether there is none in a directory."""


class TopSet:
    """Those of a list."""

    def __init__(self, paths: Iterable[bytes]) -> None:
        self._paths = frozenset(paths)
        self._parents = frozenset(split(path)[0] for path in self._paths)

    def is_top(self, path: bytes) -> bool:
        """As `Tops`."""
        return path in self._paths

    def is_quiet(self, directory: bytes) -> bool:
        """As `Tops`."""
        return directory not in self._parents


def tops_of(manifest: Manifest) -> TopSet:
    """Those that a manifest knows."""
    files = (path for path in manifest.entries if split(path)[1] != RULES)
    return TopSet((*files, *manifest.names))


class Naming:
    """Paths of one tree in both forms. ``names_key``: id of the key that seals names now, `CLEAR`
    where they are to be in clear. ``known``: paths that the manifest has."""

    def __init__(
        self, keyring: Keyring, names_key: bytes, known: Iterable[bytes], tops: Tops
    ) -> None:
        self._keyring = keyring
        self.names_key = names_key
        self._known = tuple(known)
        self._tops = tops
        self._sealers = {keys.id: NameSealer(keyring, keys) for keys in keyring.keys}
        self._sealer = self._sealers.get(names_key)
        self._hidden: dict[bytes, bool] = {b"": False}
        """Of directories."""
        self._remote: dict[bytes, bytes] = {b"": b""}
        self._plain: dict[bytes, bytes | None] = {b"": b""}
        self._opened: set[bytes] = set()
        """What has a sealed name, for that was seen."""
        self._hashes: dict[bytes, tuple[bytes, bytes]] | None = None
        self.stale: dict[bytes, bool] = {}
        """Paths there of what is stale, as far as it was listed; whether it is a directory."""

    # --- single paths ---------------------------------------------------------------------------

    def is_hidden(self, path: bytes) -> bool:
        """Whether the last name of ``path`` is sealed there."""
        parent = split(path)[0]
        return bool(path) and (
            self.is_hidden_directory(parent) or path in self._opened or self._tops.is_top(path)
        )

    def is_hidden_directory(self, path: bytes) -> bool:
        """The same, quick for directories in which much is asked about."""
        known = self._hidden.get(path)
        if known is None:
            known = False
            for above in _from_top(path):
                known = self._hidden.setdefault(
                    above, known or above in self._opened or self._tops.is_top(above)
                )
        return known

    def remote(self, path: bytes) -> bytes:
        """The path there of what is ``path`` here."""
        if self._sealer is None:
            return path
        parent, name = split(path)
        if not name:
            return path
        there = self._remote.get(parent)
        if there is None:
            there = b""
            for above in _from_top(parent):
                known = self._remote.get(above)
                there = known or join(there, self._sealed(above, there))
                self._remote[above] = there
        return join(there, self._sealed(path, there))

    def _sealed(self, path: bytes, parent: bytes) -> bytes:
        name = split(path)[1]
        assert self._sealer is not None
        return self._sealer.seal(parent, name) if self.is_hidden(path) else name

    def plain(self, there: bytes) -> bytes | None:
        """The path here of what is ``there``; None for what is stale."""
        known = self._plain.get(there, b"-")
        if known != b"-":
            return known
        above, here = b"", b""
        for path in _from_top(there):
            if path in self._plain:
                found = self._plain[path]
            else:
                found = self._name(above, here, split(path)[1])
                found = self._plain[path] = None if found is None else join(here, found)
            if found is None:
                return None
            above, here = path, found
        return here

    def shown(self, there: bytes) -> bytes:
        """The same for what is told about it."""
        found = self.plain(there)
        return there if found is None else found

    def _name(self, above: bytes, parent: bytes, name: bytes) -> bytes | None:
        """The name that ``name`` in the directory ``above``, which is ``parent`` here, stands for;
        None for what is stale."""
        if _LOOKS_SEALED.fullmatch(name):
            found = self._open(above, name)
            if found is not None:
                names_key, opened = found
                if names_key != self.names_key:
                    return None
                self._learn(join(parent, opened))
                return opened
        if self._sealer is not None and self.is_hidden(join(parent, name)):
            return None
        return name

    def _learn(self, path: bytes) -> None:
        if not self.is_hidden(path):
            self._opened.add(path)
            # What was known below it was known of a clear name.
            self._hidden, self._remote = {b"": False}, {b"": b""}

    def _open(self, above: bytes, name: bytes) -> tuple[bytes, bytes] | None:
        """The key that sealed a name, and what it is."""
        if name.startswith(b"~"):
            return self._hashed().get(join(above, name))
        for names_key, sealer in self._sealers.items():
            opened = sealer.open(above, name)
            if opened is not None and is_valid_name(opened):
                return names_key, opened
        return None

    def _hashed(self) -> dict[bytes, tuple[bytes, bytes]]:
        """What names that only the manifest can turn back stand for, by path there."""
        if self._hashes is None:
            self._hashes = {}
            long = {
                above
                for path in self._known
                for above in _from_top(path)
                if len(split(above)[1]) > LONGEST
            }
            if long:
                for names_key in self._sealers:
                    form = self.in_form(names_key)
                    for path in long:
                        self._hashes[form.remote(path)] = names_key, split(path)[1]
        return self._hashes

    @property
    def key_ids(self) -> Iterable[bytes]:
        """Ids of the keys that names could be sealed with."""
        return self._sealers

    def in_form(self, names_key: bytes) -> Naming:
        """The same tree with names sealed by another key, or in clear."""
        return Naming(self._keyring, names_key, self._known, self._tops)

    # --- directories --------------------------------------------------------------------------

    def touches(self, path: bytes, names: Sequence[bytes]) -> bool:
        """Whether some of the names in a directory are sealed there."""
        if self._sealer is None:
            return False
        if self.is_hidden_directory(path):
            return True
        quiet = self._tops.is_quiet(path)
        return not quiet and any(self.is_hidden(join(path, name)) for name in names)

    def _sealed_rows(self, path: bytes, table: Table) -> tuple[Table, Sequence[int]] | None:
        """The table of a directory here as it is there, and which of its rows stand where; None
        where nothing is another."""
        if not self.touches(path, table.names):
            return None
        sealer, there = self._sealer, self.remote(path)
        names = [self._sealed(join(path, name), there) for name in table.names]
        targets = link_targets(table)
        for row, target in targets.items():
            if sealer is not None and self.is_hidden(join(path, table.names[row])):
                targets[row] = sealer.seal_target(join(there, names[row]), target)
        return renamed(table._replace(targets=[*targets.values()]), names)

    def _opened_rows(self, there: bytes, table: Table) -> tuple[Table, Sequence[int]] | None:
        """The other way round, less what is stale."""
        names = self._opened_names(there, table.names)
        if names is table.names:
            return None
        parent, sealer, targets = self.plain(there) or b"", self._sealer, link_targets(table)
        for row, target in targets.items():
            name = names[row]
            if sealer is not None and name is not None and self.is_hidden(join(parent, name)):
                opened = sealer.open_target(join(there, table.names[row]), target)
                targets[row] = target if opened is None else opened
        return renamed(table._replace(targets=[*targets.values()]), names)

    def _opened_names(self, there: bytes, names: Sequence[bytes]) -> Sequence[bytes | None]:
        parent = self.plain(there)
        if parent is None:
            return [None] * len(names)
        quiet = not self.is_hidden_directory(parent) and self._tops.is_quiet(parent)
        if quiet and not any(map(_LOOKS_SEALED.fullmatch, names)):
            return names
        # What opens is to be known before it is said of a clear name that it should be sealed.
        for name in names:
            self._name(there, parent, name)
        return [self._name(there, parent, name) for name in names]

    def sealed_table(self, path: bytes, table: Table) -> Table:
        """The table of a directory here as it is there."""
        found = self._sealed_rows(path, table)
        return table if found is None else found[0]

    def directory(self, path: bytes, directory: Directory) -> Directory:
        """What was listed there as it is here; what is stale is noted and left out."""
        there, table = self.remote(path), directory.table
        found = self._opened_rows(there, table)
        if found is None:
            return directory
        opened, rows = found
        for row in {*range(len(table.names))}.difference(rows):
            self.stale[join(there, table.names[row])] = stat.S_ISDIR(table.modes[row])
        directories = (row for row, mode in enumerate(table.modes) if stat.S_ISDIR(mode))
        below = dict(zip(directories, directory.below))
        return directory._replace(table=opened, below=[below[row] for row in rows if row in below])

    # --- messages and packs -------------------------------------------------------------------

    def request(self, message: Message) -> Message:
        """A request about paths here, as one about paths there."""
        if not _WITH_PATHS[type(message)]:
            return message
        return with_paths(wire.BY_KIND[type(message)].fields, message, self.remote)

    def reply(self, message: Message) -> Message:
        """A reply about paths there, as one about paths here; listings are left to `directory`."""
        if not _WITH_PATHS[type(message)] or isinstance(message, Listing):
            return message
        return with_paths(wire.BY_KIND[type(message)].fields, message, self.shown)

    def outgoing(self, pack: Pack) -> Pack:
        """A pack as it is there."""
        if isinstance(pack, Groups):
            groups, body = [], _Body(pack)
            for group in pack.groups:
                found = self._sealed_rows(group.path, group.table)
                groups.append(body.add(group, self.remote(group.path), found))
            problems = [each._replace(path=self.remote(each.path)) for each in pack.problems]
            return Groups(groups, problems, body.joined())
        if isinstance(pack, (Piece, Delta)):
            return pack._replace(path=self.remote(pack.path))
        return pack

    def incoming(self, pack: Pack) -> Pack | None:
        """A pack from there as it is here; None for nothing that counts."""
        if isinstance(pack, Groups):
            groups, body = [], _Body(pack)
            for group in pack.groups:
                path = self.plain(group.path)
                opened = body.add(group, path or b"", self._opened_rows(group.path, group.table))
                if path is not None:
                    groups.append(opened)
            problems = [each._replace(path=self.shown(each.path)) for each in pack.problems]
            return Groups(groups, problems, body.joined())
        if isinstance(pack, (Piece, Delta)):
            path = self.plain(pack.path)
            return None if path is None else pack._replace(path=path)
        return pack


class _Body:
    """The contents of a pack's files, in the order that other names have."""

    def __init__(self, pack: Groups) -> None:
        self._data = memoryview(pack.body)
        self._parts: list[memoryview] = []

    def add(self, group: Group, path: bytes, other: tuple[Table, Sequence[int]] | None) -> Group:
        """The next group, at another path; with another table, of these of its rows."""
        contents = []
        for mode, size in zip(group.table.modes, group.table.sizes):
            length = size if stat.S_ISREG(mode) and not group.kept else 0
            contents.append(self._data[:length])
            self._data = self._data[length:]
        if other is None:
            self._parts.extend(contents)
            return group._replace(path=path)
        table, rows = other
        self._parts.extend(contents[row] for row in rows)
        return group._replace(path=path, table=table)

    def joined(self) -> bytes:
        """The body of all that was added; what nobody announced is still behind it."""
        return b"".join((*self._parts, self._data))


def _from_top(path: bytes) -> Iterable[bytes]:
    """What ``path`` lies in, from the top, and itself."""
    end = path.find(b"/")
    while end >= 0:
        yield path[:end]
        end = path.find(b"/", end + 1)
    if path:
        yield path
