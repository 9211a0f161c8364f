"""Who is told how a run went: a monitor, node_exporter, the system's log."""

from __future__ import annotations

import http.server
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from syncron_lib.cli.jobs.syslog import SyslogFace
from syncron_lib.cli.json_lines import JsonFace
from syncron_lib.cli.output import Output
from syncron_lib.core.report import Cause, Failure, Report
from syncron_lib.errors import UsageError

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass
class Monitor:
    url: str = ""
    status: int = 200
    heard: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """A server on loopback that remembers what it is told."""
    told = Monitor()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.heard.append((self.path, body.decode()))
            self.send_response(told.status)
            self.end_headers()

        def log_message(self, *words: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}/ping/id"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").write_text("content")
    return tmp_path / "src"


def test_a_monitor_hears_of_start_and_success(
    syncron: Run, tree: Path, tmp_path: Path, monitor: Monitor
) -> None:
    done = syncron("--ping", f"{monitor.url}/?create=1", tree, tmp_path / "dst")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path for path, _ in monitor.heard] == ["/ping/id/start?create=1", "/ping/id?create=1"]
    assert monitor.heard[1][1].startswith("exit status 0 after ")
    assert "created 1, changed 0" in monitor.heard[1][1]


def test_a_monitor_hears_of_a_failure_with_its_code_and_the_last_lines(
    syncron: Run, tree: Path, tmp_path: Path, monitor: Monitor
) -> None:
    (tmp_path / "dst/file/in the way").mkdir(parents=True)
    done = syncron("--ping", monitor.url, tree, tmp_path / "dst")
    assert done.returncode == 23
    (_, (path, text)) = monitor.heard
    assert path == "/ping/id/fail"
    assert text.startswith("exit status 23 after ") and "\nfile: " in text
    monitor.heard.clear()
    assert syncron("--ping", monitor.url, "nowhere", tmp_path / "dst").returncode == 3
    assert monitor.heard[-1][0] == "/ping/id/fail"
    assert "nowhere" in monitor.heard[-1][1]


def test_a_monitor_that_fails_is_a_warning(
    syncron: Run, tree: Path, tmp_path: Path, monitor: Monitor
) -> None:
    monitor.status = 500
    done = syncron("--ping", monitor.url, tree, tmp_path / "dst")
    assert done.returncode == 0
    assert re.fullmatch(
        r"syncron: warning: The ping to 127\.0\.0\.1:\d+ failed: Internal Server Error\.\n",
        done.stderr,
    )
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        done = syncron("--ping", url, tree, tmp_path / "dst")
    assert done.returncode == 0 and "Connection refused" in done.stderr
    assert syncron("--ping", "ftp://x/y", tree, tmp_path / "dst").returncode == 1


def test_nobody_is_told_of_a_dry_run_and_no_end_of_one_that_is_put_off(
    syncron: Run, tree: Path, tmp_path: Path, monitor: Monitor
) -> None:
    metrics = tmp_path / "x.prom"
    told = ("--ping", monitor.url, "--textfile", metrics)
    assert syncron(*told, "-n", tree, tmp_path / "dst").returncode == 0
    assert syncron(*told, "--before=exit 75", tree, tmp_path / "dst").returncode == 0
    assert monitor.heard == []
    assert not metrics.exists()


def samples(file: Path) -> dict[str, float]:
    """By metric, and what is behind the labels of the run."""
    found = {}
    for line in file.read_text().splitlines():
        assert re.match(r"# (HELP|TYPE) syncron_|syncron_[a-z_]+\{.*\} [-0-9.]+$", line), line
        if not line.startswith("#"):
            labels, value = line.rsplit(" ", 1)
            found[labels] = float(value)
    return found


def test_metrics_are_written_and_those_of_other_jobs_stay(
    syncron: Run, tree: Path, tmp_path: Path
) -> None:
    file = tmp_path / "metrics.prom"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"defaults: {{textfile: {file}}}\n"
        "jobs:\n"
        f'  one: {{source: src, destination: "dst\\"1"}}\n'
        f"  two: {{source: src, destination: dst2, before: 'exit 1'}}\n"
    )
    assert syncron("--config", config, "--all-jobs").returncode == 3
    one = f'{{job="one",source="{tree}",destination="{tmp_path}/dst\\"1"}}'
    two = f'{{job="two",source="{tree}",destination="{tmp_path}/dst2"}}'
    found = samples(file)
    assert found[f"syncron_exit_code{one}"] == 0
    assert found[f"syncron_exit_code{two}"] == 3
    assert found[f'syncron_entries{one[:-1]},what="created"}}'] == 1
    success = found[f"syncron_last_success_timestamp_seconds{one}"]
    assert f"syncron_last_success_timestamp_seconds{two}" not in found
    assert success == found[f"syncron_last_run_timestamp_seconds{one}"]
    assert syncron("--config", config, "--job", "one", "--before=false").returncode == 3
    again = samples(file)
    assert again[f"syncron_exit_code{one}"] == 3
    assert again[f"syncron_last_success_timestamp_seconds{one}"] == success
    assert again[f"syncron_last_run_timestamp_seconds{one}"] > success
    assert again[f"syncron_exit_code{two}"] == 3
    assert [name for name in os.listdir(tmp_path) if "prom" in name] == ["metrics.prom"]
    assert file.stat().st_mode & 0o777 == 0o644
    # Each metric is described once, and its samples follow.
    names = re.findall(r"^# TYPE (\S+)", file.read_text(), re.MULTILINE)
    assert len(names) == len(set(names))


def test_metrics_that_cannot_be_written_are_a_warning(
    syncron: Run, tree: Path, tmp_path: Path
) -> None:
    done = syncron("--textfile=/nowhere/x.prom", tree, tmp_path / "dst")
    assert done.returncode == 0
    assert "warning: The metrics cannot be written to /nowhere/x.prom: No such" in done.stderr


def test_the_systems_log_hears_of_what_is_amiss_and_of_the_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        face = SyslogFace(
            JsonFace(Output(None), Output(None)), "home", address=str(tmp_path / "log")
        )
        face.warning("look\nout")
        face.failure(Failure(b"\x1b", "source", "gone", Cause.ERROR))
        face.finished(Report("a", "b"))
        face.broken_off(UsageError("So not."), Report("a", "b"), 1)
        lines = [log.recv(2000).decode() for _ in range(4)]
    head = f"syncron[{os.getpid()}]: home: "
    assert lines[:2] == [f"<28>{head}look out", f"<27>{head}\\#033: gone (source)"]
    assert lines[2].startswith(f"<30>{head}Nothing to do")
    assert lines[3] == f"<27>{head}So not. (exit status 1)"


def test_a_system_without_a_log_is_a_warning_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    face = SyslogFace(JsonFace(Output(sys.stdout), Output(None)), "x", address=f"{tmp_path}/none")
    face.remark("nothing")
    face.failure(Failure(b"a", "source", "gone", Cause.ERROR))
    face.finished(Report("a", "b"))
    assert capsys.readouterr().out.count("The system's log cannot be written to") == 1
