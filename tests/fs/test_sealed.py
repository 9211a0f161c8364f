"""The view of who has the key, request by request: what it shows, and files that change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.core.options import SecureOptions
from syncron_lib.core.role import Role
from syncron_lib.core.sealing import CHUNK, PREFIX, TAG, sealed_size
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.errors import PeerViolation
from syncron_lib.fs.sealed import KeySource, SealedView
from syncron_lib.fs.sealedreader import SealedReader
from syncron_lib.protocol import messages, pack
from syncron_lib.protocol.messages import Selected
from syncron_lib.secure import keyfile, sealed
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.sealed import Meta, Sealer
from tests.endpoint.driving import SEAL, XXH3, ask, begin, local, opening
from tests.trees import MTIME_NS, make, noise

LARGE = noise(700_000, seed=3)
TREE: dict[str, Any] = {".secure": b"*.env\n", "a.env": b"a secret\n", "plain": b"plain"}


@pytest.fixture
def ring() -> Keyring:
    return keyfile.new(lambda size: b"r" * size)


@pytest.fixture
def endpoint(tmp_path: Path, ring: Keyring) -> Iterator[LocalEndpoint]:
    """A source whose secrets are seen sealed."""
    make(tmp_path / "tree", {**TREE, "large.env": LARGE})
    key = KeySource(lambda: ring, lambda _: None, True, b"/none")
    view = SealedView(SecureOptions(), key, os.environ)
    made = LocalEndpoint(os.environ, 0o022, view=view)
    ask(made, opening(tmp_path / "tree", Role.SOURCE))
    ask(made, messages.Scan())
    viewed = ask(made, messages.UseManifest("there", b""))
    assert viewed == messages.Viewed(True, True, 2, True, True, b"", False)
    ask(made, SEAL)
    yield made
    made.close()


def packs(endpoint: LocalEndpoint, *names: bytes) -> Iterator[pack.Pack]:
    """What is sent of these files."""
    ask(endpoint, messages.Select([Selected(name, False) for name in names], (), False))
    while True:
        content = pack.unpack_pack(ask(endpoint, messages.Next()).payload)
        if isinstance(content, pack.End):
            return
        yield content


def test_sealed_files_are_listed_as_they_are_sealed(endpoint, ring):
    (directory,) = ask(endpoint, messages.List([b""], None)).directories
    sizes = dict(zip(directory.table.names, directory.table.sizes))
    assert sizes == {
        b".secure": sealed_size(6),
        b"a.env": sealed_size(9),
        b"large.env": sealed_size(len(LARGE)),
        b"plain": 5,
    }
    hashed = ask(endpoint, messages.Hash([b"a.env", b"plain"])).digests
    stored = sealed.seal(ring, b"a.env", b"a secret\n", Meta(9, 0o644, MTIME_NS, 1))
    assert hashed == XXH3.of(stored) + XXH3.of(b"plain")
    files = ask(endpoint, messages.GetSealed()).files
    assert [file.path for file in files] == [b".secure", b"a.env", b"large.env"]
    assert ask(endpoint, messages.GetChanges(True, 1 << 20, 1 << 20)).changed == ()


def test_chunk_lists_and_bases_of_sealed_files_are_not_given(endpoint):
    ask(
        endpoint,
        messages.Basis(b"large.env", "fixed", 4096, b"\0\x10\0\0", b"8 bytes.", False, False),
    )
    (whole, *rest) = list(packs(endpoint, b"large.env"))
    assert isinstance(whole, pack.Piece)
    bodies = b"".join(bytes(each.body) for each in (whole, *rest) if isinstance(each, pack.Piece))
    assert len(bodies) == sealed_size(len(LARGE))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_small_file_that_changes_after_its_hash_is_not_sent(endpoint, tmp_path, when):
    """``after``: with its time put back, so that only the ctime and its content tell."""
    place = tmp_path / "tree/a.env"
    if when == "after":
        ask(endpoint, messages.Hash([b"a.env"]))
    place.write_bytes(b"a_secret\n")
    os.utime(place, ns=(MTIME_NS, MTIME_NS))
    (groups,) = packs(endpoint, b"a.env", b"plain")
    assert isinstance(groups, pack.Groups)
    assert [(problem.path, problem.vanished) for problem in groups.problems] == [(b"a.env", True)]
    assert [group.table.names for group in groups.groups] == [[b"plain"]]
    assert bytes(groups.body) == b"plain"


def test_a_large_file_that_changes_while_it_is_sent_is_failed(endpoint, tmp_path, ring):
    big = noise(3_000_000, seed=4)
    place = tmp_path / "tree/large.env"
    place.write_bytes(big)
    os.utime(place, ns=(MTIME_NS, MTIME_NS))
    ask(endpoint, messages.Close())
    ask(endpoint, opening(tmp_path / "tree", Role.SOURCE))
    ask(endpoint, messages.Scan())
    ask(endpoint, messages.UseManifest("there", b""))
    ask(endpoint, SEAL)
    sent = []
    for number, piece in enumerate(packs(endpoint, b"large.env")):
        sent.append(piece)
        if number == 0:
            with open(place, "r+b") as file:
                file.seek(2_500_000)
                file.write(b"another secret " * 1000)
            os.utime(place, ns=(MTIME_NS, MTIME_NS))
    pieces = [each for each in sent if isinstance(each, pack.Piece)]
    assert pieces[-1].last and pieces[-1].failed
    problems = [each.problems for each in sent if isinstance(each, pack.Groups)]
    assert [problem.vanished for some in problems for problem in some] == [True]
    # What went is no XOR of the two: under one key and nonce, GCM-SIV gives them other keystreams.
    went = b"".join(bytes(piece.body) for piece in pieces)
    pure = sealed.seal(ring, b"large.env", big, Meta(len(big), 0o644, MTIME_NS, 1))
    chunk = 2_500_000 // CHUNK
    start = PREFIX + chunk * (CHUNK + TAG)
    mixed, clean = went[start : start + CHUNK], pure[start : start + CHUNK]
    now = place.read_bytes()[chunk * CHUNK : (chunk + 1) * CHUNK]
    was = big[chunk * CHUNK : (chunk + 1) * CHUNK]
    same = [a ^ b == c ^ d for a, b, c, d in zip(mixed, clean, now, was)]
    assert now != was and sum(same) < CHUNK // 64


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 200_000])
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_a_reader_gives_the_sealed_file_however_it_is_asked(tmp_path, ring, size, step):
    data = noise(size, seed=size)
    (tmp_path / "f").write_bytes(data)
    meta, pd = Meta(size, 0o600, 1, 1), hashlib.sha256(data).digest()
    with open(tmp_path / "f", "rb", buffering=0) as file:
        reader = SealedReader(file.fileno(), Sealer(ring, b"f", pd, meta), pd)
        space = memoryview(bytearray(step))
        for _ in range(2):
            found = b""
            while count := reader.read(space):
                found += space[:count]
            assert found == sealed.seal(ring, b"f", data, meta) and reader.is_true()
            assert len(found) == reader.size
            reader.rewind()
        os.truncate(tmp_path / "f", size // 2)
        while reader.read(space):
            pass
        assert reader.is_true() == (size == 0)


def test_who_has_no_key_understands_nothing_of_it(tmp_path):
    make(tmp_path / "tree", TREE)
    endpoint = local()
    begin(endpoint, tmp_path / "tree", Role.DESTINATION)
    ask(endpoint, messages.Begin((), ()))
    assert ask(endpoint, messages.GetManifest()) == messages.Manifest(b"")
    content = noise(5_000_000, seed=1)
    for part in (content[: 4 << 20], content[4 << 20 :]):
        ask(endpoint, messages.PutManifest(part, part == content[: 4 << 20]))
    found = b""
    more = True
    while more:
        reply = ask(endpoint, messages.GetManifest(len(found)))
        found, more = found + reply.content, reply.more
    assert found == content
    ask(endpoint, messages.Finish((), True, True))
    assert (tmp_path / "tree/.syncron/secure-manifest").read_bytes() == content
    assert os.listdir(tmp_path / "tree/.syncron") == ["secure-manifest"]
    opened = ask(endpoint, opening(tmp_path / "tree", Role.DESTINATION))
    assert not opened.staging  # it is no left-over
    ask(endpoint, messages.Scan())
    with pytest.raises(PeerViolation, match="no key"):
        ask(endpoint, messages.UseManifest("there", b""))
    endpoint.close()
