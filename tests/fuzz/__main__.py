"""Coverage-guided noise: ``python -m tests.fuzz SECONDS [TARGET...]``, each for so many seconds.

What a target has not been seen to do is looked for first (atheris, which is libFuzzer). An input
that breaks one is printed and kept in the current directory, and the exit status is not 0.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["syncron_lib"]):
    from syncron_lib.core.role import Role
    from tests.fuzz import corpus, targets

NAMES = ("helper", "state", *targets.BY_NAME)
MEMORY = 1024
"""Megabytes that a target may take."""
LONGEST = 5
"""Seconds that one input may take."""


def helper(place: Path) -> Callable[[bytes], None]:
    """Frames to a helper: of each the number, a length in two bytes, and the payload."""
    root = place / "root"
    corpus.tree(root)
    end = targets.Helper(root)
    runs = 0

    def take(data: bytes) -> None:
        nonlocal runs
        runs += 1
        end.restart(Role(runs % 2))
        while len(data) > 3:
            length = int.from_bytes(data[1:3], "little")
            end.take(data[0], data[3 : 3 + length])
            data = data[3 + length :]

    return take


def _target(name: str, place: Path) -> Callable[[bytes], None]:
    if name == "helper":
        return helper(place)
    if name == "state":
        (place / "state").mkdir()
        return targets.StateFile(place / "state")
    return targets.BY_NAME[name]


def _seeds(name: str, root: Path) -> Sequence[bytes]:
    if name in ("helper", "frames", "client"):
        frames = [*corpus.requests(root), *corpus.replies(root)]
        if name == "helper":
            return [
                bytes((kind,)) + len(payload).to_bytes(2, "little") + payload
                for kind, payload in frames
                if len(payload) < 1 << 16
            ]
        if name == "client":
            return [targets.framed(kind, payload) for kind, payload in frames]
        return [bytes((kind,)) + payload for kind, payload in frames]
    return {
        "packs": corpus.packs(),
        "tables": corpus.tables(),
        "rules": corpus.RULES,
        "columns": corpus.COLUMNS,
        "configuration": [corpus.CONFIGURATION],
    }.get(name, [])


def fuzz(name: str, seconds: int, place: Path) -> None:
    """One target; does not return."""
    os.environ.update(HOME=str(place), XDG_STATE_HOME=str(place / "home"))
    (place / "seeds").mkdir()
    corpus.tree(place / "tree")
    for number, seed in enumerate(_seeds(name, place / "tree")):
        (place / "seeds" / str(number)).write_bytes(seed)
    options = [
        *(f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", f"-timeout={LONGEST}"),
        *("-max_len=65536", "-verbosity=0", "-print_final_stats=1", str(place / "seeds")),
    ]
    atheris.Setup([sys.argv[0], *options], _target(name, place))
    atheris.Fuzz()


def main(words: list[str]) -> int:
    """Each target in a process of its own."""
    if words[:1] == ["--one"]:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
            fuzz(words[1], int(words[2]), Path(place))
    seconds, *names = words or ["60"]
    failed = []
    for name in names or NAMES:
        print(f"=== {name}, {seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, seconds]
        if subprocess.run(command, stderr=subprocess.STDOUT).returncode:
            failed.append(name)
    print(f"failed: {' '.join(failed)}" if failed else "No target was broken.")
    return len(failed)


sys.exit(main(sys.argv[1:]))
