"""ssh_config means what OpenSSH says it means: ``ssh -G`` is the judge."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from syncron_lib.errors import SshFailed
from syncron_lib.transport.hostconfig import HostConfig, look_up
from syncron_lib.transport.sshconfig import ConfigFiles, matches_any

PLAIN = """
Host alias other
    HostName real.example
    Port 2200
    User alice
Host *
    User nobody
    Port 22
"""

NEGATED = """
Host *.example !secret.example
    User inside
Host secret.*
    User hidden
"""

QUOTED = """
# a comment
Host "alias"
    IdentityFile "~/my keys/id"
    IdentityFile=~/.ssh/%h_%r # of this host
    identityfile ~/.ssh/%h_%r
    IdentitiesOnly yes
    User\tbob
    HostKeyAlias  kept
    ConnectTimeout 1m30
"""

PROXY = """
Host jumped
    ProxyJump gate,bob@second:2022
Host commanded
    ProxyCommand exec nc "%h" %p as %r 100%%
    ProxyJump ignored
Host jumpfirst
    ProxyJump gate
    ProxyCommand ignored
Host direct
    ProxyCommand none
    ProxyJump ignored
Host *
    HostName %h.example
    ProxyJump none
"""

MATCH = """
Match host real.example user alice
    Port 2201
Match originalhost alias
    HostName real.example
Match originalhost alias !host other.example
    User alice
Match host real.example user alice
    Port 2202
Match exec "test %n = alias"
    ConnectTimeout 7
Match exec "test %n = other"
    ConnectTimeout 8
Match all
    HostKeyAlias everyone
"""

FINAL = """
Host alias
    HostName real.example
Match final host real.example
    User finally
Match !final all
    Port 2000
Host real.*
    HostKeyAlias second-pass
"""

FILES = """
Host alias
    UserKnownHostsFile ~/one "/tmp/t wo" ${SPECIAL}/three
    GlobalKnownHostsFile /etc/a /etc/b
    IdentityAgent ${SPECIAL}/agent
    StrictHostKeyChecking accept-new
    HashKnownHosts yes
Host other
    UserKnownHostsFile none
    IdentityAgent none
    StrictHostKeyChecking no
