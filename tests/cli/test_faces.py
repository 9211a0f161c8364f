"""Both faces over the same events: what a person and what a program gets to read."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest

from syncron_lib.cli.face import Face
from syncron_lib.cli.json_lines import JsonFace
from syncron_lib.cli.output import Output
from syncron_lib.cli.progress import BarProgress, LineProgress, NoProgress
from syncron_lib.cli.settings import Settings
from syncron_lib.cli.text import Manner, TextFace, progress_for
from syncron_lib.core.report import Action, Cause, Failure, Item, Phase, Report
from syncron_lib.errors import ConnectionLost, Exit

ROOT = "ab12cd34ef567890" * 2

CREATED = Item(Action.CREATE, ">f+++++++++", b"d/\xff\x1b[2J", False, 3)
LINKED = Item(Action.CREATE, "cL+++++++++", b"link", False, 0, b"to\n")
TOUCHED = Item(Action.METADATA, ".d..t......", b"", True, 0)
DELETED = Item(Action.DELETE, "*deleting  ", b"old", True, 0)
FAILED = Failure(b"x\x1b", "source", "cannot read: Permission denied", Cause.ERROR)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def report(**more: Any) -> Report:
    given = {"source": "a", "destination": "h:b", "duration": 1.5, "source_entries": 12, **more}
    return Report(**given)


def tell(face: Face) -> None:
    face.phase(Phase.SCAN)
    face.progress(Phase.SCAN, 5, None, 100)
    for item in (CREATED, LINKED, TOUCHED, DELETED):
        face.item(item)
    face.failure(FAILED)
    face.warning("clocks differ")
    face.notice("host key recorded")


def text_run(settings: Settings, *, terminal: bool = False, **more: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    output, error = Output(out), Output(err)
    face = TextFace(Manner.of(settings, terminal=terminal), NoProgress(), output, error)
    tell(face)
    face.finished(report(**more))
    return out.getvalue(), err.getvalue()


ITEMIZED = (
    ">f+++++++++ d/\\#377\\#033[2J\n"
    "cL+++++++++ link -> to\\#012\n"
    ".d..t...... ./\n"
    "*deleting   old/\n"
)
COMPLAINTS = (
    "syncron: x\\#033: cannot read: Permission denied (source)\n"
    "syncron: warning: clocks differ\n"
    "syncron: host key recorded\n"
)


def test_silence_off_a_terminal_apart_from_what_is_amiss() -> None:
    assert text_run(Settings()) == ("", COMPLAINTS)


@pytest.mark.parametrize(
    "settings", [Settings(itemize_changes=True), Settings(dry_run=True), Settings(verify=True)]
)
def test_itemized_lines_are_those_of_rsync(settings: Settings) -> None:
    assert text_run(settings)[0] == ITEMIZED


def test_verbose_names_and_sums_up() -> None:
    out, _ = text_run(Settings(verbose=1), created=1)
    assert out == (
        "d/\\#377\\#033[2J\nlink -> to\\#012\n./\ndeleting old/\n1 created; 0 B copied in 1.5 s\n"
    )


def test_itemized_and_verbose_is_itemized_with_a_summary() -> None:
    out, err = text_run(Settings(verbose=2, itemize_changes=True))
    assert out.startswith(ITEMIZED + "Nothing to do")
    assert ": scanning\n" in err


def test_quiet_says_only_what_failed() -> None:
    quiet = Settings(quiet=True, verbose=2, itemize_changes=True, stats=True)
    assert text_run(quiet, terminal=True) == ("", COMPLAINTS.splitlines(keepends=True)[0])


@pytest.mark.parametrize(
    ("settings", "more", "line"),
    [
        (
            Settings(),
            {"created": 1200, "deleted": 2, "bytes_sent": 1_234_567, "bytes_received": 999,
             "match": True, "source_root": ROOT},
            ("1,200 created, 2 deleted; 1.23 MB sent, 999 B received in 1.5 s; "
            "in sync, root ab12cd34ef56"),
        ),
        (
            Settings(),
            {"match": True, "source_root": ROOT, "bytes_scanned": 450_000_000},
            "Nothing to do for 12 entries (450 MB) in 1.5 s; in sync, root ab12cd34ef56",
        ),
        (
            Settings(),
            {"changed": 3, "match": False, "failures": [FAILED], "duration": 3725.0},
            "3 changed; 0 B copied in 1 h 2 min; 1 file not done; not in sync",
        ),
        (
            Settings(),
            {"dry_run": True, "created": 1, "metadata": 2, "unchanged": 1, "duration": 75.0},
            ("Dry run: would create 1, set metadata of 2; 1 unchanged; "
            "in 1 min 15 s"),
        ),
        (
            Settings(verify=True),
            {"match": True, "source_root": ROOT, "bytes_scanned": 10, "source_entries": 1},
            "Equal: 1 entry (10 B), in 1.5 s; root ab12cd34ef56",
        ),
        (
            Settings(verify=True),
            {"match": False, "changed": 2, "deleted": 1},
            "Different: 3 entries of 12, in 1.5 s",
        ),
    ],
)  # fmt: skip
def test_the_line_at_the_end(settings: Settings, more: dict[str, Any], line: str) -> None:
    out, _ = text_run(settings, terminal=True, **more)
    assert out.splitlines()[-1] == line


def test_stats_name_both_roots_and_exact_bytes() -> None:
    out, _ = text_run(Settings(stats=True), bytes_sent=1_234_567, source_root=ROOT, match=False)
    assert "Sent:              1.23 MB (1,234,567 bytes)\n" in out
    assert f"Source root:       {ROOT}\n" in out
    assert "Roots:             different\n" in out
    assert "Left as they were: 0\n" in out


@pytest.mark.parametrize(
    ("exit_code", "words"), [(Exit.PARTIAL, "could not be done"), (Exit.VANISHED, "run it again")]
)
def test_an_incomplete_run_says_so_at_the_end(exit_code: Exit, words: str) -> None:
    _, err = text_run(Settings(quiet=True), exit_code=exit_code, failures=[FAILED])
    assert "1 file" in err.splitlines()[-1]
    assert words in err.splitlines()[-1]


def test_trees_that_are_not_equal_are_told_even_when_quiet() -> None:
    _, err = text_run(Settings(quiet=True), exit_code=Exit.PARTIAL, match=False)
    assert err.splitlines()[-1].startswith("syncron: finished, but the two trees are not equal")


def test_a_run_that_broke_off_says_what_was_done_and_why_it_ended() -> None:
    out, err = io.StringIO(), io.StringIO()
    face = TextFace(Manner.of(Settings(), terminal=False), NoProgress(), Output(out), Output(err),
                    label="home")  # fmt: skip
    for done in ("created", "moved", "linked", "copied"):
        err.truncate(err.seek(0))
        face.broken_off(ConnectionLost("The line\x1b\nis dead."), report(**{done: 3}), 12)
        assert out.getvalue() == ""
        first, *rest = err.getvalue().splitlines()
        assert first.startswith(f"syncron: home: done before that: 3 {done}")
        assert rest == ["syncron: home: The line\\#033", "    is dead."]
    err.truncate(err.seek(0))
    face.broken_off(ConnectionLost("Dead."), report(), 12)
    assert err.getvalue() == "syncron: home: Dead.\n"


def json_run(finish: Any) -> tuple[list[dict[str, Any]], str]:
    out, err = io.StringIO(), io.StringIO()
    clock = Clock()
    face = JsonFace(Output(out), Output(err), clock=clock)
    clock.now = 5.0
    tell(face)
    finish(face)
    assert out.getvalue().isascii()
    return [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


def test_json_objects() -> None:
    messages, err = json_run(lambda face: face.finished(report(failures=[FAILED], created=2)))
    assert err == ""
    assert [each["message_type"] for each in messages] == [
        "status", "item", "item", "item", "item", "failure", "warning", "warning", "summary",
    ]  # fmt: skip
    created, linked = messages[1:3]
    assert created["path"] == "d/\\#377\\#033[2J"
    assert base64.b64decode(created["path_base64"]) == CREATED.path
    assert (linked["path"], linked["target"]) == ("link", "to\n")
    assert "path_base64" not in linked
    assert messages[5]["path"] == "x\x1b"
    assert messages[-1]["errors"] == [
        {
            "message": "x\x1b: cannot read: Permission denied", "path": "x\x1b",
            "side": "source", "what": "cannot read: Permission denied", "cause": "error",
        }
    ]  # fmt: skip


def test_the_json_summary_has_every_field_also_on_failure() -> None:
    fields = (
        "schema source destination dry_run duration created changed moved deleted metadata"
        " unchanged left_out removed bytes_scanned bytes_hashed bytes_sent bytes_received"
        " source_root"
        " destination_root match conflicts errors exit_code"
    ).split()
    error = ConnectionLost("The line is dead.")
    messages, err = json_run(lambda face: face.broken_off(error, report(created=2), 143))
    summary = messages[-1]
    assert summary["message_type"] == "summary"
    assert set(fields) <= set(summary)
    assert (summary["schema"], summary["created"], summary["exit_code"]) == (1, 2, 143)
    assert summary["errors"] == [{"message": "The line is dead."}]
    assert err == "syncron: The line is dead.\n"


def test_json_status_comes_now_and_then() -> None:
    out, clock = io.StringIO(), Clock()
    face = JsonFace(Output(out), Output(io.StringIO()), clock=clock)
    for tick in range(50):
        clock.now = tick / 10
        face.progress(Phase.TRANSFER, tick, 50, 0)
    done = [json.loads(line)["done"] for line in out.getvalue().splitlines()]
    assert done == [10, 20, 30, 40]


def test_the_bar_waits_draws_and_leaves_no_trace() -> None:
    terminal, clock = Terminal(), Clock()
    bar = BarProgress(Output(terminal), announce_connecting=True, clock=clock)
    bar.phase(Phase.CONNECT)
    assert terminal.getvalue() == "Connecting ..."
    bar.phase(Phase.SCAN)
    bar.progress(Phase.SCAN, 1, None, 0)
    assert "Scanning" not in terminal.getvalue()
    clock.now = 1.0
    bar.progress(Phase.SCAN, 12000, None, 3_000_000)
    assert "Scanning: 12,000 entries, 3.00 MB" in terminal.getvalue()
    bar.phase(Phase.TRANSFER)
    clock.now = 2.0
    bar.progress(Phase.TRANSFER, 50_000_000, 200_000_000, 0)
    assert "Transferring:  25%" in terminal.getvalue()
    assert "50.0M/200M" in terminal.getvalue()
    bar.hold(True)
    held = terminal.getvalue()
    clock.now = 3.0
    bar.progress(Phase.TRANSFER, 60_000_000, 200_000_000, 0)
    assert terminal.getvalue() == held
    bar.hold(False)
    clock.now = 4.0
    bar.progress(Phase.TRANSFER, 70_000_000, 200_000_000, 0)
    assert "70.0M/200M" in terminal.getvalue()
    bar.close()
    last_line = terminal.getvalue().rpartition("\r")
    assert last_line[2].strip() == ""
    assert last_line[0].rpartition("\r")[2].strip() == ""


def test_an_external_ssh_has_the_line_for_itself() -> None:
    terminal = Terminal()
    BarProgress(Output(terminal), announce_connecting=False).phase(Phase.CONNECT)
    assert terminal.getvalue() == ""


def test_lines_for_a_log() -> None:
    log, clock = io.StringIO(), Clock()
    progress = LineProgress(Output(log), clock=clock)
    progress.phase(Phase.TRANSFER)
    for second in (3, 12, 15, 30):
        clock.now = float(second)
        progress.progress(Phase.TRANSFER, second * 1000, 40000, 0)
    assert log.getvalue() == (
        "syncron: 0.00 s: Transferring\n"
        "syncron: 12 s: Transferring: 12.0 kB of 40.0 kB\n"
        "syncron: 30 s: Transferring: 30.0 kB of 40.0 kB\n"
    )


@pytest.mark.parametrize(
    ("settings", "stream", "expected"),
    [
        (Settings(), Terminal(), BarProgress),
        (Settings(), io.StringIO(), NoProgress),
        (Settings(progress=True), io.StringIO(), LineProgress),
        (Settings(progress=False), Terminal(), NoProgress),
        (Settings(quiet=True, progress=True), Terminal(), NoProgress),
        (Settings(), None, NoProgress),
    ],
)
def test_which_progress_is_shown(
    settings: Settings, stream: io.StringIO | None, expected: type
) -> None:
    assert type(progress_for(settings, Output(stream))) is expected
