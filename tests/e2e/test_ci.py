"""The examples of docs/ci.md, run as they stand there, against a real SSH server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import CHECKOUT, Command
from tests.sshd import Sshd
from tests.trees import assert_same, make

TEXT = (CHECKOUT / "docs/ci.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
TREE: dict[str, Any] = {"index.html": b"<p>hello", "css": {"main.css": b"p {}"}}


@pytest.fixture
def runner(sshd: Sshd, home: Path, tmp_path: Path) -> dict[str, str]:
    """A runner that begins empty, but for ``public/``; its variables."""
    make(tmp_path / "work/public", TREE)
    (tmp_path / "server").mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/syncron"
    program.write_text(f'#!/bin/sh\nexec python3 {CHECKOUT}/syncron.py "$@"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "DEPLOY_KEY": sshd.user_key.read_text().strip(),
        "DEPLOY_KNOWN_HOSTS": sshd.known_hosts_line().strip(),
        "DEPLOY_TO": f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{tmp_path}/server/www",
        "XDG_STATE_HOME": f"{tmp_path}/.state",
    }


def shell(script: str, environ: dict[str, str], place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=place,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_github_example(syncron: Command, runner: dict[str, str], tmp_path: Path) -> None:
    steps = BLOCKS[0]["jobs"]["publish"]["steps"]
    scripts = {step["name"]: step["run"] for step in steps if "run" in step}
    assert list(scripts) == ["install", "key", "expect", "publish", "prove"]
    ignored = ("--no-times", "--no-owner", "--no-group")
    runner["PUBLIC_ROOT"] = syncron(*ignored, "--root", tmp_path / "work/public").out.strip()
    for name in ("key", "expect", "publish", "prove"):
        done = shell(scripts[name], runner, tmp_path / "work")
        assert done.returncode == 0, (name, done.stderr)
    assert_same(tmp_path / "server/www", tmp_path / "work/public")
    artifact = (tmp_path / "work/syncron.jsonl").read_text().splitlines()
    assert json.loads(artifact[-1])["match"] is True
    # Another runner, which has cloned the same anew: nothing of it is sent.
    for path in (tmp_path / "work/public").rglob("*"):
        os.utime(path)
    assert shell(scripts["publish"], runner, tmp_path / "work").returncode == 0
    artifact = (tmp_path / "work/syncron.jsonl").read_text().splitlines()
    assert json.loads(artifact[-1])["bytes_transferred"] == 0
    (tmp_path / "server/www/index.html").write_text("<p>hullo")
    assert shell(scripts["prove"], runner, tmp_path / "work").returncode == 9
    (tmp_path / "work/public/index.html").write_text("<p>hullo")
    assert shell(scripts["expect"], runner, tmp_path / "work").returncode == 9


def test_the_gitlab_example(runner: dict[str, str], tmp_path: Path) -> None:
    job = BLOCKS[1]["drift"]
    script = "\n".join([*job["before_script"][1:], *job["script"]])
    make(tmp_path / "server/www", TREE)
    done = shell(script, runner, tmp_path / "work")
    assert done.returncode == 0, done.stderr
    (tmp_path / "server/www/index.html").write_text("<p>hullo")
    done = shell(script, runner, tmp_path / "work")
    assert done.returncode == 9
    assert "index.html" in done.stdout
    assert "What changed where" in (tmp_path / "work/report.html").read_text()
    assert (tmp_path / "server/www/index.html").read_text() == "<p>hullo"


def test_what_a_crontab_line_names_is_understood() -> None:
    lines = re.search(r"## Crontab\n\n```\n(.*?)```", TEXT, re.DOTALL)
    assert lines is not None
    from syncron_lib.cli.parser import parse

    found = [line.split("syncron ", 1)[1] for line in lines[1].splitlines() if line[0] != "#"]
    assert len(found) == 3
    for words in found:
        parse(words.split(), home="/")


def test_a_change_fails_where_that_is_asked_for(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", TREE)
    words = ("--fail-on-change", tmp_path / "src", tmp_path / "dst")
    done = syncron("-n", *words)
    assert done.code == 9 and "3 entries would be" in done.err
    assert not (tmp_path / "dst").exists()
    done = syncron("--json", *words)
    assert done.code == done.summary["exit_code"] == 9
    assert_same(tmp_path / "dst", tmp_path / "src")
    assert syncron(*words).code == 0
    assert syncron("-n", *words).code == 0


def test_a_root_that_is_not_the_expected_one_fails(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", TREE)
    root = syncron("--root", tmp_path / "src").out.strip()
    words = (tmp_path / "src", tmp_path / "dst")
    assert syncron("--expect-root", root, *words).code == 0
    assert syncron("--expect-root", root[:12], *words).code == 0
    assert syncron("--verify", "--expect-root", root, *words).code == 0
    assert syncron("--root", tmp_path / "dst", "--expect-root", root.upper()).code == 0
    (tmp_path / "src/index.html").write_text("<p>other")
    for more in ((), ("--verify",)):
        done = syncron("--expect-root", root, *more, *words)
        assert done.code == 9, done.err
    done = syncron("--expect-root", root, *words)
    assert f"and not {root}" in done.err
    assert syncron("--root", tmp_path / "src", "--expect-root", root).code == 9
    done = syncron("--expect-root", "xyz", *words)
    assert done.code == 1 and "hexadecimal" in done.err
