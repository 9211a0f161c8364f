"""Whole runs through the command, both sides on this machine: what is printed, and what it ends
with."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

CHECKOUT = Path(__file__).parents[2]

SUMMARY_FIELDS = (
    "schema source destination dry_run duration created changed moved deleted metadata"
    " unchanged left_out removed bytes_scanned bytes_hashed bytes_sent bytes_received"
    " source_root"
    " destination_root match"
    " conflicts errors exit_code"
).split()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small source: ``tmp_path/src``."""
    source = tmp_path / "src"
    (source / "d").mkdir(parents=True)
    (source / "d/file").write_text("content")
    (source / "top").write_text("top")
    (source / "link").symlink_to("top")
    return source


def messages(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_first_copy_is_silent_and_the_second_has_nothing_to_do(
    syncron: Run, tree: Path, tmp_path: Path
) -> None:
    first = syncron(tree, tmp_path / "dst")
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert (tmp_path / "dst/d/file").read_text() == "content"
    second = syncron("-v", tree, tmp_path / "dst")
    assert second.stdout.startswith("Nothing to do for ")
    assert "in sync, root " in second.stdout


def test_a_dry_run_itemizes_and_changes_nothing(syncron: Run, tree: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    destination.mkdir()
    (destination / "old").write_text("old")
    done = syncron("-n", "--delete", tree, destination)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert {">f+++++++++ top", "cd+++++++++ d/", "*deleting   old"} <= set(lines)
    assert "cL+++++++++ link -> top" in lines
    assert os.listdir(destination) == ["old"]


def test_the_json_summary(syncron: Run, tree: Path, tmp_path: Path) -> None:
    (tree / os.fsdecode(b"\xff")).write_text("x")
    done = syncron("--json", tree, tmp_path / "dst")
    found = messages(done)
    summary = found[-1]
    assert summary["message_type"] == "summary"
    assert set(SUMMARY_FIELDS) <= set(summary)
    assert (summary["exit_code"], summary["errors"], summary["match"]) == (0, [], True)
    assert summary["source_root"] == summary["destination_root"]
    created = {each["path"] for each in found if each["message_type"] == "item"}
    assert {"top", "d", "d/file", "link", "\\#377"} <= created


def test_verify_and_root_agree(syncron: Run, tree: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    syncron(tree, destination)
    assert syncron("--verify", tree, destination).returncode == 0
    roots = {syncron("--root", each).stdout for each in (tree, destination)}
    assert len(roots) == 1
    assert len(roots.pop().strip()) == 32
    before = (destination / "top").stat()
    (destination / "top").write_text("tOp")
    os.utime(destination / "top", ns=(before.st_atime_ns, before.st_mtime_ns))
    done = syncron("--verify", tree, destination)
    assert done.returncode == 9
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == ["top"]


def test_a_missing_source_is_a_sentence(syncron: Run, tmp_path: Path) -> None:
    done = syncron("--json", tmp_path / "nowhere", tmp_path / "dst")
    summary = messages(done)[-1]
    assert done.returncode == summary["exit_code"] == 3
    assert "nowhere" in summary["errors"][0]["message"]
    assert summary["source"] == str(tmp_path / "nowhere")
    assert done.stderr.startswith("syncron: ")
    assert "Traceback" not in done.stderr


def test_a_file_that_cannot_be_done_is_named_and_the_rest_is_done(
    syncron: Run, tree: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "dst"
    (destination / "top").mkdir(parents=True)
    (destination / "top/in the way").write_text("x")
    done = syncron(tree, destination)
    assert done.returncode == 23
    assert "syncron: top: " in done.stderr
    assert "1 file could not be done" in done.stderr
    assert (destination / "d/file").exists()


def test_several_jobs_run_in_order_and_the_gravest_decides(
    syncron: Run, tree: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "defaults: {exclude: link}\n"
        "jobs:\n"
        "  broken: {source: nowhere, destination: b}\n"
        "  good: {source: src, destination: dst, verbose: 1}\n"
    )
    done = syncron("--config", config, "--job", "broken", "--job", "good", "--exclude", "top")
    assert done.returncode == 3
    assert done.stderr.startswith("syncron: broken: ")
    assert "\ngood: " in done.stdout
    assert sorted(os.listdir(tmp_path / "dst")) == ["d"] or sorted(
        set(os.listdir(tmp_path / "dst")) - {".syncron"}
    ) == ["d"]
    assert not (tmp_path / "b").exists()


def test_the_users_configuration_holds_for_plain_runs_too(
    syncron: Run, tree: Path, tmp_path: Path, home: Path
) -> None:
    (home / "config/syncron").mkdir(parents=True)
    (home / "config/syncron/config.yaml").write_text("defaults: {dry-run: true}\n")
    assert ">f+++++++++ top" in syncron(tree, tmp_path / "dst").stdout
    assert not (tmp_path / "dst").exists()
    assert syncron("--no-dry-run", tree, tmp_path / "dst").returncode == 0
    assert (tmp_path / "dst/top").exists()


def test_a_signal_ends_the_run_with_a_summary_and_its_own_status(
    tree: Path, tmp_path: Path
) -> None:
    with (tree / "large").open("wb") as large:
        large.truncate(2 << 30)
    process = subprocess.Popen(
        [sys.executable, "-m", "syncron", "--json", "-c", str(tree), str(tmp_path / "dst")],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while json.loads(process.stdout.readline()).get("phase") != "transferring":
        pass
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert process.returncode == -signal.SIGTERM
    summary = json.loads(out.splitlines()[-1])
    assert (summary["message_type"], summary["exit_code"]) == ("summary", 128 + signal.SIGTERM)
    assert err == "syncron: Ended by SIGTERM; run it again to go on where it was.\n"
    assert not (tmp_path / "dst/large").exists()


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "<&- >&- 2>&-", "| head -n 1"])
def test_a_run_without_an_audience_is_still_done(
    redirection: str, tree: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {redirection}', "sh",
         sys.executable, "-m", "syncron", "-v", str(tree), str(tmp_path / "dst")],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "dst/d/file").read_text() == "content"
    assert stat.S_ISLNK((tmp_path / "dst/link").lstat().st_mode)


def test_no_home_and_an_empty_working_directory_leave_no_tilde(
    syncron: Run, tree: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    done = syncron(tree, tmp_path / "dst", environ={"HOME": "~"}, cwd=work)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(work) == []
