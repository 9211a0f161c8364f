"""syncron called as rsync: what is understood, and that the table of options is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from syncron_lib.cli.parser import build_parser, parse
from syncron_lib.cli.rsync.anchors import below
from syncron_lib.cli.rsync.sources import is_contents
from syncron_lib.errors import UsageError
from tests.cli.conftest import Run

TABLE = Path(__file__).parents[2] / "docs/rsync.md"
STATES = ("same", "differs", "not supported")


def table() -> dict[str, str]:
    """What docs/rsync.md says of each option, by the option as rsync prints it."""
    rows = re.findall(r"^\| (`-.*?`) \| ([a-z ]+) \| (.*) \|$", TABLE.read_text(), re.MULTILINE)
    found: dict[str, str] = {}
    for option, state, how in rows:
        assert state in STATES
        assert (state == "same") == (not how.strip()), option
        assert option not in found, option
        found[option.replace("`", "").replace("\\|", "|")] = state
    return found


def printed() -> list[str]:
    """The options that the installed rsync prints, as it prints them."""
    text = subprocess.run(["rsync", "--help"], capture_output=True, text=True, check=True).stdout
    found = re.findall(
        r"^(-[^\s,]+(?:, -[^\s,]+)*)(?: |$)", text[text.index("\nOptions") :], re.MULTILINE
    )
    assert len(found) > 150
    return found


def test_the_table_has_every_option_of_rsync_once_and_in_its_order() -> None:
    assert list(table()) == printed()


def test_the_table_is_true() -> None:
    known = {
        name: type(action).__name__ != "_Refuse"
        for name, action in build_parser()._option_string_actions.items()
    }
    for row, state in table().items():
        if row == "--no-OPTION":
            continue
        names = [each.partition("=")[0] for each in row.split(", ")]
        if state == "not supported":
            for name in names:
                with pytest.raises(UsageError) as caught:
                    parse([name, "a", "b"], home=None)
                assert name in caught.value.message
        else:
            assert all(known.get(name) for name in names), row


def test_what_is_out_of_reach_is_refused_by_name(syncron: Run) -> None:
    for words, named in (
        (["-a", "host::module", "there"], "host::module"),
        (["-a", "rsync://host/module", "there"], "rsync://"),
        (["-a", "--write-batch=x", "here", "there"], "--write-batch"),
        (["-a", "--read-batch=x", "there"], "--read-batch"),
        (["-a", "host:*.txt", "there"], "*.txt"),
    ):
        ended = syncron("--rsync", *words)
        assert (ended.returncode, named in ended.stderr) == (4, True), ended.stderr
        assert ended.stderr.count("\n") == 1
    ended = syncron("--rsync", "--delete", "here", "there")
    assert ended.returncode == 1
    assert "--recursive" in ended.stderr


def test_through_a_link_called_rsync(tmp_path: Path) -> None:
    link = tmp_path / "rsync"
    link.symlink_to(Path(__file__).parents[2] / "syncron.py")
    words = [sys.executable, str(link)]
    said = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True).stdout
    assert re.match(r"rsync  version 3\.[0-9.]+ ", said)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (b"- *.o", [b"- *.o"]),
        (b"- /src/x", [b"- /x"]),
        (b"- /s*/x/", [b"- /x/"]),
        (b"- /other/x", []),
        (b"- /src", []),
        (b"+ x/y", [b"+ x/y"]),
        (b"+ src/y", [b"+ src/y", b"+ /y"]),
        (b"- /src/***", [b"- /***"]),
        (b"- /**/x", [b"- /**/x", b"- /x"]),
        (b"-! /src/x", [b"-! /x"]),
        (b"-! /other/x", [b"-! /."]),
        (b"-/ /etc/x", [b"-/ /etc/x"]),
        (b": .rules", [b": .rules"]),
    ],
)
def test_rules_below_a_sources_own_name(rule: bytes, expected: list[bytes]) -> None:
    assert list(below([rule], b"src").patterns) == expected


def test_a_rule_can_leave_out_the_source_itself() -> None:
    assert below([b"- src"], b"src")[1:] == (True, True)
    assert below([b"- /src/"], b"src")[1:] == (False, True)
    assert below([b"+ src", b"- *"], b"src")[1:] == (False, False)
    assert below([b"- other"], b"src")[1:] == (False, False)


def test_a_rule_that_cannot_be_told_below_a_name_is_refused() -> None:
    for rule in (b"- /s**c/x", b"-! src/x"):
        with pytest.raises(UsageError, match="write a slash behind the source"):
            below([rule], b"src")


def test_which_sources_mean_their_contents() -> None:
    for path in (b"", b".", b"..", b"d/", b"d/.", b"d/..", b"/", b"a\nb/", b"a\nb/."):
        assert is_contents(path), path
    for path in (b"d", b"d/...", b"d/.x", b"a\nb"):
        assert not is_contents(path), path


def test_progress_is_a_line_of_rsyncs_and_names_files(syncron: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").write_bytes(bytes(200_000))
    whole = syncron("--rsync", "-a", "--info=progress2", f"{tmp_path}/src/", f"{tmp_path}/one")
    assert re.fullmatch(
        r"\n? +200,000 100% +[0-9.]+[kMG]B/s +0:00:0[0-9]\n", whole.stdout.replace("\r", "\n")
    )
    each = syncron("--rsync", "-a", "--progress", f"{tmp_path}/src/", f"{tmp_path}/two")
    assert each.stdout.startswith("sending incremental file list\n")
    assert "\nfile\n" in each.stdout
