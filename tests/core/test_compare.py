"""Comparing two tables: what `pairs` says is just what it takes to make one from the other."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.compare import (
    Pair,
    Relation,
    attributes_of,
    change_flags,
    digest_of,
    letter,
    new_flags,
    pairs,
)
from syncron_lib.core.merkle import Attributes, Profile, directory_digest
from syncron_lib.core.table import Table, link_targets
from tests.core.tables import ALL, NONE, Row, normal, profiles, rows_of, table, tables

FILE, DIR, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
D1, D2 = b"1" * 16, b"2" * 16
XXH3 = digest.available()[0]


def _apply(destination: Table, found: list[Pair], source: Table, profile: Profile) -> Table:
    """Carry out what the pairs say on a table in memory, as a run does on a tree."""
    rows = {row.name: row for row in rows_of(destination)}
    wanted = rows_of(source)
    for pair in found:
        if pair.relation is Relation.ONLY_DESTINATION:
            del rows[pair.name]
            continue
        assert pair.source is not None
        new = wanted[pair.source]
        there = rows.get(pair.name)
        if pair.relation in (Relation.ONLY_SOURCE, Relation.OTHER_KIND):
            assert (there is None) == (pair.relation is Relation.ONLY_SOURCE)
            rows[pair.name] = new
            continue
        assert there is not None
        assert stat.S_IFMT(there.mode) == stat.S_IFMT(new.mode)
        if pair.relation is Relation.DIFFERENT or pair.descend:
            there = there._replace(size=new.size, digest=new.digest, target=new.target)
        if pair.attributes_differ:
            there = there._replace(
                mode=new.mode if profile.permissions else there.mode,
                mtime_ns=new.mtime_ns if profile.times else there.mtime_ns,
                uid=profile.users.get(new.uid, new.uid) if profile.owner else there.uid,
                gid=profile.groups.get(new.gid, new.gid) if profile.group else there.gid,
            )
        rows[pair.name] = there
    return table(*rows.values())


@given(tables(), tables(), profiles())
def test_applying_the_difference_makes_one_the_other(source, destination, profile):
    found = list(pairs(source, destination, profile))
    assert [pair.name for pair in found] == sorted({pair.name for pair in found})
    made = _apply(destination, found, source, profile)
    assert list(pairs(source, made, profile)) == []
    assert directory_digest(XXH3, profile, made) == directory_digest(XXH3, profile, source)


@given(tables(), tables())
def test_with_everything_kept_the_copy_is_exact(source, destination):
    made = _apply(destination, list(pairs(source, destination, ALL)), source, ALL)
    # A symlink's permissions are the system's business.
    strip = [
        table(*[row._replace(mode=LINK) if row.target else row for row in rows_of(each)])
        for each in (made, source)
    ]
    assert normal(strip[0]) == normal(strip[1])


@given(tables(), profiles())
def test_equal_tables_have_no_pairs(same, profile):
    assert list(pairs(same, same, profile)) == []


def test_ids_are_mapped_to_the_receivers():
    mapping = ALL._replace(users={1000: 1}, groups={5: 6})
    source = table(Row(b"f", FILE, 1, 0, 1000, 5, D1))
    assert list(pairs(source, table(Row(b"f", FILE, 1, 0, 1, 6, D1)), mapping)) == []
    (pair,) = pairs(source, table(Row(b"f", FILE, 1, 0, 1000, 5, D1)), mapping)
    assert pair.attributes_differ


def _only_pair(source: Row | None, destination: Row | None, profile: Profile = ALL) -> Pair:
    (pair,) = pairs(
        table(*[row for row in (source,) if row]),
        table(*[row for row in (destination,) if row]),
        profile,
    )
    return pair


@pytest.mark.parametrize(
    ("source", "destination", "relation", "descend", "attributes"),
    [
        (Row(b"a", FILE, 1, digest=D1), None, Relation.ONLY_SOURCE, False, False),
        (None, Row(b"a", FILE, 1, digest=D1), Relation.ONLY_DESTINATION, False, False),
        (Row(b"a", FILE, 1), Row(b"a", FILE, 2), Relation.DIFFERENT, False, False),
        (Row(b"a", FILE, 1), Row(b"a", FILE, 1), Relation.UNKNOWN, False, False),
        (Row(b"a", FILE, 1, digest=D1), Row(b"a", FILE, 1), Relation.UNKNOWN, False, False),
        (
            Row(b"a", FILE, 1, digest=D1),
            Row(b"a", FILE, 1, digest=D2),
            Relation.DIFFERENT,
            False,
            False,
        ),
        (
            Row(b"a", FILE, 1, 5, digest=D1),
            Row(b"a", FILE, 1, 6, digest=D1),
            Relation.SAME,
            False,
            True,
        ),
        (Row(b"a", FILE, 1), Row(b"a", DIR), Relation.OTHER_KIND, False, False),
        (Row(b"a", DIR, digest=D1), Row(b"a", DIR, digest=D2), Relation.SAME, True, False),
        (Row(b"a", DIR), Row(b"a", DIR), Relation.SAME, True, False),
        (Row(b"a", DIR, 0, 1, digest=D1), Row(b"a", DIR, digest=D1), Relation.SAME, False, True),
        (
            Row(b"a", LINK, target=b"x"),
            Row(b"a", LINK, target=b"y"),
            Relation.DIFFERENT,
            False,
            False,
        ),
        (
            Row(b"a", stat.S_IFCHR, 1),
            Row(b"a", stat.S_IFCHR, 2),
            Relation.DIFFERENT,
            False,
            False,
        ),
        (Row(b"a", 0, 13), Row(b"a", FILE, 1), Relation.UNREADABLE_SOURCE, False, False),
        (Row(b"a", 0, 13), None, Relation.UNREADABLE_SOURCE, False, False),
        (Row(b"a", FILE, 1), Row(b"a", 0, 13), Relation.UNREADABLE_DESTINATION, False, False),
        (None, Row(b"a", 0, 13), Relation.UNREADABLE_DESTINATION, False, False),
    ],
)
def test_one_entry_against_another(source, destination, relation, descend, attributes):
    pair = _only_pair(source, destination)
    assert (pair.relation, pair.descend, pair.attributes_differ) == (relation, descend, attributes)


@given(tables())
def test_rows_are_looked_up(original):
    for index, row in enumerate(rows_of(original)):
        assert attributes_of(original, index) == Attributes(
            row.mode, row.mtime_ns, row.uid, row.gid
        )
        assert digest_of(original, index) == row.digest
        assert link_targets(original).get(index) == (row.target or None)


# rsync(1), --itemize-changes: YXcstpoguax, of which these are X to x.
OLD = Attributes(FILE, 5, 1, 2)


@pytest.mark.parametrize(
    ("new", "size", "content", "flags"),
    [
        (OLD, False, False, "f........."),
        (OLD, True, True, "f.s......."),
        (OLD, False, True, "fc........"),
        (OLD._replace(mtime_ns=6), True, True, "f.st......"),
        (OLD._replace(mtime_ns=6), False, False, "f..t......"),
        (OLD._replace(mode=FILE | 0o111), False, False, "f...p....."),
        (OLD._replace(uid=7, gid=8), False, False, "f....og..."),
        (OLD._replace(mode=FILE ^ 0o7, mtime_ns=1, uid=7, gid=8), True, True, "f.stpog..."),
    ],
)
def test_flags_of_a_change(new, size, content, flags):
    assert change_flags(new, OLD, ALL, size_differs=size, content_differs=content) == flags


def test_flags_leave_out_what_is_not_compared():
    new = Attributes(FILE | 0o111, 6, 7, 8)
    assert change_flags(new, OLD, NONE, size_differs=False, content_differs=False) == "f........."


@pytest.mark.parametrize(
    ("mode", "flags"),
    [
        (FILE, "f+++++++++"),
        (DIR, "d+++++++++"),
        (LINK, "L+++++++++"),
        (stat.S_IFCHR, "D+++++++++"),
        (stat.S_IFBLK, "D+++++++++"),
        (stat.S_IFIFO, "S+++++++++"),
        (stat.S_IFSOCK, "S+++++++++"),
    ],
)
def test_flags_of_a_new_entry(mode, flags):
    assert new_flags(mode) == flags
    assert letter(mode) == flags[0]


@given(st.sampled_from([FILE, DIR, LINK]), profiles())
def test_flags_have_ten_characters(mode, profile):
    own = Attributes(mode, 1, 2, 3)
    other = Attributes(mode ^ 1, 2, 3, 4)
    assert len(change_flags(own, other, profile, size_differs=True, content_differs=True)) == 10
