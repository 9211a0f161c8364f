"""Modes, owners and kinds are for the other side to say, as far as the user asked for them and the
account may give them, and no further: set-id bits, devices, users that nobody knows.

The control of each refusal is in the same pack: what is honest there arrives. Collected only where
the tests run as root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.permission import MODES
from syncron_lib.core.role import Role
from syncron_lib.endpoint.base import Endpoint, RawPack
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.restriction import Within
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import IdName, IdPair
from syncron_lib.protocol.pack import Group, Groups, Piece
from tests.adversary.evil import packed
from tests.core.tables import Row, table
from tests.endpoint.driving import SEAL, XXH3, ask, expected, local, opening
from tests.fs.roots import NOBODY, as_user, public_directory
from tests.trees import File, make

ROOT, ALICE, UNKNOWN, NO_ID = 0, 4321, 54321, 0xFFFFFFFF
FILE, DIRECTORY, FIFO = stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO
CHARACTERS, BLOCKS = stat.S_IFCHR, stat.S_IFBLK
MEMORY = os.makedev(1, 1)
"""The number of ``/dev/mem``."""
CONTENT = b"#!/bin/sh\n"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty root in which anybody may write, state as well."""
    with public_directory() as top:
        for name in ("root", "state"):
            (top / name).mkdir()
            (top / name).chmod(0o777)
        monkeypatch.setenv("XDG_STATE_HOME", str(top / "state"))
        yield top / "root"


class Asked(NamedTuple):
    """Which attributes the user has asked for."""

    permissions: bool
    owner: bool
    group: bool


ALL, NO_OWNERS, NO_PERMISSIONS = (
    Asked(True, True, True),
    Asked(True, False, False),
    Asked(False, True, True),
)
NOTHING = Asked(False, False, False)
ASKED = [ALL, NO_OWNERS, NO_PERMISSIONS, NOTHING]


def row(name: bytes, mode: int, uid: int = ROOT, gid: int = ROOT) -> Row:
    if stat.S_ISREG(mode):
        return Row(name, mode, len(CONTENT), 5, uid, gid, XXH3.of(CONTENT))
    return Row(name, mode, MEMORY if mode & 0o170000 in (CHARACTERS, BLOCKS) else 0, 5, uid, gid)


SAID = [
    row(b"honest", FILE | 0o644, NOBODY, NOBODY),
    row(b"fifo", FIFO | 0o6622, NOBODY, NOBODY),
    row(b"set-id of its own", FILE | 0o6755, NOBODY, NOBODY),
    row(b"set-id of root", FILE | 0o4755),
    row(b"set-gid of root", FILE | 0o2775),
    row(b"set-id of alice", FILE | 0o6777, ALICE, ALICE),
    row(b"set-id of no user", FILE | 0o6755, NO_ID, ROOT),
    row(b"set-id of no group", FILE | 0o6755, ROOT, NO_ID),
    row(b"unknown", FILE | 0o600, UNKNOWN, UNKNOWN),
    row(b"memory", CHARACTERS | 0o666),
    row(b"disk", BLOCKS | 0o4666, ALICE, ALICE),
]
DIRECTORIES = [
    (b"open to all", Attributes(DIRECTORY | 0o7777, 5, ROOT, ROOT)),
    (b"alice's", Attributes(DIRECTORY | 0o2770, 5, ALICE, ALICE)),
    (b"nobody at all's", Attributes(DIRECTORY | 0o6755, 5, NO_ID, NO_ID)),
]


def begun(end: Endpoint, root: Path, asked: Asked, users: tuple[IdPair, ...] = ()) -> Endpoint:
    """A destination that is ready to be written to."""
    for request in (
        opening(root, Role.DESTINATION),
        messages.Scan(),
        SEAL._replace(permissions=asked.permissions, owner=asked.owner, group=asked.group),
        messages.Begin(users, ()),
    ):
        ask(end, request)
    return end


