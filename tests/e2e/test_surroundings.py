"""Where the command runs: terminals and pipes, locales, masks, homes; and how it ends."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT, REMOTE_PATH, Command, Script, Way, assert_copied
from tests.sshd import Sshd, running_sshd
from tests.trees import ODD_NAMES, File, directory, make

SUMMARY_FIELDS = set(
    (
        "message_type schema source destination dry_run duration created changed moved deleted"
        " metadata unchanged bytes_scanned bytes_hashed bytes_sent bytes_received source_root"
        " destination_root match conflicts errors exit_code"
    ).split()
)


def in_shell(syncron: Command, line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``$S`` is the command."""
    command = shlex.join(str(word) for word in syncron.words())
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line.replace('$S', command)}"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["missing", "dst"], 3),
        (["--nonsense", "src", "dst"], 1),
        ([], 1),
        (["src"], 0),
        (["src", "nowhere:dst"], 255),
        (["--port=1", "src", "target:dst"], 255),
        (["--job=unknown"], 1),
        (["--remote-syncron=/nowhere/syncron", "src", "target:dst"], 127),
        (["--remote-python=/etc/passwd", "src", "target:dst"], 126),
        (["--max-delete=0", "--delete", "src", "full"], 25),
        (["--verify", "src", "full"], 9),
        (["src", "full"], 0),
    ],
)
def test_the_summary_comes_last_however_it_ends(
    syncron: Command, hosts: Sshd, tmp_path: Path, words: list[str], code: int
) -> None:
    make(tmp_path, {"src": {"a": b"1"}, "full": {"b": b"2"}})
    ended = syncron("--json", *words, cwd=tmp_path)
    assert ended.code == code, ended.err
    assert set(ended.summary) >= SUMMARY_FIELDS
    assert sum(message["message_type"] == "summary" for message in ended.messages) == 1
    assert (ended.err == "") is (code in (0, 9))
    if code not in (0, 9):
        assert ended.summary["errors"]
        assert ended.err.startswith("syncron: ")


def test_names_are_lossless_in_json_and_escaped_elsewhere(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", dict.fromkeys(ODD_NAMES, b"x"))
    ended = syncron("--json", tmp_path / "src", tmp_path / "dst")
    seen = {
        base64.b64decode(message["path_base64"])
        if "path_base64" in message
        else message["path"].encode()
        for message in ended.messages
        if message["message_type"] == "item" and not message["is_directory"]
    }
    assert seen == set(ODD_NAMES)
    shown = syncron("-i", tmp_path / "src", tmp_path / "other")
    assert shown.out.isascii() or "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert len(shown.out.splitlines()) == len(ODD_NAMES) + 1


@pytest.mark.parametrize(
    "line",
    [
        "$S -i src dst | head -n 1 >/dev/null",
        "$S --json src dst | head -n 1 >/dev/null",
        "$S -v src dst >&-",
        "$S -v src dst >&- 2>&- <&-",
        "$S --json src dst <&-",
        "env -u HOME $S src dst",
        "env -i PATH=$PATH XDG_STATE_HOME=$XDG_STATE_HOME $S src dst",
        "env -u LC_ALL LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $S -v src dst",
        "HOME=/nonexistent $S src dst",
        "HOME= $S src dst",
        "XDG_STATE_HOME=relative $S src dst",
        "cd src && $S . ../dst",
        "TERM=dumb $S --progress src dst",
    ],
)
def test_surroundings_that_are_no_reason_to_fail(
    syncron: Command, tmp_path: Path, line: str
) -> None:
    make(tmp_path / "src", {name: name for name in ODD_NAMES})
    done = in_shell(
        syncron, f"cd {tmp_path} && umask 022 && {line}", XDG_STATE_HOME=str(tmp_path / "state")
    )
    assert done.returncode in ((0, 141) if "head" in line else (0,)), done.stderr
    assert "Traceback" not in done.stderr
    if "--progress" not in line:
        assert done.stderr == ""
    assert_copied(tmp_path / "src", tmp_path / "dst")
    assert set(os.listdir(tmp_path)) <= {"src", "dst", "state"}


@pytest.mark.parametrize("mask", ["000", "027", "077", "777"])
def test_masks_change_no_mode(
    syncron: Command, hosts: Sshd, tmp_path: Path, mask: str, script: Script
) -> None:
    tree = directory(
        {"f": File(b"1", mode=0o666), "x": File(b"2", mode=0o4777), "d": {"y": File(b"3", 0o644)}},
        mode=0o777,
    )
    make(tmp_path / "src", tree)
    helper = script(f"umask {mask}; exec {{helper}}")
    command = f"umask {mask}; $S --remote-syncron={helper}"
    for source, destination in (
        ("src", "local"),
        ("src", "target:{0}/push"),
        ("target:{0}/src", "pull"),
    ):
        line = f"cd {tmp_path} && {command} {source} {destination}".replace("{0}", str(tmp_path))
        done = in_shell(syncron, line)
        assert (done.returncode, done.stderr) == (0, ""), (source, destination)
    for name in ("local", "push", "pull"):
        assert_copied(tmp_path / "src", tmp_path / name)


def test_quiet_verbose_and_silent(syncron: Command, way: Way, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"1"})
    words = way.words(tmp_path / "src", tmp_path / "dst")
    first = syncron(*words)
    assert (first.code, first.out, first.err) == (0, "", "")
    (tmp_path / "src/b").write_bytes(b"2")
    verbose = syncron("-v", *words)
    assert (verbose.code, verbose.err) == (0, "")
    assert "b" in verbose.out.splitlines()
    assert "in sync, root " in verbose.out.splitlines()[-1]
    quiet = syncron("-q", tmp_path / "missing", tmp_path / "dst")
    assert (quiet.code, quiet.out) == (3, "")
    assert quiet.err.count("\n") == 1


