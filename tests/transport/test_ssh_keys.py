"""Host keys and authentication against a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sshd import Sshd, generate_key, running_sshd
from tests.transport.conftest import Options
from tests.transport.test_ssh import output, refusal, run

# The host's key.


def _with_known_hosts(sshd: Sshd, text: str, *lines: str) -> Path:
    known = sshd.directory / "other_known_hosts"
    known.write_text(text)
    return sshd.write_config("known", lines, replace={"UserKnownHostsFile": str(known)})


def _other_key_line(sshd: Sshd, tmp_path: Path, kind: str = "ed25519") -> str:
    fields = generate_key(tmp_path / "k", kind=kind).with_suffix(".pub").read_text().split()
    return f"[127.0.0.1]:{sshd.port} {fields[0]} {fields[1]}\n"


def _fingerprint(path: Path) -> str:
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True
    )
    return said.stdout.split()[1]


def test_an_unknown_key_is_refused_with_its_fingerprint(sshd, options):
    config = _with_known_hosts(sshd, "")
    message = refusal(options(config))
    assert f"[127.0.0.1]:{sshd.port} is not known: ED25519" in message
    assert _fingerprint(sshd.host_key) in message
    assert "accept-new" in message
    assert (sshd.directory / "other_known_hosts").read_text() == ""


@pytest.mark.parametrize("mode", ["accept-new", "no"])
def test_accept_new_records_the_key_and_says_so(sshd, options, notices, mode):
    config = _with_known_hosts(sshd, "", f"StrictHostKeyChecking {mode}")
    assert output(run(options(config))) == b"ok\n"
    assert (sshd.directory / "other_known_hosts").read_text() == sshd.known_hosts_line()
    assert _fingerprint(sshd.host_key) in notices[0]
    assert output(run(options(config))) == b"ok\n"
    assert len(notices) == 1


def test_a_key_that_cannot_be_recorded_is_told(sshd, options, notices):
    config = sshd.write_config(
        "unwritable",
        ["StrictHostKeyChecking accept-new"],
        replace={"UserKnownHostsFile": "/proc/none/known_hosts"},
    )
    assert output(run(options(config))) == b"ok\n"
    assert "could not be recorded" in notices[0]


@pytest.mark.parametrize(("answer", "accepted"), [("yes", True), ("no", False), (None, False)])
def test_a_person_is_asked_about_an_unknown_key(
    sshd: Sshd, options: Options, answer: str | None, accepted: bool
) -> None:
    config = _with_known_hosts(sshd, "")
    asked: list[tuple[str, bool]] = []

    def ask(prompt: str, secret: bool) -> str | None:
        asked.append((prompt, secret))
        return answer

    if accepted:
        assert output(run(options(config, ask=ask))) == b"ok\n"
        assert (sshd.directory / "other_known_hosts").read_text() == sshd.known_hosts_line()
    else:
        assert "was not accepted" in refusal(options(config, ask=ask))
    assert len(asked) == 1
    assert _fingerprint(sshd.host_key) in asked[0][0]
    assert asked[0][1] is False


@pytest.mark.parametrize("line", ["StrictHostKeyChecking yes", "BatchMode yes"])
def test_strict_checking_and_batch_mode_ask_nobody(sshd, options, line):
    config = _with_known_hosts(sshd, "", line)
    assert "is not known" in refusal(options(config, ask=lambda *_: pytest.fail("asked")))


@pytest.mark.parametrize("mode", ["ask", "accept-new", "no"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_changed_key_is_always_refused(sshd, options, tmp_path, mode, kind):
    line = _other_key_line(sshd, tmp_path, kind)
    config = _with_known_hosts(sshd, line, f"StrictHostKeyChecking {mode}")
    message = refusal(options(config, ask=lambda *_: "yes"))
    assert "HAS CHANGED" in message
    assert _fingerprint(sshd.host_key) in message
    assert _fingerprint(tmp_path / "k") in message
    assert "other_known_hosts line 1" in message
    command = message.partition("run: ")[2]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert "is not known" in refusal(options(_with_known_hosts_kept(sshd)))


def _with_known_hosts_kept(sshd: Sshd) -> Path:
    known = sshd.directory / "other_known_hosts"
    return _with_known_hosts(sshd, known.read_text())


def test_a_revoked_key_is_refused(sshd, options):
    line = sshd.known_hosts_line()
    config = _with_known_hosts(sshd, line + "@revoked " + sshd.known_hosts_line("*"))
    assert "@revoked" in refusal(options(config))


def test_hashed_known_hosts(sshd, options):
    config = _with_known_hosts(sshd, sshd.known_hosts_line())
    known = sshd.directory / "other_known_hosts"
    subprocess.run(["ssh-keygen", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    assert output(run(options(config))) == b"ok\n"


def test_a_key_known_for_the_standard_port_is_believed_on_another(sshd, options):
    config = _with_known_hosts(sshd, sshd.known_hosts_line("127.0.0.1"))
    assert output(run(options(config))) == b"ok\n"


def test_a_known_key_of_an_unpreferred_kind_is_asked_for_first(tmp_path, options):
    rsa = generate_key(tmp_path / "rsa", kind="rsa")
    with running_sshd(tmp_path / "sshd", [f"HostKey {rsa}"]) as server:
        blob = rsa.with_suffix(".pub").read_text().split()[:2]
        server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {' '.join(blob)}\n")
        assert output(run(options(server.config))) == b"ok\n"


# The user's key.


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """An agent without keys; its socket."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    while not os.path.exists(path):
        assert process.poll() is None
    yield path
    process.terminate()
    process.wait()


