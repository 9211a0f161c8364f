"""Merkle digests: equal exactly when the trees are, as far as the profile looks."""

import stat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes, Profile, directory_digest, root_digest
from syncron_lib.core.table import Table
from tests import trees
from tests.core.tables import ALL, DEVICES, NONE, Row, profiles, rows_of, table, tables

XXH3, SHA256 = digest.available()
FILE = stat.S_IFREG | 0o644
D1, D2 = b"1" * 16, b"2" * 16


def _seen(original: Table, profile: Profile) -> list[object]:
    """What of a table a profile compares, spelled out: the specification of the digest."""
    return [
        (
            row.name,
            stat.S_IFMT(row.mode),
            stat.S_IMODE(row.mode) if profile.permissions and not stat.S_ISLNK(row.mode) else None,
            row.mtime_ns if profile.times else None,
            profile.users.get(row.uid, row.uid) if profile.owner else None,
            profile.groups.get(row.gid, row.gid) if profile.group else None,
            row.digest,
            row.target,
            row.size if stat.S_IFMT(row.mode) in DEVICES else None,
        )
        for row in rows_of(original)
    ]


@st.composite
def _near(draw: st.DrawFn, original: Table) -> Table:
    """The table with one field of one row changed."""
    rows = rows_of(original)
    if not rows:
        return original
    index = draw(st.integers(0, len(rows) - 1))
    row = rows[index]
    changes: list[Row] = [
        row._replace(mode=row.mode ^ 0o001),
        row._replace(mtime_ns=row.mtime_ns ^ 1),
        row._replace(uid=row.uid ^ 1),
        row._replace(gid=row.gid ^ 1),
    ]
    if stat.S_ISREG(row.mode) or stat.S_ISDIR(row.mode):
        changes.append(row._replace(digest=D1 if row.digest != D1 else D2))
    if stat.S_ISLNK(row.mode):
        changes.append(row._replace(target=row.target + b"x"))
    if stat.S_IFMT(row.mode) in DEVICES:
        changes.append(row._replace(size=row.size ^ 1))
    rows[index] = draw(st.sampled_from(changes))
    if draw(st.booleans()):
        del rows[draw(st.integers(0, len(rows) - 1))]
    return table(*rows)


@given(st.data(), tables(), profiles(), st.sampled_from(digest.available()))
def test_digests_are_equal_exactly_when_what_counts_is(data, one, profile, algorithm):
    other = data.draw(st.one_of(_near(one), tables(), st.just(one)))
    equal = _seen(one, profile) == _seen(other, profile)
    digests = [directory_digest(algorithm, profile, each) for each in (one, other)]
    assert (digests[0] == digests[1]) == equal
    assert len(digests[0]) == digest.SIZE


def _one(field: str, value: bool) -> dict[str, Any]:
    return {field: value}


BASE = Row(b"f", FILE, 5, 1000, 1, 2, D1)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        (BASE._replace(mode=FILE | 0o111), "permissions"),
        (BASE._replace(mode=FILE | 0o4000), "permissions"),
        (BASE._replace(mtime_ns=1001), "times"),
        (BASE._replace(uid=9), "owner"),
        (BASE._replace(gid=9), "group"),
    ],
)
def test_an_attribute_counts_in_the_profile_and_not_out_of_it(changed, field):
    one, other = table(BASE), table(changed)
    inside = NONE._replace(**_one(field, True))
    outside = ALL._replace(**_one(field, False))
    assert directory_digest(XXH3, inside, one) != directory_digest(XXH3, inside, other)
    assert directory_digest(XXH3, outside, one) == directory_digest(XXH3, outside, other)


@pytest.mark.parametrize(
    "changed",
    [
        BASE._replace(name=b"g"),
        BASE._replace(digest=D2),
        BASE._replace(mode=stat.S_IFDIR | 0o644),
        Row(b"f", stat.S_IFLNK | 0o777, target=b"t"),
    ],
)
def test_name_kind_and_content_always_count(changed):
    assert directory_digest(XXH3, NONE, table(BASE)) != directory_digest(XXH3, NONE, table(changed))


def test_targets_and_devices_count():
    for one, other in (
        (Row(b"l", stat.S_IFLNK, target=b"a"), Row(b"l", stat.S_IFLNK, target=b"b")),
        (Row(b"c", stat.S_IFCHR, size=1), Row(b"c", stat.S_IFCHR, size=2)),
        (Row(b"c", stat.S_IFBLK, size=1), Row(b"c", stat.S_IFCHR, size=1)),
    ):
        assert directory_digest(XXH3, NONE, table(one)) != directory_digest(
            XXH3, NONE, table(other)
        )


def test_a_symlinks_permissions_never_count():
    one, other = (table(Row(b"l", stat.S_IFLNK | bits, target=b"t")) for bits in (0o777, 0o755))
    assert directory_digest(XXH3, ALL, one) == directory_digest(XXH3, ALL, other)


def test_ids_are_compared_as_the_receiver_numbers_them():
    ours, theirs = table(BASE._replace(uid=1000, gid=100)), table(BASE._replace(uid=1, gid=7))
    mapping = ALL._replace(users={1000: 1}, groups={100: 7})
    assert directory_digest(XXH3, mapping, ours) == directory_digest(XXH3, ALL, theirs)
    assert directory_digest(XXH3, ALL, ours) != directory_digest(XXH3, ALL, theirs)


def test_algorithms_do_not_mix():
    assert directory_digest(XXH3, ALL, table(BASE)) != directory_digest(SHA256, ALL, table(BASE))


