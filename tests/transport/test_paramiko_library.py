"""What is put off at importing paramiko is not missing afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sshd import generate_key

_VERSION = """
from syncron_lib.transport.paramiko_library import load
paramiko = load()
assert load() is paramiko
told = paramiko.__version__
print("importlib.metadata" in sys.modules, "paramiko.client" in sys.modules)
from importlib import metadata
print(told == metadata.version("paramiko"), told in paramiko.transport.Transport._CLIENT_ID)
"""

_MISSED = """
from syncron_lib.transport.paramiko_library import load
transport = load().transport.Transport
import paramiko
print(paramiko is load(), paramiko.Transport is transport, paramiko.SSHClient.__name__)
from paramiko import RSAKey, client
print(paramiko.RSAKey is RSAKey, paramiko.client.SSHClient is paramiko.SSHClient)
print(hasattr(paramiko, "nothing"), "invoke" in sys.modules)
"""

_AT_ONCE = """
import threading
from syncron_lib.transport.paramiko_library import load
paramiko, found = load(), []
start = threading.Barrier(8)
def ask():
    start.wait()
    found.append(paramiko.SSHClient)
asking = [threading.Thread(target=ask) for _ in range(8)]
for thread in asking: thread.start()
for thread in asking: thread.join()
print(len(found), set(found) == {paramiko.client.SSHClient})
"""

_KEY = """
from syncron_lib.transport.paramiko_library import load
paramiko = load()
key = paramiko.pkey.PKey.from_path(sys.argv[1])
print(key.get_name(), isinstance(key, paramiko.PKey), "paramiko.client" in sys.modules)
"""

_BEFORE = """
import paramiko
from syncron_lib.transport.paramiko_library import load
print(load() is paramiko, load().SSHClient.__name__)
"""

_ABSENT = """
import importlib.util
importlib.util.find_spec = lambda name: None
from syncron_lib.errors import SshFailed
from syncron_lib.transport.paramiko_library import load
try:
    load()
except SshFailed as error:
    print(error.message)
"""

_CANNOT = (
    "The built-in SSH client cannot be loaded (No module named 'paramiko');"
    " install paramiko, or use -e ssh."
)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (_VERSION, ["False False", "True True"]),
        (_MISSED, ["True True SSHClient", "True True", "False False"]),
        (_AT_ONCE, ["8 True"]),
        (_BEFORE, ["True SSHClient"]),
        (
            _ABSENT,
            [_CANNOT],
        ),
    ],
)
def test_it_is(program: str, said: list[str]) -> None:
    run = [sys.executable, "-c", "import sys\n" + program]
    done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.splitlines() == said


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ed25519", "ssh-ed25519"), ("ecdsa", "ecdsa-sha2-nistp256"), ("rsa", "ssh-rsa")],
)
def test_a_key_is_read_without_all_the_rest(tmp_path: Path, kind: str, name: str) -> None:
    key = generate_key(tmp_path / "key", kind=kind)
    run = [sys.executable, "-c", "import sys\n" + _KEY, str(key)]
    done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == f"{name} True False\n"
