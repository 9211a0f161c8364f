"""``known_hosts``: is this the host's key?

Read here and not by paramiko, which does not know ``@revoked``, wildcards and ``!``, and
forgets in which file and line a key stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from syncron_lib.record import NamedTuple
from syncron_lib.transport.sshconfig import matches_any


class HostKey(NamedTuple):
    """A public host key: its type (``ssh-ed25519``) and its wire form."""

    kind: str
    blob: bytes

    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    def algorithm(self) -> str:
        """The name people know: ED25519, RSA, ECDSA."""
        return self.kind.removeprefix("ssh-").partition("-")[0].upper()


class KnownKey(NamedTuple):
    """One line of a ``known_hosts`` file that speaks about the host."""

    key: HostKey
    file: str
    line: int
    marker: str


class Verdict(Enum):
    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


def host_name_in_file(hostname: str, port: int, alias: str | None) -> str:
    """The name a host has in ``known_hosts``."""
    if alias is not None:
        return alias.lower()
    return hostname.lower() if port == 22 else f"[{hostname.lower()}]:{port}"


def find_keys(name: str, files: Iterable[str]) -> list[KnownKey]:
    """Every line about ``name``, in the order of the files. Lines that are not understood are
    passed over, as OpenSSH does; so is a file that cannot be read."""
    found = []
    for file in files:
        try:
            lines = Path(file).read_bytes().splitlines()
        except OSError:
            continue
        for number, raw in enumerate(lines, 1):
            fields = raw.decode("utf-8", "replace").split()
            if not fields or fields[0].startswith("#"):
                continue
            marker = fields.pop(0) if fields[0].startswith("@") else ""
            if len(fields) < 3 or not _names_host(fields[0], name):
                continue
            try:
                blob = base64.b64decode(fields[2], validate=True)
            except binascii.Error:
                continue
            found.append(KnownKey(HostKey(fields[1], blob), file, number, marker))
    return found


def judge(key: HostKey, known: list[KnownKey]) -> tuple[Verdict, KnownKey | None]:
    """What the lines about a host say of the key it shows, and the line that decides.

    A key of another type than the known ones is a changed key, not an unknown one: the caller
    asks the host for the known types first, so a host that shows another one has lost them.
    """
    plain = [line for line in known if not line.marker]
    for line in known:
        if line.marker == "@revoked" and line.key == key:
            return Verdict.REVOKED, line
    for line in plain:
        if line.key == key:
            return Verdict.KNOWN, line
    for line in plain:
        if line.key.kind == key.kind:
            return Verdict.CHANGED, line
    return (Verdict.CHANGED, plain[0]) if plain else (Verdict.UNKNOWN, None)


def append_key(file: str, name: str, key: HostKey, *, hashed: bool) -> None:
    """Record ``key`` for ``name`` at the end of ``file``, which is made if it is missing.

    Raises `OSError`.
    """
    os.makedirs(os.path.dirname(file) or ".", mode=0o700, exist_ok=True)
    line = f"{_hashed(name) if hashed else name} {key.kind} {base64.b64encode(key.blob).decode()}\n"
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "rb+") as stream:
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = "\n" + line
        stream.write(line.encode())


def _names_host(patterns: str, name: str) -> bool:
    if not patterns.startswith("|"):
        return matches_any(name, patterns.split(","))
    parts = patterns.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, expected = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), expected)


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
