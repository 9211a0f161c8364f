"""Lines for changes, by rsync's escapes: what rsync itself writes is the reference."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from syncron_lib.cli import format as format_module
from syncron_lib.cli.format import SENDING, human_number, line, require_known
from syncron_lib.cli.parser import parse
from syncron_lib.cli.wording import stats
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.report import Action, Item, Report
from syncron_lib.errors import UsageError
from tests.e2e.conftest import Command
from tests.trees import File, Link, Literal, make

OWN = Attributes(0o104755, 1_600_000_000_000_000_000, 12, 34)
FILE = Item(Action.CREATE, ">f+++++++++", b"d/\xff", False, 1_234_567, None, None, OWN)
ALL = "%o|%i|%n|%L|%B|%M|%U|%G|%f|%%|%h|%q|%-30n|%30n|%"
LENGTHS = "%l|%'l|%''l|%'''l|%10l|%-10l|%010l|%''12l|%n"


def test_a_line() -> None:
    form = "%i %B %U:%G %l [%'l %''l %'''l] %08l|%-9l|%9l| %n %% %z %"
    assert line(form, FILE, SENDING, 0) == (
        ">f+++++++++ rwsr-xr-x 12:34 1234567 [1,234,567 1.23M 1.18M]  1234567|1234567  |"
        "  1234567| d/\\#377 % %z %"
    )


def test_what_cannot_be_filled_in_is_refused() -> None:
    for letter in "bcC":
        with pytest.raises(ValueError, match=f"%{letter} cannot be filled in"):
            require_known(f"%n %-5{letter}")
    assert require_known("100% %i %z") == "100% %i %z"


@pytest.mark.parametrize("number", [0, 999, 1000, 1023, 1024, 999_999, 10**9 + 1, 10**19])
def test_numbers(number: int) -> None:
    assert int(human_number(number, 1).replace(",", "")) == number
    for level, base in ((2, 1000), (3, 1024)):
        found = re.fullmatch("([0-9.,]+)([KMGTP]?)", human_number(number, level))
        assert found is not None
        value = float(found[1].replace(",", "")) * base ** " KMGTP".index(found[2] or " ")
        assert abs(value - number) <= number * 0.006


def test_numbers_of_stats() -> None:
    report = Report("a", "b", bytes_sent=1_234_567)
    found = {human: re.findall("Sent: +(.*)", stats(report, human))[0] for human in (1, 2, 3)}
    assert found == {1: "1.23 MB (1,234,567 bytes)", 2: "1.23M bytes", 3: "1.18M bytes"}


def roots(lines: Iterable[str]) -> set[str]:
    """The lines about the root itself."""
    return {each for each in lines if re.search(r"(^|[ |])\./( *$|\|)", each)}


@pytest.mark.parametrize("form", [ALL, LENGTHS, "%n%L", "%i %n"])
def test_as_rsync_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.chdir(tmp_path)
    tree: dict[str, Literal] = {
        "a b": File(b"1234567", mode=0o4711, owner=(7, 8) if os.geteuid() == 0 else None),
        "large": b"x" * 1_234_567,
        "d": {"new": b"22", "link": Link(b"target")},
        "moded": File(b"1", mode=0o600),
        "changed": b"new",
    }
    make("src", tree)
    make("dst", {"d": {"gone": b"333"}, "moded": b"1", "changed": b"older"})
    words = ["-n", "--delete", f"--out-format={form}"]
    ended = Command()(*words, "--log-file=ours", "src", "dst")
    done = subprocess.run(
        ["rsync", "-a", *words, "--log-file=theirs", "src/", "dst"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ended.code, ended.err) == (0, "")
    ours, theirs = (
        # The length of a directory is the file system's affair.
        {each for each in lines if form != LENGTHS or not each.endswith("/")} - roots(lines)
        for lines in (set(ended.out.splitlines()), set(done.stdout.splitlines()))
    )
    assert ours == theirs
    stamp = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\d+\] ")
    logs = [
        [stamp.sub("", each) for each in Path(name).read_text().splitlines()]
        for name in ("ours", "theirs")
    ]
    assert logs[0][0] == logs[1][0] == "building file list"
    changes = [{each for each in log if each[0] in "<>ch.*"} - roots(log) for log in logs]
    assert changes[0] >= changes[1]  # in a dry run rsync does not log what would be sent


def test_a_log_tells_how_it_ended(tmp_path: Path) -> None:
    syncron = Command()
    log = tmp_path / "log"
    trees = tmp_path / "src", tmp_path / "dst"
    words = (f"--log-file={log}", "--log-file-format=", *trees)
    assert syncron(*words).code == 3
    assert "Nothing was changed; check the path. (exit status 3)" in log.read_text()
    make(trees[0], {"a": b"1"})
    assert syncron(*words).code == 0
    last = log.read_text().splitlines()[-1]
    assert "1 created" in last
    assert last.endswith("exit status 0")
    assert ">f+++" not in log.read_text()
    ended = syncron(f"--log-file={tmp_path}/no/such", *trees)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended.err


def test_every_escape_is_explained() -> None:
    text = (Path(__file__).parents[2] / "man/syncron.1").read_text()
    for letter in format_module._FILL:
        assert f".Ql %{letter}" in text.replace("\\&", "")


@pytest.mark.parametrize("option", ["--out-format", "--log-file-format"])
@pytest.mark.parametrize("letter", "HAX")
def test_attributes_are_not_told_where_they_may_be_unknown(option: str, letter: str) -> None:
    words = [f"-{letter}", "--log-file=log", "a", "b"]
    parse([f"{option}=%i %n%L", *words], home=None).settings.run_options()
    with pytest.raises(UsageError, match="leave them out"):
        parse([f"{option}=%n %'-9M", *words], home=None).settings.run_options()


def test_a_hard_link() -> None:
    link = Item(Action.LINK, "hf+++++++++", b"b", False, 5, b"a")
    assert line("%i %n%L %l", link, SENDING, 0) == "hf+++++++++ b => a 5"
