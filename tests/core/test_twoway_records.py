"""Records, knowledge, names of conflict copies: what is packed comes back, and noise does not."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.names import NAME_MAX
from syncron_lib.core.table import Malformed, Reader
from syncron_lib.core.twoway.dots import Dots, joined, merged
from syncron_lib.core.twoway.knowledge import (
    Knowledge,
    Untouched,
    learned,
    pack_knowledge,
    pack_untouched,
    read_knowledge,
    read_untouched,
    simplified,
)
from syncron_lib.core.twoway.naming import conflict_names
from syncron_lib.core.twoway.records import Record, pack_records, seen, unpack_records

replicas = st.sampled_from([bytes([letter]) * 16 for letter in b"ABC"])
dots = st.frozensets(st.tuples(replicas, st.integers(1, 9)), min_size=1, max_size=3)
vectors = st.dictionaries(replicas, st.integers(1, 9))
names = st.sampled_from([b"a", b"b", b"b.c", b"\xff", b"new\nline"])
paths = st.sampled_from([b"a", b"a/b", b"a/b/c", b"b", b"c"])
digests = st.binary(min_size=16, max_size=16).filter(any)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from([stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO]))
    target = draw(st.sampled_from([b"x", b"../y"])) if kind == stat.S_IFLNK else None
    entry = seen(kind | 0o640, draw(st.integers(0, 1 << 40)), 7, draw(digests), target)
    made, born, kept = draw(dots), draw(dots), draw(dots)
    prev = draw(st.one_of(st.just(bytes(16)), digests))
    base, alone = draw(st.booleans()), draw(st.integers(0, 4))
    return entry._replace(made=made, born=born, kept=kept, prev=prev, base=base, alone=alone)


@given(st.dictionaries(names, records()), digests)
def test_records_come_back_as_they_were(rows: dict[bytes, Record], value: bytes) -> None:
    below = {name: value for name, row in rows.items() if row.is_directory}
    assert unpack_records(pack_records(rows, below)) == (rows, below)


@given(st.dictionaries(names, records(), min_size=1), st.data())
def test_damaged_records_are_refused_or_are_records(
    rows: dict[bytes, Record], data: st.DataObject
) -> None:
    packed = bytearray(pack_records(rows, {}))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(packed), bytes(packed[:place])):
        try:
            unpack_records(damaged)
        except Malformed:
            pass


knowledge = st.builds(
    lambda root, trees, selves: Knowledge({**trees, b"": root}, selves),
    vectors,
    st.dictionaries(paths, vectors),
    st.dictionaries(paths, vectors),
)


@given(knowledge)
def test_knowledge_comes_back_as_it_was(known: Knowledge) -> None:
    reader = Reader(pack_knowledge(known))
    assert read_knowledge(reader) == known
    reader.finish()


@given(knowledge, st.binary(max_size=40))
def test_damaged_knowledge_is_refused_or_is_knowledge(known: Knowledge, noise: bytes) -> None:
    packed = pack_knowledge(known)
    for damaged in (noise, packed[:-1], noise + packed[len(noise) :]):
        try:
            read_knowledge(Reader(damaged))
        except Malformed:
            pass


@given(st.frozensets(paths), st.frozensets(paths))
def test_what_is_untouched_comes_back_as_it_was(
    some: frozenset[bytes], trees: frozenset[bytes]
) -> None:
    untouched = Untouched(some, trees)
    assert read_untouched(Reader(pack_untouched(untouched))) == untouched


@given(knowledge, paths)
def test_exceptions_that_say_nothing_new_can_go(known: Knowledge, path: bytes) -> None:
    assert simplified(known).of(path) == known.of(path)
    assert simplified(known).below(path) == known.below(path)


@given(knowledge, knowledge, st.frozensets(paths), st.frozensets(paths), paths)
def test_what_is_learned_is_the_join_but_for_what_is_left_alone(
    mine: Knowledge, theirs: Knowledge, some: frozenset[bytes], trees: frozenset[bytes], path: bytes
) -> None:
    untouched = Untouched(some, trees)
    after = learned(mine, theirs, untouched).of(path)
    alone = untouched.covers(path)
    assert after == (mine.of(path) if alone else joined(mine.of(path), theirs.of(path)))


@given(dots, vectors, dots, vectors)
def test_merging_is_the_same_from_both_sides_and_never_empty(
    one: Dots, known: dict[bytes, int], other: Dots, known_there: dict[bytes, int]
) -> None:
    both = merged(one, known, other, known_there)
    assert both == merged(other, known_there, one, known)
    assert both
    assert both <= one | other


VALUE = bytes(range(16))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"notes.txt", b"notes.syncron-conflict-0001020304.txt"),
        (b"notes", b"notes.syncron-conflict-0001020304"),
        (b".hidden", b".hidden.syncron-conflict-0001020304"),
        (b"a.tar.gz", b"a.tar.syncron-conflict-0001020304.gz"),
        (b"notes.syncron-conflict-ffffffffff.txt", b"notes.syncron-conflict-0001020304.txt"),
        (b"x" * 255, b"x" * 227 + b".syncron-conflict-0001020304"),
        (b"x" * 250 + b".long", b"x" * 222 + b".syncron-conflict-0001020304.long"),
        ("ü".encode() * 127, "ü".encode() * 113 + b".syncron-conflict-0001020304"),
    ],
)
def test_the_name_of_a_conflict_copy(name: bytes, expected: bytes) -> None:
    found = list(conflict_names(name, VALUE))
    assert found[0] == expected
    assert len(set(found)) == len(found) > 1
    assert max(map(len, found)) <= NAME_MAX
