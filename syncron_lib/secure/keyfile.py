"""The file that a keyring is kept in.

One line: `MAGIC`, a space, and in Base64 the header, the number of keys and the keys, bare or
wrapped by a passphrase. It can be printed and typed in again.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import stat
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from syncron_lib.core.names import shown
from syncron_lib.errors import KeyUnusable, WrongPassphrase
from syncron_lib.record import NamedTuple
from syncron_lib.secure.keys import MASTER_SIZE, ROOT_ID_SIZE, Keyring, Keys
from syncron_lib.secure.wrapped import BARE, MAGIC, WRAPPED

_SALT_SIZE = 16
_NONCE_SIZE = 12
_CHECK_SIZE = 16
_MAX_KEYS = 255
_MAX_FILE = 1 << 16
"""Bytes: more than the most keys need."""
_PARAMETERS = struct.Struct(">III")

Randomness = Callable[[int], bytes]


class Cost(NamedTuple):
    """What Argon2id costs: KiB of memory, passes, lanes."""

    memory: int = 65536
    passes: int = 3
    lanes: int = 4

    @property
    def is_sane(self) -> bool:
        """Whether it is neither worthless nor meant to take this machine down."""
        memory, passes, lanes = self
        return 19456 <= memory <= 1048576 and 1 <= passes <= 10 and 1 <= lanes <= 8


DEFAULT_COST = Cost()


def _wrapping_key(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    return Argon2id(
        salt=salt,
        length=32,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory,
    ).derive(passphrase)


def packed(
    keyring: Keyring,
    passphrase: bytes | None,
    random: Randomness = os.urandom,
    cost: Cost = DEFAULT_COST,
) -> bytes:
    """The content of a key file. Raises `KeyUnusable` for more keys than it can hold."""
    if len(keyring.keys) > _MAX_KEYS:
        raise KeyUnusable(
            f"The key was renewed {_MAX_KEYS - 1} times, as often as a key file has room for."
            " Nothing was changed; make another with --keygen, open the tree with --unseal, and"
            " push it anew."
        )
    masters = b"".join(keys.master for keys in keyring.keys)
    count = bytes([len(keyring.keys)])
    if passphrase is None:
        data = bytes([BARE]) + keyring.root_id + count + masters
        data += hashlib.sha256(MAGIC + data).digest()[:_CHECK_SIZE]
    else:
        salt, nonce = random(_SALT_SIZE), random(_NONCE_SIZE)
        header = bytes([WRAPPED]) + keyring.root_id + salt + _PARAMETERS.pack(*cost) + count
        key = _wrapping_key(passphrase, salt, cost)
        data = header + nonce + ChaCha20Poly1305(key).encrypt(nonce, masters, MAGIC + header)
    return MAGIC + b" " + base64.b64encode(data) + b"\n"


def unpacked(content: bytes, ask: Callable[[], bytes], where: str) -> Keyring:
    """The keyring in the ``content`` of a key file. ``ask`` gives the passphrase, where one is
    needed. Raises `KeyUnusable`."""
    damaged = KeyUnusable(f"The key file {where} is damaged; restore it from your copy of it.")
    magic, _, text = content.strip().partition(b" ")
    if magic != MAGIC:
        raise KeyUnusable(
            f"{where} is no key file that this version of syncron knows; name another with --key,"
            " or make one with syncron --keygen."
        )
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise damaged from None
    root_id, rest = data[1 : 1 + ROOT_ID_SIZE], data[1 + ROOT_ID_SIZE :]
    kind = data[0] if data else -1
    if kind == BARE:
        body, check = data[:-_CHECK_SIZE], data[-_CHECK_SIZE:]
        if hashlib.sha256(MAGIC + body).digest()[:_CHECK_SIZE] != check:
            raise damaged
        count, masters = rest[0], rest[1:-_CHECK_SIZE]
    elif kind == WRAPPED:
        header_size = _SALT_SIZE + _PARAMETERS.size + 1
        if len(rest) < header_size + _NONCE_SIZE:
            raise damaged
        salt, count = rest[:_SALT_SIZE], rest[header_size - 1]
        cost = Cost(*_PARAMETERS.unpack_from(rest, _SALT_SIZE))
        if not cost.is_sane:
            raise KeyUnusable(
                f"The key file {where} asks for {cost.memory} KiB, {cost.passes} passes and"
                f" {cost.lanes} lanes of Argon2id, which is out of bounds: somebody has changed it;"
                " restore it from your copy of it."
            )
        header, wrapped = rest[:header_size], rest[header_size:]
        nonce, wrapped = wrapped[:_NONCE_SIZE], wrapped[_NONCE_SIZE:]
        key = _wrapping_key(ask(), salt, cost)
        associated = MAGIC + bytes([WRAPPED]) + root_id + header
        try:
            masters = ChaCha20Poly1305(key).decrypt(nonce, wrapped, associated)
        except InvalidTag:
            raise WrongPassphrase(
                f"The passphrase does not open the key file {where} (or the file is damaged);"
                " try again."
            ) from None
    else:
        raise damaged
    if not count or len(masters) != count * MASTER_SIZE:
        raise damaged
    return Keyring(
        root_id,
        tuple(
            Keys.of(masters[at : at + MASTER_SIZE]) for at in range(0, len(masters), MASTER_SIZE)
        ),
    )


def new(random: Randomness = os.urandom) -> Keyring:
    """A keyring for a new tree."""
    return Keyring(random(ROOT_ID_SIZE), (Keys.of(random(MASTER_SIZE)),))


def read(path: bytes) -> bytes:
    """The content of the key file at ``path``. Raises `KeyUnusable`; for one that others could read
    or change, too."""
    where = shown(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        hint = "make one with syncron --keygen" if isinstance(error, FileNotFoundError) else ""
        raise KeyUnusable(
            f"The key file {where} cannot be read ({error.strerror});"
            f" {hint or 'check its permissions'}, or name another with --key."
        ) from None
    try:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode):
            raise KeyUnusable(f"The key file {where} is no file; name another with --key.")
        if st.st_uid not in (os.geteuid(), 0):
            raise KeyUnusable(
                f"The key file {where} belongs to somebody else; use one of your own."
            )
        if stat.S_IMODE(st.st_mode) & 0o177:
            raise KeyUnusable(
                f"The key file {where} is open to others (mode"
                f" {stat.S_IMODE(st.st_mode):04o}); make it yours alone: chmod 600 {where}"
            )
        return os.read(fd, _MAX_FILE)
    finally:
        os.close(fd)


def create(path: bytes, content: bytes) -> None:
    """Write a new key file and see it onto the disk. Raises `KeyUnusable`, also where there is
    something: a key is never overwritten."""
    where = shown(path)
    directory = os.path.dirname(path) or b"."
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _write(path, content)
        _sync_directory(directory)
    except FileExistsError:
        raise KeyUnusable(
            f"{where} is there already and is not overwritten: what it sealed needs it; name"
            " another file."
        ) from None
    except OSError as error:
        raise KeyUnusable(f"The key file {where} cannot be made ({error.strerror}).") from None


def replace(path: bytes, content: bytes) -> None:
    """Write a key file anew: at every moment there is the old one or the whole new one."""
    where = shown(path)
    path = os.path.realpath(path)
    temporary = path + b".new"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        _write(temporary, content)
        os.rename(temporary, path)
        _sync_directory(os.path.dirname(path))
    except OSError as error:
        raise KeyUnusable(
            f"The key file {where} cannot be written anew ({error.strerror}); it is as it was."
        ) from None


def _write(path: bytes, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        written = 0
        while written < len(content):
            written += os.write(fd, content[written:])
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    os.close(fd)


def _sync_directory(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
