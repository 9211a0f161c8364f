"""The project as a whole: what no module's own tests hold."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import syncron_lib

TOP = Path(__file__).parent.parent
MODULES = sorted([TOP / "syncron.py", *TOP.glob("syncron_lib/**/*.py")])
LONGEST_MODULE = 500
"""Lines; a module that grows past this holds more than one thing."""


def module_ids(path: Path) -> str:
    return str(path.relative_to(TOP))


def test_the_version_is_a_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", syncron_lib.__version__)


@pytest.mark.parametrize("path", MODULES, ids=module_ids)
def test_every_module_says_what_it_is_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert text.count("\n") <= LONGEST_MODULE


def test_the_console_script_names_a_function() -> None:
    import syncron

    config = configparser.ConfigParser()
    config.read(TOP / "setup.cfg")
    assert config["options.entry_points"]["console_scripts"].strip() == "syncron = syncron:main"
    assert callable(syncron.main)


@pytest.mark.parametrize(
    ("first", "absent"),
    [
        (
            "syncron_lib.helper.main",
            ("paramiko", "yaml", "cryptography", "tqdm", "syncron_lib.cli"),
        ),
        ("syncron_lib.cli.main", ("paramiko", "cryptography", "tqdm")),
    ],
)
def test_starting_loads_only_what_is_needed(first: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {first}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TOP, stdout=subprocess.PIPE, text=True, check=True
    )
    assert set(done.stdout.split()).isdisjoint(absent)


def test_makefile_says_what_it_can_do() -> None:
    makefile = (TOP / "Makefile").read_text()
    described = set(re.findall(r"^# make (\w+)", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    assert phony is not None
    assert described == set(phony[1].split()) - {"help", "install-check"}


def test_the_architecture_names_every_module() -> None:
    text = (TOP / "docs/architecture.md").read_text()
    text = text[text.index("\n## Modules\n") : text.index("\n## Decisions\n")]
    named = {each.rpartition(".")[2] for each in re.findall(r"`([a-z_.]+)`", text)}
    there = {path.stem for path in (TOP / "syncron_lib").rglob("*.py")}
    assert there - named - {"__init__"} == set()
    packages = [path.parent.name for path in (TOP / "syncron_lib").glob("*/__init__.py")]
    assert all(f"**{package}**" in text for package in packages)
