"""Nothing changed costs nothing: a second run opens no file of the tree, on either side."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.e2e.conftest import Command, Script, Way
from tests.trees import directory, make, noise

TREE = directory(
    {
        "a": b"1",
        ".gitignore": b"*.o\n",
        ".syncronignore": b"*.bak\n",
        "d": {"b": b"2", "large": noise(700_000), ".gitignore": b"*.x\n", "s": {"c": b"3"}},
    }
)
FILES = {"a", "b", "c", "large", ".gitignore", ".syncronignore"}


def opened(trace: str) -> set[str]:
    """The names of the tree's files that a trace shows as opened."""
    names = re.findall(r'open(?:at)?\([^"]*"([^"]*)"', trace)
    assert names, "the trace shows nothing at all"
    return {name.rpartition("/")[2] for name in names} & FILES


def test_no_file_is_opened_on_either_side(
    syncron: Command, script: Script, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, TREE)
    traces = tmp_path / "traces"
    traces.mkdir()
    strace = "strace -f -qq -e trace=open,openat"
    helper = script(f"exec {strace} -o {traces}/helper.$$ {{helper}}")
    options = ("--gitignore", f"--remote-syncron={helper}")
    words = (*options, way.source(source), way.destination(destination))

    def run() -> str:
        """One run under strace; what all its processes opened."""
        done = subprocess.run(
            [*strace.split(), "-o", f"{traces}/client", *syncron.words("--json", *words)],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        parts = {path.name.partition(".")[0]: path for path in traces.iterdir()}
        assert set(parts) == ({"client"} if way.name == "local" else {"client", "helper"})
        text = "".join(path.read_text() for path in traces.iterdir())
        for path in traces.iterdir():
            path.unlink()
        return text

    assert opened(run()) >= FILES
    assert opened(run()) == set()