def tell_all(end: Endpoint) -> set[bytes]:
    """Say all of it by every way there is; what was refused."""
    single = [each._replace(name=b"1 " + each.name) for each in SAID]
    large = [each._replace(name=b"2 " + each.name) for each in SAID if stat.S_ISREG(each.mode)]
    same = [each._replace(name=b"3 " + each.name) for each in SAID if stat.S_ISREG(each.mode)]
    own = Attributes(DIRECTORY | 0o755, 5, NOBODY, NOBODY)
    groups = [
        Group(b"", False, True, False, own, table(*single)),
        Group(b"new", True, True, False, own, table(*SAID)),
        *(Group(name, True, True, False, said, table()) for name, said in DIRECTORIES),
    ]
    body = CONTENT * sum(stat.S_ISREG(each.mode) for each in [*single, *SAID])
    come = [expected(each.name) for each in [*single, *large]]
    trees = [expected(each.path, tree=True) for each in groups[1:]]
    ask(end, messages.Expect([*come, *trees]))
    replies = [ask(end, RawPack(packed(Groups(groups, (), body))))]
    for each in large:
        said = Attributes(each.mode, 5, each.uid, each.gid)
        piece = Piece(each.name, said, each.size, 0, True, False, each.digest, CONTENT)
        replies.append(ask(end, RawPack(packed(piece))))
    adjusted = [
        messages.SetAttributes(each.name, each.mode, 5, each.uid, each.gid) for each in same
    ]
    replies += [ask(end, messages.Adjust(adjusted)), ask(end, messages.Finish((), True))]
    return {each.path for reply in replies for each in reply.problems}


def told(root: Path, asked: Asked, restrict: str = "") -> dict[bytes, tuple[bool, os.stat_result]]:
    """All that is there at the end, by its path: whether it was refused, and what it is."""
    for each in SAID:
        if stat.S_ISREG(each.mode):
            make(root / os.fsdecode(b"3 " + each.name), File(CONTENT, mode=0o600))
    reach = (Within([os.fsencode(root)], MODES[restrict]),) if restrict else ()
    end = local(*reach)
    refused = tell_all(begun(end, root, asked))
    end.close()
    found = {
        os.fsencode(path.relative_to(root)): path.lstat()
        for path in root.rglob("*")
        if ".syncron" not in path.parts
    }
    for path in refused - found.keys():
        found[path] = os.stat_result([0] * 10)
    return {path: (path in refused, st) for path, st in found.items()}


def said_of(path: bytes) -> tuple[int, int, int]:
    """Mode, user and group that the other side said of a path."""
    for name, own in DIRECTORIES:
        if path == name:
            return own.mode, own.uid, own.gid
    name = path.removeprefix(b"new/").lstrip(b"123 ")
    ((_, mode, _, _, uid, gid, *_),) = [each for each in SAID if each.name == name]
    return mode, uid, gid


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_root_gives_what_was_asked_for(asked: Asked, place: Path) -> None:
    found = told(place, asked)
    files = sum(stat.S_ISREG(each.mode) for each in SAID)
    assert len(found) == 2 * (len(SAID) + files) + 1 + len(DIRECTORIES)
    for path, (refused, st) in found.items():
        if path == b"new":
            continue
        mode, uid, gid = said_of(path)
        is_there_before = path.startswith(b"3 ")
        if NO_ID in (uid, gid) and asked.owner:
            assert refused, path
            assert not st.st_mode & 0o6000, path
            assert st.st_uid == ROOT
            continue
        assert not refused, path
        if asked.owner:
            assert (st.st_uid, st.st_gid) == (uid, gid), path
        else:
            assert (st.st_uid, st.st_gid) == (ROOT, ROOT), path
        if asked.permissions:
            assert st.st_mode == mode, path
        elif is_there_before:
            assert st.st_mode == FILE | 0o600, path
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            assert stat.S_IMODE(st.st_mode) == 0o600, path
        else:
            assert stat.S_IMODE(st.st_mode) == mode & 0o755, path
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            assert st.st_rdev == MEMORY


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_anyone_else_makes_nothing_that_is_not_its_own(asked: Asked, place: Path) -> None:
    found = as_user(lambda: told(place, asked))
    done = [path for path, (refused, _) in found.items() if not refused]
    for path, (refused, st) in found.items():
        if path == b"new":
            continue
        mode, uid, gid = said_of(path)
        if st.st_mode:
            assert (st.st_uid, st.st_gid) == (NOBODY, NOBODY), path
            assert not stat.S_ISCHR(st.st_mode), path
            assert not stat.S_ISBLK(st.st_mode), path
            # What is set-id is so for this account, and only where the user asked for modes.
            assert not st.st_mode & 0o6000 or asked.permissions, path
            if refused:
                assert not st.st_mode & 0o6000 or stat.S_ISDIR(mode), path
        is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        is_mine = (uid, gid) == (NOBODY, NOBODY)
        assert refused == (is_device or (asked.owner and not is_mine)), path
    assert {b"new/honest", b"1 honest", b"2 honest", b"new/fifo"} <= set(done)


