"""Both ways with the key: what is sealed on one side is what is in clear on the other."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.options import Conflicts, SecureOptions
from syncron_lib.core.sealing import MAGIC
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import ConnectionLost, GuardRefused, NotAuthentic, RolledBack
from syncron_lib.session.twoway.keyed import regular
from tests.deep import DEEP, spread
from tests.session.keyed import MANIFEST, Met, manifest, opened
from tests.session.twoway import Met as Plain
from tests.session.twoway import Near, files
from tests.trees import make, noise

ACCEPTING = SecureOptions(accept_rollback=True)
RULES = b"/secrets/\n*.env\n"
TREE: dict[str, Any] = {
    ".secure": RULES,
    "a.env": b"PASSWORD=hunter2\n",
    "empty.env": b"",
    "readme": b"no secret\n",
    "secrets": {"key": b"key", "large": noise(1_200_000, seed=4), "deep": {"x": b"deep"}},
    "sub": {"b.env": b"b", "c": b"c"},
}


class World:
    """Two replicas with the key and a hub without."""

    def __init__(self, top: Path) -> None:
        self.a, self.b, self.hub = top / "a", top / "b", top / "hub"
        make(self.a, TREE)
        for root in (self.b, self.hub):
            make(root, {})

    def meet(self, one: Path, other: Path | None = None, **options: Any) -> Met:
        return Met(one, other or self.hub, sealed=(self.hub,), **options)

    def round(self, **options: Any) -> None:
        """Until everybody has everything."""
        for root in (self.a, self.b, self.a):
            assert self.meet(root, **options).report.match, root
        self.assert_same()

    def assert_same(self) -> None:
        assert files(self.a) == files(self.b) == opened(self.hub)
        contents = {(root / MANIFEST).read_bytes() for root in (self.a, self.b, self.hub)}
        assert len(contents) == 1
        for root in (self.a, self.b):
            met = self.meet(root)
            done = met.report
            assert (done.match, done.created, done.changed, done.deleted) == (True, 0, 0, 0)
            assert not met.clashes and not met.failures and not met.warnings
            assert (root / MANIFEST).read_bytes() in contents


@pytest.fixture
def world(home: Path) -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield World(Path(directory))


def test_what_is_sealed_goes_through_a_hub_that_cannot_read_it(world: World) -> None:
    world.round()
    for name in (".secure", "a.env", "secrets/key", "secrets/large", "sub/b.env", "empty.env"):
        assert (world.hub / name).read_bytes().startswith(MAGIC)
    assert (world.hub / "readme").read_bytes() == b"no secret\n"
    (world.a / "a.env").write_bytes(b"PASSWORD=by a\n")
    (world.b / "secrets/new").write_bytes(b"by b")
    (world.b / "sub/b.env").unlink()
    (world.a / "secrets/large").write_bytes(noise(1_300_000, seed=5))
    os.chmod(world.b / "secrets/key", 0o600)
    world.round()
    assert (world.b / "a.env").read_bytes() == b"PASSWORD=by a\n"
    assert (world.a / "secrets/new").read_bytes() == b"by b"
    assert not (world.a / "sub/b.env").exists()
    assert (world.a / "secrets/key").stat().st_mode & 0o777 == 0o600
    assert manifest(world.hub).entries[b"sub/b.env"].deleted


def copies(root: Path) -> list[str]:
    return [name for name in files(root) if "conflict" in name]


def test_both_versions_stay_and_are_sealed_where_the_key_is_not(world: World) -> None:
    world.round()
    for root in (world.a, world.b):
        (root / "a.env").write_bytes(b"by " + root.name.encode())
        (root / "secrets/large").write_bytes(noise(1_100_000, seed=ord(root.name)))
        (root / "secrets/same").write_bytes(b"the same on both")
        os.utime(root / "secrets/same", (ord(root.name), 0))
    world.meet(world.a)
    met = world.meet(world.b)
    assert {clash.path for clash in met.clashes} == {b"a.env", b"secrets/large"}
    world.round()
    tree = files(world.a)
    assert {tree["a.env"], *(tree[name] for name in copies(world.a) if "env" in name)} == {
        b"by a",
        b"by b",
    }
    assert len(copies(world.a)) == 2
    for name in copies(world.a):
        assert (world.hub / name).read_bytes().startswith(MAGIC)
    # A copy is a file like others: deleting it spreads.
    for name in copies(world.b):
        (world.b / name).unlink()
    world.round()
    assert not copies(world.a)


def test_leftovers_and_a_manifest_where_all_files_are_the_same(world: World) -> None:
    world.round()
    for root in (world.a, world.hub):
        (root / ".syncron/n1").write_bytes(b"staged by a run that was killed")
        content = (root / MANIFEST).read_bytes()
        (root / MANIFEST).unlink()
        world.meet(world.b if root == world.hub else world.a, secure=ACCEPTING)
        assert len((root / MANIFEST).read_bytes()) == len(content)
        assert not (root / ".syncron/n1").exists()
    world.round()


@pytest.mark.parametrize("policy", [Conflicts.PREFER_FIRST, Conflicts.SKIP, Conflicts.NEWER])
def test_preferences_count_for_what_is_sealed_too(world: World, policy: Conflicts) -> None:
    world.round()
    for number, root in enumerate((world.a, world.b)):
        (root / "a.env").write_bytes(b"by " + root.name.encode())
        os.utime(root / "a.env", (number, number))
    world.meet(world.a)
    world.meet(world.b, conflicts=policy)
    if policy is Conflicts.SKIP:
        assert (world.b / "a.env").read_bytes() == b"by b"
        assert opened(world.hub)["a.env"] == b"by a"
        world.meet(world.b)
    else:
        assert (world.b / "a.env").read_bytes() == b"by b"
    world.round()


def test_an_edit_outlives_a_deletion_and_a_deletion_is_signed(world: World) -> None:
    world.round()
    (world.a / "a.env").unlink()
    (world.b / "a.env").write_bytes(b"edited by b")
    (world.a / "secrets/key").unlink()
    world.meet(world.a)
    assert {clash.what for clash in world.meet(world.b).clashes} == {"deleted"}
    world.round()
    assert (world.a / "a.env").read_bytes() == b"edited by b"
    assert not (world.b / "secrets/key").exists()
    # Kept as it is, it is no other version for who has it.
    (world.a / "a.env").unlink()
    (world.b / "a.env").write_bytes(b"edited again")
    world.meet(world.b)
    assert {clash.what for clash in world.meet(world.a).clashes} == {"deleted"}
    assert world.meet(world.b).report.changed == 0
    world.round()
    # And a name that was deleted can be had again.
    (world.b / "secrets/key").write_bytes(b"another life")
    world.round()
    assert (world.a / "secrets/key").read_bytes() == b"another life"


def test_what_is_taken_away_without_the_key_is_put_back(world: World) -> None:
    world.round()
    (world.hub / "a.env").unlink()
    shutil.rmtree(world.hub / "secrets")
    (world.hub / "readme").unlink()
    met = world.meet(world.b)
    what = {os.fsdecode(clash.path): clash.what for clash in met.clashes}
    assert {what.pop("secrets"), what.pop("secrets/deep")} == {"revived"}
    assert set(what.values()) == {"repaired"} and len(what) == 4
    world.round()
    assert (world.a / "a.env").read_bytes() == TREE["a.env"]
    assert (world.a / "secrets/deep/x").read_bytes() == b"deep"
    assert not (world.a / "readme").exists()  # what is in clear anybody may delete
    # Who has an older version only does not pass it off as the newest.
    (world.b / "a.env").write_bytes(b"newer")
    world.meet(world.b)
    (world.hub / "a.env").unlink()
    met = world.meet(world.a)
    assert "run where the newest one is" in met.failures[0].what
    assert not (world.hub / "a.env").exists()
    world.meet(world.b)
    world.round()
    assert (world.a / "a.env").read_bytes() == b"newer"


def replaced(path: Path, content: bytes) -> None:
    """As whoever has the disk can."""
    path.unlink()
    path.write_bytes(content)


def test_what_nobody_with_the_key_has_made_is_not_taken(world: World) -> None:
    world.round()
    hub = world.hub
    good = {name: (hub / name).read_bytes() for name in ("a.env", "secrets/key", "secrets/large")}
    before = files(world.b)

    def refused(error: type[Exception]) -> None:
        with pytest.raises(error):
            world.meet(world.b)
        assert files(world.b) == before
        for name, content in good.items():
            if (hub / name).is_dir():
                (hub / name).rmdir()
                (hub / name).touch()
            replaced(hub / name, content)
        world.meet(world.b)
        assert files(world.b) == before

    flipped = bytearray(good["secrets/large"])
    flipped[700_000] ^= 1
    for name, content in (
        ("a.env", good["a.env"][:-1]),
        ("a.env", good["secrets/key"]),
        ("a.env", b"PASSWORD=in clear\n"),
        ("secrets/large", bytes(flipped)),
    ):
        replaced(hub / name, content)
        refused(NotAuthentic)
    (hub / "a.env").unlink()
    (hub / "a.env").mkdir()
    refused(NotAuthentic)
    (hub / "a.env").unlink()
    (hub / "a.env").symlink_to("readme")
    refused(NotAuthentic)
    world.round()


def test_permissions_that_were_changed_without_the_key_change_nothing_in_clear(
    world: World,
) -> None:
    world.round()
    before = (world.b / "a.env").stat()
    os.chmod(world.hub / "a.env", 0o666)
    os.utime(world.hub / "secrets/key", (1, 1))
    world.round()
    after = (world.b / "a.env").stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (world.hub / "a.env").stat().st_mode == before.st_mode


def test_an_older_version_or_manifest_is_no_newer_one(world: World) -> None:
    world.round()
    old, old_manifest = (world.hub / "a.env").read_bytes(), (world.hub / MANIFEST).read_bytes()
    (world.a / "a.env").write_bytes(b"newer")
    world.round()
    replaced(world.hub / "a.env", old)
    with pytest.raises(RolledBack, match="older version"):
        world.meet(world.b)
    assert (world.b / "a.env").read_bytes() == b"newer"
    replaced(world.hub / MANIFEST, old_manifest)
    with pytest.raises(RolledBack, match="an older one"):
        world.meet(world.b)
    # A machine that never saw that place knows by its own replica.
    shutil.rmtree(world.b.parent / "machine-of-b")
    with pytest.raises(RolledBack, match="older version"):
        world.meet(world.b)
    assert (world.b / "a.env").read_bytes() == b"newer"
    # Taken back on purpose, it is a version like others: nothing is lost by that.
    for root in (world.b, world.a):
        world.meet(root, secure=SecureOptions(accept_rollback=True))
    world.round()


def test_who_lies_about_events_makes_no_edit_vanish(world: World) -> None:
    """One of two versions that were made apart is shown as if it were made of the other."""
    world.round()
    for root in (world.a, world.b):
        (root / "a.env").write_bytes(b"by " + root.name.encode())
    # B's version goes to another place, with whatever is signed there ...
    other = world.a.parent / "other"
    make(other, {})
    Met(world.b, other, sealed=(other,))
    # ... and is put, as an edit, where A's is known.
    world.meet(world.a)
    replaced(world.hub / "a.env", (other / "a.env").read_bytes())
    shutil.copy(other / MANIFEST, world.hub / MANIFEST)
    shutil.rmtree(world.a.parent / "machine-of-a")
    world.meet(world.a)
    there = {files(world.a)[name] for name in ("a.env", *copies(world.a))}
    assert there == {b"by a", b"by b"}


def test_a_version_is_no_older_one_because_its_content_is(world: World) -> None:
    """A content that came before what is here can be the newest elsewhere: what was shown before is
    a version."""
    world.round()
    first = TREE["a.env"]
    os.utime(world.a / "a.env", (1, 1))
    world.meet(world.a)
    (world.b / "a.env").write_bytes(b"made of what A had before it touched it")
    assert {clash.what for clash in world.meet(world.b).clashes} == {"content"}
    (world.a / "secrets/key").write_bytes(b"newer")
    world.round()
    assert first in files(world.a).values()
    # Taken back on purpose, on one machine, and edited on the other.
    (world.a / "secrets/key").write_bytes(b"key")
    (world.b / "secrets/key").write_bytes(b"newest")
    world.meet(world.a)
    assert {clash.what for clash in world.meet(world.b).clashes} == {"content"}
    world.round()
    assert {b"key", b"newest"} <= set(files(world.a).values())
    # The same was written on both.
    for number, root in enumerate((world.a, world.b)):
        (root / "empty.env").write_bytes(b"the same")
        os.utime(root / "empty.env", (number, number))
        assert not world.meet(root).clashes
    world.round()


def test_what_was_edited_is_not_given_for_what_it_was_made_of(world: World) -> None:
    """As in the test before, but what is there is the version that B edited."""
    sealed = hub, second = two_hubs(world)
    old, old_manifest = (hub / "a.env").read_bytes(), (hub / MANIFEST).read_bytes()
    os.utime(world.a / "a.env", (1, 1))
    world.meet(world.a)
    manifests = old_manifest, (hub / MANIFEST).read_bytes()

    def refused(content: bytes, rows: bytes) -> None:
        before = files(world.b)
        for _ in range(2):
            replaced(hub / "a.env", content)
            replaced(hub / MANIFEST, rows)
            with pytest.raises(RolledBack, match="older version"):
                Met(world.b, hub, sealed=sealed)
            assert files(world.b) == before
            # Nor does it help that the machine forgets what it has seen.
            shutil.rmtree(world.b.parent / "machine-of-b", ignore_errors=True)

    (world.b / "a.env").write_bytes(b"edited")
    refused(old, manifests[1])
    Met(world.b, second, sealed=sealed)
    (world.b / "a.env").write_bytes(b"edited again")
    for each in manifests:
        refused(old, each)
    # Nor is what A had in between, and B has never seen, given for the newest that is signed there.
    replaced(hub / MANIFEST, manifests[1])
    contents = []
    for content in (b"by a", b"by a, later"):
        (world.a / "a.env").write_bytes(content)
        Met(world.a, hub, sealed=sealed, secure=SecureOptions(accept_rollback=True))
        contents.append((hub / "a.env").read_bytes())
    refused(contents[0], (hub / MANIFEST).read_bytes())
    for root in (world.b, world.a):
        Met(root, hub, sealed=sealed, secure=SecureOptions(accept_rollback=True))
    assert b"edited again" in files(world.a).values()


def test_who_takes_back_a_content_does_not_lose_that(world: World) -> None:
    """What is made of an earlier version with the same content did not come after it."""
    world.round()
    for content in (b"second", b"key"):
        (world.a / "secrets/key").write_bytes(content)
        world.meet(world.a)
    other = world.a.parent / "other"
    make(other, {})
    for content in (b"by b", b"by b, later", b"by b, at last"):
        (world.b / "secrets/key").write_bytes(content)
        Met(world.b, other, sealed=(other,))
    # As in the lie about events above.
    replaced(world.hub / "secrets/key", (other / "secrets/key").read_bytes())
    shutil.copy(other / MANIFEST, world.hub / MANIFEST)
    shutil.rmtree(world.a.parent / "machine-of-a")
    assert {clash.what for clash in world.meet(world.a).clashes} == {"content"}
    there = {files(world.a)[name] for name in ("secrets/key", *copies(world.a))}
    assert there == {b"key", b"by b, at last"}


def two_hubs(world: World) -> tuple[Path, Path]:
    """The hub that all have met, and another one that B has met too."""
    world.round()
    second = world.a.parent / "second"
    make(second, {})
    Met(world.b, second, sealed=(world.hub, second))
    return world.hub, second


def test_two_hubs_that_know_of_each_other_or_not(world: World) -> None:
    sealed = _, second = two_hubs(world)
    (world.a / "a.env").write_bytes(b"by a")
    (world.b / "secrets/key").write_bytes(b"by b")
    (world.b / "empty.env").unlink()
    world.meet(world.a)
    Met(world.b, second, sealed=sealed)
    # Two manifests of one number, as a fork has them; who has the key makes one of both.
    numbers = {manifest(root).counter for root in sealed}
    contents = {(root / MANIFEST).read_bytes() for root in sealed}
    assert len(contents) == 2 and len(numbers) <= 2
    for root in (world.b, world.a):
        for hub in sealed:
            Met(root, hub, sealed=sealed)
    for hub in sealed:
        Met(world.b, hub, sealed=sealed)
    assert len({(root / MANIFEST).read_bytes() for root in (*sealed, world.a, world.b)}) == 1
    assert files(world.a) == files(world.b) == opened(world.hub) == opened(second)
    assert (world.b / "a.env").read_bytes() == b"by a"
    assert not (world.a / "empty.env").exists()


def test_resolved_through_two_hubs_without_having_met(world: World) -> None:
    """Each resolves what it finds, and finds then what the other one has resolved to."""
    sealed = _, second = two_hubs(world)
    (world.b / "a.env").write_bytes(b"by b")
    Met(world.b, second, sealed=sealed)
    (world.b / "a.env").write_bytes(b"by b, later")
    (world.a / "a.env").write_bytes(b"by a")
    for _ in range(4):
        for hub in sealed:
            for root in (world.a, world.b):
                Met(root, hub, sealed=sealed)
    assert {b"by a", b"by b, later"} <= set(files(world.a).values())
    assert files(world.a) == files(world.b) == opened(world.hub) == opened(second)
    assert len({(root / MANIFEST).read_bytes() for root in (*sealed, world.a, world.b)}) == 1


def test_copies_that_were_made_without_the_key_open_where_it_is(world: World) -> None:
    sealed = _, second = two_hubs(world)
    (world.a / "a.env").write_bytes(b"by a")
    (world.b / "a.env").write_bytes(b"by b")
    world.meet(world.a)
    Met(world.b, second, sealed=sealed)
    Plain(*sealed, secure=SecureOptions(ciphertext=True))
    (copy,) = copies(second)
    met = Met(world.b, second, sealed=sealed)
    assert not met.failures
    assert {(world.b / name).read_bytes() for name in ("a.env", copy)} == {b"by a", b"by b"}
    for hub in sealed:
        for root in (world.a, world.b):
            Met(root, hub, sealed=sealed)
    assert files(world.a) == files(world.b)
    # As it came, it is no edit; edited, it is sealed for where it is.
    assert Met(world.b, second, sealed=sealed).report.changed == 0
    (world.b / copy).write_bytes(b"edited")
    for root in (world.b, world.a):
        Met(root, second, sealed=sealed)
    assert (world.a / copy).read_bytes() == b"edited"
    assert opened(second)[copy] == b"edited"


def test_what_is_sealed_makes_way_only_for_what_was_signed_to(world: World) -> None:
    world.round()
    (world.a / "a.env").unlink()
    make(world.a / "a.env", {"in": b"in"})
    (world.b / "secrets").rename(world.b / "secrets.old")
    (world.b / "secrets.old").rename(world.b / "secrets")
    (world.b / "secrets/key").rename(world.b / "secrets/renamed")
    world.round()
    assert (world.b / "a.env/in").read_bytes() == b"in"
    assert (world.a / "secrets/renamed").read_bytes() == b"key"
    # Edited here, and a directory there.
    (world.a / "sub/b.env").unlink()
    make(world.a / "sub/b.env", {"in": b"in"})
    (world.b / "sub/b.env").write_bytes(b"edited")
    world.meet(world.a)
    assert {clash.what for clash in world.meet(world.b).clashes} == {"kind"}
    world.round()
    (copy,) = copies(world.a)
    assert (world.a / copy).read_bytes() == b"edited"
    assert (world.hub / copy).read_bytes().startswith(MAGIC)


def test_what_it_remembered_is_lost_and_nothing_else(world: World) -> None:
    world.round()
    (world.b / "a.env").write_bytes(b"newer")
    (world.b / "secrets/key").unlink()
    world.meet(world.b)
    shutil.rmtree(world.a / ".syncron")
    world.meet(world.a)
    for _ in range(2):
        world.meet(world.b)
        world.meet(world.a)
    assert files(world.a) == files(world.b) == opened(world.hub)
    assert b"newer" in files(world.a).values()
    assert b"key" in files(world.a).values()  # what was deleted elsewhere may come back


def test_a_replica_that_sees_sealed_files_is_not_run_without_the_key(world: World) -> None:
    world.round()
    with pytest.raises(GuardRefused, match="there is no key"):
        Plain(world.a, world.b)
    with pytest.raises(GuardRefused, match="say --ciphertext"):
        Plain(world.hub, world.b)


def test_both_with_the_key_meet_without_a_hub(world: World) -> None:
    world.round()
    (world.b / ".secure").write_bytes(RULES + b"/readme\n")
    (world.a / "a.env").write_bytes(b"by a")
    assert world.meet(world.a, world.b).report.match
    assert files(world.a) == files(world.b)
    # By a rule that one of them did not have yet.
    world.round()
    assert (world.hub / "readme").read_bytes().startswith(MAGIC)
    for root in (world.a, world.b):
        (root / "a.env").write_bytes(b"once more by " + root.name.encode())
    assert world.meet(world.a, world.b).report.conflicts == 1
    world.round()


def test_looking_only_changes_nothing_and_tells_the_same(world: World) -> None:
    world.round()
    (world.a / "a.env").write_bytes(b"by a")
    (world.b / "a.env").write_bytes(b"by b")
    (world.b / "secrets/new").write_bytes(b"new")
    world.meet(world.a)
    before = files(world.b), files(world.hub), (world.hub / MANIFEST).read_bytes()
    dry = world.meet(world.b, dry_run=True)
    assert before == (files(world.b), files(world.hub), (world.hub / MANIFEST).read_bytes())
    met = world.meet(world.b)
    assert [clash.path for clash in dry.clashes] == [clash.path for clash in met.clashes]
    assert {item.path for item in dry.items if item.sealed} >= {b"a.env", b"secrets/new"}
    assert b"secrets/new" in {item.path for item in met.items}


@pytest.mark.timeout(7200 if DEEP else 300)
def test_the_end_of_a_run_after_any_request_loses_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = LocalEndpoint.handle
    left = [10_000]

    def counting(end: Near, request: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionLost("Killed.")
        return handle(end, request)

    def build(top: Path) -> World:
        left[0] = 10_000
        world = World(top)
        world.round()
        (world.a / "a.env").write_bytes(b"by a")
        (world.b / "a.env").write_bytes(b"by b")
        (world.b / "secrets/key").unlink()
        (world.a / "secrets/deep/x").write_bytes(b"x by a")
        (world.b / "secrets/new").write_bytes(b"new")
        (world.b / "sub/b.env").unlink()
        (world.a / "sub/b.env").write_bytes(b"edited")
        world.meet(world.a)
        return world

    monkeypatch.setattr(Near, "handle", counting)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        world = build(Path(directory) / "whole")
        before = left[0]
        world.meet(world.b)
        requests = before - left[0]
        points = range(8, requests)
        for count in points if DEEP else spread([*points], 12):
            world = build(Path(directory) / f"{count}")
            left[0] = count
            with pytest.raises(ConnectionLost):
                world.meet(world.b)
            left[0] = 10_000
            # Whoever comes next goes on from there.
            for root in (world.a, world.b) if count % 2 else (world.b, world.a):
                world.meet(root)
            world.round()
            found = {value for value in files(world.a).values() if value is not None}
            assert {b"by a", b"by b", b"x by a", b"new", b"edited"} <= found, count
            assert "secrets/key" not in files(world.a), count


class History:
    """Random edits of two replicas with the key, and runs through one or two hubs without."""

    def __init__(self, top: Path, chance: random.Random, apart: bool) -> None:
        """``apart``: nobody changes what another one does."""
        self.world = World(top)
        self._second = top / "second"
        make(self._second, {})
        self._chance, self._apart = chance, apart
        self.hubs = [self.world.hub, self._second][: chance.choice((1, 1, 2))]
        self.written: set[bytes] = set()
        self.replaced: set[bytes] = set()
        self._earlier: dict[str, list[bytes]] = {}

    def meet(self, one: Path, other: Path) -> None:
        sealed = self.world.hub, self._second
        if one in sealed:
            Plain(one, other, secure=SecureOptions(ciphertext=True))
        else:
            met = Met(one, other, sealed=sealed)
            assert all("newest one" in each.what for each in met.failures), met.failures

    def settle(self) -> None:
        for _ in range(4):
            for hub in self.hubs:
                for root in (self.world.a, self.world.b):
                    self.meet(root, hub)

    def step(self, number: int) -> None:
        chance, world = self._chance, self.world
        root, hub = chance.choice((world.a, world.b)), chance.choice(self.hubs)
        there = [name for name, value in files(root).items() if value and name != ".secure"]
        path = root / chance.choice([*there, "secrets/n", "n.env"])
        mine = sum(map(ord, path.name)) % 2 == (root == world.a)
        what = chance.random()
        if what < 0.6 and self._apart and not mine:
            return
        if what < 0.45:
            if path.is_file():
                self.replaced.add(path.read_bytes())
            path.parent.mkdir(parents=True, exist_ok=True)
            earlier = self._earlier.setdefault(path.name, [])
            content = b"%d by %s" % (number, root.name.encode())
            if earlier and chance.random() < 0.2:
                content = chance.choice(earlier)  # taken back
                self.replaced.discard(content)
            earlier.append(content)
            path.write_bytes(content)
            self.written.add(content)
        elif what < 0.55 and path.is_file():
            self.replaced.add(path.read_bytes())
            path.unlink()
        elif what < 0.6 and path.is_file():
            os.utime(path, (number, number))
        elif what < 0.65:
            for victim in sorted(hub.glob("*.env"))[:1]:
                victim.unlink()  # by somebody without the key
        elif what < 0.7 and len(self.hubs) == 2 and self._apart:
            self.meet(*self.hubs)
        elif what < 0.95:
            self.meet(root, hub)
        else:
            self.meet(world.a, world.b)

    def assert_right(self) -> None:
        world = self.world
        tree = files(world.a)
        assert tree == files(world.b)
        assert all(opened(hub) == tree for hub in self.hubs)
        assert len({(root / MANIFEST).read_bytes() for root in (world.a, world.b, *self.hubs)}) == 1
        assert self.written - self.replaced <= set(tree.values())
        if self._apart:
            assert not copies(world.a)


@pytest.mark.timeout(7200 if DEEP else 300)
@pytest.mark.parametrize("part", range(2))
def test_random_histories_end_equal_and_lose_nothing(home: Path, part: int) -> None:
    for seed in range(part, 1000 if DEEP else 14, 2):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            chance = random.Random(seed)
            history = History(Path(directory), chance, apart=bool(part))
            history.settle()
            for number in range(chance.randint(4, 12)):
                history.step(number)
            try:
                history.settle()
                history.assert_right()
            except BaseException:
                print(f"seed {seed}")
                raise


def test_what_was_fetched_is_opened_only_if_it_is_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"somebody's")
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "nothing", "."):
        assert regular(str(tmp_path / name)) is None
    file = regular(str(secret))
    assert file is not None
    with file:
        assert file.read() == b"somebody's"
