"""What the tests of sealed files share: a tree with secrets, a key, and both ways to seal."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Command, Ended
from tests.trees import make, noise

SMALL = b"PASSWORD=hunter2-and-some-more\n"
LARGE = noise(1_300_000, seed=5)
"""More than a piece, and no whole number of chunks."""
RULES = b"/secrets/\n*.env\n!public.env\n"


def tree() -> dict[str, Any]:
    """Secrets among other things."""
    return {
        ".secure": RULES,
        "a.env": SMALL,
        "empty.env": b"",
        "public.env": b"no secret\n",
        "readme": b"no secret either\n" * 100,
        "secrets": {"key": b"-----BEGIN KEY-----", "large": LARGE, "more": {"deep": b"deep"}},
        "sub": {"b.env": b"another secret of sub", "c": b"plain c"},
    }


SEALED = {".secure", "a.env", "empty.env", "sub/b.env"} | {
    f"secrets/{name}" for name in ("key", "large", "more/deep")
}


@dataclass
class Bench:
    """A tree, where it is sealed, where it is opened again."""

    syncron: Command
    top: Path

    @property
    def source(self) -> Path:
        return self.top / "source"

    @property
    def sealed(self) -> Path:
        return self.top / "sealed"

    @property
    def opened(self) -> Path:
        return self.top / "opened"

    @property
    def key(self) -> Path:
        return Path(os.environ["XDG_CONFIG_HOME"]) / "syncron/key"

    def seal(self, *words: str, **more: Any) -> Ended:
        """Seal the tree."""
        return self.syncron("--json", "--seal", *words, self.source, self.sealed, **more)

    def unseal(self, *words: str, **more: Any) -> Ended:
        """Open it."""
        return self.syncron("--json", "--unseal", *words, self.sealed, self.opened, **more)

    def sealed_ok(self, *words: str) -> dict[str, Any]:
        ended = self.seal(*words)
        assert ended.code == 0, (ended.err, ended.out)
        assert ended.summary["match"] is True
        return ended.summary

    def unsealed_ok(self, *words: str) -> dict[str, Any]:
        ended = self.unseal(*words)
        assert ended.code == 0, (ended.err, ended.out)
        return ended.summary


def contents(top: Path) -> dict[str, bytes]:
    """Every file, but for syncron's own."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_file() and not name.startswith(".syncron"):
            found[name] = path.read_bytes()
    return found


def needles(top: Path) -> Iterator[bytes]:
    """What must be nowhere: beginnings of secrets, and their digests."""
    for name in SEALED:
        data = (top / name).read_bytes()
        if len(data) > 8:
            yield from (data[:16], data[-16:])
            if len(data) > 1000:
                yield data[500_000:500_016]
        digest = hashlib.sha256(data)
        yield from (digest.digest(), digest.digest()[:16], digest.hexdigest().encode())
        import xxhash

        if data:
            yield from (xxhash.xxh3_128_digest(data), xxhash.xxh3_128_hexdigest(data).encode())


def captured(top: Path) -> tuple[str, Path]:
    """An --rsh that runs the helper here, and where it keeps all that passes in both directions."""
    script, log = top / "rsh", top / "wire"
    script.write_text(
        f'#!/bin/sh\nfor last; do :; done\ntee -a {log} | /bin/sh -c "$last" | tee -a {log}\n'
    )
    script.chmod(0o755)
    return f"--rsh={script}", log


def without_state() -> None:
    """As on a fresh machine."""
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)


def bench(syncron: Command, top: Path) -> Bench:
    """The tree is made, and a key."""
    made = Bench(syncron, top)
    make(made.source, tree())
    ended = syncron("--keygen")
    assert ended.code == 0, ended.err
    return made
