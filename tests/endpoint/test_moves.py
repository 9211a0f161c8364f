"""Moves and references between two endpoints, whatever happens meanwhile, whoever asks."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncron_lib.core.role import Role
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages
from syncron_lib.protocol.contents import Content, pack_contents, pack_sizes, unpack_contents
from syncron_lib.protocol.messages import Moved, SetAttributes
from syncron_lib.protocol.pack import Group
from tests import trees
from tests.core.tables import Row, table
from tests.deep import DEEP
from tests.endpoint.driving import (
    OWN,
    XXH3,
    Outcome,
    ask,
    begin,
    carry_out,
    expected,
    group,
    local,
    start_writing,
    store_groups,
    synchronize,
)
from tests.fs.roots import as_user, public_directory, settle
from tests.trees import assert_same, make, noise, read


def rearrange(top: Path, changes: list[tuple[str, int, int]]) -> None:
    """Rename, copy, edit and remove some of what is there, chosen by number."""
    for number, (what, first, second) in enumerate(changes):
        found = sorted(path for path in top.rglob("*") if not path.is_symlink())
        if not found:
            return
        old = found[first % len(found)]
        places = [top, *(path for path in found if path.is_dir())]
        places = [path for path in places if old not in (path, *path.parents)]
        place = places[second % len(places)] / f"n{number}"
        if what == "rename":
            os.rename(old, place)
        elif what == "copy" and old.is_file():
            shutil.copy2(old, place)
        elif what == "edit" and old.is_file():
            old.write_bytes(old.read_bytes() + b"edited")
        elif what == "remove":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        elif what == "swap":
            other = found[second % len(found)]
            if other != old and old not in other.parents and other not in old.parents:
                os.rename(old, top.parent / "aside")
                os.rename(other, old)
                os.rename(top.parent / "aside", other)


@pytest.mark.parametrize("seed", range(40 if DEEP else 12))
def test_whatever_is_renamed_the_destination_follows(tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    source, destination = tmp_path / "source", tmp_path / "destination"
    contents = [b"", b"x", noise(200), noise(300), noise(5000), noise(600_000)]
    files: dict[str, trees.Literal] = {
        f"f{each}": content for each, content in enumerate(contents * 2)
    }
    make(source, {"a": {**files, "link": trees.Link(b"f1")}, "b": {"c": {"d": files}, "e": {}}})
    destination.mkdir()
    for _ in range(3):
        outcome = synchronize(local(), local(), source, destination)
        assert outcome.failures == []
        assert outcome.roots[0] == outcome.roots[1] != bytes(16)
        assert_same(source, destination)
        kinds = ["rename", "rename", "copy", "edit", "remove", "swap"]
        changes = [
            (generator.choice(kinds), generator.randrange(99), generator.randrange(99))
            for _ in range(generator.randrange(6))
        ]
        rearrange(source, changes)


# --- what changes between the plan and the move --------------------------------------------------


@pytest.fixture
def trees_alike(tmp_path: Path) -> Path:
    literal: trees.Literal = {
        "d": {"a": noise(3000), "b": noise(2000)},
        "f": noise(5000),
        "top": b"top",
    }
    make(tmp_path / "source", literal)
    shutil.copytree(tmp_path / "source", tmp_path / "destination", symlinks=True)
    settle()
    outcome = synchronize(local(), local(), tmp_path / "source", tmp_path / "destination")
    assert outcome.content == 0
    os.rename(tmp_path / "source/d", tmp_path / "source/e")
    os.rename(tmp_path / "source/f", tmp_path / "source/g")
    return tmp_path


def _moved_while(top: Path, change: object) -> Outcome:
    source, destination = local(), local()
    begin(source, top / "source", Role.SOURCE)
    begin(destination, top / "destination", Role.DESTINATION)
    try:
        return carry_out(source, destination, when_planned=change)  # type: ignore[arg-type]
    finally:
        source.close()
        destination.close()


def test_nothing_is_read_or_sent_for_a_move(trees_alike):
    outcome = _moved_while(trees_alike, lambda: None)
    assert [(m.old, m.path) for m in outcome.plan.moves] == [(b"d", b"e"), (b"f", b"g")]
    assert outcome.content == 0
    assert_same(trees_alike / "source", trees_alike / "destination")


def test_a_file_that_was_edited_is_not_moved(trees_alike):
    there = trees_alike / "destination"
    outcome = _moved_while(trees_alike, lambda: (there / "f").write_bytes(b"edited"))
    assert (there / "g").read_bytes() == (trees_alike / "source/g").read_bytes()
    assert (there / "f").read_bytes() == b"edited"
    assert [failure.path for failure in outcome.failures] == [b"f"]
    assert not (there / "d").exists()


def test_a_directory_that_got_something_new_is_not_moved(trees_alike):
    there = trees_alike / "destination"
    outcome = _moved_while(trees_alike, lambda: (there / "d/mine").write_bytes(b"mine"))
    assert (there / "d/mine").read_bytes() == b"mine"
    assert not (there / "d/a").exists()
    assert (there / "e/a").read_bytes() == (trees_alike / "source/e/a").read_bytes()
    assert not (there / "e/mine").exists()
    assert outcome.plan.moved == 1


def test_nothing_is_moved_over_what_appeared(trees_alike):
    there = trees_alike / "destination"

    def change() -> None:
        (there / "g").write_bytes(b"mine")
        make(there / "e", {"mine": b"mine"})

    outcome = _moved_while(trees_alike, change)
    assert (there / "g").read_bytes() == b"mine"
    assert (there / "e/mine").read_bytes() == b"mine"
    assert {failure.path for failure in outcome.failures} == {b"g", b"e"}
    assert set(outcome.plan.instead) == {b"g", b"e"}


def test_what_vanished_is_sent(trees_alike):
    there = trees_alike / "destination"

    def change() -> None:
        shutil.rmtree(there / "d")
        (there / "f").unlink()

    outcome = _moved_while(trees_alike, change)
    assert outcome.failures == []
    assert_same(trees_alike / "source", there)
    assert outcome.roots[0] == outcome.roots[1]


# --- requests by hand -----------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path / "outside", {"sentinel": b"precious"})
    make(tmp_path / "root", {"old": b"old", "d": {"f": b"in d", "e": {}}, "x": b"x"})
    os.symlink(tmp_path / "outside", tmp_path / "root/way out")
    return tmp_path / "root"


@pytest.fixture
def endpoint(root: Path) -> Iterator[LocalEndpoint]:
    found = local()
    outside = read(root.parent / "outside")
    yield found
    found.close()
    assert trees.differences(read(root.parent / "outside"), outside) == []


def _attributes(path: bytes) -> SetAttributes:
    return SetAttributes(path, *OWN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"old", b"x"),
        (b"old", b"d"),
        (b"old", b"d/f"),
        (b"old", b"old"),
        (b"old", b"nowhere/old"),
        (b"old", b"way out/old"),
        (b"way out/sentinel", b"mine"),
        (b"way out", b"out"),
        (b"old", b".syncron"),
        (b"old", b".syncron/old"),
        (b"d", b"d/e/d"),
        (b"d", b""),
        (b"", b"d/root"),
        (b"d", b"x"),
        (b"missing", b"new"),
    ],
)
def test_what_cannot_be_moved_stays(endpoint, root, old, new):
    start_writing(endpoint, root)
    before = read(root)
    stored = ask(endpoint, messages.Move((), [Moved(old, new)]))
    assert (stored.entries, list(stored.again)) == (0, [new])
    assert trees.differences(read(root), before) == []


@pytest.mark.parametrize("path", [b"d", b"old", b"nowhere/x", b"way out/x", b".syncron", b""])
def test_what_cannot_be_made_is_a_problem(endpoint, root, path):
    start_writing(endpoint, root)
    before = read(root)
    stored = ask(endpoint, messages.Move([_attributes(path)], ()))
    assert [problem.path for problem in stored.problems] == [path]
    assert trees.differences(read(root), before) == []


def test_moves_follow_each_other(endpoint, root):
    start_writing(endpoint, root)
    makes = [_attributes(b"new"), _attributes(b"new/er")]
    items = [Moved(b"d/f", b"new/f"), Moved(b"d", b"new/er/d"), Moved(b"new/er/d", b"again")]
    stored = ask(endpoint, messages.Move(makes, items))
    # What was moved a moment ago is known by its new name only after the request.
    assert (stored.entries, list(stored.again)) == (2, [b"again"])
    assert list(ask(endpoint, messages.Move((), items[2:])).again) == []
    assert (root / "new/f").read_bytes() == b"in d"
    assert (root / "again/e").is_dir()
    assert ask(endpoint, messages.Delete([b"again", b"new"])).entries == 5
    assert sorted(os.listdir(root)) == ["old", "way out", "x"]


def test_nothing_is_moved_before_the_plan_is_accepted(endpoint, root):
    begin(endpoint, root, Role.DESTINATION)
    with pytest.raises(PeerViolation):
        ask(endpoint, messages.Move((), [Moved(b"old", b"new")]))


def _reference(path: bytes, content: bytes) -> tuple[messages.Expected, Group]:
    row = Row(path, 0o100644, len(content), 5, os.geteuid(), os.getegid(), XXH3.of(content))
    return expected(path), group(b"", table(row))._replace(kept=True)


def test_a_reference_to_what_is_nowhere_is_asked_for(endpoint, root):
    item, reference = _reference(b"new", b"unheard of")
    start_writing(endpoint, root, [item])
    stored = store_groups(endpoint, [reference])
    assert (stored.entries, list(stored.again), stored.problems) == (0, [b"new"], [])
    assert not (root / "new").exists()


def test_a_reference_to_what_was_not_expected_is_refused(endpoint, root):
    _, reference = _reference(b"new", b"in d")
    start_writing(endpoint, root)
    with pytest.raises(PeerViolation, match="not asked for"):
        store_groups(endpoint, [reference])


@pytest.mark.parametrize("change", ["edit", "remove", "link"])
def test_content_is_looked_at_when_it_is_copied(endpoint, root, change):
    content = noise(1000)
    (root / "d/f").write_bytes(content)
    settle()
    item, reference = _reference(b"new", content)
    begin(endpoint, root, Role.DESTINATION)
    ask(endpoint, messages.Hash([b"d/f"]))
    ask(endpoint, messages.Begin((), ()))
    ask(endpoint, messages.Expect([item]))
    found = ask(endpoint, messages.Find(pack_sizes([1000])))
    assert list(unpack_contents(found.contents)) == [Content(1000, XXH3.of(content))]
    if change == "edit":
        (root / "d/f").write_bytes(noise(1000, seed=2))
    else:
        (root / "d/f").unlink()
    if change == "link":
        (root.parent / "copy").write_bytes(content)
        os.symlink(root.parent / "copy", root / "d/f")
    stored = store_groups(endpoint, [reference])
    assert (stored.entries, list(stored.again)) == (0, [b"new"])


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_replaced_can_still_be_referred_to(endpoint, root, wanted):
    content = noise(600_000)
    (root / "d/f").write_bytes(content)
    settle()
    item, reference = _reference(b"new", content)
    start_writing(endpoint, root, [item, expected(b"d/f")])
    found = ask(endpoint, messages.Find(pack_sizes([600_000])))
    assert found.contents == pack_contents([Content(600_000, XXH3.of(content))])
    if wanted:
        assert ask(endpoint, messages.Keep(XXH3.of(content))) == messages.Done()
    row = Row(b"f", 0o100644, 5, 5, os.geteuid(), os.getegid(), XXH3.of(b"other"))
    assert store_groups(endpoint, [group(b"d", table(row))], b"other").entries == 1
    stored = store_groups(endpoint, [reference])
    assert list(stored.again) == ([] if wanted else [b"new"])
    assert (root / "d/f").read_bytes() == b"other"
    ask(endpoint, messages.Finish((), True))
    assert not (root / ".syncron").exists()


@pytest.mark.parametrize("message", [messages.Find(b"1234567"), messages.Find(b"123456789")])
def test_a_list_that_is_cut_off_is_refused(endpoint, root, message):
    start_writing(endpoint, root)
    with pytest.raises(PeerViolation, match="cut off"):
        ask(endpoint, message)


def test_a_directory_that_its_owner_may_not_write_to_is_moved(monkeypatch):
    def outcome(root: Path) -> tuple[int, list[bytes]]:
        end = local()
        start_writing(end, root)
        stored = ask(end, messages.Move((), [Moved(b"closed", b"moved")]))
        end.close()
        return stored.entries, list(stored.again)

    with public_directory() as base:
        make(base / "root", {"closed": {"f": b"in it"}})
        (base / "state").mkdir()
        monkeypatch.setenv("XDG_STATE_HOME", str(base / "state"))
        for path in (base / "root", base / "root/closed", base / "root/closed/f", base / "state"):
            if os.geteuid() == 0:
                os.chown(path, 65534, -1)
        (base / "root/closed").chmod(0o555)
        assert as_user(lambda: outcome(base / "root")) == (1, [])
        assert (base / "root/moved").stat().st_mode & 0o7777 == 0o555
        assert (base / "root/moved/f").read_bytes() == b"in it"
