"""What changed since the last run, instead of a walk: always the plan that the walk makes."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile
from syncron_lib.core.options import RuleOptions, RunOptions
from syncron_lib.core.plan import Plan
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs import stats
from syncron_lib.fs.state import file_stem
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Changes
from syncron_lib.session.comparison import Comparison
from syncron_lib.session.listings import Known, listings
from syncron_lib.session.profile import seal_request
from syncron_lib.session.since import known_directories
from tests.core.tables import ALL
from tests.endpoint.driving import XXH3, ask, carry_out, opening

S, D = Role.SOURCE, Role.DESTINATION
_SETTLED = 0.06
"""Seconds after which a file counts as settled."""


class Side(NamedTuple):
    """One end: its tree, and where its state is."""

    role: Role
    top: Path
    state: Path

    def keep_state(self, name: str) -> None:
        shutil.copytree(self.state, self.state.with_name(name), dirs_exist_ok=True)

    def put_back_state(self, name: str) -> None:
        shutil.rmtree(self.state)
        shutil.copytree(self.state.with_name(name), self.state)

    def take_state_of(self, other: Side) -> None:
        """Have the state of another root in place of one's own."""
        mine, theirs = (
            each.state / "syncron" / f"{file_stem(os.fsencode(each.top.resolve())).decode()}.db"
            for each in (self, other)
        )
        shutil.copy(theirs, mine)


class Counting:
    """An endpoint that counts the directories that it is asked to list."""

    def __init__(self, end: LocalEndpoint) -> None:
        self._end = end
        self.hello = end.hello
        self.listed = 0

    def submit(self, request: Any) -> Future[Any]:
        if isinstance(request, messages.List):
            self.listed += len(request.paths)
        return self._end.submit(request)

    def close(self) -> None:
        self._end.close()


@contextmanager
def begun(side: Side, profile: Profile = ALL, patterns: Sequence[bytes] = ()) -> Iterator[Counting]:
    """One end, opened, scanned and sealed."""
    umask = os.umask(0o022)
    os.umask(umask)
    end = LocalEndpoint({"XDG_STATE_HOME": str(side.state)}, umask)
    try:
        ask(end, opening(side.top, side.role, patterns=list(patterns)))
        ask(end, messages.Scan())
        ask(end, seal_request(XXH3.name, profile, (), (), False))
        yield Counting(end)
    finally:
        end.close()


def synchronized(source: Side, destination: Side) -> None:
    """One run, everything in it settled."""
    time.sleep(_SETTLED)
    with begun(source) as one, begun(destination) as other:
        outcome = carry_out(one, other)
        assert outcome.roots[0] == outcome.roots[1] != digest.UNKNOWN


def changes_of(near: Endpoint, far: Endpoint) -> tuple[Changes, Changes]:
    return (
        ask(near, messages.GetChanges(True, 1 << 20, 0)),
        ask(far, messages.GetChanges(False, 1 << 18, 1 << 20)),
    )


def plan_of(
    source: Endpoint,
    destination: Endpoint,
    profile: Profile,
    delete: bool,
    known: tuple[Known, Known] = ({}, {}),
) -> Plan:
    options = RunOptions(delete=delete, rules=RuleOptions())
    comparison = Comparison(
        source,
        destination,
        profile,
        options,
        whole=True,
        missing=False,
        unreadable=0,
        on_failure=lambda failure: None,
        on_hashed=lambda done, total: None,
        known=known,
    )
    return comparison.run()


# --- random trees and edits ----------------------------------------------------------------------


def populate(top: Path, chance: random.Random, depth: int = 4) -> None:
    top.mkdir(parents=True, exist_ok=True)
    for number in range(chance.randrange(4)):
        (top / f"f{number}").write_bytes(chance.randbytes(chance.choice((0, 3, 3, 50))))
    if chance.random() < 0.2:
        (top / "link").symlink_to(chance.choice(("f0", "nowhere")))
    for number in range(chance.randrange(1, 3) if depth else 0):
        populate(top / f"d{number}", chance, depth - 1)


