"""known_hosts: found as ssh-keygen finds, judged so that nothing passes by silence."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from syncron_lib.transport.hostkeys import (
    HostKey,
    Verdict,
    append_key,
    find_keys,
    host_name_in_file,
    judge,
)
from tests.sshd import generate_key


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HostKey]:
    directory = tmp_path_factory.mktemp("keys")
    found = {}
    for name, kind in (("one", "ed25519"), ("two", "ed25519"), ("ecdsa", "ecdsa")):
        path = generate_key(directory / name, kind=kind)
        fields = path.with_suffix(".pub").read_text().split()
        found[name] = HostKey(fields[0], base64.b64decode(fields[1]))
    return found


def _line(names: str, key: HostKey, marker: str = "") -> str:
    blob = base64.b64encode(key.blob).decode()
    return f"{marker} {names} {key.kind} {blob} comment\n".lstrip()


@pytest.mark.parametrize(
    ("names", "host", "found"),
    [
        ("host", "host", True),
        ("HOST", "host", True),
        ("a,host,b", "host", True),
        ("*.example", "x.example", True),
        ("*.example,!x.example", "x.example", False),
        ("host", "[host]:2222", False),
        ("[host]:2222", "[host]:2222", True),
        ("[host]:2222", "host", False),
        ("[*]:2222", "[host]:2222", True),
        ("other", "host", False),
    ],
)
def test_names_are_matched(tmp_path, keys, names, host, found):
    file = tmp_path / "known_hosts"
    file.write_text("# comment\n\n" + _line(names, keys["one"]))
    lines = find_keys(host, [str(file)])
    assert bool(lines) is found
    assert all((line.file, line.line) == (str(file), 3) for line in lines)


def test_hashed_names_are_found_as_ssh_keygen_hashed_them(tmp_path, keys):
    file = tmp_path / "known_hosts"
    file.write_text(_line("host", keys["one"]) + _line("[host]:2222", keys["two"]))
    subprocess.run(["ssh-keygen", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "host" not in file.read_text().replace("known_hosts", "")
    assert [line.key for line in find_keys("host", [str(file)])] == [keys["one"]]
    assert [line.key for line in find_keys("[host]:2222", [str(file)])] == [keys["two"]]
    assert find_keys("hos", [str(file)]) == []


@pytest.mark.parametrize("hashed", [False, True])
def test_what_is_appended_is_found_by_ssh_keygen_and_by_us(tmp_path, keys, hashed):
    file = tmp_path / "new" / "known_hosts"
    append_key(str(file), "[host]:2222", keys["one"], hashed=hashed)
    append_key(str(file), "other", keys["two"], hashed=hashed)
    found = subprocess.run(
        ["ssh-keygen", "-F", "[host]:2222", "-f", str(file)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "line 1" in found.stdout
    assert [line.key for line in find_keys("[host]:2222", [str(file)])] == [keys["one"]]
    assert ("host" in file.read_text()) is not hashed
    assert file.stat().st_mode & 0o777 == 0o600


def test_appending_does_not_join_a_last_line_without_an_end(tmp_path, keys):
    file = tmp_path / "known_hosts"
    file.write_text(_line("first", keys["one"]).rstrip("\n"))
    append_key(str(file), "second", keys["two"], hashed=False)
    assert find_keys("first", [str(file)])[0].key == keys["one"]
    assert find_keys("second", [str(file)])[0].key == keys["two"]


def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path, keys):
    file = tmp_path / "key.pub"
    file.write_text(_line("", keys["ecdsa"]).strip() + "\n")
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(file)], check=True, capture_output=True, text=True
    ).stdout.split()
    assert keys["ecdsa"].fingerprint() == said[1]
    assert f"({keys['ecdsa'].algorithm()})" == said[-1]


@pytest.mark.parametrize(
    ("lines", "shown", "verdict"),
    [
        ([("host", "one", "")], "one", Verdict.KNOWN),
        ([("host", "two", ""), ("host", "one", "")], "one", Verdict.KNOWN),
        ([], "one", Verdict.UNKNOWN),
        ([("host", "two", "")], "one", Verdict.CHANGED),
        ([("host", "ecdsa", "")], "one", Verdict.CHANGED),
        ([("host", "one", ""), ("*", "one", "@revoked")], "one", Verdict.REVOKED),
        ([("*", "two", "@revoked")], "one", Verdict.UNKNOWN),
        ([("host", "one", "@cert-authority")], "one", Verdict.UNKNOWN),
    ],
)
def test_verdicts(tmp_path, keys, lines, shown, verdict):
    file = tmp_path / "known_hosts"
    file.write_text("".join(_line(names, keys[key], marker) for names, key, marker in lines))
    assert judge(keys[shown], find_keys("host", [str(file)]))[0] is verdict


def test_files_and_lines_that_cannot_be_read_are_passed_over(tmp_path, keys):
    file = tmp_path / "known_hosts"
    file.write_bytes(
        b"host\nhost ssh-ed25519 !!!\n|1|x|y ssh-ed25519 AAAA\n|2|a|b|c k AAAA\n\xff\xfe\n"
        b"@marker\n" + _line("host", keys["one"]).encode()
    )
    lines = find_keys("host", [str(tmp_path / "missing"), str(tmp_path), str(file)])
    assert [line.key for line in lines] == [keys["one"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("Host.Example", 22, None), "host.example"),
        (("host", 2222, None), "[host]:2222"),
        (("::1", 22, None), "::1"),
        (("host", 2222, "Alias"), "alias"),
    ],
)
def test_the_name_in_the_file(arguments, expected):
    assert host_name_in_file(*arguments) == expected


def test_a_missing_directory_for_the_file_is_made_private(tmp_path, keys):
    file = Path(tmp_path) / "home" / ".ssh" / "known_hosts"
    append_key(str(file), "host", keys["one"], hashed=False)
    assert file.parent.stat().st_mode & 0o777 == 0o700
