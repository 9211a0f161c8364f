"""One tree by both its names: paths, listings, packs; and what stands there in another form."""

from __future__ import annotations

import random
import stat

import pytest

from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import is_valid_name
from syncron_lib.core.table import Table
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import Below, Directory
from syncron_lib.protocol.pack import Group, Groups, Piece
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.manifest import CLEAR
from syncron_lib.secure.naming import Naming, TopSet

LONG = b"n" * 200
OWN = Attributes(stat.S_IFDIR, 1, 2, 3)
CONTENTS = {b"zz": b"content of zz", b"a": b"a", LONG: b"long one"}


def naming(keyring: Keyring, names_key: bytes | None = None) -> Naming:
    key = keyring.current.id if names_key is None else names_key
    known = (b"secrets/" + LONG, b"sub/x.env")
    return Naming(keyring, key, known, TopSet((b"secrets", b"sub/x.env")))


def table(names: list[bytes]) -> Table:
    """A directory of files, a directory ``d`` and a symlink ``l``, if these are among the names."""
    kinds = {b"d": stat.S_IFDIR, b"l": stat.S_IFLNK}
    modes = [kinds.get(name, stat.S_IFREG) | 0o644 for name in names]
    sizes = [len(CONTENTS.get(name, b"")) for name in names]
    zeros = [0] * len(names)
    targets = [b"to/where"] * names.count(b"l")
    return Table(names, modes, sizes, zeros, zeros, zeros, bytes(16 * len(names)), targets)


def test_paths_go_there_and_come_back(keyring):
    here, there = naming(keyring), naming(keyring)
    for path in (b"", b"clear", b"sub/y", b"secrets", b"secrets/a/b", b"sub/x.env"):
        remote = here.remote(path)
        assert there.plain(remote) == path
        assert remote.count(b"/") == path.count(b"/")
    assert here.remote(b"secrets/a/b").split(b"/")[0] == here.remote(b"secrets") != b"secrets"
    assert here.remote(b"sub/x.env").startswith(b"sub/")
    assert there.plain(here.remote(b"secrets/" + LONG)) == b"secrets/" + LONG
    # What only the manifest knows is not guessed.
    assert there.plain(here.remote(b"secrets/" + LONG + b"2")) is None


def test_a_listing_comes_back_as_it_is_here(keyring):
    here, there = naming(keyring), naming(keyring)
    names = sorted((*CONTENTS, b"d", b"l"))
    seen = here.sealed_table(b"secrets", table(names))
    assert list(seen.names) == sorted(seen.names) and not set(names) & set(seen.names)
    assert seen.targets != [b"to/where"]
    own = Directory(*OWN, 0, seen, [Below(1, 2, False)])
    found = there.directory(b"secrets", own)
    assert found.table == table(names) and not there.stale
    assert here.sealed_table(b"clear", table(names)) == table(names)


def test_a_pack_comes_back_with_the_right_contents(keyring):
    here, there = naming(keyring), naming(keyring)
    names = sorted(CONTENTS)
    group = Group(b"secrets", True, True, False, OWN, table(names))
    clear = group._replace(path=b"clear", table=table([b"a"]))
    body = b"".join(CONTENTS[name] for name in names) + CONTENTS[b"a"]
    problem = messages.Problem(b"secrets/a", "vanished", True)
    sent = here.outgoing(Groups([group, clear], [problem], body))
    assert isinstance(sent, Groups) and bytes(sent.body) != body
    assert b"secrets" not in repr(sent).encode()
    assert there.incoming(sent) == Groups([group, clear], [problem], body)
    piece = Piece(b"secrets/zz", OWN, 3, 0, True, False, bytes(16), b"abc")
    assert there.incoming(here.outgoing(piece)) == piece


def test_what_has_another_form_counts_for_nothing(keyring):
    rotated = keyring.rotated(b"n" * 32)
    old, new, clear = naming(keyring), naming(rotated), naming(rotated, CLEAR)
    remote = old.remote(b"secrets")
    assert old.plain(remote) == b"secrets"
    assert new.plain(remote) is None and clear.plain(remote) is None
    assert new.plain(b"secrets") is None and clear.plain(b"secrets") == b"secrets"
    assert new.incoming(Piece(remote, OWN, 3, 0, True, False, bytes(16), b"abc")) is None
    listed = sorted((remote, new.remote(b"secrets"), b"secrets", b"readme"))
    found = new.directory(b"", Directory(*OWN, 0, table(listed), []))
    assert found.table.names == [b"readme", b"secrets"]
    assert set(new.stale) == {remote, b"secrets"}
    # A group of it is passed over, and its content with it.
    groups = [Group(path, True, True, False, OWN, table([b"zz"])) for path in (remote, b"clear")]
    content = CONTENTS[b"zz"]
    kept = new.incoming(Groups(groups, (), b"x" * len(content) + content))
    assert isinstance(kept, Groups) and [group.path for group in kept.groups] == [b"clear"]
    assert bytes(kept.body) == content


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_listed_there_is_no_name_that_leads_out(keyring, seed):
    chance = random.Random(seed)
    there = naming(keyring)
    true = there.remote(b"secrets/key").split(b"/")
    for _ in range(2000):
        bent = bytearray(chance.choice(true))
        bent[chance.randrange(len(bent))] = chance.choice(b"0123456789abcdefghijklmnopqrstuv~.-")
        name = bytes(bent)[: chance.randrange(1, 40)]
        plain = there.plain(name)
        assert plain is None or is_valid_name(plain)
        assert there.plain(true[0] + b"/" + name) is None or name == true[1]
