"""Plans count what will happen; guards refuse by these counts."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core import digest, guards
from syncron_lib.core.guards import Facts
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.options import DeleteCap
from syncron_lib.core.plan import Adjust, Change, Create, Plan, Remove
from syncron_lib.errors import DeleteCapRefused, Exit, GuardRefused

FILE, DIR = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
FACTS = Facts("src", "host:dst", 10, 100, False)


def _create(entries: int = 1, size: int = 0, replaces: int = 0) -> Create:
    mode = FILE if entries == 1 else DIR
    own = Attributes(mode, 0, 0, 0)
    return Create(b"new", mode, entries, size, None, replaces, own, digest.UNKNOWN)


def _remove(entries: int = 1) -> Remove:
    own = Attributes(FILE if entries == 1 else DIR, 0, 0, 0)
    return Remove(b"old", entries > 1, entries, 5, own, digest.UNKNOWN)


def _check(plan: Plan, facts: Facts = FACTS, cap: DeleteCap | None = None, **allow: bool) -> None:
    allowed = {"allow_empty_source": False, "allow_unmounted": False, **allow}
    guards.check(
        plan,
        facts,
        cap=cap,
        allow_empty_source=allowed["allow_empty_source"],
        allow_unmounted=allowed["allow_unmounted"],
    )


def test_a_plan_counts_entries_and_bytes():
    plan = Plan(
        creates=[_create(4, 100), _create(1, 7, replaces=3)],
        changes=[Change(b"c", "f.s.......", 50, 3, None)],
        adjusts=[Adjust(b"a", "f..t......", Attributes(FILE, 0, 0, 0), 9, None)],
        removes=[_remove(), _remove(6)],
    )
    assert plan.created == 5
    assert plan.deleted == 3 + 1 + 6
    assert plan.size == 157
    assert not plan.is_empty


@pytest.mark.parametrize(
    "plan",
    [
        Plan(creates=[_create()]),
        Plan(changes=[Change(b"c", "", 0, 0, None)]),
        Plan(adjusts=[Adjust(b"a", "", Attributes(FILE, 0, 0, 0), 0, None)]),
        Plan(removes=[_remove()]),
    ],
)
def test_a_plan_with_anything_in_it_is_not_empty(plan):
    assert not plan.is_empty


def test_extras_alone_are_nothing_to_do():
    assert Plan(extras=[b"x"], touched={b"": Attributes(DIR, 0, 0, 0)}).is_empty


def test_an_unmounted_destination_is_refused_whatever_the_plan():
    facts = FACTS._replace(destination_unmounted=True)
    with pytest.raises(GuardRefused, match=r"host:dst.*not mounted.*--allow-unmounted") as caught:
        _check(Plan(), facts)
    assert caught.value.exit_code == Exit.REFUSED
    _check(Plan(), facts, allow_unmounted=True)


def test_an_empty_source_deletes_nothing_unasked():
    facts = FACTS._replace(source_entries=0)
    with pytest.raises(GuardRefused, match=r"src is empty.* 6 entries.*--allow-empty-source"):
        _check(Plan(removes=[_remove(6)]), facts)
    _check(Plan(removes=[_remove(6)]), facts, allow_empty_source=True)
    _check(Plan(), facts)
    _check(Plan(removes=[_remove(6)]))


@pytest.mark.parametrize(
    ("cap", "deletes", "refused"),
    [
        (DeleteCap(entries=0), 0, False),
        (DeleteCap(entries=0), 1, True),
        (DeleteCap(entries=5), 5, False),
        (DeleteCap(entries=5), 6, True),
        (DeleteCap(percent=10), 10, False),
        (DeleteCap(percent=10), 11, True),
        (DeleteCap(percent=0.5), 1, True),
        (DeleteCap(percent=100), 100, False),
        (None, 100, False),
    ],
)
def test_the_delete_cap(cap, deletes, refused):
    plan = Plan(removes=[_remove(deletes)] if deletes else [])
    if not refused:
        _check(plan, cap=cap)
        return
    with pytest.raises(DeleteCapRefused, match=f"deletes {deletes} of 100 entries") as caught:
        _check(plan, cap=cap)
    assert caught.value.exit_code == Exit.DELETE_CAP


def test_what_makes_way_counts_as_deleted():
    with pytest.raises(DeleteCapRefused):
        _check(Plan(creates=[_create(replaces=3)]), cap=DeleteCap(entries=2))


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_cap_of_all_refuses_nothing(deletes, entries):
    plan = Plan(removes=[_remove(deletes)] if deletes else [])
    facts = FACTS._replace(destination_entries=max(entries, deletes))
    _check(plan, facts, cap=DeleteCap(percent=100))
