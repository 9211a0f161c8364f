"""What is remembered of runs: bounded, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncron_lib.cli.jobs import history
from syncron_lib.cli.jobs.outcome import Outcome
from syncron_lib.core.report import Cause, Failure, Report

OUTCOME = Outcome("job", "/src", "/dst", 1e9, 2.5, 0, Report("/src", "/dst"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path)}


def test_runs_are_remembered_by_job_in_order(environ: dict[str, str]) -> None:
    for began, job in enumerate(("job", "other", "job")):
        history.remember(OUTCOME._replace(job=job, began=float(began)), environ)
    assert [run["began"] for run in history.runs_of("job", environ)] == [0, 2]
    assert [run["job"] for run in history.all_runs(environ)] == ["job", "other", "job"]
    last = history.last_of("job", environ)
    assert last is not None and last["began"] == 2
    assert history.last_of("never", environ) is None


def test_a_history_is_bounded(environ: dict[str, str], tmp_path: Path) -> None:
    report = Report("/src", "/dst")
    report.failures = [Failure(b"x" * 200, "source", "gone", Cause.ERROR)] * 200
    for began in range(100):
        history.remember(OUTCOME._replace(report=report, began=float(began)), environ)
    (file,) = (tmp_path / "syncron/history").iterdir()
    assert file.stat().st_size <= history.FILE_MAX
    runs = [run["began"] for run in history.runs_of("job", environ)]
    assert runs == sorted(runs) and runs[-1] == 99 and len(runs) < 100
    (last,) = [run for run in history.runs_of("job", environ) if run["began"] == 99]
    assert (len(last["errors"]), last["errors_in_all"]) == (50, 200)


def test_the_number_of_pairs_is_bounded(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "FILES_MAX", 3)
    for number in range(5):
        history.remember(OUTCOME._replace(job=f"job{number}", began=float(number)), environ)
        (newest,) = {*(tmp_path / "syncron/history").iterdir()} - {
            path for path in (tmp_path / "syncron/history").iterdir() if path.stat().st_mtime < 1e9
        }
        os.utime(newest, (number, number))
    assert [run["job"] for run in history.all_runs(environ)] == ["job2", "job3", "job4"]


def test_damage_and_other_versions_are_passed_over(environ: dict[str, str], tmp_path: Path) -> None:
    history.remember(OUTCOME, environ)
    (file,) = (tmp_path / "syncron/history").iterdir()
    whole = file.read_bytes()
    file.write_bytes(b'{"job": 1}\n[]\nnoise\n\xff\n' + whole + whole[:50])
    assert len(list(history.runs_of("job", environ))) == 1
    history.remember(OUTCOME, environ)
    assert len(list(history.runs_of("job", environ))) >= 1


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "syncron").write_text("in the way")
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    history.remember(OUTCOME, environ)
    assert history.all_runs(environ) == []
