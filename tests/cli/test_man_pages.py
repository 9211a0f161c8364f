"""The man pages hold what the parser and the configuration hold, no more and no less."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from syncron_lib.cli.catalog import CONFIGURABLE
from syncron_lib.cli.foreign import HELD
from syncron_lib.cli.option import Kind
from syncron_lib.cli.parser import build_parser
from syncron_lib.core.permission import MODES
from syncron_lib.errors import Exit
from syncron_lib.helper.arguments import reach_of

ROOT = Path(__file__).parents[2]
PAGE_1 = ROOT / "man/syncron.1"
PAGE_5 = ROOT / "man/syncron.5"


def parser_options() -> set[str]:
    """Every option that the parser has and does not refuse."""
    return {
        name
        for action in build_parser()._actions
        if type(action).__name__ != "_Refuse"
        for name in action.option_strings
    }


def documented_options() -> set[str]:
    """Every option that has, or stands in, an item of the list of options."""
    text = PAGE_1.read_text()
    section = text[text.index(".Sh OPTIONS") : text.index(".Sh RESTRICTED ACCOUNTS")]
    found: set[str] = set()
    for line in section.splitlines():
        if line.startswith((".It Fl", ".Fl Fl no-", ".Pq or Fl Fl no-")):
            found.update(f"--{name}" for name in re.findall(r"Fl Fl ([a-zD0-9-]+)", line))
            found.update(f"-{name}" for name in re.findall(r"Fl ([A-Za-z0-9@])(?!\w)", line))
    return found - {"--no-"}


def test_every_option_is_documented_and_no_other() -> None:
    documented = documented_options()
    positive = {name for name in parser_options() if not name.startswith("--no-")}
    assert {name for name in documented if not name.startswith("--no-")} == positive
    assert {name for name in documented if name.startswith("--no-")} <= parser_options()


def test_every_restriction_is_documented_and_no_other() -> None:
    text = PAGE_1.read_text()
    section = text[text.index(".Sh RESTRICTED ACCOUNTS") : text.index(".Sh PATTERNS")]
    items = re.findall(r"^\.It Fl Fl ([a-z0-9-]+)", section, re.MULTILINE)
    assert [f"--{name}" for name in items] == ["--restrict", *MODES]


def test_the_line_for_authorized_keys_is_one_that_serves(tmp_path: Path) -> None:
    lines: set[str] = set()
    for text in (PAGE_1.read_text(), (ROOT / "README.md").read_text()):
        lines.update(line for line in text.splitlines() if line.startswith("restrict,command="))
    (line,) = lines
    command = shlex.split(line.removeprefix("restrict,"))[0].removeprefix("command=")
    words = shlex.split(command)
    assert words[:3] == ["syncron", "--serve", "--restrict"]
    assert reach_of(["--restrict", str(tmp_path), *words[4:]]).may == MODES["--append-only"]


def test_every_switch_has_the_off_form_that_the_page_promises() -> None:
    assert "Every option that is on or off has a form" in PAGE_1.read_text()
    others = {name for held in HELD for name in held.names.split()}
    for option in CONFIGURABLE.values():
        off = f"--no-{option.long}"
        if off not in others:
            assert (off in parser_options()) == (option.kind.name == "SWITCH")


def test_every_key_is_documented_and_no_other() -> None:
    text = PAGE_5.read_text()
    section = text[text.index(".Ss Options") : text.index(".Sh FILES")]
    assert set(re.findall(r"\.Ic ([a-zD0-9-]+)", section)) == set(CONFIGURABLE)


def test_every_key_stands_where_its_values_are_described() -> None:
    section = PAGE_5.read_text().partition(".Ss Options")[2]
    for heading, kinds in {
        "True or false:": {Kind.SWITCH},
        "True only, because they always hold:": {Kind.PRESET},
        "A number:": {Kind.NUMBER, Kind.COUNT},
        "A text:": {Kind.TEXT, Kind.FILE, Kind.FLAGS},
        "A text, or a list of texts:": {
            *(Kind.TEXTS, Kind.FILES, Kind.RULES, Kind.RULE_FILES, Kind.FILTERS),
        },
    }.items():
        listed = re.match(r"(\.Ic [a-zD0-9-]+ [,.]\n)+", section.partition(f"{heading}\n")[2])
        assert listed is not None
        found = re.findall(r"Ic ([a-zD0-9-]+)", listed[0])
        assert found == sorted(
            option.long for option in CONFIGURABLE.values() if option.kind in kinds
        ), heading


def test_every_exit_code_is_documented_and_no_other() -> None:
    text = PAGE_1.read_text()
    section = text[text.index(".Sh EXIT STATUS") : text.index(".Sh EXAMPLES")]
    items = " ".join(line for line in section.splitlines() if line.startswith(".It"))
    assert {int(number) for number in re.findall(r"\b\d+\b(?!\+)", items)} == set(Exit)


@pytest.mark.parametrize("page", [PAGE_1, PAGE_5], ids=lambda page: page.name)
def test_mandoc_has_no_complaint(page: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", str(page)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