@pytest.mark.parametrize("restrict", ["--append-only", "--no-delete"])
@pytest.mark.parametrize("is_root", [True, False])
def test_a_restricted_account_is_held_to_the_same(
    restrict: str, is_root: bool, place: Path
) -> None:
    """What it may add, it may add as any other; what is there is not to become set-id."""
    found = (lambda work: work() if is_root else as_user(work))(lambda: told(place, ALL, restrict))
    assert not found[b"new/honest"][0]
    for path, (refused, st) in found.items():
        if path.startswith(b"3 ") and restrict == "--append-only":
            assert refused
            assert (st.st_mode, st.st_uid) == (FILE | 0o600, ROOT if is_root else NOBODY), path
        elif st.st_mode and not is_root:
            assert (st.st_uid, st.st_gid) == (NOBODY, NOBODY), path
            assert not stat.S_ISBLK(st.st_mode), path


# --- programs that others have trusted ------------------------------------------------------------


def replaced(root: Path, asked: Asked, in_place: bool) -> list[os.stat_result]:
    """Programs of alice and of root, set-id, that get another content."""
    names = [b"alice's", b"root's", b"alice's large", b"root's large"]
    for name in names:
        owner = (ALICE, ALICE) if b"alice" in name else (ROOT, ROOT)
        make(root / os.fsdecode(name), File(b"what it was", owner=owner))
        os.chmod(root / os.fsdecode(name), 0o6755)
    end = local()
    for request in (
        opening(root, Role.DESTINATION),
        messages.Scan(),
        SEAL._replace(permissions=asked.permissions, owner=asked.owner, group=asked.group),
        messages.Begin((), (), in_place),
        messages.Expect([expected(name) for name in names]),
    ):
        ask(end, request)
    rows = [row(name, FILE | 0o755) for name in names[:2]]
    own = Attributes(DIRECTORY | 0o755, 5, ROOT, ROOT)
    group = Group(b"", False, True, False, own, table(*rows))
    stored = ask(end, RawPack(packed(Groups([group], (), CONTENT * 2))))
    assert stored.problems == []
    for name in names[2:]:
        said = Attributes(FILE | 0o755, 5, ROOT, ROOT)
        piece = Piece(name, said, len(CONTENT), 0, True, False, XXH3.of(CONTENT), CONTENT)
        assert ask(end, RawPack(packed(piece))).problems == []
    ask(end, messages.Finish((), True))
    end.close()
    for name in names:
        assert (root / os.fsdecode(name)).read_bytes() == CONTENT
    return [(root / os.fsdecode(name)).stat() for name in names]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("asked", [NO_PERMISSIONS, NOTHING], ids=str)
def test_a_set_id_bit_does_not_pass_to_another_owner(
    tmp_path: Path, asked: Asked, in_place: bool
) -> None:
    """Without --perms a file keeps its permissions when its content changes. If the new file is
    another's, alice's program would from then on work for that one."""
    for index, st in enumerate(replaced(tmp_path, asked, in_place)):
        is_alices = index % 2 == 0
        if is_alices and (asked.owner or not in_place):
            assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (ROOT, 0o755), index
        else:  # it is whose it was
            assert st.st_uid == (ALICE if is_alices else ROOT)
            assert stat.S_IMODE(st.st_mode) == 0o6755, index


# --- names of users -------------------------------------------------------------------------------

NAMES = [
    (7001, b"root", 0),
    (7002, b"nobody", NOBODY),
    (7003, b"a user that nobody has heard of", None),
    (7004, b"", None),
    (7005, b"ro\0ot", None),
    (7006, b"0", None),
    (7007, b"+0", None),
    (7008, b"root\n", None),
    (7009, b"\xff\xfe", None),
    (7010, b"../root", None),
    (7011, b"x" * 1_000_000, None),
    (0, b"nobody", None),
    (NO_ID, b"a stranger", None),
]


def test_a_name_stands_for_the_user_who_has_it_here_and_for_no_other(tmp_path: Path) -> None:
    """Names that nobody has leave the number as it is; root's number stays root's."""
    end = local()
    ask(end, opening(tmp_path, Role.DESTINATION))
    asked = [IdName(number, name) for number, name, _ in NAMES]
    mapped = ask(end, messages.MapIds(asked, asked))
    end.close()
    known = [IdPair(number, here) for number, _, here in NAMES if here is not None]
    assert list(mapped.users) == known
    assert [each for each in mapped.groups if each.source == 7001] == [IdPair(7001, 0)]
    assert {each.source for each in mapped.groups} <= {7001, 7002}