def _add(agent: str, key: Path) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment)


def test_no_key_at_all(sshd, options):
    config = sshd.write_config("nokey", replace={"IdentityFile": "", "IdentitiesOnly": ""})
    message = refusal(options(config))
    assert f"{sshd.user}@target refused to let you in; there was no key to try" in message
    assert "the server accepts: publickey" in message


def test_a_wrong_key_is_named(sshd, options, tmp_path):
    key = generate_key(tmp_path / "wrong")
    config = sshd.write_config("wrongkey", replace={"IdentityFile": str(key)})
    message = refusal(options(config))
    assert f"tried: ED25519 {_fingerprint(key)} from {key}" in message
    assert "authorized_keys, or name a key: --identity" in message


def test_a_missing_key_is_named(sshd, options, tmp_path):
    config = sshd.write_config("missing", replace={"IdentityFile": f"{tmp_path}/none"})
    assert f"{tmp_path}/none: No such file" in refusal(options(config))


def test_the_standard_identity_files_are_tried(sshd, options, home):
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519").write_bytes(sshd.user_key.read_bytes())
    config = sshd.write_config("standard", replace={"IdentityFile": "", "IdentitiesOnly": ""})
    assert output(run(options(config))) == b"ok\n"


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_keys(sshd, options, tmp_path, kind):
    key = generate_key(tmp_path / "key", kind=kind)
    authorized = sshd.directory / "authorized_keys"
    kept = authorized.read_text()
    authorized.write_text(kept + key.with_suffix(".pub").read_text())
    config = sshd.write_config("kinds", replace={"IdentityFile": str(key)})
    assert output(run(options(config))) == b"ok\n"
    authorized.write_text(kept)


def test_the_agent_has_the_key(sshd, options, agent):
    _add(agent, sshd.user_key)
    config = sshd.write_config(
        "agent", replace={"IdentityFile": "", "IdentitiesOnly": "", "IdentityAgent": agent}
    )
    assert output(run(options(config))) == b"ok\n"
    config = sshd.write_config(
        "agent-of-environment",
        replace={"IdentityFile": "", "IdentitiesOnly": "", "IdentityAgent": ""},
    )
    assert output(run(options(config, environment={"SSH_AUTH_SOCK": agent}))) == b"ok\n"


