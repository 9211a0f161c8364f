"""Key files: made, read, refused."""

from __future__ import annotations

import base64
import os
import stat
import struct

import pytest

from syncron_lib.errors import KeyUnusable, WrongPassphrase
from syncron_lib.secure import keyfile
from syncron_lib.secure.keyfile import Cost
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.wrapped import MAGIC, needs_passphrase

CHEAP = Cost(19456, 1, 1)


def never() -> bytes:
    raise AssertionError("asked for a passphrase")


def wrapped(keyring: Keyring, cost: Cost = CHEAP) -> bytes:
    return keyfile.packed(keyring, b"open sesame", cost=cost)


def with_parameters(content: bytes, *parameters: int) -> bytes:
    data = bytearray(base64.b64decode(content.split()[1]))
    struct.pack_into(">III", data, 33, *parameters)
    return MAGIC + b" " + base64.b64encode(data) + b"\n"


def test_a_bare_keyring_comes_back(keyring):
    rotated = keyring.rotated(b"n" * 32)
    for each in (keyring, rotated):
        content = keyfile.packed(each, None)
        assert not needs_passphrase(content)
        assert keyfile.unpacked(content, never, "k") == each


def test_more_keys_than_a_file_holds_are_refused(keyring):
    full = keyring._replace(keys=keyring.keys[:1] * 255)
    assert len(keyfile.unpacked(keyfile.packed(full, None), never, "key").keys) == 255
    with pytest.raises(KeyUnusable, match="254 times"):
        keyfile.packed(full._replace(keys=keyring.keys[:1] * 256), None)


def test_a_wrapped_keyring_comes_back_with_its_passphrase_only(keyring):
    content = wrapped(keyring.rotated(b"n" * 32))
    assert needs_passphrase(content)
    assert keyring.current.master not in base64.b64decode(content.split()[1])
    assert keyfile.unpacked(content, lambda: b"open sesame", "k").keys[1] == keyring.current
    with pytest.raises(WrongPassphrase, match="does not open"):
        keyfile.unpacked(content, lambda: b"open sesam", "k")


def test_the_default_cost_is_the_documented_one():
    assert keyfile.DEFAULT_COST == (65536, 3, 4)


@pytest.mark.parametrize(
    "parameters",
    [(19455, 3, 4), (1048577, 3, 4), (65536, 0, 4), (65536, 11, 4), (65536, 3, 0), (65536, 3, 9)],
)
def test_hostile_parameters_are_refused_before_they_cost_anything(keyring, parameters):
    content = with_parameters(wrapped(keyring), *parameters)
    with pytest.raises(KeyUnusable, match="out of bounds"):
        keyfile.unpacked(content, never, "k")


def test_parameters_within_bounds_are_authenticated(keyring):
    content = with_parameters(wrapped(keyring), 19457, 1, 1)
    with pytest.raises(WrongPassphrase):
        keyfile.unpacked(content, lambda: b"open sesame", "k")


def test_every_flipped_bit_of_a_bare_keyring_is_found(keyring):
    data = base64.b64decode(keyfile.packed(keyring, None).split()[1])
    for bit in range(len(data) * 8):
        bent = bytearray(data)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(KeyUnusable):
            keyfile.unpacked(b"SYNCKEY1 " + base64.b64encode(bent), lambda: b"x", "k")


@pytest.mark.parametrize(
    "content", [b"", b"SYNCKEY1", b"SYNCKEY1 ", b"SYNCKEY1 AQ==", b"SYNCKEY2 AAAA", b"SYNCKEY1 ?"]
)
def test_noise_is_no_keyring(content):
    with pytest.raises(KeyUnusable):
        keyfile.unpacked(content, lambda: b"x", "k")


def test_a_file_is_made_for_its_owner_alone_and_never_overwritten(tmp_path, keyring):
    path = os.fsencode(tmp_path / "new" / "key")
    content = keyfile.packed(keyring, None)
    keyfile.create(path, content)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert keyfile.read(path) == content
    with pytest.raises(KeyUnusable, match="not overwritten"):
        keyfile.create(path, b"other")
    assert keyfile.read(path) == content


def test_a_file_is_replaced_whole(tmp_path, keyring):
    path = os.fsencode(tmp_path / "key")
    keyfile.create(path, b"old")
    (tmp_path / "key.new").write_bytes(b"left by a run that was killed")
    keyfile.replace(path, keyfile.packed(keyring, None))
    assert keyfile.read(path) == keyfile.packed(keyring, None)
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o700])
def test_a_file_that_is_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    path.write_bytes(b"SYNCKEY1 x")
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match=f"{mode:04o}.*chmod 600"):
        keyfile.read(os.fsencode(path))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(KeyUnusable, match="--keygen"):
        keyfile.read(os.fsencode(tmp_path / "none"))
    with pytest.raises(KeyUnusable, match="is no file"):
        keyfile.read(os.fsencode(tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeyUnusable, match="is no file"):
        keyfile.read(os.fsencode(tmp_path / "fifo"))


def test_nothing_shows_a_key(keyring):
    shown = repr(keyring) + repr(keyring.current) + str(keyring)
    assert keyring.current.master.hex() not in shown
    assert repr(keyring.current.master) not in shown
