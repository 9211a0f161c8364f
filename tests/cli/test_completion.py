"""Completion, asked of the shells themselves."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from syncron_lib.cli import completion
from syncron_lib.cli.catalog import OPTIONS

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize("name", completion.FILES.values())
def test_what_is_shipped_is_what_the_options_make(name: str) -> None:
    text = (TOP / "completions" / name).read_text()
    assert text == completion.texts()[name], "run: python -m syncron_lib.cli.completion"
    for option in OPTIONS:
        if option.long:
            assert re.search(rf"(--|-l ){re.escape(option.long)}\b", text), option.long


@pytest.fixture
def place(tmp_path: Path, home: Path) -> Path:
    """Some files, a host, a job, and an ssh that lists what is on this machine."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/letter one.txt").touch()
    (tmp_path / "documents/lists").mkdir()
    (home / ".ssh").mkdir()
    (home / ".ssh/config").write_text("Host nas nightly\nHost *.example\n")
    (home / "config/syncron").mkdir(parents=True)
    (home / "config/syncron/config.yaml").write_text(
        "jobs: {photos: {source: /a, destination: /b}, papers: {source: /a, destination: /c}}\n"
    )
    (tmp_path / "bin").mkdir()
    # Whoever is reached, and however: the last word is what would be run there.
    (tmp_path / "bin/ssh").write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    (tmp_path / "bin/syncron").write_text(f'#!/bin/sh\nexec python3 {TOP}/syncron.py "$@"\n')
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    return tmp_path


def ran(place: Path, *words: str) -> list[str]:
    environ = {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=place, env=environ, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return sorted(filter(None, done.stdout.splitlines()))


def bash(place: Path, line: str) -> list[str]:
    """What bash would put in the place of its last word (as it breaks words)."""
    words = re.findall(r"[^\s:=]+|[:=]|(?<=\s)$", line)
    script = (
        f"source {TOP}/completions/syncron; COMP_LINE=$1 COMP_POINT=${{#1}}; shift;"
        ' COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _syncron; printf \'%s\\n\' "${COMPREPLY[@]}"'
    )
    return ran(place, "bash", "-c", script, "bash", line, *words)


def test_bash(place: Path) -> None:
    assert bash(place, "syncron --snap") == ["--snapshot"]
    assert bash(place, "syncron --no-pe") == ["--no-perms"]
    assert bash(place, "syncron --compress-choice z") == ["zlib", "zstd"]
    assert bash(place, "syncron --compress-choice=z") == ["zlib", "zstd"]
    assert bash(place, "syncron --job p") == ["papers", "photos"]
    assert bash(place, "syncron n") == ["nas:", "nightly:"]
    assert bash(place, "syncron docu") == ["documents/"]
    assert bash(place, "syncron --root docu") == ["documents/"]
    assert bash(place, "syncron --log-file docu") == ["documents"]
    assert bash(place, "syncron documents nas:documents/l") == [
        "documents/letter one.txt",
        "documents/lists/",
    ]
    assert bash(place, "syncron --timeout ") == []


def fish(place: Path, line: str) -> list[str]:
    script = f"source {TOP}/completions/syncron.fish; complete -C {line!r}"
    return [each.split("\t")[0] for each in ran(place, "fish", "--no-config", "-c", script)]


def test_fish(place: Path) -> None:
    assert fish(place, "syncron --snap") == ["--snapshot"]
    assert fish(place, "syncron --compress-choice z") == ["zlib", "zstd"]
    assert fish(place, "syncron --job p") == ["papers", "photos"]
    assert "nas:" in fish(place, "syncron na")
    assert fish(place, "syncron docu") == ["documents/"]
    assert "nas:documents/lists/" in fish(place, "syncron documents nas:documents/l")


ZSH = """\
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; PROMPT=; unsetopt zle_bracketed_paste 2>/dev/null; fpath=(%s $fpath)'
zpty -w z 'autoload -Uz compinit; compinit -u -D; compdef _syncron syncron; print -r -- REA""DY'
zpty -r -m z seen '*READY*'
zpty -w -n z "$1"$'\\t'
sleep 1
zpty -w -n z $'\\C-a: \\C-e\\n'
zpty -w z 'print -r -- "[${history[$((HISTCMD-1))]}]"; print -r -- DO""NE'
zpty -r -m z seen '*DONE*'
print -r -- "$seen"
"""


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("syncron --snaps", "syncron --snapshot"),
        ("syncron --compress-choice=zs", "syncron --compress-choice=zstd"),
        ("syncron --job pho", "syncron --job photos"),
        ("syncron docu", "syncron documents/"),
        ("syncron nas:documents/lis", "syncron nas:documents/lists/"),
    ],
)
def test_zsh(place: Path, line: str, completed: str) -> None:
    environ = {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run(
        ["zsh", "-f", "-c", ZSH % (TOP / "completions"), "zsh", line],
        cwd=place,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"{completed}" in done.stdout, done.stdout