def edit(top: Path, chance: random.Random) -> None:
    """One change somewhere in a tree."""
    below = sorted(path for path in top.rglob("*") if path.name != ".syncron")
    directories = [top, *(path for path in below if path.is_dir() and not path.is_symlink())]
    place = chance.choice(directories)
    what = chance.randrange(8)
    if what == 0:
        populate(place / f"new{chance.randrange(3)}", chance, chance.randrange(3))
    elif what == 1 and place != top:
        shutil.rmtree(place)
    elif what == 2 and place != top:
        shutil.rmtree(place)
        place.write_bytes(b"a file now")
    elif what == 3:
        place.chmod(chance.choice((0o700, 0o755)))
    else:
        files = [path for path in below if path.is_file() and not path.is_symlink()]
        if not files:
            return
        file = chance.choice(files)
        if what == 4:
            file.unlink()
        elif what == 5:  # of the same size, in the same place
            file.write_bytes(chance.randbytes(file.stat().st_size))
        elif what == 6:
            os.utime(file, ns=(0, chance.randrange(1 << 60)))
        else:
            file.rename(file.with_name(f"moved{chance.randrange(3)}"))


FORGOTTEN = ("lost", "older", "both older", "reverted", "another's")
"""What a side remembers is not of its last run."""
PROFILES = (ALL, ALL, ALL, ALL._replace(times=False), ALL._replace(permissions=False))
PATTERNS: tuple[tuple[bytes, ...], ...] = ((), (), (), (b"- f1",), (b"- d1/",))


@example(1, True, False, ALL, (b"- f1",), "kept")
@given(
    seed=st.integers(0, 1 << 32),
    pulls=st.booleans(),
    delete=st.booleans(),
    profile=st.sampled_from(PROFILES),
    patterns=st.sampled_from(PATTERNS),
    memory=st.sampled_from(("kept", "kept", "kept", *FORGOTTEN)),
)
def test_the_plan_is_the_walk_s(tmp_path_factory, seed, pulls, delete, profile, patterns, memory):
    chance = random.Random(seed)
    place = tmp_path_factory.mktemp("since")
    source = Side(S, place / "src", place / "source-state")
    destination = Side(D, place / "dst", place / "destination-state")
    sides = (source, destination)
    populate(source.top, chance)
    destination.top.mkdir()
    synchronized(*sides)
    if memory != "kept":
        for side in sides:
            side.keep_state(side.state.name + "-older")
        if memory == "reverted":  # the tree is what it was, the state is not
            shutil.copytree(source.top, place / "was", symlinks=True)
        for _ in range(3):
            edit(source.top, chance)
        synchronized(*sides)
        if memory == "reverted":
            shutil.rmtree(source.top)
            shutil.copytree(place / "was", source.top, symlinks=True)
            synchronized(*sides)
        forgetful = sides if memory == "both older" else [chance.choice(sides)]
        for side in forgetful:
            if memory == "lost":
                shutil.rmtree(side.state)
            elif memory == "another's":
                twin = Side(side.role, place / "twin", place / "twin-state")
                shutil.copytree(side.top, twin.top, symlinks=True)
                mate = Side(D if side.role is S else S, place / "mate", place / "mate-state")
                shutil.copytree(twin.top, mate.top, symlinks=True)
                synchronized(*((twin, mate) if side.role is S else (mate, twin)))
                side.take_state_of(twin)
            else:
                side.put_back_state(side.state.name + "-older")
    for side in sides:
        for _ in range(chance.choice((0, 1, 1, 3))):
            edit(side.top, chance)
    with begun(source, profile, patterns) as one, begun(destination, profile, patterns) as other:
        near, far = (other, one) if pulls else (one, other)
        of_near, of_far = changes_of(near, far)
        known = known_directories(
            of_near, of_far, profile, pulls, lambda paths: listings(near, paths)
        )
        both: tuple[Known, Known] = (known, {}) if pulls else ({}, known)
        plan = plan_of(one, other, profile, delete, both)
        asked = far.listed
        assert plan == plan_of(one, other, profile, delete)
        same = of_near.basis == of_far.basis != digest.UNKNOWN
        if memory in ("kept", "both older") and profile is ALL:
            assert same
        # What rules left out at a far destination may keep a directory in its place.
        certain = pulls or not of_far.holds
        if same and of_near.complete and of_far.complete and certain:
            assert asked == 0
    shutil.rmtree(place)


