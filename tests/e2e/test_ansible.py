"""Ansible's synchronize module, unchanged, with syncron by the name of rsync: `make clients`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.e2e.test_rsync_clients import rsync
from tests.sshd import Sshd
from tests.trees import Link, assert_same, make

__all__ = ["rsync"]

_PROGRAM = Path(os.environ["SYNCRON_CLIENTS"]) / "ansible-playbook"
_PLAY = """\
- hosts: target
  gather_facts: false
  tasks:
    - ansible.posix.synchronize:
        src: {source}/
        dest: {destination}
        delete: true
        use_ssh_args: true
"""


def test_synchronize_says_whether_it_changed_something(
    rsync: Path, hosts: Sshd, home: Path, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"b": b"2"}, "l": Link(b"a")})
    (tmp_path / "play.yml").write_text(_PLAY.format(source=source, destination=destination))
    (tmp_path / "hosts").write_text(
        f"target ansible_ssh_common_args='-F {hosts.config}'"
        " ansible_python_interpreter=/usr/bin/python3\n"
    )
    environ = {**os.environ, "PATH": f"{rsync.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    def play() -> str:
        words = [str(_PROGRAM), "-i", str(tmp_path / "hosts"), str(tmp_path / "play.yml")]
        done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    assert "changed=1" in play()
    assert_same(source, destination)
    assert "changed=0" in play()
    (source / "a").unlink()
    assert "changed=1" in play()
    assert_same(source, destination)