def test_identities_only_keeps_other_keys_of_the_agent_out(sshd, options, agent, tmp_path):
    _add(agent, sshd.user_key)
    wrong = generate_key(tmp_path / "wrong")
    config = sshd.write_config("only", replace={"IdentityFile": str(wrong), "IdentityAgent": agent})
    message = refusal(options(config))
    assert _fingerprint(wrong) in message
    assert _fingerprint(sshd.user_key) not in message


def test_a_public_key_file_chooses_the_agents_key(sshd, options, agent):
    _add(agent, sshd.user_key)
    public = sshd.user_key.with_suffix(".pub")
    config = sshd.write_config(
        "public", replace={"IdentityFile": str(public), "IdentityAgent": agent}
    )
    assert output(run(options(config))) == b"ok\n"


def test_an_agent_that_is_gone_is_no_fault(sshd, options, tmp_path):
    config = sshd.write_config("gone", replace={"IdentityAgent": f"{tmp_path}/gone"})
    assert output(run(options(config))) == b"ok\n"


def test_too_many_keys(tmp_path, options, agent):
    with running_sshd(tmp_path / "sshd", ["MaxAuthTries 2"]) as server:
        for number in range(3):
            _add(agent, generate_key(tmp_path / f"k{number}"))
        config = server.write_config(
            "many", replace={"IdentityAgent": agent, "IdentitiesOnly": "no"}
        )
        message = refusal(options(config))
    assert "closed the connection while authenticating after" in message
    assert "name the right one with --identity, or set IdentitiesOnly" in message


@pytest.fixture(scope="module")
def encrypted(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = generate_key(tmp_path_factory.mktemp("encrypted") / "key", passphrase="open sesame")
    with (sshd.directory / "authorized_keys").open("a") as file:
        file.write(key.with_suffix(".pub").read_text())
    return key


def test_an_encrypted_key_without_a_terminal(sshd, options, encrypted):
    config = sshd.write_config("encrypted", replace={"IdentityFile": str(encrypted)})
    message = refusal(options(config))
    assert f"{encrypted} needs a passphrase" in message
    assert f"ssh-add {encrypted}" in message


@pytest.mark.parametrize(
    ("answers", "lets_in"),
    [(["open sesame"], True), (["wrong", "open sesame"], True), (["x", "y", "z"], False)],
)
def test_an_encrypted_key_with_somebody_to_ask(
    sshd: Sshd, options: Options, encrypted: Path, answers: list[str], lets_in: bool
) -> None:
    config = sshd.write_config("encrypted", replace={"IdentityFile": str(encrypted)})
    left = list(answers)

    def ask(prompt: str, secret: bool) -> str | None:
        assert secret
        assert str(encrypted) in prompt
        return left.pop(0)

    if lets_in:
        assert output(run(options(config, ask=ask))) == b"ok\n"
    else:
        assert "no right passphrase" in refusal(options(config, ask=ask))
    assert left == []


def test_a_file_that_is_no_key(sshd, options, tmp_path):
    (tmp_path / "junk").write_text("junk\n")
    config = sshd.write_config("junk", replace={"IdentityFile": f"{tmp_path}/junk"})
    assert "is no key that can be used" in refusal(options(config))


def test_a_certificate_beside_the_key(tmp_path, options):
    authority = generate_key(tmp_path / "ca")
    with running_sshd(tmp_path / "sshd", [f"TrustedUserCAKeys {authority}.pub"]) as server:
        (server.directory / "authorized_keys").write_text("")
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "test", "-n", server.user]
        subprocess.run([*sign, f"{server.user_key}.pub"], check=True, capture_output=True)
        assert output(run(options(server.config))) == b"ok\n"


def test_no_session_for_the_key(tmp_path, options):
    with running_sshd(tmp_path / "sshd", ["MaxSessions 0"]) as server:
        message = refusal(options(server.config))
    assert "let you in but opens no session" in message
    assert "MaxSessions" in message