# --- what must not be believed -------------------------------------------------------------------


def remembered(tmp_path: Path) -> tuple[Side, Side]:
    """Two ends that remember one tree."""
    source = Side(S, tmp_path / "src", tmp_path / "source-state")
    destination = Side(D, tmp_path / "dst", tmp_path / "destination-state")
    (source.top / "a/b/c").mkdir(parents=True)
    (source.top / "a/b/c/f").write_bytes(b"1")
    (source.top / "a/other").mkdir()
    destination.top.mkdir()
    synchronized(source, destination)
    return source, destination


def test_nothing_is_told_where_nothing_changed(tmp_path):
    for side in remembered(tmp_path):
        with begun(side) as end:
            changes = ask(end, messages.GetChanges(False, 1 << 18, 0))
            assert changes.complete
            assert changes.basis != digest.UNKNOWN
            assert changes.changed == []


def test_what_lies_above_a_change_is_told_without_its_table(tmp_path):
    source, _ = remembered(tmp_path)
    (source.top / "a/b/c/f").write_bytes(b"2")
    with begun(source) as end:
        changes = ask(end, messages.GetChanges(False, 1 << 18, 0))
        told = {change.path: change.directory is not None for change in changes.changed}
        assert told == {b"": False, b"a": False, b"a/b": False, b"a/b/c": True}


def test_an_edited_file_is_hashed_at_once_within_the_limit(tmp_path):
    source, _ = remembered(tmp_path)
    (source.top / "a/b/c/f").write_bytes(b"2")
    for limit, expected in ((0, digest.UNKNOWN), (1, XXH3.of(b"2"))):
        with begun(source) as end:
            changes = ask(end, messages.GetChanges(False, 1 << 18, limit))
            (table,) = [each.directory.table for each in changes.changed if each.directory]
            assert table.digests == expected
            assert changes.hashed == limit


def test_a_directory_of_edited_files_is_unpacked_a_few_times_only(tmp_path, monkeypatch):
    source, destination = remembered(tmp_path)
    files = [source.top / "a" / f"{number}" for number in range(100)]
    for file in files:
        file.write_bytes(b"1")
    synchronized(source, destination)
    for file in files:
        file.write_bytes(b"2")
    with begun(source) as end:
        unpacked = 0
        unpack = stats.unpack

        def counted(data):
            nonlocal unpacked
            unpacked += 1
            return unpack(data)

        monkeypatch.setattr(stats, "unpack", counted)
        assert ask(end, messages.GetChanges(False, 1 << 18, 1 << 20)).hashed == len(files)
    assert 0 < unpacked < 30


def test_too_much_to_tell_is_not_complete_without_tables_of_what_was(tmp_path):
    source, _ = remembered(tmp_path)
    (source.top / "a/b/c/f").write_bytes(b"2")
    with begun(source) as end:
        now = ask(end, messages.GetChanges(False, 350, 0))
        assert now.complete
        assert all(change.directory is None for change in now.changed)
        assert not ask(end, messages.GetChanges(True, 350, 0)).complete
        assert not ask(end, messages.GetChanges(False, 100, 0)).complete


def test_another_profile_is_not_what_is_remembered(tmp_path):
    source, _ = remembered(tmp_path)
    with begun(source, ALL._replace(times=False)) as end:
        assert ask(end, messages.GetChanges(False, 1 << 18, 0)).basis == digest.UNKNOWN
