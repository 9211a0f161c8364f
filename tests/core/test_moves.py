"""Moves: what is found, and that carrying it out makes the new tree of the old one."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.moves import Entry, Forest, Matches, divide, unknown_candidates
from syncron_lib.core.names import join

Content = bytes
Below = dict[bytes, "Content | Below"]

NAMES = st.sampled_from([b"a", b"b", b"c"])
CONTENTS = st.sampled_from([b"", b"x", b"y", b"zz"])
TREES = st.recursive(
    CONTENTS, lambda below: st.dictionaries(NAMES, below, max_size=3), max_leaves=12
)
TOPS = st.dictionaries(NAMES, TREES, max_size=3)


def entry(path: bytes, node: Content | Below, *, known: bool = True, mtime: int = 0) -> Entry:
    if isinstance(node, bytes):
        value = hashlib.sha256(node).digest()[:16] if known else digest.UNKNOWN
        return Entry(path, Attributes(stat.S_IFREG, mtime, 0, 0), 1, len(node), value)
    below = [entry(join(path, name), each) for name, each in sorted(node.items())]
    text = b"".join(each.path[len(path) :] + each.digest for each in below)
    return Entry(
        path,
        Attributes(stat.S_IFDIR, mtime, 0, 0),
        1 + sum(each.entries for each in below),
        sum(each.size for each in below),
        hashlib.sha256(b"directory" + text).digest()[:16],
    )


def forest(tops: Below, under: bytes) -> Forest:
    made = Forest(entry(join(under, name), node) for name, node in sorted(tops.items()))
    for path, node in walked(tops, under):
        if isinstance(node, dict):
            made.below[path] = [entry(join(path, n), each) for n, each in sorted(node.items())]
    return made


def walked(tops: Below, under: bytes) -> Iterator[tuple[bytes, Content | Below]]:
    for name, node in tops.items():
        yield join(under, name), node
        if isinstance(node, dict):
            yield from walked(node, join(under, name))


def flat(tops: Below, under: bytes) -> dict[bytes, Content | None]:
    return {path: node if isinstance(node, bytes) else None for path, node in walked(tops, under)}


def below(paths: dict[bytes, Content | None], top: bytes) -> list[bytes]:
    return [path for path in paths if path == top or path.startswith(top + b"/")]


@given(TOPS, TOPS)
def test_a_division_carried_out_makes_the_new_tree(old: Below, new: Below) -> None:
    created, removed = forest(new, b"new"), forest(old, b"old")
    disk, wanted = flat(old, b"old"), flat(new, b"new")
    entries = len(disk)
    division = divide(created, removed, Matches(created, removed).old_of)
    for make in division.makes:
        assert make.path not in disk
        disk[make.path] = None
    for now, before in division.moves:
        assert now.path not in disk
        assert not now.is_directory or now.entries > 1
        for path in below(disk, before.path):
            disk[now.path + path[len(before.path) :]] = disk.pop(path)
    moved = sum(before.entries for _, before in division.moves)
    assert sum(remove.entries for remove in division.removes) == entries - moved
    for create in division.creates:
        assert create.path not in disk
        for path in below(wanted, create.path):
            disk[path] = wanted[path]
    for remove in division.removes:
        left = below(disk, remove.path)
        assert len(left) == remove.entries
        for path in left:
            del disk[path]
    assert disk == wanted


@given(TOPS)
def test_a_renamed_tree_is_one_move_a_top(tree: Below) -> None:
    created, removed = forest(tree, b"new"), forest(tree, b"old")
    division = divide(created, removed, Matches(created, removed).old_of)
    assert not division.makes
    for now, before in division.moves:
        assert now.path == b"new" + before.path[3:]
    assert all(not create.is_movable for create in division.creates)


@given(TOPS, TOPS)
def test_no_content_that_was_there_is_created(old: Below, new: Below) -> None:
    created, removed = forest(new, b"new"), forest(old, b"old")
    matches = Matches(created, removed)
    left = {e.digest for e in removed if not e.is_directory and matches.is_free(e.path)}
    assert not any(entry.digest in left for entry in matches.files)


def test_of_equal_ones_each_keeps_its_name() -> None:
    created = forest({b"a": b"x", b"c": b"x"}, b"new")
    removed = forest({b"a": b"x", b"b": b"x"}, b"old")
    old_of = Matches(created, removed).old_of
    assert {new: old.path for new, old in old_of.items()} == {
        b"new/a": b"old/a",
        b"new/c": b"old/b",
    }


def test_what_was_not_listed_is_the_frontier() -> None:
    created = Forest([entry(b"new", {b"a": b"x", b"b": b"y"})])
    matches = Matches(created, forest({b"a": b"x"}, b"old"))
    assert [each.path for each in matches.frontier] == [b"new"]


def test_a_fixed_directory_stays() -> None:
    tree = entry(b"new", {b"a": b"x"})
    old = Forest([tree._replace(path=b"old", fixed=True)])
    assert not Matches(Forest([tree]), old).old_of


def test_only_likely_files_are_hashed() -> None:
    def files(*paths: bytes, mtime: int = 0) -> list[Entry]:
        return [entry(path, b"x", known=False, mtime=mtime) for path in paths]

    mine, theirs = unknown_candidates(files(b"a", mtime=1), files(b"b", mtime=2))
    assert (mine, theirs) == ([], [])
    mine, theirs = unknown_candidates(files(b"a", mtime=1), files(b"b", mtime=1))
    assert [each.path for each in (*mine, *theirs)] == [b"a", b"b"]
    mine, theirs = unknown_candidates(files(b"d/a", mtime=1), [entry(b"e/a", b"y", mtime=2)])
    assert [each.path for each in (*mine, *theirs)] == [b"d/a"]