def test_a_pair_that_says_no_id_is_refused_entry_by_entry(tmp_path: Path) -> None:
    end = begun(local(), tmp_path, ALL, (IdPair(ALICE, NO_ID),))
    rows = [row(b"alice's", FILE | 0o4755, ALICE), row(b"honest", FILE | 0o755, NOBODY)]
    ask(end, messages.Expect([expected(each.name) for each in rows]))
    own = Attributes(DIRECTORY | 0o755, 5, ROOT, ROOT)
    group = Group(b"", False, True, False, own, table(*rows))
    stored = ask(end, RawPack(packed(Groups([group], (), CONTENT * 2))))
    assert [each.path for each in stored.problems] == [b"alice's"]
    assert "nobody can have such an owner" in stored.problems[0].what
    assert set(os.listdir(tmp_path)) <= {"honest", ".syncron"}
    end.close()


# --- what another user left in staging ------------------------------------------------------------


def planted(root: Path) -> tuple[Path, Path]:
    """Nobody's staging in a tree of its own: content that the source will send, of which nobody
    keeps another name (which is outside of the tree), and an open descriptor."""
    mine = root / "mine"
    mine.write_bytes(CONTENT)
    staging = root / "tree/.syncron"
    (staging / "n1").mkdir(parents=True)
    os.link(mine, staging / "n1/program")
    (staging / "n2").write_bytes(CONTENT)
    records = [b"n1\0tree\0new\x000\x000\0", b"n2\0file\0large\x00%d\x005\0" % len(CONTENT)]
    (staging / "index").write_bytes(b"".join(records))
    return mine, staging


def test_root_uses_nothing_that_another_user_left(tmp_path: Path) -> None:
    """Else nobody could write into what by then is root's program."""
    with public_directory() as top:
        as_user(lambda: planted(top)[0].stat().st_uid)
        before = (top / "mine").stat()
        held = os.open(top / "tree/.syncron/n2", os.O_RDWR)
        end = local()
        for request in (opening(top / "tree", Role.DESTINATION), messages.Scan(), SEAL):
            ask(end, request)
        assert ask(end, messages.Begin((), ())).arrived == []
        assert not (top / "tree/.syncron/n1").exists()
        after = (top / "mine").stat()
        assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
        assert os.fstat(held).st_nlink == 0
        os.close(held)
        end.close()


def test_root_uses_nothing_of_a_staging_that_was_open_to_all(tmp_path: Path) -> None:
    _, staging = planted(tmp_path)
    for mode, found in ((0o700, 2), (0o777, 0)):
        staging.chmod(mode)
        end = local()
        for request in (opening(tmp_path / "tree", Role.DESTINATION), messages.Scan(), SEAL):
            ask(end, request)
        assert len(ask(end, messages.Begin((), ())).arrived) == found
        end.close()


def test_a_symlink_that_is_not_munged_is_refused(tmp_path: Path) -> None:
    """Who asks for munged symlinks does not trust the source, which may say what it likes."""
    for target in (b"/etc", b"x", b"/rsyncd-munged", b"rsyncd-munged/x"):
        for tree in (False, True):
            root = tmp_path / f"{len(target)}{tree}"
            root.mkdir()
            end = LocalEndpoint({"XDG_STATE_HOME": str(tmp_path / "state")}, 0o022)
            view = messages.View(munge=2)
            for request in (
                opening(root, Role.DESTINATION)._replace(view=view),
                messages.Scan(),
                SEAL,
                messages.Begin((), ()),
                messages.Expect([expected(b"d" if tree else b"a", tree=tree)]),
            ):
                ask(end, request)
            rows = table(Row(b"a", stat.S_IFLNK | 0o777, 0, 5, ROOT, ROOT, bytes(16), target))
            own = Attributes(DIRECTORY | 0o755, 5, ROOT, ROOT)
            group = Group(b"d" if tree else b"", tree, True, False, own, rows)
            with pytest.raises(PeerViolation, match="could be followed"):
                ask(end, RawPack(packed(Groups([group], (), b""))))
            end.close()
            assert not list(root.glob("[ad]*"))