@given(profiles(), profiles())
def test_profiles_have_keys_of_their_own(one, other):
    assert (one.key() == other.key()) == (one == other)


def test_a_profiles_key_knows_the_id_maps():
    keys = {
        profile.key()
        for profile in (
            ALL,
            ALL._replace(users={1: 2}),
            ALL._replace(groups={1: 2}),
            ALL._replace(users={1: 3}),
            ALL._replace(users={1: 2, 3: 4}),
        )
    }
    assert len(keys) == 5
    assert ALL._replace(users={1: 2, 3: 4}).key() == ALL._replace(users={3: 4, 1: 2}).key()


OWN = Attributes(stat.S_IFDIR | 0o755, 7, 1, 2)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (OWN._replace(mode=stat.S_IFDIR | 0o700), "permissions"),
        (OWN._replace(mtime_ns=8), "times"),
        (OWN._replace(uid=3), "owner"),
        (OWN._replace(gid=3), "group"),
    ],
)
def test_the_roots_own_attributes_count_by_profile(other, field):
    inside = NONE._replace(**_one(field, True))
    outside = ALL._replace(**_one(field, False))
    assert root_digest(XXH3, inside, D1, OWN) != root_digest(XXH3, inside, D1, other)
    assert root_digest(XXH3, outside, D1, OWN) == root_digest(XXH3, outside, D1, other)
    assert root_digest(XXH3, ALL, D1, None) != root_digest(XXH3, ALL, D2, None)


# --- whole trees -----------------------------------------------------------------------------


def _root_of(top: trees.Directory, profile: Profile) -> bytes:
    """Merkle root of a generated tree, from its deepest directories up."""

    def digest_of(directory: trees.Directory) -> bytes:
        rows = []
        for name, node in directory.entries.items():
            value, target, size = digest.UNKNOWN, b"", 0
            if isinstance(node, trees.Directory):
                kind, value = stat.S_IFDIR, digest_of(node)
            elif isinstance(node, trees.File):
                kind, value, size = stat.S_IFREG, XXH3.of(node.content), len(node.content)
            elif isinstance(node, trees.Link):
                kind, target = stat.S_IFLNK, node.target
            else:
                kind = stat.S_IFIFO if isinstance(node, trees.Fifo) else stat.S_IFSOCK
            mode = kind | (getattr(node, "mode", None) or 0)
            rows.append(Row(name, mode, size, node.mtime_ns or 0, 0, 0, value, target))
        return directory_digest(XXH3, profile, table(*rows))

    own = Attributes(stat.S_IFDIR | (top.mode or 0), top.mtime_ns or 0, 0, 0)
    return root_digest(XXH3, profile, digest_of(top), own)


def _stripped(node: trees.Node, profile: Profile) -> object:
    """A tree as far as a profile sees it."""
    own = (
        type(node).__name__,
        getattr(node, "mode", None) if profile.permissions else None,
        node.mtime_ns if profile.times else None,
        getattr(node, "content", None),
        getattr(node, "target", None),
    )
    if not isinstance(node, trees.Directory):
        return own
    return own, {name: _stripped(below, profile) for name, below in node.entries.items()}


def _change_one(data: st.DataObject, node: trees.Node) -> trees.Node:
    """The tree with one attribute of one entry, anywhere in it, changed."""
    if isinstance(node, trees.Directory):
        names = sorted(node.entries)
        deeper = data.draw(st.booleans())
        if names and deeper:
            name = data.draw(st.sampled_from(names))
            below = _change_one(data, node.entries[name])
            return trees.Directory({**node.entries, name: below}, node.mode, node.mtime_ns)
        fewer = data.draw(st.booleans())
        if names and fewer:
            rest = {each: node.entries[each] for each in names[1:]}
            return trees.Directory(rest, node.mode, node.mtime_ns)
        return trees.Directory(node.entries, node.mode, (node.mtime_ns or 0) + 1)
    if isinstance(node, trees.File):
        return trees.File(node.content + b"x", node.mode, node.mtime_ns)
    if isinstance(node, trees.Link):
        return trees.Link(node.target + b"x", node.mtime_ns)
    return type(node)((node.mode or 0) ^ 1, node.mtime_ns)


@given(st.data(), trees.random_trees(), profiles())
def test_roots_are_equal_exactly_when_trees_are(data, one, profile):
    other = data.draw(
        st.one_of(st.just(one), st.builds(lambda: _change_one(data, one)), trees.random_trees())
    )
    same = _stripped(one, profile) == _stripped(other, profile)
    assert (_root_of(one, profile) == _root_of(other, profile)) == same


def test_times_that_are_omitted_do_not_count():
    rows = [Row(b"d", stat.S_IFDIR | 0o755, 0, 1), Row(b"f", FILE, 0, 2)]
    rows.append(Row(b"l", stat.S_IFLNK | 0o777, 0, 3, target=b"x"))
    for profile, counting in (
        (ALL, "dfl"),
        (ALL._replace(omit_dir_times=True), "fl"),
        (ALL._replace(omit_link_times=True), "df"),
        (ALL._replace(times=False, omit_link_times=True), ""),
    ):
        whole = directory_digest(XXH3, profile, table(*rows))
        found = ""
        for index, row in enumerate(rows):
            other = [*rows[:index], row._replace(mtime_ns=9), *rows[index + 1 :]]
            if directory_digest(XXH3, profile, table(*other)) != whole:
                found += row.name.decode()
        assert found == counting
    omitting = [ALL._replace(omit_dir_times=True), ALL._replace(omit_link_times=True)]
    assert len({each.key() for each in (ALL, *omitting)}) == 3
