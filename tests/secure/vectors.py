"""Known answers: ``vectors.json`` has what these inputs must give for as long as there are sealed
files. ``python -m tests.secure.vectors`` writes it, once for each version of the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from syncron_lib.secure import keyfile, sealed
from syncron_lib.secure.keyfile import Cost
from syncron_lib.secure.keys import Keyring, Keys
from syncron_lib.secure.manifest import NO_SALT, Entry, Manifest
from syncron_lib.secure.names import NameSealer
from syncron_lib.secure.sealed import Meta

FILE = Path(__file__).with_suffix(".json")
PASSPHRASE = b"correct horse battery staple"
_ROOT_ID = bytes(range(16))
_NEW, _OLD = bytes(range(32)), bytes(range(100, 132))
_SAMPLES = {
    "empty": (b".env", b"", Meta(0, 0o600, 0, 1)),
    "short": (b"secrets/\xff", b"PASSWORD=hunter2\n", Meta(17, 0o4755, -1, 2)),
    "chunk": (b"a", b"0123456789abcdef" * 4096, Meta(65536, 0o644, 1_600_000_000_123_456_789, 9)),
}


def keyring() -> Keyring:
    return Keyring(_ROOT_ID, (Keys.of(_NEW), Keys.of(_OLD)))


def computed() -> dict[str, Any]:
    """The answers that the code gives."""
    ring = keyring()
    steady = lambda size: bytes(range(size))  # noqa: E731
    files = {}
    for name, (path, plain, meta) in _SAMPLES.items():
        stored = sealed.seal(ring, path, plain, meta)
        # Of a long one the beginning and the end.
        files[name] = {
            "path": path.hex(),
            "plain": plain[:32].hex(),
            "meta": list(meta),
            "size": len(stored),
            "begins": stored[:200].hex(),
            "ends": stored[-48:].hex(),
        }
    entries = {b"a": Entry(b"s" * 32, 2, False), b"b": Entry(NO_SALT, 0, False)}
    listed = frozenset((b"secrets", b"secrets/" + b"n" * 200))
    names = NameSealer(ring, ring.current)
    return {
        "keys": {name: getattr(ring.current, name).hex() for name in Keys._fields},
        "bare": keyfile.packed(ring, None).decode(),
        "wrapped": keyfile.packed(ring, PASSPHRASE, steady, Cost(19456, 2, 1)).decode(),
        "files": files,
        "manifest": Manifest(5, entries, ring.current.id, True, listed).sealed(ring).hex(),
        "names": {
            name.decode(): names.seal_path(name).decode() for name in (b".env", b"secrets/key")
        },
        "target": names.seal_target(names.seal_path(b"secrets/link"), b"../to/where").decode(),
        "long name": names.seal(b"", b"n" * 200).decode(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(computed(), indent=1) + "\n")