def test_a_job_of_the_configuration(
    syncron: Command, hosts: Sshd, home: Path, tmp_path: Path
) -> None:
    make(tmp_path / "src", {"a": b"1", "b.o": b"2"})
    make(tmp_path / "dst", {"old": b"3"})
    (home / "config/syncron").mkdir(parents=True)
    (home / "config/syncron/config.yaml").write_text(
        "defaults:\n  delete: true\njobs:\n  home:\n"
        f"    source: {json.dumps(str(tmp_path / 'src'))}\n"
        f"    destination: {json.dumps('target:' + str(tmp_path / 'dst'))}\n"
        '    exclude: ["*.o"]\n'
    )
    ended = syncron("--json", "--job=home")
    assert ended.code == 0, ended.err
    assert (ended.summary["created"], ended.summary["deleted"]) == (1, 1)
    assert os.listdir(tmp_path / "dst") == ["a"]
    given = syncron("--json", "--no-delete", "-n", "--job=home")
    assert (given.code, given.summary["dry_run"]) == (0, True)


def test_a_remote_without_any_home(syncron: Command, hosts: Sshd, tmp_path: Path) -> None:
    """Absolute roots need none; nothing called ``~`` is made anywhere."""
    make(tmp_path / "src", {"a": b"1"})
    script = tmp_path / "helper"
    python = subprocess.run(
        ["sh", "-c", "command -v python3"],
        env={"PATH": REMOTE_PATH},
        capture_output=True,
        text=True,
    ).stdout.strip()
    script.write_text(f'#!/bin/sh\nunset HOME\nexec {python} "$@"\n')
    script.chmod(0o755)
    (tmp_path / "dst").mkdir()
    ended = syncron(
        "--json", f"--remote-python={script}", tmp_path / "src", f"target:{tmp_path}/dst"
    )
    assert ended.code == 0, ended.err
    assert_copied(tmp_path / "src", tmp_path / "dst")


