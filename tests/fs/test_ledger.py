"""After a run the tree in memory is what a fresh scan of the disk finds, digests and all."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.role import Role
from syncron_lib.fs.tree import Tree
from syncron_lib.protocol import messages
from tests import trees
from tests.core.tables import ALL
from tests.endpoint.driving import ask, begin, carry_out, local, start_writing
from tests.fs.roots import XXH3, file_digests, hash_all, remember, scanned, unknown_files
from tests.trees import Directory, File, make, noise


def _in_words(tree: Tree) -> dict[bytes, tuple[object, ...]]:
    """A tree without its digests, to be compared."""
    return {
        path: (
            node.stats,
            list(node.target_list()),
            node.entries,
            node.size,
            node.own_entries,
            node.own_size,
            None if node.parent is None else (node.parent.path, node.row),
            node.attributes,
            node.problem,
        )
        for path, node in tree.nodes.items()
    }


def _agrees_with_the_disk(tree: Tree, path: Path) -> None:
    with scanned(path, trust_state=False) as fresh:
        found, expected = _in_words(tree), _in_words(fresh.tree)
        assert set(found) == set(expected)
        for each, words in expected.items():
            assert found[each] == words, each
        root = hash_all(fresh)
        on_disk = file_digests(fresh.tree)
        for each, value in file_digests(tree).items():
            assert value in (on_disk[each], digest.UNKNOWN), each
        for each, node in tree.nodes.items():
            assert node.merkle in (fresh.tree.nodes[each].merkle, digest.UNKNOWN), each
        if not unknown_files(tree):
            assert tree.root.merkle == fresh.tree.root.merkle
            assert root != digest.UNKNOWN


def _nodes(top: trees.Node) -> Iterator[trees.Node]:
    yield top
    if isinstance(top, Directory):
        for below in top.entries.values():
            yield from _nodes(below)


@st.composite
def _pairs_of_trees(draw: st.DrawFn) -> tuple[Directory, Directory]:
    """Two trees that share much: entries of the one are mixed into the other at any depth."""
    one, other = draw(trees.random_trees()), draw(trees.random_trees())

    def mixed(left: Directory, right: Directory) -> Directory:
        entries: dict[bytes, trees.Node] = {}
        for name in sorted({*left.entries, *right.entries}):
            a, b = left.entries.get(name), right.entries.get(name)
            if isinstance(a, Directory) and isinstance(b, Directory):
                entries[name] = mixed(a, b)
                continue
            choice = draw(st.sampled_from([a, b, None]))
            if choice is not None:
                entries[name] = choice
        return Directory(entries, right.mode, right.mtime_ns)

    return one, mixed(one, other)


@given(_pairs_of_trees())
def test_any_run_ends_with_what_is_on_disk(tmp_path_factory, pair):
    base = tmp_path_factory.mktemp("run")
    make(base / "source", pair[0])
    make(base / "destination", pair[1])
    source, destination = local(), local()
    begin(source, base / "source", Role.SOURCE)
    begin(destination, base / "destination", Role.DESTINATION)
    outcome = carry_out(source, destination)
    assert outcome.failures == []
    trees.assert_same(base / "destination", pair[0])
    assert outcome.roots[0] == outcome.roots[1] != digest.UNKNOWN
    _agrees_with_the_disk(destination.root.tree, base / "destination")
    for end in (source, destination):
        ask(end, messages.Close())
    # What is kept for the next run is true as well: nothing is to be read, nothing to be done.
    with scanned(base / "destination", reading=False) as root:
        _agrees_with_the_disk(root.tree, base / "destination")
        assert root.seal(XXH3, ALL) in (outcome.roots[1], digest.UNKNOWN)
    again = local(), local()
    begin(again[0], base / "source", Role.SOURCE)
    begin(again[1], base / "destination", Role.DESTINATION)
    assert carry_out(*again).plan.is_empty
    for end in again:
        end.close()


@given(_pairs_of_trees())
def test_without_deleting_the_extras_stay_and_do_not_count(tmp_path_factory, pair):
    base = tmp_path_factory.mktemp("run")
    make(base / "source", pair[0])
    make(base / "destination", pair[1])
    source, destination = local(), local()
    begin(source, base / "source", Role.SOURCE)
    begin(destination, base / "destination", Role.DESTINATION)
    outcome = carry_out(source, destination, delete=False)
    in_the_way = [failure for failure in outcome.failures if "--force" in failure.what]
    assert outcome.failures == in_the_way
    if not in_the_way:
        assert outcome.roots[0] == outcome.roots[1] != digest.UNKNOWN
    _agrees_with_the_disk(destination.root.tree, base / "destination")
    for path in outcome.plan.extras:
        assert os.path.lexists(os.path.join(os.fsencode(base / "destination"), path))
    source.close()
    destination.close()


BIG = noise(700_000)


@pytest.mark.parametrize(
    "path", [b"same", b"d/same", b"changed", b"d/changed", b"new", b"d/new", b"tree/new", b"big"]
)
def test_an_edit_during_the_run_is_never_believed(tmp_path, path):
    """Somebody edits a file of the destination after it was scanned or written, same size."""
    old = {"same": b"same", "changed": b"old!"}
    new = {"same": b"same", "changed": b"new!", "new": b"more"}
    make(tmp_path / "source", {**new, "d": new, "tree": {"new": b"1234"}, "big": BIG})
    make(tmp_path / "destination", {**old, "d": old})
    remember(tmp_path / "destination", reading=False)
    source, destination = local(), local()
    begin(source, tmp_path / "source", Role.SOURCE)
    begin(destination, tmp_path / "destination", Role.DESTINATION)
    target = tmp_path / "destination" / os.fsdecode(path)

    class Meddled:
        """The destination, but with an edit just before the end."""

        hello = destination.hello

        def submit(self, request):
            if isinstance(request, messages.Finish):
                with open(target, "r+b") as file:
                    file.write(b"EDIT")
            return destination.submit(request)

        def close(self):
            destination.close()

    carry_out(source, Meddled())
    true = XXH3.of(target.read_bytes())
    ask(source, messages.Close())
    ask(destination, messages.Close())
    with scanned(tmp_path / "destination", reading=False) as root:
        assert file_digests(root.tree)[path] in (true, digest.UNKNOWN)


def test_a_run_over_many_new_directories(tmp_path):
    literal = {f"d{i}": {f"s{j}": {"f": b"%d" % (i * j)} for j in range(5)} for i in range(40)}
    make(tmp_path / "source", literal)
    (tmp_path / "destination").mkdir()
    source, destination = local(), local()
    begin(source, tmp_path / "source", Role.SOURCE)
    begin(destination, tmp_path / "destination", Role.DESTINATION)
    outcome = carry_out(source, destination)
    assert outcome.failures == []
    assert outcome.roots[0] == outcome.roots[1] != digest.UNKNOWN
    _agrees_with_the_disk(destination.root.tree, tmp_path / "destination")
    source.close()
    destination.close()


def test_what_failed_is_not_in_the_tree(tmp_path):
    make(tmp_path / "source", {"a": b"1", "b": b"2"})
    (tmp_path / "destination").mkdir()
    source, destination = local(), local()
    begin(source, tmp_path / "source", Role.SOURCE)
    begin(destination, tmp_path / "destination", Role.DESTINATION)
    (tmp_path / "destination" / "a").write_bytes(b"mine")
    outcome = carry_out(source, destination)
    assert [failure.path for failure in outcome.failures] == [b"a"]
    assert outcome.roots[0] != outcome.roots[1]
    assert set(file_digests(destination.root.tree)) == {b"b"}
    assert (tmp_path / "destination" / "a").read_bytes() == b"mine"
    source.close()
    destination.close()


def test_modes_are_exact_whatever_the_umask(tmp_path):
    make(tmp_path / "source", {"f": File(b"", 0o666), "d": Directory({}, 0o777)})
    (tmp_path / "destination").mkdir()
    before = os.umask(0o077)
    try:
        source, destination = local(), local()
        begin(source, tmp_path / "source", Role.SOURCE)
        begin(destination, tmp_path / "destination", Role.DESTINATION)
        carry_out(source, destination)
        ask(destination, messages.Close())
        ask(source, messages.Close())
        for name, mode in (("f", 0o666), ("d", 0o777)):
            assert stat.S_IMODE(os.stat(tmp_path / "destination" / name).st_mode) == mode
    finally:
        os.umask(before)


def test_a_destination_that_expects_nothing_is_left_alone(tmp_path):
    make(tmp_path, {"a": b"1", "d": {"b": b"2"}})
    before = {path: os.stat(path) for path in (tmp_path, tmp_path / "a", tmp_path / "d")}
    end = local()
    start_writing(end, tmp_path)
    ask(end, messages.Finish((), True))
    _agrees_with_the_disk(end.root.tree, tmp_path)
    end.close()
    for path, status in before.items():
        assert os.stat(path).st_mtime_ns == status.st_mtime_ns
