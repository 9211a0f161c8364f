"""What a replica knows of its tree's past: one vector for all names, and exceptions.

INVARIANT: what is said to be known of a path is in the past of what the replica has there, be it an
entry or its absence. A deletion is absence and knowledge of what was there.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable

from syncron_lib.core.names import is_below, is_valid_path, split
from syncron_lib.core.table import Malformed, Reader, pack_blob
from syncron_lib.core.twoway.dots import Vector, joined, pack_vector, unpack_vector
from syncron_lib.record import NamedTuple

_COUNT = struct.Struct("<I")


class Knowledge(NamedTuple):
    """``trees``: by directory, what is known of every name below it, there or not; one for the
    root always. ``selves``: by path, what is known of it instead."""

    trees: dict[bytes, Vector]
    selves: dict[bytes, Vector]

    def of(self, path: bytes) -> Vector:
        """What is known of the entry at ``path``, or of its absence."""
        if path in self.selves:
            return self.selves[path]
        return self.below(split(path)[0] if path else b"")

    def below(self, directory: bytes) -> Vector:
        """What is known of names below ``directory`` that are no exceptions."""
        trees = self.trees
        if len(trees) == 1:  # almost always: that of the root
            directory = b""
        while directory and directory not in trees:
            directory = split(directory)[0]
        return trees.get(directory, {})

    def ticked(self, replica: bytes, tick: int) -> Knowledge:
        """The same with one more event of one's own, which is known of everything."""

        def more(vectors: dict[bytes, Vector]) -> dict[bytes, Vector]:
            done: dict[int, Vector] = {}
            return {
                path: done.setdefault(id(vector), {**vector, replica: tick})
                for path, vector in vectors.items()
            }

        return Knowledge(more({b"": {}, **self.trees}), more(self.selves))

    def latest(self) -> Vector:
        """The last tick of each replica that is known of anything."""
        most: Vector = {}
        for vectors in (self.trees, self.selves):
            for vector in {id(each): each for each in vectors.values()}.values():
                most = joined(most, vector)
        return most


class Untouched(NamedTuple):
    """What a run leaves with the knowledge that each side had: single paths, and whole trees."""

    paths: frozenset[bytes] = frozenset()
    trees: frozenset[bytes] = frozenset()

    def with_paths(self, paths: Iterable[bytes]) -> Untouched:
        """The same with more single paths."""
        return self._replace(paths=self.paths.union(paths))

    def covers(self, path: bytes) -> bool:
        """Whether ``path`` is one of them."""
        return path in self.paths or self.in_tree(path)

    def in_tree(self, path: bytes) -> bool:
        """Whether ``path`` is in one of the trees."""
        if not self.trees:
            return False
        if b"" in self.trees:
            return True
        while path:
            if path in self.trees:
                return True
            path = split(path)[0]
        return False


def fresh() -> Knowledge:
    """Of a replica that knows nothing yet."""
    return Knowledge({b"": {}}, {})


def learned(mine: Knowledge, theirs: Knowledge, untouched: Untouched) -> Knowledge:
    """What a side knows after a run over the whole tree in which it has taken over everything of
    the other side but for what is ``untouched``."""
    trees: dict[bytes, Vector] = {}
    selves: dict[bytes, Vector] = {}
    for path in {*mine.trees, *theirs.trees, b""}:
        if not untouched.in_tree(path):
            trees[path] = joined(mine.below(path), theirs.below(path))
        elif path in mine.trees:
            trees[path] = mine.trees[path]
    for path in {*mine.selves, *theirs.selves}:
        if not untouched.covers(path):
            selves[path] = joined(mine.of(path), theirs.of(path))
        elif path in mine.selves:
            selves[path] = mine.selves[path]
    for path in untouched.paths:
        selves[path] = mine.of(path)
    for path in untouched.trees:
        if path:
            selves[path] = mine.of(path)
        trees[path] = mine.below(path)
    return simplified(Knowledge(trees, selves))


def learned_of(mine: Knowledge, theirs: Knowledge, paths: Collection[bytes]) -> Knowledge:
    """What a side knows after it has taken over these paths and no others."""
    selves = dict(mine.selves)
    selves.update((path, joined(mine.of(path), theirs.of(path))) for path in paths if path)
    return simplified(Knowledge(dict(mine.trees), selves))


def simplified(knowledge: Knowledge) -> Knowledge:
    """The same without exceptions that say what holds anyway."""
    trees: dict[bytes, Vector] = {b"": knowledge.trees.get(b"", {})}
    found = Knowledge(trees, {})
    for path in sorted(knowledge.trees, key=len):
        if path and knowledge.trees[path] != found.below(split(path)[0]):
            trees[path] = knowledge.trees[path]
    for path, vector in knowledge.selves.items():
        if vector != found.of(path):
            found.selves[path] = vector
    return found


def pack_knowledge(knowledge: Knowledge) -> bytes:
    """The same bytes for the same knowledge."""
    numbers: dict[bytes, int] = {}
    entries = []
    for is_tree, vectors in ((1, knowledge.trees), (0, knowledge.selves)):
        for path in sorted(vectors):
            number = numbers.setdefault(pack_vector(vectors[path]), len(numbers))
            entries.append(pack_blob(path) + struct.pack("<BI", is_tree, number))
    return b"".join((_COUNT.pack(len(numbers)), *numbers, _COUNT.pack(len(entries)), *entries))


def read_knowledge(reader: Reader) -> Knowledge:
    """The inverse. Raises `Malformed`."""
    (count,) = _COUNT.unpack(reader.take(4))
    if count * 4 > reader.end - reader.position:
        raise Malformed("more vectors than there is room for")
    vectors = [unpack_vector(reader) for _ in range(count)]
    (entries,) = _COUNT.unpack(reader.take(4))
    if entries * 9 > reader.end - reader.position:
        raise Malformed("more exceptions than there is room for")
    knowledge = Knowledge({}, {})
    for _ in range(entries):
        path = reader.blob()
        is_tree, number = struct.unpack("<BI", reader.take(5))
        if not is_valid_path(path) or is_tree > 1 or number >= count:
            raise Malformed("knowledge of what cannot be there")
        (knowledge.trees if is_tree else knowledge.selves)[path] = vectors[number]
    if b"" not in knowledge.trees:
        raise Malformed("knowledge of no tree")
    return knowledge


def pack_untouched(untouched: Untouched) -> bytes:
    """Paths, then trees."""
    return b"".join(
        _COUNT.pack(len(paths)) + b"".join(map(pack_blob, sorted(paths))) for paths in untouched
    )


def read_untouched(reader: Reader) -> Untouched:
    """The inverse. Raises `Malformed`."""
    found = []
    for _ in range(2):
        (count,) = _COUNT.unpack(reader.take(4))
        if count * 4 > reader.end - reader.position:
            raise Malformed("more paths than there is room for")
        paths = frozenset(reader.blob() for _ in range(count))
        if not all(map(is_valid_path, paths)):
            raise Malformed("a path that leads out of the tree")
        found.append(paths)
    return Untouched(*found)


def topmost(paths: Iterable[bytes]) -> frozenset[bytes]:
    """Those that lie below no other."""
    found: list[bytes] = []
    for path in sorted(paths, key=lambda path: path.replace(b"/", b"\0")):
        if not found or not is_below(path, found[-1]):
            found.append(path)
    return frozenset(found)