@pytest.mark.parametrize("direction", ["push", "pull", "relay"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_server_that_allows_one_session_a_connection(
    syncron: Command,
    home: Path,
    tmp_path: Path,
    script: Script,
    direction: str,
    broken: bool,
) -> None:
    """Also where an installed syncron does not start and the helper is sent after that."""
    make(tmp_path / "src", {"a": b"1", "d": {"b": b"2"}})
    installed = home / ".local/bin/syncron"
    if broken:
        installed.parent.mkdir(parents=True)
        installed.write_text("#!/bin/sh\nexit 3\n")
        installed.chmod(0o755)
    environment = {"HOME": str(home), "PATH": REMOTE_PATH}
    with running_sshd(tmp_path / "sshd", ["MaxSessions 1"], environment=environment) as server:
        (home / ".ssh").mkdir(mode=0o700)
        text = server.config.read_text().replace("Host target", "Host target other", 1)
        (home / ".ssh/config").write_text(text)
        source = "" if direction == "push" else "target:"
        destination = {"push": "target:", "pull": "", "relay": "other:"}[direction]
        words = (f"{source}{tmp_path}/src", f"{destination}{tmp_path}/dst")
        ended = syncron(*words)
        assert ended.code == 0, ended.err
        assert ("Sending the helper instead" in ended.err) is broken
        assert_copied(tmp_path / "src", tmp_path / "dst")


def test_an_installed_syncron_of_another_version(
    syncron: Command, home: Path, tmp_path: Path, script: Script
) -> None:
    """Nobody has to install the same everywhere; who names one is told that it is another."""
    make(tmp_path / "src", {"a": b"1"})
    code = "import sys; from syncron_lib.protocol import messages; messages.VERSION = 9; "
    code += "from syncron_lib.helper.main import main; sys.exit(main(sys.argv[2:]))"
    newer = script(f"cd {CHECKOUT}; exec {sys.executable} -c '{code}' \"$@\"")
    environment = {"PATH": f"{os.path.dirname(newer)}:{REMOTE_PATH}"}
    with running_sshd(tmp_path / "sshd", environment=environment) as server:
        (home / ".ssh").mkdir(mode=0o700)
        (home / ".ssh/config").write_text(server.config.read_text())
        words = (tmp_path / "src", f"target:{tmp_path}/dst")
        ended = syncron(f"--remote-syncron={newer}", *words)
        assert ended.code == 2
        assert "speaks protocol versions 9 to 9" in ended.err
        assert not (tmp_path / "dst").exists()
        ended = syncron(*words)
        assert ended.code == 0, ended.err
        assert "is of another version; the helper is sent instead" in ended.err
        assert_copied(tmp_path / "src", tmp_path / "dst")


@pytest.mark.parametrize(
    "noise",
    [
        "printf '%200s' welcome",
        "printf '\\000\\377\\033[2J\\n'",
        "head -c 60000 /dev/urandom",
        "echo syncron-0123456789abcdef started installed",
    ],
)
def test_a_shell_that_talks(syncron: Command, home: Path, tmp_path: Path, noise: str) -> None:
    """What stands in a start-up file comes before the helper, whatever it is."""
    make(tmp_path / "src", {"a": b"1"})
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'{noise}\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
    force = f"ForceCommand /bin/sh {wrapper}"
    with running_sshd(tmp_path / "sshd", [force], environment={"PATH": REMOTE_PATH}) as server:
        (home / ".ssh").mkdir(mode=0o700)
        (home / ".ssh/config").write_text(server.config.read_text())
        ended = syncron(tmp_path / "src", f"target:{tmp_path}/dst")
        assert (ended.code, ended.err) == (0, "")
        assert_copied(tmp_path / "src", tmp_path / "dst")
        wrapper.write_text("head -c 1000000 /dev/zero | tr '\\0' x\n" + wrapper.read_text())
        ended = syncron(tmp_path / "src", f"target:{tmp_path}/dst")
        assert ended.code == 2
        assert 'beginning with "xxx' in ended.err
        assert ended.err.count("\n") == 1
