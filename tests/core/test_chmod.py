"""``--chmod``: every mode that rsync makes of a mode, we make of it."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from syncron_lib.core.chmod import changed, parse

SEEDS = range(2000 if os.environ.get("SYNCRON_DEEP") else 60)


def _item(choice: random.Random) -> str:
    before = choice.choice(("", "", "D", "F", "DD"))
    who = "".join(choice.choice("ugoaDF" if choice.random() < 0.1 else "ugoa") for _ in range(2))
    start = before + who[: choice.randrange(3)] + choice.choice("+-=")
    kind = choice.randrange(8)
    if kind == 0:
        return before + format(choice.randrange(0o10000), "o")
    if kind == 1:
        return start + choice.choice("ugo")
    if kind == 2:
        return start + choice.choice(("", "ug", "us", "a", "q", "rg", "8"))
    return start + "".join(choice.choice("rwxXst") for _ in range(choice.randrange(4)))


@pytest.mark.parametrize("seed", SEEDS)
def test_as_rsync(tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    source, destination = tmp_path / "src", tmp_path / "dst"
    source.mkdir()
    for number in range(12):
        path = source / str(number)
        path.mkdir() if number < 4 else path.touch()
        path.chmod(choice.randrange(0o10000) | 0o600 | 0o100 * (number < 4))
    text = ",".join(_item(choice) for _ in range(choice.choice((1, 1, 2, 3))))
    umask = choice.choice((0o22, 0o77, 0o2, 0))
    command = ["rsync", "-rp", f"--chmod={text}", f"{source}/", f"{destination}/"]
    done = subprocess.run(command, capture_output=True, check=False, umask=umask)
    try:
        steps = parse(text)
    except ValueError:
        assert done.returncode == 1, text
        return
    assert done.returncode != 1, text
    for path in source.iterdir():
        there = destination / path.name
        if there.exists():
            mode = path.lstat().st_mode
            assert changed(mode, steps, umask) == there.lstat().st_mode, (text, umask, oct(mode))


@pytest.mark.parametrize("text", ["", "u", "D", "DF644", "10000", "u+8", "rwx", ",", "u+r,,g+r"])
def test_what_says_no_change_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        parse(text)