"""

HOSTS = {
    PLAIN: ["alias", "other", "ALIAS", "third"],
    NEGATED: ["a.example", "secret.example", "b"],
    QUOTED: ["alias"],
    PROXY: ["jumped", "commanded", "jumpfirst", "direct", "free"],
    MATCH: ["alias", "other"],
    FINAL: ["alias", "other"],
    FILES: ["alias", "other", "third"],
}


def _openssh(config: Path, host: str, home: Path) -> dict[str, list[str]]:
    finished = subprocess.run(
        ["ssh", "-G", "-F", str(config), host],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "SPECIAL": "/special"},
    )
    found: dict[str, list[str]] = {}
    for line in finished.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def _ours(config: Path, host: str, home: Path) -> HostConfig:
    return look_up(host, ConfigFiles(str(config), None, str(home), {"SPECIAL": "/special"}))


# ssh takes ~ from the account and not from HOME, and leaves most tokens of file names to the
# moment of use; these tests know the account's home as ssh does.
_HOME = Path(os.path.expanduser("~root" if os.geteuid() == 0 else "~"))


@pytest.mark.parametrize(
    ("text", "host"), [(text, host) for text, hosts in HOSTS.items() for host in hosts]
)
def test_agrees_with_openssh(tmp_path, text, host):
    config = tmp_path / "config"
    config.write_text(text)
    theirs = _openssh(config, host, _HOME)
    ours = _ours(config, host, _HOME)
    assert ours.hostname.lower() == theirs["hostname"][0]
    assert str(ours.port or 22) == theirs["port"][0]
    if ours.user is not None:
        assert [ours.user] == theirs["user"]
    else:
        assert "User" not in text or theirs["user"] != ["alice"]
    assert ours.identities_only == (theirs["identitiesonly"] == ["yes"])
    assert ours.host_key_alias == theirs.get("hostkeyalias", [None])[0]
    assert (ours.connect_timeout or 0) == float(
        theirs.get("connecttimeout", ["0"])[0].replace("none", "0")
    )
    assert ",".join(ours.proxy_jump) == theirs.get("proxyjump", [""])[0]
    assert (ours.proxy_command is None) == ("proxycommand" not in theirs)
    theirs_strict = {"true": "yes", "false": "accept-new"}
    strict = theirs["stricthostkeychecking"][0]
    assert ours.strict_host_key_checking == theirs_strict.get(strict, strict)
    assert ours.hash_known_hosts == (theirs["hashknownhosts"] == ["yes"])


def test_values_are_expanded(tmp_path):
    config = tmp_path / "config"
    config.write_text(QUOTED)
    ours = _ours(config, "alias", tmp_path)
    assert ours.identity_files == (f"{tmp_path}/my keys/id", f"{tmp_path}/.ssh/alias_bob")
    config.write_text(PROXY)
    assert _ours(config, "commanded", tmp_path).proxy_command is not None
    commanded = look_up(
        "commanded", ConfigFiles(str(config), None, str(tmp_path)), user="eve", port=99
    )
    assert commanded.proxy_command == 'exec nc "commanded.example" 99 as eve 100%'
    config.write_text(FILES)
    ours = _ours(config, "alias", tmp_path)
    assert ours.user_known_hosts == (f"{tmp_path}/one", "/tmp/t wo", "/special/three")
    assert ours.global_known_hosts == ("/etc/a", "/etc/b")
    assert ours.identity_agent == "/special/agent"
    assert _ours(config, "other", tmp_path).user_known_hosts == ()
    assert _ours(config, "other", tmp_path).identity_agent is None


def test_the_agent_is_that_of_the_environment(tmp_path):
    files = ConfigFiles(None, None, None, {"SSH_AUTH_SOCK": "/run/agent"})
    assert look_up("host", files).identity_agent == "/run/agent"
    assert look_up("host", ConfigFiles(None, None)).identity_agent is None


def test_what_the_caller_gives_wins(tmp_path):
    config = tmp_path / "config"
    config.write_text(PLAIN + "Match user carol\n  HostKeyAlias carols\n")
    ours = look_up("alias", ConfigFiles(str(config), None), user="carol", port=1)
    assert (ours.user, ours.port, ours.host_key_alias) == ("carol", 1, "carols")


@pytest.mark.parametrize("host", ["alias", "inner", "outer", "third"])
def test_include_inside_and_outside_of_blocks(tmp_path, host):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10-a").write_text("Host inner\n  User from-a\nHost alias\n  Port 11\n")
    (tmp_path / "conf.d" / "20-b").write_text("User from-b\nHost alias\n  Port 22\n")
    config = tmp_path / "config"
    config.write_text(
        f"Include {tmp_path}/missing {tmp_path}/conf.d/1*\n"
        f"Host alias\n  Include {tmp_path}/conf.d/2*\n  HostKeyAlias still-in-the-block\n"
        "Host outer\n  User out\n"
    )
    theirs = _openssh(config, host, _HOME)
    ours = _ours(config, host, _HOME)
    assert str(ours.port or 22) == theirs["port"][0]
    assert ours.host_key_alias == theirs.get("hostkeyalias", [None])[0]
    if ours.user is not None:
        assert ours.user == theirs["user"][0]
    else:
        assert not theirs["user"][0].startswith(("from-", "out"))


def test_include_is_relative_to_the_file_of_the_user(tmp_path):
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "config").write_text("Include more/*\n")
    (ssh / "more").mkdir()
    (ssh / "more" / "x").write_text("Host alias\n  Port 77\n")
    assert _ours(ssh / "config", "alias", tmp_path).port == 77


def test_an_include_that_includes_itself_ends(tmp_path):
    config = tmp_path / "config"
    config.write_text(f"Include {config}\n")
    with pytest.raises(SshFailed, match="Include"):
        _ours(config, "alias", tmp_path)


def test_the_user_file_comes_before_the_system_file(tmp_path):
    user, system = tmp_path / "user", tmp_path / "system"
    user.write_text("Host alias\n  Port 1\n")
    system.write_text("Port 2\nUser sys\n")
    ours = look_up("alias", ConfigFiles(str(user), str(system)))
    assert (ours.port, ours.user) == (1, "sys")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Port\n", "line 1: Port has no value"),
        ("\nPort ssh\n", "Port to ssh"),
        ("Port 70000\n", "Port to 70000"),
        ("Match wrong x\n", "line 1: Match knows no criterion called wrong"),
        ("Match host\n", "line 1: Match host has no argument"),
        ("ConnectTimeout soon\n", "ConnectTimeout to soon"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, says):
    config = tmp_path / "config"
    config.write_text(text)
    with pytest.raises(SshFailed) as failed:
        _ours(config, "alias", tmp_path)
    assert says in failed.value.message


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(SshFailed, match="cannot be read"):
        _ours(tmp_path, "alias", tmp_path)


@pytest.mark.parametrize(
    ("text", "patterns", "expected"),
    [
        ("host", ["host"], True),
        ("HOST", ["host"], True),
        ("host", ["h?st"], True),
        ("host", ["h*"], True),
        ("host", ["h[o]st"], False),
        ("[host]:22", ["[host]:22"], True),
        ("host", ["*", "!host"], False),
        ("host", ["!host", "*"], False),
        ("host", ["!other"], False),
        ("host", [], False),
    ],
)
def test_patterns(text, patterns, expected):
    assert matches_any(text, patterns) is expected
